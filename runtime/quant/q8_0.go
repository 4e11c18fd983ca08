package quant

import "math"

// q8_0, 32 elements in 34 bytes: f16 d, int8 q[32]; x = d·q.
const bytesQ80 = 34

func decodeQ80(dst *[32]float32, b *[bytesQ80]byte) {
	d := F16ToF32(le.Uint16(b[:]))
	for i := range dst {
		dst[i] = d * float32(int8(b[2+i]))
	}
}

// DequantizeQ80 decodes q8_0.
func DequantizeQ80(dst []float32, src []byte) {
	for b := range blocks(len(dst), 32, len(src), bytesQ80) {
		decodeQ80((*[32]float32)(dst[32*b:]), (*[bytesQ80]byte)(src[bytesQ80*b:]))
	}
}

// QuantizeQ80 encodes q8_0: d = max|x|/127, q rounded to nearest even.
func QuantizeQ80(dst []byte, src []float32) {
	for b := range blocks(len(src), 32, len(dst), bytesQ80) {
		x, out := src[32*b:32*b+32], (*[bytesQ80]byte)(dst[bytesQ80*b:])
		bits := absMaxBits(x)
		if bits >= infBits {
			*out = [bytesQ80]byte{}
			le.PutUint16(out[:], nanF16)
			continue
		}
		d := math.Float32frombits(bits) / 127
		id := inverse(d)
		le.PutUint16(out[:], F32ToF16(d))
		for i, v := range x {
			out[2+i] = byte(int8(clampRound(float32(v*id), -127, 127)))
		}
	}
}

// DotF32Q80 is the dot product of a q8_0 row with x: k·q of a cache row too.
func DotF32Q80(w []byte, x []float32) float32 {
	var l lanes
	var buf [32]float32
	for b := range blocks(len(x), 32, len(w), bytesQ80) {
		decodeQ80(&buf, (*[bytesQ80]byte)(w[bytesQ80*b:]))
		l.add(buf[:], x[32*b:])
	}
	return l.sum()
}

// AxpyQ80 adds p·v to out, v a q8_0 row of len(out) elements (a cache row of values).
func AxpyQ80(out []float32, p float32, v []byte) {
	var buf [32]float32
	for b := range blocks(len(out), 32, len(v), bytesQ80) {
		decodeQ80(&buf, (*[bytesQ80]byte)(v[bytesQ80*b:]))
		Axpy(out[32*b:], p, buf[:])
	}
}

// DotA8Q80 is the dot product of a q8_0 row with a row of activations.
func DotA8Q80(w []byte, a A8) float32 {
	var acc float32
	for b := range blocks(len(a.Q), 32, len(w), bytesQ80) {
		in := (*[bytesQ80]byte)(w[bytesQ80*b:])
		i := dotI8((*[32]byte)(in[2:]), (*[32]int8)(a.Q[32*b:]))
		t := F16ToF32(le.Uint16(in[:])) * float32(i)
		acc += float32(a.D[b] * t)
	}
	return acc
}
