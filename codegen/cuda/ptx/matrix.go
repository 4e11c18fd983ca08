package ptx

import (
	"fmt"
	"math/bits"
)

// decodeMMA is D = A B + C over a warp: D is 16 × 8, A 16 × K and B K × 8. Lane 4g+t holds
// of a register of A or B the elements 4 bytes wide at row (A) or column (B) g and byte 4t
// of K: registers of A are rows g, g+8, and both again 16 bytes further, of B likewise.
// Of C and D it holds columns 2t and 2t+1 of rows g and g+8.
func decodeMMA(d *decoder) exec {
	tc, tb, ta, td := d.typ16(), d.typ16(), d.typ16(), d.typ16()
	d.has("sync")
	d.has("aligned")
	if !d.has("row") || !d.has("col") {
		d.fail("the layout is not supported")
	}
	d.has("satfinite")
	size := ta.bits
	k := 0
	for _, n := range []int{128, 256} { // bits of a row in two or four registers of A
		if d.has(fmt.Sprintf("m16n8k%d", n/size)) {
			k = n / size
		}
	}
	integer := !ta.float()
	switch {
	case k == 0 || size < 4 || size > 16 || tb.bits != ta.bits || !integer && tb != ta || td != tc:
		d.fail("the shape or the types are not supported")
		return nil
	case integer && td != (typ{'s', 32}), !integer && td != (typ{'f', 32}):
		d.fail("the type of the sum is not supported")
		return nil
	}
	regs := k * size / 64 // of A; B has half as many
	D, A, B, C := d.list(0, 4, true), d.list(1, regs, false), d.list(2, max(regs/2, 1), false), d.list(3, 4, false)
	d.meets(-1)
	return func(w *warp, m uint32) {
		if m != all {
			w.fault(bits.TrailingZeros32(m), "it needs all 32 lanes; these are %#08x", m)
			return
		}
		var out [4]vec
		if integer {
			var x, y [16 * 64]int64
			spread(w, A, ta, k, func(row, i int, v uint64) { x[row*k+i] = int64(ta.widen(v)) })
			spread(w, B, tb, k, func(col, i int, v uint64) { y[col*k+i] = int64(tb.widen(v)) })
			for l := range 32 {
				for q := range 4 {
					row, col := l>>2+q>>1*8, l&3*2+q&1
					n := signed(w.r[C[q]][l], 32)
					for i, v := range x[row*k : row*k+k] {
						n += v * y[col*k+i]
					}
					out[q][l] = uint64(uint32(n))
				}
			}
		} else {
			var x, y [16 * 64]float64
			spread(w, A, ta, k, func(row, i int, v uint64) { x[row*k+i] = ta.value(v) })
			spread(w, B, tb, k, func(col, i int, v uint64) { y[col*k+i] = tb.value(v) })
			for l := range 32 {
				for q := range 4 {
					row, col := l>>2+q>>1*8, l&3*2+q&1
					f := float64(f32(w.r[C[q]][l]))
					for i, v := range x[row*k : row*k+k] {
						f += v * y[col*k+i]
					}
					out[q][l] = bits32(float32(f))
				}
			}
		}
		for q := range out {
			w.r[D[q]] = out[q]
		}
	}
}

// spread calls f with each element of the registers of A or B: its row or column, its place
// along K and its bits. Of A, two registers make the 16 rows.
func spread(w *warp, regs []int, t typ, k int, f func(row, i int, v uint64)) {
	per := 32 / t.bits
	rows := len(regs) * 8 * 4 * per / k // 16 or 8
	for j, r := range regs {
		row, first := 0, j*4*per
		if rows == 16 {
			row, first = j&1*8, j>>1*4*per
		}
		for l, v := range w.r[r] {
			for e := range per {
				f(row+l>>2, first+l&3*per+e, v>>(e*t.bits)&t.mask())
			}
		}
	}
}

// typ16 takes a type of mma, where tf32 and the small ones exist.
func (d *decoder) typ16() typ {
	switch n := len(d.mods) - 1; {
	case n < 0:
	case d.mods[n] == "tf32": // the hardware reads the upper 19 bits
		d.fail("tf32 is not supported")
	case d.mods[n] == "u4" || d.mods[n] == "s4":
		k := d.mods[n][0]
		d.mods = d.mods[:n]
		return typ{k, 4}
	}
	return d.typ()
}

// matrices takes the shape of ldmatrix and stmatrix and gives the number of 8 × 8 matrices.
func (d *decoder) matrices() (count int, trans bool) {
	if t := d.typ(); t != (typ{'b', 16}) || !d.has("m8n8") || !d.has("shared") && !d.has("shared::cta") {
		d.fail("the shape is not supported")
	}
	d.has("sync")
	d.has("aligned")
	d.meets(-1)
	return map[string]int{"x1": 1, "x2": 2, "x4": 4}[d.one("x1", "x2", "x4")], d.has("trans")
}

// row gives the 16 bytes of row i of matrix q, whose address lane 8q+i holds.
func (w *warp) row(a *address, q, i int, write bool) []byte {
	l := 8*q + i
	return w.access(spaceShared, a.at(w, l), 16, l, write)
}

// decodeLdmatrix loads 8 × 8 matrices of 16 bits: lane 4r+c gets columns 2c and 2c+1 of row r.
func decodeLdmatrix(d *decoder) exec {
	n, trans := d.matrices()
	dst, a := d.list(0, n, true), d.addr(1)
	return func(w *warp, m uint32) {
		if m != all {
			w.fault(bits.TrailingZeros32(m), "it needs all 32 lanes; these are %#08x", m)
			return
		}
		out := make([]vec, n)
		for q := range n {
			for r := range 8 {
				p := w.row(&a, q, r, false)
				if p == nil {
					return
				}
				for c := range 8 {
					i, j := r, c
					if trans {
						i, j = c, r
					}
					out[q][4*i+j/2] |= get(p[2*c:], 2) << (16 * (j & 1))
				}
			}
		}
		for q, r := range dst {
			w.r[r] = out[q]
		}
	}
}

func decodeStmatrix(d *decoder) exec {
	n, trans := d.matrices()
	a, src := d.addr(0), d.list(1, n, false)
	return func(w *warp, m uint32) {
		if m != all {
			w.fault(bits.TrailingZeros32(m), "it needs all 32 lanes; these are %#08x", m)
			return
		}
		for q, reg := range src {
			for r := range 8 {
				p := w.row(&a, q, r, true)
				if p == nil {
					return
				}
				for c := range 8 {
					i, j := r, c
					if trans {
						i, j = c, r
					}
					put(p[2*c:], w.r[reg][4*i+j/2]>>(16*(j&1)), 2)
				}
			}
		}
	}
}

// decodeMovmatrix transposes an 8 × 8 matrix that lies in registers.
func decodeMovmatrix(d *decoder) exec {
	if t := d.typ(); t != (typ{'b', 16}) || !d.has("m8n8") || !d.has("trans") {
		d.fail("the shape is not supported")
	}
	d.has("sync")
	d.has("aligned")
	d.meets(-1)
	dst, a := d.dst(0, 32), d.src(1, typ{'b', 32})
	return func(w *warp, m uint32) {
		if m != all {
			w.fault(bits.TrailingZeros32(m), "it needs all 32 lanes; these are %#08x", m)
			return
		}
		var v vec
		for r := range 8 {
			for c := range 8 {
				v[4*c+r/2] |= w.r[a][4*r+c/2] >> (16 * (c & 1)) & 0xffff << (16 * (r & 1))
			}
		}
		w.r[dst] = v
	}
}
