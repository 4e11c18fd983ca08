package jinja

// signal says how a statement ended: on to the next one, or out of the loop's turn or the loop.
type signal int

const (
	next signal = iota
	again
	stop
)

// A stmt is a node that writes output or sets variables.
type stmt interface {
	line() int
	exec(r *run, w *buffer, s *scope) signal
}

func (r *run) exec(body []stmt, w *buffer, s *scope) signal {
	r.enter()
	defer r.leave()
	for _, n := range body {
		r.line = n.line()
		r.step(1)
		if sig := n.exec(r, w, s); sig != next {
			return sig
		}
	}
	return next
}

// render runs a body into a string.
func (r *run) render(body []stmt, s *scope) string {
	b := &buffer{run: r}
	r.exec(body, b, s)
	return b.String()
}

type textStmt struct {
	at
	text string
}

func (n *textStmt) exec(_ *run, w *buffer, _ *scope) signal {
	w.put(n.text)
	return next
}

type printStmt struct {
	at
	arg expr
}

func (n *printStmt) exec(r *run, w *buffer, s *scope) signal {
	w.put(r.text(r.eval(n.arg, s)))
	return next
}

type jumpStmt struct {
	at
	sig signal
}

func (n *jumpStmt) exec(*run, *buffer, *scope) signal { return n.sig }

type ifStmt struct {
	at
	tests  []expr
	bodies [][]stmt
	other  []stmt
}

func (n *ifStmt) exec(r *run, w *buffer, s *scope) signal {
	for i, t := range n.tests {
		if truth(r.eval(t, s)) {
			return r.exec(n.bodies[i], w, s)
		}
	}
	return r.exec(n.other, w, s)
}

// target is what an assignment sets: a variable, an attribute of a namespace, or the parts of a value.
type target struct {
	name, attr string
	items      []*target
}

func (r *run) assign(s *scope, t *target, v Value) {
	switch {
	case t.items != nil:
		parts := r.items(v)
		if len(parts) != len(t.items) {
			r.fail("%d values to unpack into %d names", len(parts), len(t.items))
		}
		for i, item := range t.items {
			r.assign(s, item, parts[i])
		}
	case t.attr == "":
		r.grow(64)
		s.set(t.name, v)
	default:
		known, _ := s.get(t.name)
		space, ok := known.(*Namespace)
		if !ok {
			r.fail("cannot set attribute '%s': '%s' is not a namespace", t.attr, t.name)
		}
		r.grow(64)
		space.vars.Set(t.attr, v)
	}
}

// capture is the body of a set block and the filters that it goes through.
type capture struct {
	filters []*filterCall
	body    []stmt
}

func (c *capture) eval(r *run, s *scope) Value {
	return r.filtered(c.filters, r.render(c.body, s.inner()), s)
}

func (r *run) filtered(filters []*filterCall, v Value, s *scope) Value {
	for _, f := range filters {
		v = f.apply(r, v, s)
	}
	return v
}

type setStmt struct {
	at
	target *target
	value  expr
	block  *capture // when value is nil
}

func (n *setStmt) exec(r *run, _ *buffer, s *scope) signal {
	if n.value != nil {
		r.assign(s, n.target, r.eval(n.value, s))
	} else {
		r.assign(s, n.target, n.block.eval(r, s))
	}
	return next
}

type filterStmt struct {
	at
	filters []*filterCall
	body    []stmt
}

func (n *filterStmt) exec(r *run, w *buffer, s *scope) signal {
	b := &buffer{run: r}
	inner := s.inner()
	sig := r.exec(n.body, b, inner)
	w.put(r.text(r.filtered(n.filters, b.String(), inner)))
	return sig
}

type withStmt struct {
	at
	names  []string
	values []expr
	body   []stmt
}

func (n *withStmt) exec(r *run, w *buffer, s *scope) signal {
	inner := s.inner()
	for i, name := range n.names {
		inner.set(name, r.eval(n.values[i], s))
	}
	return r.exec(n.body, w, inner)
}

// macro is what a macro's source says; a Macro is it with the variables around it.
type macro struct {
	name                    string
	params                  []string
	defaults                []expr // nil where a parameter has none
	body                    []stmt
	caller, varargs, kwargs bool // whether the body asks for them
}

// A Macro is a macro that can be called.
type Macro struct {
	def   *macro
	scope *scope
}

type macroStmt struct {
	at
	def *macro
}

func (n *macroStmt) exec(r *run, _ *buffer, s *scope) signal {
	r.grow(64)
	s.set(n.def.name, &Macro{n.def, s})
	return next
}

func (m *Macro) attr(name string) (Value, bool) {
	switch name {
	case "name":
		return m.def.name, true
	case "arguments":
		t := &Tuple{}
		for _, p := range m.def.params {
			t.Items = append(t.Items, p)
		}
		return t, true
	case "caller":
		return m.def.caller, true
	case "catch_kwargs":
		return m.def.kwargs, true
	case "catch_varargs":
		return m.def.varargs, true
	}
	return nil, false
}

func (m *Macro) call(r *run, a args) Value {
	s := m.scope.inner()
	d := m.def
	r.growItems(len(d.params) + 1)
	rest := &Tuple{}
	for i, v := range a.pos {
		if i < len(d.params) {
			s.set(d.params[i], v)
		} else {
			rest.Items = append(rest.Items, v)
		}
	}
	if len(rest.Items) > 0 && !d.varargs {
		r.fail("macro '%s' takes not more than %d arguments", d.name, len(d.params))
	}
	named := NewMap()
	for _, kw := range a.kw {
		r.step(1 + len(d.params)>>4)
		i := 0
		for i < len(d.params) && d.params[i] != kw.name {
			i++
		}
		switch {
		case i < len(d.params):
			if i < len(a.pos) {
				r.fail("macro '%s' got two values for '%s'", d.name, kw.name)
			}
			s.set(kw.name, kw.val)
		case kw.name == "caller" && d.caller:
			s.set(kw.name, kw.val)
		default:
			named.Set(kw.name, kw.val)
		}
	}
	if named.Len() > 0 && !d.kwargs {
		r.fail("macro '%s' takes no keyword argument '%s'", d.name, named.ents[0].key)
	}
	for i, p := range d.params {
		if _, ok := s.vars[p]; ok {
			continue
		}
		if d.defaults[i] != nil {
			s.set(p, r.eval(d.defaults[i], s))
		} else {
			s.set(p, &Undefined{"parameter '" + p + "' was not provided"})
		}
	}
	if d.varargs {
		s.set("varargs", rest)
	}
	if d.kwargs {
		s.set("kwargs", named)
	}
	if _, ok := s.vars["caller"]; d.caller && !ok {
		s.set("caller", &Undefined{"No caller defined"})
	}
	return r.render(d.body, s)
}

type callStmt struct {
	at
	call   *callExpr
	caller *macro
}

func (n *callStmt) exec(r *run, w *buffer, s *scope) signal {
	fn := r.eval(n.call.fn, s)
	a := r.args(&n.call.args, s)
	a.kw = append(a.kw, kwarg{"caller", &Macro{n.caller, s}})
	w.put(r.text(r.call(fn, a)))
	return next
}
