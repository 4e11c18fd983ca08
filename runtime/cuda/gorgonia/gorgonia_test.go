//go:build gorgonia && linux && amd64

package gorgonia

import (
	"testing"

	"qnc/cudatemplates/emu"
	"qnc/runtime/cuda/drivertest"
)

func TestDriver(t *testing.T) {
	lib, err := emu.Build(drivertest.Kernels, false) // what builds this package builds the emulator
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, lib.Path, Open)
}
