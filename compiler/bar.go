package compiler

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A bar is the one line that shows progress on a terminal; elsewhere it is silent.
type bar struct {
	w     io.Writer // nil: silent
	label string
	start time.Time
	last  time.Time
	width int
}

func newBar(o *Options) *bar {
	b := &bar{}
	if o.Progress {
		b.w = o.Stderr
	}
	return b
}

// begin says what is being done now.
func (b *bar) begin(label string) {
	b.label, b.start, b.last = label, time.Now(), time.Time{}
	if b.w != nil {
		b.draw(label + " …")
	}
}

// update redraws the line at most ten times a second.
func (b *bar) update(done, total int64) {
	now := time.Now()
	if b.w == nil || now.Sub(b.last) < 100*time.Millisecond || total == 0 {
		return
	}
	b.last = now
	rate := float64(done) / now.Sub(b.start).Seconds()
	left := time.Duration(float64(total-done) / max(rate, 1) * float64(time.Second)).Round(time.Second)
	const cells = 30
	full := int(done * cells / total)
	b.draw(fmt.Sprintf("%s [%s%s] %3d%%  %.0f MB/s  %s left", b.label, strings.Repeat("=", full), strings.Repeat(" ", cells-full), done*100/total, rate/1e6, left))
}

func (b *bar) draw(s string) {
	fmt.Fprintf(b.w, "\r%-*s", b.width, s)
	b.width = len(s)
}

// end clears the line.
func (b *bar) end() {
	if b.w != nil && b.width > 0 {
		b.draw("")
		fmt.Fprint(b.w, "\r")
	}
}

// logf prints a line to standard error, in place of the bar.
func (j *job) logf(format string, args ...any) {
	j.bar.end()
	if j.o.Stderr != nil {
		fmt.Fprintf(j.o.Stderr, format+"\n", args...)
	}
}
