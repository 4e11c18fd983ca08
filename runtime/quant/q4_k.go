package quant

// q4_K, 256 elements in 144 bytes: f16 d, f16 dmin, 12 bytes of 6-bit scales c and minima m of the
// eight sub-blocks of 32, then 4 times 32 bytes whose low halves are one sub-block and high halves
// the next; x = (d·c)·q - dmin·m.
const bytesQ4K = 144

func decodeQ4K(dst *[256]float32, b *[bytesQ4K]byte) {
	d, dmin := F16ToF32(le.Uint16(b[:])), F16ToF32(le.Uint16(b[2:]))
	sc, m := scales((*[12]byte)(b[4:]))
	for p := range 4 {
		d0, m0 := d*float32(sc[2*p]), float32(dmin*float32(m[2*p]))
		d1, m1 := d*float32(sc[2*p+1]), float32(dmin*float32(m[2*p+1]))
		lo, hi := (*[32]float32)(dst[64*p:]), (*[32]float32)(dst[64*p+32:])
		for i, v := range (*[32]byte)(b[16+32*p:]) {
			lo[i] = float32(d0*float32(v&15)) - m0
			hi[i] = float32(d1*float32(v>>4)) - m1
		}
	}
}

// DequantizeQ4K decodes q4_K.
func DequantizeQ4K(dst []float32, src []byte) {
	for b := range blocks(len(dst), 256, len(src), bytesQ4K) {
		decodeQ4K((*[256]float32)(dst[256*b:]), (*[bytesQ4K]byte)(src[bytesQ4K*b:]))
	}
}

// QuantizeQ4K encodes q4_K: 16 levels between the extremes of each sub-block and zero.
func QuantizeQ4K(dst []byte, src []float32) {
	for b := range blocks(len(src), 256, len(dst), bytesQ4K) {
		out := (*[bytesQ4K]byte)(dst[bytesQ4K*b:])
		a := fitAffine((*[256]float32)(src[256*b:]), 15)
		le.PutUint16(out[:], a.d)
		le.PutUint16(out[2:], a.dmin)
		packScales((*[12]byte)(out[4:]), &a.sc, &a.m)
		for i := range 128 {
			q := 64*(i/32) + i%32
			out[16+i] = a.q[q] | a.q[q+32]<<4
		}
	}
}

// DotF32Q4K is the dot product of a q4_K row with x.
func DotF32Q4K(w []byte, x []float32) float32 {
	var l lanes
	var buf [256]float32
	for b := range blocks(len(x), 256, len(w), bytesQ4K) {
		decodeQ4K(&buf, (*[bytesQ4K]byte)(w[bytesQ4K*b:]))
		l.add(buf[:], x[256*b:])
	}
	return l.sum()
}

// DotA8Q4K is the dot product of a q4_K row with a row of activations.
func DotA8Q4K(w []byte, a A8) float32 {
	var acc float32
	for b := range blocks(len(a.Q), 256, len(w), bytesQ4K) {
		in := (*[bytesQ4K]byte)(w[bytesQ4K*b:])
		ad, as := (*[8]float32)(a.D[8*b:]), (*[8]int32)(a.Sum[8*b:])
		d, dmin := F16ToF32(le.Uint16(in[:])), F16ToF32(le.Uint16(in[2:]))
		sc, m := scales((*[12]byte)(in[4:]))
		for p := range 4 {
			i0, i1 := dotHalves((*[32]byte)(in[16+32*p:]), (*[64]int8)(a.Q[256*b+64*p:]))
			s := 2 * p
			t := float32(d*float32(int32(sc[s])*i0)) - float32(dmin*float32(int32(m[s])*as[s]))
			acc += float32(ad[s] * t)
			s++
			t = float32(d*float32(int32(sc[s])*i1)) - float32(dmin*float32(int32(m[s])*as[s]))
			acc += float32(ad[s] * t)
		}
	}
	return acc
}
