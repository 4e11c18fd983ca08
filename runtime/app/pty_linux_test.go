package app

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openPTY opens a pseudo terminal.
func openPTY(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	var n, unlock int32
	if err := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&n)); err != nil {
		t.Skip(err)
	}
	if err := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		t.Skip(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

// TestChatTerminal: a chat in a terminal. Ctrl-C drops a half-typed line and
// keeps the conversation, at an empty prompt it ends with 0, and the terminal is as before.
func TestChatTerminal(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *world, master *os.File)
		code int
	}{
		{"Ctrl-C", func(_ *world, m *os.File) { m.WriteString("\x03") }, 0},
		{"Ctrl-D", func(_ *world, m *os.File) { m.WriteString("\x04") }, 0},
		{"/exit", func(_ *world, m *os.File) { m.WriteString("/exit\r") }, 0},
		{"interrupt", func(w *world, _ *os.File) { w.signals <- os.Interrupt }, 0},
		{"SIGTERM", func(w *world, _ *os.File) { w.signals <- syscall.SIGTERM }, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			master, tty := openPTY(t)
			var before, after syscall.Termios
			ioctl(tty, syscall.TCGETS, unsafe.Pointer(&before))
			f := newFake(t)
			f.says(t, "One.", "Two.", "Three.")
			w := terminal(t, f, nil, "--no-perf")
			w.Env.Stdin = tty
			w.Env.Raw = func() (func(), error) { return rawMode(tty) }
			w.Env.Width = func() int { return termWidth(tty) }
			done := make(chan result)
			go func() { done <- w.run() }()
			wait := func(what string, seen func() bool) {
				for limit := time.Now().Add(20 * time.Second); !seen(); time.Sleep(time.Millisecond) {
					if time.Now().After(limit) {
						t.Fatalf("%s did not come; stdout %q, stderr %q", what, w.out.String(), w.err.String())
					}
				}
			}
			prompts := func(n int) {
				wait("a prompt", func() bool { return strings.Count(w.err.String(), "\x1b[?2004h") == n })
			}
			prompts(1)
			master.WriteString("firzt\x7f\x7fst\r")
			prompts(2)
			master.WriteString("half a li")
			wait("the echo", func() bool { return strings.Contains(w.err.String(), "half a li") })
			master.WriteString("\x03")
			prompts(3)
			master.WriteString("\x1b[200~pasted\rlines\x1b[201~\rlast\r") // the second is typed ahead
			prompts(5)
			c.end(w, master)
			r := <-done
			if r.code != c.code || r.stdout != "One.\nTwo.\nThree.\n" {
				t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
			}
			all := vocab(t).Decode(f.seq, true)
			for _, want := range []string{"user\nfirst<|im_end|>", "user\npasted\nlines<|im_end|>", "user\nlast<|im_end|>"} {
				if !strings.Contains(all, want) {
					t.Errorf("%q is not in the conversation %q", want, all)
				}
			}
			if strings.Contains(all, "half") || f.resets != 1 {
				t.Errorf("%d resets, conversation %q", f.resets, all)
			}
			if ioctl(tty, syscall.TCGETS, unsafe.Pointer(&after)); before != after {
				t.Error("the terminal is not as before")
			}
		})
	}
}
