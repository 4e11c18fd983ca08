package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// strMethods are the methods of str. Those of a Markup are the same with Markup results.
var strMethods map[string]builtin

// onText makes a row of a method whose result is text or lists of text.
func onText(params string, call func(r *run, s string, a []Value) Value) builtin {
	return builtin{params: params, call: func(r *run, self Value, a []Value) Value {
		s, _ := str(self)
		r.scan(len(s))
		v := call(r, s, a)
		if _, ok := self.(Markup); ok {
			return marked(v)
		}
		return v
	}}
}

func marked(v Value) Value {
	if s, ok := v.(string); ok {
		return Markup(s)
	}
	if items, ok := sequence(v); ok {
		for i := range items {
			items[i] = marked(items[i])
		}
	}
	return v
}

func changed(f func(string) string) builtin {
	return onText("", func(r *run, s string, _ []Value) Value {
		r.grow(3 * int64(len(s)))
		return f(s)
	})
}

func stripped(left, right bool) builtin {
	return onText("chars?", func(r *run, s string, a []Value) Value {
		return r.strip(s, a[0], left, right)
	})
}

func (r *run) strip(s string, chars Value, left, right bool) string {
	cut := isSpace
	if !isNone(chars) {
		set := r.strArg(chars, "")
		r.step(len(set))
		cut = func(c rune) bool {
			r.scan(len(set))
			return strings.ContainsRune(set, c)
		}
	}
	if left {
		s = strings.TrimLeftFunc(s, cut)
	}
	if right {
		s = strings.TrimRightFunc(s, cut)
	}
	return s
}

// found makes a row of find, index and their relatives: code point offsets within s[start:end].
func found(last, must bool) builtin {
	return builtin{params: "sub start? end?", call: func(r *run, self Value, a []Value) Value {
		s, _ := str(self)
		sub := r.strArg(a[0], "")
		r.letters(s)
		part, from, ok := r.window(s, a[1], a[2])
		i := -1
		if ok && last {
			r.scan(len(part))
			i = strings.LastIndex(part, sub)
		} else if ok {
			i = r.index(part, sub)
		}
		if i < 0 {
			if must {
				r.fail("substring not found")
			}
			return int64(-1)
		}
		return from + int64(utf8.RuneCountInString(part[:i]))
	}}
}

// window is s[start:end] and its code point offset; not ok when start lies behind the end of s.
func (r *run) window(s string, start, end Value) (string, int64, bool) {
	if isNone(start) && isNone(end) {
		return s, 0, true
	}
	r.letters(s)
	n := int64(utf8.RuneCountInString(s))
	if i, ok := toInt(start); ok && i > n {
		return "", 0, false
	}
	from, to, _ := r.clip(n, start, end, nil)
	if from > to {
		return "", 0, false
	}
	at := byteAt(s, int(from))
	return s[at : at+byteAt(s[at:], int(to-from))], from, true
}

// edged makes a row of startswith and endswith, which take one string or a tuple of them.
func edged(has func(s, edge string) bool) builtin {
	return builtin{params: "edge start? end?", call: func(r *run, self Value, a []Value) Value {
		s, _ := str(self)
		part, _, ok := r.window(s, a[1], a[2])
		edges := []Value{a[0]}
		if t, isTuple := a[0].(*Tuple); isTuple {
			edges = t.Items
		}
		for _, e := range edges {
			edge := r.strArg(e, "")
			r.step(1)
			r.scan(len(edge))
			if ok && has(part, edge) {
				return true
			}
		}
		return false
	}}
}

func parted(last bool) builtin {
	return onText("sep", func(r *run, s string, a []Value) Value {
		sep := r.separator(a[0])
		i := strings.Index(s, sep)
		if last {
			i = strings.LastIndex(s, sep)
		}
		switch {
		case i >= 0:
			return &Tuple{[]Value{s[:i], sep, s[i+len(sep):]}}
		case last:
			return &Tuple{[]Value{"", "", s}}
		}
		return &Tuple{[]Value{s, "", ""}}
	})
}

func (r *run) separator(v Value) string {
	sep := r.strArg(v, "")
	if sep == "" {
		r.fail("empty separator")
	}
	return sep
}

func every(ok func(rune) bool) builtin {
	return builtin{call: func(r *run, self Value, _ []Value) Value {
		s, _ := str(self)
		r.scan(8 * len(s))
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !ok(c) }) < 0
	}}
}

func cased(text func(string) string) builtin {
	return builtin{call: func(r *run, self Value, _ []Value) Value {
		s, _ := str(self)
		r.grow(3 * int64(len(s)))
		return s == text(s) && strings.IndexFunc(s, isCased) >= 0
	}}
}

func isCased(c rune) bool {
	return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c)
}

// center puts the odd blank where Python puts it.
func (r *run) center(s string, width int64, fill string) string {
	return r.pad(s, width, fill, func(gap int) (int, int) {
		left := gap/2 + gap&int(width)&1
		return left, gap - left
	})
}

func padded(side func(gap int) (left, right int)) builtin {
	return onText("width fill?", func(r *run, s string, a []Value) Value {
		return r.pad(s, r.intArg(a[0], 0), r.strArg(a[1], " "), side)
	})
}

func (r *run) pad(s string, width int64, fill string, side func(gap int) (left, right int)) string {
	n := int64(utf8.RuneCountInString(s))
	if utf8.RuneCountInString(fill) != 1 {
		r.fail("the fill character must be exactly one character long")
	}
	if width <= n {
		return s
	}
	r.growTimes(len(fill), width)
	left, right := side(int(width - n))
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, right)
}

func padLeft(gap int) (int, int)  { return gap, 0 }
func padRight(gap int) (int, int) { return 0, gap }

func init() {
	strMethods = map[string]builtin{
		"upper": changed(upper), "lower": changed(lower), "casefold": changed(lower),
		"capitalize": changed(capitalize), "title": changed(title), "swapcase": changed(swapCase),
		"strip": stripped(true, true), "lstrip": stripped(true, false), "rstrip": stripped(false, true),
		"find": found(false, false), "rfind": found(true, false), "index": found(false, true), "rindex": found(true, true),
		"startswith": edged(strings.HasPrefix), "endswith": edged(strings.HasSuffix),
		"partition": parted(false), "rpartition": parted(true),
		"isspace": every(isSpace), "isalpha": every(unicode.IsLetter), "isdigit": every(unicode.IsDigit),
		"isdecimal": every(unicode.IsDigit), "isnumeric": every(unicode.IsNumber),
		"isalnum": every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		"isascii": {call: func(_ *run, self Value, _ []Value) Value { s, _ := str(self); return isASCII(s) }},
		"isupper": cased(upper), "islower": cased(lower), "istitle": cased(title),
		"ljust": padded(padRight), "rjust": padded(padLeft),
		"center": onText("width fill?", func(r *run, s string, a []Value) Value {
			return r.center(s, r.intArg(a[0], 0), r.strArg(a[1], " "))
		}),
		"zfill": onText("width", func(r *run, s string, a []Value) Value {
			sign := ""
			if s != "" && (s[0] == '-' || s[0] == '+') {
				sign, s = s[:1], s[1:]
			}
			return sign + r.pad(s, r.intArg(a[0], 0)-int64(len(sign)), "0", padLeft)
		}),
		"removeprefix": onText("prefix", func(r *run, s string, a []Value) Value { return strings.TrimPrefix(s, r.strArg(a[0], "")) }),
		"removesuffix": onText("suffix", func(r *run, s string, a []Value) Value { return strings.TrimSuffix(s, r.strArg(a[0], "")) }),
		"splitlines": onText("keepends?", func(r *run, s string, a []Value) Value {
			return &List{r.lines(s, boolArg(a[0], false))}
		}),
		"split": onText("sep? maxsplit?", func(r *run, s string, a []Value) Value {
			return &List{r.split(s, a[0], r.intArg(a[1], -1))}
		}),
		"rsplit": onText("sep? maxsplit?", func(r *run, s string, a []Value) Value {
			return &List{r.rsplit(s, a[0], r.intArg(a[1], -1))}
		}),
		"count": {params: "sub start? end?", call: func(r *run, self Value, a []Value) Value {
			s, _ := str(self)
			part, _, ok := r.window(s, a[1], a[2])
			if !ok {
				return int64(0)
			}
			r.scan(len(part))
			return int64(strings.Count(part, r.strArg(a[0], "")))
		}},
		"replace": {params: "old new count?", call: func(r *run, self Value, a []Value) Value {
			s, _ := str(self)
			to := r.strArg(a[1], "")
			if _, ok := self.(Markup); ok {
				if _, safe := a[1].(Markup); !safe {
					to = escapeHTML(to)
				}
				return Markup(r.replace(s, r.strArg(a[0], ""), to, r.intArg(a[2], -1)))
			}
			return r.replace(s, r.strArg(a[0], ""), to, r.intArg(a[2], -1))
		}},
		"join": {params: "items", call: func(r *run, self Value, a []Value) Value {
			sep, _ := str(self)
			_, safe := self.(Markup)
			b := &buffer{run: r}
			for i, item := range r.items(a[0]) {
				s, ok := str(item)
				if !ok {
					r.useless(item)
					r.fail("sequence item %d: expected str instance, %s found", i, typeName(item))
				}
				if _, ok := item.(Markup); safe && !ok {
					s = escapeHTML(s)
				}
				if i > 0 {
					b.put(sep)
				}
				r.step(1)
				b.put(s)
			}
			if safe {
				return Markup(b.String())
			}
			return b.String()
		}},
		"format": {raw: func(r *run, self Value, a args) Value {
			s, _ := str(self)
			if _, ok := self.(Markup); ok {
				return Markup(r.format(s, a, escapeHTML))
			}
			return r.format(s, a, nil)
		}},
	}
}

// replace counts what the result takes before it is built.
func (r *run) replace(s, old, to string, count int64) string {
	n := int64(strings.Count(s, old))
	if count >= 0 && count < n {
		n = count
	}
	r.scan(2 * len(s))
	r.growTimes(len(to), n)
	r.grow(int64(len(s)))
	return strings.Replace(s, old, to, int(n))
}

// split is s.split(sep, max): at every sep, or at runs of whitespace when sep is None.
func (r *run) split(s string, sep Value, most int64) []Value {
	var out []Value
	if isNone(sep) {
		s = strings.TrimLeftFunc(s, isSpace)
		for s != "" {
			i := strings.IndexFunc(s, isSpace)
			if i < 0 || most == int64(len(out)) {
				r.growItems(1)
				return append(out, s)
			}
			r.growItems(1)
			out = append(out, s[:i])
			s = strings.TrimLeftFunc(s[i:], isSpace)
		}
		return out
	}
	at := r.separator(sep)
	for {
		r.growItems(1)
		i := strings.Index(s, at)
		if i < 0 || most == int64(len(out)) {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = s[i+len(at):]
	}
}

// rsplit is split from the right.
func (r *run) rsplit(s string, sep Value, most int64) []Value {
	if most < 0 {
		return r.split(s, sep, -1)
	}
	var out []Value // last piece first
	if isNone(sep) {
		s = strings.TrimRightFunc(s, isSpace)
		for s != "" {
			r.growItems(1)
			i := strings.LastIndexFunc(s, isSpace)
			if i < 0 || most == int64(len(out)) {
				out = append(out, s)
				break
			}
			_, size := utf8.DecodeRuneInString(s[i:])
			out = append(out, s[i+size:])
			s = strings.TrimRightFunc(s[:i], isSpace)
		}
	} else {
		at := r.separator(sep)
		for {
			r.growItems(1)
			i := strings.LastIndex(s, at)
			if i < 0 || most == int64(len(out)) {
				out = append(out, s)
				break
			}
			out = append(out, s[i+len(at):])
			s = s[:i]
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// lines is str.splitlines.
func (r *run) lines(s string, keep bool) []Value {
	var out []Value
	for s != "" {
		r.growItems(1)
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			return append(out, s)
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			size = 2
		}
		if keep {
			out = append(out, s[:i+size])
		} else {
			out = append(out, s[:i])
		}
		s = s[i+size:]
	}
	return out
}
