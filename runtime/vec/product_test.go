package vec_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/runtime/vec"
)

// TestGemm: every tile; the bits of an element do not depend on m and n, nor on the width of vectors.
func TestGemm(t *testing.T) {
	type result struct {
		m, n, k int
		c       []float32
	}
	var first []result
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(1, 2))
		var all []result
		for _, m := range []int{1, 2, 3, 7, 8, 13, 19} {
			for _, n := range []int{16, 32, 48, 80} {
				for _, k := range []int{0, 1, 5, 64} {
					lda, ldb, ldc := k+3, n+5, n+1
					a, b, c := normal(r, m*lda, 1), normal(r, k*ldb+n, 1), normal(r, m*ldc, 1)
					at := make([]float32, lda*m)
					for i := range m {
						for l := range lda {
							at[l*m+i] = a[i*lda+l]
						}
					}
					start, plain := slices.Clone(c), make([]float32, len(c))
					v.Gemm(c, ldc, a, lda, 1, b, ldb, m, n, k, true)
					v.Gemm(plain, ldc, at, 1, m, b, ldb, m, n, k, false)
					for i := range m {
						for j := range n {
							sum := 0.0
							for l := range k {
								sum += float64(a[i*lda+l]) * float64(b[l*ldb+j])
							}
							if d := math.Abs(float64(plain[i*ldc+j]) - sum); !(d < 2e-5) {
								t.Fatalf("%dx%dx%d: c[%d,%d] is %v, want %v", m, n, k, i, j, plain[i*ldc+j], sum)
							}
							sum += float64(start[i*ldc+j])
							if d := math.Abs(float64(c[i*ldc+j]) - sum); !(d < 2e-5) {
								t.Fatalf("%dx%dx%d added: c[%d,%d] is %v, want %v", m, n, k, i, j, c[i*ldc+j], sum)
							}
						}
						if n < ldc && c[i*ldc+n] != start[i*ldc+n] {
							t.Fatalf("%dx%dx%d writes behind row %d", m, n, k, i)
						}
					}
					row := make([]float32, n)
					v.Gemm(row[:16], n, a[(m-1)*lda:], lda, 1, b, ldb, 1, 16, k, false)
					if !slices.Equal(row[:16], plain[(m-1)*ldc:][:16]) {
						t.Fatalf("%dx%dx%d: a row alone has other bits", m, n, k)
					}
					all = append(all, result{m, n, k, c})
				}
			}
		}
		if first == nil {
			first = all
		}
		for i, x := range all {
			same(t, "Gemm of another width", x.c, first[i].c)
		}
	})
}

// TestDots: every tile; the bits of an element do not depend on m and n.
func TestDots(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(2, 2))
		for _, m := range []int{1, 2, 3, 4, 5, 9} {
			for _, n := range []int{1, 3, 4, 6, 8} {
				for _, k := range []int{16, 48, 512, 1040} {
					lda, ldb, ldo := k+2, k+7, n+1
					a, b, out := normal(r, m*lda, 1), normal(r, n*ldb, 1), make([]float32, m*ldo)
					v.Dots(out, ldo, a, lda, b, ldb, m, n, k, make([]float32, vec.DotPart(m)))
					one := make([]float32, 1)
					for i := range m {
						for j := range n {
							sum := 0.0
							for l := range k {
								sum += float64(a[i*lda+l]) * float64(b[j*ldb+l])
							}
							if d := math.Abs(float64(out[i*ldo+j]) - sum); !(d < 1e-4) {
								t.Fatalf("%dx%dx%d: [%d,%d] is %v, want %v", m, n, k, i, j, out[i*ldo+j], sum)
							}
							v.Dots(one, 1, a[i*lda:], lda, b[j*ldb:], ldb, 1, 1, k, nil)
							if one[0] != out[i*ldo+j] {
								t.Fatalf("%dx%dx%d: [%d,%d] alone has other bits", m, n, k, i, j)
							}
						}
						if out[i*ldo+n] != 0 {
							t.Fatalf("%dx%dx%d writes behind row %d", m, n, k, i)
						}
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		const m, n, lds, ldd = 16, 24, 29, 18
		src, dst := normal(rand.New(rand.NewPCG(3, 2)), m*lds, 1), make([]float32, n*ldd)
		v.Transpose(dst, ldd, src, lds, m, n)
		for i := range m {
			for j := range n {
				if dst[j*ldd+i] != src[i*lds+j] {
					t.Fatalf("[%d,%d] is %v, want %v", j, i, dst[j*ldd+i], src[i*lds+j])
				}
			}
		}
	})
}

func TestSolve8(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(4, 2))
		const n, lda, ldu = 48, 11, 50
		a, u := normal(r, 8*lda, 0.3), normal(r, 8*ldu, 1)
		want := make([]float64, len(u))
		for i, x := range u {
			want[i] = float64(x)
		}
		for i := range 8 {
			for l := range i {
				for j := range n {
					want[i*ldu+j] += float64(a[i*lda+l]) * want[l*ldu+j]
				}
			}
		}
		v.Solve8(u, ldu, a, lda, n)
		for i := range u {
			if d := math.Abs(float64(u[i]) - want[i]); !(d < 1e-5) {
				t.Fatalf("element %d is %v, want %v", i, u[i], want[i])
			}
		}
	})
}

func TestDeltaStep(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(5, 2))
		for _, c := range [][2]int{{16, 1}, {16, 12}, {64, 5}, {128, 128}} {
			k, rows := c[0], c[1]
			s, key, q, val, out := normal(r, k*rows, 1), normal(r, k, 0.1), normal(r, k, 1), normal(r, rows, 1), make([]float32, rows)
			start := slices.Clone(s)
			v.DeltaStep(s, key, q, val, out, 0.9, 0.4, 0.25)
			for j := range rows {
				d, o := 0.0, 0.0
				for i := range k {
					d += 0.9 * float64(start[j*k+i]) * float64(key[i])
				}
				for i := range k {
					x := 0.9*float64(start[j*k+i]) + 0.4*(float64(val[j])-d)*float64(key[i])
					o += x * float64(q[i]) * 0.25
					if e := math.Abs(float64(s[j*k+i]) - x); !(e < 1e-5) {
						t.Fatalf("%v: state [%d,%d] is %v, want %v", c, j, i, s[j*k+i], x)
					}
				}
				if e := math.Abs(float64(out[j]) - o); !(e < 1e-4) {
					t.Fatalf("%v: out %d is %v, want %v", c, j, out[j], o)
				}
			}
		}
	})
}

func TestConv4(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(6, 2))
		for _, n := range []int{16, 32, 48, 128} {
			w, taps, x, y := normal(r, 4*n, 1), make([]float32, 4*n), normal(r, 4*n, 1), make([]float32, n)
			v.Taps4(taps, w, n)
			v.Conv4(y, x, x[n:], x[2*n:], x[3*n:], taps, n)
			for d := range n {
				s := 0.0
				for j := range 4 {
					if taps[j*n+d] != w[4*d+j] {
						t.Fatalf("tap %d of channel %d of %d is %v, want %v", j, d, n, taps[j*n+d], w[4*d+j])
					}
					s += float64(x[j*n+d]) * float64(w[4*d+j])
				}
				if e := math.Abs(float64(y[d]) - s*sigmoid(s)); !(e < 1e-5) {
					t.Fatalf("channel %d of %d is %v, want %v", d, n, y[d], s*sigmoid(s))
				}
			}
		}
	})
}
