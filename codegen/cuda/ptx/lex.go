package ptx

import (
	"fmt"
	"strings"
)

// A token's kind is its first byte for punctuation.
const (
	tokEOF    = 0
	tokWord   = 'w' // a name, directive or opcode with its dots
	tokNumber = 'n'
	tokString = 's'
)

type token struct {
	kind byte
	text string
	line int
	pos  int // of its first byte
}

// maxSource bounds the text that is read, in bytes.
const maxSource = 64 << 20

// A lexer cuts PTX into tokens.
type lexer struct {
	src  string
	pos  int
	line int
}

func isAlpha(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '%' || c == '.'
}
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// blank skips white space and comments.
func (l *lexer) blank() error {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case rest[0] == '\n':
			l.line++
			l.pos++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			l.pos++
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.pos += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return fmt.Errorf("line %d: a comment has no end", l.line)
			}
			l.line += strings.Count(rest[:n], "\n")
			l.pos += n + 2
		default:
			return nil
		}
	}
	return nil
}

// next gives the next token; at the end one of kind tokEOF.
func (l *lexer) next() (token, error) {
	if err := l.blank(); err != nil {
		return token{}, err
	}
	start := l.pos
	t := token{line: l.line, pos: start}
	if start == len(l.src) {
		return t, nil
	}
	switch c := l.src[start]; {
	case isAlpha(c):
		t.kind = tokWord
		for l.pos < len(l.src) {
			c := l.src[l.pos]
			if !isAlpha(c) && !isDigit(c) {
				// ".shared::cta" is one word; a label's colon is not part of it.
				if !strings.HasPrefix(l.src[l.pos:], "::") || l.pos+2 == len(l.src) || !isAlpha(l.src[l.pos+2]) {
					break
				}
				l.pos++
			}
			l.pos++
		}
	case isDigit(c):
		t.kind = tokNumber
		for l.pos < len(l.src) && (isDigit(l.src[l.pos]) || isAlpha(l.src[l.pos])) {
			l.pos++
		}
	case c == '"':
		t.kind = tokString
		n := strings.IndexAny(l.src[start+1:], "\"\n")
		if n < 0 || l.src[start+1+n] == '\n' {
			return t, fmt.Errorf("line %d: a string has no end", l.line)
		}
		l.pos = start + n + 2
	case strings.IndexByte("{}[]()<>,;:=+-@!|", c) >= 0:
		t.kind = c
		l.pos++
	default:
		return t, fmt.Errorf("line %d: %q is not part of PTX", l.line, c)
	}
	t.text = l.src[start:l.pos]
	return t, nil
}

// lex cuts the whole text.
func lex(src string) ([]token, error) {
	if len(src) > maxSource {
		return nil, fmt.Errorf("%d bytes of PTX: more than %d", len(src), maxSource)
	}
	l := &lexer{src: src, line: 1}
	var out []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		if t.kind == tokEOF {
			return out, nil
		}
	}
}
