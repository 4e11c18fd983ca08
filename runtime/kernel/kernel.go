// Package kernel holds the hand-written parts of the emitted CPU kernels: the
// emitter specialises the loops around them to shapes, strides and types.
// Everything is scalar Go; each function works on what one thread owns, so a
// result never depends on the number of threads. Sums run in one fixed order.
package kernel

import "math"

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
	for i := range x {
		x[i] *= s
	}
}

func sumSquares(x []float32) float64 {
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
// pos * base^(-2i/n), where n is twice the length of freq.
// cos and sin are Angles' for this position.
func Rope(x, cos, sin []float32) {
	half := len(cos)
	lo, hi := x[:half], x[half:2*half]
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = float32(a*c) - float32(b*s)
		hi[i] = float32(a*s) + float32(b*c)
	}
}

// Angles fills cos and sin for one position; pair i turns by pos * base^(-2i/n).
func Angles(cos, sin []float32, pos int32, base float64) {
	n := float64(2 * len(cos))
	for i := range cos {
		s, c := math.Sincos(float64(pos) * math.Pow(base, -2*float64(i)/n))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// TopK writes softmax(x)'s k = len(ids) largest entries, largest first and the
// lower index first among equals, to w and ids. With norm they are divided by
// their sum, clamped from below by lo; then multiplied by scale. x is overwritten.
func TopK(w []float32, ids []int32, x []float32, norm bool, lo, scale float32) {
	Softmax(x)
	for j := range ids {
		best := -1
		for i, p := range x {
			if p >= 0 && (best < 0 || p > x[best]) {
				best = i
			}
		}
		if best < 0 { // only NaN is left: any expert, and NaN shows in the result
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

// Softmax replaces x by e^(x-max) / sum of the same.
func Softmax(x []float32) {
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

// Conv computes y[t,d] = silu(sum_j in[t+j,d] w[d,j]) for n tokens and the
// channels d of one group, where in is the state's c-1 rows followed by x, and
// leaves the last c-1 rows of in in the state. Row strides are in floats; w
// starts at the group's first channel.
func Conv(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, c, n, channels int) {
	for d := range channels {
		taps := w[d*c:][:c]
		for t := range n {
			var s float32
			for j, tap := range taps {
				if i := t + j - (c - 1); i < 0 {
					s += float32(state[(t+j)*stateStride+d] * tap)
				} else {
					s += float32(x[i*xStride+d] * tap)
				}
			}
			y[t*yStride+d] = Silu(s)
		}
		for j := range c - 1 {
			if i := n + j - (c - 1); i < 0 {
				state[j*stateStride+d] = state[(n+j)*stateStride+d]
			} else {
				state[j*stateStride+d] = x[i*xStride+d]
			}
		}
	}
}

// Add writes x + y to dst.
func Add(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

// Norm writes rms_norm(x) * w to dst, which may be x.
func Norm(dst, x, w []float32, eps float64) {
	s := RMSScale(x, eps)
	x, w = x[:len(dst)], w[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * s * w[i]
	}
}

// GatedNorm writes rms_norm(x) * w * silu(z) to dst.
func GatedNorm(dst, x, w, z []float32, eps float64) {
	Norm(dst, x, w, eps)
	for i, v := range z[:len(dst)] {
		dst[i] *= Silu(v)
	}
}

// RMSNormalize divides x by sqrt(mean(x²) + eps).
func RMSNormalize(x []float32, eps float64) {
	s := RMSScale(x, eps)
	for i := range x {
		x[i] *= s
	}
}

// L2NormalizeRows applies L2Normalize to n rows of dim floats.
func L2NormalizeRows(x []float32, stride, n, dim int, eps float64) {
	for t := range n {
		L2Normalize(x[t*stride:][:dim], eps)
	}
}
