package quant

// q5_0, 32 elements in 22 bytes: f16 d, uint32 h, then 16 bytes as in q4_0; bit k of h is the
// fifth bit of element k; x = d·(q-16).
const bytesQ50 = 22

func decodeQ50(dst *[32]float32, b *[bytesQ50]byte) {
	d := F16ToF32(le.Uint16(b[:]))
	var q [32]byte
	levelsFive(&q, (*[16]byte)(b[6:]), le.Uint32(b[2:]))
	for i, v := range q {
		dst[i] = d * float32(int32(v)-16)
	}
}

// DequantizeQ50 decodes q5_0.
func DequantizeQ50(dst []float32, src []byte) {
	for b := range blocks(len(dst), 32, len(src), bytesQ50) {
		decodeQ50((*[32]float32)(dst[32*b:]), (*[bytesQ50]byte)(src[bytesQ50*b:]))
	}
}

// QuantizeQ50 encodes q5_0: the value farthest from zero becomes -16.
func QuantizeQ50(dst []byte, src []float32) {
	for b := range blocks(len(src), 32, len(dst), bytesQ50) {
		x, out := src[32*b:32*b+32], (*[bytesQ50]byte)(dst[bytesQ50*b:])
		if absMaxBits(x) >= infBits {
			*out = [bytesQ50]byte{}
			le.PutUint16(out[:], nanF16)
			continue
		}
		d := farthest(x) / -16
		id := inverse(d)
		le.PutUint16(out[:], F32ToF16(d))
		var h uint32
		for i := range 16 {
			lo := level(float32(x[i]*id)+16.5, 31)
			hi := level(float32(x[i+16]*id)+16.5, 31)
			out[6+i] = lo&15 | hi<<4
			h |= uint32(lo>>4)<<i | uint32(hi>>4)<<(i+16)
		}
		le.PutUint32(out[2:], h)
	}
}

// DotF32Q50 is the dot product of a q5_0 row with x.
func DotF32Q50(w []byte, x []float32) float32 {
	var l lanes
	var buf [32]float32
	for b := range blocks(len(x), 32, len(w), bytesQ50) {
		decodeQ50(&buf, (*[bytesQ50]byte)(w[bytesQ50*b:]))
		l.add(buf[:], x[32*b:])
	}
	return l.sum()
}

// DotA8Q50 is the dot product of a q5_0 row with a row of activations.
func DotA8Q50(w []byte, a A8) float32 {
	var acc float32
	var q [32]byte
	for b := range blocks(len(a.Q), 32, len(w), bytesQ50) {
		in := (*[bytesQ50]byte)(w[bytesQ50*b:])
		levelsFive(&q, (*[16]byte)(in[6:]), le.Uint32(in[2:]))
		i := dotI8(&q, (*[32]int8)(a.Q[32*b:])) - 16*a.Sum[b]
		t := F16ToF32(le.Uint16(in[:])) * float32(i)
		acc += float32(a.D[b] * t)
	}
	return acc
}
