package kernel

import (
	"math"

	"qnc/runtime/vec"
)

// AttendBlock is the number of cells between two adjustments of the running
// maximum. Blocks count from the first cell of a range, so that a result does
// not depend on how a prompt is cut.
const AttendBlock = 96

const (
	attendTokens = 8  // tokens of a prompt that share a block while it is near
	attendRows   = 8  // rows whose queries or results are near together
	keyCells     = 24 // cells whose keys are, and
	valueCells   = 32 // whose values are
	ahead        = 32 // cells that memory is asked for in advance

	// scoreStride is the size of a row of scores: rows do not alias in a cache.
	scoreStride = AttendBlock + vec.Lane
)

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

// AttendScratch is the number of floats that a thread needs for heads heads a group.
func AttendScratch(heads, k, v int) int {
	r := attendTokens * heads
	return r*(k+v+scoreStride+3) + max(k, v)/blockQ80*scoreStride + attendRows*v/blockQ80*valueCells
}

// Run computes thread ith's share, of nth, of a prompt of n tokens: every nth
// block of tokens of a group. Nothing that is summed depends on the share.
func (a *Attention) Run(n, ith, nth int, scratch []float32) {
	if !a.vector() {
		for i := ith; i < n*a.Heads; i += nth {
			a.one(i/a.Heads, i%a.Heads)
		}
		return
	}
	per := max(1, min(attendTokens, n*a.Groups/(4*nth)))
	blocks := (n + per - 1) / per
	var s state
	for i := ith; i < blocks*a.Groups; i += nth {
		t := i / a.Groups * per
		s.start(a, i%a.Groups, t, min(per, n-t), scratch)
		s.attend(0, s.cells)
		for r := range s.rows {
			simd.Scale(s.result(r), s.out[r*a.V:], 1/s.sum[r])
		}
	}
}

func (a *Attention) vector() bool {
	return simd != nil && a.K%vec.Lane == 0 && a.V%vec.Lane == 0
}

func (a *Attention) group(h int) int {
	if a.Tiled {
		return h % a.Groups
	}
	return h / (a.Heads / a.Groups)
}

// A state is the rows of some tokens and the heads of a group, and what is
// carried from one block of cells to the next. Row r is head r%per of token r/per.
type state struct {
	Attention
	g, first, tokens, per, rows, cells int
	q, score, out, most, sum           []float32
	qscale                             []float32 // of a row in int16
	scales, weights                    []float32 // of q8_0: [blocks,AttendBlock], [attendRows,V/32,valueCells]
}

// start loads the queries of n tokens from t on and the heads of group g.
func (s *state) start(a *Attention, g, t, n int, scratch []float32) {
	take := func(n int) []float32 {
		s := scratch[:n:n]
		scratch = scratch[n:]
		return s
	}
	per := a.Heads / a.Groups
	rows := n * per
	*s = state{Attention: *a, g: g, first: t, tokens: n, per: per, rows: rows,
		q: take(rows * a.K), score: take(rows * scoreStride), out: take(rows * a.V), most: take(rows), sum: take(rows), qscale: take(rows),
		scales: take(max(a.K, a.V) / blockQ80 * scoreStride), weights: take(attendRows * a.V / blockQ80 * valueCells)}
	for r := range rows {
		q := s.q[r*a.K:][:a.K]
		simd.Scale(q, a.Q[(t+r/per)*a.QToken+s.head(r%per)*a.QHead:], a.Scale)
		if a.Keys.Format == Q80 { // in place: row r's int16 end before row r's floats do
			s.qscale[r] = simd.QuantizeI16(s.q[r*a.K/2:], q)
		}
		s.cells = max(s.cells, int(a.Pos[t+r/per])+1)
	}
	s.restart()
}

func (s *state) restart() {
	for r := range s.rows {
		s.most[r] = float32(math.Inf(-1))
	}
	clear(s.out)
	clear(s.sum)
}

// head is the number of head h of the group.
func (s *state) head(h int) int {
	if s.Tiled {
		return h*s.Groups + s.g
	}
	return s.g*s.per + h
}

// result is row r's place in Out.
func (s *state) result(r int) []float32 {
	return s.Out[((s.first+r/s.per)*s.Heads+s.head(r%s.per))*s.V:][:s.V]
}

// attend adds cells from lo to hi, those that a token sees, to the state.
func (s *state) attend(lo, hi int) {
	for c := lo; c < hi; c += AttendBlock {
		m := min(AttendBlock, hi-c)
		seen := func(t int) int { return min(m, int(s.Pos[s.first+t])+1-c) }
		for t := 0; t < s.tokens; t++ {
			if seen(t) <= 0 {
				continue
			}
			end, least, most := t, m, 0
			for ; end < s.tokens && seen(end) > 0; end++ {
				least, most = min(least, seen(end)), max(most, seen(end))
			}
			s.scores(t*s.per, end*s.per, c, most)
			for r := t * s.per; r < end*s.per; r++ {
				s.softmax(r, seen(r/s.per))
			}
			if s.Values.Format == Q80 {
				s.decode(&s.Values, c, most)
			}
			// What all of them see, then what each sees besides.
			s.weigh(t*s.per, end*s.per, c, 0, least)
			for ; t < end; t++ {
				s.weigh(t*s.per, t*s.per+s.per, c, least, seen(t))
			}
		}
	}
}

// decode gives the scales of n cells of a cache from c on as floats.
func (s *state) decode(of *Cache, c, n int) {
	_, scales := of.group(s.g)
	for b := range of.Dim / blockQ80 {
		simd.WidenF16(s.scales[b*scoreStride:][:n], scales[2*(b*of.Cells+c):])
	}
}

// scores multiplies rows lo to hi with n cells from c on.
func (s *state) scores(lo, hi, c, n int) {
	f, row := s.Keys.Format, s.K
	bytes, _ := s.Keys.group(s.g)
	if f == Q80 {
		s.decode(&s.Keys, c, n)
		row /= 2
	}
	for i := 0; i < n; i += keyCells {
		k := vec.Keys{Format: f, K: s.K, Bytes: bytes[f.Bytes((c+i)*s.K):]}
		if f == Q80 {
			k.Scales, k.Stride = s.scales[i:], scoreStride
		}
		far := ahead
		for r := lo; r < hi; r += attendRows {
			simd.Scores(s.score[r*scoreStride+i:], scoreStride, s.q[r*row:], k, min(attendRows, hi-r), min(keyCells, n-i), far)
			far = 0
		}
	}
	if f == Q80 {
		for r := lo; r < hi; r++ {
			x := s.score[r*scoreStride:][:n]
			simd.Scale(x, x, s.qscale[r])
		}
	}
}

// softmax replaces row r's n scores by their weights.
func (s *state) softmax(r, n int) {
	x := s.score[r*scoreStride:][:n]
	s.raise(r, simd.MaxOf(x))
	s.sum[r] += simd.ExpSum(x, x, s.base(r))
}

// raise makes most, if it is more, the maximum of row r's scores.
func (s *state) raise(r int, most float32) {
	if most > s.most[r] {
		f := Exp(s.most[r] - most)
		s.sum[r] *= f
		simd.Scale(s.out[r*s.V:][:s.V], s.out[r*s.V:], f)
		s.most[r] = most
	}
}

// base is what is subtracted from row r's scores: where all so far are -Inf, none of them counts.
func (s *state) base(r int) float32 {
	if math.IsInf(float64(s.most[r]), -1) {
		return 0
	}
	return s.most[r]
}

// weigh adds cells from to to of the block at c, times their weights, to rows lo to hi.
func (s *state) weigh(lo, hi, c, from, to int) {
	f, blocks := s.Values.Format, s.V/blockQ80
	bytes, _ := s.Values.group(s.g)
	for i := from; i < to; i += valueCells {
		m, far := min(valueCells, to-i), ahead
		for r := lo; r < hi; r += attendRows {
			p, ldp, ldb, rows := s.score[r*scoreStride+i:], scoreStride, 0, min(attendRows, hi-r)
			if f == Q80 {
				simd.ScaleWeights(s.weights, valueCells, p, scoreStride, s.scales[i:], scoreStride, rows, blocks, m)
				p, ldp, ldb = s.weights, blocks*valueCells, valueCells
			}
			simd.Weigh(s.out[r*s.V:], s.V, p, ldp, ldb, f, bytes[f.Bytes((c+i)*s.V):], s.V, rows, m, far)
			far = 0
		}
	}
}

// one is a token's head in plain Go.
func (a *Attention) one(t, h int) {
	g, cells := a.group(h), int(a.Pos[t])+1
	out, q := a.Out[(t*a.Heads+h)*a.V:][:a.V], a.Q[t*a.QToken+h*a.QHead:][:a.K]
	clear(out)
	var score [AttendBlock]float32
	m, sum := float32(math.Inf(-1)), float32(0)
	for c := 0; c < cells; c += AttendBlock {
		s := score[:min(AttendBlock, cells-c)]
		top := m
		for i := range s {
			s[i] = float32(a.Keys.dot(g, c+i, q) * a.Scale)
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
			a.Values.axpy(out, p, g, c+i)
		}
	}
	for i := range out {
		out[i] /= sum
	}
}

// One token is cut into ranges of cells instead: at most mostRanges, of
// leastRange cells at least, by its depth alone.
const (
	mostRanges = 32
	leastRange = 3 * AttendBlock
)

// ranges is the number of ranges of so many cells, and the size of all but the last.
func ranges(cells int) (n, size int) {
	size = max(leastRange, ((cells+mostRanges-1)/mostRanges+AttendBlock-1)/AttendBlock*AttendBlock)
	return (cells + size - 1) / size, size
}

// AttendShared is the number of floats that threads share for one token of heads heads.
func AttendShared(heads, v int) int { return mostRanges * heads * (v + 2) }

// A part is what a range gives for the heads of a group.
type part struct{ out, most, sum []float32 }

// part is range r of group g.
func (a *Attention) part(shared []float32, r, g int) part {
	per := a.Heads / a.Groups
	i := (r*a.Groups + g) * per
	stats := shared[mostRanges*a.Heads*a.V+2*i:]
	return part{shared[i*a.V:][:per*a.V], stats[:per], stats[per : 2*per]}
}

// Part computes thread ith's share, of nth, of the ranges of one token. After a
// barrier Merge makes the result of what all threads left in shared.
func (a *Attention) Part(ith, nth int, scratch, shared []float32) {
	if !a.vector() {
		return
	}
	cells := int(a.Pos[0]) + 1
	n, size := ranges(cells)
	var s state
	for g := range a.Groups {
		ready := false
		for r := range n {
			if (r*a.Groups+g)%nth != ith {
				continue
			}
			if !ready {
				s.start(a, g, 0, 1, scratch)
				ready = true
			}
			p := a.part(shared, r, g)
			s.out, s.most, s.sum = p.out, p.most, p.sum
			s.restart()
			s.attend(r*size, min(r*size+size, cells))
		}
	}
}

// Merge computes thread ith's share, of nth, of the heads of one token.
func (a *Attention) Merge(ith, nth int, shared []float32) {
	if !a.vector() {
		for h := ith; h < a.Heads; h += nth {
			a.one(0, h)
		}
		return
	}
	n, _ := ranges(int(a.Pos[0]) + 1)
	for h := ith; h < a.Heads; h += nth {
		g, i := h/(a.Heads/a.Groups), h%(a.Heads/a.Groups)
		if a.Tiled {
			g, i = h%a.Groups, h/a.Groups
		}
		most := float32(math.Inf(-1))
		for r := range n {
			most = max(most, a.part(shared, r, g).most[i])
		}
		if math.IsInf(float64(most), -1) {
			most = 0
		}
		out, sum := a.Out[h*a.V:][:a.V], float32(0)
		clear(out)
		for r := range n {
			p := a.part(shared, r, g)
			f := Exp(p.most[i] - most)
			sum += float32(f * p.sum[i])
			simd.MulAdd(out, out, p.out[i*a.V:][:a.V], f)
		}
		simd.Scale(out, out, 1/sum)
	}
}
