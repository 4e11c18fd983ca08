// Package fault gives errors the exit code that a program ends with.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// A Code is a process exit code. qnc and every program that it emits use the same ones.
type Code int

const (
	OK          Code = 0
	Failure     Code = 1   // failed while running
	Usage       Code = 2   // the command line
	Model       Code = 3   // bad model, weights or checksum
	Fit         Code = 4   // does not fit into memory
	Missing     Code = 5   // hardware, driver or toolchain missing
	Port        Code = 6   // port in use
	Interrupted Code = 130 // Ctrl-C
)

type coded struct {
	code Code
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

// New formats an error as fmt.Errorf does and gives it a code.
func New(c Code, format string, args ...any) error {
	return &coded{c, fmt.Errorf(format, args...)}
}

// Wrap gives err a code; nil stays nil.
func Wrap(c Code, err error) error {
	if err == nil {
		return nil
	}
	return &coded{c, err}
}

// Either lists names for a message: "a, b or c".
func Either(names ...string) string {
	n := len(names) - 1
	if n < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:n], ", ") + " or " + names[n]
}

// CodeOf returns the code of the outermost error in err's chain that has one:
// OK for nil, Failure when none was given.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var e *coded
	if errors.As(err, &e) {
		return e.code
	}
	return Failure
}
