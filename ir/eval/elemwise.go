package eval

import (
	"fmt"
	"math"
)

func exp(x float32) float32     { return float32(math.Exp(float64(x))) }
func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
func silu(x float32) float32    { return float32(float64(x) / (1 + math.Exp(-float64(x)))) }

func softplus(x float32) float32 {
	if x > 20 {
		return x
	}
	return float32(math.Log1p(math.Exp(float64(x))))
}

func unary(f func(float32) float32) func(*call) error {
	return func(c *call) error {
		dst := c.out[0].Data
		for i, x := range c.in[0].Data {
			dst[i] = f(x)
		}
		return nil
	}
}

func scale(c *call) error {
	by := float32(c.v.Float("by"))
	return unary(func(x float32) float32 { return x * by })(c)
}

func clamp(c *call) error {
	lo := float32(c.v.Float("min"))
	return unary(func(x float32) float32 {
		if x < lo {
			return lo
		}
		return x
	})(c)
}

func binary(f func(x, y float32) float32) func(*call) error {
	return func(c *call) error {
		x, y, out := c.in[0], c.in[1], c.out[0]
		mapping := c.v.Attr.Get("map")
		xo, err := spread(x.Shape, out.Shape, mapping)
		if err != nil {
			return err
		}
		yo, err := spread(y.Shape, out.Shape, mapping)
		if err != nil {
			return err
		}
		if len(x.Data) == len(out.Data) && len(y.Data) == len(out.Data) {
			for i, v := range x.Data {
				out.Data[i] = f(v, y.Data[i])
			}
			return nil
		}
		dst, r := out.Data, len(out.Shape)-1
		if len(dst) == 0 {
			return nil
		}
		xl, yl := xo[r], yo[r]
		eachRow(out.Shape[:r], xo, yo, 0, 0, func(ox, oy int) {
			for i, dx := range xl {
				dst[i] = f(x.Data[ox+dx], y.Data[oy+yl[i]])
			}
			dst = dst[len(xl):]
		})
		return nil
	}
}

// spread returns, axis by axis of out, the offset into an operand of shape src
// that each index reads: itself, the one element there is, or by the map.
func spread(src, out []int, mapping string) ([][]int, error) {
	off := make([][]int, len(out))
	stride := 1
	for i := 1; i <= len(out); i++ {
		m, n := out[len(out)-i], 1
		if i <= len(src) {
			n = src[len(src)-i]
		}
		tab := make([]int, m)
		switch {
		case n == m:
			for j := range tab {
				tab[j] = j * stride
			}
		case n == 1:
		case n == 0 || m%n != 0 || mapping == "":
			return nil, fmt.Errorf("extent %d cannot be read as %d", n, m)
		default:
			for j := range tab {
				tab[j] = grouped(j, m, n, mapping) * stride
			}
		}
		off[len(out)-i] = tab
		stride *= n
	}
	return off, nil
}

// grouped returns which of n entries the i-th of m reads.
func grouped(i, m, n int, mapping string) int {
	if mapping == "tiled" {
		return i % n
	}
	return i / (m / n)
}

// eachRow calls f for each index of shape, in order, with the sum of its offsets in a and b.
func eachRow(shape []int, a, b [][]int, oa, ob int, f func(oa, ob int)) {
	if len(shape) == 0 {
		f(oa, ob)
		return
	}
	for i := range shape[0] {
		eachRow(shape[1:], a[1:], b[1:], oa+a[0][i], ob+b[0][i], f)
	}
}
