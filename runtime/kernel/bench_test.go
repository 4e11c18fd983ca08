//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"qnc/runtime/cpu"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// The shapes of the 80B model: 32 delta heads of 128 over 16 keys, 16 attention
// heads of 256 over 2, 8192 channels of convolution, width 2048, 512 experts.
const (
	benchHeads, benchKeys, benchDim = 32, 16, 128
	benchQ, benchKV, benchHead      = 16, 2, 256
	benchChannels, benchWidth       = 8192, 2048
	benchExperts, benchVocab        = 512, 151936
)

// work is one benchmark: run does the share of thread ith of nth once, and
// macs and bytes are those of all shares.
type work struct {
	name        string
	macs, bytes int
	single      bool // of one thread
	run         func(ith, nth int, scratch []float32)
}

func share(n, ith, nth int) (lo, hi int) { return n * ith / nth, n * (ith + 1) / nth }

func (w *work) bench(b *testing.B, nth int) {
	scratch := make([][]float32, nth)
	for i := range scratch {
		scratch[i] = make([]float32, 1<<18)
	}
	b.ResetTimer()
	start := cpuSeconds()
	var wait sync.WaitGroup
	for ith := range nth {
		wait.Go(func() {
			for range b.N {
				w.run(ith, nth, scratch[ith])
			}
		})
	}
	wait.Wait()
	// Rates are of the time that the threads ran, which others on the machine do not lengthen much.
	s := (cpuSeconds() - start) / float64(nth*b.N)
	if w.macs > 0 {
		b.ReportMetric(float64(w.macs)/s/1e9, "GMAC/s")
	}
	if w.bytes > 0 {
		b.ReportMetric(float64(w.bytes)/s/1e9, "GB/s")
	}
}

// cpuSeconds is the processor time of this process.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkKernels runs every kernel at real shapes, for each target, on one and two threads.
func BenchmarkKernels(b *testing.B) {
	defer Use("portable")
	for _, w := range works() {
		for _, target := range cpu.Targets {
			if cpu.Detect().Check(target) != nil {
				continue
			}
			for nth := 1; nth <= 2 && !(w.single && nth > 1); nth++ {
				b.Run(fmt.Sprintf("%s/%s/t%d", w.name, target.Name, nth), func(b *testing.B) {
					Use(target.Name)
					w.bench(b, nth)
				})
			}
		}
	}
}

func works() []work {
	r := rand.New(rand.NewPCG(1, 9))
	out := []work{deltaWork(r, 1), deltaWork(r, 512), convWork(r, 1), convWork(r, 512)}
	for _, n := range []int{1, 512} {
		out = append(out, matmulWork(r, n))
	}
	out = append(out, attendWork(r, "f16", 512, 0))
	for _, depth := range []int{8192, 65536} {
		for _, kind := range []string{"f16", "q8_0"} {
			out = append(out, attendWork(r, kind, 1, depth))
		}
	}
	return append(out, rowWorks(r)...)
}

func deltaWork(r *rand.Rand, n int) work {
	const kd, vd = benchKeys * benchDim, benchHeads * benchDim
	state, q, k, v, o := normal(r, benchHeads*benchDim*benchDim, 0.1), normal(r, n*kd, 0.1), normal(r, n*kd, 0.08), normal(r, n*vd, 1), make([]float32, n*vd)
	g, beta := make([]float32, n*benchHeads), make([]float32, n*benchHeads)
	for i := range g {
		g[i], beta[i] = -r.Float32()*0.2, r.Float32()
	}
	// A step decays, multiplies with k, adds and multiplies with q; a chunk has eight products.
	w := work{name: "delta step", macs: benchHeads * benchDim * benchDim * 3, bytes: 8 * len(state)}
	if n > 1 {
		perChunk := 64*64*benchDim + 3*64*benchDim*benchDim + 64*64*benchDim
		w = work{name: fmt.Sprint("delta chunks of ", n), macs: benchHeads * n / 64 * perChunk}
	}
	w.run = func(ith, nth int, scratch []float32) {
		lo, hi := share(benchHeads, ith, nth)
		for h := lo; h < hi; h++ {
			j := h / 2 * benchDim
			head := DeltaHead{K: benchDim, V: benchDim, State: state[h*benchDim*benchDim:][:benchDim*benchDim], Q: q[j:], Key: k[j:], QStride: kd,
				Val: v[h*benchDim:], VStride: vd, Out: o[h*benchDim:], OStride: vd, G: g[h:], Beta: beta[h:], GStride: benchHeads, Scale: 0.088}
			if n == 1 {
				head.Step(1)
			} else {
				head.Chunks(n, 64, scratch)
			}
		}
	}
	return w
}

func convWork(r *rand.Rand, n int) work {
	x, y, w, state := normal(r, n*benchChannels, 1), make([]float32, n*benchChannels), normal(r, 4*benchChannels, 1), normal(r, 3*benchChannels, 1)
	return work{name: fmt.Sprint("conv of ", n), macs: 4 * len(x), bytes: 8 * len(x), run: func(ith, nth int, scratch []float32) {
		lo, hi := share(benchChannels/benchDim, ith, nth)
		for _, part := range []struct {
			first, last int
			eps         float64
		}{{0, 2 * benchKeys, 1e-6}, {2 * benchKeys, benchChannels / benchDim, -1}} {
			if i, end := max(lo, part.first), min(hi, part.last); i < end {
				c := i * benchDim
				ConvHeads(y[c:], benchChannels, state[c:], benchChannels, x[c:], benchChannels, w[4*c:], 4, n, benchDim, end-i, part.eps, scratch)
			}
		}
	}}
}

func matmulWork(r *rand.Rand, n int) work {
	x, out, w := normal(r, n*benchWidth, 1), make([]float32, n*benchExperts), make([]byte, 4*benchExperts*benchWidth)
	quant.QuantizeF32(w, normal(r, len(w)/4, 1))
	return work{name: fmt.Sprint("router of ", n), macs: n * benchExperts * benchWidth, bytes: len(w), run: func(ith, nth int, scratch []float32) {
		lo, hi := share(benchExperts, ith, nth)
		MatMul(out, benchExperts, x, benchWidth, w, 4*benchWidth, nil, lo, hi, n, benchWidth, scratch)
	}}
}

func attendWork(r *rand.Rand, kind string, n, depth int) work {
	f := formats[kind]
	a := newAttention(r, f, f, depth, n, benchKV, benchQ/benchKV, benchHead, benchHead)
	a.Scale = 0.0625
	macs := 0
	for _, p := range a.Pos {
		macs += 2 * (int(p) + 1) * benchQ * benchHead
	}
	w := work{name: fmt.Sprintf("attention %s of %d at %d", kind, n, depth), macs: macs, run: func(ith, nth int, scratch []float32) { a.Run(n, ith, nth, scratch) }}
	if n == 1 {
		w.bytes = len(a.Keys.Bytes) + len(a.Values.Bytes)
		shared := make([]float32, AttendShared(benchQ, benchHead))
		// Threads do not wait for each other: what Merge reads may be of the run before.
		w.run = func(ith, nth int, scratch []float32) {
			a.Part(ith, nth, scratch, shared)
			a.Merge(ith, nth, shared)
		}
	}
	return w
}

func rowWorks(r *rand.Rand) []work {
	x, y, z, w := normal(r, benchWidth, 1), make([]float32, benchWidth), normal(r, benchWidth, 1), normal(r, benchWidth, 1)
	a8, p, logits := make([]byte, panel.RowBytes(benchWidth)), normal(r, benchExperts, 1), normal(r, benchVocab, 1)
	weights, ids, half := make([]float32, 10), make([]int32, 10), make([]byte, 2*benchWidth)
	one := func(name string, bytes int, f func()) work {
		return work{name: name, bytes: bytes, single: true, run: func(int, int, []float32) { f() }}
	}
	return []work{
		one("norm 2048", 8*benchWidth, func() { Norm(y, x, w, 1e-6) }),
		one("gated norm 2048", 12*benchWidth, func() { GatedNorm(y, x, w, z, 1e-6) }),
		one("quantize 2048", 4*benchWidth, func() { QuantizeRecords(a8, x) }),
		one("quantize f16 2048", 4*benchWidth, func() { QuantizeF16(half, x) }),
		one("silu mul 2048", 12*benchWidth, func() { SiluMul(y, x, z) }),
		one("sigmoid 2048", 8*benchWidth, func() { SigmoidRow(y, x) }),
		one("softplus 2048", 8*benchWidth, func() { SoftplusRow(y, x) }),
		one("top 10 of 512", 4*benchExperts, func() { copy(y, p); TopK(weights, ids, y[:benchExperts], true, 0, 1) }),
		one("arg-max 151936", 4*benchVocab, func() { ArgMax(logits) }),
		one("angles 64", 0, func() { Angles(y[:32], z[:32], 123456, 1e7) }),
	}
}
