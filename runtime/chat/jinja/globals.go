package jinja

// globals are the functions that every template has; its own variables hide them.
var globals *scope

func init() {
	fn := func(name string, b builtin) *Func {
		return &Func{name: name, call: func(r *run, a args) Value { return b.invoke(r, name, nil, a) }}
	}
	globals = &scope{vars: map[string]Value{
		"range": fn("range", builtin{params: "start stop? step?", call: rangeFunc}),
		"dict":  fn("dict", builtin{raw: dictFunc}),
		"namespace": fn("namespace", builtin{raw: func(r *run, _ Value, a args) Value {
			return &Namespace{dictFunc(r, nil, a).(*Map)}
		}}),
		"joiner": fn("joiner", builtin{params: "sep?", call: func(r *run, _ Value, a []Value) Value {
			sep, used := r.strArg(a[0], ", "), false
			return fn("joiner", builtin{call: func(*run, Value, []Value) Value {
				if !used {
					used = true
					return ""
				}
				return sep
			}})
		}}),
		"raise_exception": fn("raise_exception", builtin{params: "message", call: func(r *run, _ Value, a []Value) Value {
			panic(&Error{Line: r.line, Msg: r.text(a[0]), Raised: true})
		}}),
		"strftime_now": fn("strftime_now", builtin{params: "format", call: func(r *run, _ Value, a []Value) Value {
			if r.now.IsZero() {
				r.fail("strftime_now: no time was given")
			}
			return r.strftime(r.strArg(a[0], ""))
		}}),
	}}
}

// maxRange is what the sandbox allows.
const maxRange = 100_000

func rangeFunc(r *run, _ Value, a []Value) Value {
	start, stop, step := int64(0), r.intArg(a[0], 0), r.intArg(a[2], 1)
	if a[1] != nil {
		start, stop = stop, r.intArg(a[1], 0)
	}
	const far = 1 << 61
	if step == 0 {
		r.fail("range() arg 3 must not be zero")
	}
	if max(start, stop, step) > far || min(start, stop, step) < -far {
		r.fail("range() with numbers beyond 2**61")
	}
	n := steps(start, stop, step)
	if n > maxRange {
		r.fail("Range too big. The sandbox blocks ranges larger than %d.", maxRange)
	}
	return &Range{start, step, n}
}

// steps returns how many numbers lie between start and stop; step is not 0.
func steps(start, stop, step int64) int64 {
	switch {
	case step > 0 && stop > start:
		return (stop-start-1)/step + 1
	case step < 0 && stop < start:
		return (start-stop-1)/-step + 1
	}
	return 0
}

// dictFunc is dict(mapping or pairs, name=value…).
func dictFunc(r *run, _ Value, a args) Value {
	m := NewMap()
	if len(a.pos) > 1 {
		r.fail("dict() takes at most 1 argument (%d given)", len(a.pos))
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*Map); ok {
			m = r.copyMap(from)
		} else {
			for _, pair := range r.items(a.pos[0]) {
				kv := r.items(pair)
				if len(kv) != 2 {
					r.fail("dict() needs pairs, got %d values", len(kv))
				}
				r.insert(m, kv[0], kv[1])
			}
		}
	}
	for _, kw := range a.kw {
		r.insert(m, kw.name, kw.val)
	}
	return m
}
