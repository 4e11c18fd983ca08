package tokenizer

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func words(w scanner, s string) []string {
	var out []string
	for s = clean(s); s != ""; {
		n := w.next(s, 0)
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

func scannerOf(t testing.TB, name string) scanner {
	for _, s := range scanners {
		if s.name == name {
			return s.scanner
		}
	}
	t.Fatalf("no scanner %s", name)
	return 0
}

func TestScan(t *testing.T) {
	both := []string{"qwen2", "qwen35"}
	for _, c := range []struct {
		pre  []string
		want string // words, separated by |
	}{
		{both, "Hello|,| world|!"},
		{both, "it|'s| he|'LL| we|'Re| x|'D|'x"},
		{both, "a|'l"},
		{both, "x|''|s| '|K"},
		{both, "x|'ſ"},
		{both, "ab|1|2|3|cd|½|٣|Ⅷ"},
		{both, "(foo|).|bar|();\r\n|x"},
		{both, " !!!\n\n| |\ta"},
		{both, "a|   | b"},
		{both, "a|    "},
		{both, "a| \n \n|  | b"},
		{both, "\n|  | x"},
		{both, "\r\n"},
		{both, "a|\u00a0b|\u3000|\u3000c"},
		{both, "a|\u2028\n|\u2028x"},
		{both, "日本語|。| 한국어"},
		{both, "+x|++-|x|\x00y"},
		{both, "👍🏽\n|z"},
		{both, " |1| "},
		{both, "\U0002ebf0\U0002ee5dx|\u0378"},
		{[]string{"qwen2"}, "e|\u0301a| \u0301!\u0301|1|\u0301"},
		{[]string{"qwen35"}, "e\u0301a\u0301|!\u0301a|1|\u0301| \u0301\u0302|\n|\u0301"},
	} {
		for _, pre := range c.pre {
			want := strings.Split(c.want, "|")
			if got := words(scannerOf(t, pre), strings.Join(want, "")); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", pre, got, want)
			}
		}
	}
}

// referenceRegexp has the scanners' alternatives but \s+(?!\S), which Go's regexp cannot express.
var referenceRegexp = map[string]*regexp.Regexp{
	"qwen2":  regexp.MustCompile(strings.ReplaceAll(`^(?:'[sStTmMdD]|'[rRvV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^W\p{L}\p{N}]+[\r\n]*|[W]*[\r\n]+)`, "W", white)),
	"qwen35": regexp.MustCompile(strings.ReplaceAll(`^(?:'[sStTmMdD]|'[rRvV][eE]|'[lL][lL]|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^W\p{L}\p{M}\p{N}]+[\r\n]*|[W]*[\r\n]+)`, "W", white)),
}

const white = `\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`

var blank = regexp.MustCompile(`^[` + white + `]+`)

func referenceWords(pre, s string) []string {
	var out []string
	for s != "" {
		m := referenceRegexp[pre].FindString(s)
		if m == "" {
			m = blank.FindString(s)
			_, n := utf8.DecodeLastRuneInString(m)
			if len(m) < len(s) && n < len(m) {
				m = m[:len(m)-n]
			}
		}
		out, s = append(out, m), s[len(m):]
	}
	return out
}

// sameInGo reports whether Go's Unicode tables and ours agree on all of s, so that Go's regexp can be the reference.
func sameInGo(s string) bool {
	for _, r := range s {
		if classOf(r)&^newline != goClass(r) {
			return false
		}
	}
	return true
}

func goClass(r rune) class {
	switch {
	case unicode.Is(unicode.L, r):
		return letter
	case unicode.Is(unicode.M, r):
		return mark
	case unicode.Is(unicode.N, r):
		return number
	case unicode.Is(unicode.White_Space, r):
		return space
	}
	return 0
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"", " ", "it's  a\n\n test'", "e\u0301 \u0301 1\u0301", "\u3000\u3000x\r\n ", "日本 123 ++\n", "'LL've'x '"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || !sameInGo(s) {
			return
		}
		for pre := range referenceRegexp {
			if got, want := words(scannerOf(t, pre), s), referenceWords(pre, s); !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %q, want %q", pre, s, got, want)
			}
		}
	})
}

// The table is Unicode 15.1's; Go's tables of 15.0 differ from it by CJK extension I, those of a later version by
// what that version added.
func TestClasses(t *testing.T) {
	differ := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		got, want := classOf(r)&^newline, goClass(r)
		switch {
		case 0x2ebf0 <= r && r <= 0x2ee5d:
			want = letter
		case got == 0 && unicode.Version != "15.0.0":
			continue
		}
		if got != want {
			if differ++; differ < 5 {
				t.Errorf("%#x: class %d, want %d", r, got, want)
			}
		}
	}
	if n := classOf('\n'); n != space|newline {
		t.Errorf("line feed: class %d", n)
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain é日😀", "plain é日😀"},
		{"a\xffb", "a\ufffdb"},
		{"\x80\x80", "\ufffd\ufffd"},
		{"\xe4\xb8", "\ufffd\ufffd"},
		{"\xe4\xb8a", "\ufffd\ufffda"},
		{"\xf0\x9f\x98", "\ufffd\ufffd\ufffd"},
		{"\xc0\x80", "\x00"},                                       // overlong
		{"\xc1\x81", "A"},                                          // overlong
		{"\xe0\x80\xaf", "/"},                                      // overlong
		{"\xf0\x80\x80\x80", "\x00"},                               // overlong
		{"\xed\xa0\x80", "\xed\xa0\x80"},                           // surrogate
		{"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},           // above U+10FFFF
		{"\xf8\x88\x80\x80\x80", "\ufffd\ufffd\ufffd\ufffd\ufffd"}, // no such length
	} {
		if got := clean(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
