//go:build unix

package main

import (
	"os"
	"syscall"

	"qnc/runtime/fault"
)

// replace turns this process into the program, so that signals, terminal and
// exit code are its own.
func replace(path string, args []string) error {
	err := syscall.Exec(path, append([]string{path}, args...), os.Environ())
	return fault.New(fault.Failure, "%s: %w", path, err)
}
