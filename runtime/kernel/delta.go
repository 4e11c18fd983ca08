package kernel

import (
	"math"

	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

// A DeltaHead is one value head of the gated delta rule over some tokens.
// Row t of q is Q[t*QStride:], and so on; strides are in floats.
type DeltaHead struct {
	K, V    int       // head sizes
	State   []float32 // [V,K]
	Q, Key  []float32
	QStride int // of Q and Key
	Val     []float32
	VStride int
	Out     []float32
	OStride int
	G, Beta []float32 // log decay and beta of token t at t*GStride
	GStride int
	Scale   float32 // of q
}

// Step applies the rule token by token: S = e^g S; S += beta (v - S k) kᵀ; out = S (scale q).
func (h *DeltaHead) Step(tokens int) {
	for t := range tokens {
		if simd != nil && h.K%vec.Lane == 0 {
			simd.DeltaStep(h.State, h.Key[t*h.QStride:][:h.K], h.Q[t*h.QStride:], h.Val[t*h.VStride:][:h.V], h.Out[t*h.OStride:],
				Exp(h.G[t*h.GStride]), h.Beta[t*h.GStride], h.Scale)
			continue
		}
		q, k := h.Q[t*h.QStride:][:h.K], h.Key[t*h.QStride:][:h.K]
		v, out := h.Val[t*h.VStride:][:h.V], h.Out[t*h.OStride:][:h.V]
		decay, beta := Exp(h.G[t*h.GStride]), h.Beta[t*h.GStride]
		for j := range h.V {
			s := h.State[j*h.K:][:h.K]
			for i := range s {
				s[i] *= decay
			}
			quant.Axpy(s, float32((v[j]-quant.Dot(s, k))*beta), k)
			out[j] = float32(quant.Dot(s, q) * h.Scale)
		}
	}
}

// ChunkScratch is the number of floats that Chunks needs for chunks of c tokens.
func ChunkScratch(c, k, v int) int {
	const pad = vec.Lane // rows of a multiple of a cache's size alias
	return max(3*c+2*c*c+c*v+c*k, 6*c+2*c*(c+pad)+c*(v+pad)+2*c*(k+pad)+k*(c+pad)+k*(v+pad))
}

// leastDecay bounds a log decay from below: its exponential is zero, and sums
// of a chunk keep their digits however negative one of them is.
const leastDecay = -200

// Chunks applies the rule in chunks of c tokens, the last one shorter.
//
// With D the running sum of g inside a chunk, the increments u_i = beta_i (v_i - S_{i-1}' k_i)
// solve the unit triangular system
//
//	u_i = beta_i (v_i - e^D_i S k_i) - sum_{j<i} beta_i (k_i·k_j) e^(D_i-D_j) u_j
//
// out_i = scale (e^D_i S q_i + sum_{j<=i} (q_i·k_j) e^(D_i-D_j) u_j), and the
// state becomes e^D_c S + sum_j e^(D_c-D_j) u_j k_jᵀ (Yang et al., Gated Delta Networks).
func (h *DeltaHead) Chunks(tokens, c int, scratch []float32) {
	if simd != nil && c%vec.Lane == 0 && h.K%vec.Lane == 0 && h.V%vec.Lane == 0 {
		h.vectorChunks(tokens, c, scratch)
		return
	}
	for t := 0; t < tokens; t += c {
		h.chunk(t, min(c, tokens-t), c, scratch)
	}
}

// chunk is one chunk in plain Go.
func (h *DeltaHead) chunk(first, n, c int, scratch []float32) {
	take := func(n int) []float32 {
		s := scratch[:n:n]
		scratch = scratch[n:]
		return s
	}
	// A running sum is hi + lo: its differences are as exact as those of float64.
	hi, lo, decay := take(c), take(c), take(c)
	between := func(i, j int) float32 {
		return float32(math.Exp(float64(hi[i]) - float64(hi[j]) + (float64(lo[i]) - float64(lo[j]))))
	}
	kk, qk := take(c*c), take(c*c)
	u, kd := take(c*h.V), take(c*h.K)
	row := func(x []float32, stride, i, n int) []float32 { return x[(first+i)*stride:][:n] }

	var d float64
	for i := range n {
		d += float64(max(h.G[(first+i)*h.GStride], leastDecay))
		hi[i] = float32(d)
		lo[i] = float32(d - float64(hi[i]))
		decay[i] = float32(math.Exp(d))
	}
	for i := range n {
		k, q := row(h.Key, h.QStride, i, h.K), row(h.Q, h.QStride, i, h.K)
		beta := h.Beta[(first+i)*h.GStride]
		for j := range i + 1 {
			kj := row(h.Key, h.QStride, j, h.K)
			e := between(i, j)
			qk[i*c+j] = float32(quant.Dot(q, kj) * e)
			if j < i {
				kk[i*c+j] = float32(float32(quant.Dot(k, kj)*e) * beta)
			}
		}
	}
	for i := range n {
		k, q := row(h.Key, h.QStride, i, h.K), row(h.Q, h.QStride, i, h.K)
		v, out := row(h.Val, h.VStride, i, h.V), row(h.Out, h.OStride, i, h.V)
		beta := h.Beta[(first+i)*h.GStride]
		ui := u[i*h.V:][:h.V]
		for j := range h.V {
			s := h.State[j*h.K:][:h.K]
			ui[j] = float32((v[j] - float32(decay[i]*quant.Dot(s, k))) * beta)
			out[j] = float32(decay[i] * quant.Dot(s, q))
		}
		for j := range i {
			quant.Axpy(ui, -kk[i*c+j], u[j*h.V:][:h.V])
		}
		for j := range i + 1 {
			quant.Axpy(out, qk[i*c+j], u[j*h.V:][:h.V])
		}
		for j := range out {
			out[j] *= h.Scale
		}
	}
	for i := range n {
		e := between(n-1, i)
		k, to := row(h.Key, h.QStride, i, h.K), kd[i*h.K:][:h.K]
		for j := range to {
			to[j] = k[j] * e
		}
	}
	for j := range h.V {
		s := h.State[j*h.K:][:h.K]
		for i := range s {
			s[i] *= decay[n-1]
		}
		for i := range n {
			quant.Axpy(s, u[i*h.V+j], kd[i*h.K:][:h.K])
		}
	}
}
