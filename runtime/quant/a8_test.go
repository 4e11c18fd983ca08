package quant

import (
	"math"
	"testing"
)

func TestQuantizeA8(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name string
		x    []float32 // the rest of the block is 0
		d    float32
		q    []int8
	}{
		{"zero", nil, 0, nil},
		{"one", []float32{1, -1, 0.5}, 1 / float32(127), []int8{127, -127, 64}},
		{"ties to even", []float32{127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5}, 1, []int8{127, 0, 2, 2, 0, -2, -2}},
		{"largest", []float32{math.MaxFloat32, -math.MaxFloat32}, math.MaxFloat32 / 127, []int8{127, -127}},
		{"smallest that counts", []float32{0x1p-119}, 0x1p-119 / float32(127), []int8{127}},
		{"too small", []float32{0x1.fffffep-120}, 0, nil},
		{"subnormal", []float32{math.SmallestNonzeroFloat32}, 0, nil},
		{"NaN", []float32{1, nan}, nan, nil},
		{"Inf", []float32{1, inf}, nan, nil},
		{"-Inf", []float32{-inf, 1}, nan, nil},
	} {
		x := make([]float32, 64)
		copy(x[32:], c.x) // the second block; the first one must not be touched by it
		row := make([]byte, A8RowBytes(64))
		for i := range row {
			row[i] = 0xa5
		}
		QuantizeA8(row, x)
		a := ViewA8(row, 64)
		if d := a.D[1]; d != c.d && (d == d || c.d == c.d) {
			t.Errorf("%s: d = %g, want %g", c.name, d, c.d)
		}
		var sum int32
		for i, q := range a.Q[32:] {
			want := int8(0)
			if i < len(c.q) {
				want = c.q[i]
			}
			if q != want {
				t.Errorf("%s: q[%d] = %d, want %d", c.name, i, q, want)
			}
			sum += int32(q)
		}
		if a.Sum[1] != sum {
			t.Errorf("%s: sum = %d, want %d", c.name, a.Sum[1], sum)
		}
		if a.D[0] != 0 || a.Sum[0] != 0 || a.Q[0] != 0 {
			t.Errorf("%s: the block before it is not zero", c.name)
		}
		if c.d != c.d {
			w := make([]byte, 2*bytesQ80)
			if got := DotA8Q80(w, a); got == got {
				t.Errorf("%s: the dot product is %g, want NaN", c.name, got)
			}
		}
	}
}

func TestViewA8(t *testing.T) {
	row := make([]byte, A8RowBytes(64)+1)
	for name, f := range map[string]func(){
		"short":     func() { ViewA8(row[:A8RowBytes(64)-1], 64) },
		"part":      func() { ViewA8(row, 33) },
		"unaligned": func() { ViewA8(row[1:], 64) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	if a := ViewA8(nil, 0); a.Q != nil {
		t.Error("an empty row has elements")
	}
}

func FuzzQuantizeA8(f *testing.F) {
	f.Add(seedBytes(1, 128))
	f.Add(make([]byte, 128))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := make([]float32, len(raw)/128*32)
		DequantizeF32(x, raw)
		row := make([]byte, A8RowBytes(len(x))+4)
		QuantizeA8(row, x)
		a := ViewA8(row, len(x))
		for b, d := range a.D {
			bad := absMaxBits(x[32*b:32*b+32]) >= infBits
			if bad != (d != d) {
				t.Fatalf("block %d: d = %g, not finite: %t", b, d, bad)
			}
			var sum int32
			for i := 32 * b; i < 32*b+32; i++ {
				sum += int32(a.Q[i])
				if a.Q[i] == -128 {
					t.Fatalf("q[%d] = -128", i)
				}
				if e := math.Abs(float64(x[i]) - float64(d)*float64(a.Q[i])); !bad && e > float64(d)*(0.5+1e-4)+tinyA8 {
					t.Fatalf("x[%d] = %g became %d, d = %g", i, x[i], a.Q[i], d)
				}
			}
			if sum != a.Sum[b] {
				t.Fatalf("sum[%d] = %d, want %d", b, a.Sum[b], sum)
			}
		}
	})
}
