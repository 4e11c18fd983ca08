package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/runtime/quant"
)

var nan, inf = float32(math.NaN()), float32(math.Inf(1))

func normal(r *rand.Rand, n int, by float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * by)
	}
	return x
}

// near compares got with float64 numbers, in units of the largest of them.
func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	most := 0.0
	for _, w := range want {
		most = max(most, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tol*most) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}

func TestScalars(t *testing.T) {
	for _, c := range []struct {
		name    string
		f       func(float32) float32
		x, want float32
	}{
		{"Exp", Exp, 0, 1}, {"Exp", Exp, -inf, 0}, {"Exp", Exp, 200, inf},
		{"Sigmoid", Sigmoid, 0, 0.5}, {"Sigmoid", Sigmoid, 1000, 1}, {"Sigmoid", Sigmoid, -1000, 0}, {"Sigmoid", Sigmoid, -inf, 0},
		{"Silu", Silu, 0, 0}, {"Silu", Silu, 1000, 1000}, {"Silu", Silu, -1000, 0}, {"Silu", Silu, 1, 0.7310586},
		{"Softplus", Softplus, 0, math.Ln2}, {"Softplus", Softplus, 20.5, 20.5}, {"Softplus", Softplus, -inf, 0}, {"Softplus", Softplus, 1, 1.3132616},
		{"Softplus", Softplus, -50, 1.9287499e-22},
	} {
		if got := c.f(c.x); got != c.want {
			t.Errorf("%s(%v) = %v, want %v", c.name, c.x, got, c.want)
		}
		if got := c.f(nan); got == got {
			t.Errorf("%s(NaN) = %v", c.name, got)
		}
	}
}

func TestNorms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 7, 64, 255} {
		for _, by := range []float64{1, 1e-30, 1e18} {
			x, w, z := normal(r, n, by), normal(r, n, 1), normal(r, n, 1)
			ss := 0.0
			for _, v := range x {
				ss += float64(v) * float64(v)
			}
			rms, l2 := 1/math.Sqrt(ss/float64(n)+1e-6), 1/math.Sqrt(ss+1e-6)
			var plain, weighted, gated, unit []float64
			for i, v := range x {
				y := float64(v) * rms
				plain, weighted = append(plain, y), append(weighted, y*float64(w[i]))
				gated = append(gated, y*float64(w[i])*float64(z[i])/(1+math.Exp(-float64(z[i]))))
				unit = append(unit, float64(v)*l2)
			}
			y := make([]float32, n)
			Norm(y, x, w, 1e-6)
			near(t, "Norm", y, weighted, 1e-6)
			GatedNorm(y, x, w, z, 1e-6)
			near(t, "GatedNorm", y, gated, 1e-6)
			copy(y, x)
			RMSNormalize(y, 1e-6)
			near(t, "RMSNormalize", y, plain, 1e-6)
			copy(y, x)
			L2Normalize(y, 1e-6)
			near(t, "L2Normalize", y, unit, 1e-6)
			copy(y, x)
			Norm(y, y, w, 1e-6) // dst may be x
			near(t, "Norm in place", y, weighted, 1e-6)
		}
	}
	x := []float32{1, nan, 3}
	RMSNormalize(x, 1e-6)
	for _, v := range x {
		if v == v {
			t.Errorf("a NaN gives %v", x)
		}
	}
}

// TestRope: pairs (i, i+n/2) turn by pos * base^(-2i/n), what lies behind stays.
func TestRope(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for _, c := range []struct {
		dims, pos int
		base      float64
	}{{2, 5, 1e4}, {6, 0, 1e4}, {16, 262143, 5e6}} {
		x := normal(r, c.dims+3, 1)
		var want []float64
		for _, v := range x {
			want = append(want, float64(v))
		}
		for i := range c.dims / 2 {
			a := complex(want[i], want[i+c.dims/2])
			sin, cos := math.Sincos(float64(c.pos) * math.Pow(c.base, -2*float64(i)/float64(c.dims)))
			a *= complex(cos, sin)
			want[i], want[i+c.dims/2] = real(a), imag(a)
		}
		cos, sin := make([]float32, c.dims/2), make([]float32, c.dims/2)
		Angles(cos, sin, int32(c.pos), c.base)
		Rope(x, cos, sin)
		near(t, "Rope", x, want, 1e-6)
	}
}

func TestTopK(t *testing.T) {
	for _, c := range []struct {
		name string
		x    []float32
		k    int
		ids  []int32
	}{
		{"largest first", []float32{1, 4, 2, 3}, 3, []int32{1, 3, 2}},
		{"ties to the lower index", []float32{0, 7, 7, 0, 7}, 4, []int32{1, 2, 4, 0}},
		{"all equal", []float32{5, 5, 5}, 3, []int32{0, 1, 2}},
		{"one of one", []float32{-3}, 1, []int32{0}},
		{"underflow: zeros are chosen too, in order", []float32{-1e4, -1e4, 0, -1e4}, 3, []int32{2, 0, 1}},
		{"minus infinity is a zero", []float32{-inf, 1, -inf}, 2, []int32{1, 0}},
	} {
		x, w, ids := slices.Clone(c.x), make([]float32, c.k), make([]int32, c.k)
		TopK(w, ids, x, true, 0, 2)
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%s: %v, want %v", c.name, ids, c.ids)
		}
		total, sum := 0.0, float32(0)
		for _, id := range ids {
			total += math.Exp(float64(c.x[id] - slices.Max(c.x)))
		}
		for j, id := range ids {
			sum += w[j]
			if want := 2 * math.Exp(float64(c.x[id]-slices.Max(c.x))) / total; math.Abs(float64(w[j])-want) > 1e-6 {
				t.Errorf("%s: weight %d is %v, want %v", c.name, j, w[j], want)
			}
		}
		if math.Abs(float64(sum)-2) > 1e-6 {
			t.Errorf("%s: the weights sum to %v, want 2", c.name, sum)
		}
	}
	w, ids := make([]float32, 2), make([]int32, 2)
	TopK(w, ids, []float32{0, 0, 0, 0}, false, 9, 1)
	if w[0] != 0.25 || w[1] != 0.25 {
		t.Errorf("without norm: %v, want the probabilities", w)
	}
	TopK(w, ids, []float32{0, 0, 0, 0}, true, 2, 1)
	if w[0] != 0.125 {
		t.Errorf("the sum is not clamped: %v", w)
	}
	TopK(w, ids, []float32{1, nan, 0, 2}, true, 0, 1)
	for j := range w {
		if w[j] == w[j] || ids[j] < 0 || ids[j] > 3 {
			t.Errorf("with a NaN: ids %v weights %v: want valid ids and NaN", ids, w)
		}
	}
}

// TestConv: any cut of the tokens gives the same bits and leaves the same state.
func TestConv(t *testing.T) {
	const n, channels, stride = 9, 5, 7
	r := rand.New(rand.NewPCG(3, 1))
	for c := 1; c <= 6; c++ {
		x, w, start := normal(r, n*stride, 1), normal(r, channels*c, 1), normal(r, c*stride, 1)
		run := func(cuts ...int) (y, state []float32) {
			y, state = make([]float32, n*channels), slices.Clone(start)
			at := 0
			for _, m := range cuts {
				Conv(y[at*channels:], channels, state, stride, x[at*stride:], stride, w, c, m, channels, channels, -1, make([]float32, ConvScratch(channels, c)))
				at += m
			}
			return y, state
		}
		y, state := run(n)
		var want []float64
		in := func(t, d int) float64 { // row t of the state's rows followed by x
			if t < c-1 {
				return float64(start[t*stride+d])
			}
			return float64(x[(t-c+1)*stride+d])
		}
		for t := range n {
			for d := range channels {
				s := 0.0
				for j := range c {
					s += in(t+j, d) * float64(w[d*c+j])
				}
				want = append(want, s/(1+math.Exp(-s)))
			}
		}
		near(t, "Conv", y, want, 1e-6)
		for j := range c - 1 {
			for d := range channels {
				if float64(state[j*stride+d]) != in(n+j, d) {
					t.Fatalf("%d taps: state row %d channel %d is %v, want %v", c, j, d, state[j*stride+d], in(n+j, d))
				}
			}
		}
		for _, cuts := range [][]int{{1, 8}, {8, 1}, {2, 3, 4}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 4}} {
			y2, state2 := run(cuts...)
			if !slices.Equal(y, y2) || !slices.Equal(state, state2) {
				t.Errorf("%d taps: cuts %v give other numbers than one run", c, cuts)
			}
		}
	}
}

// head makes a delta head over n tokens; its keys have about length 1.
func head(r *rand.Rand, n, k, v int, decay func() float64) *DeltaHead {
	h := &DeltaHead{K: k, V: v, QStride: k + 1, VStride: v + 2, OStride: v, GStride: 2, Scale: 0.25,
		State: normal(r, k*v, 1), Q: normal(r, n*(k+1), 1), Key: normal(r, n*(k+1), 1/math.Sqrt(float64(k))),
		Val: normal(r, n*(v+2), 1), Out: make([]float32, n*v), G: normal(r, 2*n, 1), Beta: normal(r, 2*n, 1)}
	for i := range n {
		h.G[2*i], h.Beta[2*i] = float32(decay()), r.Float32()
	}
	return h
}

// deltaRule is the rule token by token in float64.
func (h *DeltaHead) deltaRule(n int) (out, state []float64) {
	for _, s := range h.State {
		state = append(state, float64(s))
	}
	for t := range n {
		k, q, v := h.Key[t*h.QStride:], h.Q[t*h.QStride:], h.Val[t*h.VStride:]
		for j := range h.V {
			s := state[j*h.K:][:h.K]
			p := 0.0
			for i := range s {
				s[i] *= math.Exp(float64(h.G[t*h.GStride]))
				p += s[i] * float64(k[i])
			}
			e, o := float64(h.Beta[t*h.GStride])*(float64(v[j])-p), 0.0
			for i := range s {
				s[i] += e * float64(k[i])
				o += s[i] * float64(q[i])
			}
			out = append(out, o*float64(h.Scale))
		}
	}
	return out, state
}

// TestDelta: the chunked and the stepwise form are the rule token by token.
func TestDelta(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for _, c := range []struct {
		name  string
		decay func() float64
	}{
		{"slow", func() float64 { return -0.01 * r.Float64() }},
		{"fast", func() float64 { return -20 * r.Float64() }},
		{"none", func() float64 { return 0 }},
		{"some tokens forget all", func() float64 {
			if r.IntN(9) == 0 {
				return -1e15
			}
			return -0.5 * r.Float64()
		}},
	} {
		for _, n := range []int{1, 2, 63, 64, 65, 130} {
			h := head(r, n, 16, 12, c.decay)
			out, state := h.deltaRule(n)
			start := slices.Clone(h.State)
			scratch := make([]float32, ChunkScratch(64, h.K, h.V))
			for i := range scratch {
				scratch[i] = nan
			}
			h.Chunks(n, 64, scratch)
			near(t, c.name+": Chunks", h.Out, out, 1e-5)
			near(t, c.name+": state of Chunks", h.State, state, 1e-5)
			h.State = start
			h.Step(n)
			near(t, c.name+": Step", h.Out, out, 1e-5)
			near(t, c.name+": state of Step", h.State, state, 1e-5)
		}
	}
}

// TestDeltaCuts: runs that end at whole chunks continue bit by bit.
func TestDeltaCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	h := head(r, 200, 8, 8, func() float64 { return -r.Float64() })
	start, scratch := slices.Clone(h.State), make([]float32, ChunkScratch(64, 8, 8))
	h.Chunks(200, 64, scratch)
	out, state := slices.Clone(h.Out), slices.Clone(h.State)
	for _, cuts := range [][]int{{64, 136}, {128, 72}, {64, 64, 64, 8}} {
		copy(h.State, start)
		at := 0
		for _, n := range cuts {
			part := *h
			part.Q, part.Key, part.Val, part.Out = h.Q[at*h.QStride:], h.Key[at*h.QStride:], h.Val[at*h.VStride:], h.Out[at*h.OStride:]
			part.G, part.Beta = h.G[at*h.GStride:], h.Beta[at*h.GStride:]
			part.Chunks(n, 64, scratch)
			at += n
		}
		if !slices.Equal(h.Out, out) || !slices.Equal(h.State, state) {
			t.Errorf("cuts %v give other bits than one run", cuts)
		}
	}
}

// TestDeltaNaN: a NaN shows from its token on, not before, and in the state.
func TestDeltaNaN(t *testing.T) {
	for name, spoil := range map[string]func(h *DeltaHead){
		"decay": func(h *DeltaHead) { h.G[70*h.GStride] = nan },
		"key":   func(h *DeltaHead) { h.Key[70*h.QStride] = nan },
		"beta":  func(h *DeltaHead) { h.Beta[70*h.GStride] = nan },
	} {
		h := head(rand.New(rand.NewPCG(7, 1)), 130, 8, 6, func() float64 { return -0.1 })
		spoil(h)
		h.Chunks(130, 64, make([]float32, ChunkScratch(64, 8, 6)))
		for i, x := range h.Out {
			if bad := x != x; bad != (i >= 70*6) {
				t.Fatalf("NaN in %s of token 70: token %d has %v", name, i/6, x)
			}
		}
		if h.State[0] == h.State[0] {
			t.Errorf("NaN in %s of token 70: the state is %v", name, h.State[0])
		}
	}
}

func TestViews(t *testing.T) {
	b := make([]byte, 8)
	quant.QuantizeF32(b, []float32{1.5, -2})
	if got := Floats(b); !slices.Equal(got, []float32{1.5, -2}) {
		t.Errorf("Floats gives %v", got)
	}
	if got := Int32s([]byte{1, 0, 0, 0, 255, 255, 255, 255}); !slices.Equal(got, []int32{1, -1}) {
		t.Errorf("Int32s gives %v", got)
	}
	if Floats(nil) != nil || Int32s(nil) != nil {
		t.Error("views of nothing are not nil")
	}
}
