package jinja

// at is a node's line.
type at int

func (a at) line() int { return int(a) }

// An expr is a node that has a value.
type expr interface {
	line() int
	eval(r *run, s *scope) Value
}

// eval evaluates a node, counts it, and lets errors name its line.
func (r *run) eval(e expr, s *scope) Value {
	line := r.line
	r.line = e.line()
	r.step(1)
	r.enter()
	v := e.eval(r, s)
	r.leave()
	r.line = line
	return v
}

// orNil evaluates a node that may be left out.
func (r *run) orNil(e expr, s *scope) Value {
	if e == nil {
		return nil
	}
	return r.eval(e, s)
}

func (r *run) all(es []expr, s *scope) []Value {
	r.growItems(len(es))
	out := make([]Value, len(es))
	for i, e := range es {
		out[i] = r.eval(e, s)
	}
	return out
}

type literal struct {
	at
	v Value
}

func (n *literal) eval(*run, *scope) Value { return n.v }

type nameExpr struct {
	at
	name string
}

func (n *nameExpr) eval(r *run, s *scope) Value {
	for hops := 0; s != nil; s, hops = s.parent, hops+1 {
		if v, ok := s.vars[n.name]; ok {
			r.step(hops >> 2)
			return v
		}
	}
	return undefinedName(n.name)
}

type attrExpr struct {
	at
	obj  expr
	name string
}

func (n *attrExpr) eval(r *run, s *scope) Value { return r.getattr(r.eval(n.obj, s), n.name) }

type itemExpr struct {
	at
	obj, key expr
}

func (n *itemExpr) eval(r *run, s *scope) Value {
	obj := r.eval(n.obj, s)
	return r.getitem(obj, r.eval(n.key, s))
}

type sliceExpr struct {
	at
	obj, start, stop, step expr
}

func (n *sliceExpr) eval(r *run, s *scope) Value {
	obj := r.eval(n.obj, s)
	start, stop := r.orNil(n.start, s), r.orNil(n.stop, s)
	return r.slice(obj, start, stop, r.orNil(n.step, s))
}

type listExpr struct {
	at
	items []expr
	tuple bool
}

func (n *listExpr) eval(r *run, s *scope) Value {
	items := r.all(n.items, s)
	if n.tuple {
		return &Tuple{items}
	}
	return &List{items}
}

type dictExpr struct {
	at
	keys, values []expr
}

func (n *dictExpr) eval(r *run, s *scope) Value {
	m := NewMap()
	for i := range n.keys {
		key := r.eval(n.keys[i], s)
		r.insert(m, key, r.eval(n.values[i], s))
	}
	return m
}

type binaryExpr struct {
	at
	op          string
	left, right expr
}

func (n *binaryExpr) eval(r *run, s *scope) Value {
	a := r.eval(n.left, s)
	return r.binary(n.op, a, r.eval(n.right, s))
}

type signExpr struct {
	at
	minus bool
	arg   expr
}

func (n *signExpr) eval(r *run, s *scope) Value {
	v := r.negative(r.eval(n.arg, s))
	if n.minus {
		return v
	}
	return r.negative(v)
}

type notExpr struct {
	at
	arg expr
}

func (n *notExpr) eval(r *run, s *scope) Value { return !truth(r.eval(n.arg, s)) }

// logicExpr is "and" and "or": the operand that decides is the value.
type logicExpr struct {
	at
	or          bool
	left, right expr
}

func (n *logicExpr) eval(r *run, s *scope) Value {
	v := r.eval(n.left, s)
	if truth(v) == n.or {
		return v
	}
	return r.eval(n.right, s)
}

// comparisons is the table of comparing operators. An order of 2 (NaN) satisfies none but !=.
var comparisons = map[string]func(r *run, a, b Value) bool{
	"==":     func(r *run, a, b Value) bool { return r.equal(a, b) },
	"!=":     func(r *run, a, b Value) bool { return !r.equal(a, b) },
	"<":      func(r *run, a, b Value) bool { return r.order(a, b, "<") == -1 },
	">":      func(r *run, a, b Value) bool { return r.order(a, b, ">") == 1 },
	"<=":     func(r *run, a, b Value) bool { return r.order(a, b, "<=") <= 0 },
	">=":     func(r *run, a, b Value) bool { c := r.order(a, b, ">="); return c == 0 || c == 1 },
	"in":     func(r *run, a, b Value) bool { return r.contains(b, a) },
	"not in": func(r *run, a, b Value) bool { return !r.contains(b, a) },
}

// compareExpr is a chain of comparisons: a < b < c.
type compareExpr struct {
	at
	first expr
	ops   []string
	args  []expr
}

func (n *compareExpr) eval(r *run, s *scope) Value {
	a := r.eval(n.first, s)
	for i, op := range n.ops {
		b := r.eval(n.args[i], s)
		if !comparisons[op](r, a, b) {
			return false
		}
		a = b
	}
	return true
}

type concatExpr struct {
	at
	parts []expr
}

func (n *concatExpr) eval(r *run, s *scope) Value {
	b := &buffer{run: r}
	for _, p := range n.parts {
		b.put(r.text(r.eval(p, s)))
	}
	return b.String()
}

type condExpr struct {
	at
	test, yes, no expr
}

func (n *condExpr) eval(r *run, s *scope) Value {
	switch {
	case truth(r.eval(n.test, s)):
		return r.eval(n.yes, s)
	case n.no == nil:
		return &Undefined{"the inline if-expression evaluated to false and no else section was defined"}
	}
	return r.eval(n.no, s)
}

// argList is a call's arguments: f(pos, name=named, *star, **stars).
type argList struct {
	pos         []expr
	names       []string
	named       []expr
	star, stars expr
}

func (r *run) args(n *argList, s *scope) args {
	var a args
	if len(n.pos) > 0 {
		a.pos = r.all(n.pos, s)
	}
	if n.star != nil {
		a.pos = append(a.pos, r.items(r.eval(n.star, s))...)
	}
	for i, name := range n.names {
		a.kw = append(a.kw, kwarg{name, r.eval(n.named[i], s)})
	}
	if n.stars != nil {
		m, ok := r.eval(n.stars, s).(*Map)
		if !ok {
			r.fail("argument after ** must be a mapping")
		}
		r.growItems(m.Len())
		for i := range m.ents {
			a.kw = append(a.kw, kwarg{r.strArg(m.ents[i].key, ""), m.ents[i].val})
		}
	}
	return a
}

type callExpr struct {
	at
	fn   expr
	args argList
}

func (n *callExpr) eval(r *run, s *scope) Value {
	fn := r.eval(n.fn, s)
	return r.call(fn, r.args(&n.args, s))
}

func (r *run) call(fn Value, a args) Value {
	r.useless(fn)
	switch fn := fn.(type) {
	case *Func:
		return fn.call(r, a)
	case *Macro:
		return fn.call(r, a)
	case *Loop:
		return fn.call(r, r.bind("loop", "iterable", a)[0])
	}
	r.fail("'%s' object is not callable", typeName(fn))
	return nil
}

// filterCall is a filter's name and arguments.
type filterCall struct {
	at
	name string
	args argList
}

func (f *filterCall) apply(r *run, v Value, s *scope) Value {
	r.line = f.line()
	b, ok := filters[f.name]
	if !ok {
		r.fail("no filter named '%s'", f.name)
	}
	return b.invoke(r, f.name, v, r.args(&f.args, s))
}

type filterExpr struct {
	arg expr
	*filterCall
}

func (n *filterExpr) eval(r *run, s *scope) Value { return n.apply(r, r.eval(n.arg, s), s) }

type testExpr struct {
	at
	arg  expr
	name string
	args argList
}

func (n *testExpr) eval(r *run, s *scope) Value {
	v := r.eval(n.arg, s)
	return r.test(n.name, v, r.args(&n.args, s))
}

func (r *run) test(name string, v Value, a args) bool {
	b, ok := tests[name]
	if !ok {
		r.fail("no test named '%s'", name)
	}
	return truth(b.invoke(r, name, v, a))
}
