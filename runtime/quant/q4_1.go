package quant

// q4_1, 32 elements in 20 bytes: f16 d, f16 m, then 16 bytes as in q4_0; x = d·q + m.
const bytesQ41 = 20

func decodeQ41(dst *[32]float32, b *[bytesQ41]byte) {
	d, m := F16ToF32(le.Uint16(b[:])), F16ToF32(le.Uint16(b[2:]))
	for i, v := range b[4:] {
		dst[i] = float32(d*float32(v&15)) + m
		dst[i+16] = float32(d*float32(v>>4)) + m
	}
}

// DequantizeQ41 decodes q4_1.
func DequantizeQ41(dst []float32, src []byte) {
	for b := range blocks(len(dst), 32, len(src), bytesQ41) {
		decodeQ41((*[32]float32)(dst[32*b:]), (*[bytesQ41]byte)(src[bytesQ41*b:]))
	}
}

// QuantizeQ41 encodes q4_1: the smallest value becomes 0 and the largest 15.
func QuantizeQ41(dst []byte, src []float32) {
	for b := range blocks(len(src), 32, len(dst), bytesQ41) {
		x, out := src[32*b:32*b+32], (*[bytesQ41]byte)(dst[bytesQ41*b:])
		if absMaxBits(x) >= infBits {
			*out = [bytesQ41]byte{}
			le.PutUint16(out[:], nanF16)
			continue
		}
		lo, hi := extent(x)
		d := (hi - lo) / 15
		id := inverse(d)
		le.PutUint16(out[:], F32ToF16(d))
		le.PutUint16(out[2:], F32ToF16(lo))
		for i := range 16 {
			u := level(float32((x[i]-lo)*id)+0.5, 15)
			v := level(float32((x[i+16]-lo)*id)+0.5, 15)
			out[4+i] = u | v<<4
		}
	}
}

// DotF32Q41 is the dot product of a q4_1 row with x.
func DotF32Q41(w []byte, x []float32) float32 {
	var l lanes
	var buf [32]float32
	for b := range blocks(len(x), 32, len(w), bytesQ41) {
		decodeQ41(&buf, (*[bytesQ41]byte)(w[bytesQ41*b:]))
		l.add(buf[:], x[32*b:])
	}
	return l.sum()
}

// DotA8Q41 is the dot product of a q4_1 row with a row of activations.
func DotA8Q41(w []byte, a A8) float32 {
	var acc float32
	for b := range blocks(len(a.Q), 32, len(w), bytesQ41) {
		in := (*[bytesQ41]byte)(w[bytesQ41*b:])
		i := dotNibbles((*[16]byte)(in[4:]), (*[32]int8)(a.Q[32*b:]))
		t := float32(F16ToF32(le.Uint16(in[:]))*float32(i)) +
			float32(F16ToF32(le.Uint16(in[2:]))*float32(a.Sum[b]))
		acc += float32(a.D[b] * t)
	}
	return acc
}
