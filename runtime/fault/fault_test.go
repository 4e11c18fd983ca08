package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCodeOf(t *testing.T) {
	inner := New(Model, "tensor %s: %w", "x", io.ErrUnexpectedEOF)
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, OK},
		{io.EOF, Failure},
		{inner, Model},
		{fmt.Errorf("open: %w", inner), Model},
		{Wrap(Usage, inner), Usage},
		{Wrap(Usage, nil), OK},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	if !errors.Is(inner, io.ErrUnexpectedEOF) {
		t.Error("New does not wrap with w")
	}
}

func TestEither(t *testing.T) {
	for _, c := range [][]string{{""}, {"a", "a"}, {"a or b", "a", "b"}, {"a, b or c", "a", "b", "c"}} {
		if got := Either(c[1:]...); got != c[0] {
			t.Errorf("%q: %q", c[1:], got)
		}
	}
}
