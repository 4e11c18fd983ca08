package eval

import (
	"fmt"

	"qnc/ir"
)

func part(c *call) error {
	i := c.v.Int("i")
	if i < 0 || i >= len(c.tuple) {
		return fmt.Errorf("a tuple of %d has no member %d", len(c.tuple), i)
	}
	c.out[0] = c.tuple[i]
	return nil
}

// same is reshape, cont and transfer: the elements in their order.
func same(c *call) error {
	if len(c.in[0].Data) != volume(c.out[0].Shape) {
		return fmt.Errorf("shape %v cannot become %v", c.in[0].Shape, c.out[0].Shape)
	}
	c.out[0].Data = c.in[0].Data
	return nil
}

func volume(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// take fills out with the elements of src that off names, from src[start].
func (c *call) take(off [][]int, start int) error {
	out, src := &c.out[0], c.in[0].Data
	dst := make([]float32, volume(out.Shape))
	out.Data = dst
	r := len(out.Shape) - 1
	if len(dst) == 0 {
		return nil
	}
	if r < 0 {
		dst[0] = src[start]
		return nil
	}
	last := off[r]
	eachRow(out.Shape[:r], off, off, start, 0, func(o, _ int) {
		for i, d := range last {
			dst[i] = src[o+d]
		}
		dst = dst[len(last):]
	})
	return nil
}

// strides returns the distance between neighbours along each axis.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

func steps(n, stride int) []int {
	tab := make([]int, n)
	for i := range tab {
		tab[i] = i * stride
	}
	return tab
}

func permute(c *call) error {
	s := strides(c.in[0].Shape)
	var off [][]int
	for i, p := range c.v.Ints("perm") {
		off = append(off, steps(c.out[0].Shape[i], s[p]))
	}
	return c.take(off, 0)
}

// extent returns a dim attribute under the sizes of this run.
func (c *call) extent(name string) (int, error) {
	shape, err := c.env.shape(ir.Tensor(ir.F32, c.v.Dim(name)))
	if err != nil {
		return 0, fmt.Errorf("attribute %s: %w", name, err)
	}
	return shape[0], nil
}

func slice(c *call) error {
	x, axis := c.in[0], c.v.Int("axis")
	start, err := c.extent("start")
	if err != nil {
		return err
	}
	n := c.out[0].Shape[axis]
	if start+n > x.Shape[axis] {
		return fmt.Errorf("elements %d to %d are outside axis %d of %v", start, start+n, axis, x.Shape)
	}
	s := strides(x.Shape)
	var off [][]int
	for i, d := range c.out[0].Shape {
		off = append(off, steps(d, s[i]))
	}
	return c.take(off, start*s[axis])
}

func repeat(c *call) error {
	off, err := spread(c.in[0].Shape, c.out[0].Shape, c.v.Attr.Get("map"))
	if err != nil {
		return err
	}
	return c.take(off, 0)
}

// around splits a shape at an axis: how many blocks come before it, how long
// its elements are.
func around(shape []int, axis int) (outer, inner int) {
	return volume(shape[:axis]), volume(shape[axis+1:])
}

func concat(c *call) error {
	a, b, axis := c.in[0], c.in[1], c.v.Int("axis")
	outer, inner := around(a.Shape, axis)
	na, nb := a.Shape[axis]*inner, b.Shape[axis]*inner
	dst := c.out[0].Data
	for i := range outer {
		dst = dst[copy(dst, a.Data[i*na:(i+1)*na]):]
		dst = dst[copy(dst, b.Data[i*nb:(i+1)*nb]):]
	}
	return nil
}

func pad(c *call) error {
	x, out, axis := c.in[0], c.out[0], c.v.Int("axis")
	outer, inner := around(x.Shape, axis)
	n, m := x.Shape[axis]*inner, out.Shape[axis]*inner
	if n > m {
		return fmt.Errorf("axis %d of %v does not fit into %d", axis, x.Shape, out.Shape[axis])
	}
	for i := range outer {
		copy(out.Data[i*m:(i+1)*m], x.Data[i*n:])
		fill(out.Data[i*m+n:(i+1)*m], 0)
	}
	return nil
}

// getRows reads rows of a table by index.
func getRows(c *call) error {
	table := c.in[0]
	ids, err := indices(c.in[1], table.Shape[0], "row")
	if err != nil {
		return err
	}
	_, n := around(table.Shape, 0)
	for i, id := range ids {
		copy(c.out[0].Data[i*n:(i+1)*n], table.Data[id*n:])
	}
	return nil
}

// gather reads x[t, ids[t,j]].
func gather(c *call) error {
	x, k := c.in[0], c.in[1].Shape[1]
	n := x.Shape[1]
	ids, err := indices(c.in[1], n, "id")
	if err != nil {
		return err
	}
	for i, id := range ids {
		c.out[0].Data[i] = x.Data[i/k*n+id]
	}
	return nil
}
