// Package tool runs the programs of others that a compile needs: toolchains.
package tool

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"qnc/runtime/fault"
)

// Output runs a command of exec.CommandContext as a process group of its own
// and gives what it printed. A Ctrl-C reaches it through ctx alone, and then
// the error is fault.Interrupted.
func Output(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	Group(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd) }
	cmd.WaitDelay = 3 * time.Second // then it is killed
	b, err := cmd.CombinedOutput()
	if err != nil && cmd.Process != nil {
		killGroup(cmd)
	}
	if err != nil && Interrupted(ctx) {
		return nil, fault.New(fault.Interrupted, "interrupted: %w", ctx.Err())
	}
	return b, err
}

// Interrupted reports whether ctx ends. A child that failed may have got the
// same signal, and be quicker to die of it than ctx to learn of it.
func Interrupted(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(100 * time.Millisecond):
		return ctx.Err() != nil
	}
}

// Quote makes one word of s for a POSIX shell.
func Quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
