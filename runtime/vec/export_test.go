package vec

import (
	_ "embed"
	"fmt"
	"math"
	"sync"
	"unsafe"
)

//go:embed avx512_amd64.s
var avx512Text string

// Interpreted is the AVX-512 table run by a machine of Go: kernels for vector
// units that this computer lacks are tested too.
var Interpreted = sync.OnceValue(func() *Funcs { return interpret(avx512Text, "AVX512") })

func word(p *float32) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

func at(p *byte) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

func base(x []float32) []uint64 {
	return []uint64{word(unsafe.SliceData(x)), uint64(len(x)), uint64(cap(x))}
}

func bytesBase(x []byte) []uint64 {
	return []uint64{uint64(uintptr(unsafe.Pointer(unsafe.SliceData(x)))), uint64(len(x)), uint64(cap(x))}
}

// floats packs float32 parameters two in a word.
func floats(x ...float32) []uint64 {
	out := make([]uint64, (len(x)+1)/2)
	for i, v := range x {
		out[i/2] |= uint64(math.Float32bits(v)) << (32 * (i % 2))
	}
	return out
}

func ints(x ...int) (out []uint64) {
	for _, v := range x {
		out = append(out, uint64(v))
	}
	return out
}

// interpret makes the table of a text: each function with the name that the
// compiled table has.
func interpret(text, suffix string) *Funcs {
	load := func(name string) func(args ...[]uint64) uint64 {
		p := parse(text, name+suffix)
		return func(args ...[]uint64) uint64 {
			var frame []uint64
			for _, a := range args {
				frame = append(frame, a...)
			}
			frame = append(frame, 0)
			p.run(frame)
			return frame[len(frame)-1]
		}
	}
	one := func(name string) func(dst, x []float32) {
		f := load(name)
		return func(dst, x []float32) { f(base(dst), base(x)) }
	}
	two := func(name string) func(dst, x, y []float32) {
		f := load(name)
		return func(dst, x, y []float32) { f(base(dst), base(x), base(y)) }
	}
	scale, mulAdd, norm, gated, decay, rope := load("scale"), load("mulAdd"), load("norm"), load("gated"), load("decay"), load("rope")
	expSum, squares, maxOf, argMax := load("expSum"), load("sumSquares"), load("maxOf"), load("argMax")
	widen, narrow, q80, a8 := load("widenF16"), load("narrowF16"), load("widenQ80"), load("records")
	transpose, step, solve, taps, conv := load("transpose8"), load("deltaStep"), load("solve8"), load("taps4"), load("conv4")
	low := func(x uint64) float32 { return math.Float32frombits(uint32(x)) }
	f := &Funcs{
		Add: two("add"), Mul: two("mul"), Exp: one("exp"), Sigmoid: one("sigmoid"), Silu: one("silu"), Softplus: one("softplus"),
		SiluMul:    two("siluMul"),
		Scale:      func(dst, x []float32, s float32) { scale(base(dst), base(x), floats(s)) },
		MulAdd:     func(dst, y, x []float32, p float32) { mulAdd(base(dst), base(y), base(x), floats(p)) },
		Norm:       func(dst, x, w []float32, s float32) { norm(base(dst), base(x), base(w), floats(s)) },
		Gated:      func(dst, x, w, z []float32, s float32) { gated(base(dst), base(x), base(w), base(z), floats(s)) },
		Decay:      func(dst, hi, lo []float32, h, l float32) { decay(base(dst), base(hi), base(lo), floats(h, l)) },
		Rope:       func(lo, hi, cos, sin []float32) { rope(base(lo), base(hi), base(cos), base(sin)) },
		ExpSum:     func(dst, x []float32, m float32) float32 { return low(expSum(base(dst), base(x), floats(m))) },
		SumSquares: func(x []float32) float64 { return math.Float64frombits(squares(base(x))) },
		MaxOf:      func(x []float32) float32 { return low(maxOf(base(x))) },
		ArgMax:     func(x []float32) int { return int(argMax(base(x))) },
		WidenF16:   func(dst []float32, src []byte) { widen(base(dst), bytesBase(src)) },
		NarrowF16:  func(dst []byte, src []float32) { narrow(bytesBase(dst), base(src)) },
		WidenQ80:   func(dst []float32, src []byte) { q80(base(dst), bytesBase(src)) },
		Records:    func(row []byte, x []float32) { a8(bytesBase(row), base(x)) },
		dotRows:    4,
		transpose8: func(dst *float32, ldd int, src *float32, lds, n int) {
			transpose(ints(int(word(dst)), ldd, int(word(src)), lds, n))
		},
		step: func(state, k, q, v, out *float32, cols, rows int, d, b, s float32) {
			step([]uint64{word(state), word(k), word(q), word(v), word(out)}, ints(cols, rows), floats(d, b, s))
		},
		solve8: func(u *float32, ldu int, a *float32, lda, n int) {
			solve(ints(int(word(u)), ldu, int(word(a)), lda, n))
		},
		taps4: func(dst, w *float32, n int) { taps([]uint64{word(dst), word(w), uint64(n)}) },
		conv4: func(y, r0, r1, r2, r3, t *float32, n int) {
			conv([]uint64{word(y), word(r0), word(r1), word(r2), word(r3), word(t), uint64(n)})
		},
	}
	for _, t := range []struct {
		name       string
		rows, cols int
	}{{"gemm8x2", 8, 32}, {"gemm4x2", 4, 32}, {"gemm2x2", 2, 32}, {"gemm1x2", 1, 32}, {"gemm8x1", 8, 16}, {"gemm4x1", 4, 16}, {"gemm2x1", 2, 16}, {"gemm1x1", 1, 16}} {
		run := load(t.name)
		f.gemm = append(f.gemm, gemmTile{t.rows, t.cols, func(c *float32, ldc int, a *float32, ars, acs int, b *float32, ldb, k, add int) {
			run([]uint64{word(c), uint64(ldc), word(a)}, ints(ars, acs), []uint64{word(b)}, ints(ldb, k, add))
		}})
	}
	for i, names := range [2][2]string{{"dotsNx4", "dotsNx1"}, {"dots1x4", "dots1x1"}} {
		for j, name := range names {
			run := load(name)
			f.dots[i][j] = func(out *float32, ldo int, a *float32, lda int, b *float32, ldb, k int, part *float32, flags int) {
				run([]uint64{word(out), uint64(ldo), word(a), uint64(lda), word(b)}, ints(ldb, k), []uint64{word(part)}, ints(flags))
			}
		}
	}
	for i, format := range []string{"F32", "F16", "Q80"} {
		for j, rows := range rowTiles {
			scores, weigh := load(fmt.Sprintf("scores%sx%d", format, rows)), load(fmt.Sprintf("weigh%sx%d", format, rows))
			f.scores[i][j] = func(out *float32, ldo int, q *float32, groups int, keys *byte, scales *float32, lds, k, cells, ahead, step int) {
				scores([]uint64{word(out), uint64(ldo), word(q), uint64(groups), at(keys), word(scales)}, ints(lds, k, cells, ahead, step))
			}
			f.weigh[i][j] = func(out *float32, ldo int, p *float32, ldp, ldb, groups int, values *byte, v, cells, ahead int) {
				weigh([]uint64{word(out), uint64(ldo), word(p)}, ints(ldp, ldb, groups), []uint64{at(values)}, ints(v, cells, ahead))
			}
		}
	}
	weights, words := load("scaleWeights"), load("quantizeI16")
	f.scaleWeights = func(dst *float32, ldd int, p *float32, ldp int, d *float32, lds, rows, blocks, cells int) {
		weights([]uint64{word(dst), uint64(ldd), word(p), uint64(ldp), word(d)}, ints(lds, rows, blocks, cells))
	}
	q8 := load("quantizeQ80")
	f.quantizeQ80 = func(q, d *byte, lds int, x []float32) { q8([]uint64{at(q), at(d), uint64(lds)}, base(x)) }
	f.quantizeI16 = func(dst *float32, x []float32) float32 { return low(words([]uint64{word(dst)}, base(x))) }
	return f
}
