//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// maxResident is the most memory that a process had resident, in bytes.
func maxResident(s *os.ProcessState) float64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return float64(u.Maxrss)
	}
	return float64(u.Maxrss) * 1024
}
