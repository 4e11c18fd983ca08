package jinja

import "strings"

// A builtin is a row of the tables of filters, tests, functions and methods.
type builtin struct {
	// params are the names of the arguments after self, in order; a name that ends in ? is optional.
	params string
	// call gets one value per parameter, nil for an optional one that was left out.
	call func(r *run, self Value, a []Value) Value
	// raw takes the arguments as they are, instead of params and call.
	raw func(r *run, self Value, a args) Value
}

func (b builtin) invoke(r *run, name string, self Value, a args) Value {
	if b.raw != nil {
		return b.raw(r, self, a)
	}
	return b.call(r, self, r.bind(name, b.params, a))
}

// bind puts positional and named arguments in the order of params.
func (r *run) bind(name, params string, a args) []Value {
	names := strings.Fields(params)
	if len(a.pos) > len(names) {
		r.fail("%s() takes at most %d arguments (%d given)", name, len(names), len(a.pos))
	}
	out := make([]Value, len(names))
	copy(out, a.pos)
	for _, kw := range a.kw {
		i := 0
		for i < len(names) && strings.TrimSuffix(names[i], "?") != kw.name {
			i++
		}
		if i == len(names) {
			r.fail("%s() got an unexpected keyword argument '%s'", name, kw.name)
		}
		if out[i] != nil {
			r.fail("%s() got multiple values for argument '%s'", name, kw.name)
		}
		out[i] = kw.val
	}
	for i, n := range names {
		if out[i] == nil && !strings.HasSuffix(n, "?") {
			r.fail("%s() needs its argument '%s'", name, n)
		}
	}
	return out
}

// The readers of arguments: def is what an absent one means.

func (r *run) strArg(v Value, def string) string {
	if v == nil {
		return def
	}
	s, ok := str(v)
	if !ok {
		r.useless(v)
		r.fail("expected a string, got %s", typeName(v))
	}
	return s
}

func (r *run) intArg(v Value, def int64) int64 {
	if v == nil {
		return def
	}
	i, ok := toInt(v)
	if !ok {
		r.useless(v)
		r.fail("expected an integer, got %s", typeName(v))
	}
	return i
}

func boolArg(v Value, def bool) bool {
	if v == nil {
		return def
	}
	return truth(v)
}

// isNone holds for an argument left out and for None.
func isNone(v Value) bool {
	_, none := v.(None)
	return v == nil || none
}
