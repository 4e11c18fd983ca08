package jinja

import (
	"math/big"
	"strings"
	"unicode/utf8"
)

// undefinedName, undefinedAttr are jinja2's undefined values with its words.
func undefinedName(name string) *Undefined {
	return &Undefined{"'" + brief(name, 100) + "' is undefined"}
}

func undefinedAttr(obj, key Value) *Undefined {
	s, ok := key.(string)
	if !ok {
		return &Undefined{typeName(obj) + " object has no such element"}
	}
	return &Undefined{"'" + typeName(obj) + " object' has no attribute '" + brief(s, 100) + "'"}
}

// changing are the methods that would change a list or dict; the sandbox has none of them.
var changing = map[string]string{
	"list": " append clear extend insert pop remove reverse sort ",
	"dict": " clear pop popitem setdefault update ",
}

// method returns the bound method or attribute that a Python object of v's type has.
func (r *run) method(v Value, name string) (Value, bool) {
	kind := typeName(v)
	if strings.HasPrefix(name, "_") {
		return nil, false
	}
	if strings.Contains(changing[kind], " "+name+" ") {
		return &Undefined{"access to attribute '" + name + "' of '" + kind + "' object is unsafe."}, true
	}
	table := methods[kind]
	if isString(v) {
		table = strMethods
	}
	m, ok := table[name]
	if !ok {
		return nil, false
	}
	return &Func{name: name, call: func(r *run, a args) Value { return m.invoke(r, name, v, a) }}, true
}

// methods is the table of methods by Python type; those of str are strMethods.
var methods map[string]map[string]builtin

func init() {
	count := builtin{params: "value", call: func(r *run, self Value, a []Value) Value {
		items, _ := sequence(self)
		n := int64(0)
		for _, item := range items {
			if r.equal(item, a[0]) {
				n++
			}
		}
		return n
	}}
	index := builtin{params: "value", call: func(r *run, self Value, a []Value) Value {
		items, _ := sequence(self)
		for i, item := range items {
			if r.equal(item, a[0]) {
				return int64(i)
			}
		}
		r.fail("the value is not in the %s", typeName(self))
		return nil
	}}
	view := func(kind string, items func(m *Map) []Value) builtin {
		return builtin{call: func(_ *run, self Value, _ []Value) Value {
			m := self.(*Map)
			return &View{m, kind, func() []Value { return items(m) }}
		}}
	}
	methods = map[string]map[string]builtin{
		"list": {"count": count, "index": index, "copy": {call: func(r *run, self Value, _ []Value) Value {
			return r.slice(self, nil, nil, nil)
		}}},
		"tuple": {"count": count, "index": index},
		"dict": {
			"keys":   view("keys", (*Map).keys),
			"values": view("values", (*Map).values),
			"items":  view("items", (*Map).pairs),
			"get": {params: "key default?", call: func(r *run, self Value, a []Value) Value {
				if v, ok := self.(*Map).find(r.hash(a[0])); ok {
					return v
				}
				if a[1] == nil {
					return None{}
				}
				return a[1]
			}},
			"copy": {call: func(r *run, self Value, _ []Value) Value { return r.copyMap(self.(*Map)) }},
		},
	}
}

func (r *run) copyMap(m *Map) *Map {
	r.growItems(4 * m.Len())
	return m.Clone()
}

// getattr is obj.name: an attribute or method first, then an item.
func (r *run) getattr(obj Value, name string) Value {
	r.useless(obj)
	switch obj := obj.(type) {
	case *Namespace:
		if v, ok := obj.vars.Get(name); ok {
			return v
		}
	case *Loop:
		if v, ok := obj.attr(name); ok {
			return v
		}
	case *Macro:
		if v, ok := obj.attr(name); ok {
			return v
		}
	}
	if v, ok := r.method(obj, name); ok {
		return v
	}
	if m, ok := obj.(*Map); ok {
		if v, ok := m.Get(name); ok {
			return v
		}
	}
	return undefinedAttr(obj, name)
}

// getitem is obj[key]: an item first, then an attribute or method.
func (r *run) getitem(obj, key Value) Value {
	r.useless(obj)
	r.step(1)
	switch o := obj.(type) {
	case *Map:
		if h, ok := r.tryHash(key); ok {
			if v, ok := o.find(h); ok {
				return v
			}
		}
	case string, Markup, *List, *Tuple, *Range:
		if i, ok := toInt(key); ok {
			if v, ok := r.at(obj, i); ok {
				return v
			}
			return &Undefined{typeName(obj) + " object has no element " + r.text(key)}
		}
		if b, ok := key.(*big.Int); ok {
			return &Undefined{typeName(obj) + " object has no element " + b.String()}
		}
	case *Namespace, *Loop, *Macro:
		if s, ok := str(key); ok {
			return r.getattr(obj, s)
		}
	}
	if s, ok := str(key); ok {
		if v, ok := r.method(obj, s); ok {
			return v
		}
		return undefinedAttr(obj, s)
	}
	return undefinedAttr(obj, key)
}

// at returns element i, counted from the end when negative.
func (r *run) at(obj Value, i int64) (Value, bool) {
	if s, ok := str(obj); ok {
		r.letters(s)
	}
	n, _ := length(obj)
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, false
	}
	switch o := obj.(type) {
	case *Range:
		return o.at(i), true
	case string:
		return runeAt(o, int(i)), true
	case Markup:
		return Markup(runeAt(string(o), int(i))), true
	}
	items, _ := sequence(obj)
	return items[i], true
}

func runeAt(s string, i int) string {
	at := byteAt(s, i)
	_, size := utf8.DecodeRuneInString(s[at:])
	return s[at : at+size]
}

// clip turns Python's slice bounds into what a sequence of n items has; nil stands for "left out".
func (r *run) clip(n int64, start, stop, step Value) (from, to, by int64) {
	bound := func(v Value, def, low, high int64) int64 {
		if isNone(v) {
			return def
		}
		i := r.sliceInt(v)
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	by = 1
	if !isNone(step) {
		by = r.sliceInt(step)
	}
	switch {
	case by == 0:
		r.fail("slice step cannot be zero")
	case by < 0:
		return bound(start, n-1, -1, n-1), bound(stop, -1, -1, n-1), by
	}
	return bound(start, 0, 0, n), bound(stop, n, 0, n), by
}

// sliceInt reads a slice bound; what is out of all reach is brought near enough not to overflow.
func (r *run) sliceInt(v Value) int64 {
	b, ok := toBig(v)
	if !ok {
		r.useless(v)
		r.fail("slice indices must be integers or None, not %s", typeName(v))
	}
	if !b.IsInt64() {
		return int64(b.Sign()) << 61
	}
	return min(max(b.Int64(), -1<<61), 1<<61)
}

// slice is obj[start:stop:step].
func (r *run) slice(obj, start, stop, step Value) Value {
	r.useless(obj)
	if s, ok := str(obj); ok {
		r.grow(int64(len(s)))
		r.letters(s)
		out := r.sliceText(s, start, stop, step)
		if _, ok := obj.(Markup); ok {
			return Markup(out)
		}
		return out
	}
	if o, ok := obj.(*Range); ok {
		from, to, by := r.clip(o.n, start, stop, step)
		return &Range{o.start + from*o.step, by * o.step, steps(from, to, by)}
	}
	items, ok := sequence(obj)
	if !ok {
		return undefinedAttr(obj, nil)
	}
	from, to, by := r.clip(int64(len(items)), start, stop, step)
	var out []Value
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		out = append(out, items[i])
	}
	r.growItems(len(out))
	if _, ok := obj.(*Tuple); ok {
		return &Tuple{out}
	}
	return &List{out}
}

func (r *run) sliceText(s string, start, stop, step Value) string {
	n := int64(utf8.RuneCountInString(s))
	from, to, by := r.clip(n, start, stop, step)
	if by == 1 {
		if from >= to {
			return ""
		}
		at := byteAt(s, int(from))
		return s[at : at+byteAt(s[at:], int(to-from))]
	}
	r.step(int(n))
	r.grow(4 * n)
	var b strings.Builder
	runes := []rune(s)
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		b.WriteRune(runes[i])
	}
	return b.String()
}
