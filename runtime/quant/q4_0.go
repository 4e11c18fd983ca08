package quant

// q4_0, 32 elements in 18 bytes: f16 d, then 16 bytes whose low halves are elements 0-15 and high
// halves 16-31; x = d·(q-8).
const bytesQ40 = 18

func decodeQ40(dst *[32]float32, b *[bytesQ40]byte) {
	d := F16ToF32(le.Uint16(b[:]))
	for i, v := range b[2:] {
		dst[i] = d * float32(int32(v&15)-8)
		dst[i+16] = d * float32(int32(v>>4)-8)
	}
}

// DequantizeQ40 decodes q4_0.
func DequantizeQ40(dst []float32, src []byte) {
	for b := range blocks(len(dst), 32, len(src), bytesQ40) {
		decodeQ40((*[32]float32)(dst[32*b:]), (*[bytesQ40]byte)(src[bytesQ40*b:]))
	}
}

// QuantizeQ40 encodes q4_0: the value farthest from zero becomes -8.
func QuantizeQ40(dst []byte, src []float32) {
	for b := range blocks(len(src), 32, len(dst), bytesQ40) {
		x, out := src[32*b:32*b+32], (*[bytesQ40]byte)(dst[bytesQ40*b:])
		if absMaxBits(x) >= infBits {
			*out = [bytesQ40]byte{}
			le.PutUint16(out[:], nanF16)
			continue
		}
		d := farthest(x) / -8
		id := inverse(d)
		le.PutUint16(out[:], F32ToF16(d))
		for i := range 16 {
			lo := level(float32(x[i]*id)+8.5, 15)
			hi := level(float32(x[i+16]*id)+8.5, 15)
			out[2+i] = lo | hi<<4
		}
	}
}

// DotF32Q40 is the dot product of a q4_0 row with x.
func DotF32Q40(w []byte, x []float32) float32 {
	var l lanes
	var buf [32]float32
	for b := range blocks(len(x), 32, len(w), bytesQ40) {
		decodeQ40(&buf, (*[bytesQ40]byte)(w[bytesQ40*b:]))
		l.add(buf[:], x[32*b:])
	}
	return l.sum()
}

// DotA8Q40 is the dot product of a q4_0 row with a row of activations.
func DotA8Q40(w []byte, a A8) float32 {
	var acc float32
	for b := range blocks(len(a.Q), 32, len(w), bytesQ40) {
		in := (*[bytesQ40]byte)(w[bytesQ40*b:])
		i := dotNibbles((*[16]byte)(in[2:]), (*[32]int8)(a.Q[32*b:])) - 8*a.Sum[b]
		t := F16ToF32(le.Uint16(in[:])) * float32(i)
		acc += float32(a.D[b] * t)
	}
	return acc
}
