package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is how one value is laid out, in either of Python's two notations.
type spec struct {
	fill      string
	align     byte // < > ^ = or 0
	sign      byte // + or blank, 0 for none
	alt, zero bool
	comma     string
	width     int64
	precision int // -1 for none
	verb      byte
}

// pad fills text up to the width.
func (r *run) padSpec(s string, sp spec, def byte) string {
	align := sp.align
	if align == 0 {
		align = def
	}
	fill := sp.fill
	if fill == "" {
		fill = " "
	}
	switch align {
	case '<':
		return r.pad(s, sp.width, fill, padRight)
	case '^':
		return r.pad(s, sp.width, fill, func(gap int) (int, int) { return gap / 2, gap - gap/2 })
	case '=':
		n := 0
		if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
			n = 1
		}
		if len(s) >= n+2 && s[n] == '0' && strings.IndexByte("xXob", s[n+1]) >= 0 {
			n += 2
		}
		return s[:n] + r.pad(s[n:], sp.width-int64(n), fill, padLeft)
	}
	return r.pad(s, sp.width, fill, padLeft)
}

// signed puts a sign before digits.
func (sp spec) signed(digits string) string {
	if strings.HasPrefix(digits, "-") || sp.sign == 0 || sp.sign == '-' {
		return digits
	}
	return string(sp.sign) + digits
}

// group puts commas or underscores between thousands.
func (sp spec) group(digits string) string {
	if sp.comma == "" {
		return digits
	}
	start := 0
	if strings.HasPrefix(digits, "-") {
		start = 1
	}
	end := strings.IndexAny(digits, ".e")
	if end < 0 {
		end = len(digits)
	}
	var b strings.Builder
	for i := range len(digits) {
		if i > start && i < end && (end-i)%3 == 0 {
			b.WriteString(sp.comma)
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}

// radix are the bases of the integer verbs.
var radix = map[byte]struct {
	base   int
	prefix string
}{'d': {10, ""}, 'i': {10, ""}, 'u': {10, ""}, 'n': {10, ""}, 'x': {16, "0x"}, 'X': {16, "0X"}, 'o': {8, "0o"}, 'b': {2, "0b"}}

func (sp spec) integer(i *big.Int) string {
	row := radix[sp.verb]
	s := i.Text(row.base)
	if sp.verb == 'X' {
		s = strings.ToUpper(s)
	}
	if sp.precision >= 0 { // %.3d: at least so many digits
		n := strings.TrimPrefix(s, "-")
		s = s[:len(s)-len(n)] + strings.Repeat("0", max(0, sp.precision-len(n))) + n
	}
	if sp.alt {
		n := strings.TrimPrefix(s, "-")
		s = s[:len(s)-len(n)] + row.prefix + n
	}
	return sp.signed(sp.group(s))
}

func (sp spec) float(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return sp.signed(floatText(f))
	}
	verb, precision := sp.verb, sp.precision
	if precision < 0 {
		precision = 6
	}
	percent := verb == '%'
	if percent {
		verb, f = 'f', f*100
	}
	s := ""
	switch verb | 0x20 {
	case 'g':
		s = general(f, max(precision, 1), sp.alt)
	default:
		s = strconv.FormatFloat(f, verb|0x20, precision, 64)
	}
	if verb < 'a' {
		s = strings.ToUpper(s)
	}
	s = sp.signed(sp.group(s))
	if percent {
		s += "%"
	}
	return s
}

// general is C's %g: so many digits, an exponent where the number is very small or large.
func general(f float64, digits int, keep bool) string {
	e := strconv.FormatFloat(f, 'e', digits-1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	mantissa, tail := e[:at], e[at:]
	if exp >= -4 && exp < digits {
		mantissa, tail = strconv.FormatFloat(f, 'f', digits-1-exp, 64), ""
	}
	if !keep && strings.Contains(mantissa, ".") {
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	return mantissa + tail
}

// number reads digits at s[at:]; widths and precisions beyond all use are a fault.
func (r *run) digits(s string, at int) (n int64, end int) {
	end = at
	for end < len(s) && isDecimal(s[end]) {
		end++
	}
	n, err := strconv.ParseInt("0"+s[at:end], 10, 64)
	if err != nil || n > r.lim.Memory {
		r.fail("a width of %.20s in a format", s[at:end])
	}
	return n, end
}

// maxPrecision bounds the digits after the point that a format may ask for.
const maxPrecision = 1000

func (r *run) precision(s string, at int) (int, int) {
	n, end := r.digits(s, at)
	if n > maxPrecision {
		r.fail("a precision of more than %d in a format", maxPrecision)
	}
	return int(n), end
}

// percent is the operator % of strings. escape, if given, is applied to what is filled in.
func (r *run) percent(s string, arg Value, escape func(string) string) string {
	var list []Value
	mapping, _ := arg.(*Map)
	if t, ok := arg.(*Tuple); ok {
		list = t.Items
	} else {
		list = []Value{arg}
	}
	take := func() Value {
		if len(list) == 0 {
			r.fail("not enough arguments for format string")
		}
		v := list[0]
		list = list[1:]
		return v
	}
	b := &buffer{run: r}
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '%')
		if i < 0 {
			b.put(s[at:])
			break
		}
		r.step(1)
		b.put(s[at : at+i])
		at += i + 1
		var v Value
		if at < len(s) && s[at] == '(' {
			end := strings.IndexByte(s[at:], ')')
			if end < 0 || mapping == nil {
				r.fail("format requires a mapping")
			}
			key := s[at+1 : at+end]
			got, ok := mapping.Get(key)
			if !ok {
				r.fail("the format's key '%s' is not there", key)
			}
			v, list, at = got, nil, at+end+1
		}
		sp := spec{precision: -1}
		for ; at < len(s); at++ {
			switch s[at] {
			case '-':
				sp.align = '<'
			case '+':
				sp.sign = '+'
			case ' ':
				if sp.sign == 0 {
					sp.sign = ' '
				}
			case '#':
				sp.alt = true
			case '0':
				sp.zero = true
			default:
				goto width
			}
		}
	width:
		sp.width, at = r.digits(s, at)
		if at < len(s) && s[at] == '.' {
			sp.precision, at = r.precision(s, at+1)
		}
		if at == len(s) {
			r.fail("incomplete format")
		}
		sp.verb = s[at]
		at++
		if sp.verb == '%' {
			b.put("%")
			continue
		}
		if v == nil {
			v = take()
		}
		b.put(r.filled(v, sp, escape))
	}
	if len(list) > 0 && mapping == nil {
		if _, ok := arg.(*Tuple); ok || len(list) > 0 && !isWalkable(arg) || isString(arg) {
			r.fail("not all arguments converted during string formatting")
		}
	}
	return b.String()
}

// filled lays out one value for a % format.
func (r *run) filled(v Value, sp spec, escape func(string) string) string {
	switch sp.verb {
	case 's', 'r', 'a':
		s := r.text(v)
		if sp.verb != 's' {
			q := &buffer{run: r}
			r.repr(q, v)
			s = q.String()
		}
		if _, safe := v.(Markup); escape != nil && !safe {
			r.grow(6 * int64(len(s)))
			s = escape(s)
		}
		if sp.precision >= 0 {
			s = s[:byteAt(s, min(sp.precision, utf8.RuneCountInString(s)))]
		}
		return r.padSpec(s, sp, '>')
	case 'c':
		if s, ok := str(v); ok && utf8.RuneCountInString(s) == 1 {
			return r.padSpec(s, sp, '>')
		}
		if i, ok := toInt(v); ok && i >= 0 && i <= utf8.MaxRune {
			return r.padSpec(string(rune(i)), sp, '>')
		}
		r.fail("%%c requires int or char")
	}
	if sp.zero && sp.align == 0 {
		sp.align, sp.fill = '=', "0"
	}
	f, ok := toFloat(v)
	if !ok {
		r.useless(v)
		r.fail("%%%c format: a number is required, not %s", sp.verb, typeName(v))
	}
	if _, ok := radix[sp.verb]; ok && sp.verb != 'b' && sp.verb != 'n' {
		i, isInt := toBig(v)
		if !isInt {
			if sp.verb != 'd' && sp.verb != 'i' && sp.verb != 'u' || math.IsNaN(f) || math.IsInf(f, 0) {
				r.fail("%%%c format: an integer is required, not %s", sp.verb, typeName(v))
			}
			i, _ = big.NewFloat(f).Int(nil)
		}
		return r.padSpec(sp.integer(i), sp, '>')
	}
	if strings.IndexByte("eEfFgG", sp.verb) < 0 {
		r.fail("unsupported format character '%c'", sp.verb)
	}
	return r.padSpec(sp.float(f), sp, '>')
}

// format is str.format: {} {0} {name} {name.attr[key]} {!r} {:spec}.
func (r *run) format(s string, a args, escape func(string) string) string {
	b := &buffer{run: r}
	auto := 0
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.put(s)
			break
		}
		r.step(1)
		b.put(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			b.put(s[i : i+1])
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			r.fail("single '%c' encountered in format string", s[i])
		}
		field := s[i+1 : i+end]
		if strings.IndexByte(field, '{') >= 0 {
			r.fail("nested fields in a format are not supported")
		}
		s = s[i+end+1:]
		name, layout, _ := strings.Cut(field, ":")
		name, conv, _ := strings.Cut(name, "!")
		v := r.field(name, &auto, a)
		switch conv {
		case "r", "a":
			q := &buffer{run: r}
			r.repr(q, v)
			v = q.String()
		case "s":
			v = r.text(v)
		}
		text := r.layout(v, layout)
		if _, safe := v.(Markup); escape != nil && !safe {
			r.grow(6 * int64(len(text)))
			text = escape(text)
		}
		b.put(text)
	}
	return b.String()
}

// field finds the argument that a replacement field names.
func (r *run) field(name string, auto *int, a args) Value {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, rest := name[:end], name[end:]
	var v Value
	n, err := strconv.Atoi(first)
	if first == "" {
		n, err = *auto, nil
		*auto++
	}
	if err == nil {
		if n < 0 || n >= len(a.pos) {
			r.fail("replacement index %d out of range for positional args", n)
		}
		v = a.pos[n]
	}
	for _, kw := range a.kw {
		if kw.name == first && err != nil {
			v = kw.val
		}
	}
	if v == nil {
		r.fail("the format's argument '%s' is not there", first)
	}
	for rest != "" {
		r.step(1)
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				r.fail("missing ']' in format string")
			}
			if i, err := strconv.ParseInt(rest[1:end], 10, 64); err == nil {
				v = r.getitem(v, i)
			} else {
				v = r.getitem(v, rest[1:end])
			}
			rest = rest[end+1:]
			continue
		}
		end := strings.IndexAny(rest[1:], ".[") + 1
		if end == 0 {
			end = len(rest)
		}
		v = r.getattr(v, rest[1:end])
		rest = rest[end:]
	}
	return v
}

// layout is format(v, text) with text [[fill]align][sign][#][0][width][,][.precision][type].
func (r *run) layout(v Value, text string) string {
	if text == "" {
		return r.text(v)
	}
	sp := spec{precision: -1}
	at := 0
	_, size := utf8.DecodeRuneInString(text)
	isAlign := func(i int) bool { return i < len(text) && strings.IndexByte("<>^=", text[i]) >= 0 }
	if isAlign(size) {
		sp.fill, sp.align, at = text[:size], text[size], size+1
	} else if isAlign(0) {
		sp.align, at = text[0], 1
	}
	flag := func(set string) byte {
		if at < len(text) && strings.IndexByte(set, text[at]) >= 0 {
			at++
			return text[at-1]
		}
		return 0
	}
	sp.sign = flag("+- ")
	sp.alt = flag("#") != 0
	if flag("0") != 0 && sp.align == 0 {
		sp.align, sp.fill = '=', "0"
	}
	sp.width, at = r.digits(text, at)
	if c := flag(",_"); c != 0 {
		sp.comma = string(c)
	}
	if flag(".") != 0 {
		sp.precision, at = r.precision(text, at)
	}
	sp.verb = flag("bcdeEfFgGnosxX%")
	if at != len(text) {
		r.fail("invalid format specifier '%.40s'", text)
	}
	if s, ok := str(v); ok {
		if sp.verb != 0 && sp.verb != 's' || sp.align == '=' {
			r.fail("invalid format specifier '%.40s' for a string", text)
		}
		if sp.precision >= 0 {
			s = s[:byteAt(s, min(sp.precision, utf8.RuneCountInString(s)))]
		}
		return r.padSpec(s, sp, '<')
	}
	f, isNumber := toFloat(v)
	i, isInt := toBig(v)
	switch {
	case !isNumber:
		r.useless(v)
		r.fail("unsupported format string passed to %s.__format__", typeName(v))
	case isInt && (sp.verb == 0 || radix[sp.verb].base != 0):
		if sp.verb == 0 {
			sp.verb = 'd'
		}
		if sp.precision >= 0 {
			r.fail("precision not allowed in integer format specifier")
		}
		return r.padSpec(sp.integer(i), sp, '>')
	case sp.verb == 0 && sp.precision < 0:
		return r.padSpec(sp.signed(sp.group(floatText(f))), sp, '>')
	case sp.verb == 0:
		sp.verb = 'g'
	}
	if strings.IndexByte("eEfFgG%", sp.verb) < 0 {
		r.fail("unknown format code '%c' for object of type '%s'", sp.verb, typeName(v))
	}
	return r.padSpec(sp.float(f), sp, '>')
}
