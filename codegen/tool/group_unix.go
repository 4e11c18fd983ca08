//go:build unix

package tool

import (
	"os/exec"
	"syscall"
	"time"
)

// Group makes cmd the leader of a process group: a Ctrl-C of the terminal does not reach it.
func Group(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// interruptGroup passes an interrupt on.
func interruptGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }

// killGroup ends what a command that has ended left behind, and waits for it for a while.
func killGroup(cmd *exec.Cmd) {
	for range 100 {
		if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) != nil { // there is nobody
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
