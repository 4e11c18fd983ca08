package vec_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/runtime/cpu"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

// interpreted is the name of the AVX-512 table that needs no such CPU.
const interpreted = "x86-64-v4 interpreted"

// tables gives the tables that this machine can run, and the interpreted one.
func tables() map[string]*vec.Funcs {
	m := map[string]*vec.Funcs{interpreted: vec.Interpreted()}
	for _, t := range cpu.Targets {
		if f := vec.ForTarget(t.Name); f != nil && cpu.Detect().Check(t) == nil {
			m[t.Name] = f
		}
	}
	return m
}

// each runs f for every table.
func each(t *testing.T, f func(t *testing.T, v *vec.Funcs)) {
	all := tables()
	for _, name := range append(cpu.Names(), interpreted) {
		if v := all[name]; v != nil {
			t.Run(name, func(t *testing.T) { f(t, v) })
		}
	}
}

var (
	nan, inf = float32(math.NaN()), float32(math.Inf(1))
	lengths  = []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 255}
)

func normal(r *rand.Rand, n int, by float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * by)
	}
	return x
}

// adversarial mixes normal numbers with zeros, huge, tiny and subnormal ones.
func adversarial(r *rand.Rand, n int) []float32 {
	x := normal(r, n, 3)
	for i := range x {
		switch r.IntN(8) {
		case 0:
			x[i] = 0
		case 1:
			x[i] *= 1e15
		case 2:
			x[i] *= 1e-30
		case 3:
			x[i] *= 1e-40
		}
	}
	return x
}

// ulp is the spacing of float32 at x.
func ulp(x float64) float64 {
	y := math.Abs(x)
	if y > math.MaxFloat32 {
		y = math.MaxFloat32
	}
	e := max(math.Ilogb(y), -126)
	if y == 0 {
		e = -126
	}
	return math.Ldexp(1, e-23)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// TestUnary bounds the error in ulp over the whole range, and the special values.
func TestUnary(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		for _, c := range []struct {
			name string
			f    func(dst, x []float32)
			want func(float64) float64
			ulps float64
			abs  float64
			lo   float64
			hi   float64
		}{
			{"Exp", v.Exp, math.Exp, 2, 1.5e-45, -110, 88.7},
			{"Sigmoid", v.Sigmoid, sigmoid, 3, 3e-39, -150, 150},
			{"Silu", v.Silu, func(x float64) float64 { return x * sigmoid(x) }, 3, 3e-37, -150, 150},
			{"Softplus", v.Softplus, func(x float64) float64 {
				if x > 20 {
					return x
				}
				return math.Log1p(math.Exp(x))
			}, 3, 1.5e-45, -110, 30},
		} {
			worst, at := 0.0, float32(0)
			x, y := make([]float32, 1000), make([]float32, 1000)
			rows := 400
			if v == vec.Interpreted() {
				rows = 20
			}
			for i := range rows {
				for j := range x {
					x[j] = float32(c.lo + (c.hi-c.lo)*(float64(i*1000+j)+0.37)/float64(1000*rows))
					if j%4 == 0 {
						x[j] /= 64
					}
				}
				c.f(y, x)
				for j, got := range y {
					want := c.want(float64(x[j]))
					d := max(math.Abs(float64(got)-want)-c.abs, 0) / ulp(want)
					if !(d <= worst) {
						worst, at = d, x[j]
					}
				}
			}
			if !(worst <= c.ulps) {
				t.Errorf("%s(%v) is off by %.2f ulp, want %v", c.name, at, worst, c.ulps)
			}
			t.Logf("%s: %.2f ulp at %v", c.name, worst, at)
			for _, x := range []float32{0, inf, -inf, 1e30, -1e30, 1e-40, -1e-40, 89, -104} {
				for _, n := range []int{1, 16, 19} {
					in, out := slices.Repeat([]float32{x}, n), make([]float32, n)
					c.f(out, in)
					want := float32(c.want(float64(x)))
					if c.name == "Silu" && x == -inf {
						want = nan // as -Inf * 0
					}
					for _, got := range out {
						if want != want && got == got || want == want && !(got == want || math.Abs(float64(got)-float64(want)) <= c.ulps*ulp(float64(want))+c.abs) {
							t.Errorf("%s(%v) = %v, want %v", c.name, x, got, want)
						}
					}
				}
			}
			for _, n := range []int{1, 8, 16, 17} {
				in, out := slices.Repeat([]float32{nan}, n), make([]float32, n)
				if c.f(out, in); slices.ContainsFunc(out, func(y float32) bool { return y == y }) {
					t.Errorf("%s(NaN) = %v", c.name, out)
				}
			}
		}
	})
}

// TestElementwise compares with Go, element by element, and checks that
// nothing behind the end is written.
func TestElementwise(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(1, 1))
		for _, n := range lengths {
			for range 4 {
				x, y, z := adversarial(r, n), adversarial(r, n), normal(r, n, 4)
				check := func(name string, f func(dst []float32), want func(i int) float64) {
					t.Helper()
					dst := slices.Repeat([]float32{42}, n+20)
					f(dst[:n:n])
					for i, got := range dst[:n] {
						w := want(i)
						if d := math.Abs(float64(got) - w); !(d <= 4*ulp(w)+1e-44) && float32(w) != got {
							t.Fatalf("%s of %d: element %d is %v, want %v (x %v y %v z %v)", name, n, i, got, w, x[i], y[i], z[i])
						}
					}
					for _, got := range dst[n:] {
						if got != 42 {
							t.Fatalf("%s of %d writes behind the end", name, n)
						}
					}
				}
				f := func(x float32) float64 { return float64(x) }
				check("Add", func(d []float32) { v.Add(d, x, y) }, func(i int) float64 { return float64(x[i] + y[i]) })
				check("Mul", func(d []float32) { v.Mul(d, x, y) }, func(i int) float64 { return float64(x[i] * y[i]) })
				check("Scale", func(d []float32) { v.Scale(d, x, 0.3) }, func(i int) float64 { return float64(x[i] * 0.3) })
				check("MulAdd", func(d []float32) { v.MulAdd(d, y, x, 0.5) }, func(i int) float64 { return f(y[i]) + 0.5*f(x[i]) })
				check("Norm", func(d []float32) { v.Norm(d, z, y, 0.5) }, func(i int) float64 { return float64(z[i] * 0.5 * y[i]) })
				check("Gated", func(d []float32) { v.Gated(d, y, y, z, 0.5) }, func(i int) float64 { return float64(y[i]*0.5*y[i]) * f(z[i]) * sigmoid(f(z[i])) })
				check("SiluMul", func(d []float32) { v.SiluMul(d, z, y) }, func(i int) float64 { return f(z[i]) * sigmoid(f(z[i])) * f(y[i]) })
				check("Decay", func(d []float32) { v.Decay(d, z, z, -30, 0.25) }, func(i int) float64 { return math.Exp(float64((-30 - z[i]) + (0.25 - z[i]))) })
				cos, sin, a, b := normal(r, n, 1), normal(r, n, 1), normal(r, n, 1), normal(r, n, 1)
				lo, hi := slices.Clone(a), slices.Clone(b)
				v.Rope(lo, hi, cos, sin)
				for i := range n {
					p, q := f(a[i])*f(cos[i])-f(b[i])*f(sin[i]), f(a[i])*f(sin[i])+f(b[i])*f(cos[i])
					if math.Abs(f(lo[i])-p) > 1e-6 || math.Abs(f(hi[i])-q) > 1e-6 {
						t.Fatalf("Rope of %d: pair %d is %v %v, want %v %v", n, i, lo[i], hi[i], p, q)
					}
				}
			}
		}
	})
}

func TestReductions(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(2, 1))
		for _, n := range append(lengths, 1000, 2048) {
			for _, by := range []float64{1, 1e-30, 1e18} {
				x := normal(r, n, by)
				want := 0.0
				for _, a := range x {
					want += float64(a) * float64(a)
				}
				if got := v.SumSquares(x); math.Abs(got-want) > 1e-13*want {
					t.Errorf("SumSquares of %d: %v, want %v", n, got, want)
				}
			}
			x := normal(r, n, 5)
			most := -inf
			for _, a := range x {
				most = max(most, a)
			}
			if got := v.MaxOf(x); got != most {
				t.Errorf("MaxOf %d: %v, want %v", n, got, most)
			}
			if n == 0 {
				continue
			}
			dst, sum := make([]float32, n), 0.0
			got := v.ExpSum(dst, x, most)
			for i, a := range x {
				e := math.Exp(float64(a - most))
				sum += e
				if math.Abs(float64(dst[i])-e) > 3e-7*e {
					t.Errorf("ExpSum of %d: element %d is %v, want %v", n, i, dst[i], e)
				}
			}
			if math.Abs(float64(got)-sum) > 1e-6*sum {
				t.Errorf("ExpSum of %d: %v, want %v", n, got, sum)
			}
			x[r.IntN(n)] = nan
			if got := v.ExpSum(dst, x, most); got == got {
				t.Errorf("ExpSum of %d loses a NaN", n)
			}
		}
	})
}

func TestArgMax(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(3, 1))
		for range 3000 {
			x := make([]float32, r.IntN(70))
			want := -1
			for i := range x {
				switch x[i] = float32(r.IntN(9) - 4); x[i] {
				case -4:
					x[i] = -inf
				case -3:
					x[i] = nan
				}
				if x[i] > -inf && (want < 0 || x[i] > x[want]) {
					want = i
				}
			}
			if got := v.ArgMax(x); got != want {
				t.Fatalf("ArgMax(%v) = %d, want %d", x, got, want)
			}
		}
		x := normal(r, 151936, 1)
		if got, want := v.ArgMax(x), slices.Index(x, slices.Max(x)); got != want {
			t.Errorf("of a vocabulary: %d, want %d", got, want)
		}
	})
}

// TestConversions: the same bits as package quant.
func TestConversions(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(4, 1))
		var src []byte
		for h := range 1 << 16 {
			src = append(src, byte(h), byte(h>>8))
		}
		got, want := make([]float32, 1<<16), make([]float32, 1<<16)
		v.WidenF16(got, src)
		quant.DequantizeF16(want, src)
		same(t, "WidenF16", got, want)
		for i := range got {
			got[i] = math.Float32frombits(r.Uint32())
			if i%2 == 0 {
				got[i] = float32(r.NormFloat64()) * float32(math.Ldexp(1, -r.IntN(26)))
			}
		}
		copy(got, []float32{nan, inf, -inf, 65519, 65520, 65504, 5.9e-8, 2.9e-8, 2.98e-8, 0})
		half, halfWant := make([]byte, 1<<17), make([]byte, 1<<17)
		v.NarrowF16(half, got)
		quant.QuantizeF16(halfWant, got)
		if !bytes.Equal(half, halfWant) {
			t.Error("NarrowF16 gives other bits")
		}
		for _, n := range lengths {
			a, b, src := make([]float32, n), make([]float32, n), src[2*15000:]
			v.WidenF16(a, src)
			quant.DequantizeF16(b, src)
			same(t, fmt.Sprint("WidenF16 of ", n), a, b)
			p, q := make([]byte, 2*n), make([]byte, 2*n)
			v.NarrowF16(p, got[:n])
			quant.QuantizeF16(q, got[:n])
			if !bytes.Equal(p, q) {
				t.Errorf("NarrowF16 of %d gives other bits", n)
			}
		}
		x := normal(r, 640, 3)
		blocks := make([]byte, 640/32*34)
		quant.QuantizeQ80(blocks, x)
		v.WidenQ80(got[:640], blocks)
		quant.DequantizeQ80(want[:640], blocks)
		same(t, "WidenQ80", got[:640], want[:640])
	})
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// hostile is blocks of 32 that are adversarial, not finite, tiny, huge or full of ties.
func hostile(r *rand.Rand, n int) []float32 {
	x := adversarial(r, n)
	for b := 0; b < n; b += 32 {
		switch r.IntN(12) {
		case 0:
			clear(x[b : b+32])
		case 1:
			x[b+r.IntN(32)] = nan
		case 2:
			x[b+r.IntN(32)] = -inf
		case 3: // ties
			for i := range 32 {
				x[b+i] = float32(r.IntN(509)-254) / 2
			}
			x[b] = 127
		case 4: // around the least block
			for i := range 32 {
				x[b+i] = float32(r.Float64()) * 0x1p-118
			}
		case 5:
			x[b] = math.MaxFloat32
		}
	}
	return x
}

func TestRecords(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(5, 1))
		for _, n := range []int{0, 32, 64, 512, 2048} {
			for range 50 {
				x := hostile(r, n)
				got, want := make([]byte, panel.RowBytes(n)), make([]byte, panel.RowBytes(n))
				v.Records(got, x)
				panel.Quantize(want, x)
				if !bytes.Equal(got, want) {
					t.Fatalf("Records of %d gives other bytes", n)
				}
			}
		}
	})
}

func TestQuantizeQ80(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(6, 1))
		for _, n := range []int{0, 32, 64, 512} {
			for range 100 {
				const lds = 6
				x := hostile(r, n)
				q, d, want := make([]byte, n), make([]byte, n/32*lds), make([]byte, n/32*34)
				v.QuantizeQ80(q, d, lds, x)
				quant.QuantizeQ80(want, x)
				for b := range n / 32 {
					if w := want[34*b:][:34]; !bytes.Equal(d[lds*b:][:2], w[:2]) || !bytes.Equal(q[32*b:][:32], w[2:]) {
						t.Fatalf("%v gives %v and %v, want %v", x[32*b:][:32], d[lds*b:][:2], q[32*b:][:32], w)
					}
				}
			}
		}
	})
}
