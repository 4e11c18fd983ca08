package ir

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Verify reports every violation of these invariants, each with the thing, the fault and the cure:
//
//   - names are unique; weights are tensors of numbers; state leads with S;
//   - each argument is a parameter, a symbol or an earlier value of the same function;
//   - the argument count and the attributes are those of the op table;
//   - the type is the one the op infers from its arguments;
//   - only an op whose row says so takes a state symbol, as its first argument;
//   - a placed module places every value, its arguments on its own device
//     unless it is a transfer;
//   - a planned module gives memory to every value that needs it, aligned, and
//     what is read has not been overwritten: two values that are alive together
//     share none, but for an elementwise op in place of an operand;
//   - a bound of C is at most the cells of every cache that it reads.
func (m *Module) Verify() error {
	c := &checker{m: m, sizes: m.MaxSizes()}
	names := map[string]bool{}
	for _, v := range slices.Concat(m.Weights, m.State) {
		if names[v.Name] {
			c.add("%s is declared twice: give it another name", v)
		}
		names[v.Name] = true
		c.symbol(v)
	}
	if len(m.Machine.Devices) == 0 && m.Level >= LevelPlaced {
		c.add("module %s is placed on no devices: add a device line", m.Name)
	}
	for _, l := range m.Machine.Links {
		for _, d := range []Device{l.A, l.B} {
			if _, ok := m.Machine.Device(d); !ok {
				c.add("link %s %s: device %s is not declared: add a device line", l.A, l.B, d)
			}
		}
	}
	for _, f := range m.Funcs {
		c.function(f)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	m     *Module
	sizes Sizes // the bounds
	errs  []error
}

func (c *checker) add(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) symbol(v *Value) {
	if v.Type.IsNone() || v.Type.IsTuple() {
		c.add("%s is %s: a symbol is a tensor", v, v.Type)
		return
	}
	for i, d := range v.Type.Dims {
		if n, ok := d.Static(); ok && n == 0 {
			c.add("%s is %s: axis %d is empty", v, v.Type, i)
		}
		if v.Op == OpWeight && d.Sym != "" {
			c.add("%s is %s: the extents of a weight are numbers", v, v.Type)
		}
	}
	if v.Op == OpState && (v.Type.Rank() < 2 || v.Type.Dims[0] != Sym("S")) {
		c.add("%s is %s: state has its sequences first, as [S,…]", v, v.Type)
	}
	if v.Type.DType.Quantised() {
		if n, ok := v.Type.Last().Static(); !ok || n%v.Type.DType.Info().BlockElems != 0 {
			c.add("%s is %s: rows are no multiple of %d: use another type", v, v.Type, v.Type.DType.Info().BlockElems)
		}
	}
	if v.Rows != nil {
		c.rows(v)
	}
}

// rows compares the rows of a weight with those that its rows= name.
func (c *checker) rows(v *Value) {
	named := 0
	for _, r := range v.Rows {
		if r.Groups > 0 && r.Len > maxProduct/r.Groups || r.Len*r.Groups > maxProduct-named {
			c.add("%s: its rows= name more than %d rows", v, maxProduct)
			return
		}
		named += r.Len * r.Groups
	}
	if want := ProductOf(v.Type.Dims[:max(v.Type.Rank()-1, 0)]...); !want.Equal(ProductOf(Num(named))) {
		c.add("%s is %s, but its rows= name %d rows", v, v.Type, named)
	}
}

func (c *checker) function(f *Func) {
	faults := len(c.errs)
	report := func(v *Value, format string, args ...any) {
		c.add("%s: %s: %s", f.Name, v.LongString(), fmt.Sprintf(format, args...))
	}
	seen, names := map[*Value]bool{}, map[string]bool{}
	for _, v := range slices.Concat(c.m.Weights, c.m.State, f.Params) {
		seen[v] = true
	}
	for _, p := range f.Params {
		if names[p.Name] || p.Op != OpParam || p.Type.IsNone() || p.Type.IsTuple() {
			report(p, "a parameter is a tensor with a name of its own")
		}
		names[p.Name] = true
	}
	for _, v := range f.Body {
		known := true
		for _, a := range v.Args {
			if !seen[a] {
				known = false
				report(v, "argument %s is not defined before this value: reorder", a)
			}
		}
		seen[v] = true
		if !v.Type.IsNone() {
			if names[v.Name] {
				report(v, "the name is taken: rename")
			}
			names[v.Name] = true
		}
		if known {
			c.value(v, report)
		}
	}
	for _, r := range f.Results {
		if !seen[r] || r.Type.IsNone() || r.Type.IsTuple() {
			c.add("%s: return %s: a result is a tensor of this function", f.Name, r)
		}
	}
	c.placement(f, report)
	if c.m.Level == LevelPlanned && len(c.errs) == faults {
		c.arena(f, report)
	}
}

func (c *checker) value(v *Value, report func(*Value, string, ...any)) {
	info := v.Op.Info()
	if v.Op <= OpState {
		report(v, "%s is no operation", info.Name)
		return
	}
	if n, more := info.numArgs(); len(v.Args) < n || len(v.Args) > n && !more {
		report(v, "%d arguments, want %d: %s", len(v.Args), n, info.Args)
		return
	}
	for i, a := range v.Args {
		if a.Op == OpState && (i > 0 || info.Effect == Pure) {
			report(v, "argument %s is state: read it with load first", a)
			return
		}
	}
	ok := true
	for _, a := range v.Attr {
		spec := info.attr(a.Name)
		if spec == nil {
			report(v, "unknown attribute %q, want one of %q", a.Name, info.attrNames())
			ok = false
		} else if err := spec.check(a.Val); err != nil {
			report(v, "%v", err)
			ok = false
		}
	}
	for _, s := range info.Attrs {
		if !s.Optional && v.Attr.Get(s.Name) == "" {
			report(v, "attribute %s is missing: %s", s.Name, s.Doc)
			ok = false
		}
	}
	if !ok {
		return
	}
	if t, err := info.Infer(v); err != nil {
		report(v, "%v", err)
	} else if !t.Equal(v.Type) {
		report(v, "type is %s, want %s", v.Type, t)
	} else if v.Op == OpLoadRows {
		if n, cells := t.Dims[0].At(c.sizes), v.Args[0].Type.Dims[1].At(c.sizes); n > cells {
			report(v, "%s is at most %d, but %s has %d cells: lower the bound", t.Dims[0], n, v.Args[0], cells)
		}
	}
}

func (i *OpInfo) attrNames() []string {
	var out []string
	for _, s := range i.Attrs {
		out = append(out, s.Name)
	}
	return out
}

func (c *checker) placement(f *Func, report func(*Value, string, ...any)) {
	if c.m.Level == LevelGraph {
		if len(f.Parts) > 0 {
			c.add("%s: parts in a module of level graph: raise the level", f.Name)
		}
		return
	}
	n := 0
	for i, p := range f.Parts {
		if _, ok := c.m.Machine.Device(p.Device); !ok {
			c.add("%s: p%d is on %s: add a device line", f.Name, i, p.Device)
		}
		if p.Len == 0 {
			c.add("%s: p%d is empty: leave it out", f.Name, i)
		}
		if i > 0 && f.Parts[i-1].Device == p.Device {
			c.add("%s: p%d and p%d are both on %s: join them", f.Name, i-1, i, p.Device)
		}
		for j := 0; j < p.Len && n < len(f.Body); j++ {
			if v := f.Body[n]; v.On != p.Device {
				report(v, "on %q in part p%d @%s", v.On, i, p.Device)
			}
			n++
		}
	}
	if n != len(f.Body) {
		c.add("%s: the parts hold %d values, the function %d", f.Name, n, len(f.Body))
	}
	for _, v := range f.Body {
		for _, a := range v.Args {
			if v.Op != OpTransfer && a.On != "" && a.On != v.On {
				report(v, "argument %s is on %s: insert a transfer", a, a.On)
			}
		}
		if c.m.Level == LevelPlanned && NeedsMem(v) && v.Mem == NoMem {
			report(v, "no place in the arena: run plan-memory")
		}
	}
}

// NeedsMem reports whether a planned value lies in the arena: views and
// tuples do not (the members of a tuple do), nor does a plain read of state,
// nor do parameters, which the caller holds.
func NeedsMem(v *Value) bool {
	switch {
	case v.Type.IsNone() || v.Type.IsTuple() || v.IsSymbol() || v.Op == OpParam:
		return false
	case v.Op == OpPart:
		return true
	case v.Op == OpLoadRows:
		return false
	}
	return !v.Op.IsView()
}

// Doc prints the op's row for people.
func (o Op) Doc() string {
	i := o.Info()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n    %s (%s, %s)\n", i.Name, i.Args, i.Doc, i.Class, i.Effect)
	for _, a := range i.Attrs {
		opt := ""
		if a.Optional {
			opt = " (optional)"
		}
		fmt.Fprintf(&b, "    %s%s: %s\n", a.Name, opt, a.Doc)
	}
	return b.String()
}
