package passes

import (
	"math"
	"slices"

	"qnc/ir"
)

// maxSteps bounds the search for one match: patterns have at most a few dozen
// values, and only exchanged arguments and several users need a second try.
const maxSteps = 20000

// An index holds what matching needs to know about a function, and what
// matches have been booked in it.
type index struct {
	f       *ir.Func
	pos     map[*ir.Value]int
	users   map[*ir.Value][]*ir.Value
	results map[*ir.Value]bool
	access  map[*ir.Value][]*ir.Value // state → what reads or writes it, and what reads load_rows of it, in place

	gone    map[*ir.Value]bool // matched already
	at      map[*ir.Value]int  // of those: where their replacement stands
	made    map[int][]*ir.Value
	replace map[*ir.Value]*ir.Value
}

func newIndex(f *ir.Func) *index {
	ix := &index{
		f: f, pos: make(map[*ir.Value]int, len(f.Body)), users: f.Users(),
		results: map[*ir.Value]bool{}, access: map[*ir.Value][]*ir.Value{},
		gone: map[*ir.Value]bool{}, at: map[*ir.Value]int{}, made: map[int][]*ir.Value{}, replace: map[*ir.Value]*ir.Value{},
	}
	for i, v := range f.Body {
		ix.pos[v] = i
		if v.Effect() != ir.Pure {
			ix.access[v.Args[0]] = append(ix.access[v.Args[0]], v)
		}
	}
	for _, v := range f.Results {
		ix.results[v] = true
	}
	for _, v := range f.Body {
		if v.Op == ir.OpLoadRows {
			ix.readers(v.Args[0], v)
		}
	}
	return ix
}

// readers adds what reads v, rows of the cache s seen through views, to the accesses of s.
func (ix *index) readers(s, v *ir.Value) {
	for _, u := range ix.users[v] {
		if u.Op.IsView() {
			ix.readers(s, u)
		} else {
			ix.access[s] = append(ix.access[s], u)
		}
	}
}

// where returns the position of v once what is booked is done; parameters and symbols are at -1.
func (ix *index) where(v *ir.Value) int {
	if p, ok := ix.at[v]; ok {
		return p
	}
	if p, ok := ix.pos[v]; ok {
		return p
	}
	return -1
}

// put books the replacement of a match at a position that it frees.
func (ix *index) put(at int, m *match) {
	for p, v := range m.bound {
		if p.Op != ir.OpParam {
			ix.gone[v], ix.at[v] = true, at
		}
	}
	ix.made[at] = m.made
	for v, w := range m.replace {
		ix.replace[v] = w
	}
}

// rebuild does what is booked.
func (ix *index) rebuild() {
	var body []*ir.Value
	for i, v := range ix.f.Body {
		body = append(body, ix.made[i]...)
		if !ix.gone[v] {
			body = append(body, v)
		}
	}
	ix.f.Body = body
	ix.f.ReplaceAll(ix.replace)
}

// A goal asks that the pattern's value p is v.
type goal struct{ p, v *ir.Value }

// A search binds the values of a pattern to those of a function.
type search struct {
	*index
	rule  *rule
	bound map[*ir.Value]*ir.Value
	vars  map[string]string
	undo  []any // what was bound, in order: *ir.Value or string
	steps int
}

// solve meets the goals, then extends the match until the whole pattern is bound.
func (s *search) solve(goals []goal) bool {
	if s.steps--; s.steps < 0 {
		return false
	}
	for len(goals) > 0 {
		g := goals[0]
		goals = goals[1:]
		if v := s.bound[g.p]; v != nil {
			if v != g.v {
				return false
			}
			continue
		}
		if !g.p.Type.IsNone() && !g.p.Type.Equal(g.v.Type) {
			return false
		}
		if g.p.Op == ir.OpParam {
			s.bind(g.p, g.v)
			continue
		}
		if g.p.Op != g.v.Op || len(g.p.Args) != len(g.v.Args) || s.gone[g.v] || !s.attrs(g.p, g.v) {
			return false
		}
		s.bind(g.p, g.v)
		mark := len(s.undo)
		if s.solve(append(pair(g.p.Args, g.v.Args), goals...)) {
			return true
		}
		if g.p.Op != ir.OpAdd && g.p.Op != ir.OpMul {
			return false
		}
		s.rollback(mark)
		return s.solve(append(pair(g.p.Args, []*ir.Value{g.v.Args[1], g.v.Args[0]}), goals...))
	}
	return s.extend()
}

func pair(ps, vs []*ir.Value) []goal {
	out := make([]goal, len(ps), len(ps)+8)
	for i := range ps {
		out[i] = goal{ps[i], vs[i]}
	}
	return out
}

// extend binds a pattern value that reads a bound one, trying all its users;
// once none is left it checks the match as a whole.
func (s *search) extend() bool {
	for _, p := range s.rule.pattern.Body {
		if s.bound[p] != nil {
			continue
		}
		i := slices.IndexFunc(p.Args, func(a *ir.Value) bool { return s.bound[a] != nil && a.Op != ir.OpParam })
		if i < 0 {
			continue
		}
		mark := len(s.undo)
		for _, u := range s.users[s.bound[p.Args[i]]] {
			if u.Op == p.Op && s.solve([]goal{{p, u}}) {
				return true
			}
			s.rollback(mark)
		}
		return false
	}
	return s.whole()
}

// whole checks that the match can be taken out of the function.
func (s *search) whole() bool {
	for p, v := range s.bound {
		if p.Op != ir.OpParam && !s.rule.results[p] && !v.Type.IsNone() && s.usedOutside(v) {
			return false
		}
	}
	// Accesses of one state come in the order of the pattern.
	last := map[*ir.Value]int{}
	for _, p := range s.rule.pattern.Body {
		v := s.bound[p]
		if v == nil {
			return false // not connected to the rest
		}
		if v.Effect() == ir.Pure {
			continue
		}
		if at, ok := last[v.Args[0]]; ok && s.pos[v] <= at {
			return false
		}
		last[v.Args[0]] = s.pos[v]
	}
	return true
}

// inside reports whether v is matched by an operation of the pattern.
func (s *search) inside(v *ir.Value) bool {
	for p, w := range s.bound {
		if w == v && p.Op != ir.OpParam {
			return true
		}
	}
	return false
}

func (s *search) usedOutside(v *ir.Value) bool {
	return s.results[v] || slices.ContainsFunc(s.users[v], func(u *ir.Value) bool { return !s.inside(u) })
}

func (s *search) bind(p, v *ir.Value) {
	s.bound[p] = v
	s.undo = append(s.undo, p)
}

func (s *search) rollback(mark int) {
	for _, x := range s.undo[mark:] {
		switch x := x.(type) {
		case *ir.Value:
			delete(s.bound, x)
		case string:
			delete(s.vars, x)
		}
	}
	s.undo = s.undo[:mark]
}

// attrs matches the attributes of p and v.
func (s *search) attrs(p, v *ir.Value) bool {
	for _, a := range v.Attr {
		if p.Attr.Get(a.Name) == "" {
			return false
		}
	}
	for _, a := range p.Attr {
		val := v.Attr.Get(a.Name)
		if a.Val[0] != '$' {
			if a.Val != val {
				return false
			}
			continue
		}
		if have, ok := s.vars[a.Val]; !ok {
			s.vars[a.Val] = val
			s.undo = append(s.undo, a.Val)
		} else if have != val {
			return false
		}
	}
	return true
}

// place returns the earliest position of a matched value that lies after all
// arguments of the replacement and before all users of what it replaces, and
// to which its accesses of state can move; -1 when there is none.
func (m *match) place() int {
	lo, hi := -1, math.MaxInt
	for _, v := range m.made {
		for _, a := range v.Args {
			if !slices.Contains(m.made, a) {
				lo = max(lo, m.where(a))
			}
		}
	}
	for v, w := range m.replace {
		if !slices.Contains(m.made, w) {
			lo = max(lo, m.where(w))
		}
		for _, u := range m.users[v] {
			if !m.inside(u) {
				hi = min(hi, m.where(u))
			}
		}
	}
	best := -1
	for p, v := range m.bound {
		at := m.pos[v]
		if p.Op != ir.OpParam && at > lo && at < hi && (best < 0 || at < best) && m.canMove(at) {
			best = at
		}
	}
	return best
}

// canMove reports whether the accesses of state can move to position at.
func (m *match) canMove(at int) bool {
	for p, v := range m.bound {
		if p.Op == ir.OpParam || v.Effect() == ir.Pure {
			continue
		}
		from := m.pos[v]
		for _, x := range m.access[v.Args[0]] {
			between := m.where(x) > min(from, at) && m.where(x) < max(from, at)
			if between && !m.inside(x) && (x.Effect()|v.Effect())&ir.WritesState != 0 {
				return false
			}
		}
	}
	return true
}
