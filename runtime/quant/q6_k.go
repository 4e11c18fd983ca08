package quant

// q6_K, 256 elements in 210 bytes: low halves ql[128], upper two bits qh[64], int8 scales c of the
// sixteen sub-blocks of 16, f16 d; x = (d·c)·(q-32). Each half of 128 elements has 64 bytes of ql
// and 32 of qh: element 32·g+i (g = 0…3) has the low (g < 2) or high half of ql[32·(g%2)+i] and
// bits 2g, 2g+1 of qh[i].
const bytesQ6K = 210

func decodeQ6K(dst *[256]float32, b *[bytesQ6K]byte) {
	d := F16ToF32(le.Uint16(b[208:]))
	var q [128]byte
	for h := range 2 {
		levelsQ6K(&q, b, h)
		for s := range 8 {
			dc := d * float32(int8(b[192+8*h+s]))
			out := (*[16]float32)(dst[128*h+16*s:])
			for i, v := range (*[16]byte)(q[16*s:]) {
				out[i] = dc * float32(int8(v))
			}
		}
	}
}

// DequantizeQ6K decodes q6_K.
func DequantizeQ6K(dst []float32, src []byte) {
	for b := range blocks(len(dst), 256, len(src), bytesQ6K) {
		decodeQ6K((*[256]float32)(dst[256*b:]), (*[bytesQ6K]byte)(src[bytesQ6K*b:]))
	}
}

// QuantizeQ6K encodes q6_K: the value of a sub-block that is farthest from zero becomes -32, and
// so does the farthest scale -128.
func QuantizeQ6K(dst []byte, src []float32) {
	for b := range blocks(len(src), 256, len(dst), bytesQ6K) {
		x, out := src[256*b:256*b+256], (*[bytesQ6K]byte)(dst[bytesQ6K*b:])
		*out = [bytesQ6K]byte{}
		if absMaxBits(x) >= infBits {
			le.PutUint16(out[208:], nanF16)
			continue
		}
		var scale [16]float32
		for s := range scale {
			scale[s] = farthest(x[16*s:16*s+16]) / -32
		}
		d16 := F32ToF16(farthest(scale[:]) / -128)
		d := F16ToF32(d16)
		le.PutUint16(out[208:], d16)
		id := inverse(d)
		for s, v := range scale {
			c := clampRound(float32(v*id), -128, 127)
			out[192+s] = byte(int8(c))
			is := inverse(d * float32(c))
			for j, v := range x[16*s : 16*s+16] {
				q := byte(clampRound(float32(v*is), -32, 31) + 32)
				h, g, i := s/8, s/2%4, s%2*16+j
				out[64*h+g%2*32+i] |= q & 15 << (g / 2 * 4)
				out[128+32*h+i] |= q >> 4 << (2 * g)
			}
		}
	}
}

// DotF32Q6K is the dot product of a q6_K row with x.
func DotF32Q6K(w []byte, x []float32) float32 {
	var l lanes
	var buf [256]float32
	for b := range blocks(len(x), 256, len(w), bytesQ6K) {
		decodeQ6K(&buf, (*[bytesQ6K]byte)(w[bytesQ6K*b:]))
		l.add(buf[:], x[256*b:])
	}
	return l.sum()
}

// DotA8Q6K is the dot product of a q6_K row with a row of activations.
func DotA8Q6K(w []byte, a A8) float32 {
	var acc float32
	var q [128]byte
	for b := range blocks(len(a.Q), 256, len(w), bytesQ6K) {
		in := (*[bytesQ6K]byte)(w[bytesQ6K*b:])
		d := F16ToF32(le.Uint16(in[208:]))
		for h := range 2 {
			levelsQ6K(&q, in, h)
			aq, ad := (*[128]int8)(a.Q[256*b+128*h:]), (*[4]float32)(a.D[8*b+4*h:])
			for g, ad := range ad {
				i0 := dotI8x16((*[16]byte)(q[32*g:]), (*[16]int8)(aq[32*g:]))
				i1 := dotI8x16((*[16]byte)(q[32*g+16:]), (*[16]int8)(aq[32*g+16:]))
				c := in[192+8*h+2*g:]
				t := d * float32(int32(int8(c[0]))*i0+int32(int8(c[1]))*i1)
				acc += float32(ad * t)
			}
		}
	}
	return acc
}
