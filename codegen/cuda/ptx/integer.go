package ptx

import (
	"math"
	"math/bits"
)

// integer wants a type of 16 bits or more that is no float.
func (d *decoder) integer(t typ) {
	if t.float() || t.packed() || t.bits < 16 || t.bits > 64 {
		d.fail("it is not defined for this type")
	}
}

func decodeAdd(d *decoder) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.float2(t, func(a, b float64) float64 { return a + b }, func(d, a, b *vec) {
			for l := range d {
				d[l] = bits32(f32(a[l]) + f32(b[l]))
			}
		})
	}
	d.integer(t)
	sat := d.has("sat")
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	switch {
	case sat && t == typ{'s', 32}:
		return each2(dst, a, b, func(a, b uint64) uint64 { return clamp(signed(a, 32)+signed(b, 32), 's', 32) })
	case sat:
		d.fail("the modifier .sat is not supported")
	case t.bits == 64:
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = a[l] + b[l]
			}
		})
	case t.bits == 32:
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = uint64(uint32(a[l] + b[l]))
			}
		})
	}
	return each2(dst, a, b, func(a, b uint64) uint64 { return (a + b) & 0xffff })
}

func decodeSub(d *decoder) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.float2(t, func(a, b float64) float64 { return a - b }, func(d, a, b *vec) {
			for l := range d {
				d[l] = bits32(f32(a[l]) - f32(b[l]))
			}
		})
	}
	d.integer(t)
	mask := t.mask()
	sat := d.has("sat")
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	if sat {
		if t != (typ{'s', 32}) {
			d.fail("the modifier .sat is not supported")
		}
		return each2(dst, a, b, func(a, b uint64) uint64 { return clamp(signed(a, 32)-signed(b, 32), 's', 32) })
	}
	return lanes2(dst, a, b, func(d, a, b *vec) {
		for l := range d {
			d[l] = (a[l] - b[l]) & mask
		}
	})
}

// product takes .lo, .hi or .wide and gives the function and the bits of its result.
func (d *decoder) product(t typ) (f func(a, b uint64) uint64, out int) {
	d.integer(t)
	n := t.bits
	switch d.one("lo", "hi", "wide") {
	case "lo":
		return func(a, b uint64) uint64 { return a * b & t.mask() }, n
	case "wide":
		if n == 64 {
			d.fail("a product of 128 bits")
		}
		wide := typ{t.kind, min(2*n, 64)}
		return func(a, b uint64) uint64 { return t.widen(a) * t.widen(b) & wide.mask() }, wide.bits
	case "hi":
		if n < 64 {
			return func(a, b uint64) uint64 { return t.widen(a) * t.widen(b) >> n & t.mask() }, n
		}
		return func(a, b uint64) uint64 {
			hi, _ := bits.Mul64(a, b)
			if t.kind == 's' {
				hi -= a>>63*b + b>>63*a
			}
			return hi
		}, n
	}
	d.fail("it is neither .lo nor .hi nor .wide")
	return nil, n
}

func decodeMul(d *decoder) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.float2(t, func(a, b float64) float64 { return a * b }, func(d, a, b *vec) {
			for l := range d {
				d[l] = bits32(f32(a[l]) * f32(b[l]))
			}
		})
	}
	f, n := d.product(t)
	dst, a, b := d.dst(0, n), d.src(1, t), d.src(2, t)
	if t.bits == 32 && n == 64 && t.kind == 's' {
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = uint64(int64(int32(a[l])) * int64(int32(b[l])))
			}
		})
	}
	return each2(dst, a, b, f)
}

func decodeMad(d *decoder) exec {
	t := d.typ()
	if t.float() {
		return d.fma(t)
	}
	f, n := d.product(t)
	out := typ{t.kind, n}
	return each3(d.dst(0, n), d.src(1, t), d.src(2, t), d.src(3, out), func(a, b, c uint64) uint64 { return (f(a, b) + c) & out.mask() })
}

func decodeMul24(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	if t.bits != 32 || !d.has("lo") {
		d.fail("only .lo of 32 bits is supported")
	}
	cut := func(x uint64) uint64 {
		if t.kind == 's' {
			return uint64(signed(x, 24))
		}
		return x & 0xffffff
	}
	if len(d.s.args) == 4 {
		return each3(d.dst(0, 32), d.src(1, t), d.src(2, t), d.src(3, t), func(a, b, c uint64) uint64 { return (cut(a)*cut(b) + c) & t.mask() })
	}
	return each2(d.dst(0, 32), d.src(1, t), d.src(2, t), func(a, b uint64) uint64 { return cut(a) * cut(b) & t.mask() })
}

func decodeSad(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	return each3(d.dst(0, t.bits), d.src(1, t), d.src(2, t), d.src(3, t), func(a, b, c uint64) uint64 {
		if t.kind == 's' && signed(a, t.bits) < signed(b, t.bits) || t.kind != 's' && a < b {
			a, b = b, a
		}
		return (c + a - b) & t.mask()
	})
}

func decodeDiv(d *decoder) exec {
	t := d.typ()
	rem := d.s.op[0] == 'r'
	if t.float() && !rem {
		if d.one("rn", "approx", "full") == "" {
			d.fail("the rounding is not supported")
		}
		return d.float2(t, func(a, b float64) float64 { return a / b }, func(d, a, b *vec) {
			for l := range d {
				d[l] = bits32(f32(a[l]) / f32(b[l]))
			}
		})
	}
	d.integer(t)
	return each2(d.dst(0, t.bits), d.src(1, t), d.src(2, t), func(a, b uint64) uint64 {
		switch {
		case b == 0: // PTX leaves it open; chips give ones and the dividend
			if rem {
				return a
			}
			return t.mask()
		case t.kind == 's':
			x, y := signed(a, t.bits), signed(b, t.bits)
			if rem {
				return uint64(x%y) & t.mask()
			}
			return uint64(x/y) & t.mask()
		case rem:
			return a % b
		}
		return a / b
	})
}

func decodeMin(d *decoder) exec { return d.extreme(false) }
func decodeMax(d *decoder) exec { return d.extreme(true) }

func (d *decoder) extreme(most bool) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.extremeFloat(t, most)
	}
	d.integer(t)
	return each2(d.dst(0, t.bits), d.src(1, t), d.src(2, t), func(a, b uint64) uint64 { return pick(t, most, a, b) })
}

// pick gives the larger or the smaller of two integers.
func pick(t typ, most bool, a, b uint64) uint64 {
	less := a < b
	if t.kind == 's' {
		less = signed(a, t.bits) < signed(b, t.bits)
	}
	if less == most {
		return b
	}
	return a
}

func decodeAbs(d *decoder) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.signFloat(t, func(x, sign uint64) uint64 { return x &^ sign })
	}
	d.integer(t)
	return each1(d.dst(0, t.bits), d.src(1, t), func(a uint64) uint64 {
		if signed(a, t.bits) < 0 {
			a = -a
		}
		return a & t.mask()
	})
}

func decodeNeg(d *decoder) exec {
	t := d.typ()
	if t.float() || t.packed() {
		return d.signFloat(t, func(x, sign uint64) uint64 { return x ^ sign })
	}
	d.integer(t)
	return each1(d.dst(0, t.bits), d.src(1, t), func(a uint64) uint64 { return -a & t.mask() })
}

// decodeDot is dp4a, four products of bytes, and dp2a, two of halves and bytes.
func decodeDot(d *decoder) exec {
	bt, at := d.typ(), d.typ()
	high := 0
	two := d.s.op[2] == '2'
	if two {
		switch d.one("lo", "hi") {
		case "hi":
			high = 16
		case "":
			d.fail("it is neither .lo nor .hi")
		}
	}
	t := typ{'b', 32}
	part := func(t typ, x uint64, bits int) int64 {
		if t.kind == 's' {
			return signed(x, bits)
		}
		return int64(x & (1<<bits - 1))
	}
	return each3(d.dst(0, 32), d.src(1, t), d.src(2, t), d.src(3, t), func(a, b, c uint64) uint64 {
		s := int64(c)
		if two {
			for i := range 2 {
				s += part(at, a>>(16*i), 16) * part(bt, b>>(high+8*i), 8)
			}
		} else {
			for i := range 4 {
				s += part(at, a>>(8*i), 8) * part(bt, b>>(8*i), 8)
			}
		}
		return uint64(uint32(s))
	})
}

// clamp is the bits of x limited to an integer type.
func clamp(x int64, kind byte, n int) uint64 {
	lo, hi := int64(0), int64(math.MaxInt64)
	if kind == 's' {
		hi >>= 64 - n
		lo = ^hi
	} else if n < 64 {
		hi = 1<<n - 1
	}
	return uint64(min(max(x, lo), hi)) & typ{kind, n}.mask()
}
