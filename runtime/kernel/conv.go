package kernel

import "qnc/runtime/vec"

// ConvScratch is the number of floats that Conv needs besides.
func ConvScratch(channels, c int) int { return channels * c }

// Conv computes y[t,d] = silu(sum_j in[t+j,d] w[d,j]) for n tokens and the
// channels d of one group, where in is the state's c-1 rows followed by x, and
// leaves the last c-1 rows of in in the state. Row strides are in floats; w
// starts at the group's first channel. Scratch holds ConvScratch floats.
func Conv(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, c, n, channels int, scratch []float32) {
	if simd != nil && c == 4 && channels%vec.Lane == 0 && channels > 0 {
		conv4(y, yStride, state, stateStride, x, xStride, w, n, channels, scratch)
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
}

// conv4 is Conv for four taps.
func conv4(y []float32, yStride int, state []float32, stateStride int, x []float32, xStride int, w []float32, n, channels int, scratch []float32) {
	taps := scratch[:4*channels]
	simd.Taps4(taps, w, channels)
	row := func(i int) []float32 { // of the state's rows followed by x
		if i < 3 {
			return state[i*stateStride:][:channels]
		}
		return x[(i-3)*xStride:][:channels]
	}
	for t := range n {
		simd.Conv4(y[t*yStride:][:channels], row(t), row(t+1), row(t+2), row(t+3), taps, channels)
	}
	for j := range 3 {
		copy(row(j), row(n+j))
	}
}
