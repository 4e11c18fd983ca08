package kernel

import (
	"qnc/runtime/panel"
	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

// simd is the table of the target's vector kernels, nil for plain Go.
var simd *vec.Funcs

// Use selects the kernels of a target of package cpu. It is called once, before
// any kernel runs, and only with a target that the machine can run.
func Use(target string) { simd = vec.ForTarget(target) }

// QuantizeRecords is panel.Quantize.
func QuantizeRecords(row []byte, x []float32) {
	if simd == nil || len(x)%quant.BlockA8 != 0 || len(row) < panel.RowBytes(len(x)) {
		panel.Quantize(row, x)
		return
	}
	simd.Records(row, x)
}

// QuantizeF16 is quant.QuantizeF16.
func QuantizeF16(dst []byte, src []float32) {
	if simd == nil || len(dst) < 2*len(src) {
		quant.QuantizeF16(dst, src)
		return
	}
	simd.NarrowF16(dst, src)
}

// DequantizeF16 is quant.DequantizeF16.
func DequantizeF16(dst []float32, src []byte) {
	if simd == nil || len(src) < 2*len(dst) {
		quant.DequantizeF16(dst, src)
		return
	}
	simd.WidenF16(dst, src)
}

// DequantizeQ80 is quant.DequantizeQ80.
func DequantizeQ80(dst []float32, src []byte) {
	if simd == nil || len(dst)%32 != 0 || len(src) < len(dst)/32*34 {
		quant.DequantizeQ80(dst, src)
		return
	}
	simd.WidenQ80(dst, src)
}

// The rows below are elementwise functions over all of dst.

// ExpRow writes e^x.
func ExpRow(dst, x []float32) {
	x = x[:len(dst)]
	if simd != nil {
		simd.Exp(dst, x)
		return
	}
	for i, a := range x {
		dst[i] = Exp(a)
	}
}

// SigmoidRow writes 1 / (1 + e^-x).
func SigmoidRow(dst, x []float32) {
	x = x[:len(dst)]
	if simd != nil {
		simd.Sigmoid(dst, x)
		return
	}
	for i, a := range x {
		dst[i] = Sigmoid(a)
	}
}

// SiluRow writes x / (1 + e^-x).
func SiluRow(dst, x []float32) {
	x = x[:len(dst)]
	if simd != nil {
		simd.Silu(dst, x)
		return
	}
	for i, a := range x {
		dst[i] = Silu(a)
	}
}

// SoftplusRow writes log(1 + e^x).
func SoftplusRow(dst, x []float32) {
	x = x[:len(dst)]
	if simd != nil {
		simd.Softplus(dst, x)
		return
	}
	for i, a := range x {
		dst[i] = Softplus(a)
	}
}

// Mul writes x * y.
func Mul(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	if simd != nil {
		simd.Mul(dst, x, y)
		return
	}
	for i, a := range x {
		dst[i] = a * y[i]
	}
}

// Scale writes x * s.
func Scale(dst, x []float32, s float32) {
	x = x[:len(dst)]
	if simd != nil {
		simd.Scale(dst, x, s)
		return
	}
	for i, a := range x {
		dst[i] = a * s
	}
}

// addScaled adds p x to dst.
func addScaled(dst []float32, p float32, x []float32) {
	if simd != nil {
		simd.MulAdd(dst, dst, x, p)
		return
	}
	quant.Axpy(dst, p, x)
}

// SiluMul writes silu(x) * y.
func SiluMul(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	if simd != nil {
		simd.SiluMul(dst, x, y)
		return
	}
	for i, a := range x {
		dst[i] = Silu(a) * y[i]
	}
}

// Read is vec.Funcs.Read of the target.
func Read(p []byte, ahead int) float32 { return simd.Read(p, ahead) }
