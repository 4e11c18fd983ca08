package jinja

type forStmt struct {
	at
	target    *target
	iter      expr
	test      expr // nil without "if"
	recursive bool
	body      []stmt
	other     []stmt
}

// A Loop is the variable loop.
type Loop struct {
	r       *run
	n       *forStmt
	outer   *scope
	items   []Value // not yet looked at
	pending []Value // looked at and let through by the loop's "if", not yet walked
	prev    Value   // nil in the first turn
	cur     Value
	index0  int
	depth0  int
	seen    []Value // what loop.changed saw last; nil before the first time
}

func (n *forStmt) exec(r *run, w *buffer, s *scope) signal {
	n.walk(r, w, s, r.eval(n.iter, s), 0)
	return next
}

func (n *forStmt) walk(r *run, w *buffer, s *scope, over Value, depth0 int) {
	l := &Loop{r: r, n: n, outer: s, items: r.items(over), index0: -1, depth0: depth0}
	complete := false // as in jinja2, a turn cut short by continue or break does not count
	for l.advance() {
		r.step(1)
		inner := s.inner()
		r.grow(128)
		inner.set("loop", l)
		r.assign(inner, n.target, l.cur)
		sig := r.exec(n.body, w, inner)
		if sig == stop {
			break
		}
		complete = complete || sig == next
	}
	if !complete {
		r.exec(n.other, w, s.inner())
	}
}

// pull looks for the next item that the loop's "if" lets through.
func (l *Loop) pull() bool {
	for len(l.items) > 0 {
		v := l.items[0]
		l.items = l.items[1:]
		if l.n.test != nil {
			s := l.outer.inner()
			l.r.grow(128)
			l.r.assign(s, l.n.target, v)
			if !truth(l.r.eval(l.n.test, s)) {
				continue
			}
		}
		l.r.grow(16)
		l.pending = append(l.pending, v)
		return true
	}
	return false
}

func (l *Loop) advance() bool {
	if len(l.pending) == 0 && !l.pull() {
		return false
	}
	l.prev, l.cur = l.cur, l.pending[0]
	l.pending = l.pending[1:]
	l.index0++
	return true
}

func (l *Loop) length() int {
	for l.pull() {
	}
	return l.index0 + 1 + len(l.pending)
}

func (l *Loop) last() bool { return len(l.pending) == 0 && !l.pull() }

// loopAttrs is the table of what loop knows.
var loopAttrs = map[string]func(l *Loop) Value{
	"index":     func(l *Loop) Value { return int64(l.index0 + 1) },
	"index0":    func(l *Loop) Value { return int64(l.index0) },
	"revindex":  func(l *Loop) Value { return int64(l.length() - l.index0) },
	"revindex0": func(l *Loop) Value { return int64(l.length() - l.index0 - 1) },
	"first":     func(l *Loop) Value { return l.index0 == 0 },
	"last":      func(l *Loop) Value { return l.last() },
	"length":    func(l *Loop) Value { return int64(l.length()) },
	"depth":     func(l *Loop) Value { return int64(l.depth0 + 1) },
	"depth0":    func(l *Loop) Value { return int64(l.depth0) },
	"previtem": func(l *Loop) Value {
		if l.prev == nil {
			return &Undefined{"there is no previous item"}
		}
		return l.prev
	},
	"nextitem": func(l *Loop) Value {
		if l.last() {
			return &Undefined{"there is no next item"}
		}
		return l.pending[0]
	},
	"cycle": func(l *Loop) Value {
		return &Func{name: "cycle", call: func(r *run, a args) Value {
			if len(a.pos) == 0 {
				r.fail("no items for cycling given")
			}
			return a.pos[l.index0%len(a.pos)]
		}}
	},
	"changed": func(l *Loop) Value {
		return &Func{name: "changed", call: func(r *run, a args) Value {
			if l.seen != nil && r.equalItems(l.seen, a.pos) {
				return false
			}
			l.seen = append([]Value{}, a.pos...)
			return true
		}}
	},
}

func (l *Loop) attr(name string) (Value, bool) {
	f, ok := loopAttrs[name]
	if !ok {
		return nil, false
	}
	return f(l), true
}

// call is loop(children) in a recursive loop.
func (l *Loop) call(r *run, over Value) Value {
	if !l.n.recursive {
		r.fail("the loop must have the 'recursive' marker to be called")
	}
	b := &buffer{run: r}
	r.enter()
	l.n.walk(r, b, l.outer, over, l.depth0+1)
	r.leave()
	return b.String()
}
