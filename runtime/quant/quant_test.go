package quant

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
)

//go:embed testdata/golden.txt
var golden string

func TestGolden(t *testing.T) {
	seen := map[string]int{}
	for line := range strings.Lines(golden) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		encode := f[0] == "encode"
		if encode {
			f = f[1:]
		}
		k, ok := ByName(f[0])
		if !ok || len(f) != 3 {
			t.Fatalf("bad line %q", line)
		}
		in, err1 := hex.DecodeString(f[1])
		want, err2 := hex.DecodeString(f[2])
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		var got []byte
		if encode {
			x := make([]float32, len(in)/4)
			DequantizeF32(x, in)
			got = make([]byte, k.RowBytes(len(x)))
			k.Quantize(got, x)
		} else {
			x := make([]float32, len(in)/k.BlockBytes*k.BlockElems)
			k.Dequantize(x, in)
			got = make([]byte, 4*len(x))
			QuantizeF32(got, x)
			seen[k.Name]++
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s %s (encode %t):\n got %x\nwant %x", f[0], f[1], encode, got, want)
		}
	}
	for _, k := range Kinds {
		if k.Name != "f32" && seen[k.Name] < 2 {
			t.Errorf("%s: %d golden blocks, want 2", k.Name, seen[k.Name])
		}
	}
}

func TestTable(t *testing.T) {
	for i := range Kinds {
		k := &Kinds[i]
		if g, ok := ByName(k.Name); !ok || g != k {
			t.Errorf("ByName(%q) = %v", k.Name, g)
		}
		if g, ok := ByGGML(k.GGML); !ok || g != k {
			t.Errorf("ByGGML(%d) = %v", k.GGML, g)
		}
		if want := strings.ToUpper(strings.ReplaceAll(k.Name, "_", "")); k.Ident != want {
			t.Errorf("%s: Ident %s, want %s", k.Name, k.Ident, want)
		}
		if got := k.RowBytes(2048); got != 2048/k.BlockElems*k.BlockBytes {
			t.Errorf("%s: RowBytes(2048) = %d", k.Name, got)
		}
		if isFloat := k.BlockElems == 1; isFloat != (k.DotA8 == nil) {
			t.Errorf("%s: DotA8 is nil: %t", k.Name, k.DotA8 == nil)
		}
	}
	if _, ok := ByName("q4_k"); ok {
		t.Error("names are exact, but q4_k was found")
	}
	if _, ok := ByGGML(99); ok {
		t.Error("ByGGML(99) found something")
	}
}

func TestWrongSizes(t *testing.T) {
	for i := range Kinds {
		k := &Kinds[i]
		for name, f := range map[string]func(){
			"short bytes": func() { k.Dequantize(make([]float32, 256), make([]byte, k.RowBytes(256)-1)) },
			"short dst":   func() { k.Quantize(make([]byte, k.RowBytes(256)-1), make([]float32, 256)) },
			"part":        func() { k.Dequantize(make([]float32, 255+1/k.BlockElems*2), make([]byte, k.RowBytes(256))) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s %s: no panic", k.Name, name)
					}
				}()
				f()
			}()
		}
	}
}

// halfValue is the number that a half stands for, by the definition of the format.
func halfValue(h uint16) float64 {
	e, f := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1024+f, e-25)
	if e == 0 {
		v = math.Ldexp(f, -24)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func TestF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		switch {
		case h&0x7fff > 0x7c00:
			if bits := math.Float32bits(f); bits != uint32(h&0x8000)<<16|0x7fc00000|uint32(h&0x3ff)<<13 {
				t.Errorf("F16ToF32(%#04x) = %#x, want a quiet NaN with the payload", h, bits)
			}
			if g := F32ToF16(f); g != h|0x200 {
				t.Errorf("NaN %#04x came back as %#04x", h, g)
			}
			continue
		case h&0x7fff == 0x7c00:
			if !math.IsInf(float64(f), 1-2*int(h>>15)) {
				t.Errorf("F16ToF32(%#04x) = %g", h, f)
			}
		case float64(f) != halfValue(h) || math.Signbit(float64(f)) != (h>>15 == 1):
			t.Errorf("F16ToF32(%#04x) = %g, want %g", h, f, halfValue(h))
		}
		if g := F32ToF16(f); g != h {
			t.Errorf("%#04x came back as %#04x", h, g)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		// The halfway point to the next half goes to the even one, a hair more or less does not.
		mid := float32((halfValue(h) + halfValue(h+1)) / 2)
		out := float32(math.Inf(1 - 2*int(h>>15)))
		for f, want := range map[float32]uint16{
			mid:                        h + h&1,
			math.Nextafter32(mid, 0):   h,
			math.Nextafter32(mid, out): h + 1,
		} {
			if g := F32ToF16(f); g != want {
				t.Errorf("F32ToF16(%g) = %#04x, want %#04x", f, g, want)
			}
		}
	}
	for f, want := range map[float32]uint16{
		65519.996: 0x7bff, 65520: 0x7c00, -65520: 0xfc00, math.MaxFloat32: 0x7c00,
		0x1p-25: 0, 0x1.000002p-25: 1, -0x1p-26: 0x8000, math.SmallestNonzeroFloat32: 0,
	} {
		if g := F32ToF16(f); g != want {
			t.Errorf("F32ToF16(%g) = %#04x, want %#04x", f, g, want)
		}
	}
}

func TestBF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := BF16ToF32(h)
		if math.Float32bits(f) != uint32(h)<<16 {
			t.Fatalf("BF16ToF32(%#04x) = %x", h, math.Float32bits(f))
		}
		want := h
		if f != f {
			want |= 0x40
		}
		if g := F32ToBF16(f); g != want {
			t.Errorf("%#04x came back as %#04x", h, g)
		}
	}
	for bits, want := range map[uint32]uint16{
		0x3f808000: 0x3f80, 0x3f808001: 0x3f81, 0x3f818000: 0x3f82, 0x3f817fff: 0x3f81,
		0x7f7fffff: 0x7f80, 0x7f800001: 0x7fc0, 0x80000001: 0x8000,
	} {
		if g := F32ToBF16(math.Float32frombits(bits)); g != want {
			t.Errorf("F32ToBF16(%#x) = %#04x, want %#04x", bits, g, want)
		}
	}
}

func TestRound(t *testing.T) {
	for x, want := range map[float32]int32{0: 0, 0.5: 0, 1.5: 2, 2.5: 2, -0.5: 0, -1.5: -2, 126.5: 126, 127: 127, -127: -127, 0.49999997: 0} {
		if got := round(x); got != want {
			t.Errorf("round(%g) = %d, want %d", x, got, want)
		}
	}
}

// exactDot is Σ dequantised·activation without any rounding.
func exactDot(w, x []float32) float64 {
	acc := new(big.Float).SetPrec(500)
	for i := range w {
		p := new(big.Float).SetPrec(500).SetFloat64(float64(w[i]))
		acc.Add(acc, p.Mul(p, big.NewFloat(float64(x[i]))))
	}
	f, _ := acc.Float64()
	return f
}

func absDot(w, x []float32) (s float64) {
	for i := range w {
		s += math.Abs(float64(w[i]) * float64(x[i]))
	}
	return s
}

func TestDots(t *testing.T) {
	for i := range Kinds {
		k := &Kinds[i]
		for _, n := range []int{0, 256, 512, 2048} {
			x := randomRow(uint64(n)+3, n)
			w := make([]byte, k.RowBytes(n))
			k.Quantize(w, randomRow(uint64(n)+4, n))
			d := make([]float32, n)
			k.Dequantize(d, w)
			if got, want := float64(DotF32(k, w, x)), exactDot(d, x); math.Abs(got-want) > 1e-6*absDot(d, x) {
				t.Errorf("DotF32 %s %d: %g, want %g", k.Name, n, got, want)
			}
			if got, want := DotF32(k, w, x), Dot(d, x); math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("DotF32 %s %d: %g, Dot of the dequantised row: %g", k.Name, n, got, want)
			}
			if k.DotA8 == nil {
				continue
			}
			row := make([]byte, A8RowBytes(n))
			QuantizeA8(row, x)
			a := ViewA8(row, n)
			y := make([]float32, n)
			a.Dequantize(y)
			// What is left is float32 rounding of a few operations per block.
			if got, want := float64(DotA8(k, w, a)), exactDot(d, y); math.Abs(got-want) > 1e-6*absDot(d, y) {
				t.Errorf("DotA8 %s %d: %g, want %g", k.Name, n, got, want)
			}
		}
	}
}

// TestDotOrder computes the order of the package comment by its words, element by element.
func TestDotOrder(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 31, 65, 130, 200} {
		w, x := randomRow(1, n), randomRow(2, n)
		var l [8]float32
		for k := range n {
			l[k%8] += float32(w[k] * x[k])
		}
		want := ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
		if got := Dot(w, x); math.Float32bits(got) != math.Float32bits(want) {
			t.Errorf("Dot of %d: %g, want %g", n, got, want)
		}
		for _, name := range []string{"f32", "f16", "bf16"} {
			k, _ := ByName(name)
			row := make([]byte, k.RowBytes(n))
			k.Quantize(row, w)
			k.Dequantize(w, row)
			if got, want := k.DotF32(row, x), Dot(w, x); math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("DotF32 %s of %d: %g, want %g", name, n, got, want)
			}
		}
	}
	const n = 512
	row := make([]byte, A8RowBytes(n))
	QuantizeA8(row, randomRow(5, n))
	a := ViewA8(row, n)
	for i := range Kinds {
		k := &Kinds[i]
		if k.DotA8 == nil {
			continue
		}
		w := make([]byte, k.RowBytes(n))
		k.Quantize(w, randomRow(6, n))
		var acc float32
		for b := range n / 32 {
			acc += float32(a.D[b] * blockTerm(k, w, a, b))
		}
		if got := k.DotA8(w, a); math.Float32bits(got) != math.Float32bits(acc) {
			t.Errorf("DotA8 %s: %g, by the package comment %g", k.Name, got, acc)
		}
	}
}

// blockTerm is t of the package comment for block b of 32 weights. The integers come from the
// dequantised values with scale and minimum divided out again.
func blockTerm(k *Kind, w []byte, a A8, b int) float32 {
	at := w[b*32/k.BlockElems*k.BlockBytes:]
	sub := b % (k.BlockElems / 32)
	f16 := func(off int) float32 { return F16ToF32(le.Uint16(at[off:])) }
	var s, m float32
	switch k.Name {
	case "q8_0", "q4_0", "q5_0":
		s = f16(0)
	case "q4_1", "q5_1":
		s, m = f16(0), f16(2)
	case "q4_K", "q5_K":
		sc, mn := scales((*[12]byte)(at[4:]))
		s, m = f16(0)*float32(sc[sub]), f16(2)*float32(mn[sub])
	case "q6_K":
		s = f16(208)
	}
	x := make([]float32, k.BlockElems)
	k.Dequantize(x, at)
	x = x[32*sub : 32*sub+32]
	var i int64
	for j, v := range x {
		base := float64(m)
		if k.BlockElems == 256 {
			base = -base
		}
		q := 0.0
		if s != 0 {
			q = math.Round((float64(v) - base) / float64(s))
		}
		i += int64(q) * int64(a.Q[32*b+j])
	}
	t := float32(s * float32(i))
	switch k.Name {
	case "q4_1", "q5_1":
		t += float32(m * float32(a.Sum[b]))
	case "q4_K", "q5_K":
		t -= float32(m * float32(a.Sum[b]))
	}
	return t
}

func TestCacheRows(t *testing.T) {
	const n = 64
	p := float32(0.3)
	for _, c := range []struct {
		kind string
		axpy func([]float32, float32, []byte)
	}{{"f16", AxpyF16}, {"q8_0", AxpyQ80}} {
		k, _ := ByName(c.kind)
		row, v := make([]byte, k.RowBytes(n)), randomRow(1, n)
		k.Quantize(row, v)
		k.Dequantize(v, row)
		out := randomRow(2, n)
		want := make([]float32, n)
		for i := range want {
			want[i] = out[i] + float32(p*v[i])
		}
		c.axpy(out, p, row)
		if fmt.Sprint(out) != fmt.Sprint(want) {
			t.Errorf("%s: got %v\nwant %v", c.kind, out, want)
		}
	}
}

func TestNotFiniteBlocks(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for i := range Kinds {
			k := &Kinds[i]
			if k.BlockElems == 1 {
				continue
			}
			x := randomRow(9, 2*k.BlockElems)
			x[3] = bad
			w := make([]byte, k.RowBytes(len(x)))
			k.Quantize(w, x)
			k.Dequantize(x, w)
			for i, v := range x {
				if (v != v) != (i < k.BlockElems) {
					t.Errorf("%s: element %d of a row with %g in block 0 is %g", k.Name, i, bad, v)
					break
				}
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	const n = 256
	x, row := randomRow(1, n), make([]byte, A8RowBytes(n))
	for i := range Kinds {
		k := &Kinds[i]
		w := make([]byte, k.RowBytes(n))
		if got := testing.AllocsPerRun(10, func() {
			k.Quantize(w, x)
			k.DotF32(w, x)
			if k.DotA8 != nil {
				QuantizeA8(row, x)
				k.DotA8(w, ViewA8(row, n))
			}
			k.Dequantize(x, w)
		}); got != 0 {
			t.Errorf("%s: %g allocations", k.Name, got)
		}
	}
}
