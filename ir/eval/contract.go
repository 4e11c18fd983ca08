package eval

import (
	"fmt"
	"math"
)

// dot is the product of two rows of equal length.
func dot(x, y []float32) float64 {
	y = y[:len(x)]
	var a, b, c, d float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a += float64(x[i]) * float64(y[i])
		b += float64(x[i+1]) * float64(y[i+1])
		c += float64(x[i+2]) * float64(y[i+2])
		d += float64(x[i+3]) * float64(y[i+3])
	}
	for ; i < len(x); i++ {
		a += float64(x[i]) * float64(y[i])
	}
	return (a + b) + (c + d)
}

// product writes the m×n products of the rows of x and w, k long.
func product(dst, x, w []float32, m, n, k int) {
	for i := range m {
		row := x[i*k : (i+1)*k]
		for j := range n {
			dst[i*n+j] = float32(dot(row, w[j*k:(j+1)*k]))
		}
	}
}

func matmul(c *call) error {
	x, w, out := c.in[0], c.in[1], c.out[0]
	r := len(out.Shape) - 2
	batch := out.Shape[:r]
	mapping := c.v.Attr.Get("map")
	xo, err := spread(x.Shape[:len(x.Shape)-2], batch, mapping)
	if err != nil {
		return err
	}
	wo, err := spread(w.Shape[:len(w.Shape)-2], batch, mapping)
	if err != nil {
		return err
	}
	m, n, k := out.Shape[r], out.Shape[r+1], x.Shape[len(x.Shape)-1]
	dst := out.Data
	eachRow(batch, xo, wo, 0, 0, func(ox, ow int) {
		product(dst, x.Data[ox*m*k:(ox+1)*m*k], w.Data[ow*n*k:(ow+1)*n*k], m, n, k)
		dst = dst[m*n:]
	})
	return nil
}

// experts calls f(t, j, x row, w matrix) for each expert j that token t goes to.
func experts(x, w, ids Tensor, f func(t, j int, x, w []float32)) error {
	id, err := indices(ids, w.Shape[0], "expert")
	if err != nil {
		return err
	}
	k, n := ids.Shape[1], w.Shape[1]*w.Shape[2]
	xk, xn := x.Shape[1], x.Shape[2]
	for i, e := range id {
		t, j := i/k, i%k
		xi := t * xk
		if xk > 1 {
			xi += j
		}
		f(t, j, x.Data[xi*xn:(xi+1)*xn], w.Data[e*n:(e+1)*n])
	}
	return nil
}

func matmulID(c *call) error {
	return byExpert(c.out[0], c.in[0], c.in[1], c.in[2])
}

func byExpert(out, x, w, ids Tensor) error {
	k, n := out.Shape[1], out.Shape[2]
	return experts(x, w, ids, func(t, j int, x, w []float32) {
		i := t*k + j
		product(out.Data[i*n:(i+1)*n], x, w, 1, n, len(x))
	})
}

// solveTri substitutes forward: the diagonal is one, what lies above is not read.
func solveTri(c *call) error {
	a, b, out := c.in[0], c.in[1], c.out[0]
	r := len(b.Shape)
	n, m := b.Shape[r-2], b.Shape[r-1]
	if n*m == 0 {
		return nil
	}
	x := make([]float64, n*m)
	for i := range len(b.Data) / (n * m) {
		av, bv := a.Data[i*n*n:(i+1)*n*n], b.Data[i*n*m:(i+1)*n*m]
		for p := range n {
			row := x[p*m : (p+1)*m]
			for j := range row {
				row[j] = float64(bv[p*m+j])
			}
			for q := range p {
				f := float64(av[p*n+q])
				for j, y := range x[q*m : (q+1)*m] {
					row[j] -= f * y
				}
			}
		}
		for j, v := range x {
			out.Data[i*n*m+j] = float32(v)
		}
	}
	return nil
}

// convolve is out[t,d] = sum_j x[t+j,d] w[d,j].
func convolve(out, x, w Tensor) {
	n, d, c := out.Shape[0], out.Shape[1], w.Shape[1]
	for t := range n {
		for i := range d {
			s := 0.0
			for j := range c {
				s += float64(x.Data[(t+j)*d+i]) * float64(w.Data[i*c+j])
			}
			out.Data[t*d+i] = float32(s)
		}
	}
}

func conv(c *call) error {
	convolve(c.out[0], c.in[0], c.in[1])
	return nil
}

// rotate applies the rotary embedding in place to the heads of x[T,H,D].
func rotate(x, pos Tensor, dims int, base float64) {
	heads, d := x.Shape[1], x.Shape[2]
	half := dims / 2
	for t, p := range pos.Data {
		for i := range half {
			sin, cos := math.Sincos(float64(p) * math.Pow(base, -2*float64(i)/float64(dims)))
			for h := range heads {
				v := x.Data[(t*heads+h)*d:]
				a, b := float64(v[i]), float64(v[i+half])
				v[i], v[i+half] = float32(a*cos-b*sin), float32(a*sin+b*cos)
			}
		}
	}
}

func rope(c *call) error {
	copy(c.out[0].Data, c.in[0].Data)
	rotate(c.out[0], c.in[1], c.v.Int("dims"), c.v.Float("base"))
	return nil
}

func attention(c *call) error {
	q, k, v, out := c.in[0], c.in[1], c.in[2], c.out[0]
	cells, groups := k.Shape[0], k.Shape[1]
	heads, d, e := q.Shape[1], q.Shape[2], v.Shape[2]
	if heads != groups && (groups == 0 || heads%groups != 0) {
		return fmt.Errorf("%d heads cannot read %d", heads, groups)
	}
	pos, err := indices(c.in[3], cells, "position")
	if err != nil {
		return err
	}
	factor, mapping := c.v.Float("scale"), c.v.Attr.Get("map")
	p, acc := make([]float64, cells), make([]float64, e)
	for t, last := range pos {
		for h := range heads {
			g := grouped(h, heads, groups, mapping)
			row := q.Data[(t*heads+h)*d : (t*heads+h+1)*d]
			m := math.Inf(-1)
			for cell := range last + 1 {
				i := (cell*groups + g) * d
				p[cell] = factor * dot(row, k.Data[i:i+d])
				m = max(m, p[cell])
			}
			total := 0.0
			clear(acc)
			for cell := range last + 1 {
				w := math.Exp(p[cell] - m)
				total += w
				i := (cell*groups + g) * e
				for j, x := range v.Data[i : i+e] {
					acc[j] += w * float64(x)
				}
			}
			for j, x := range acc {
				out.Data[(t*heads+h)*e+j] = float32(x / total)
			}
		}
	}
	return nil
}

func quantize(c *call) error {
	copy(c.out[0].Data, c.in[0].Data)
	return c.roundOut(0)
}

// roundOut rounds result i to its own dtype.
func (c *call) roundOut(i int) error {
	t := c.v.Type
	if t.IsTuple() {
		t = t.Tuple[i]
	}
	_, last := c.out[i].rows()
	return round(t.DType, c.out[i].Data, last)
}
