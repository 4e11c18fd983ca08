package kernel

import (
	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

const (
	matRows   = 16 // weight rows that are decoded at a time
	matTokens = 64 // tokens whose activations stay in cache
)

// MatMulScratch is the number of floats that MatMul needs besides, for rows of k.
func MatMulScratch(k int) int { return matRows*k + vec.DotPart(matTokens) }

// MatMul writes out[t,i] = w[i,:]·x[t,:] for rows lo to hi of w and n tokens, in
// float32. Row i of w starts at i*rowBytes and is read by decode, nil for f32 as
// stored; out has rows of outStride floats, x of xStride. The order of a sum
// depends on k alone.
func MatMul(out []float32, outStride int, x []float32, xStride int, w []byte, rowBytes int, decode func([]float32, []byte), lo, hi, n, k int, scratch []float32) {
	if lo >= hi || n == 0 {
		return
	}
	if simd == nil || k%vec.Lane != 0 {
		row := scratch[:k]
		for i := lo; i < hi; i++ {
			if decode == nil {
				row = Floats(w[i*rowBytes:][:rowBytes])
			} else {
				decode(row, w[i*rowBytes:][:rowBytes])
			}
			for t := range n {
				out[t*outStride+i] = quant.Dot(row, x[t*xStride:][:k])
			}
		}
		return
	}
	part, rows := scratch[:vec.DotPart(matTokens)], scratch[vec.DotPart(matTokens):]
	for t := 0; t < n; t += matTokens {
		for i := lo; i < hi; i += matRows {
			m := min(matRows, hi-i)
			b := rows
			if decode == nil {
				b = Floats(w[i*rowBytes : (i+m)*rowBytes])
			} else {
				for r := range m {
					decode(rows[r*k:][:k], w[(i+r)*rowBytes:][:rowBytes])
				}
			}
			simd.Dots(out[t*outStride+i:], outStride, x[t*xStride:], xStride, b, k, min(matTokens, n-t), m, k, part)
		}
	}
}
