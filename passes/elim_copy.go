package passes

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// elimCopy drops every copy that only straightens a view: all ops read views
// in any layout. Views of views are joined, views that change nothing vanish.
// A reshape that its strided argument cannot be seen as moves below the
// elementwise op that reads it, whose result lies dense; only where that is
// not possible a copy stays. Rows of a cache, which are read in place, are
// copied where a later write would change them under their reader.
func elimCopy(m *ir.Module, f *ir.Func, t *Target) error {
	c := &copier{
		names: newNamer(f),
		alias: map[*ir.Value]*ir.Value{}, layouts: map[*ir.Value]layout{},
		copies: map[*ir.Value]*ir.Value{}, bent: map[*ir.Value]*ir.Value{},
		stale: stale(f),
	}
	for _, v := range f.Body {
		if err := c.value(v); err != nil {
			return err
		}
	}
	for i, r := range f.Results {
		r, err := c.straight(r)
		if err != nil {
			return err
		}
		if !c.layout(r).isDense(r.Type.Dims) {
			if r, err = c.copyOf(r); err != nil {
				return err
			}
		}
		f.Results[i] = r
	}
	f.Body = c.body
	f.Sweep()
	return nil
}

type copier struct {
	names   namer
	alias   map[*ir.Value]*ir.Value // value → what stands for it now
	layouts map[*ir.Value]layout    // of views; everything else is dense
	copies  map[*ir.Value]*ir.Value // view → its copy
	// bent maps a reshape that is no view to the strided value it reshapes.
	bent  map[*ir.Value]*ir.Value
	stale map[*ir.Value]bool
	body  []*ir.Value
}

// stale finds the load_rows, which read a cache in place, whose rows are
// needed after a write of that cache: they must be copied first.
func stale(f *ir.Func) map[*ir.Value]bool {
	out := map[*ir.Value]bool{}
	base := map[*ir.Value]*ir.Value{}      // what is a view of loaded rows, or will be
	written := map[*ir.Value][]*ir.Value{} // state → loads before its last write
	loads := map[*ir.Value][]*ir.Value{}
	for _, v := range f.Body {
		for i, a := range v.Args {
			b := base[a]
			if b == nil {
				continue
			}
			if slices.Contains(written[b.Args[0]], b) || v.Effect()&ir.WritesState != 0 && v.Args[0] == b.Args[0] {
				out[b] = true
			}
			if i == 0 && (v.Op.IsView() || v.Op == ir.OpCont) {
				base[v] = b
			}
		}
		switch {
		case v.Op == ir.OpLoadRows:
			base[v] = v
			loads[v.Args[0]] = append(loads[v.Args[0]], v)
		case v.Effect()&ir.WritesState != 0:
			written[v.Args[0]] = loads[v.Args[0]]
		}
	}
	for _, r := range f.Results {
		if b := base[r]; b != nil && slices.Contains(written[b.Args[0]], b) {
			out[b] = true
		}
	}
	return out
}

func (c *copier) resolve(v *ir.Value) *ir.Value {
	for c.alias[v] != nil {
		v = c.alias[v]
	}
	return v
}

func (c *copier) layout(v *ir.Value) layout {
	if l := c.layouts[v]; l != nil {
		return l
	}
	return dense(v.Type.Dims)
}

// emit appends a new value and infers its type.
func (c *copier) emit(name string, op ir.Op, args []*ir.Value, attrs ...any) (*ir.Value, error) {
	v, err := ir.NewValue(c.names.fresh(name), op, args, attrs...)
	if err != nil {
		return nil, fmt.Errorf("BUG: %w", err)
	}
	c.body = append(c.body, v)
	return v, nil
}

// copyOf returns a dense copy of the view v.
func (c *copier) copyOf(v *ir.Value) (*ir.Value, error) {
	if x := c.copies[v]; x != nil {
		return x, nil
	}
	x, err := c.emit(v.Name+"_cont", ir.OpCont, []*ir.Value{v})
	c.copies[v] = x
	return x, err
}

// straight returns v; in place of a reshape that is no view, one of a copy.
func (c *copier) straight(v *ir.Value) (*ir.Value, error) {
	v = c.resolve(v)
	from := c.bent[v]
	if from == nil {
		return v, nil
	}
	x, err := c.copyOf(from)
	if err != nil {
		return nil, err
	}
	y, err := c.emit(v.Name, ir.OpReshape, []*ir.Value{x}, "shape", v.Type.Dims)
	if err != nil {
		return nil, err
	}
	y.Name = v.Name
	delete(c.bent, v)
	c.alias[v] = y
	return y, nil
}

func (c *copier) value(v *ir.Value) error {
	for i, a := range v.Args {
		v.Args[i] = c.resolve(a)
	}
	if done, err := c.bend(v); done || err != nil {
		return err
	}
	if v.Op != ir.OpReshape {
		for i, a := range v.Args {
			var err error
			if v.Args[i], err = c.straight(a); err != nil {
				return err
			}
		}
	}
	fold := folds[v.Op]
	for fold != nil {
		x, again := fold(c, v)
		if x != nil {
			c.alias[v] = x
			return nil
		}
		if !again {
			break
		}
		fold = folds[v.Op]
	}
	if v.Op == ir.OpReshape {
		return c.reshape(v)
	}
	c.body = append(c.body, v)
	if c.stale[v] {
		x, err := c.copyOf(v)
		c.alias[v] = x
		return err
	}
	return nil
}

// reshape decides whether v is a view of its argument.
func (c *copier) reshape(v *ir.Value) error {
	x := v.Args[0]
	l, ok := c.layout(x).reshape(x.Type.Dims, v.Type.Dims)
	if !ok {
		c.bent[v] = x
		return nil
	}
	c.layouts[v] = l
	c.body = append(c.body, v)
	return nil
}

// bend moves a reshape that is no view below the elementwise op v.
func (c *copier) bend(v *ir.Value) (bool, error) {
	if v.Op.Info().Class != ir.Elemwise || v.Op == ir.OpTri || v.Attr.Get("map") != "" {
		return false, nil
	}
	i := slices.IndexFunc(v.Args, func(a *ir.Value) bool { return c.bent[a] != nil && slices.Equal(a.Type.Dims, v.Type.Dims) })
	if i < 0 {
		return false, nil
	}
	from, shape := c.bent[v.Args[i]], v.Type.Dims
	args := slices.Clone(v.Args)
	for j, a := range args {
		x, err := c.bendArg(a, shape, from.Type.Dims)
		if x == nil || err != nil {
			return false, err
		}
		args[j] = x
	}
	v.Args = args
	t, err := v.Op.Info().Infer(v)
	if err != nil {
		return false, fmt.Errorf("BUG: %s: %w", v.LongString(), err)
	}
	v.Type = t
	c.body = append(c.body, v)
	y, err := c.emit(v.Name+"_flat", ir.OpReshape, []*ir.Value{v}, "shape", shape)
	if err == nil {
		c.alias[v] = y
	}
	return true, err
}

// bendArg returns the operand a of an op of the given shape as one of shape
// to, which holds the same elements; nil when that is no view.
func (c *copier) bendArg(a *ir.Value, shape, to []ir.Dim) (*ir.Value, error) {
	if x := c.bent[a]; x != nil {
		if slices.Equal(x.Type.Dims, to) && slices.Equal(a.Type.Dims, shape) {
			return x, nil
		}
		return nil, nil
	}
	// The extents of a in the new shape: those of the groups that a has in
	// full, 1 where it broadcasts.
	gs, ok := groups(shape, to)
	if !ok {
		return nil, nil
	}
	dims := make([]ir.Dim, len(to))
	for i := range dims {
		dims[i] = ir.Num(1)
	}
	missing := len(shape) - a.Type.Rank()
	for _, g := range gs {
		full, single := 0, 0
		for _, x := range g.a {
			if x < missing || a.Type.Dims[x-missing].Is(1) {
				single++
			} else {
				full++
			}
		}
		if full > 0 && single > 0 {
			return nil, nil
		}
		if full > 0 {
			for _, x := range g.b {
				dims[x] = to[x]
			}
		}
	}
	for len(dims) > 1 && dims[0].Is(1) {
		dims = dims[1:]
	}
	if slices.Equal(dims, a.Type.Dims) {
		return a, nil
	}
	l, ok := c.layout(a).reshape(a.Type.Dims, dims)
	if !ok {
		return nil, nil
	}
	x, err := c.emit(a.Name+"_view", ir.OpReshape, []*ir.Value{a}, "shape", dims)
	if err == nil {
		c.layouts[x] = l
	}
	return x, err
}

// A foldFunc simplifies v, whose arguments are simple already: it returns what
// v equals, or changes v and asks for another look.
type foldFunc func(c *copier, v *ir.Value) (same *ir.Value, again bool)

var folds = map[ir.Op]foldFunc{
	ir.OpCont:    foldCont,
	ir.OpReshape: foldReshape,
	ir.OpPermute: foldPermute,
	ir.OpSlice:   foldSlice,
	ir.OpPad:     foldPad,
}

func foldCont(c *copier, v *ir.Value) (*ir.Value, bool) { return v.Args[0], false }

func foldReshape(c *copier, v *ir.Value) (*ir.Value, bool) {
	x := v.Args[0]
	for {
		if b := c.bent[x]; b != nil {
			x = b
		} else if x.Op == ir.OpReshape {
			x = x.Args[0]
		} else {
			break
		}
	}
	v.Args[0] = x
	if x.Type.Equal(v.Type) {
		return x, false
	}
	return nil, false
}

// foldPermute joins permutes; one that only moves axes of extent 1 is a reshape.
func foldPermute(c *copier, v *ir.Value) (*ir.Value, bool) {
	x, perm := v.Args[0], v.Ints("perm")
	if x.Op == ir.OpPermute {
		inner := x.Ints("perm")
		text := make([]ir.Dim, len(perm))
		for i, p := range perm {
			text[i] = ir.Num(inner[p])
		}
		v.Args[0], v.Attr = x.Args[0], ir.Attrs{{Name: "perm", Val: dimsText(text)}}
		return nil, true
	}
	var moved []int
	for _, p := range perm {
		if !x.Type.Dims[p].Is(1) {
			moved = append(moved, p)
		}
	}
	if slices.IsSorted(moved) {
		v.Op, v.Attr = ir.OpReshape, ir.Attrs{{Name: "shape", Val: dimsText(v.Type.Dims)}}
		return nil, true
	}
	l := c.layout(x)
	out := make(layout, len(perm))
	for i, p := range perm {
		out[i] = l[p]
	}
	c.layouts[v] = out
	return nil, false
}

func foldSlice(c *copier, v *ir.Value) (*ir.Value, bool) {
	x, axis, start, n := v.Args[0], v.Attr.Get("axis"), v.Dim("start"), v.Dim("len")
	switch {
	case x.Type.Equal(v.Type):
		return x, false
	case x.Op == ir.OpSlice && x.Attr.Get("axis") == axis:
		if sum, ok := addDims(start, x.Dim("start")); ok {
			v.Args[0], v.Attr = x.Args[0], setAttr(v, v.Attr, "start", sum.String())
			return nil, true
		}
	case x.Op == ir.OpPad && x.Attr.Get("axis") == axis && start.Is(0):
		if y := x.Args[0]; y.Type.Dims[v.Int("axis")] == n {
			return y, false
		}
	}
	c.layouts[v] = c.layout(x)
	return nil, false
}

func addDims(a, b ir.Dim) (ir.Dim, bool) {
	if n, ok := b.Static(); ok {
		return a.Plus(n), true
	}
	n, ok := a.Static()
	return b.Plus(n), ok
}

func foldPad(c *copier, v *ir.Value) (*ir.Value, bool) {
	x := v.Args[0]
	if x.Type.Equal(v.Type) {
		return x, false
	}
	if x.Op == ir.OpPad && x.Attr.Get("axis") == v.Attr.Get("axis") {
		v.Args[0] = x.Args[0]
		return nil, true
	}
	return nil, false
}
