package jinja

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// filters is the table of filters; those that take lists apart are in filters_list.go.
var filters map[string]builtin

// onString makes a row of a filter that takes any value as text; as in jinja2, Markup stays Markup
// where the method behind it keeps it.
func onString(params string, call func(r *run, s string, a []Value) Value) builtin {
	row := onText(params, call)
	inner := row.call
	row.call = func(r *run, self Value, a []Value) Value {
		if _, ok := str(self); !ok {
			self = r.text(self)
		}
		return inner(r, self, a)
	}
	return row
}

// fromMethod makes a row of a filter that is a method of str without arguments.
func fromMethod(f func(string) string) builtin {
	return onString("", func(r *run, s string, _ []Value) Value {
		r.grow(3 * int64(len(s)))
		return f(s)
	})
}

func init() {
	filters = map[string]builtin{
		"upper":      fromMethod(upper),
		"lower":      fromMethod(lower),
		"capitalize": fromMethod(capitalize),
		"title": {call: func(r *run, self Value, _ []Value) Value {
			s := r.text(self)
			r.grow(3 * int64(len(s)))
			return titleWords(s)
		}},
		"trim": onString("chars?", func(r *run, s string, a []Value) Value { return r.strip(s, a[0], true, true) }),
		"center": onString("width?", func(r *run, s string, a []Value) Value {
			return r.center(s, r.intArg(a[0], 80), " ")
		}),
		"string": {call: func(r *run, self Value, _ []Value) Value {
			if m, ok := self.(Markup); ok {
				return m
			}
			return r.text(self)
		}},
		"safe":        {call: func(r *run, self Value, _ []Value) Value { return Markup(r.text(self)) }},
		"escape":      {call: func(r *run, self Value, _ []Value) Value { return r.escape(self, false) }},
		"forceescape": {call: func(r *run, self Value, _ []Value) Value { return r.escape(self, true) }},
		"replace": {params: "old new count?", call: func(r *run, self Value, a []Value) Value {
			count := int64(-1)
			if !isNone(a[2]) {
				count = r.intArg(a[2], -1)
			}
			return r.replace(r.text(self), r.text(a[0]), r.text(a[1]), count)
		}},
		"indent":    {params: "width? first? blank?", call: indent},
		"wordcount": {call: func(r *run, self Value, _ []Value) Value { return wordCount(r, r.text(self)) }},
		"format": {raw: func(r *run, self Value, a args) Value {
			var arg Value = &Tuple{a.pos}
			if len(a.kw) > 0 {
				if len(a.pos) > 0 {
					r.fail("positional and keyword arguments cannot be mixed")
				}
				m := NewMap()
				for _, kw := range a.kw {
					m.Set(kw.name, kw.val)
				}
				arg = m
			}
			return r.percent(r.text(self), arg, nil)
		}},
		"tojson": {params: "ensure_ascii? indent? separators? sort_keys?", call: tojson},
		"int":    {params: "default? base?", call: intFilter},
		"float": {params: "default?", call: func(r *run, self Value, a []Value) Value {
			if s, ok := str(self); ok {
				if f, ok := parseFloat(s); ok {
					return f
				}
			} else if f, ok := toFloat(self); ok {
				return f
			}
			r.useless(self)
			if a[0] == nil {
				return 0.0
			}
			return a[0]
		}},
		"abs": {call: func(r *run, self Value, _ []Value) Value {
			if f, ok := self.(float64); ok {
				return math.Abs(f)
			}
			if i, ok := toBig(self); ok {
				return r.integer(new(big.Int).Abs(i))
			}
			r.useless(self)
			r.fail("bad operand type for abs(): '%s'", typeName(self))
			return nil
		}},
		"round": {params: "precision? method?", call: round},
		"default": {params: "default_value? boolean?", call: func(_ *run, self Value, a []Value) Value {
			_, undefined := self.(*Undefined)
			if !undefined && (!boolArg(a[1], false) || truth(self)) {
				return self
			}
			if a[0] == nil {
				return ""
			}
			return a[0]
		}},
		"attr": {params: "name", call: func(r *run, self Value, a []Value) Value {
			name := r.strArg(a[0], "")
			if _, ok := self.(*Map); ok {
				if v, ok := r.method(self, name); ok {
					return v
				}
				return undefinedAttr(self, name)
			}
			return r.getattr(self, name)
		}},
	}
	for name, b := range listFilters() {
		filters[name] = b
	}
	for alias, name := range map[string]string{"e": "escape", "d": "default", "count": "length"} {
		filters[alias] = filters[name]
	}
}

// wordStart is what the filter title takes for the beginning of a word.
var wordStart = regexp.MustCompile(`[-\s({\[<]+`)

func titleWords(s string) string {
	var b strings.Builder
	word := func(w string) {
		for i, c := range w {
			if i == 0 {
				upperRune(&b, c)
			} else {
				lowerRune(&b, w, i, c)
			}
		}
	}
	from := 0
	for _, m := range wordStart.FindAllStringIndex(s, -1) {
		word(s[from:m[0]])
		word(s[m[0]:m[1]])
		from = m[1]
	}
	word(s[from:])
	return b.String()
}

// wordCount counts runs of letters, digits and underscores.
func wordCount(r *run, s string) Value {
	r.step(len(s))
	n, in := int64(0), false
	for _, c := range s {
		word := c == '_' || isWord(c)
		if word && !in {
			n++
		}
		in = word
	}
	return n
}

func (r *run) escape(v Value, force bool) Value {
	if m, ok := v.(Markup); ok && !force {
		return m
	}
	s := r.text(v)
	r.grow(6 * int64(len(s)))
	return Markup(escapeHTML(s))
}

func indent(r *run, self Value, a []Value) Value {
	pad := ""
	if s, ok := a[0].(string); ok {
		pad = s
	} else {
		width := r.intArg(a[0], 4)
		r.growTimes(1, max(width, 0))
		pad = strings.Repeat(" ", int(max(width, 0)))
	}
	first, blank := boolArg(a[1], false), boolArg(a[2], false)
	b := &buffer{run: r}
	// The newline appended keeps a last empty line, as in jinja2.
	for i, line := range r.lines(r.text(self)+"\n", false) {
		text := line.(string)
		if i > 0 {
			b.put("\n")
		}
		if i == 0 && first || i > 0 && (blank || text != "") {
			b.put(pad)
		}
		b.put(text)
	}
	if _, ok := self.(Markup); ok {
		return Markup(b.String())
	}
	return b.String()
}

func tojson(r *run, self Value, a []Value) Value {
	b := &buffer{run: r}
	e := &encoder{r: r, b: b, ascii: boolArg(a[0], false), sort: boolArg(a[3], false), item: ", ", pair: ": "}
	if !isNone(a[1]) {
		e.pretty, e.item = true, ","
		if s, ok := str(a[1]); ok {
			e.indent = s
		} else {
			n := max(r.intArg(a[1], 0), 0)
			r.growTimes(1, n)
			e.indent = strings.Repeat(" ", int(n))
		}
	}
	if !isNone(a[2]) {
		seps := r.items(a[2])
		if len(seps) != 2 {
			r.fail("separators must be two strings")
		}
		e.item, e.pair = r.strArg(seps[0], ""), r.strArg(seps[1], "")
	}
	e.value(self)
	return b.String()
}

func intFilter(r *run, self Value, a []Value) Value {
	if s, ok := str(self); ok {
		if v, ok := r.parseInt(s, int(r.intArg(a[1], 10))); ok {
			return v
		}
		if f, ok := parseFloat(s); ok {
			if v, ok := r.floatToInt(f); ok {
				return v
			}
		}
	} else if i, ok := toBig(self); ok {
		return r.integer(i)
	} else if f, ok := self.(float64); ok {
		if v, ok := r.floatToInt(f); ok {
			return v
		}
	}
	r.useless(self)
	if a[0] == nil {
		return int64(0)
	}
	return a[0]
}

func round(r *run, self Value, a []Value) Value {
	precision, method := r.intArg(a[0], 0), r.strArg(a[1], "common")
	if precision > 400 || precision < -400 {
		r.fail("a precision of %d", precision)
	}
	f, ok := toFloat(self)
	if !ok {
		r.useless(self)
		r.fail("type %s cannot be rounded", typeName(self))
	}
	by := map[string]func(float64) float64{"ceil": math.Ceil, "floor": math.Floor}[method]
	if method == "common" {
		if i, ok := toBig(self); ok {
			return r.roundInt(i, precision)
		}
		return roundFloat(f, int(precision))
	}
	if by == nil {
		r.fail("method must be common, ceil or floor")
	}
	scale := math.Pow(10, float64(precision))
	return by(f*scale) / scale
}

// roundInt rounds an integer to tens, hundreds … for a negative precision, half to even.
func (r *run) roundInt(i *big.Int, precision int64) Value {
	if precision >= 0 {
		return r.integer(i)
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(-precision), nil)
	q, m := r.floorDiv(i, unit)
	if c := new(big.Int).Lsh(m, 1).Cmp(unit); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return r.integer(q.Mul(q, unit))
}

// roundFloat rounds the exact value to decimal digits, half to even, as Python's round does.
func roundFloat(f float64, precision int) Value {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return f
	case precision < 0:
		unit := math.Pow(10, float64(-precision))
		return math.RoundToEven(f/unit) * unit
	}
	v, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
	return v
}
