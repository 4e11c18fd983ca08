package kernel

import (
	"unsafe"

	"qnc/runtime/panel"
)

// The functions below are the products by expert of one token. Their time is that of memory, so a
// thread reads the panels that it takes of a matrix one after the other. Rows are a multiple of
// panel.Rows.

// TokenScratch is the floats that they need for used experts of rows rows.
func TokenScratch(used, rows int) int { return 4 + used + rows }

// A desk is a thread's scratch for one token.
type desk struct {
	offset *int64  // of its activations
	order  []int32 // a number for each expert in use
	y      []float32
}

func newDesk(s []float32, used int) desk {
	if uintptr(unsafe.Pointer(&s[0]))%8 != 0 {
		s = s[1:]
	}
	return desk{(*int64)(unsafe.Pointer(&s[0])), Int32s(bytesOf(s[2:]))[:used], s[2+used:]}
}

// read writes panels lo … hi of a matrix times the token at *offset to dst.
func (w *Panels) read(dst []float32, x []byte, offset *int64, matrix, lo, hi int) {
	for p := lo; p < hi; p++ {
		w.Func(w.at(matrix, p), &x[0], offset, &dst[(p-lo)*panel.Rows], 1, w.Blocks)
	}
}

// TokenMoEGateUp writes panels lo … hi of silu(x gateᵀ) * (x upᵀ) to out[used, rows]; panels count
// through the experts in use.
func TokenMoEGateUp(out []float32, x []byte, r Routing, gate, up Panels, lo, hi int, scratch []float32) {
	d := newDesk(scratch, r.Used)
	for lo < hi {
		item, first := lo/gate.Count, lo%gate.Count
		last := min(first+hi-lo, gate.Count)
		n := (last - first) * panel.Rows
		e, g, u := int(r.IDs[item]), out[lo*panel.Rows:][:n], d.y[:n]
		*d.offset = int64(item * r.XItem)
		gate.read(g, x, d.offset, e, first, last)
		up.read(u, x, d.offset, e, first, last)
		SiluMul(g, g, u)
		lo += last - first
	}
}

// TokenMoEDown writes panels lo … hi of the weighted sum over the experts, in
// ascending order, to out[rows].
func TokenMoEDown(out []float32, x []byte, r Routing, weights []float32, w Panels, lo, hi int, scratch []float32) {
	if lo == hi {
		return
	}
	d := newDesk(scratch, r.Used)
	ids := r.IDs[:r.Used]
	for i := range d.order {
		j := i
		for ; j > 0 && ids[d.order[j-1]] > ids[i]; j-- {
			d.order[j] = d.order[j-1]
		}
		d.order[j] = int32(i)
	}
	n := (hi - lo) * panel.Rows
	out, y := out[lo*panel.Rows:][:n], d.y[:n]
	clear(out)
	for _, item := range d.order {
		*d.offset = int64(int(item) * r.XItem)
		w.read(y, x, d.offset, int(ids[item]), lo, hi)
		addScaled(out, weights[item], y)
	}
}
