//go:build !linux || !(amd64 || arm64)

// Package libcuda finds NVIDIA's driver when the program runs.
package libcuda

import (
	"runtime"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

// Open says that there is no driver here.
func Open() (cuda.Driver, error) {
	return nil, fault.New(fault.Missing, "no NVIDIA driver: GPUs are used on linux/amd64 and linux/arm64, this is %s/%s: compile for the CPU (-ngl 0)", runtime.GOOS, runtime.GOARCH)
}
