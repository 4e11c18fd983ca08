package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/ir"
)

// viewSizes is what the symbolic extents of these tests are.
var viewSizes = ir.Sizes{"T": 5}

// A grid is a value with, for every element in order, where it lies in the base.
type grid struct {
	v  *ir.Value
	at []int
}

func newGrid(dims []ir.Dim) grid {
	v := &ir.Value{Name: "x", Op: ir.OpParam, Type: ir.Tensor(ir.F32, dims...), Mem: ir.NoMem}
	g := grid{v, make([]int, v.Type.Elems(viewSizes))}
	for i := range g.at {
		g.at[i] = i
	}
	return g
}

// apply adds a view op, when its types allow it, and moves the elements one by one.
func (g grid) apply(op ir.Op, attrs ...any) grid {
	v, err := ir.NewValue("x", op, []*ir.Value{g.v}, attrs...)
	if err != nil {
		return g
	}
	shape, from := v.Type.Shape(viewSizes), g.v.Type.Shape(viewSizes)
	out := grid{v, nil}
	for i := range v.Type.Elems(viewSizes) {
		x := unravel(i, shape)
		switch op {
		case ir.OpPermute:
			y := make([]int, len(x))
			for j, p := range v.Ints("perm") {
				y[p] = x[j]
			}
			i = ravel(y, from)
		case ir.OpSlice:
			x[v.Int("axis")] += v.Dim("start").At(viewSizes)
			i = ravel(x, from)
		}
		out.at = append(out.at, g.at[i])
	}
	return out
}

func unravel(i int, shape []int) []int {
	x := make([]int, len(shape))
	for j := len(shape) - 1; j >= 0; j-- {
		x[j] = i % shape[j]
		i /= shape[j]
	}
	return x
}

func ravel(x, shape []int) int {
	i := 0
	for j, n := range shape {
		i = i*n + x[j]
	}
	return i
}

// offset is where the view says that element x lies.
func (v View) offset(x []int) int {
	at := v.Off
	for i, axis := range v.axes {
		for j := len(axis) - 1; j >= 0; j-- {
			n := axis[j].n.At(viewSizes)
			at += x[i] % n * axis[j].stride
			x[i] /= n
		}
	}
	return at
}

// randomView is a chain of reshapes, permutes and slices of a dense value.
func randomView(r *rand.Rand) grid {
	dims := make([]ir.Dim, 1+r.IntN(4))
	for i := range dims {
		dims[i] = ir.Num([]int{1, 2, 3, 4, 6}[r.IntN(5)])
	}
	if r.IntN(2) == 0 {
		dims[0] = ir.Sym("T")
	}
	g := newGrid(dims)
	for range r.IntN(6) {
		t := g.v.Type
		axis := r.IntN(t.Rank())
		switch r.IntN(3) {
		case 0:
			g = g.apply(ir.OpPermute, "perm", r.Perm(t.Rank()))
		case 1:
			if n, ok := t.Dims[axis].Static(); ok {
				start := r.IntN(n)
				g = g.apply(ir.OpSlice, "axis", axis, "start", start, "len", 1+r.IntN(n-start))
			}
		case 2:
			g = g.apply(ir.OpReshape, "shape", randomShape(r, t.Dims))
		}
	}
	return g
}

// randomShape splits, joins and adds axes.
func randomShape(r *rand.Rand, dims []ir.Dim) []ir.Dim {
	var out []ir.Dim
	for _, d := range dims {
		n, ok := d.Static()
		if p := 2 + r.IntN(2); ok && n > p && n%p == 0 && r.IntN(2) == 0 {
			out, d = append(out, ir.Num(p)), ir.Num(n/p)
		}
		if k := len(out); k > 0 && r.IntN(2) == 0 {
			if m, ok := out[k-1].Static(); ok {
				out[k-1] = d.Times(m)
				continue
			}
		}
		if r.IntN(6) == 0 {
			out = append(out, ir.Num(1))
		}
		out = append(out, d)
	}
	return out
}

// checkView reports whether Of accepts a random view; then its offsets,
// its strides and its rows are right.
func checkView(r *rand.Rand) (ok bool, err error) {
	g := randomView(r)
	x, err := Of(g.v)
	if err != nil {
		return false, nil // not every view is one walk through memory
	}
	shape := g.v.Type.Shape(viewSizes)
	if len(x.axes) != len(shape) {
		return true, fmt.Errorf("%v has %d axes", g.v.Type, len(x.axes))
	}
	for i, want := range g.at {
		if got := x.offset(unravel(i, shape)); got != want {
			return true, fmt.Errorf("%s: element %v lies at %d, want %d", g.v.Type, unravel(i, shape), got, want)
		}
	}
	if s, err := x.strides(); err == nil {
		for i, want := range g.at {
			got := x.Off
			for j, k := range unravel(i, shape) {
				got += k * s[j]
			}
			if got != want {
				return true, fmt.Errorf("%s: strides %v give %d for element %d, want %d", g.v.Type, s, got, i, want)
			}
		}
	}
	return true, checkRows(g, x)
}

// checkRows compares [n, m, k] walks with the elements' places.
func checkRows(g grid, x View) error {
	n, k := g.v.Type.Dims[0], g.v.Type.Last()
	width, ok := k.Static()
	tokens := n.At(viewSizes)
	if !ok || len(g.at) == 0 {
		return nil
	}
	m := len(g.at) / tokens / width
	if g.v.Type.Rank() == 1 {
		return nil
	}
	token, row, err := x.Rows(n, m, width)
	if err != nil {
		return nil
	}
	for i, want := range g.at {
		if got := x.Off + i/(m*width)*token + i/width%m*row + i%width; got != want {
			return fmt.Errorf("%s: rows of %d, %d a token, strides %d and %d give %d for element %d, want %d", g.v.Type, width, m, token, row, got, i, want)
		}
	}
	return nil
}

// checkNest walks a random view broadcast to a larger shape.
func checkNest(r *rand.Rand) (ok bool, err error) {
	g := randomView(r)
	x, err := Of(g.v)
	if err != nil {
		return false, nil
	}
	mapping := []string{"interleaved", "tiled"}[r.IntN(2)]
	dims := slices.Clone(g.v.Type.Dims)
	for i, d := range dims {
		if n, ok := d.Static(); ok && r.IntN(3) == 0 {
			dims[i] = ir.Num(n * []int{2, 3, 4}[r.IntN(3)])
		}
	}
	if r.IntN(3) == 0 {
		dims = append([]ir.Dim{ir.Num(2)}, dims...)
	}
	out := newGrid(dims)
	if len(out.at) > 1<<14 {
		return false, nil
	}
	y := View{Base: out.v, axes: make([][]factor, len(dims))}
	stride := 1
	for i := len(dims) - 1; i >= 0; i-- {
		y.axes[i] = []factor{{dims[i], stride}}
		stride *= dims[i].At(viewSizes)
	}
	loops, err := Nest(dims, []View{y, x}, mapping)
	if err != nil {
		return false, nil
	}
	visited := 0
	shape, small := ir.Tensor(ir.F32, dims...).Shape(viewSizes), g.v.Type.Shape(viewSizes)
	var walk func(loops []Loop, at, from int) error
	walk = func(loops []Loop, at, from int) error {
		if len(loops) > 0 {
			for i := range loops[0].N.At(viewSizes) {
				if err := walk(loops[1:], at+i*loops[0].Strides[0], from+i*loops[0].Strides[1]); err != nil {
					return err
				}
			}
			return nil
		}
		if at != visited {
			return fmt.Errorf("element %d comes after %d", at, visited)
		}
		visited++
		i := unravel(at, shape)[len(shape)-len(small):]
		for j, n := range small {
			switch m := shape[len(shape)-len(small)+j]; {
			case mapping == "tiled":
				i[j] %= n
			default:
				i[j] /= m / n
			}
		}
		if want := g.at[ravel(i, small)]; from != want {
			return fmt.Errorf("element %d reads %d, want %d", at, from, want)
		}
		return nil
	}
	if err := walk(loops, 0, x.Off); err != nil {
		return true, fmt.Errorf("%v of %s %s by %v: %w", dims, g.v.Type, mapping, loops, err)
	}
	if visited != len(out.at) {
		return true, fmt.Errorf("%v: %d of %d elements", dims, visited, len(out.at))
	}
	return true, nil
}

func TestViews(t *testing.T) {
	const runs = 8000
	for name, check := range map[string]func(*rand.Rand) (bool, error){"view": checkView, "nest": checkNest} {
		accepted := 0
		for seed := range uint64(runs) {
			ok, err := check(rand.New(rand.NewPCG(seed, 1)))
			if err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
			if ok {
				accepted++
			}
		}
		if accepted < runs/2 {
			t.Errorf("%s: only %d of %d are accepted", name, accepted, runs)
		}
	}
}

func FuzzView(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		for _, check := range []func(*rand.Rand) (bool, error){checkView, checkNest} {
			if _, err := check(rand.New(rand.NewPCG(a, b))); err != nil {
				t.Fatal(err)
			}
		}
	})
}
