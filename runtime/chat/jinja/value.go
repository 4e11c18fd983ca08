package jinja

import (
	"math"
	"math/big"
	"unicode/utf8"
)

// A Value is what a template computes with. Its dynamic type is one of
//
//	None, bool, int64, *big.Int (only beyond int64), float64, string, Markup,
//	*List, *Tuple, *Map, *View, *Range, *Iter,
//	*Undefined, *Namespace, *Macro, *Func, *Loop.
//
// A nil Value means "no argument" inside the package and is never seen by a template.
type Value any

// None is Python's None.
type None struct{}

// Markup is a string marked as safe: what is added to it gets escaped, as by markupsafe.
type Markup string

// A List is Python's list. It is never changed once a template can see it.
type List struct{ Items []Value }

// A Tuple is Python's tuple.
type Tuple struct{ Items []Value }

// An Iter is an iterator or generator: it can be walked once.
type Iter struct {
	items []Value
	kind  string
}

// A View is dict.keys(), values() or items().
type View struct {
	m     *Map
	kind  string
	items func() []Value
}

// A Range is range(start, stop, step).
type Range struct{ start, step, n int64 }

func (r *Range) at(i int64) Value { return r.start + i*r.step }

// Undefined is what a name or attribute that is not there evaluates to: it prints as nothing and is
// false, and everything else done with it fails with msg.
type Undefined struct{ msg string }

// A Namespace is what namespace() makes: the one thing whose attributes a template may set.
type Namespace struct{ vars *Map }

// A Func is a function or bound method.
type Func struct {
	name string
	call func(r *run, a args) Value
}

// args are the arguments of a call.
type args struct {
	pos []Value
	kw  []kwarg
}

type kwarg struct {
	name string
	val  Value
}

// str returns the text of a string or Markup.
func str(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// typeNames are Python's names, for errors.
func typeName(v Value) string {
	switch v := v.(type) {
	case None:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Map:
		return "dict"
	case *View:
		return "dict_" + v.kind
	case *Range:
		return "range"
	case *Iter:
		return v.kind
	case *Undefined:
		return "Undefined"
	case *Namespace:
		return "Namespace"
	case *Macro:
		return "Macro"
	case *Loop:
		return "LoopContext"
	}
	return "function"
}

// truth is Python's bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case None, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case Markup:
		return v != ""
	}
	if n, ok := length(v); ok {
		return n != 0
	}
	return true
}

// length is Python's len(v), where v has one.
func length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case Markup:
		return utf8.RuneCountInString(string(v)), true
	case *List:
		return len(v.Items), true
	case *Tuple:
		return len(v.Items), true
	case *Map:
		return v.Len(), true
	case *View:
		return v.m.Len(), true
	case *Range:
		return int(v.n), true
	case *Undefined:
		return 0, true
	}
	return 0, false
}

func hasLength(v Value) bool {
	if isString(v) { // without counting its letters
		return true
	}
	_, ok := length(v)
	return ok
}

// items returns what walking v yields. It uses an iterator up, and it fails for what Python cannot
// walk. The slice must not be changed.
func (r *run) items(v Value) []Value {
	all, ok := r.walk(v)
	if !ok {
		r.fail("'%s' object is not iterable", typeName(v))
	}
	return all
}

func (r *run) walk(v Value) ([]Value, bool) {
	if s, ok := str(v); ok {
		r.growItems(len(s))
		out := make([]Value, 0, utf8.RuneCountInString(s))
		for i, c := range s {
			out = append(out, s[i:i+utf8.RuneLen(c)])
		}
		return out, true
	}
	switch v := v.(type) {
	case *List:
		return v.Items, true
	case *Tuple:
		return v.Items, true
	case *Map:
		r.growItems(v.Len())
		return v.keys(), true
	case *View:
		r.growItems(3 * v.m.Len())
		return v.items(), true
	case *Range:
		r.growItems(int(v.n))
		out := make([]Value, v.n)
		for i := range out {
			out[i] = v.at(int64(i))
		}
		return out, true
	case *Iter:
		out := v.items
		v.items = nil
		return out, true
	case *Undefined:
		return nil, true
	}
	return nil, false
}

// growItems counts n values that are about to be made, as work and as memory.
func (r *run) growItems(n int) {
	r.step(n)
	r.grow(32 * int64(n))
}

// isWalkable tells whether walk would succeed, without using up an iterator.
func isWalkable(v Value) bool {
	return ofType[*Iter](v) || hasLength(v)
}

// equal is Python's a == b.
func (r *run) equal(a, b Value) bool {
	r.step(1)
	if x, ok := str(a); ok {
		y, ok := str(b)
		r.scan(min(len(x), len(y)))
		return ok && x == y
	}
	if c, ok := compareNumbers(a, b); ok {
		return c == 0
	}
	switch a := a.(type) {
	case None:
		_, ok := b.(None)
		return ok
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok
	case *List:
		b, ok := b.(*List)
		return ok && r.equalItems(a.Items, b.Items)
	case *Tuple:
		b, ok := b.(*Tuple)
		return ok && r.equalItems(a.Items, b.Items)
	case *Map:
		b, ok := b.(*Map)
		if !ok || a.Len() != b.Len() {
			return false
		}
		r.enter()
		defer r.leave()
		for i := range a.ents {
			v, ok := b.find(a.ents[i].hash)
			if !ok || !r.equal(a.ents[i].val, v) {
				return false
			}
		}
		return true
	case *Range:
		b, ok := b.(*Range)
		return ok && a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step))
	case *Iter, *View, *Namespace, *Macro, *Func, *Loop:
		return a == b
	}
	return false
}

func (r *run) equalItems(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	r.enter()
	defer r.leave()
	for i := range a {
		if !r.equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// order is Python's a < b, a == b, a > b as -1, 0, 1 where a and b can be ordered, else it fails.
// NaN is reported as 2, which is none of them.
func (r *run) order(a, b Value, op string) int {
	r.step(1)
	if x, ok := str(a); ok {
		if y, ok := str(b); ok {
			r.scan(min(len(x), len(y)))
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	if c, ok := compareNumbers(a, b); ok {
		return c
	}
	xs, ok := sequence(a)
	ys, ok2 := sequence(b)
	if !ok || !ok2 || typeName(a) != typeName(b) {
		r.useless(a, b)
		r.fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	r.enter()
	defer r.leave()
	for i := 0; i < len(xs) && i < len(ys); i++ {
		if !r.equal(xs[i], ys[i]) {
			return r.order(xs[i], ys[i], op)
		}
	}
	return compareInts(len(xs), len(ys))
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// sequence returns the items of a list or tuple.
func sequence(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *List:
		return v.Items, true
	case *Tuple:
		return v.Items, true
	}
	return nil, false
}

// useless fails when one of the operands is undefined, with the words of that undefined value.
func (r *run) useless(vs ...Value) {
	for _, v := range vs {
		if u, ok := v.(*Undefined); ok {
			r.fail("%s", u.msg)
		}
	}
}

// contains is Python's v in box.
func (r *run) contains(box, v Value) bool {
	if s, ok := str(box); ok {
		sub, ok := str(v)
		if !ok {
			r.useless(v)
			r.fail("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return r.index(s, sub) >= 0
	}
	switch box := box.(type) {
	case *Map:
		_, ok := box.find(r.hash(v))
		return ok
	case *View:
		if box.kind == "keys" {
			_, ok := box.m.find(r.hash(v))
			return ok
		}
	case *Range:
		i, ok := toInt(v)
		if !ok {
			return false
		}
		d := i - box.start
		return box.n > 0 && d%box.step == 0 && d/box.step >= 0 && d/box.step < box.n
	}
	all, ok := r.walk(box)
	if !ok {
		r.fail("argument of type '%s' is not iterable", typeName(box))
	}
	for _, item := range all {
		if r.equal(item, v) {
			return true
		}
	}
	return false
}

// toInt returns v as an int64 when it is an integer that fits, or a bool.
func toInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// toFloat returns a number or bool as a float64.
func toFloat(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	i, ok := toInt(v)
	return float64(i), ok
}

// toBig returns an integer of any size.
func toBig(v Value) (*big.Int, bool) {
	if b, ok := v.(*big.Int); ok {
		return b, true
	}
	i, ok := toInt(v)
	return big.NewInt(i), ok
}

// compareNumbers orders two numbers: -1, 0, 1, or 2 when a NaN is among them.
func compareNumbers(a, b Value) (int, bool) {
	if x, ok := toInt(a); ok {
		if y, ok := toInt(b); ok {
			switch {
			case x < y:
				return -1, true
			case x > y:
				return 1, true
			}
			return 0, true
		}
	}
	if x, ok := toBig(a); ok {
		if y, ok := toBig(b); ok {
			return x.Cmp(y), true
		}
	}
	x, ok := toFloat(a)
	y, ok2 := toFloat(b)
	switch {
	case !ok || !ok2:
		return 0, false
	case math.IsNaN(x) || math.IsNaN(y):
		return 2, true
	case x < y:
		return -1, true
	case x > y:
		return 1, true
	}
	return 0, true
}
