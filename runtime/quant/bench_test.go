package quant

import (
	"math/rand/v2"
	"testing"
)

func randomRow(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

const benchK = 2048

func BenchmarkDotA8(b *testing.B) {
	act := make([]byte, A8RowBytes(benchK))
	QuantizeA8(act, randomRow(1, benchK))
	a := ViewA8(act, benchK)
	for i := range Kinds {
		k := &Kinds[i]
		if k.DotA8 == nil {
			continue
		}
		w := make([]byte, k.RowBytes(benchK))
		k.Quantize(w, randomRow(2, benchK))
		b.Run(k.Name, func(b *testing.B) {
			b.SetBytes(int64(len(w)))
			b.ReportAllocs()
			for b.Loop() {
				k.DotA8(w, a)
			}
			b.ReportMetric(benchK*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
		})
	}
}

func BenchmarkDotF32(b *testing.B) {
	x := randomRow(1, benchK)
	for i := range Kinds {
		k := &Kinds[i]
		w := make([]byte, k.RowBytes(benchK))
		k.Quantize(w, randomRow(2, benchK))
		b.Run(k.Name, func(b *testing.B) {
			b.SetBytes(int64(len(w)))
			b.ReportAllocs()
			for b.Loop() {
				k.DotF32(w, x)
			}
			b.ReportMetric(benchK*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
		})
	}
	b.Run("slice", func(b *testing.B) {
		y := randomRow(2, benchK)
		for b.Loop() {
			Dot(y, x)
		}
		b.ReportMetric(benchK*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
	})
}

func BenchmarkDequantize(b *testing.B) {
	x := randomRow(1, benchK)
	for i := range Kinds {
		k := &Kinds[i]
		w := make([]byte, k.RowBytes(benchK))
		k.Quantize(w, x)
		b.Run(k.Name, func(b *testing.B) {
			b.SetBytes(int64(len(w)))
			for b.Loop() {
				k.Dequantize(x, w)
			}
		})
	}
}

func BenchmarkQuantizeA8(b *testing.B) {
	x := randomRow(1, benchK)
	row := make([]byte, A8RowBytes(benchK))
	b.SetBytes(4 * benchK)
	b.ReportAllocs()
	for b.Loop() {
		QuantizeA8(row, x)
	}
}

func BenchmarkAxpy(b *testing.B) {
	const n = 256 // a head
	out := make([]float32, n)
	for _, c := range []struct {
		name string
		kind string
		f    func([]float32, float32, []byte)
	}{{"f16", "f16", AxpyF16}, {"q8_0", "q8_0", AxpyQ80}} {
		k, _ := ByName(c.kind)
		v := make([]byte, k.RowBytes(n))
		k.Quantize(v, randomRow(3, n))
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.f(out, 0.5, v)
			}
		})
	}
}
