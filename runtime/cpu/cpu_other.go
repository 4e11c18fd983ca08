//go:build !amd64

package cpu

import "runtime"

// Detect knows no features beyond the baseline here.
func Detect() Machine { return Machine{Arch: runtime.GOARCH} }
