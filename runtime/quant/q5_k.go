package quant

// q5_K, 256 elements in 176 bytes: f16 d, f16 dmin, 12 bytes of scales and minima as in q4_K,
// 32 bytes of fifth bits (bit s of byte i is element i of sub-block s), 128 bytes as in q4_K;
// x = (d·c)·q - dmin·m.
const bytesQ5K = 176

func decodeQ5K(dst *[256]float32, b *[bytesQ5K]byte) {
	d, dmin := F16ToF32(le.Uint16(b[:])), F16ToF32(le.Uint16(b[2:]))
	sc, m := scales((*[12]byte)(b[4:]))
	var q [64]byte
	for s := range 8 {
		if s%2 == 0 {
			levelsQ5K(&q, (*[32]byte)(b[48+16*s:]), (*[32]byte)(b[16:]), s)
		}
		dc, dm := d*float32(sc[s]), float32(dmin*float32(m[s]))
		out := (*[32]float32)(dst[32*s:])
		for i, v := range (*[32]byte)(q[s%2*32:]) {
			out[i] = float32(dc*float32(v)) - dm
		}
	}
}

// DequantizeQ5K decodes q5_K.
func DequantizeQ5K(dst []float32, src []byte) {
	for b := range blocks(len(dst), 256, len(src), bytesQ5K) {
		decodeQ5K((*[256]float32)(dst[256*b:]), (*[bytesQ5K]byte)(src[bytesQ5K*b:]))
	}
}

// QuantizeQ5K encodes q5_K: 32 levels between the extremes of each sub-block and zero.
func QuantizeQ5K(dst []byte, src []float32) {
	for b := range blocks(len(src), 256, len(dst), bytesQ5K) {
		out := (*[bytesQ5K]byte)(dst[bytesQ5K*b:])
		a := fitAffine((*[256]float32)(src[256*b:]), 31)
		*out = [bytesQ5K]byte{}
		le.PutUint16(out[:], a.d)
		le.PutUint16(out[2:], a.dmin)
		packScales((*[12]byte)(out[4:]), &a.sc, &a.m)
		for i := range 128 {
			p, l := i/32, i%32
			lo, hi := a.q[64*p+l], a.q[64*p+l+32]
			out[48+i] = lo&15 | hi<<4
			out[16+l] |= lo>>4<<(2*p) | hi>>4<<(2*p+1)
		}
	}
}

// DotF32Q5K is the dot product of a q5_K row with x.
func DotF32Q5K(w []byte, x []float32) float32 {
	var l lanes
	var buf [256]float32
	for b := range blocks(len(x), 256, len(w), bytesQ5K) {
		decodeQ5K(&buf, (*[bytesQ5K]byte)(w[bytesQ5K*b:]))
		l.add(buf[:], x[256*b:])
	}
	return l.sum()
}

// DotA8Q5K is the dot product of a q5_K row with a row of activations.
func DotA8Q5K(w []byte, a A8) float32 {
	var acc float32
	var q [64]byte
	for b := range blocks(len(a.Q), 256, len(w), bytesQ5K) {
		in := (*[bytesQ5K]byte)(w[bytesQ5K*b:])
		ad, as := (*[8]float32)(a.D[8*b:]), (*[8]int32)(a.Sum[8*b:])
		d, dmin := F16ToF32(le.Uint16(in[:])), F16ToF32(le.Uint16(in[2:]))
		sc, m := scales((*[12]byte)(in[4:]))
		for s := range 8 {
			if s%2 == 0 {
				levelsQ5K(&q, (*[32]byte)(in[48+16*s:]), (*[32]byte)(in[16:]), s)
			}
			i := dotI8((*[32]byte)(q[s%2*32:]), (*[32]int8)(a.Q[256*b+32*s:]))
			t := float32(d*float32(int32(sc[s])*i)) - float32(dmin*float32(int32(m[s])*as[s]))
			acc += float32(ad[s] * t)
		}
	}
	return acc
}
