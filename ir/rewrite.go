package ir

import "slices"

// Users returns, for every value and symbol, the values that read it, in
// order; a user that reads it twice stands there once.
func (f *Func) Users() map[*Value][]*Value {
	users := make(map[*Value][]*Value, len(f.Body))
	for _, v := range f.Body {
		for i, a := range v.Args {
			if !slices.Contains(v.Args[:i], a) {
				users[a] = append(users[a], v)
			}
		}
	}
	return users
}

// ReplaceAll makes every user of a key of m use its value instead, followed
// through chains, in one walk.
func (f *Func) ReplaceAll(m map[*Value]*Value) {
	if len(m) == 0 {
		return
	}
	final := func(v *Value) *Value {
		for m[v] != nil {
			v = m[v]
		}
		return v
	}
	for _, v := range f.Body {
		for i, a := range v.Args {
			v.Args[i] = final(a)
		}
	}
	for i, r := range f.Results {
		f.Results[i] = final(r)
	}
}

// Sweep removes values that neither a result nor a write of state depends on,
// and returns how many.
func (f *Func) Sweep() int {
	live := make(map[*Value]bool, len(f.Body))
	for _, r := range f.Results {
		live[r] = true
	}
	for _, v := range slices.Backward(f.Body) {
		if live[v] || v.Effect()&WritesState != 0 {
			live[v] = true
			for _, a := range v.Args {
				live[a] = true
			}
		}
	}
	n := len(f.Body)
	f.Body = slices.DeleteFunc(f.Body, func(v *Value) bool { return !live[v] })
	return n - len(f.Body)
}

// Clone returns a deep copy of the module.
func (m *Module) Clone() *Module {
	c := *m
	c.Machine.Devices = slices.Clone(m.Machine.Devices)
	c.Machine.Links = slices.Clone(m.Machine.Links)
	c.Bounds = slices.Clone(m.Bounds)
	old := map[*Value]*Value{}
	list := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			n := *v
			n.Attr = slices.Clone(v.Attr)
			n.Args = slices.Clone(v.Args)
			for j, a := range n.Args {
				n.Args[j] = old[a]
			}
			old[v] = &n
			out[i] = &n
		}
		return out
	}
	c.Weights, c.State = list(m.Weights), list(m.State)
	c.Funcs = nil
	for _, f := range m.Funcs {
		g := &Func{Name: f.Name, From: f.From, Params: list(f.Params), Body: list(f.Body), Parts: slices.Clone(f.Parts)}
		for _, r := range f.Results {
			g.Results = append(g.Results, old[r])
		}
		c.Funcs = append(c.Funcs, g)
	}
	return &c
}
