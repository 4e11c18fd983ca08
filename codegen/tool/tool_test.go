package tool

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"qnc/runtime/fault"
)

// TestOutputInterrupted: a child that dies of the signal before the context
// ends is an interrupt, and one that outlives the context is ended with its children.
func TestOutputInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the children are shell scripts")
	}
	for name, c := range map[string]struct {
		script string
		delay  time.Duration
	}{
		"child first": {"kill -INT $$", 20 * time.Millisecond},
		"child waits": {"sleep 60 & wait", 20 * time.Millisecond},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(c.delay, cancel)
		start := time.Now()
		_, err := Output(ctx, exec.CommandContext(ctx, "sh", "-c", c.script))
		if fault.CodeOf(err) != fault.Interrupted {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: ended after %v", name, d)
		}
		cancel()
	}
	var exit *exec.ExitError
	ctx := context.Background()
	if _, err := Output(ctx, exec.CommandContext(ctx, "sh", "-c", "exit 3")); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a failure without an interrupt: %v", err)
	}
	// A child in the group of its parent would get the terminal's signals.
	b, err := Output(ctx, exec.CommandContext(ctx, "sh", "-c", "echo $$; ps -o pgid= -p $$"))
	if f := strings.Fields(string(b)); err == nil && (len(f) != 2 || f[0] != f[1]) {
		t.Errorf("process and group %q", f)
	}
}
