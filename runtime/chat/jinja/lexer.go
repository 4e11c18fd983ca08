package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	tEOF kind = iota
	tData
	tVarBegin
	tVarEnd
	tBlockBegin
	tBlockEnd
	tName
	tString
	tInt
	tFloat
	tOp
)

// kindNames are the words that errors use.
var kindNames = [...]string{"end of template", "text", "'{{'", "'}}'", "'{%'", "'%}'", "a name", "a string", "an integer", "a number", "an operator"}

type token struct {
	kind kind
	text string // strings: unescaped; data: after whitespace control
	line int
}

func (t token) is(k kind, text string) bool { return t.kind == k && t.text == text }

func (t token) String() string {
	switch t.kind {
	case tName, tInt, tFloat, tOp:
		return fmt.Sprintf("'%s'", t.text)
	}
	return kindNames[t.kind]
}

type lexer struct {
	src       string
	pos, line int
	toks      []token
	lineStart bool // a tag or the start of the text stands right before pos, at the start of a line
}

func syntax(line int, format string, args ...any) {
	panic(&Error{Line: line, Msg: fmt.Sprintf(format, args...)})
}

// lex cuts a template into tokens with trim_blocks (the newline after a block or comment goes) and
// lstrip_blocks (blanks between the start of a line and a block or comment go); the template's last
// newline goes too.
func lex(src string) []token {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.text()
	}
	return append(l.toks, token{kind: tEOF, line: l.line})
}

func (l *lexer) emit(k kind, text string) {
	l.toks = append(l.toks, token{k, text, l.line})
}

// skip moves over n bytes and counts their lines.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

// text reads plain text and the tag that ends it.
func (l *lexer) text() {
	rest := l.src[l.pos:]
	i := 0
	for {
		j := strings.IndexByte(rest[i:], '{')
		if j < 0 || i+j+1 >= len(rest) {
			l.emit(tData, rest)
			l.skip(len(rest))
			return
		}
		i += j
		if c := rest[i+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		i++
	}
	data, open := rest[:i], rest[i+1]
	sign := byte(0)
	if i+2 < len(rest) && (rest[i+2] == '-' || rest[i+2] == '+') {
		sign = rest[i+2]
	}
	switch {
	case sign == '-':
		data = strings.TrimRightFunc(data, isSpace)
	case sign != '+' && open != '{':
		if at := strings.LastIndexByte(data, '\n') + 1; (at > 0 || l.lineStart) && strings.TrimLeftFunc(data[at:], isSpace) == "" {
			data = data[:at]
		}
	}
	if data != "" {
		l.emit(tData, data)
	}
	l.skip(i + 2)
	if sign != 0 {
		l.skip(1)
	}
	switch open {
	case '{':
		l.emit(tVarBegin, "")
		l.tag(tVarEnd, "}}")
	case '%':
		if l.raw() {
			return
		}
		l.emit(tBlockBegin, "")
		l.tag(tBlockEnd, "%}")
	default:
		end := strings.Index(l.src[l.pos:], "#}")
		if end < 0 {
			syntax(l.line, "a comment is opened here and never closed; add '#}'")
		}
		l.skip(end)
		l.close("#}", l.src[l.pos-min(end, 1):l.pos])
	}
}

// close skips an end mark whose sign ("-", "+" or anything else for none) was already passed, and
// the whitespace that it takes along.
func (l *lexer) close(mark, sign string) {
	start := l.pos
	l.skip(len(mark))
	rest := l.src[l.pos:]
	switch {
	case sign == "-":
		l.skip(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
	case sign != "+" && mark != "}}" && strings.HasPrefix(rest, "\n"):
		l.skip(1)
	}
	l.lineStart = l.src[start:l.pos][l.pos-start-1] == '\n'
}

// raw reads {% raw %}…{% endraw %} when the block that was opened is one.
func (l *lexer) raw() bool {
	rest := l.src[l.pos:]
	body := trimWord(rest, "raw")
	sign := ""
	if strings.HasPrefix(body, "-%}") {
		sign, body = "-", body[1:]
	}
	if body == rest || !strings.HasPrefix(body, "%}") {
		return false
	}
	line := l.line
	body = body[2:]
	if sign == "-" {
		body = strings.TrimLeftFunc(body, isSpace)
	}
	l.skip(len(rest) - len(body))
	l.lineStart = false
	for at := 0; ; at += 2 {
		i := strings.Index(body[at:], "{%")
		if i < 0 {
			syntax(line, "a raw block is opened here and never closed; add '{%% endraw %%}'")
		}
		at += i
		end, before := body[at+2:], byte(0)
		if end != "" && (end[0] == '-' || end[0] == '+') {
			before, end = end[0], end[1:]
		}
		after := trimWord(end, "endraw")
		if after == end {
			continue
		}
		sign := after[:min(1, len(after))]
		if sign == "-" || sign == "+" {
			after = after[1:]
		}
		if !strings.HasPrefix(after, "%}") {
			continue
		}
		data := body[:at]
		switch before {
		case '-':
			data = strings.TrimRightFunc(data, isSpace)
		case 0:
			if nl := strings.LastIndexByte(data, '\n') + 1; nl > 0 && strings.TrimLeftFunc(data[nl:], isSpace) == "" {
				data = data[:nl]
			}
		}
		if data != "" {
			l.emit(tData, data)
		}
		l.skip(len(body) - len(after))
		l.close("%}", sign)
		return true
	}
}

// trimWord cuts blanks, word and blanks from s, or returns s whole when word is not there.
func trimWord(s, word string) string {
	rest, ok := strings.CutPrefix(strings.TrimLeftFunc(s, isSpace), word)
	if !ok {
		return s
	}
	return strings.TrimLeftFunc(rest, isSpace)
}

// tag reads the tokens of an expression or statement up to its end mark; inside brackets the mark
// is not looked for, so that }} can close two dictionaries.
func (l *lexer) tag(end kind, mark string) {
	opened := l.line
	var open []byte
	for {
		rest := l.src[l.pos:]
		if rest == "" {
			syntax(opened, "a tag is opened here and never closed; add '%s'", mark)
		}
		if len(open) == 0 {
			sign := ""
			if rest[0] == '-' || rest[0] == '+' && end == tBlockEnd {
				sign = rest[:1]
			}
			if strings.HasPrefix(rest[len(sign):], mark) {
				l.emit(end, "")
				l.skip(len(sign))
				l.close(mark, sign)
				return
			}
		}
		c, size := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(c):
			l.skip(size)
		case c >= '0' && c <= '9':
			l.number(rest)
		case c == '_' || unicode.IsLetter(c):
			n := strings.IndexFunc(rest, func(c rune) bool {
				return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c)
			})
			if n < 0 {
				n = len(rest)
			}
			l.emit(tName, rest[:n])
			l.pos += n
		case c == '"' || c == '\'':
			l.quoted(rest)
		default:
			open = l.operator(rest, open)
		}
	}
}

// operators, longest first.
var operators = []string{"**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

var closes = map[byte]byte{')': '(', ']': '[', '}': '{'}

func (l *lexer) operator(rest string, open []byte) []byte {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch c := op[0]; c {
		case '(', '[', '{':
			open = append(open, c)
			if len(open) > maxNesting {
				syntax(l.line, "brackets nested deeper than %d levels", maxNesting)
			}
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != closes[c] {
				syntax(l.line, "unexpected '%c'", c)
			}
			open = open[:len(open)-1]
		}
		l.emit(tOp, op)
		l.pos += len(op)
		return open
	}
	c, _ := utf8.DecodeRuneInString(rest)
	syntax(l.line, "unexpected character %q", c)
	return nil
}

// digits returns how many bytes of s are digits of a base, single underscores between them included.
func digits(s string, ok func(byte) bool) int {
	n := 0
	for n < len(s) && (ok(s[n]) || n > 0 && s[n] == '_' && s[n-1] != '_' && n+1 < len(s) && ok(s[n+1])) {
		n++
	}
	return n
}

func isDecimal(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool {
	return isDecimal(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// bases are the digits that may follow 0x, 0o and 0b.
var bases = map[byte]func(byte) bool{
	'x': isHex,
	'o': func(c byte) bool { return c >= '0' && c <= '7' },
	'b': func(c byte) bool { return c == '0' || c == '1' },
}

func (l *lexer) number(s string) {
	if len(s) > 2 && s[0] == '0' {
		if ok := bases[s[1]|0x20]; ok != nil {
			if n := digits(s[2:], ok); n > 0 {
				l.emit(tInt, s[:2+n])
				l.pos += 2 + n
				return
			}
		}
	}
	n := digits(s, isDecimal)
	k := tInt
	// The digit after a dot in x.0.1 starts no fraction.
	if n+1 < len(s) && s[n] == '.' && isDecimal(s[n+1]) && !l.afterDot() {
		k, n = tFloat, n+1+digits(s[n+1:], isDecimal)
	}
	if e := n + 1; n < len(s) && s[n]|0x20 == 'e' && !l.afterDot() {
		if e < len(s) && (s[e] == '+' || s[e] == '-') {
			e++
		}
		if d := digits(s[e:], isDecimal); d > 0 {
			k, n = tFloat, e+d
		}
	}
	l.emit(k, s[:n])
	l.pos += n
}

func (l *lexer) afterDot() bool { return l.pos > 0 && l.src[l.pos-1] == '.' }

func (l *lexer) quoted(s string) {
	for n := 1; n < len(s); n++ {
		switch s[n] {
		case '\\':
			n++
		case s[0]:
			text, ok := unescape(s[1:n])
			if !ok {
				syntax(l.line, "a string holds a broken escape sequence")
			}
			l.emit(tString, text)
			l.skip(n + 1)
			return
		}
	}
	syntax(l.line, "a string is opened here and never closed; add %c", s[0])
}

// escapes are Python's one-letter escapes.
var escapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape resolves Python's escape sequences; an unknown one stays as it is.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, "\\") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if text, ok := escapes[s[i]]; ok {
			b.WriteString(text)
			continue
		}
		width, base, at := 0, rune(16), i+1
		switch c := s[i]; {
		case c == 'x':
			width = 2
		case c == 'u':
			width = 4
		case c == 'U':
			width = 8
		case c == 'N':
			return "", false // characters by name
		case c >= '0' && c <= '7':
			width, base, at = 3, 8, i
		default:
			b.WriteString(s[i-1 : i+1])
			continue
		}
		c, n := rune(0), 0
		for n < width && at+n < len(s) {
			d := strings.IndexByte("0123456789abcdef", s[at+n]|0x20)
			if isDecimal(s[at+n]) {
				d = int(s[at+n] - '0')
			}
			if d < 0 || rune(d) >= base {
				break
			}
			c, n = c*base+rune(d), n+1
			if c > unicode.MaxRune {
				return "", false
			}
		}
		if base == 16 && n < width {
			return "", false
		}
		b.WriteRune(c)
		i = at + n - 1
	}
	return b.String(), true
}

// isSpace is Python's str.isspace.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }
