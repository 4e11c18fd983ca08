package ir

import (
	"fmt"
	"slices"
	"strings"
)

// The functions of this file give the result type of an op. They are called
// with the right number of arguments and checked attributes.

func wantTensor(v *Value, arg, rank int) (Type, error) {
	t := v.Args[arg].Type
	if t.IsNone() || t.IsTuple() {
		return t, fmt.Errorf("argument %d is %s, want a tensor", arg, t)
	}
	if rank >= 0 && t.Rank() != rank {
		return t, fmt.Errorf("argument %d is %s, want %d axes", arg, t, rank)
	}
	return t, nil
}

func wantDType(t Type, arg int, ok ...DType) error {
	if !slices.Contains(ok, t.DType) {
		names := make([]string, len(ok))
		for i, d := range ok {
			names[i] = d.String()
		}
		return fmt.Errorf("argument %d is %s, want dtype %s", arg, t, strings.Join(names, " or "))
	}
	return nil
}

// tensors checks that the arguments are tensors of the given ranks (-1: any).
func tensors(v *Value, ranks ...int) ([]Type, error) {
	out := make([]Type, len(ranks))
	for i, r := range ranks {
		t, err := wantTensor(v, i, r)
		if err != nil {
			return nil, err
		}
		out[i] = t
	}
	return out, nil
}

func inferSame(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	return t, err
}

func inferF32(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	if t.Rank() == 0 {
		return t, fmt.Errorf("argument 0 is %s, want at least one axis", t)
	}
	return Tensor(F32, t.Dims...), wantDType(t, 0, F32)
}

func axisOf(v *Value, t Type) (int, error) {
	axis := v.Int("axis")
	if axis < 0 || axis >= t.Rank() {
		return 0, fmt.Errorf("axis %d is outside %s", axis, t)
	}
	return axis, nil
}

func inferPart(v *Value) (Type, error) {
	t := v.Args[0].Type
	i := v.Int("i")
	if !t.IsTuple() || i < 0 || i >= len(t.Tuple) {
		return t, fmt.Errorf("%s has no member %d", t, i)
	}
	return t.Tuple[i], nil
}

func inferReshape(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	u := Tensor(t.DType, v.Dims("shape")...)
	if !ProductOf(t.Dims...).Equal(ProductOf(u.Dims...)) {
		return u, fmt.Errorf("cannot reshape %s to %s: the number of elements differs", t, u)
	}
	if u.Rank() > maxRank {
		return u, fmt.Errorf("%d axes, at most %d", u.Rank(), maxRank)
	}
	if t.DType.Quantised() && t.Last() != u.Last() {
		return u, fmt.Errorf("cannot reshape %s to %s: rows of blocks keep their length", t, u)
	}
	return u, nil
}

func inferPermute(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	perm := v.Ints("perm")
	sorted := slices.Clone(perm)
	slices.Sort(sorted)
	u := Tensor(t.DType)
	for i, p := range sorted {
		if p != i {
			return u, fmt.Errorf("perm %v is no permutation of the axes", perm)
		}
	}
	if len(perm) != t.Rank() {
		return u, fmt.Errorf("perm %v does not have the %d axes of %s", perm, t.Rank(), t)
	}
	if t.DType.Quantised() && perm[len(perm)-1] != len(perm)-1 {
		return u, fmt.Errorf("rows of %s cannot be transposed", t)
	}
	for _, p := range perm {
		u.Dims = append(u.Dims, t.Dims[p])
	}
	return u, nil
}

func inferSlice(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	axis, err := axisOf(v, t)
	if err != nil {
		return t, err
	}
	start, n, d := v.Dim("start"), v.Dim("len"), t.Dims[axis]
	if !sliceFits(start, n, d) {
		return t, fmt.Errorf("elements %s to %s+%s are outside axis %d of %s", start, start, n, axis, t)
	}
	if t.DType.Quantised() && axis == t.Rank()-1 {
		return t, fmt.Errorf("rows of %s cannot be sliced", t)
	}
	u := t.Clone()
	u.Layout = ""
	u.Dims[axis] = n
	return u, nil
}

// sliceFits reports whether start + n <= d for every value >= 1 of the symbols.
func sliceFits(start, n, d Dim) bool {
	lo := Sizes{"T": 1, "R": 1, "S": 1, "C": 1}
	if start.At(lo) < 0 || n.At(lo) < 0 || start.At(lo)+n.At(lo) > d.At(lo) {
		return false
	}
	// Growth of the parts must not pass growth of the whole.
	grow := 0
	for _, x := range []Dim{start, n} {
		if x.Sym != "" {
			if d.Sym == "" || x.Sym != d.Sym {
				return false
			}
			if x.Div != d.Div && !(x.Div == 1 && d.Div == d.Mul && d.Add >= x.Add && x.Mul == 1) {
				return false // only T out of 64*ceildiv(T,64) is known to fit
			}
			if x.Div == d.Div {
				grow += x.Mul
			}
		}
	}
	return d.Sym == "" || grow <= d.Mul
}

func inferRepeat(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	axis, err := axisOf(v, t)
	if err != nil {
		return t, err
	}
	if err := wantDType(t, 0, F32); err != nil {
		return t, err
	}
	d, n := t.Dims[axis], v.Dim("n")
	u := t.Clone()
	if d.Is(1) {
		u.Dims[axis] = n
		return u, nil
	}
	k, ok := n.Static()
	if !ok {
		return u, fmt.Errorf("axis %d of %s repeats %s times: only extent 1 repeats a symbolic number of times", axis, t, n)
	}
	if v.Attr.Get("map") == "" {
		return u, fmt.Errorf("axis %d of %s is not 1: a grouped repeat needs map=interleaved or map=tiled", axis, t)
	}
	if k > 0 && max(d.Mul, d.Add) > maxExtent/k {
		return u, fmt.Errorf("axis %d of %s cannot become %d times as long: at most %d", axis, t, k, maxExtent)
	}
	u.Dims[axis] = d.Times(k)
	return u, nil
}

func inferConcat(v *Value) (Type, error) {
	a, err := tensors(v, -1, -1)
	if err != nil {
		return None, err
	}
	axis, err := axisOf(v, a[0])
	if err != nil {
		return None, err
	}
	x, y := a[0], a[1]
	u := x.Clone()
	if x.Rank() != y.Rank() || x.DType != y.DType {
		return u, fmt.Errorf("cannot join %s and %s", x, y)
	}
	for i := range u.Dims {
		if i != axis && x.Dims[i] != y.Dims[i] {
			return u, fmt.Errorf("cannot join %s and %s along axis %d: axis %d differs", x, y, axis, i)
		}
	}
	sum, ok := addDims(x.Dims[axis], y.Dims[axis])
	if !ok {
		return u, fmt.Errorf("cannot add extents %s and %s", x.Dims[axis], y.Dims[axis])
	}
	u.Dims[axis] = sum
	return u, nil
}

func addDims(a, b Dim) (Dim, bool) {
	switch {
	case b.Sym == "":
		return a.Plus(b.Add), true
	case a.Sym == "":
		return b.Plus(a.Add), true
	case a.Sym == b.Sym && a.Div == b.Div:
		a.Mul += b.Mul
		return a.Plus(b.Add), true
	}
	return a, false
}

func inferPad(v *Value) (Type, error) {
	t, err := wantTensor(v, 0, -1)
	if err != nil {
		return t, err
	}
	axis, err := axisOf(v, t)
	if err != nil {
		return t, err
	}
	if !sliceFits(Num(0), t.Dims[axis], v.Dim("len")) {
		return t, fmt.Errorf("axis %d of %s does not fit into %s", axis, t, v.Dim("len"))
	}
	u := t.Clone()
	u.Dims[axis] = v.Dim("len")
	return u, wantDType(t, 0, F32)
}

// broadcast joins the extents of two operands, aligned at the last axis.
func broadcast(a, b []Dim, mapping string) ([]Dim, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := slices.Clone(a)
	for i := 1; i <= len(b); i++ {
		x, y := a[len(a)-i], b[len(b)-i]
		d, err := joinDim(x, y, mapping)
		if err != nil {
			return nil, fmt.Errorf("axis -%d: %w", i, err)
		}
		out[len(out)-i] = d
	}
	return out, nil
}

func joinDim(x, y Dim, mapping string) (Dim, error) {
	if x == y || y.Is(1) {
		return x, nil
	}
	if x.Is(1) {
		return y, nil
	}
	m, ok := x.Static()
	n, ok2 := y.Static()
	if ok && ok2 && m > 0 && n > 0 && (m%n == 0 || n%m == 0) {
		if mapping == "" {
			return x, fmt.Errorf("extents %s and %s differ: broadcast is from extent 1; a grouped repeat needs map=interleaved or map=tiled", x, y)
		}
		return Num(max(m, n)), nil
	}
	return x, fmt.Errorf("extents %s and %s differ", x, y)
}

func inferBinary(v *Value) (Type, error) {
	a, err := tensors(v, -1, -1)
	if err != nil {
		return None, err
	}
	if err := wantDType(a[0], 0, F32); err != nil {
		return None, err
	}
	if err := wantDType(a[1], 1, F32); err != nil {
		return None, err
	}
	dims, err := broadcast(a[0].Dims, a[1].Dims, v.Attr.Get("map"))
	return Tensor(F32, dims...), err
}

func inferSum(v *Value) (Type, error) {
	t, err := inferF32(v)
	if err != nil {
		return t, err
	}
	axis, err := axisOf(v, t)
	if err != nil {
		return t, err
	}
	u := t.Clone()
	u.Dims[axis] = Num(1)
	return u, nil
}

func inferTri(v *Value) (Type, error) {
	t, err := inferF32(v)
	if err == nil && (t.Rank() < 2 || t.Dims[t.Rank()-1] != t.Dims[t.Rank()-2]) {
		err = fmt.Errorf("%s is not square in its last two axes", t)
	}
	return t, err
}

func inferTopK(v *Value) (Type, error) {
	t, err := inferF32(v)
	if err != nil {
		return t, err
	}
	return topKType(v, t, I32)
}

func topKType(v *Value, t Type, d DType) (Type, error) {
	u := Tensor(d, slices.Clone(t.Dims)...)
	n, ok := t.Last().Static()
	if k := v.Int("k"); !ok || k < 1 || k > n {
		return u, fmt.Errorf("k=%d is outside 1 … %s", k, t.Last())
	}
	u.Dims[u.Rank()-1] = Num(v.Int("k"))
	return u, nil
}

func inferGetRows(v *Value) (Type, error) {
	a, err := tensors(v, -1, 1)
	if err != nil {
		return None, err
	}
	if a[0].Rank() < 2 {
		return None, fmt.Errorf("table is %s, want rows", a[0])
	}
	u := Tensor(F32, slices.Clone(a[0].Dims)...)
	u.Dims[0] = a[1].Dims[0]
	return u, wantDType(a[1], 1, I32)
}

func inferGather(v *Value) (Type, error) {
	a, err := tensors(v, 2, 2)
	if err != nil {
		return None, err
	}
	if a[0].Dims[0] != a[1].Dims[0] {
		return None, fmt.Errorf("%s and %s differ in their tokens", a[0], a[1])
	}
	return Tensor(F32, a[1].Dims...), wantDType(a[1], 1, I32)
}
