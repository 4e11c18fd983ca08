// Package kernel holds the hand-written parts of the emitted CPU kernels: the
// emitter specialises the loops around them to shapes, strides and types.
// Each function works on what one thread owns, so a result never depends on the
// number of threads, and sums run in an order fixed by the target (see Use).
package kernel

import (
	"math"
	"sync/atomic"
)

// Exp is e^x.
func Exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// Sigmoid is 1 / (1 + e^-x).
func Sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// Silu is x / (1 + e^-x).
func Silu(x float32) float32 { return float32(float64(x) / (1 + math.Exp(-float64(x)))) }

// Softplus is log(1 + e^x), and x itself above 20.
func Softplus(x float32) float32 {
	if x > 20 {
		return x
	}
	return float32(math.Log1p(math.Exp(float64(x))))
}

// RMSScale returns 1 / sqrt(mean(x²) + eps).
func RMSScale(x []float32, eps float64) float32 {
	return float32(1 / math.Sqrt(sumSquares(x)/float64(len(x))+eps))
}

// L2Normalize divides x by sqrt(sum(x²) + eps).
func L2Normalize(x []float32, eps float64) {
	s := float32(1 / math.Sqrt(sumSquares(x)+eps))
	if simd != nil {
		simd.Scale(x, x, s)
		return
	}
	for i := range x {
		x[i] *= s
	}
}

func sumSquares(x []float32) float64 {
	if simd != nil {
		return simd.SumSquares(x)
	}
	var s0, s1 float64
	for len(x) >= 2 {
		s0 += float64(x[0]) * float64(x[0])
		s1 += float64(x[1]) * float64(x[1])
		x = x[2:]
	}
	if len(x) > 0 {
		s0 += float64(x[0]) * float64(x[0])
	}
	return s0 + s1
}

// Rope rotates the pairs (i, i+n/2) of the first n elements of x by
// pos * base^(-2i/n), where n is twice the length of cos; cos and sin are
// Angles' for this position.
func Rope(x, cos, sin []float32) {
	half := len(cos)
	lo, hi := x[:half], x[half:2*half]
	if simd != nil {
		simd.Rope(lo, hi, cos, sin[:half])
		return
	}
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = float32(a*c) - float32(b*s)
		hi[i] = float32(a*s) + float32(b*c)
	}
}

// Angles fills cos and sin for one position; pair i turns by pos * base^(-2i/n).
func Angles(cos, sin []float32, pos int32, base float64) {
	for i, f := range frequencies(len(cos), base) {
		s, c := math.Sincos(float64(pos) * f)
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// A rotation is the frequencies of one kind of rope; a program has very few.
type rotation struct {
	base float64
	freq []float64
	next *rotation
}

var rotations atomic.Pointer[rotation]

// frequencies is base^(-2i/n) for the n/2 pairs of a rope, computed once.
func frequencies(pairs int, base float64) []float64 {
	first := rotations.Load()
	for r := first; r != nil; r = r.next {
		if len(r.freq) == pairs && r.base == base {
			return r.freq
		}
	}
	r := &rotation{base, make([]float64, pairs), first}
	for i := range r.freq {
		r.freq[i] = math.Pow(base, -2*float64(i)/float64(2*pairs))
	}
	rotations.CompareAndSwap(first, r) // lost to another thread: computed again next time
	return r.freq
}

// TopK writes softmax(x)'s k = len(ids) largest entries, largest first and the
// lower index first among equals, to w and ids. With norm they are divided by
// their sum, clamped from below by lo; then multiplied by scale. x is overwritten.
func TopK(w []float32, ids []int32, x []float32, norm bool, lo, scale float32) {
	Softmax(x)
	for j := range ids {
		best := ArgMax(x)
		if best < 0 || x[best] < 0 { // only NaN is left: any expert, and NaN shows in the result
			best = 0
		}
		ids[j], w[j] = int32(best), x[best]
		x[best] = -1
	}
	if norm {
		var sum float32
		for _, p := range w {
			sum += p
		}
		sum = max(sum, lo)
		for j := range w {
			w[j] /= sum
		}
	}
	if scale != 1 {
		for j := range w {
			w[j] *= scale
		}
	}
}

// ArgMax is the index of the largest number in x above -Inf, the lowest among equals; -1 if there is none.
func ArgMax(x []float32) int {
	if simd != nil {
		return simd.ArgMax(x)
	}
	best, most := -1, float32(math.Inf(-1))
	for i, p := range x {
		if p > most {
			best, most = i, p
		}
	}
	return best
}

// Softmax replaces x by e^(x-max) / sum of the same.
func Softmax(x []float32) {
	if simd != nil {
		sum := simd.ExpSum(x, x, simd.MaxOf(x))
		simd.Scale(x, x, 1/sum)
		return
	}
	m := x[0]
	for _, v := range x {
		m = max(m, v)
	}
	var sum float64
	for i, v := range x {
		e := math.Exp(float64(v - m))
		sum += e
		x[i] = float32(e)
	}
	inv := 1 / sum
	for i, v := range x {
		x[i] = float32(float64(v) * inv)
	}
}

// Add writes x + y to dst.
func Add(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	if simd != nil {
		simd.Add(dst, x, y)
		return
	}
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

// Norm writes rms_norm(x) * w to dst, which may be x.
func Norm(dst, x, w []float32, eps float64) {
	ScaledNorm(dst, x, w, RMSScale(x, eps))
}

// ScaledNorm writes x * s * w to dst, a part of Norm's where s is the RMSScale of the row.
func ScaledNorm(dst, x, w []float32, s float32) {
	x, w = x[:len(dst)], w[:len(dst)]
	if simd != nil {
		simd.Norm(dst, x, w, s)
		return
	}
	for i := range dst {
		dst[i] = x[i] * s * w[i]
	}
}

// GatedNorm writes rms_norm(x) * w * silu(z) to dst.
func GatedNorm(dst, x, w, z []float32, eps float64) {
	if simd != nil {
		n := len(dst)
		simd.Gated(dst, x[:n], w[:n], z[:n], RMSScale(x, eps))
		return
	}
	Norm(dst, x, w, eps)
	for i, g := range z[:len(dst)] {
		dst[i] *= Silu(g)
	}
}

// RMSNormalize divides x by sqrt(mean(x²) + eps).
func RMSNormalize(x []float32, eps float64) {
	s := RMSScale(x, eps)
	if simd != nil {
		simd.Scale(x, x, s)
		return
	}
	for i := range x {
		x[i] *= s
	}
}
