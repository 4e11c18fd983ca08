package libcuda

import (
	"errors"
	"testing"

	"qnc/cudatemplates/emu"
	"qnc/runtime/cuda/drivertest"
)

func TestDriver(t *testing.T) {
	lib, err := emu.Build(drivertest.Kernels, false)
	if errors.Is(err, emu.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, lib.Path, Open)
}
