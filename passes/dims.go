package passes

import (
	"slices"

	"qnc/ir"
)

// A group pairs a run of axes of one shape with the run of axes of another
// that holds the same elements in the same order.
type group struct{ a, b []int }

// groups pairs the axes of a and b, extents of 1 left out, in the shortest
// runs; ok is false when they do not pair.
func groups(a, b []ir.Dim) (out []group, ok bool) {
	ax, bx := wide(a), wide(b)
	for len(ax) > 0 && len(bx) > 0 {
		na, nb := shortest(a, b, ax, bx)
		if na == 0 {
			return nil, false
		}
		out = append(out, group{ax[:na], bx[:nb]})
		ax, bx = ax[na:], bx[nb:]
	}
	return out, len(ax) == 0 && len(bx) == 0
}

// wide returns the axes whose extent is not 1.
func wide(dims []ir.Dim) []int {
	var out []int
	for i, d := range dims {
		if !d.Is(1) {
			out = append(out, i)
		}
	}
	return out
}

func shortest(a, b []ir.Dim, ax, bx []int) (int, int) {
	for n := 2; n <= len(ax)+len(bx); n++ {
		for i := max(1, n-len(bx)); i <= min(n-1, len(ax)); i++ {
			p, q := ir.ProductOf(), ir.ProductOf()
			for _, x := range ax[:i] {
				p = p.Times(a[x])
			}
			for _, x := range bx[:n-i] {
				q = q.Times(b[x])
			}
			if p.Equal(q) {
				return i, n - i
			}
		}
	}
	return 0, 0
}

// A layout gives the distance of neighbours along each axis of a view, in
// elements of the tensor it looks into.
type layout []ir.Product

// dense is the layout of a tensor whose rows follow each other.
func dense(dims []ir.Dim) layout {
	l := make(layout, len(dims))
	s := ir.ProductOf()
	for i := len(dims) - 1; i >= 0; i-- {
		l[i] = s
		s = s.Times(dims[i])
	}
	return l
}

// isDense reports whether a view with layout l is a tensor whose rows follow each other.
func (l layout) isDense(dims []ir.Dim) bool {
	d := dense(dims)
	for i := range l {
		if !dims[i].Is(1) && !l[i].Equal(d[i]) {
			return false
		}
	}
	return true
}

// reshape returns the layout of a view of shape from as shape to, or false
// when that is no view: its elements would have to be copied.
func (l layout) reshape(from, to []ir.Dim) (layout, bool) {
	gs, ok := groups(from, to)
	if !ok {
		return nil, false
	}
	out := make(layout, len(to))
	for i := range out {
		out[i] = ir.ProductOf()
	}
	for _, g := range gs {
		for i, x := range g.a[1:] {
			if p := g.a[i]; !l[p].Equal(l[x].Times(from[x])) {
				return nil, false
			}
		}
		s := l[g.a[len(g.a)-1]]
		for _, x := range slices.Backward(g.b) {
			out[x] = s
			s = s.Times(to[x])
		}
	}
	return out, true
}
