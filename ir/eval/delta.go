package eval

import (
	"fmt"
	"math"
)

// affineScan runs S' = d S + (u - w Sᵀ)ᵀ k over the chunks of each head and
// keeps every S.
func affineScan(c *call) error {
	d, k, u, w, s := c.in[0], c.in[1], c.in[2], c.in[3], c.in[4]
	heads, chunks, n := u.Shape[0], u.Shape[1], u.Shape[2]
	vn, kn, groups := u.Shape[3], w.Shape[3], k.Shape[0]
	if groups == 0 || heads%groups != 0 {
		return fmt.Errorf("%d heads cannot read %d", heads, groups)
	}
	mapping := c.v.Attr.Get("map")
	size := vn * kn
	ut := make([]float64, vn) // u - w Sᵀ of one token
	next := make([]float64, size)
	for h := range heads {
		g := grouped(h, heads, groups, mapping)
		out := c.out[0].Data[h*(chunks+1)*size:]
		copy(out, s.Data[h*size:(h+1)*size])
		for i := range chunks {
			cur := out[i*size : (i+1)*size]
			decay := float64(d.Data[h*chunks+i])
			for j, x := range cur {
				next[j] = decay * float64(x)
			}
			for t := range n {
				at := (h*chunks+i)*n + t
				wt := w.Data[at*kn : (at+1)*kn]
				kt := k.Data[((g*chunks+i)*n+t)*kn:][:kn]
				for j := range vn {
					ut[j] = float64(u.Data[at*vn+j]) - dot(wt, cur[j*kn:(j+1)*kn])
				}
				rankOne(next, ut, kt)
			}
			for j, x := range next {
				out[(i+1)*size+j] = float32(x)
			}
		}
	}
	return nil
}

// rankOne adds u kᵀ to s[len(u), len(k)].
func rankOne(s, u []float64, k []float32) {
	for i, x := range u {
		row := s[i*len(k) : (i+1)*len(k)]
		for j, y := range k {
			row[j] += x * float64(y)
		}
	}
}

// delta is the gated delta rule token by token, which is what its chunked form
// computes too: S = e^g S; S += beta (v - S k) kᵀ; out = S (scale q).
func delta(c *call) error {
	row, err := c.row(6)
	if err != nil {
		return err
	}
	q, k, v, g, beta := c.in[1], c.in[2], c.in[3], c.in[4], c.in[5]
	tokens, heads, vn := v.Shape[0], v.Shape[1], v.Shape[2]
	groups, kn := q.Shape[1], q.Shape[2]
	if groups == 0 || heads%groups != 0 {
		return fmt.Errorf("%d heads cannot read %d", heads, groups)
	}
	factor, mapping := c.v.Float("scale"), c.v.Attr.Get("map")
	s, e := make([]float64, vn*kn), make([]float64, vn)
	for h := range heads {
		mem := row.Data[h*vn*kn : (h+1)*vn*kn]
		for i, x := range mem {
			s[i] = float64(x)
		}
		for t := range tokens {
			at := t*heads + h
			kt := (t*groups + grouped(h, heads, groups, mapping)) * kn
			qv, kv := q.Data[kt:kt+kn], k.Data[kt:kt+kn]
			decay, b := math.Exp(float64(g.Data[at])), float64(beta.Data[at])
			for i := range e {
				r := s[i*kn : (i+1)*kn]
				p := 0.0
				for j := range r {
					r[j] *= decay
					p += r[j] * float64(kv[j])
				}
				e[i] = b * (float64(v.Data[at*vn+i]) - p)
			}
			rankOne(s, e, kv)
			for i := range e {
				p := 0.0
				for j, x := range s[i*kn : (i+1)*kn] {
					p += x * float64(qv[j])
				}
				c.out[0].Data[at*vn+i] = float32(factor * p)
			}
		}
		for i, x := range s {
			mem[i] = float32(x)
		}
	}
	_, last := row.rows()
	return c.write(row.Data, row.Data, last)
}
