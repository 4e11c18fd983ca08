package app

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"qnc/runtime/engine"
)

const cpuArch = runtime.GOARCH

// Main runs the command line of an emitted program and returns its exit code.
func Main(m *engine.Model) int {
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	env := &Env{
		Name:       strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"),
		Args:       os.Args[1:],
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		InTerm:     isTerminal(os.Stdin),
		ErrTerm:    isTerminal(os.Stderr),
		LookupEnv:  os.LookupEnv,
		Interrupts: interrupts,
		Exit:       os.Exit,
		Info:       &m.Info,
		Open: func(opt engine.Options) (engine.Runner, error) {
			s, err := engine.Open(m, opt)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
	if env.InTerm && env.ErrTerm && os.Getenv("TERM") != "dumb" {
		env.Raw = func() (func(), error) { return rawMode(os.Stdin) }
		env.Width = func() int { return termWidth(os.Stderr) }
		env.Suspend = suspend
	}
	return Run(env)
}
