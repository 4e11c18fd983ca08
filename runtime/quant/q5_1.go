package quant

// q5_1, 32 elements in 24 bytes: f16 d, f16 m, uint32 h, then 16 bytes as in q4_0; bit k of h is
// the fifth bit of element k; x = d·q + m.
const bytesQ51 = 24

func decodeQ51(dst *[32]float32, b *[bytesQ51]byte) {
	d, m := F16ToF32(le.Uint16(b[:])), F16ToF32(le.Uint16(b[2:]))
	var q [32]byte
	levelsFive(&q, (*[16]byte)(b[8:]), le.Uint32(b[4:]))
	for i, v := range q {
		dst[i] = float32(d*float32(v)) + m
	}
}

// DequantizeQ51 decodes q5_1.
func DequantizeQ51(dst []float32, src []byte) {
	for b := range blocks(len(dst), 32, len(src), bytesQ51) {
		decodeQ51((*[32]float32)(dst[32*b:]), (*[bytesQ51]byte)(src[bytesQ51*b:]))
	}
}

// QuantizeQ51 encodes q5_1: the smallest value becomes 0 and the largest 31.
func QuantizeQ51(dst []byte, src []float32) {
	for b := range blocks(len(src), 32, len(dst), bytesQ51) {
		x, out := src[32*b:32*b+32], (*[bytesQ51]byte)(dst[bytesQ51*b:])
		if absMaxBits(x) >= infBits {
			*out = [bytesQ51]byte{}
			le.PutUint16(out[:], nanF16)
			continue
		}
		lo, hi := extent(x)
		d := (hi - lo) / 31
		id := inverse(d)
		le.PutUint16(out[:], F32ToF16(d))
		le.PutUint16(out[2:], F32ToF16(lo))
		var h uint32
		for i := range 16 {
			u := level(float32((x[i]-lo)*id)+0.5, 31)
			v := level(float32((x[i+16]-lo)*id)+0.5, 31)
			out[8+i] = u&15 | v<<4
			h |= uint32(u>>4)<<i | uint32(v>>4)<<(i+16)
		}
		le.PutUint32(out[4:], h)
	}
}

// DotF32Q51 is the dot product of a q5_1 row with x.
func DotF32Q51(w []byte, x []float32) float32 {
	var l lanes
	var buf [32]float32
	for b := range blocks(len(x), 32, len(w), bytesQ51) {
		decodeQ51(&buf, (*[bytesQ51]byte)(w[bytesQ51*b:]))
		l.add(buf[:], x[32*b:])
	}
	return l.sum()
}

// DotA8Q51 is the dot product of a q5_1 row with a row of activations.
func DotA8Q51(w []byte, a A8) float32 {
	var acc float32
	var q [32]byte
	for b := range blocks(len(a.Q), 32, len(w), bytesQ51) {
		in := (*[bytesQ51]byte)(w[bytesQ51*b:])
		levelsFive(&q, (*[16]byte)(in[8:]), le.Uint32(in[4:]))
		i := dotI8(&q, (*[32]int8)(a.Q[32*b:]))
		t := float32(F16ToF32(le.Uint16(in[:]))*float32(i)) +
			float32(F16ToF32(le.Uint16(in[2:]))*float32(a.Sum[b]))
		acc += float32(a.D[b] * t)
	}
	return acc
}
