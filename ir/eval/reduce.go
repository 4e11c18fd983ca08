package eval

import (
	"cmp"
	"math"
	"slices"
)

// byRow applies f to each row of the last axis.
func byRow(f func(dst, x []float32)) func(*call) error {
	return func(c *call) error {
		n, last := c.in[0].rows()
		for i := range n {
			f(c.out[0].Data[i*last:(i+1)*last], c.in[0].Data[i*last:(i+1)*last])
		}
		return nil
	}
}

func sum(c *call) error {
	x, axis := c.in[0], c.v.Int("axis")
	outer, inner := around(x.Shape, axis)
	n := x.Shape[axis]
	for o := range outer {
		for i := range inner {
			s := 0.0
			for j := range n {
				s += float64(x.Data[(o*n+j)*inner+i])
			}
			c.out[0].Data[o*inner+i] = float32(s)
		}
	}
	return nil
}

func cumsum(dst, x []float32) {
	s := 0.0
	for i, v := range x {
		s += float64(v)
		dst[i] = float32(s)
	}
}

func softmax(dst, x []float32) {
	if len(x) == 0 {
		return
	}
	m := float64(slices.Max(x))
	s := 0.0
	for _, v := range x {
		s += math.Exp(float64(v) - m)
	}
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)-m) / s)
	}
}

func sumSquares(x []float32) (s float64) {
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return s
}

func times(dst, x []float32, by float64) {
	for i, v := range x {
		dst[i] = float32(float64(v) * by)
	}
}

func rmsNormRow(dst, x []float32, eps float64) {
	times(dst, x, 1/math.Sqrt(sumSquares(x)/float64(len(x))+eps))
}

func l2NormRow(dst, x []float32, eps float64) {
	times(dst, x, 1/math.Sqrt(sumSquares(x)+eps))
}

func rmsNorm(c *call) error {
	eps := c.v.Float("eps")
	return byRow(func(dst, x []float32) { rmsNormRow(dst, x, eps) })(c)
}

func l2Norm(c *call) error {
	eps := c.v.Float("eps")
	return byRow(func(dst, x []float32) { l2NormRow(dst, x, eps) })(c)
}

func tri(c *call) error {
	rows, n := c.in[0].rows()
	strict := c.v.Attr.Get("keep") == "strict"
	for r := range rows {
		keep := r%n + 1
		if strict {
			keep--
		}
		copy(c.out[0].Data[r*n:r*n+keep], c.in[0].Data[r*n:])
	}
	return nil
}

// top returns the indices of the k largest of x, the lower index first among
// equals; a NaN counts as less than any number.
func top(x []float32, k int) []int {
	ids := steps(len(x), 1)
	slices.SortStableFunc(ids, func(i, j int) int { return cmp.Compare(x[j], x[i]) })
	return ids[:k]
}

func topK(c *call) error {
	rows, n := c.in[0].rows()
	k := c.v.Int("k")
	for r := range rows {
		for j, id := range top(c.in[0].Data[r*n:(r+1)*n], k) {
			c.out[0].Data[r*k+j] = float32(id)
		}
	}
	return nil
}
