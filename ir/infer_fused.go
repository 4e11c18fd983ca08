package ir

import (
	"fmt"
	"slices"
)

func inferMatMul(v *Value) (Type, error) {
	a, err := tensors(v, -1, -1)
	if err != nil {
		return None, err
	}
	x, w := a[0], a[1]
	if x.Rank() < 2 || w.Rank() < 2 {
		return None, fmt.Errorf("%s by %s: want matrices", x, w)
	}
	if err := wantDType(x, 0, F32, A8); err != nil {
		return None, err
	}
	if x.Last() != w.Last() {
		return None, fmt.Errorf("inner extents differ: x is %s, w is %s", x, w)
	}
	batch, err := broadcast(x.Dims[:x.Rank()-2], w.Dims[:w.Rank()-2], v.Attr.Get("map"))
	if err != nil {
		return None, err
	}
	return Tensor(F32, append(batch, x.Dims[x.Rank()-2], w.Dims[w.Rank()-2])...), nil
}

// expertDims checks x[T,k|1,K], w[E,N,K], ids[T,k] and returns T, k and N.
func expertDims(x, w, ids Type) (t, k, n Dim, err error) {
	switch {
	case x.Last() != w.Last():
		err = fmt.Errorf("inner extents differ: x is %s, w is %s", x, w)
	case x.Dims[0] != ids.Dims[0]:
		err = fmt.Errorf("tokens differ: x is %s, ids is %s", x, ids)
	case !x.Dims[1].Is(1) && x.Dims[1] != ids.Dims[1]:
		err = fmt.Errorf("experts differ: x is %s, ids is %s", x, ids)
	case ids.DType != I32:
		err = fmt.Errorf("ids is %s, want i32", ids)
	default:
		err = wantDType(x, 0, F32, A8)
	}
	return ids.Dims[0], ids.Dims[1], w.Dims[1], err
}

func inferMatMulID(v *Value) (Type, error) {
	a, err := tensors(v, 3, 3, 2)
	if err != nil {
		return None, err
	}
	t, k, n, err := expertDims(a[0], a[1], a[2])
	return Tensor(F32, t, k, n), err
}

func inferGateUp(v *Value) (Type, error) {
	a, err := tensors(v, 2, 2, 2)
	if err != nil {
		return None, err
	}
	x, g, u := a[0], a[1], a[2]
	if x.Last() != g.Last() || !slices.Equal(g.Dims, u.Dims) {
		return None, fmt.Errorf("x is %s, gate %s, up %s: extents differ", x, g, u)
	}
	return Tensor(F32, x.Dims[0], g.Dims[0]), wantDType(x, 0, F32, A8)
}

func inferMoEGateUp(v *Value) (Type, error) {
	a, err := tensors(v, 3, 3, 3, 2)
	if err != nil {
		return None, err
	}
	if !slices.Equal(a[1].Dims, a[2].Dims) {
		return None, fmt.Errorf("gate is %s, up is %s: extents differ", a[1], a[2])
	}
	t, k, n, err := expertDims(a[0], a[1], a[3])
	return Tensor(F32, t, k, n), err
}

func inferMoEDown(v *Value) (Type, error) {
	a, err := tensors(v, 3, 3, 2, 2)
	if err != nil {
		return None, err
	}
	if !slices.Equal(a[2].Dims, a[3].Dims) || a[3].DType != F32 {
		return None, fmt.Errorf("ids is %s, weights is %s", a[2], a[3])
	}
	t, _, n, err := expertDims(a[0], a[1], a[2])
	return Tensor(F32, t, n), err
}

func inferSolveTri(v *Value) (Type, error) {
	a, err := tensors(v, -1, -1)
	if err != nil {
		return None, err
	}
	m, b := a[0], a[1]
	r := m.Rank()
	if r < 2 || b.Rank() != r || m.Dims[r-1] != m.Dims[r-2] || !slices.Equal(m.Dims[:r-1], b.Dims[:r-1]) {
		return None, fmt.Errorf("want a[…,n,n] and b[…,n,m], have %s and %s", m, b)
	}
	return Tensor(F32, b.Dims...), nil
}

func inferAffineScan(v *Value) (Type, error) {
	a, err := tensors(v, 2, 4, 4, 4, 3)
	if err != nil {
		return None, err
	}
	d, k, u, w, s := a[0], a[1], a[2], a[3], a[4]
	h, n := u.Dims[0], u.Dims[1]
	if d.Dims[0] != h || s.Dims[0] != h || w.Dims[0] != h || d.Dims[1] != n || w.Dims[1] != n || k.Dims[1] != n ||
		k.Dims[2] != u.Dims[2] || w.Dims[2] != u.Dims[2] || k.Dims[3] != w.Dims[3] || s.Dims[1] != u.Dims[3] || s.Dims[2] != k.Dims[3] {
		return None, fmt.Errorf("want d[H,N] k[H,N,c,K] u[H,N,c,V] w[H,N,c,K] s[H,V,K], have %s %s %s %s %s", d, k, u, w, s)
	}
	if _, err := joinDim(h, k.Dims[0], v.Attr.Get("map")); err != nil {
		return None, fmt.Errorf("heads of k: %w", err)
	}
	return Tensor(F32, h, n.Plus(1), s.Dims[1], s.Dims[2]), nil
}

func inferConv(v *Value) (Type, error) {
	a, err := tensors(v, 2, 2)
	if err != nil {
		return None, err
	}
	x, w := a[0], a[1]
	c, ok := w.Dims[1].Static()
	if x.Dims[1] != w.Dims[0] || !ok || c < 1 {
		return None, fmt.Errorf("want x[T+c-1,D] and w[D,c], have %s and %s", x, w)
	}
	return Tensor(F32, x.Dims[0].Plus(1-c), x.Dims[1]), nil
}

func checkRope(v *Value, x, pos Type) error {
	d, ok := x.Last().Static()
	n := v.Int("dims")
	switch {
	case !ok || n < 2 || n%2 != 0 || n > d:
		return fmt.Errorf("dims=%d: want an even number in 2 … %s", n, x.Last())
	case pos.Dims[0] != x.Dims[0] || pos.DType != I32:
		return fmt.Errorf("x is %s, pos is %s: want i32[%s]", x, pos, x.Dims[0])
	case !(v.Float("base") > 0):
		return fmt.Errorf("base=%s: want a number above 0", v.Attr.Get("base"))
	}
	return wantDType(x, 0, F32)
}

func inferRope(v *Value) (Type, error) {
	a, err := tensors(v, 3, 1)
	if err != nil {
		return None, err
	}
	return Tensor(F32, a[0].Dims...), checkRope(v, a[0], a[1])
}

func inferAttention(v *Value) (Type, error) {
	a, err := tensors(v, 3, 3, 3, 1)
	if err != nil {
		return None, err
	}
	q, k, w := a[0], a[1], a[2]
	if k.Dims[0] != w.Dims[0] || k.Dims[1] != w.Dims[1] || q.Dims[2] != k.Dims[2] || a[3].Dims[0] != q.Dims[0] {
		return None, fmt.Errorf("want q[T,H,D] k[C,G,D] v[C,G,E] pos[T], have %s %s %s %s", q, k, w, a[3])
	}
	if h, err := joinDim(q.Dims[1], k.Dims[1], v.Attr.Get("map")); err != nil || h != q.Dims[1] {
		return None, grouped("q", q.Dims[1], "k", k.Dims[1], err)
	}
	return Tensor(F32, q.Dims[0], q.Dims[1], w.Dims[2]), nil
}

func inferQuantize(v *Value) (Type, error) {
	t, err := inferF32(v)
	if err != nil {
		return t, err
	}
	if n, ok := t.Last().Static(); !ok || n%A8.Info().BlockElems != 0 {
		return t, fmt.Errorf("rows of %s are not a multiple of %d", t, A8.Info().BlockElems)
	}
	return Tensor(A8, t.Dims...), nil
}

// stateArg checks that argument 0 is a state symbol and seq an i32 vector.
func stateArg(v *Value, seq int) (Type, error) {
	s := v.Args[0]
	if s.Op != OpState {
		return None, fmt.Errorf("argument 0 is %%%s, want a state symbol", s.Name)
	}
	if s.Type.Rank() < 2 || s.Type.Dims[0] != Sym("S") {
		return None, fmt.Errorf("state is %s, want [S,…]", s.Type)
	}
	q, err := wantTensor(v, seq, 1)
	if err != nil {
		return None, err
	}
	return s.Type, wantDType(q, seq, I32)
}

func inferLoad(v *Value) (Type, error) {
	s, err := stateArg(v, 1)
	if err != nil {
		return None, err
	}
	return Tensor(s.DType, s.Dims[1:]...), nil
}

func inferStore(v *Value) (Type, error) {
	s, err := stateArg(v, 2)
	if err != nil {
		return None, err
	}
	x, err := wantTensor(v, 1, -1)
	if err == nil && !slices.Equal(x.Dims, s.Dims[1:]) {
		err = fmt.Errorf("value is %s, state is %s", x, s)
	}
	return None, err
}

func inferLoadRows(v *Value) (Type, error) {
	s, err := stateArg(v, 1)
	if err != nil {
		return None, err
	}
	u := Tensor(s.DType, slices.Clone(s.Dims[1:])...)
	u.Dims[0] = Sym("C")
	return u, nil
}

func checkStoreRows(v *Value, x, pos int) error {
	s, err := stateArg(v, pos+1)
	if err != nil {
		return err
	}
	xt, err := wantTensor(v, x, -1)
	if err != nil {
		return err
	}
	pt, err := wantTensor(v, pos, 1)
	if err != nil {
		return err
	}
	if xt.Rank() != s.Rank()-1 || !slices.Equal(xt.Dims[1:], s.Dims[2:]) || xt.Dims[0] != pt.Dims[0] {
		return fmt.Errorf("value is %s, pos is %s, state is %s", xt, pt, s)
	}
	return wantDType(pt, pos, I32)
}

func inferStoreRows(v *Value) (Type, error) { return None, checkStoreRows(v, 1, 2) }

func inferTopKMoE(v *Value) (Type, error) {
	t, err := inferF32(v)
	if err != nil {
		return t, err
	}
	if t.Rank() != 2 {
		return t, fmt.Errorf("x is %s, want [T,E]", t)
	}
	w, err := topKType(v, t, F32)
	ids := w
	ids.DType = I32
	return Type{Tuple: []Type{w, ids}}, err
}

// outTypes makes the result of an op with an out attribute: a tuple, or the
// one tensor when there is just one. Its a8 has the dims a8.
func outTypes(v *Value, dims, a8 []Dim) (Type, error) {
	words := v.Words("out")
	var ts []Type
	for i, w := range words {
		if slices.Contains(words[:i], w) {
			return None, fmt.Errorf("out=%s names %s twice", v.Attr.Get("out"), w)
		}
		t := Tensor(F32, dims...)
		if w == "a8" {
			t = Tensor(A8, a8...)
			if n, ok := t.Last().Static(); !ok || n%A8.Info().BlockElems != 0 {
				return None, fmt.Errorf("rows of %s are not a multiple of %d", t.Last(), A8.Info().BlockElems)
			}
		}
		ts = append(ts, t)
	}
	if len(ts) == 1 {
		return ts[0], nil
	}
	return Type{Tuple: ts}, nil
}

func inferNorm(v *Value) (Type, error) {
	if n := len(v.Args); n > 3 {
		return None, fmt.Errorf("%d arguments, want x, w and at most y", n)
	}
	x, err := inferF32(v)
	if err != nil {
		return x, err
	}
	w, err := wantTensor(v, 1, 1)
	if err != nil {
		return x, err
	}
	if w.Dims[0] != x.Last() {
		return x, fmt.Errorf("x is %s, w is %s", x, w)
	}
	if len(v.Args) == 3 {
		if y := v.Args[2].Type; !y.Equal(x) {
			return x, fmt.Errorf("x is %s, y is %s", x, y)
		}
	} else if slices.Contains(v.Words("out"), "sum") {
		return x, fmt.Errorf("out=sum without y")
	}
	return outTypes(v, x.Dims, x.Dims)
}

func inferGatedNorm(v *Value) (Type, error) {
	a, err := tensors(v, -1, 1, -1)
	if err != nil {
		return None, err
	}
	if a[1].Dims[0] != a[0].Last() || !slices.Equal(a[0].Dims, a[2].Dims) {
		return None, fmt.Errorf("x is %s, w is %s, z is %s", a[0], a[1], a[2])
	}
	if a[0].Rank() < 2 {
		return None, fmt.Errorf("x is %s, want at least two axes", a[0])
	}
	row := Num(1) // a token's rows, joined
	for _, d := range a[0].Dims[1:] {
		n, ok := d.Static()
		if !ok {
			return None, fmt.Errorf("x is %s: only the first axis may be symbolic", a[0])
		}
		row = row.Times(n)
	}
	return outTypes(v, a[0].Dims, []Dim{a[0].Dims[0], row})
}

func inferNormRope(v *Value) (Type, error) {
	a, err := tensors(v, 3, 1, 1)
	if err != nil {
		return None, err
	}
	if a[1].Dims[0] != a[0].Last() {
		return None, fmt.Errorf("x is %s, w is %s", a[0], a[1])
	}
	return Tensor(F32, a[0].Dims...), checkRope(v, a[0], a[2])
}

func inferNormRopeStore(v *Value) (Type, error) {
	if err := checkStoreRows(v, 1, 3); err != nil {
		return None, err
	}
	x := v.Args[1].Type
	w, err := wantTensor(v, 2, 1)
	if err != nil {
		return None, err
	}
	if x.Rank() != 3 || w.Dims[0] != x.Last() {
		return None, fmt.Errorf("x is %s, w is %s", x, w)
	}
	return None, checkRope(v, x, v.Args[3].Type)
}

func inferConvSplit(v *Value) (Type, error) {
	s, err := stateArg(v, 3)
	if err != nil {
		return None, err
	}
	x, err := wantTensor(v, 1, 2)
	if err != nil {
		return None, err
	}
	w, err := wantTensor(v, 2, 2)
	if err != nil {
		return None, err
	}
	h, kd, vh, vd := v.Int("heads"), v.Int("kdim"), v.Int("vheads"), v.Int("vdim")
	if h < 1 || kd < 1 || vh < 1 || vd < 1 || max(h, kd, vh, vd) > 1<<20 {
		return None, fmt.Errorf("heads and head sizes are counts from 1")
	}
	d := Num(2*h*kd + vh*vd)
	c, ok := w.Dims[1].Static()
	if s.Rank() != 3 || !ok || x.Last() != d || w.Dims[0] != d || s.Dims[2] != d || !s.Dims[1].Is(c-1) {
		return None, fmt.Errorf("want state[S,c-1,%s] x[T,%s] w[%s,c], have %s %s %s", d, d, d, s, x, w)
	}
	t := x.Dims[0]
	q := Tensor(F32, t, Num(h), Num(kd))
	return Type{Tuple: []Type{q, q, Tensor(F32, t, Num(vh), Num(vd))}}, nil
}

func inferDelta(v *Value) (Type, error) {
	s, err := stateArg(v, 6)
	if err != nil {
		return None, err
	}
	a, err := tensors(v, -1, 3, 3, 3, 2, 2)
	if err != nil {
		return None, err
	}
	q, k, val, g, beta := a[1], a[2], a[3], a[4], a[5]
	if s.Rank() != 4 || !q.Equal(k) || q.Dims[0] != val.Dims[0] || !g.Equal(beta) || g.Dims[0] != q.Dims[0] || g.Dims[1] != val.Dims[1] ||
		s.Dims[1] != val.Dims[1] || s.Dims[2] != val.Dims[2] || s.Dims[3] != q.Dims[2] {
		return None, fmt.Errorf("want state[S,H,V,K] q, k[T,G,K] v[T,H,V] g, beta[T,H], have %s %s %s %s %s %s", s, q, k, val, g, beta)
	}
	if h, err := joinDim(val.Dims[1], q.Dims[1], v.Attr.Get("map")); err != nil || h != val.Dims[1] {
		return None, grouped("v", val.Dims[1], "k", q.Dims[1], err)
	}
	return Tensor(F32, val.Dims...), nil
}

// grouped words the fault of two head counts that do not fit.
func grouped(a string, x Dim, b string, y Dim, err error) error {
	if err == nil {
		err = fmt.Errorf("the first must be the larger")
	}
	return fmt.Errorf("%s heads of %s for %s heads of %s: %w", x, a, y, b, err)
}
