//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"

	"qnc/runtime/fault"
)

// replace runs the program and ends with its exit code.
func replace(path string, args []string) error {
	signal.Ignore(os.Interrupt) // it is the program's
	c := exec.Command(path, args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		return fault.New(fault.Failure, "%s: %w", path, err)
	}
	return nil
}
