package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// text is Python's str(v).
func (r *run) text(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case *Undefined:
		return ""
	}
	b := &buffer{run: r}
	r.repr(b, v)
	return b.String()
}

// repr writes Python's repr(v).
func (r *run) repr(b *buffer, v Value) {
	r.step(1)
	switch v := v.(type) {
	case None:
		b.put("None")
	case bool:
		if v {
			b.put("True")
		} else {
			b.put("False")
		}
	case int64:
		b.put(strconv.FormatInt(v, 10))
	case *big.Int:
		b.put(v.String())
	case float64:
		b.put(floatText(v))
	case string:
		quoteTo(b.put, v)
	case Markup:
		b.put("Markup(")
		quoteTo(b.put, string(v))
		b.put(")")
	case *List:
		r.reprItems(b, "[", v.Items, "]")
	case *Tuple:
		end := ")"
		if len(v.Items) == 1 {
			end = ",)"
		}
		r.reprItems(b, "(", v.Items, end)
	case *Map:
		r.reprMap(b, v)
	case *View:
		r.reprItems(b, "dict_"+v.kind+"([", v.items(), "])")
	case *Range:
		stop := v.start + v.n*v.step
		if v.step == 1 {
			b.put(fmt.Sprintf("range(%d, %d)", v.start, stop))
		} else {
			b.put(fmt.Sprintf("range(%d, %d, %d)", v.start, stop, v.step))
		}
	case *Undefined:
		b.put("Undefined")
	case *Namespace:
		b.put("<Namespace ")
		r.reprMap(b, v.vars)
		b.put(">")
	case *Macro:
		b.put("<Macro " + quote(v.def.name) + ">")
	case *Loop:
		b.put(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, v.length()))
	case *Func:
		b.put("<function " + v.name + ">")
	default:
		b.put("<" + typeName(v) + " object>")
	}
}

func (r *run) reprItems(b *buffer, open string, items []Value, end string) {
	r.enter()
	b.put(open)
	for i, item := range items {
		if i > 0 {
			b.put(", ")
		}
		r.repr(b, item)
	}
	b.put(end)
	r.leave()
}

func (r *run) reprMap(b *buffer, m *Map) {
	r.enter()
	b.put("{")
	for i := range m.ents {
		if i > 0 {
			b.put(", ")
		}
		r.repr(b, m.ents[i].key)
		b.put(": ")
		r.repr(b, m.ents[i].val)
	}
	b.put("}")
	r.leave()
}

// floatText is Python's repr of a float: the shortest digits that read back, with an exponent below
// 1e-4 and from 1e16 on.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	var b strings.Builder
	quoteTo(func(s string) { b.WriteString(s) }, s)
	return b.String()
}

func quoteTo(put func(string), s string) {
	q := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = `"`
	}
	put(q)
	from := 0
	for i, c := range s {
		esc := ""
		switch {
		case c == '\\' || c == rune(q[0]):
			esc = `\` + string(c)
		case c == '\n':
			esc = `\n`
		case c == '\r':
			esc = `\r`
		case c == '\t':
			esc = `\t`
		case strconv.IsPrint(c):
			continue
		case c < 0x100:
			esc = fmt.Sprintf(`\x%02x`, c)
		case c < 0x10000:
			esc = fmt.Sprintf(`\u%04x`, c)
		default:
			esc = fmt.Sprintf(`\U%08x`, c)
		}
		put(s[from:i])
		put(esc)
		from = i + utf8.RuneLen(c)
	}
	put(s[from:])
	put(q)
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escapeHTML is markupsafe's escape.
func escapeHTML(s string) string { return htmlEscaper.Replace(s) }

// isASCII tells whether bytes and code points of s are the same.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// index returns the byte offset of sub in s, or -1, and counts the search.
func (r *run) index(s, sub string) int {
	r.scan(len(s))
	return strings.Index(s, sub)
}

// letters counts the walk over s that finding a code point takes; in ASCII it is an index.
func (r *run) letters(s string) {
	r.scan(len(s))
	if !isASCII(s) {
		r.step(len(s) >> 4)
	}
}

// byteAt returns the byte offset of code point i, which is at most the length of s.
func byteAt(s string, i int) int {
	if isASCII(s) {
		return i
	}
	at := 0
	for ; i > 0; i-- {
		_, n := utf8.DecodeRuneInString(s[at:])
		at += n
	}
	return at
}
