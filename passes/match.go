package passes

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// A rule rewrites every place of a function where its pattern matches.
//
// The pattern is one function in IR text. Parameters match any value, symbols
// included; an attribute written $name matches any value, also an optional one
// that is absent, and the same value wherever it stands; types may be left
// out; add and mul match with their arguments exchanged. A match is refused when
//
//   - a matched value that is no result of the pattern is used outside of it,
//   - moving a read or write of state to the place of the rewrite would cross
//     another access of the same state of which one is a write,
//   - no place lies after all arguments and before all users of the results,
//   - no device runs what the rewrite makes.
type rule struct {
	pattern *ir.Func
	named   map[string]*ir.Value
	results map[*ir.Value]bool
	rewrite func(*match) bool
}

// newRule makes a rule of a pattern and the function that rewrites a match; it
// returns false to refuse.
func newRule(pattern string, rewrite func(*match) bool) *rule {
	f, err := ir.ParsePattern(pattern)
	if err != nil {
		panic(fmt.Sprintf("BUG: pattern: %v\n%s", err, pattern))
	}
	r := &rule{f, map[string]*ir.Value{}, map[*ir.Value]bool{}, rewrite}
	for _, v := range slices.Concat(f.Params, f.Body) {
		r.named[v.Name] = v
	}
	for _, v := range f.Results {
		r.results[v] = true
	}
	return r
}

// A match is one place where a pattern matches, and what replaces it.
type match struct {
	*search
	made    []*ir.Value
	replace map[*ir.Value]*ir.Value
	names   namer
	err     error
}

// val returns the value that the pattern's value is bound to.
func (m *match) val(name string) *ir.Value {
	v := m.bound[m.rule.named[name]]
	if v == nil {
		panic("BUG: pattern has no value " + name)
	}
	return v
}

// vals is val for several names.
func (m *match) vals(names ...string) []*ir.Value {
	out := make([]*ir.Value, len(names))
	for i, n := range names {
		out[i] = m.val(n)
	}
	return out
}

// attr returns what $name is bound to, "" for an absent attribute.
func (m *match) attr(name string) string { return m.vars["$"+name] }

// shape reports whether a bound value is f32 with the given extents.
func (m *match) shape(name string, dims ...ir.Dim) bool {
	return m.val(name).Type.Equal(ir.Tensor(ir.F32, dims...))
}

// used reports whether a bound value is needed outside of the match.
func (m *match) used(name string) bool {
	return m.usedOutside(m.val(name))
}

// add makes a value of the replacement.
func (m *match) add(name string, op ir.Op, args []*ir.Value, attrs ...any) *ir.Value {
	v, err := ir.NewValue(name, op, args, attrs...)
	if err != nil && m.err == nil {
		m.err = err
	}
	m.made = append(m.made, v)
	return v
}

// reshaped returns v with the given extents.
func (m *match) reshaped(v *ir.Value, dims ...ir.Dim) *ir.Value {
	if slices.Equal(v.Type.Dims, dims) {
		return v
	}
	for v.Op == ir.OpReshape {
		v = v.Args[0]
	}
	if slices.Equal(v.Type.Dims, dims) {
		return v
	}
	return m.add(v.Name+"_as", ir.OpReshape, []*ir.Value{v}, "shape", dims)
}

// as makes v stand for the pattern's result of that name, and gives it the
// name of the value that goes.
func (m *match) as(result string, v *ir.Value) {
	old := m.val(result)
	m.replace[old] = v
	if slices.Contains(m.made, v) {
		v.Name = old.Name
	}
}

// parts makes the results of an op that may have several: v itself, or the
// members of its tuple, each standing for the pattern's result of that name.
func (m *match) parts(v *ir.Value, results ...string) {
	if !v.Type.IsTuple() {
		m.as(results[0], v)
		return
	}
	v.Name = m.val(results[0]).Name + "_" + v.Op.String()
	for i, r := range results {
		p := m.add(r, ir.OpPart, []*ir.Value{v}, "i", i)
		m.as(r, p)
	}
}

// apply rewrites f until the pattern matches nowhere.
func (r *rule) apply(mod *ir.Module, f *ir.Func, t *Target) error {
	for range len(f.Body) + 1 {
		n, err := r.round(mod, f, t)
		if n == 0 || err != nil {
			return err
		}
	}
	return fmt.Errorf("BUG: the pattern matches what it is rewritten to:\n%s", r.pattern)
}

// round rewrites all matches that do not overlap and returns how many.
func (r *rule) round(mod *ir.Module, f *ir.Func, t *Target) (int, error) {
	counts := map[ir.Op]int{}
	for _, v := range f.Body {
		counts[v.Op]++
	}
	anchor := r.pattern.Body[0]
	for _, p := range r.pattern.Body {
		if counts[p.Op] == 0 {
			return 0, nil
		}
		if counts[p.Op] < counts[anchor.Op] {
			anchor = p
		}
	}
	ix := newIndex(f)
	names := newNamer(f)
	n := 0
	for _, v := range f.Body {
		if v.Op != anchor.Op || ix.gone[v] {
			continue
		}
		s := &search{rule: r, index: ix, bound: map[*ir.Value]*ir.Value{}, vars: map[string]string{}, steps: maxSteps}
		if !s.solve([]goal{{anchor, v}}) {
			continue
		}
		m := &match{search: s, replace: map[*ir.Value]*ir.Value{}, names: names}
		if !r.rewrite(m) || m.err != nil || !m.runs(mod, t) {
			continue
		}
		ok, err := m.commit()
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	if n > 0 {
		ix.rebuild()
	}
	return n, nil
}

// runs reports whether some device runs everything that the match makes.
func (m *match) runs(mod *ir.Module, t *Target) bool {
	return !slices.ContainsFunc(m.made, func(v *ir.Value) bool { return !t.canRun(mod, v) })
}

// commit finds a place for the replacement and books it.
func (m *match) commit() (bool, error) {
	for p, v := range m.bound {
		if p.Op == ir.OpParam {
			continue
		}
		w := m.replace[v]
		switch {
		case w == nil && m.usedOutside(v):
			return false, fmt.Errorf("BUG: %s is not replaced in a match of\n%s", v.LongString(), m.rule.pattern)
		case w != nil && !w.Type.Equal(v.Type):
			return false, fmt.Errorf("BUG: %s is replaced by %s in a match of\n%s", v.LongString(), w.LongString(), m.rule.pattern)
		}
	}
	at := m.place()
	if at < 0 {
		return false, nil
	}
	kept := map[*ir.Value]bool{}
	for _, w := range m.replace {
		kept[w] = true
	}
	for _, v := range m.made {
		if !kept[v] && !v.Type.IsNone() {
			v.Name = m.names.fresh(v.Name)
		}
	}
	m.index.put(at, m)
	return true, nil
}
