package vec_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

var formats = []vec.Format{vec.F32, vec.F16, vec.Q80}

// store encodes n cells of k numbers and changes x to what they decode to.
func store(f vec.Format, x []float32, n, k, stride int) (cells []byte, scales []float32) {
	cells, scales = make([]byte, f.Bytes(n*k)), make([]float32, k/32*stride+n)
	switch f {
	case vec.F32:
		quant.QuantizeF32(cells, x)
	case vec.F16:
		quant.QuantizeF16(cells, x)
		quant.DequantizeF16(x, cells)
	case vec.Q80:
		var block [34]byte
		for i := 0; i < n*k; i += 32 {
			quant.QuantizeQ80(block[:], x[i:][:32])
			quant.DequantizeQ80(x[i:][:32], block[:])
			scales[i%k/32*stride+i/k] = quant.F16ToF32(binary.LittleEndian.Uint16(block[:]))
			copy(cells[i:], block[2:])
		}
	}
	return cells, scales
}

// TestScores: every tile and format; the bits of an element do not depend on how many rows and cells there are.
func TestScores(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(1, 4))
		for _, f := range formats {
			for _, m := range []int{1, 2, 3, 4, 7, 9} {
				for _, n := range []int{1, 2, 3, 4, 5, 8} {
					for _, k := range []int{32, 48, 256} {
						if f == vec.Q80 && k%32 != 0 {
							continue
						}
						const slack = 1
						ldo, stride := n+slack, n+3
						q, x := normal(r, m*k, 1), normal(r, n*k, 1)
						cells, scales := store(f, x, n, k, stride)
						rows, factor := q, slices.Repeat([]float32{1}, m)
						if f == vec.Q80 {
							rows = make([]float32, m*k/2)
							for i := range m {
								factor[i] = v.QuantizeI16(rows[i*k/2:], q[i*k:][:k])
							}
						}
						out := make([]float32, m*ldo)
						keys := vec.Keys{Format: f, K: k, Bytes: cells, Scales: scales, Stride: stride}
						v.Scores(out, ldo, rows, keys, m, n, 2)
						for i := range m {
							for c := range n {
								want, tol := 0.0, 0.0
								for l := range k {
									p := float64(q[i*k+l]) * float64(x[c*k+l])
									want, tol = want+p, tol+1e-5*math.Abs(p)
									if f == vec.Q80 { // half a step of the query
										tol += 0.5 * float64(factor[i]) * math.Abs(float64(x[c*k+l]))
									}
								}
								got := float64(out[i*ldo+c]) * float64(factor[i])
								if d := math.Abs(got - want); !(d < tol) {
									t.Fatalf("format %d %dx%dx%d: [%d,%d] is %v, want %v", f, m, n, k, i, c, got, want)
								}
								one := make([]float32, 2)
								part := keys
								part.Bytes = cells[f.Bytes(c*k):]
								if f == vec.Q80 {
									part.Scales = scales[c:]
								}
								if v.Scores(one, 2, rows[i*len(rows)/m:], part, 1, 1, 0); one[0] != out[i*ldo+c] {
									t.Fatalf("format %d %dx%dx%d: [%d,%d] alone has other bits", f, m, n, k, i, c)
								}
							}
						}
					}
				}
			}
		}
	})
}

// TestWeigh: every tile and format, in the order of cells, so that cuts change no bit.
func TestWeigh(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(2, 4))
		for _, f := range formats {
			for _, m := range []int{1, 2, 3, 4, 7, 9} {
				for _, n := range []int{1, 2, 15, 17} {
					for _, k := range []int{16, 48, 96, 256} {
						if f == vec.Q80 && k%32 != 0 {
							continue
						}
						const ldp, stride = 32, 48
						ldo := k + 5
						p, x, start := normal(r, m*ldp, 1), normal(r, n*k, 1), normal(r, m*ldo, 1)
						cells, scales := store(f, x, n, k, stride)
						run := func(cuts ...int) []float32 {
							out, c := slices.Clone(start), 0
							for _, n := range cuts {
								w, ldw, ldb := p[c:], ldp, 0
								if f == vec.Q80 {
									w, ldw, ldb = make([]float32, m*k/32*ldp), k/32*ldp, ldp
									room := append(slices.Clone(scales[c:]), make([]float32, ldp)...)
									v.ScaleWeights(w, ldp, append(slices.Clone(p[c:]), make([]float32, ldp)...), ldp, room, stride, m, k/32, n)
								}
								v.Weigh(out, ldo, w, ldw, ldb, f, cells[f.Bytes(c*k):], k, m, n, 1)
								c += n
							}
							return out
						}
						out := run(n)
						for i := range m {
							for j := range ldo {
								want := float64(start[i*ldo+j])
								for c := range n {
									if j < k {
										want += float64(p[i*ldp+c]) * float64(x[c*k+j])
									}
								}
								if d := math.Abs(float64(out[i*ldo+j]) - want); !(d < 1e-5) {
									t.Fatalf("format %d %dx%dx%d: [%d,%d] is %v, want %v", f, m, n, k, i, j, out[i*ldo+j], want)
								}
							}
						}
						if n > 1 {
							same(t, fmt.Sprint("a cut, format ", f), run(1, n-1), out)
						}
					}
				}
			}
		}
	})
}

func TestQuantizeI16(t *testing.T) {
	each(t, func(t *testing.T, v *vec.Funcs) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, n := range []int{16, 32, 48, 256} {
			for range 40 {
				x, dst := adversarial(r, n), make([]float32, n/2)
				switch r.IntN(8) {
				case 0:
					clear(x)
				case 1:
					x[r.IntN(n)] = nan
				case 2:
					x[r.IntN(n)] = -inf
				case 3:
					for i := range x {
						x[i] *= 1e-36
					}
				}
				most := 0.0
				for _, a := range x {
					if most = max(most, math.Abs(float64(a))); a != a {
						most = math.NaN()
					}
				}
				s := v.QuantizeI16(dst, x)
				words := unsafe.Slice((*int16)(unsafe.Pointer(&dst[0])), n)
				switch {
				case !(most <= math.MaxFloat32):
					if s == s {
						t.Fatalf("%v gives the scale %v", x, s)
					}
					continue
				case most < 0x1p-110:
					if s != 0 {
						t.Fatalf("tiny numbers give the scale %v", s)
					}
				case s != float32(most)/32767:
					t.Fatalf("scale %v, want %v/32767", s, most)
				}
				for i, a := range x {
					if d := math.Abs(float64(words[i])*float64(s) - float64(a)); d > 0.5001*float64(s)+0x1p-110 {
						t.Fatalf("element %d is %d times %v, want %v", i, words[i], s, a)
					}
				}
			}
		}
	})
}
