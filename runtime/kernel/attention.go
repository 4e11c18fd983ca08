package kernel

import (
	"math"

	"qnc/runtime/vec"
)

// AttendBlock is the number of cells between two adjustments of the running
// maximum. Blocks count from cell 0, so that a result does not depend on how
// a prompt is cut.
const AttendBlock = 64

// attendTokens is the number of tokens that share a decoded block of cells.
const attendTokens = 8

// A Cache is the keys or the values of one layer: cells of Cell bytes, Row bytes
// of each for a group.
type Cache struct {
	Bytes     []byte
	Cell, Row int
	Decode    func(dst []float32, row []byte)
	Dot       func(row []byte, x []float32) float32
	Axpy      func(out []float32, p float32, row []byte)
}

// An Attention is softmax(scale q·k) v over the cells up to each token's position.
type Attention struct {
	Heads, Groups int
	Tiled         bool // head h reads group h%Groups, otherwise h/(Heads/Groups)
	K, V          int  // head sizes
	Q             []float32
	QToken, QHead int       // strides in floats
	Out           []float32 // [n,Heads,V]
	Keys, Values  Cache
	Pos           []int32
	Scale         float32
}

// AttendScratch is the number of floats that Run needs for heads heads a group.
func AttendScratch(heads, k, v int) int {
	r := attendTokens * heads
	return r*(k+v+scoreStride+2) + AttendBlock*(k+v+vec.Lane) + vec.DotPart(r)
}

// scoreStride and vec.Lane more than V are strides that do not alias in a cache.
const scoreStride = AttendBlock + vec.Lane

// Run computes thread ith's share, of nth, of n tokens: every nth block of
// tokens of a group. Nothing that is summed depends on the share.
func (a *Attention) Run(n, ith, nth int, scratch []float32) {
	if simd == nil || a.K%vec.Lane != 0 || a.V%vec.Lane != 0 {
		for i := ith; i < n*a.Heads; i += nth {
			a.one(i/a.Heads, i%a.Heads)
		}
		return
	}
	blocks := (n + attendTokens - 1) / attendTokens
	for i := ith; i < blocks*a.Groups; i += nth {
		t := i / a.Groups * attendTokens
		a.block(i%a.Groups, t, min(attendTokens, n-t), scratch)
	}
}

func (a *Attention) group(h int) int {
	if a.Tiled {
		return h % a.Groups
	}
	return h / (a.Heads / a.Groups)
}

func (a *Attention) one(t, h int) {
	g, k, c := a.group(h), &a.Keys, &a.Values
	Attend(a.Out[(t*a.Heads+h)*a.V:][:a.V], a.Q[t*a.QToken+h*a.QHead:][:a.K], k.Bytes[g*k.Row:], k.Cell, c.Bytes[g*c.Row:], c.Cell,
		k.Row, c.Row, int(a.Pos[t])+1, a.Scale, k.Dot, c.Axpy)
}

// block computes tokens t0 to t0+n of the heads of group g. Row r of its
// matrices is head r%per of token r/per.
func (a *Attention) block(g, t0, n int, scratch []float32) {
	take := func(n int) []float32 {
		s := scratch[:n:n]
		scratch = scratch[n:]
		return s
	}
	per := a.Heads / a.Groups
	rows, vs := n*per, a.V+vec.Lane
	head := func(r int) (t, h int) {
		if a.Tiled {
			return t0 + r/per, r%per*a.Groups + g
		}
		return t0 + r/per, g*per + r%per
	}
	s := state{
		q: take(rows * a.K), k: take(AttendBlock * a.K), v: take(AttendBlock * vs), score: take(rows * scoreStride),
		out: take(rows * a.V), most: take(rows), sum: take(rows), part: take(vec.DotPart(rows)),
	}
	cells := 0
	for r := range rows {
		t, h := head(r)
		simd.Scale(s.q[r*a.K:][:a.K], a.Q[t*a.QToken+h*a.QHead:], a.Scale)
		s.most[r] = float32(math.Inf(-1))
		cells = max(cells, int(a.Pos[t])+1)
	}
	clear(s.out)
	clear(s.sum)
	for c := 0; c < cells; c += AttendBlock {
		m := min(AttendBlock, cells-c)
		s.group, s.cell, s.next, s.ahead = g, c, c+m-1, min(AttendBlock, cells-c-m)
		s.keys, s.values = 0, 0
		// Tokens that see the same part of the block go together.
		for t := 0; t < n; {
			seen := min(m, int(a.Pos[t0+t])+1-c)
			end := t + 1
			for end < n && min(m, int(a.Pos[t0+end])+1-c) == seen {
				end++
			}
			if seen > 0 {
				a.attend(&s, t*per, end*per, seen)
			}
			t = end
		}
	}
	for r := range rows {
		t, h := head(r)
		simd.Scale(a.Out[(t*a.Heads+h)*a.V:][:a.V], s.out[r*a.V:], 1/s.sum[r])
	}
}

// A state is what block carries from one block of cells to the next.
type state struct {
	q, k, v, score, out, most, sum, part []float32

	group, cell  int // the block's
	keys, values int // how many of its rows are decoded
	next, ahead  int // the cell that was prefetched last, and how many are left to be
}

// decode decodes rows of the block up to n, which are used while they are in
// the nearest cache.
func (a *Attention) decode(s *state, c *Cache, dst []float32, width, stride int, done *int, n int) {
	for ; *done < n; *done++ {
		c.Decode(dst[*done*stride:][:width], c.Bytes[(s.cell+*done)*c.Cell+s.group*c.Row:][:c.Row])
	}
}

// fewRows are so few that a sum of values may be interrupted.
const fewRows = 16

// attend adds the first cells of the block to rows lo to hi.
func (a *Attention) attend(s *state, lo, hi, cells int) {
	for c := 0; c < cells; c += 4 {
		for range min(4, s.ahead) { // while these are multiplied, later ones come
			s.next++
			s.ahead--
			simd.Prefetch(a.Keys.Bytes[s.next*a.Keys.Cell+s.group*a.Keys.Row:][:a.Keys.Row])
			simd.Prefetch(a.Values.Bytes[s.next*a.Values.Cell+s.group*a.Values.Row:][:a.Values.Row])
		}
		n := min(4, cells-c)
		a.decode(s, &a.Keys, s.k, a.K, a.K, &s.keys, c+n)
		simd.Dots(s.score[lo*scoreStride+c:], scoreStride, s.q[lo*a.K:], a.K, s.k[c*a.K:], a.K, hi-lo, n, a.K, s.part)
	}
	for r := lo; r < hi; r++ {
		score := s.score[r*scoreStride:][:cells]
		if most := simd.MaxOf(score); most > s.most[r] {
			f := Exp(s.most[r] - most)
			s.sum[r] *= f
			simd.Scale(s.out[r*a.V:][:a.V], s.out[r*a.V:], f)
			s.most[r] = most
		}
		from := s.most[r]
		if math.IsInf(float64(from), -1) { // every score so far is -Inf: none of them counts
			from = 0
		}
		s.sum[r] += simd.ExpSum(score, score, from)
	}
	step := cells
	if hi-lo <= fewRows {
		step = min(cells, 8)
	}
	vs := a.V + vec.Lane
	for c := 0; c < cells; c += step {
		n := min(step, cells-c)
		a.decode(s, &a.Values, s.v, a.V, vs, &s.values, c+n)
		simd.Gemm(s.out[lo*a.V:], a.V, s.score[lo*scoreStride+c:], scoreStride, 1, s.v[c*vs:], vs, hi-lo, a.V, n, true)
	}
}

// Attend writes softmax(scale q·k) v over the first cells of a cache to out.
// Row c of the keys is keys[c*keyStride:] in the format that dot reads, and
// values likewise with axpy.
func Attend(out, q []float32, keys []byte, keyStride int, values []byte, valueStride, keyBytes, valueBytes, cells int, scale float32,
	dot func(w []byte, x []float32) float32, axpy func(out []float32, p float32, v []byte)) {
	clear(out)
	var score [AttendBlock]float32
	m, sum := float32(math.Inf(-1)), float32(0)
	for c := 0; c < cells; c += AttendBlock {
		s := score[:min(AttendBlock, cells-c)]
		top := m
		for i := range s {
			s[i] = float32(dot(keys[(c+i)*keyStride:][:keyBytes], q) * scale)
			top = max(top, s[i])
		}
		if top > m {
			r := Exp(m - top)
			sum *= r
			for i := range out {
				out[i] *= r
			}
			m = top
		}
		from := m
		if math.IsInf(float64(m), -1) { // every score so far is -Inf: none of them counts
			from = 0
		}
		for i := range s {
			p := Exp(s[i] - from)
			sum += p
			axpy(out, p, values[(c+i)*valueStride:][:valueBytes])
		}
	}
	for i := range out {
		out[i] /= sum
	}
}
