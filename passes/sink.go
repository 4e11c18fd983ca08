package passes

import (
	"slices"

	"qnc/ir"
)

// sinks says how repeats of an op's arguments sink below it, where its class
// does not say so.
var sinks = map[ir.Op]sinkFunc{
	ir.OpReshape: sinkReshape,
	ir.OpPermute: sinkPermute,
	ir.OpSlice:   sinkSlice,

	ir.OpCont: sinkBut(0),

	ir.OpCumsum:   sinkBut(1),
	ir.OpSoftmax:  sinkBut(1),
	ir.OpRMSNorm:  sinkBut(1),
	ir.OpL2Norm:   sinkBut(1),
	ir.OpTopK:     sinkBut(1),
	ir.OpQuantize: sinkBut(1),
	ir.OpTri:      sinkBut(2),
	ir.OpSum:      sinkAxis,
	ir.OpPad:      sinkAxis,
	ir.OpConcat:   sinkConcat,

	ir.OpRope:       sinkRope,
	ir.OpMatMul:     sinkMatMul,
	ir.OpMatMulID:   sinkMatMulID,
	ir.OpSolveTri:   sinkSolveTri,
	ir.OpAffineScan: sinkAffineScan,
	ir.OpAttention:  sinkAttention,
}

// sinkOf returns how repeats sink below v; nil when v reads its arguments as they are.
func sinkOf(v *ir.Value) sinkFunc {
	if f := sinks[v.Op]; f != nil || v.Op.Info().Class != ir.Elemwise {
		return f
	}
	switch len(v.Args) {
	case 1:
		return sinkBut(0)
	case 2:
		return sinkBinary
	}
	return nil
}

// sinkBut sinks repeats of all axes but the last n.
func sinkBut(n int) sinkFunc {
	return func(v *ir.Value, args []operand) (sunk, bool) {
		x := args[0]
		return sunk{x.reps, v.Attr}, !anyRep(x.reps[x.rank()-n:])
	}
}

// sinkAxis sinks repeats of all axes but the one that the op works along.
func sinkAxis(v *ir.Value, args []operand) (sunk, bool) {
	return sunk{args[0].reps, v.Attr}, args[0].at(v.Int("axis")).none()
}

func sinkPermute(v *ir.Value, args []operand) (sunk, bool) {
	var out []rep
	for _, p := range v.Ints("perm") {
		out = append(out, args[0].reps[p])
	}
	return sunk{out, v.Attr}, true
}

// sinkSlice sinks; of an axis repeated from extent 1 it shortens the repeat instead.
func sinkSlice(v *ir.Value, args []operand) (sunk, bool) {
	x, axis, n := args[0], v.Int("axis"), v.Dim("len")
	switch {
	case x.at(axis).none():
		return sunk{x.reps, v.Attr}, true
	case x.dims()[axis].Is(1):
		out := slices.Clone(x.reps)
		out[axis] = rep{n: n}
		if n.Is(1) {
			out[axis] = rep{}
		}
		return sunk{out, setAttr(v, setAttr(v, v.Attr, "start", "0"), "len", "1")}, true
	}
	return sunk{}, false
}

func sinkConcat(v *ir.Value, args []operand) (sunk, bool) {
	x, y, axis := args[0], args[1], v.Int("axis")
	ok := x.reps != nil && slices.Equal(x.reps, y.reps) && x.at(axis).none()
	return sunk{x.reps, v.Attr}, ok
}

// sinkReshape carries each repeated axis to the axes of the result that hold
// it. A group of two axes of which one is a repeat from extent 1 is a grouped
// repeat of the joined axis: [m, 1*n] reads i / n, [1*n, m] reads i mod m.
func sinkReshape(v *ir.Value, args []operand) (sunk, bool) {
	x, to := args[0], v.Dims("shape")
	from := make([]ir.Dim, x.rank())
	for i := range from {
		from[i] = x.full(i)
	}
	gs, ok := groups(from, to)
	if !ok {
		return sunk{}, false
	}
	shape, reps := slices.Clone(to), make([]rep, len(to))
	for _, g := range gs {
		if !sinkGroup(x, from, to, g, shape, reps) {
			return sunk{}, false
		}
	}
	return sunk{reps, ir.Attrs{{Name: "shape", Val: dimsText(shape)}}}, true
}

// sinkGroup fills shape and reps for one group of axes.
func sinkGroup(x operand, from, to []ir.Dim, g group, shape []ir.Dim, reps []rep) bool {
	repeated := 0
	for _, a := range g.a {
		if !x.at(a).none() {
			repeated++
		}
	}
	first, last := g.a[0], g.a[len(g.a)-1]
	r := x.at(first)
	switch {
	case repeated == 0:
		return true
	case len(g.a) == 1 && len(g.b) == 1:
		shape[g.b[0]], reps[g.b[0]] = x.dims()[first], r
		return true
	case len(g.a) == 1 && x.dims()[first].Is(1): // every part is a repeat
		for _, b := range g.b {
			shape[b], reps[b] = ir.Num(1), rep{n: to[b]}
		}
		return true
	case len(g.a) == 1 && len(g.b) == 2: // m*n as [m,n] or [n,m]
		m, n := g.b[0], g.b[1]
		if r.mapping == "tiled" {
			m, n = n, m
		}
		shape[n], reps[n] = ir.Num(1), rep{n: to[n]}
		return to[m] == x.dims()[first] && to[n] == r.n
	case len(g.a) == 2 && len(g.b) == 1 && repeated == 1: // [m,1*n] or [1*n,m] as m*n
		keep, mapping := first, "interleaved"
		if !r.none() {
			keep, mapping = last, "tiled"
		}
		rest := first + last - keep
		n := x.at(rest).n
		_, static := n.Static()
		_, static2 := from[keep].Static()
		shape[g.b[0]], reps[g.b[0]] = from[keep], rep{n, mapping}
		return static && static2 && x.dims()[rest].Is(1)
	}
	return false
}

// join says how one axis of two operands meets: x of extent dx with repeat rx, y alike. need is
// set to the map that the op must carry.
func join(x, y operand, ax, ay int, need *string) (rep, bool) {
	if ax < 0 {
		return y.at(ay), true
	}
	if ay < 0 {
		return x.at(ax), true
	}
	rx, ry := x.at(ax), y.at(ay)
	dx, dy := x.dims()[ax], y.dims()[ay]
	fx, fy := x.full(ax), y.full(ay)
	switch {
	case rx.none() && ry.none():
		return rep{}, true
	case rx.none():
		return join(y, x, ay, ax, need)
	case dx == dy && rx == ry, !ry.none() && dy.Is(1) && fx == fy:
		return rx, true
	case !ry.none() && dx.Is(1) && fx == fy:
		return ry, true
	case !ry.none():
		return rep{}, false
	case dy.Is(1):
		return rx, true
	case fx != dy:
		return rep{}, false
	case dx.Is(1):
		return rep{}, true
	}
	_, static := dx.Static() // a symbolic extent does not group
	ok := static && (*need == "" || *need == rx.mapping)
	*need = rx.mapping
	return rep{}, ok
}

// joinAxes joins the axes of x and y but the last drop of each, aligned at their ends.
func joinAxes(v *ir.Value, x, y operand, drop int) (sunk, bool) {
	need := v.Attr.Get("map")
	nx, ny := x.rank()-drop, y.rank()-drop
	n := max(nx, ny)
	out := make([]rep, n, n+drop)
	for i := 1; i <= n; i++ {
		r, ok := join(x, y, nx-i, ny-i, &need)
		if !ok {
			return sunk{}, false
		}
		out[n-i] = r
	}
	attr := setAttr(v, v.Attr, "map", need)
	return sunk{out, attr}, attr.Get("map") == need // an op without map groups nothing
}

func sinkBinary(v *ir.Value, args []operand) (sunk, bool) {
	return joinAxes(v, args[0], args[1], 0)
}

// sinkMatMul: repeated rows of either side are repeated rows or columns of the result.
func sinkMatMul(v *ir.Value, args []operand) (sunk, bool) {
	x, w := args[0], args[1]
	res, ok := joinAxes(v, x, w, 2)
	res.reps = append(res.reps, x.at(x.rank()-2), w.at(w.rank()-2))
	return res, ok && x.at(x.rank()-1).none() && w.at(w.rank()-1).none()
}

// sinkMatMulID: one row for all experts is what the op broadcasts itself.
func sinkMatMulID(v *ir.Value, args []operand) (sunk, bool) {
	x := args[0]
	for i, a := range args {
		for axis := range a.reps {
			if (i != 0 || axis != 1 || !x.dims()[1].Is(1)) && !a.at(axis).none() {
				return sunk{}, false
			}
		}
	}
	return sunk{nil, v.Attr}, true
}

func sinkRope(v *ir.Value, args []operand) (sunk, bool) {
	x := args[0]
	return sunk{x.reps, v.Attr}, x.reps != nil && args[1].reps == nil && x.at(0).none() && x.at(2).none()
}

// alike reports whether the operands are repeated in the same way along the
// leading axes, from the same extents, and not at all along the others.
func alike(lead int, args ...operand) bool {
	x := args[0]
	for _, a := range args {
		for i := range a.rank() {
			if i >= lead && !a.at(i).none() || i < lead && (a.at(i) != x.at(i) || a.dims()[i] != x.dims()[i]) {
				return false
			}
		}
	}
	return true
}

func sinkSolveTri(v *ir.Value, args []operand) (sunk, bool) {
	r := args[0].rank()
	b := args[1]
	columns := b.at(r - 1)
	if b.reps != nil {
		b.reps = slices.Clone(b.reps)
		b.reps[r-1] = rep{}
	}
	reps := make([]rep, r)
	for i := range r - 2 {
		reps[i] = b.at(i)
	}
	reps[r-1] = columns
	return sunk{reps, v.Attr}, alike(r-2, args[0], b)
}

// sinkAffineScan: heads of k may be grouped; all operands may be repeated alike.
func sinkAffineScan(v *ir.Value, args []operand) (sunk, bool) {
	d, k, u, w, s := args[0], args[1], args[2], args[3], args[4]
	if !alike(1, d, u, w, s) {
		return sunk{}, false
	}
	for _, r := range k.reps[min(1, len(k.reps)):] {
		if !r.none() {
			return sunk{}, false
		}
	}
	need := v.Attr.Get("map")
	heads, ok := join(u, k, 0, 0, &need)
	return sunk{[]rep{heads, {}, {}, {}}, setAttr(v, v.Attr, "map", need)}, ok && heads == u.at(0)
}

// sinkAttention: heads of k and v may be grouped.
func sinkAttention(v *ir.Value, args []operand) (sunk, bool) {
	q, k, w := args[0], args[1], args[2]
	r := k.at(1)
	if q.reps != nil || args[3].reps != nil || !k.at(0).none() || !k.at(2).none() ||
		!w.at(0).none() || !w.at(2).none() || w.at(1) != r || k.dims()[1] != w.dims()[1] {
		return sunk{}, false
	}
	need := v.Attr.Get("map")
	if r.mapping != "" {
		if need != "" && need != r.mapping && q.dims()[1] != k.full(1) {
			return sunk{}, false
		}
		need = r.mapping
	}
	return sunk{nil, setAttr(v, v.Attr, "map", need)}, true
}

// setAttr returns a with name set, in the order of the row of v's op.
func setAttr(v *ir.Value, a ir.Attrs, name, val string) ir.Attrs {
	if a.Get(name) == val {
		return a
	}
	a = a.With(name, val)
	var out ir.Attrs
	for _, spec := range v.Op.Info().Attrs {
		if x := a.Get(spec.Name); x != "" {
			out = append(out, ir.Attr{Name: spec.Name, Val: x})
		}
	}
	return out
}

func dimsText(dims []ir.Dim) string {
	var b []byte
	for i, d := range dims {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, d.String()...)
	}
	return string(b)
}
