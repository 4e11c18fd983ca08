package kernel

import "qnc/runtime/vec"

// A chunker is the matrices of a chunk; ld are sizes of rows in floats. They
// are as DeltaHead.Chunks says, with the state transposed: st[i] is what key
// element i maps to, so that every product runs along whole rows.
type chunker struct {
	DeltaHead
	c, ldc, ldk, ldv       int
	st, keyT, key, q       []float32 // [K,V], [K,c], [c,K], [c,K]
	kk, qk, u              []float32 // [c,c], [c,c], [c,V]
	hi, lo, decay, e, nega []float32 // [c]: the sums of g in two parts, e to their power, scratch
}

// vectorChunks is Chunks over the target's vector kernels.
func (h *DeltaHead) vectorChunks(tokens, c int, scratch []float32) {
	take := func(n int) []float32 {
		s := scratch[:n:n]
		scratch = scratch[n:]
		return s
	}
	const pad = vec.Lane
	m := chunker{DeltaHead: *h, c: c, ldc: c + pad, ldk: h.K + pad, ldv: h.V + pad}
	m.st, m.keyT = take(h.K*m.ldv), take(h.K*m.ldc)
	m.key, m.q = take(c*m.ldk), take(c*m.ldk)
	m.kk, m.qk, m.u = take(c*m.ldc), take(c*m.ldc), take(c*m.ldv)
	m.hi, m.lo, m.decay, m.e, m.nega = take(c), take(c), take(c), take(c), take(2*c)
	simd.Transpose(m.st, m.ldv, h.State, h.K, h.V, h.K)
	for t := 0; t < tokens; t += c {
		n := min(c, tokens-t)
		m.run(t, n, min(c, tokens-t-n))
	}
	simd.Transpose(h.State, h.K, m.st, m.ldv, h.K, h.V)
}

// run is one chunk of n tokens; next are in the one behind it. Rows behind the
// last are zeros, to whole tiles.
func (m *chunker) run(first, n, next int) {
	all := (n + vec.Lane - 1) / vec.Lane * vec.Lane
	m.load(first, n, all)
	for i := 0; i < all; i += vec.Lane {
		simd.Gemm(m.kk[i*m.ldc:], m.ldc, m.key[i*m.ldk:], m.ldk, 1, m.keyT, m.ldc, vec.Lane, i+vec.Lane, m.K, false)
		simd.Gemm(m.qk[i*m.ldc:], m.ldc, m.q[i*m.ldk:], m.ldk, 1, m.keyT, m.ldc, vec.Lane, i+vec.Lane, m.K, false)
	}
	simd.Gemm(m.u, m.ldv, m.key, m.ldk, 1, m.st, m.ldv, all, m.V, m.K, false)
	for i := range n {
		if i < next {
			m.fetch(first + n + i)
		}
		beta := m.Beta[(first+i)*m.GStride]
		e := m.e[:i+1]
		simd.Decay(e, m.hi, m.lo, m.hi[i], m.lo[i])
		qk, kk := m.qk[i*m.ldc:][:all], m.kk[i*m.ldc:][:all]
		simd.Mul(qk[:i+1], qk, e)
		simd.Scale(e, e, -beta)
		simd.Mul(kk[:i], kk, e)
		clear(qk[i+1:])
		clear(kk[i:])
		u := m.u[i*m.ldv:][:m.V]
		simd.MulAdd(u, m.Val[(first+i)*m.VStride:][:m.V], u, -m.decay[i])
		simd.Scale(u, u, beta)
		q := m.q[i*m.ldk:][:m.K]
		simd.Scale(q, q, m.decay[i])
	}
	// Eight rows of the triangle at a time: what the rows before give, then their own.
	const tile = 8
	for i := 0; i < n; i += tile {
		simd.Gemm(m.u[i*m.ldv:], m.ldv, m.kk[i*m.ldc:], m.ldc, 1, m.u, m.ldv, tile, m.V, i, true)
		simd.Solve8(m.u[i*m.ldv:], m.ldv, m.kk[i*m.ldc+i:], m.ldc, m.V)
	}
	out := m.Out[first*m.OStride:]
	simd.Gemm(out, m.OStride, m.q, m.ldk, 1, m.st, m.ldv, n, m.V, m.K, false)
	for i := 0; i < n; i += tile {
		simd.Gemm(out[i*m.OStride:], m.OStride, m.qk[i*m.ldc:], m.ldc, 1, m.u, m.ldv, min(tile, n-i), m.V, min(i+tile, n), true)
	}
	simd.Decay(m.e[:n], m.hi, m.lo, m.hi[n-1], m.lo[n-1])
	for i := range n {
		u := m.u[i*m.ldv:][:m.V]
		simd.Scale(u, u, m.e[i])
	}
	for i := range m.K {
		s := m.st[i*m.ldv:][:m.V]
		simd.Scale(s, s, m.decay[n-1])
	}
	simd.Gemm(m.st, m.ldv, m.key, 1, m.ldk, m.u, m.ldv, m.K, m.V, n, true)
}

// fetch asks memory for what a token of the next chunk reads and writes.
func (m *chunker) fetch(t int) {
	for _, row := range [][]float32{m.Key[t*m.QStride:][:m.K], m.Q[t*m.QStride:][:m.K], m.Val[t*m.VStride:][:m.V], m.Out[t*m.OStride:][:m.V]} {
		simd.Prefetch(Bytes(row))
	}
}

// load copies the chunk's keys and queries, the latter scaled, and sums g.
func (m *chunker) load(first, n, all int) {
	var d float64
	neg := m.nega[:2*m.c]
	for i := range n {
		d += float64(max(m.G[(first+i)*m.GStride], leastDecay))
		m.hi[i] = float32(d)
		m.lo[i] = float32(d - float64(m.hi[i]))
		neg[i], neg[m.c+i] = -m.hi[i], -m.lo[i]
		copy(m.key[i*m.ldk:][:m.K], m.Key[(first+i)*m.QStride:])
		simd.Scale(m.q[i*m.ldk:][:m.K], m.Q[(first+i)*m.QStride:], m.DeltaHead.Scale)
	}
	simd.Decay(m.decay[:n], neg[:n], neg[m.c:], 0, 0)
	for i := n; i < all; i++ {
		clear(m.key[i*m.ldk:][:m.K])
		clear(m.q[i*m.ldk:][:m.K])
	}
	simd.Transpose(m.keyT, m.ldc, m.key, m.ldk, all, m.K)
}
