package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/runtime/vec"
)

var formats = map[string]vec.Format{"f32": F32, "f16": F16, "q8_0": Q80}

// newCache is a cache of random cells; what lies behind them is NaN.
func newCache(r *rand.Rand, f vec.Format, cells, capacity, groups, dim int) Cache {
	size := f.Bytes(dim)
	if f == Q80 {
		size += dim / 32 * 2
	}
	c := Cache{slices.Repeat([]byte{0xff}, capacity*groups*size), capacity, dim, f}
	some := normal(r, 1<<12+dim, 1)
	for i := range cells * groups {
		c.Store(i%groups, i/groups, some[r.IntN(1<<12):][:dim])
	}
	return c
}

// newAttention is an attention over new caches; of each token the last cell is its own.
func newAttention(r *rand.Rand, k, v vec.Format, past, n, groups, per, kdim, vdim int) *Attention {
	heads := groups * per
	a := &Attention{Heads: heads, Groups: groups, K: kdim, V: vdim, Q: normal(r, n*heads*kdim, 2), QToken: heads * kdim, QHead: kdim,
		Out: make([]float32, n*heads*vdim), Keys: newCache(r, k, past+n, past+n+5, groups, kdim), Values: newCache(r, v, past+n, past+n+5, groups, vdim),
		Pos: make([]int32, n), Scale: 0.2}
	for i := range a.Pos {
		a.Pos[i] = int32(past + i)
	}
	return a
}

// want is the result in float64.
func (a *Attention) want() []float64 {
	out := make([]float64, len(a.Out))
	type cell struct{ g, c int }
	keys, values := map[cell][]float32{}, map[cell][]float32{}
	for g := range a.Groups {
		for c := range a.Pos[len(a.Pos)-1] + 1 {
			k, v := make([]float32, a.K), make([]float32, a.V)
			a.Keys.Load(k, g, int(c))
			a.Values.Load(v, g, int(c))
			keys[cell{g, int(c)}], values[cell{g, int(c)}] = k, v
		}
	}
	for t, pos := range a.Pos {
		for h := range a.Heads {
			g := a.group(h)
			score, most, sum := make([]float64, pos+1), math.Inf(-1), 0.0
			for c := range score {
				for i, x := range keys[cell{g, c}] {
					score[c] += float64(x) * float64(a.Q[t*a.QToken+h*a.QHead+i]) * float64(a.Scale)
				}
				most = max(most, score[c])
			}
			o := out[(t*a.Heads+h)*a.V:][:a.V]
			for c, s := range score {
				p := math.Exp(s - most)
				sum += p
				for i, x := range values[cell{g, c}] {
					o[i] += p * float64(x)
				}
			}
			for i := range o {
				o[i] /= sum
			}
		}
	}
	return out
}

// run clears the result and computes it: as a prompt on nth threads, cut, or
// token by token in ranges.
func (a *Attention) run(nth int, cuts ...int) []float32 {
	out := slices.Repeat([]float32{nan}, len(a.Out))
	noise := func(n int) []float32 { return slices.Repeat([]float32{nan}, n) }
	scratch, at := noise(AttendScratch(a.Heads/a.Groups, a.K, a.V)), 0
	for _, n := range cuts {
		b := *a
		b.Q, b.Pos, b.Out = a.Q[at*a.QToken:], a.Pos[at:][:n], out[at*a.Heads*a.V:]
		for ith := range nth {
			b.Run(n, ith, nth, scratch)
		}
		at += n
	}
	for t := at; t < len(a.Pos); t++ {
		b := *a
		b.Q, b.Pos, b.Out = a.Q[t*a.QToken:], a.Pos[t:][:1], out[t*a.Heads*a.V:]
		shared := noise(AttendShared(a.Heads, a.V))
		for ith := range nth {
			b.Part(nth-1-ith, nth, scratch, shared)
		}
		for ith := range nth {
			b.Merge(ith, nth, shared)
		}
	}
	return out
}

// TestAttention: every format, head layout and target against float64; the cut
// of threads and of tokens changes no bit.
func TestAttention(t *testing.T) {
	for kn, k := range formats {
		for vn, v := range formats {
			for _, c := range []struct {
				tiled                            bool
				past, n, groups, per, kdim, vdim int
			}{
				{false, 0, 9, 1, 1, 32, 64}, {true, 41, 83, 2, 4, 32, 32}, {false, 90, 67, 2, 7, 64, 32},
				{false, 400, 3, 1, 8, 32, 32}, {true, 300, 5, 3, 2, 96, 64}, {true, 99, 6, 2, 2, 16, 48}, {false, 9300, 1, 1, 4, 32, 32},
			} {
				if c.kdim%32 != 0 && (k == Q80 || v == Q80) {
					continue
				}
				if k != v && c.groups != 3 { // mixed formats once
					continue
				}
				a := newAttention(rand.New(rand.NewPCG(8, uint64(c.past))), k, v, c.past, c.n, c.groups, c.per, c.kdim, c.vdim)
				a.Tiled = c.tiled
				want := a.want()
				targets(t, func(t *testing.T) {
					name := fmt.Sprintf("%s %s %v", kn, vn, c)
					got, one := a.run(1, c.n), a.run(1)
					tol := 2e-5
					if k == Q80 {
						tol = 2e-4 // queries are rounded to 16 bits
					}
					near(t, name, got, want, tol)
					near(t, name+" in ranges", one, want, tol)
					for _, nth := range []int{2, 3, 7}[:min(3, 1+2000/len(a.Out))] {
						if !slices.Equal(a.run(nth), one) {
							t.Errorf("%s: %d threads give other bits in ranges", name, nth)
						}
						if !slices.Equal(a.run(nth, c.n), got) {
							t.Errorf("%s: %d threads give other bits", name, nth)
						}
					}
					if c.n > 64 && (!slices.Equal(a.run(3, 64, c.n-64), got) || !slices.Equal(a.run(1, 1, 3, c.n-4), got)) {
						t.Errorf("%s: cuts give other bits", name)
					}
				})
			}
		}
	}
}

// TestAttentionPlain: sizes that vectors do not divide.
func TestAttentionPlain(t *testing.T) {
	targets(t, func(t *testing.T) {
		for _, past := range []int{0, 1, 62, 63, 64, 199} {
			a := newAttention(rand.New(rand.NewPCG(4, 1)), F32, F16, past, 2, 2, 3, 24, 10)
			want := a.want()
			near(t, fmt.Sprint("past ", past), a.run(2, 2), want, 2e-5)
			near(t, fmt.Sprint("in ranges, past ", past), a.run(2), want, 2e-5)
		}
	})
}

// TestAttentionInfinite: a score of -Inf counts nothing, a whole block or range
// of them neither; where all are -Inf, or one is NaN or +Inf, the result is NaN.
// A block of q8_0 with something that is no number is NaN.
func TestAttentionInfinite(t *testing.T) {
	const dim, cells = 32, 3*leastRange + 2
	for name, f := range formats {
		for _, c := range []struct {
			name     string
			bad      float32
			from, to int
			want     float32
		}{
			{"all finite", 0, 0, 0, 3}, {"a block of -Inf", -inf, 0, AttendBlock, 3}, {"a range of -Inf", -inf, leastRange, 2 * leastRange, 3},
			{"the last range", -inf, 3 * leastRange, cells, 3}, {"all -Inf", -inf, 0, cells, nan},
			{"one +Inf", inf, 1, 2, nan}, {"one NaN", nan, cells - 1, cells, nan}, {"all NaN", nan, 0, cells, nan},
		} {
			if f == Q80 && c.to > 0 {
				c.want = nan
			}
			for _, q := range []float32{1, nan, inf} {
				a := newAttention(rand.New(rand.NewPCG(1, 1)), f, f, cells-1, 1, 1, 1, dim, dim)
				clear(a.Q)
				a.Q[0], a.Scale = q, 1
				x := make([]float32, dim)
				for i := range cells {
					clear(x)
					if c.from <= i && i < c.to {
						x[0] = c.bad
					} else if q != 1 {
						x[0] = 1
					}
					a.Keys.Store(0, i, x)
					a.Values.Store(0, i, slices.Repeat([]float32{3}, dim))
				}
				want := c.want
				if q != 1 {
					want = nan
				}
				targets(t, func(t *testing.T) {
					for kind, out := range map[string][]float32{"a prompt": a.run(1, 1), "ranges": a.run(2)} {
						for _, y := range out {
							if (y != y) != (want != want) || want == want && math.Abs(float64(y-want)) > 2e-2 {
								t.Errorf("%s, %s, query %v, as %s: %v, want %v", name, c.name, q, kind, y, want)
								break
							}
						}
					}
				})
			}
		}
	}
	// A value that is NaN shows; one behind the last cell does not.
	for name, f := range formats {
		for _, at := range []int{3, 4} {
			a := newAttention(rand.New(rand.NewPCG(2, 1)), F16, f, 3, 1, 2, 2, dim, dim)
			a.Values.Store(1, at, slices.Repeat([]float32{nan}, dim))
			targets(t, func(t *testing.T) {
				for _, out := range [][]float32{a.run(1, 1), a.run(1)} {
					if got := out[3*dim] != out[3*dim]; got != (at == 3) || out[0] != out[0] {
						t.Errorf("%s: NaN in cell %d of 4: %v %v", name, at, out[0], out[3*dim])
					}
				}
			})
		}
	}
}

// TestCache: what is stored is loaded, and nothing else is touched.
func TestCache(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for name, f := range formats {
		targets(t, func(t *testing.T) {
			c := newCache(r, f, 9, 9, 3, 64)
			had := make([][]float32, 27)
			for i := range had {
				had[i] = make([]float32, 64)
				c.Load(had[i], i%3, i/3)
			}
			x := normal(r, 64, 2)
			c.Store(1, 4, x)
			for i, want := range had {
				got := make([]float32, 64)
				c.Load(got, i%3, i/3)
				if i == 4*3+1 {
					for j, y := range got {
						if math.Abs(float64(y-x[j])) > 0.04 || f == F32 && y != x[j] {
							t.Fatalf("%s: element %d is %v, stored %v", name, j, y, x[j])
						}
					}
				} else if !slices.Equal(got, want) {
					t.Fatalf("%s: cell %d of group %d has changed", name, i/3, i%3)
				}
			}
		})
	}
}
