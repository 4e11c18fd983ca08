package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func seedBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Any bytes decode, the dot products take them, and nothing is read behind them.
func FuzzDequantize(f *testing.F) {
	for i := range Kinds {
		f.Add(byte(i), seedBytes(uint64(i), 2*256*4))
		f.Add(byte(i), bytes.Repeat([]byte{0xff}, 256*4))
	}
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		k := &Kinds[int(kind)%len(Kinds)]
		n := len(raw) / k.BlockBytes * k.BlockElems
		raw = raw[:len(raw):len(raw)]
		x, ones := make([]float32, n), make([]float32, n)
		k.Dequantize(x, raw)
		for i := range ones {
			ones[i] = 1
		}
		got, want := k.DotF32(raw, ones), Dot(x, ones)
		if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
			t.Fatalf("%s: DotF32 %g, Dot %g", k.Name, got, want)
		}
		if k.DotA8 != nil {
			row := make([]byte, A8RowBytes(n)+4)
			QuantizeA8(row, ones)
			k.DotA8(raw, ViewA8(row, n))
		}
	})
}

// errorBound is how far a decoded value may be from x: half a level (a whole one where the range
// is asymmetric and the last level is cut off), what the rounding of the scales to f16 or to 6 and
// 8 bits adds, and half of f16's smallest step for each level. far is max |x| of the block.
func errorBound(k *Kind, far float64) float64 {
	const step = 0x1p-25
	switch k.Name {
	case "f32":
		return 0
	case "f16":
		return far*0x1p-11 + step
	case "bf16":
		return far*0x1p-8 + 0x1p-134
	case "q8_0":
		return far*(0.5/127+0x1p-11+1e-6) + 127*step
	case "q4_0":
		return far*(1.0/8+0x1p-11+1e-6) + 8*step
	case "q5_0":
		return far*(1.0/16+0x1p-11+1e-6) + 16*step
	case "q4_1": // levels over a range of up to 2·far; scale and minimum rounded
		return far*(1.0/15+3*0x1p-11+1e-6) + 16*step
	case "q5_1":
		return far*(1.0/31+3*0x1p-11+1e-6) + 32*step
	case "q4_K": // a scale and a minimum are off by 1/126 of the largest ones, 15 levels each
		return far*(1.0/15+3.0/126+0.01) + 63*16*step
	case "q5_K":
		return far*(1.0/31+3.0/126+0.01) + 63*32*step
	case "q6_K": // the last level cut off, and a scale off by half of 1/128 of the largest
		return far*(1.0/32+1.0/128+0.01) + 128*33*step
	}
	return math.NaN()
}

func FuzzQuantize(f *testing.F) {
	for i := range Kinds {
		normal := make([]byte, 4*512)
		QuantizeF32(normal, randomRow(uint64(i), 512))
		f.Add(byte(i), normal)
		f.Add(byte(i), make([]byte, 4*256))
		f.Add(byte(i), seedBytes(uint64(i), 4*256))
		one := make([]byte, 4*256)
		QuantizeF32(one, append([]float32{-3}, make([]float32, 255)...))
		f.Add(byte(i), one)
	}
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		k := &Kinds[int(kind)%len(Kinds)]
		n := len(raw) / 4 / k.BlockElems * k.BlockElems
		x, y := make([]float32, n), make([]float32, n)
		DequantizeF32(x, raw)
		w, again := make([]byte, k.RowBytes(n)), bytes.Repeat([]byte{0xa5}, k.RowBytes(n))
		k.Quantize(w, x)
		k.Quantize(again, x)
		if !bytes.Equal(w, again) {
			t.Fatalf("%s: two encodings of the same values differ", k.Name)
		}
		k.Dequantize(y, w)
		for i := 0; i < n; i += k.BlockElems {
			in := x[i : i+k.BlockElems]
			bits := absMaxBits(in)
			far := float64(math.Float32frombits(bits))
			// Scales beyond f16 become infinite: out of reach of the format.
			if bits >= infBits || far > 60000 && k.Name != "f32" && k.Name != "bf16" {
				continue
			}
			bound := errorBound(k, far)
			for j, v := range in {
				if e := math.Abs(float64(v) - float64(y[i+j])); !(e <= bound) && !(k.Name == "bf16" && math.IsInf(float64(y[i+j]), 0)) {
					t.Fatalf("%s: x[%d] = %g became %g: off by %g, bound %g (max |x| = %g)", k.Name, i+j, v, y[i+j], e, bound, far)
				}
			}
		}
	})
}
