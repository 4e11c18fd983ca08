package quant

import "math"

// F16ToF32 widens an IEEE half exactly. A NaN keeps its payload and becomes quiet, as the F16C
// instructions do.
func F16ToF32(h uint16) float32 {
	b := uint32(h&0x8000)<<16 | uint32(h&0x7fff)<<13
	if h&0x7c00 == 0x7c00 {
		return notFinite(b)
	}
	// The exponents' biases differ by 112; the product is exact, that of a subnormal too.
	return math.Float32frombits(b) * 0x1p112
}

func notFinite(b uint32) float32 {
	b |= infBits
	if b&0x7fffff != 0 {
		b |= 0x400000
	}
	return math.Float32frombits(b)
}

// F32ToF16 rounds to the nearest half, ties to even; what is too large becomes an infinity, a NaN
// stays one (quiet, with the upper bits of its payload).
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, a := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00 | uint16(a>>13)&0x03ff
	case a >= 0x477ff000: // 65520: halfway between the largest half and 2^16
		return sign | 0x7c00
	case a < 0x38800000: // below 2^-14 the spacing is 2^-24: adding 0.5 makes it the last bit
		return sign | uint16(math.Float32bits(math.Float32frombits(a)+0.5)-0x3f000000)
	}
	return sign | uint16((a-112<<23+0x0fff+(a>>13)&1)>>13)
}

// BF16ToF32 widens a bfloat16 exactly.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to the nearest bfloat16, ties to even; a NaN becomes quiet.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

const (
	infBits = 0x7f800000
	nanF16  = 0x7e00
)

// absMaxBits is the largest |x| as bits. Bits of absolute values order as integers do, NaN above
// infinity above all numbers, so a result >= infBits says that x has a value that is not finite.
func absMaxBits(x []float32) uint32 {
	var m uint32
	for _, v := range x {
		m = max(m, math.Float32bits(v)&0x7fffffff)
	}
	return m
}

// round is x to the nearest integer, ties to even, for |x| < 2^22: the sum with 1.5·2^23 has no
// room for a fraction. The conversions of callers keep x's product from being fused into it.
func round(x float32) int32 {
	return int32(math.Float32bits(x+0x1.8p23)) - 0x4b400000
}

// clampRound is round(x) held in [lo, hi]; x may be anything but NaN.
func clampRound(x, lo, hi float32) int32 { return round(min(max(x, lo), hi)) }
