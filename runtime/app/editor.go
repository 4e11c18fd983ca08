package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An editor edits a line on a terminal in raw mode. It knows nothing of
// terminals but their bytes: those of keys come in by feed, what is to be shown
// goes to out. A line that is too long for the row scrolls sideways.
type editor struct {
	out    io.Writer
	width  func() int // of the terminal, in cells
	prompt string

	line []rune
	pos  int // of the cursor, in line
	left int // the first rune that is shown

	history []string
	at      int    // the entry that is shown; len(history): none
	draft   []rune // the line that was left for it

	in     []byte // keys that are not handled yet
	paste  bool   // between the marks of a paste
	pasted []byte
}

// An event ends the editing of a line.
type event uint8

const (
	editing     event = iota // none yet
	entered                  // the line is complete
	interrupted              // Ctrl-C; the line is what was typed so far
	ended                    // Ctrl-D on an empty line, or no more input
	suspended                // Ctrl-Z
	terminated               // another signal
)

// begin shows an empty line.
func (e *editor) begin(prompt string) {
	e.prompt = prompt
	e.set(nil)
	e.at = len(e.history)
	e.draw()
}

// feed takes bytes of the terminal.
func (e *editor) feed(b []byte) { e.in = append(e.in, b...) }

// edit handles keys up to the first event. Keys behind it wait for the next line.
func (e *editor) edit() (string, event) {
	for len(e.in) > 0 {
		if e.paste {
			if !e.takePaste() {
				break
			}
			continue
		}
		key, n := nextKey(e.in)
		if n == 0 { // more bytes belong to it
			break
		}
		e.in = e.in[n:]
		if ev := e.key(key); ev != editing {
			return e.finish(ev), ev
		}
	}
	e.draw()
	return "", editing
}

// finish leaves the line as it was typed on the screen.
func (e *editor) finish(ev event) string {
	if ev == suspended {
		return ""
	}
	s := string(e.line)
	mark := ""
	if ev == interrupted {
		mark = "^C"
	}
	fmt.Fprintf(e.out, "\r\x1b[K%s%s%s\n", e.prompt, s, mark)
	if ev == entered && strings.TrimSpace(s) != "" && (len(e.history) == 0 || e.history[len(e.history)-1] != s) {
		e.history = append(e.history, s)
	}
	return s
}

// Terminals put what is pasted between these.
const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// takePaste moves input to the paste, and the whole of it to the line at its
// end; it reports whether the end was there.
func (e *editor) takePaste() bool {
	at := len(e.pasted)
	e.pasted = append(e.pasted, e.in...)
	e.in = nil
	i := strings.Index(string(e.pasted[max(0, at-len(pasteEnd)):]), pasteEnd)
	if i < 0 {
		return false
	}
	i += max(0, at-len(pasteEnd))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(e.pasted[:i]))
	e.in = slices.Clone(e.pasted[i+len(pasteEnd):])
	e.paste, e.pasted = false, nil
	e.insert([]rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)))
	return true
}

// nextKey is the first key of b and its length: a rune, or an escape sequence
// without what varies. The length is 0 when b ends inside it.
func nextKey(b []byte) (string, int) {
	if b[0] != 0x1b {
		if !utf8.FullRune(b) {
			return "", 0
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return "", 1
		}
		return string(b[:n]), n
	}
	if len(b) < 2 {
		return "", 0
	}
	if b[1] != '[' && b[1] != 'O' {
		return string(b[:2]), 2 // Alt and a key
	}
	for i := 2; i < len(b); i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e {
			return string(b[:i+1]), i + 1
		}
		if i == 32 { // no sequence is as long
			return "", i
		}
	}
	return "", 0
}

// keys are what keys but plain characters do.
var keys = map[string]func(*editor) event{
	"\r": enter, "\n": enter,
	"\x03": func(*editor) event { return interrupted },
	"\x1a": func(*editor) event { return suspended },
	"\x04": func(e *editor) event {
		if len(e.line) == 0 {
			return ended
		}
		return del(e)
	},
	"\x7f": backspace, "\x08": backspace, "\x1b[3~": del,
	"\x02": back, "\x1b[D": back, "\x1bOD": back,
	"\x06": forward, "\x1b[C": forward, "\x1bOC": forward,
	"\x1bb": wordBack, "\x1b[1;5D": wordBack, "\x1b[1;3D": wordBack,
	"\x1bf": wordForward, "\x1b[1;5C": wordForward, "\x1b[1;3C": wordForward,
	"\x01": home, "\x1b[H": home, "\x1bOH": home, "\x1b[1~": home, "\x1b[7~": home,
	"\x05": end, "\x1b[F": end, "\x1bOF": end, "\x1b[4~": end, "\x1b[8~": end,
	"\x0b": func(e *editor) event { return e.cut(e.pos, len(e.line)) },
	"\x15": func(e *editor) event { return e.cut(0, e.pos) },
	"\x17": func(e *editor) event { return e.cut(e.wordStart(), e.pos) }, "\x1b\x7f": func(e *editor) event { return e.cut(e.wordStart(), e.pos) },
	"\x0c": func(e *editor) event { io.WriteString(e.out, "\x1b[H\x1b[2J"); return editing },
	"\x10": older, "\x1b[A": older, "\x1bOA": older,
	"\x0e": newer, "\x1b[B": newer, "\x1bOB": newer,
	pasteBegin: func(e *editor) event { e.paste = true; return editing },
}

func (e *editor) key(key string) event {
	if f := keys[key]; f != nil {
		return f(e)
	}
	if r, n := utf8.DecodeRuneInString(key); n == len(key) && n > 0 && !unicode.IsControl(r) {
		e.insert([]rune{r})
	}
	return editing
}

func enter(*editor) event { return entered }

func home(e *editor) event    { e.pos = 0; return editing }
func end(e *editor) event     { e.pos = len(e.line); return editing }
func back(e *editor) event    { e.pos = max(0, e.pos-1); return editing }
func forward(e *editor) event { e.pos = min(len(e.line), e.pos+1); return editing }
func del(e *editor) event     { return e.cut(e.pos, min(len(e.line), e.pos+1)) }

func backspace(e *editor) event { return e.cut(max(0, e.pos-1), e.pos) }

func wordBack(e *editor) event { e.pos = e.wordStart(); return editing }

func wordForward(e *editor) event {
	for e.pos < len(e.line) && unicode.IsSpace(e.line[e.pos]) {
		e.pos++
	}
	for e.pos < len(e.line) && !unicode.IsSpace(e.line[e.pos]) {
		e.pos++
	}
	return editing
}

// wordStart is where the word before the cursor begins.
func (e *editor) wordStart() int {
	i := e.pos
	for i > 0 && unicode.IsSpace(e.line[i-1]) {
		i--
	}
	for i > 0 && !unicode.IsSpace(e.line[i-1]) {
		i--
	}
	return i
}

func (e *editor) insert(r []rune) {
	e.line = slices.Insert(e.line, e.pos, r...)
	e.pos += len(r)
}

func (e *editor) cut(from, to int) event {
	e.line = slices.Delete(e.line, from, to)
	e.pos = from
	return editing
}

func (e *editor) set(line []rune) { e.line, e.pos, e.left = line, len(line), 0 }

func older(e *editor) event { return e.show(e.at - 1) }
func newer(e *editor) event { return e.show(e.at + 1) }

// show puts an entry of the history into the line, or the draft behind the last one.
func (e *editor) show(at int) event {
	if at < 0 || at > len(e.history) {
		return editing
	}
	if e.at == len(e.history) {
		e.draft = e.line
	}
	e.at = at
	if at == len(e.history) {
		e.set(e.draft)
	} else {
		e.set([]rune(e.history[at]))
	}
	return editing
}

// draw shows the part of the line around the cursor.
func (e *editor) draw() {
	room := max(e.width(), 20) - len(e.prompt) - 1
	e.left = min(e.left, e.pos)
	before := 0 // cells between left and the cursor
	for _, r := range e.line[e.left:e.pos] {
		before += cells(r)
	}
	for ; before >= room; e.left++ {
		before -= cells(e.line[e.left])
	}
	var b strings.Builder
	b.WriteString("\r" + e.prompt)
	used := 0
	for _, r := range e.line[e.left:] {
		if used += cells(r); used > room {
			break
		}
		switch r {
		case '\n':
			r = '↵'
		case '\t':
			r = ' '
		}
		b.WriteRune(r)
	}
	b.WriteString("\x1b[K\r")
	if n := len(e.prompt) + before; n > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", n)
	}
	io.WriteString(e.out, b.String())
}

// wide are the ranges of runes that take two cells: East Asian and emoji.
var wide = []struct{ lo, hi rune }{
	{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd},
}

// cells is the width of a rune on a terminal.
func cells(r rune) int {
	switch {
	case r == '\n' || r == '\t':
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	for _, w := range wide {
		if r >= w.lo && r <= w.hi {
			return 2
		}
	}
	return 1
}
