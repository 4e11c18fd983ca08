package quant

// What the encoders share.

// inverse is 1/d, and 0 for a d so small that this would overflow: the block is zero.
func inverse(d float32) float32 {
	if max(d, -d) < 0x1p-126 {
		return 0
	}
	return 1 / d
}

// level is v without its fraction, held in [0, top]; what is no number is 0.
func level(v float32, top uint8) uint8 {
	switch {
	case !(v > 0):
		return 0
	case v >= float32(top):
		return top
	}
	return uint8(v)
}

// farthest is the first value that is farthest from zero, with its sign.
func farthest(x []float32) float32 {
	var far, abs float32
	for _, v := range x {
		if a := max(v, -v); a > abs {
			far, abs = v, a
		}
	}
	return far
}

// extent is the smallest and the largest value of x, which is not empty.
func extent(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// affine is what q4_K and q5_K make of 256 values: x ≈ d·sc·q - dmin·m for each 32 of them.
type affine struct {
	d, dmin uint16 // f16
	sc, m   [8]uint8
	q       [256]uint8
}

// fitAffine gives each 32 values the levels 0…top between their smallest value (or 0, when that is
// smaller: minima are subtracted) and their largest; scales and minima get 6 bits each.
func fitAffine(x *[256]float32, top uint8) (a affine) {
	if absMaxBits(x[:]) >= infBits {
		a.d, a.dmin = nanF16, nanF16
		return a
	}
	var scale, low [8]float32
	for s := range 8 {
		lo, hi := extent(x[32*s : 32*s+32])
		lo = min(lo, 0)
		scale[s], low[s] = (hi-lo)/float32(top), -lo
	}
	_, d := extent(scale[:])
	_, dmin := extent(low[:])
	a.d, a.dmin = F32ToF16(d/63), F32ToF16(dmin/63)
	d, dmin = F16ToF32(a.d), F16ToF32(a.dmin)
	id, im := inverse(d), inverse(dmin)
	for s := range 8 {
		a.sc[s] = level(float32(scale[s]*id)+0.5, 63)
		a.m[s] = level(float32(low[s]*im)+0.5, 63)
		m := float32(dmin * float32(a.m[s]))
		is := inverse(float32(d * float32(a.sc[s])))
		for i := 32 * s; i < 32*s+32; i++ {
			a.q[i] = level(float32((x[i]+m)*is)+0.5, top)
		}
	}
	return a
}

// packScales writes eight 6-bit scales and minima into 12 bytes: see scales.
func packScales(dst *[12]byte, sc, m *[8]uint8) {
	for s := range 4 {
		dst[s] = sc[s] | sc[s+4]>>4<<6
		dst[s+4] = m[s] | m[s+4]>>4<<6
		dst[s+8] = sc[s+4]&15 | m[s+4]<<4
	}
}

// scales reads them: bytes 0-3 hold scales 0-3 and bytes 4-7 minima 0-3 in their lower 6 bits,
// bytes 8-11 the lower halves of scales and minima 4-7, whose upper 2 bits are on top of 0-7.
func scales(b *[12]byte) (sc, m [8]uint8) {
	for s := range 4 {
		sc[s], m[s] = b[s]&63, b[s+4]&63
		sc[s+4] = b[s+8]&15 | b[s]>>6<<4
		m[s+4] = b[s+8]>>4 | b[s+4]>>6<<4
	}
	return sc, m
}
