// Package view says where the elements of a value lie: views of the IR become
// offsets and strides of the buffer that they look into.
package view

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// A factor is part of a logical axis: n elements, stride floats apart.
type factor struct {
	n      ir.Dim
	stride int
}

// A View says where the elements of a value lie in the buffer of its base. A
// logical axis is a list of factors, slowest first: a reshape of a slice is
// still a view, though its axis has no single stride.
type View struct {
	Base *ir.Value
	Off  int
	axes [][]factor
}

// Of follows reshapes, permutes and slices down to the value that lies in memory.
func Of(v *ir.Value) (View, error) {
	switch v.Op {
	case ir.OpReshape, ir.OpPermute, ir.OpSlice:
	default:
		return Dense(v)
	}
	x, err := Of(v.Args[0])
	if err != nil {
		return x, err
	}
	switch v.Op {
	case ir.OpReshape:
		return x.reshape(v.Type.Dims)
	case ir.OpPermute:
		axes := make([][]factor, len(x.axes))
		for i, p := range v.Ints("perm") {
			axes[i] = x.axes[p]
		}
		x.axes = axes
		return x, nil
	}
	return x.slice(v.Int("axis"), v.Dim("start"), v.Dim("len"))
}

// Dense is the view of a value with rows that follow each other.
func Dense(v *ir.Value) (View, error) {
	x := View{Base: v, axes: make([][]factor, v.Type.Rank())}
	stride := 1
	for i := len(x.axes) - 1; i >= 0; i-- {
		d := v.Type.Dims[i]
		x.axes[i] = []factor{{d, stride}}
		n, ok := d.Static()
		if !ok && i > 0 {
			return x, fmt.Errorf("axis %d of %s is not known ahead of time", i, v.Type)
		}
		stride *= n
	}
	return x, nil
}

func (x View) slice(axis int, start, n ir.Dim) (View, error) {
	at, ok := start.Static()
	if !ok {
		return x, fmt.Errorf("slice from %s is not known ahead of time", start)
	}
	f := merge(x.axes[axis])
	if len(f) != 1 {
		return x, fmt.Errorf("axis %d has no single stride", axis)
	}
	x.Off += at * f[0].stride
	x.axes = slices.Clone(x.axes)
	x.axes[axis] = []factor{{n, f[0].stride}}
	return x, nil
}

// reshape deals the factors out to new axes, splitting them where needed.
func (x View) reshape(dims []ir.Dim) (View, error) {
	var pool []factor
	for _, a := range x.axes {
		pool = append(pool, merge(a)...)
	}
	pool = merge(pool)
	axes := make([][]factor, len(dims))
	for i := len(dims) - 1; i >= 0; i-- {
		need := dims[i]
		for !need.Is(1) {
			if len(pool) == 0 {
				return x, fmt.Errorf("cannot view as %v", dims)
			}
			f := pool[len(pool)-1]
			pool = pool[:len(pool)-1]
			want, ok := need.Static()
			have, ok2 := f.n.Static()
			switch {
			case f.n == need:
				axes[i] = append(axes[i], f)
				need = ir.Num(1)
			case ok && ok2 && want%have == 0:
				axes[i] = append(axes[i], f)
				need = ir.Num(want / have)
			case ok && ok2 && have%want == 0:
				axes[i] = append(axes[i], factor{need, f.stride})
				pool = append(pool, factor{ir.Num(have / want), f.stride * want})
				need = ir.Num(1)
			default:
				return x, fmt.Errorf("cannot view as %v", dims)
			}
		}
		slices.Reverse(axes[i])
		if len(axes[i]) == 0 {
			axes[i] = []factor{{ir.Num(1), 0}}
		}
	}
	x.axes = axes
	return x, nil
}

// merge joins neighbouring factors that step through memory as one, and drops extents of 1.
func merge(fs []factor) []factor {
	var out []factor
	for _, f := range fs {
		if f.n.Is(1) {
			continue
		}
		if k := len(out) - 1; k >= 0 {
			n, ok := f.n.Static()
			m, ok2 := out[k].n.Static()
			if ok && ok2 && out[k].stride == n*f.stride {
				out[k] = factor{ir.Num(m * n), f.stride}
				continue
			}
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		out = []factor{{ir.Num(1), 0}}
	}
	return out
}

// strides returns one stride an axis, when each axis has one.
func (x View) strides() ([]int, error) {
	out := make([]int, len(x.axes))
	for i, a := range x.axes {
		f := merge(a)
		if len(f) != 1 {
			return nil, fmt.Errorf("axis %d of %s has no single stride: keep the cont", i, x.Base)
		}
		out[i] = f[0].stride
	}
	return out, nil
}

// Rows views x as [n, m, k]: k elements that follow each other, m rows a
// token; it returns the strides of the first two.
func (x View) Rows(n ir.Dim, m, k int) (token, row int, err error) {
	y, err := x.reshape([]ir.Dim{n, ir.Num(m), ir.Num(k)})
	if err != nil {
		return 0, 0, err
	}
	s, err := y.strides()
	if err != nil {
		return 0, 0, err
	}
	if s[2] != 1 && k != 1 {
		return 0, 0, fmt.Errorf("rows of %s are not contiguous: keep the cont", x.Base)
	}
	if n.Is(1) { // never stepped over: what several tokens would have
		s[0] = m * k
	}
	if m == 1 {
		s[1] = k
	}
	return s[0], s[1], nil
}

// A Loop of a loop nest: n turns, with the stride of every operand.
type Loop struct {
	N       ir.Dim
	Strides []int
}

// Nest makes the loops that walk over dims with all operands at once. An
// operand axis of extent 1 is read again and again; a grouped one as mapping says.
func Nest(dims []ir.Dim, ops []View, mapping string) ([]Loop, error) {
	var out []Loop
	for i := range dims {
		lists := make([][]factor, len(ops))
		for j, x := range ops {
			l, err := x.aligned(i, dims, mapping)
			if err != nil {
				return nil, err
			}
			lists[j] = merge(l)
		}
		loops, err := refine(dims[i], lists)
		if err != nil {
			return nil, err
		}
		out = append(out, loops...)
	}
	return fold(out), nil
}

// aligned returns the factors of x for axis i of dims.
func (x View) aligned(i int, dims []ir.Dim, mapping string) ([]factor, error) {
	d := dims[i]
	j := i - (len(dims) - len(x.axes))
	if j < 0 {
		return []factor{{d, 0}}, nil
	}
	var n ir.Dim = ir.Num(1)
	for _, f := range x.axes[j] {
		if k, ok := f.n.Static(); ok {
			n = n.Times(k)
		} else if m, ok := n.Static(); ok {
			n = f.n.Times(m)
		}
	}
	switch {
	case n == d:
		return x.axes[j], nil
	case n.Is(1):
		return []factor{{d, 0}}, nil
	}
	big, ok := d.Static()
	small, ok2 := n.Static()
	if !ok || !ok2 || small == 0 || big%small != 0 {
		return nil, fmt.Errorf("extent %s does not broadcast to %s", n, d)
	}
	again := factor{ir.Num(big / small), 0}
	if mapping == "interleaved" {
		return append(slices.Clone(x.axes[j]), again), nil
	}
	return append([]factor{again}, x.axes[j]...), nil
}

// refine splits the operands' factors of one axis until all have the same extents.
func refine(d ir.Dim, lists [][]factor) ([]Loop, error) {
	if _, ok := d.Static(); !ok {
		l := Loop{N: d}
		for _, f := range lists {
			if len(f) != 1 {
				return nil, fmt.Errorf("axis of %s has no single stride", d)
			}
			l.Strides = append(l.Strides, f[0].stride)
		}
		return []Loop{l}, nil
	}
	var out []Loop
	for left := d.Add; left > 1; {
		n := left
		for _, f := range lists {
			k, _ := f[len(f)-1].n.Static()
			n = min(n, k)
		}
		l := Loop{N: ir.Num(n)}
		for j, f := range lists {
			last := &f[len(f)-1]
			k, _ := last.n.Static()
			if n < 2 || k%n != 0 {
				return nil, fmt.Errorf("extents %d and %d do not divide", k, n)
			}
			l.Strides = append(l.Strides, last.stride)
			if k == n {
				lists[j] = f[:len(f)-1]
			} else {
				*last = factor{ir.Num(k / n), last.stride * n}
			}
		}
		out = append(out, l)
		left /= n
	}
	slices.Reverse(out)
	return out, nil
}

// fold joins neighbouring loops that all operands walk through as one.
func fold(loops []Loop) []Loop {
	var out []Loop
	for _, l := range loops {
		if l.N.Is(1) {
			continue
		}
		if k := len(out) - 1; k >= 0 {
			n, ok := l.N.Static()
			m, ok2 := out[k].N.Static()
			same := ok && ok2
			for j := range l.Strides {
				same = same && out[k].Strides[j] == n*l.Strides[j]
			}
			if same {
				out[k] = Loop{ir.Num(m * n), l.Strides}
				continue
			}
		}
		out = append(out, l)
	}
	return out
}
