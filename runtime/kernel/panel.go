package kernel

import (
	"unsafe"

	"qnc/runtime/panel"
)

// A PanelFunc is an emitted vector kernel: dst[16t+r] is row r of the panel
// times row t of the activations, which starts offset[t] bytes behind x.
type PanelFunc func(panel, x *byte, offset *int64, dst *float32, n, blocks int)

// A Panels is a weight in panels and its kernel.
type Panels struct {
	Func   PanelFunc
	Data   []byte
	Bytes  int // of a panel
	Blocks int
	Count  int // panels of one matrix
}

func (w *Panels) at(matrix, i int) *byte { return &w.Data[(matrix*w.Count+i)*w.Bytes] }

// panelTokens is how many tokens pass by a panel before the next one: their
// activations stay in the second cache.
const panelTokens = 48

// PanelScratch is the floats that the functions below need for items rows of
// activations (tokens, or tokens times experts) and a number of experts, 0 for none.
func PanelScratch(items, experts int) int {
	n := 2*panelTokens + 2*panel.Rows*panelTokens
	if experts > 0 {
		n += items + experts + 2
	}
	return n + 2
}

// A bench deals out a thread's scratch.
type bench struct {
	offset []int64
	dst    [2][]float32
	rest   []float32
}

func newBench(s []float32) (b bench) {
	if uintptr(unsafe.Pointer(&s[0]))%8 != 0 {
		s = s[1:]
	}
	b.offset = unsafe.Slice((*int64)(unsafe.Pointer(&s[0])), panelTokens)
	s = s[2*panelTokens:]
	for i := range b.dst {
		b.dst[i], s = s[:panel.Rows*panelTokens], s[panel.Rows*panelTokens:]
	}
	b.rest = s
	return b
}

// valid is how many rows of panel i exist in a matrix of rows rows.
func valid(i, rows int) int { return min(panel.Rows, rows-i*panel.Rows) }

// PanelMatMul writes panels lo … hi of x wᵀ for n rows of x to out[n, rows].
func PanelMatMul(out []float32, rows int, x []byte, stride int, w Panels, lo, hi, n int, scratch []float32) {
	b := newBench(scratch)
	for first := 0; first < n; first += panelTokens {
		m := min(panelTokens, n-first)
		for i := range m {
			b.offset[i] = int64((first + i) * stride)
		}
		for p := lo; p < hi; p++ {
			v := valid(p, rows)
			if n == 1 && v == panel.Rows {
				w.Func(w.at(0, p), &x[0], &b.offset[0], &out[p*panel.Rows], 1, w.Blocks)
				continue
			}
			w.Func(w.at(0, p), &x[0], &b.offset[0], &b.dst[0][0], m, w.Blocks)
			for i := range m {
				copy(out[(first+i)*rows+p*panel.Rows:][:v], b.dst[0][i*panel.Rows:])
			}
		}
	}
}

// PanelGateUp writes panels lo … hi of silu(x gateᵀ) * (x upᵀ) to out[n, rows].
func PanelGateUp(out []float32, rows int, x []byte, stride int, gate, up Panels, lo, hi, n int, scratch []float32) {
	b := newBench(scratch)
	for first := 0; first < n; first += panelTokens {
		m := min(panelTokens, n-first)
		for i := range m {
			b.offset[i] = int64((first + i) * stride)
		}
		for p := lo; p < hi; p++ {
			y := b.gateUp(x, gate, up, 0, p, m)
			v := valid(p, rows)
			for i := range m {
				copy(out[(first+i)*rows+p*panel.Rows:][:v], y[i*panel.Rows:])
			}
		}
	}
}

// gateUp computes one panel of an expert for the m tokens of b.offset.
func (b *bench) gateUp(x []byte, gate, up Panels, expert, p, m int) []float32 {
	g, u := b.dst[0][:m*panel.Rows], b.dst[1][:m*panel.Rows]
	gate.Func(gate.at(expert, p), &x[0], &b.offset[0], &g[0], m, gate.Blocks)
	up.Func(up.at(expert, p), &x[0], &b.offset[0], &u[0], m, up.Blocks)
	SiluMul(g, g, u)
	return g
}

// A Routing says which experts the tokens of a step chose: ids[n, used].
// XItem and XToken place the activations of an item (an expert of a token).
type Routing struct {
	IDs           []int32
	Used, Experts int
	XToken, XItem int // bytes
}

// each calls do for every expert that was chosen, with at most panelTokens of
// its items at a time, in ascending order of experts and tokens; b.offset
// holds where their activations are.
func (r *Routing) each(b *bench, n int, do func(expert int, items []int32)) {
	ids := r.IDs[:n*r.Used]
	ints := Int32s(bytesOf(b.rest))
	start, order := ints[:r.Experts+2], ints[r.Experts+2:][:len(ids)]
	clear(start)
	for _, e := range ids {
		start[e+2]++
	}
	for e := 2; e < len(start); e++ {
		start[e] += start[e-1]
	}
	for i, e := range ids { // start[e+1] moves from the first to the end of e
		order[start[e+1]] = int32(i)
		start[e+1]++
	}
	for e := range r.Experts {
		items := order[start[e]:start[e+1]]
		for len(items) > 0 {
			part := items[:min(panelTokens, len(items))]
			for i, item := range part {
				t, j := int(item)/r.Used, int(item)%r.Used
				b.offset[i] = int64(t*r.XToken + j*r.XItem)
			}
			do(e, part)
			items = items[len(part):]
		}
	}
}

func bytesOf(s []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

// PanelMatMulID writes panels lo … hi of every item's product to out[n, used, rows].
func PanelMatMulID(out []float32, rows int, x []byte, r Routing, w Panels, lo, hi, n int, scratch []float32) {
	b := newBench(scratch)
	r.each(&b, n, func(e int, items []int32) {
		for p := lo; p < hi; p++ {
			w.Func(w.at(e, p), &x[0], &b.offset[0], &b.dst[0][0], len(items), w.Blocks)
			for i, item := range items {
				copy(out[int(item)*rows+p*panel.Rows:][:valid(p, rows)], b.dst[0][i*panel.Rows:])
			}
		}
	})
}

// PanelMoEGateUp writes panels lo … hi of every item's silu(x gateᵀ) * (x upᵀ) to out[n, used, rows].
func PanelMoEGateUp(out []float32, rows int, x []byte, r Routing, gate, up Panels, lo, hi, n int, scratch []float32) {
	b := newBench(scratch)
	r.each(&b, n, func(e int, items []int32) {
		if len(items) == 1 { // memory is read in long runs: first all of gate, then all of up
			y := out[int(items[0])*rows:][:rows]
			for p := lo; p < hi; p++ {
				gate.Func(gate.at(e, p), &x[0], &b.offset[0], &b.dst[0][0], 1, gate.Blocks)
				copy(y[p*panel.Rows:], b.dst[0][:panel.Rows])
			}
			for p := lo; p < hi; p++ {
				part := y[p*panel.Rows:][:valid(p, rows)]
				up.Func(up.at(e, p), &x[0], &b.offset[0], &b.dst[1][0], 1, up.Blocks)
				SiluMul(part, part, b.dst[1][:len(part)])
			}
			return
		}
		for p := lo; p < hi; p++ {
			y := b.gateUp(x, gate, up, e, p, len(items))
			for i, item := range items {
				copy(out[int(item)*rows+p*panel.Rows:][:valid(p, rows)], y[i*panel.Rows:])
			}
		}
	})
}

// PanelMoEDown writes panels lo … hi of the weighted sum over a token's
// experts, in ascending order of experts, to out[n, rows].
func PanelMoEDown(out []float32, rows int, x []byte, r Routing, weights []float32, w Panels, lo, hi, n int, scratch []float32) {
	b := newBench(scratch)
	for t := range n {
		clear(out[t*rows:][min(lo*panel.Rows, rows):min(hi*panel.Rows, rows)])
	}
	r.each(&b, n, func(e int, items []int32) {
		for p := lo; p < hi; p++ {
			w.Func(w.at(e, p), &x[0], &b.offset[0], &b.dst[0][0], len(items), w.Blocks)
			v := valid(p, rows)
			for i, item := range items {
				addScaled(out[int(item)/r.Used*rows+p*panel.Rows:][:v], weights[item], b.dst[0][i*panel.Rows:][:v])
			}
		}
	})
}

// PanelRow decodes row i of a matrix in panels of a format of package panel.
func PanelRow(dst []float32, format string, matrix []byte, i int, scratch []float32) {
	f, ok := panel.ByName(format)
	if !ok {
		panic("BUG: no panels of " + format)
	}
	row := bytesOf(scratch)[:f.Kind.RowBytes(len(dst))]
	f.Unpack(row, matrix, i, len(dst))
	f.Kind.Dequantize(dst, row)
}
