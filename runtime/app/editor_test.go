package app

import (
	"bytes"
	"strings"
	"testing"
)

// typeKeys feeds keys in chunks of n bytes and returns the lines and events that come of them.
func typeKeys(e *editor, keys string, n int) (lines []string, last event) {
	e.begin("> ")
	for len(keys) > 0 {
		n := min(n, len(keys))
		e.feed([]byte(keys[:n]))
		keys = keys[n:]
		for {
			line, ev := e.edit()
			if ev == editing {
				break
			}
			lines, last = append(lines, line), ev
			if ev == entered {
				e.begin("> ")
			}
		}
	}
	return lines, last
}

func TestEditor(t *testing.T) {
	const left, right, up, down, homeKey, endKey, delKey = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[H", "\x1b[F", "\x1b[3~"
	for _, c := range []struct {
		name, keys, want string // lines, each with | behind it
		last             event
	}{
		{"plain", "hello\r", "hello|", entered},
		{"line feed", "a\nb\n", "a|b|", entered},
		{"UTF-8", "größe 世界 \U0001f600\r", "größe 世界 \U0001f600|", entered},
		{"left and right", "ac" + left + "b" + right + "d\r", "abcd|", entered},
		{"other cursor keys", "ac\x1bODb\x1bOCd\r", "abcd|", entered},
		{"home and end", "b" + homeKey + "a" + endKey + "c\r", "abc|", entered},
		{"Ctrl-A and Ctrl-E", "b\x01a\x05c\r", "abc|", entered},
		{"more of home and end", "b\x1b[1~a\x1b[4~c\x1bOH<\x1bOF>\r", "<abc>|", entered},
		{"backspace", "aäx\x7f\x7fb\x08c\r", "ac|", entered},
		{"backspace at the start", "\x7fa\x01\x7fb\r", "ba|", entered},
		{"delete", "abc\x01" + delKey + right + "\x04\x04\x04\r", "b|", entered},
		{"Ctrl-K", "abcd" + left + left + "\x0b\r", "ab|", entered},
		{"Ctrl-U", "abcd" + left + "\x15\r", "d|", entered},
		{"Ctrl-W", "one two  \x17three\r", "one three|", entered},
		{"words", "one two\x1bb\x1bb>\x1b[1;5C<\r", ">one< two|", entered},
		{"history", "one\rtwo\r" + up + up + "!\r" + up + up + up + down + "?\r", "one|two|one!|two?|", entered},
		{"draft", "one\rtw" + up + down + "o\r" + up + up + up + up + "\r", "one|two|one|", entered},
		{"the same twice is once", "one\rone\rx\r" + up + up + up + "\r", "one|one|x|one|", entered},
		{"Ctrl-C", "half\x03", "half|", interrupted},
		{"Ctrl-C at an empty line", "\x03", "|", interrupted},
		{"Ctrl-D", "\x04", "|", ended},
		{"Ctrl-D in a line", "ab\x01\x04\r", "b|", entered},
		{"paste", "<\x1b[200~one\r\ntwo\rthree\n\x03\x1b[A\x1b[201~>\r", "<one\ntwo\nthree\n[A>|", entered},
		{"unknown keys", "a\x1b[99;99Xb\x1bzc\x00\x1b[Zd\r", "abcd|", entered},
		{"bad UTF-8", "a\xffb\xc3(\r", "ab(|", entered},
	} {
		for _, n := range []int{1, 2, 3, 1000} {
			var out bytes.Buffer
			e := &editor{out: &out, width: func() int { return 80 }}
			lines, last := typeKeys(e, c.keys, n)
			got := ""
			for _, l := range lines {
				got += l + "|"
			}
			if got != c.want || last != c.last {
				t.Errorf("%s in chunks of %d: %q, event %d, want %q, event %d", c.name, n, got, last, c.want, c.last)
			}
		}
	}
}

// TestEditorDraws: a row shows what is around the cursor, never more than it has cells.
func TestEditorDraws(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{"ab", "\r> ab\x1b[K\r\x1b[4C"},
		{"ab\x01", "\r> ab\x1b[K\r\x1b[2C"},
		{"世界", "\r> 世界\x1b[K\r\x1b[6C"},
		{"e\u0301x", "\r> e\u0301x\x1b[K\r\x1b[4C"},
		{"\x1b[200~a\nb\tc\x1b[201~", "\r> a↵b c\x1b[K\r\x1b[7C"},
		{strings.Repeat("x", 100) + "yz", "\r> " + strings.Repeat("x", 14) + "yz\x1b[K\r\x1b[18C"},
		{strings.Repeat("世", 100), "\r> " + strings.Repeat("世", 8) + "\x1b[K\r\x1b[18C"},
		{strings.Repeat("x", 100) + "\x01", "\r> " + strings.Repeat("x", 17) + "\x1b[K\r\x1b[2C"},
	} {
		var out bytes.Buffer
		e := &editor{out: &out, width: func() int { return 20 }}
		e.begin("> ")
		out.Reset()
		e.feed([]byte(c.keys))
		e.edit()
		if out.String() != c.want {
			t.Errorf("%q draws %q, want %q", c.keys, out.String(), c.want)
		}
	}
}

func FuzzEditor(f *testing.F) {
	f.Add([]byte("a\x1b[D\x1b[200~x\x1b[201~\r\x17\x1b[A\x03"), 3)
	f.Add([]byte("世\xff\x1b[3~\x1bO\x15\x0b"), 1)
	f.Fuzz(func(t *testing.T, keys []byte, n int) {
		e := &editor{out: &bytes.Buffer{}, width: func() int { return n }}
		typeKeys(e, string(keys), max(1, n&15))
		if e.pos < 0 || e.pos > len(e.line) || e.left > e.pos {
			t.Errorf("cursor %d, left %d of %d", e.pos, e.left, len(e.line))
		}
	})
}
