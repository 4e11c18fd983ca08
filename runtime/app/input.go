package app

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// An input gives the lines that the user of a chat types.
type input interface {
	// next asks for a line. With interrupted comes what was typed of it.
	next(prompt string) (string, event)
}

// newInput edits lines where the terminal can be taken into raw mode; elsewhere
// the terminal does. The input ends when done is closed.
func (a *app) newInput(done <-chan struct{}) input {
	if a.Raw != nil {
		if restore, err := a.Raw(); err == nil {
			restore()
			return &rawInput{a: a, ed: editor{out: a.Stderr, width: a.Width}, done: done, ask: make(chan struct{}), got: make(chan []byte)}
		}
	}
	in := &lineInput{a: a, lines: make(chan string)}
	go readLines(a.Stdin, in.lines, done)
	return in
}

// A lineInput reads whole lines.
type lineInput struct {
	a     *app
	lines chan string
}

func (in *lineInput) next(prompt string) (string, event) {
	fmt.Fprint(in.a.Stderr, prompt)
	select {
	case sig := <-in.a.Interrupts:
		fmt.Fprintln(in.a.Stderr)
		return "", eventOf(sig)
	case line, ok := <-in.lines:
		if !ok {
			if prompt != "" {
				fmt.Fprintln(in.a.Stderr)
			}
			return "", ended
		}
		return line, entered
	}
}

func eventOf(sig os.Signal) event {
	if sig == os.Interrupt {
		return interrupted
	}
	return terminated
}

// readLines sends the lines of r until its end, or until done is closed.
func readLines(r io.Reader, lines chan<- string, done <-chan struct{}) {
	defer close(lines)
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if line != "" {
			select {
			case lines <- strings.TrimRight(line, "\r\n"):
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A rawInput edits lines itself. The terminal is in raw mode only while it
// does, so that Ctrl-C is a signal while the model answers.
type rawInput struct {
	a    *app
	ed   editor
	done <-chan struct{}

	ask     chan struct{} // asks read for bytes
	got     chan []byte
	reading bool // read was asked and has not answered
	started bool
}

func (in *rawInput) next(prompt string) (string, event) {
	if prompt == "" {
		prompt = ". "
	}
	in.ed.begin(prompt)
	for {
		line, ev, err := in.edit()
		if err != nil {
			return "", ended
		}
		if ev != suspended {
			return line, ev
		}
		in.a.Suspend()
	}
}

// edit is one stay in raw mode.
func (in *rawInput) edit() (string, event, error) {
	restore, err := in.a.Raw()
	if err != nil {
		return "", ended, err
	}
	defer restore()
	const on, off = "\x1b[?2004h", "\x1b[?2004l" // the marks of pastes
	io.WriteString(in.a.Stderr, on)
	defer io.WriteString(in.a.Stderr, off)
	if !in.started {
		in.started = true
		go in.read()
	}
	for {
		if line, ev := in.ed.edit(); ev != editing {
			return line, ev, nil
		}
		if !in.reading {
			in.reading = true
			in.ask <- struct{}{}
		}
		select {
		case sig := <-in.a.Interrupts:
			line := in.ed.finish(interrupted)
			return line, eventOf(sig), nil
		case b := <-in.got:
			in.reading = false
			if b == nil {
				return in.ed.finish(ended), ended, nil
			}
			in.ed.feed(b)
		}
	}
}

// read reads stdin, only when it is asked to: what is typed meanwhile stays with the terminal.
func (in *rawInput) read() {
	buf := make([]byte, 4096)
	for {
		select {
		case <-in.ask:
		case <-in.done:
			return
		}
		n, err := in.a.Stdin.Read(buf)
		var b []byte // nil at the end
		if n > 0 || err == nil {
			b = append(make([]byte, 0, n+1), buf[:n]...)
		}
		select {
		case in.got <- b:
		case <-in.done:
			return
		}
	}
}
