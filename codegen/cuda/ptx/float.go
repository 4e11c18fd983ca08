package ptx

import "math"

// The NaN of every operation.
const (
	nan16 = 0x7fff
	nan32 = 0x7fffffff
	nan64 = 0x7fffffffffffffff
)

func f32(x uint64) float32 { return math.Float32frombits(uint32(x)) }

func bits32(f float32) uint64 {
	if f != f {
		return nan32
	}
	return uint64(math.Float32bits(f))
}

// value is a float of any type as a float64, which holds all of them.
func (t typ) value(x uint64) float64 {
	switch {
	case t.kind == 'g':
		return float64(f32(x << 16))
	case t.bits == 16:
		return half(uint16(x))
	case t.bits == 32:
		return float64(f32(x))
	}
	return math.Float64frombits(x)
}

// round gives the bits of the number of type t that is nearest to f, ties to even;
// toward zero when chop is set.
func (t typ) round(f float64, chop bool) uint64 {
	switch {
	case t.bits == 64:
		if f != f {
			return nan64
		}
		return math.Float64bits(f)
	case t.kind == 'g':
		return narrow(f, 7, 8, chop)
	case t.bits == 16:
		return narrow(f, 10, 5, chop)
	}
	return narrow(f, 23, 8, chop)
}

// narrow rounds f to a format with the given bits of mantissa and exponent.
func narrow(f float64, mant, exp int, chop bool) uint64 {
	b := math.Float64bits(f)
	sign := b >> 63 << (mant + exp)
	inf := (uint64(1)<<exp - 1) << mant
	switch {
	case f != f:
		return uint64(1)<<(mant+exp) - 1
	case math.IsInf(f, 0):
		return sign | inf
	case f == 0:
		return sign
	}
	e := int(b>>52&0x7ff) - 1023
	full := b&(1<<52-1) | 1<<52
	least := 2 - 1<<(exp-1) // exponent of the smallest normal number
	shift := 52 - mant
	if e < least {
		shift += least - e
	}
	if shift > 54 { // less than half of the smallest number; so are the subnormals of float64
		return sign
	}
	q := full >> shift
	rest, half := full&(1<<shift-1), uint64(1)<<(shift-1)
	if !chop && (rest > half || rest == half && q&1 == 1) {
		q++
	}
	if e >= least {
		q += uint64(e-least) << mant // the leading bit of q is the last of the exponent
	}
	if q >= inf {
		if chop {
			return sign | (inf - 1)
		}
		return sign | inf
	}
	return sign | q
}

// half is the value of a float16.
func half(h uint16) float64 { return float64(f32(halfBits(uint64(h)))) }

// halfBits is a float16 as the bits of a float32, which holds all of them.
func halfBits(h uint64) uint64 {
	sign, rest := h&0x8000<<16, h&0x7fff
	switch {
	case rest >= 0x7c00:
		if rest > 0x7c00 {
			return nan32
		}
		return sign | 0x7f800000
	case rest >= 0x400: // normal: the exponent's bias grows by 112
		return sign | (rest<<13 + 112<<23)
	}
	return sign | uint64(math.Float32bits(float32(rest)*0x1p-24))
}

// odd gives the last bit of s, the rounded sum of two numbers, the value 1 when the sum was
// not exact: rounding it to half as many bits or fewer then equals rounding the exact sum.
func odd(a, b float64) float64 {
	s := a + b
	if math.IsInf(s, 0) || math.IsNaN(s) {
		return s
	}
	v := s - a
	e := (a - (s - v)) + (b - v) // the part that was rounded off, exactly
	if u := math.Float64bits(s); e != 0 && u&1 == 0 {
		if (e > 0) == (s > 0) {
			u++
		} else {
			u--
		}
		return math.Float64frombits(u)
	}
	return s
}

// fma32 is a × b + c, rounded once. A product of two float32 is exact in float64.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	const least = 1.1754943508222875e-38 // the smallest normal float32
	// Rounding twice differs only where the first result lies half-way, or below the normal numbers.
	if math.Float64bits(s)&0x1fffffff != 0x10000000 && math.Abs(s) >= least {
		return float32(s)
	}
	return float32(odd(p, float64(c)))
}

// flush makes a subnormal float32 a zero.
func flush(x uint64) uint64 {
	if x&0x7f800000 == 0 {
		return x & 0x80000000
	}
	return x
}
