package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/runtime/cpu"
	"qnc/runtime/quant"
)

// targets runs f for every target that this machine can run.
func targets(t *testing.T, f func(t *testing.T)) {
	defer Use("portable")
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) == nil {
			Use(target.Name)
			t.Run(target.Name, f)
		}
	}
}

// TestTargets repeats the tests of this package with every target's kernels.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"Norms", TestNorms}, {"Rope", TestRope}, {"TopK", TestTopK}, {"Conv", TestConv},
		{"Delta", TestDelta}, {"DeltaCuts", TestDeltaCuts},
	} {
		targets(t, func(t *testing.T) { t.Run(c.name, c.f) })
	}
}

// TestDeltaVector: the shapes that the vector kernels take, against float64, and cuts at chunks bit by bit.
func TestDeltaVector(t *testing.T) {
	targets(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 1))
		for _, shape := range [][2]int{{16, 16}, {64, 32}, {128, 128}} {
			for _, n := range []int{1, 7, 16, 64, 130} {
				h := head(r, n, shape[0], shape[1], func() float64 {
					if r.IntN(20) == 0 {
						return -1e15
					}
					return -0.3 * r.Float64()
				})
				out, state := h.deltaRule(n)
				start, scratch := slices.Clone(h.State), make([]float32, ChunkScratch(64, h.K, h.V))
				for i := range scratch {
					scratch[i] = nan
				}
				h.Chunks(n, 64, scratch)
				near(t, "Chunks", h.Out, out, 1e-5)
				near(t, "state of Chunks", h.State, state, 1e-5)
				whole, wholeState := slices.Clone(h.Out), slices.Clone(h.State)
				copy(h.State, start)
				for at := 0; at < n; at += 64 {
					part := *h
					part.Q, part.Key, part.Val, part.Out = h.Q[at*h.QStride:], h.Key[at*h.QStride:], h.Val[at*h.VStride:], h.Out[at*h.OStride:]
					part.G, part.Beta = h.G[at*h.GStride:], h.Beta[at*h.GStride:]
					part.Chunks(min(64, n-at), 64, scratch)
				}
				if !slices.Equal(h.Out, whole) || !slices.Equal(h.State, wholeState) {
					t.Errorf("%v: cuts of %d tokens give other bits", shape, n)
				}
				copy(h.State, start)
				h.Step(n)
				near(t, "Step", h.Out, out, 1e-5)
				near(t, "state of Step", h.State, state, 1e-5)
			}
		}
	})
}

// TestConvHeads: heads in blocks, of several sizes, are convolved and normalised as one by one.
func TestConvHeads(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	for _, c := range []struct{ taps, dim, heads int }{{4, 16, 3}, {4, 128, 19}, {4, 400, 6}, {3, 12, 200}, {4, 8, 6}, {4, 2048, 2}} {
		const n = 5
		channels := c.dim * c.heads
		x, w, start := normal(r, n*channels, 1), normal(r, channels*c.taps, 1), normal(r, (c.taps-1)*channels, 1)
		for _, eps := range []float64{-1, 0, 1e-6} {
			targets(t, func(t *testing.T) {
				scratch := make([]float32, ConvScratch(c.dim, c.taps))
				y, state := make([]float32, n*channels), slices.Clone(start)
				ConvHeads(y, channels, state, channels, x, channels, w, c.taps, n, c.dim, c.heads, eps, scratch)
				want, wantState := make([]float32, n*channels), slices.Clone(start)
				for i := 0; i < channels; i += c.dim {
					Conv(want[i:], channels, wantState[i:], channels, x[i:], channels, w[i*c.taps:], c.taps, n, c.dim, c.dim, -1, scratch)
					for t := range n {
						if eps >= 0 {
							L2Normalize(want[t*channels+i:][:c.dim], eps)
						}
					}
				}
				if !slices.Equal(y, want) || !slices.Equal(state, wantState) {
					t.Errorf("%v, eps %v: other bits than head by head", c, eps)
				}
			})
		}
	}
}

func TestMatMul(t *testing.T) {
	targets(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 1))
		for _, k := range []int{30, 64, 2048} {
			const rows, n = 19, 67
			w, x := normal(r, rows*k, 1), normal(r, n*k, 1)
			half := make([]byte, 2*len(w))
			quant.QuantizeF16(half, w)
			quant.DequantizeF16(w, half)
			full := make([]byte, 4*len(w))
			quant.QuantizeF32(full, w)
			var want []float64
			for t := range n {
				for i := range rows {
					s := 0.0
					for j := range k {
						s += float64(w[i*k+j]) * float64(x[t*k+j])
					}
					want = append(want, s)
				}
			}
			got, parts, scratch := make([]float32, n*rows), make([]float32, n*rows), make([]float32, MatMulScratch(k))
			MatMul(got, rows, x, k, full, 4*k, nil, 0, rows, n, k, scratch)
			near(t, "MatMul", got, want, 2e-6)
			for i := range n {
				MatMul(parts[i*rows:], rows, x[i*k:], k, half, 2*k, DequantizeF16, 0, 11, 1, k, scratch)
				MatMul(parts[i*rows:], rows, x[i*k:], k, half, 2*k, DequantizeF16, 11, rows, 1, k, scratch)
			}
			if !slices.Equal(got, parts) {
				t.Errorf("%d: one token and some rows at a time give other bits", k)
			}
		}
	})
}

// TestConvVector: the shapes that vector kernels take; any cut gives the same bits.
func TestConvVector(t *testing.T) {
	const n, channels = 9, 48
	r := rand.New(rand.NewPCG(10, 1))
	x, w, start := normal(r, n*channels, 1), normal(r, channels*4, 1), normal(r, 3*channels, 1)
	run := func(cuts ...int) (y, state []float32) {
		y, state = make([]float32, n*channels), slices.Clone(start)
		at := 0
		for _, m := range cuts {
			Conv(y[at*channels:], channels, state, channels, x[at*channels:], channels, w, 4, m, channels, channels, -1, make([]float32, ConvScratch(channels, 4)))
			at += m
		}
		return y, state
	}
	Use("portable")
	y, state := run(n)
	var want []float64
	for _, a := range y {
		want = append(want, float64(a))
	}
	targets(t, func(t *testing.T) {
		got, s := run(n)
		near(t, "Conv", got, want, 1e-6)
		if !slices.Equal(s, state) {
			t.Error("the state differs")
		}
		for _, cuts := range [][]int{{1, 8}, {2, 3, 4}, {5, 4}} {
			if y, s := run(cuts...); !slices.Equal(y, got) || !slices.Equal(s, state) {
				t.Errorf("cuts %v give other numbers than one run", cuts)
			}
		}
	})
}

// TestRows compares the elementwise rows with the scalar functions.
func TestRows(t *testing.T) {
	targets(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 1))
		x, y := normal(r, 100, 4), normal(r, 100, 1)
		dst := make([]float32, 100)
		for _, c := range []struct {
			name string
			run  func()
			want func(x, y float32) float32
		}{
			{"ExpRow", func() { ExpRow(dst, x) }, func(x, _ float32) float32 { return Exp(x) }},
			{"SigmoidRow", func() { SigmoidRow(dst, x) }, func(x, _ float32) float32 { return Sigmoid(x) }},
			{"SiluRow", func() { SiluRow(dst, x) }, func(x, _ float32) float32 { return Silu(x) }},
			{"SoftplusRow", func() { SoftplusRow(dst, x) }, func(x, _ float32) float32 { return Softplus(x) }},
			{"Mul", func() { Mul(dst, x, y) }, func(x, y float32) float32 { return x * y }},
			{"Scale", func() { Scale(dst, x, 0.3) }, func(x, _ float32) float32 { return x * 0.3 }},
			{"SiluMul", func() { SiluMul(dst, x, y) }, func(x, y float32) float32 { return Silu(x) * y }},
		} {
			c.run()
			for i, got := range dst {
				if want := c.want(x[i], y[i]); math.Abs(float64(got-want)) > 4e-7*math.Abs(float64(want)) {
					t.Errorf("%s(%v, %v) = %v, want %v", c.name, x[i], y[i], got, want)
				}
			}
		}
	})
}

// TestNoAllocations: a step leaves the collector nothing to do.
func TestNoAllocations(t *testing.T) {
	targets(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(12, 1))
		scratch := make([]float32, 1<<18)
		h := head(r, 70, 16, 16, func() float64 { return -0.1 })
		a, shared, ids := newAttention(r, F16, Q80, 900, 2, 1, 2, 32, 32), make([]float32, AttendShared(2, 32)), make([]int32, 10)
		x, y, w := normal(r, 4096, 1), make([]float32, 4096), normal(r, 4096, 1)
		bytes := make([]byte, 4*4096)
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"Chunks", func() { d := *h; d.Chunks(70, 64, scratch) }},
			{"Step", func() { d := *h; d.Step(3) }},
			{"Attention", func() { b := *a; b.Run(2, 0, 1, scratch) }},
			{"Attention in ranges", func() { b := *a; b.Part(0, 1, scratch, shared); b.Merge(0, 1, shared) }},
			{"Store", func() { a.Values.Store(0, 3, x[:32]) }},
			{"MatMul", func() { MatMul(y, 32, x, 64, bytes, 128, DequantizeF16, 0, 32, 9, 64, scratch) }},
			{"Conv", func() { ConvHeads(y, 64, scratch[9000:], 64, x, 64, w, 4, 9, 32, 2, 1e-6, scratch) }},
			{"TopK", func() { TopK(y[:10], ids, x[:512], true, 0, 1) }},
		} {
			if n := testing.AllocsPerRun(5, c.run); n != 0 {
				t.Errorf("%s allocates %v times", c.name, n)
			}
		}
	})
}
