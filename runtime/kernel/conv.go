package kernel

import "qnc/runtime/vec"

// convChannels are so many that a row of them is a stream and their taps stay near.
const convChannels = 512

// ConvScratch is the number of floats that ConvHeads needs for heads of dim channels.
func ConvScratch(dim, c int) int { return max(dim, convChannels) * c }

// ConvHeads is Conv over heads of dim channels each, one behind the other, and
// unless eps is negative L2Normalize of each head of each token.
func ConvHeads(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, c, n, dim, heads int, eps float64, scratch []float32) {
	for per := max(1, convChannels/dim); heads > 0; {
		m := min(per, heads)
		Conv(y, yStride, state, stateStride, x, xStride, w, c, n, m*dim, dim, eps, scratch)
		if heads -= m; heads > 0 {
			y, state, x, w = y[m*dim:], state[m*dim:], x[m*dim:], w[m*dim*c:]
		}
	}
}

// Conv computes y[t,d] = silu(sum_j in[t+j,d] w[d,j]) for n tokens and the
// channels d of one group, where in is the state's c-1 rows followed by x, and
// leaves the last c-1 rows of in in the state. Row strides are in floats; w
// starts at the group's first channel. Unless eps is negative each dim channels of y
// are normalised. Scratch holds c floats a channel.
func Conv(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, c, n, channels, dim int, eps float64, scratch []float32) {
	if simd != nil && c == 4 && dim%vec.Lane == 0 && channels > 0 {
		conv4(y, yStride, state, stateStride, x, xStride, w, n, channels, dim, eps, scratch)
		return
	}
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
	for t := range n {
		normalize(y[t*yStride:][:channels], dim, eps)
	}
}

// conv4 is Conv for four taps.
func conv4(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, n, channels, dim int, eps float64, scratch []float32) {
	taps := scratch[:4*channels]
	simd.Taps4(taps, w, channels)
	row := func(i int) []float32 { // of the state's rows followed by x
		if i < 3 {
			return state[i*stateStride:][:channels]
		}
		return x[(i-3)*xStride:][:channels]
	}
	for t := range n {
		out := y[t*yStride:][:channels]
		simd.Conv4(out, row(t), row(t+1), row(t+2), row(t+3), taps, channels)
		normalize(out, dim, eps)
	}
	for j := range 3 {
		copy(row(j), row(n+j))
	}
}

// normalize is L2Normalize of each dim elements, unless eps is negative.
func normalize(x []float32, dim int, eps float64) {
	for i := 0; eps >= 0 && i+dim <= len(x); i += dim {
		L2Normalize(x[i:][:dim], eps)
	}
}
