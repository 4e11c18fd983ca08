package quant

import (
	"encoding/binary"
	"math"
)

var le = binary.LittleEndian

// f32, f16 and bf16: little-endian numbers one after the other; a block is one element.

// chunk is how many elements are decoded at a time by the dot products below.
const chunk = 64

// DequantizeF32 decodes f32.
func DequantizeF32(dst []float32, src []byte) {
	blocks(len(dst), 1, len(src), 4)
	for len(dst) >= 8 {
		in, out := (*[32]byte)(src), (*[8]float32)(dst)
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(in[4*i:]))
		}
		src, dst = src[32:], dst[8:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
	}
}

// QuantizeF32 encodes f32.
func QuantizeF32(dst []byte, src []float32) {
	blocks(len(src), 1, len(dst), 4)
	for i, v := range src {
		le.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// DotF32F32 is the dot product of an f32 row with x.
func DotF32F32(w []byte, x []float32) float32 {
	var l lanes
	var buf [chunk]float32
	for len(x) > 0 {
		n := min(chunk, len(x))
		DequantizeF32(buf[:n], w)
		l.add(buf[:n], x)
		w, x = w[4*n:], x[n:]
	}
	return l.sum()
}

// DequantizeF16 decodes f16.
func DequantizeF16(dst []float32, src []byte) {
	blocks(len(dst), 1, len(src), 2)
	for len(dst) >= 8 {
		in, out := (*[16]byte)(src), (*[8]float32)(dst)
		for i := range out {
			out[i] = F16ToF32(le.Uint16(in[2*i:]))
		}
		src, dst = src[16:], dst[8:]
	}
	for i := range dst {
		dst[i] = F16ToF32(le.Uint16(src[2*i:]))
	}
}

// QuantizeF16 encodes f16, rounding to nearest even.
func QuantizeF16(dst []byte, src []float32) {
	blocks(len(src), 1, len(dst), 2)
	for i, v := range src {
		le.PutUint16(dst[2*i:], F32ToF16(v))
	}
}

// DotF32F16 is the dot product of an f16 row with x: k·q of a cache row too.
func DotF32F16(w []byte, x []float32) float32 {
	var l lanes
	var buf [chunk]float32
	for len(x) > 0 {
		n := min(chunk, len(x))
		DequantizeF16(buf[:n], w)
		l.add(buf[:n], x)
		w, x = w[2*n:], x[n:]
	}
	return l.sum()
}

// AxpyF16 adds p·v to out, v an f16 row of len(out) elements (a cache row of values).
func AxpyF16(out []float32, p float32, v []byte) {
	blocks(len(out), 1, len(v), 2)
	v = v[:2*len(out)]
	for i := range out {
		out[i] += float32(p * F16ToF32(le.Uint16(v[2*i:])))
	}
}

// DequantizeBF16 decodes bf16.
func DequantizeBF16(dst []float32, src []byte) {
	blocks(len(dst), 1, len(src), 2)
	src = src[:2*len(dst)]
	for i := range dst {
		dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
	}
}

// QuantizeBF16 encodes bf16, rounding to nearest even.
func QuantizeBF16(dst []byte, src []float32) {
	blocks(len(src), 1, len(dst), 2)
	for i, v := range src {
		le.PutUint16(dst[2*i:], F32ToBF16(v))
	}
}

// DotF32BF16 is the dot product of a bf16 row with x.
func DotF32BF16(w []byte, x []float32) float32 {
	var l lanes
	var buf [chunk]float32
	for len(x) > 0 {
		n := min(chunk, len(x))
		DequantizeBF16(buf[:n], w)
		l.add(buf[:n], x)
		w, x = w[2*n:], x[n:]
	}
	return l.sum()
}
