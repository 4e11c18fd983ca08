package tokenizer

import (
	"sort"
	"unicode/utf8"
)

//go:generate go run gen.go

// A class is what the pre-tokenisers ask of a code point; 0 is any other one (punctuation, symbols, controls, unassigned).
type class uint8

const (
	letter  class = 1 << iota // \p{L}
	mark                      // \p{M}
	number                    // \p{N}
	space                     // \s
	newline                   // \r or \n, also a space
)

type classRange struct {
	lo, hi rune
	class  class
}

var ascii = func() (t [utf8.RuneSelf]class) {
	for c := range t {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			t[c] = letter
		case '0' <= c && c <= '9':
			t[c] = number
		case c == '\r' || c == '\n':
			t[c] = space | newline
		case c == ' ' || '\t' <= c && c <= '\f':
			t[c] = space
		}
	}
	return t
}()

func classOf(r rune) class {
	if r < utf8.RuneSelf {
		return ascii[r]
	}
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].hi >= r })
	if i < len(ranges) && ranges[i].lo <= r {
		return ranges[i].class
	}
	return 0
}

// peek returns the class and the length in bytes of the code point at s[i:], 0 and 0 at the end.
// s must have gone through clean.
func peek(s string, i int) (class, int) {
	if i >= len(s) {
		return 0, 0
	}
	if s[i] < utf8.RuneSelf {
		return ascii[s[i]], 1
	}
	r, n := decode(s[i:])
	return classOf(r), n
}

// A scanner cuts text into the words that BPE merges within. It is the regular expression
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}| ?[^\s\p{N}W]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// written out by hand, where W is the set of classes that words are made of.
type scanner class

// scanners are the pre-tokenisers by the names that tokenizer.ggml.pre has for them.
var scanners = []struct {
	name string
	scanner
}{
	{"qwen2", scanner(letter)},
	{"qwen35", scanner(letter | mark)},
	// The same expression as qwen2.
	{"deepseek-r1-qwen", scanner(letter)},
	{"f2llmv2", scanner(letter)},
	{"kormo", scanner(letter)},
	{"megrez", scanner(letter)},
}

// next returns the end of the word that starts at s[i:], i < len(s).
func (w scanner) next(s string, i int) int {
	if n := contraction(s[i:]); n > 0 {
		return i + n
	}
	c, n := peek(s, i)
	if c&(newline|number) == 0 {
		after, _ := peek(s, i+n)
		if (c|after)&class(w) != 0 {
			return skip(s, i+n, class(w))
		}
	}
	if c == number {
		return i + n
	}

	j := i
	if s[i] == ' ' {
		j++
		c, n = peek(s, j)
	}
	stop := space | number | class(w)
	if n > 0 && c&stop == 0 {
		for n > 0 && c&stop == 0 {
			j += n
			c, n = peek(s, j)
		}
		return skip(s, j, newline)
	}

	// A run of white space: up to its last line break, or all but the last one of it when a word follows.
	end, last, line := i, i, 0
	for c, n = peek(s, i); c&space != 0; c, n = peek(s, end) {
		last, end = end, end+n
		if c&newline != 0 {
			line = end
		}
	}
	switch {
	case line > 0:
		return line
	case last > i && end < len(s):
		return last
	}
	return end
}

// skip returns the end of the run of code points of the classes set that starts at s[i:].
func skip(s string, i int, set class) int {
	for {
		c, n := peek(s, i)
		if c&set == 0 {
			return i
		}
		i += n
	}
}

// contraction returns the length of (?i:'s|'t|'re|'ve|'m|'ll|'d) at the start of s, or 0.
func contraction(s string) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	switch a := s[1] | 0x20; a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		want := byte('e')
		if a == 'l' {
			want = 'l'
		}
		if len(s) > 2 && s[2]|0x20 == want {
			return 3
		}
	}
	return 0
}

// clean returns s as llama.cpp reads it: bytes that start no code point become U+FFFD each, and an overlong
// sequence its shortest form. Surrogates stay. llama.cpp cannot encode what lies above U+10FFFF and fails;
// here such bytes are invalid like others.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s)+len(s)/2)
	for len(s) > 0 {
		r, n := decode(s)
		b, s = appendRune(b, r), s[n:]
	}
	return string(b)
}

// appendRune is utf8.AppendRune, but writes surrogates too.
func appendRune(b []byte, r rune) []byte {
	if 0xd800 <= r && r < 0xe000 {
		return append(b, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(b, r)
}

// decode reads the first code point of s leniently: overlong forms and surrogates are taken.
// Anything else that is not UTF-8 is U+FFFD of length 1.
func decode(s string) (rune, int) {
	b := s[0]
	n, r := 0, rune(0)
	switch {
	case b < 0x80:
		return rune(b), 1
	case b < 0xc0:
	case b < 0xe0:
		n, r = 2, rune(b&0x1f)
	case b < 0xf0:
		n, r = 3, rune(b&0x0f)
	case b < 0xf8:
		n, r = 4, rune(b&0x07)
	}
	if n == 0 || n > len(s) {
		return utf8.RuneError, 1
	}
	for _, c := range []byte(s[1:n]) {
		if c&0xc0 != 0x80 {
			return utf8.RuneError, 1
		}
		r = r<<6 | rune(c&0x3f)
	}
	if r > utf8.MaxRune {
		return utf8.RuneError, 1
	}
	return r, n
}
