package panel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"qnc/runtime/quant"
)

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for i := range Formats {
		f := &Formats[i]
		for _, rows := range []int{1, 15, 16, 17, 40} {
			for _, k := range []int{256, 512, 1280} {
				size := f.Kind.RowBytes(k)
				src := noise(uint64(rows*k), rows*size)
				dst := noise(1, f.MatrixBytes(rows, k))
				f.Pack(dst, src, k)
				got := make([]byte, size)
				for r := range rows {
					copy(got, noise(2, size))
					f.Unpack(got, dst, r, k)
					if !bytes.Equal(got, src[r*size:][:size]) {
						t.Fatalf("%s: row %d of %dx%d is another one", f.Kind.Name, r, rows, k)
					}
				}
				for r := rows; r < (rows+Rows-1)/Rows*Rows; r++ {
					f.Unpack(got, dst, r, k)
					if !bytes.Equal(got, make([]byte, size)) {
						t.Fatalf("%s: padding row %d is not zero", f.Kind.Name, r)
					}
				}
			}
		}
	}
}

// TestEveryBit: a panel has a bit for each bit of its rows, none is lost or doubled.
func TestEveryBit(t *testing.T) {
	for i := range Formats {
		f := &Formats[i]
		size := f.Kind.RowBytes(512)
		src, dst := make([]byte, Rows*size), make([]byte, Rows*size)
		for bit := 0; bit < 8*len(src); bit += 7 {
			src[bit/8] = 1 << (bit % 8)
			clear(dst)
			f.Pack(dst, src, 512)
			ones := 0
			for _, b := range dst {
				for ; b > 0; b &= b - 1 {
					ones++
				}
			}
			if ones != 1 {
				t.Fatalf("%s: bit %d became %d bits", f.Kind.Name, bit, ones)
			}
			src[bit/8] = 0
		}
	}
}

func TestRecords(t *testing.T) {
	x := make([]float32, 512)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	x[40] = float32(math.Inf(1))
	clear(x[64:96])
	raw := make([]byte, quant.A8RowBytes(512))
	quant.QuantizeA8(raw, x)
	want := quant.ViewA8(raw, 512)
	row := make([]byte, RowBytes(512))
	Quantize(row, x)
	got := quant.ViewA8(make([]byte, quant.A8RowBytes(512)), 512)
	Load(got, row)
	for b := range want.D {
		if math.Float32bits(got.D[b]) != math.Float32bits(want.D[b]) || got.Sum[b] != want.Sum[b] {
			t.Errorf("block %d: d %g sum %d, want %g %d", b, got.D[b], got.Sum[b], want.D[b], want.Sum[b])
		}
		lo, hi := int16(le.Uint16(row[b*RecordBytes+40:])), int16(le.Uint16(row[b*RecordBytes+42:]))
		if int32(lo)+int32(hi) != want.Sum[b] {
			t.Errorf("block %d: halves %d and %d do not make %d", b, lo, hi, want.Sum[b])
		}
	}
	for i, q := range want.Q {
		if got.Q[i] != q {
			t.Fatalf("q[%d] = %d, want %d", i, got.Q[i], q)
		}
	}
}

// TestDotNearFloat compares with the product of what is decoded, in float64.
func TestDotNearFloat(t *testing.T) {
	const k, n = 1024, 3
	r := rand.New(rand.NewPCG(5, 5))
	for i := range Formats {
		f := &Formats[i]
		size := f.Kind.RowBytes(k)
		src, w := make([]byte, Rows*size), make([]byte, f.Bytes(k))
		v := make([]float32, k)
		for j := range Rows {
			for l := range v {
				v[l] = float32(r.NormFloat64())
			}
			f.Kind.Quantize(src[j*size:][:size], v)
		}
		f.Pack(w, src, k)
		x := make([]byte, n*RowBytes(k))
		var act [n][]float32
		offset := make([]int64, n)
		for j := range n {
			for l := range v {
				v[l] = float32(r.NormFloat64())
			}
			offset[j] = int64(j * RowBytes(k))
			Quantize(x[offset[j]:], v)
			act[j] = make([]float32, k)
			a := quant.ViewA8(make([]byte, quant.A8RowBytes(k)), k)
			Load(a, x[offset[j]:])
			a.Dequantize(act[j])
		}
		got := make([]float32, n*Rows)
		f.Dot(got, w, x, offset, k)
		for j := range n {
			for row := range Rows {
				f.Kind.Dequantize(v, src[row*size:][:size])
				var want, norm float64
				for l := range v {
					p := float64(v[l]) * float64(act[j][l])
					want += p
					norm += math.Abs(p)
				}
				if e := math.Abs(float64(got[j*Rows+row]) - want); !(e <= 1e-6*norm) {
					t.Errorf("%s: token %d row %d: %g, want %g", f.Kind.Name, j, row, got[j*Rows+row], want)
				}
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(noise(3, 210))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i := range Formats {
			form := &Formats[i]
			size := form.Kind.RowBytes(256)
			rows := min(len(raw)/size, 20)
			src := raw[:rows*size]
			dst := make([]byte, form.MatrixBytes(rows, 256))
			form.Pack(dst, src, 256)
			row := make([]byte, size)
			for r := range rows {
				form.Unpack(row, dst, r, 256)
				if !bytes.Equal(row, src[r*size:][:size]) {
					t.Fatalf("%s: row %d is another one", form.Kind.Name, r)
				}
			}
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for i := range Formats {
		f := &Formats[i]
		src := noise(1, 64*f.Kind.RowBytes(2048))
		dst := make([]byte, len(src))
		b.Run(fmt.Sprint(f.Kind.Name), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				f.Pack(dst, src, 2048)
			}
		})
	}
}

func BenchmarkUnpackRow(b *testing.B) {
	for i := range Formats {
		f := &Formats[i]
		src := noise(1, f.Bytes(2048))
		row := make([]byte, f.Kind.RowBytes(2048))
		b.Run(f.Kind.Name, func(b *testing.B) {
			b.SetBytes(int64(len(row)))
			for b.Loop() {
				f.Unpack(row, src, 5, 2048)
			}
		})
	}
}
