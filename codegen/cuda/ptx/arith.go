package ptx

import (
	"math"
	"strings"
)

// rounding takes the default .rn, and .ftz and .sat of float32, which finish applies.
func (d *decoder) rounding(t typ) (ftz, sat bool) {
	d.has("rn")
	return t.bits == 32 && d.has("ftz"), !t.packed() && d.has("sat")
}

// finish applies .ftz and .sat to a result of type t.
func finish(t typ, x uint64, ftz, sat bool) uint64 {
	if ftz {
		x = flush(x)
	}
	if sat {
		switch v := t.value(x); {
		case !(v > 0): // and NaN
			x = 0
		case v > 1:
			x = t.round(1, false)
		}
	}
	return x
}

// float2 is an operation of two floats. Every type but float64 is computed in float64, which
// has more than twice the bits: rounding again changes nothing. f32 is float32's own loop.
func (d *decoder) float2(t typ, op func(a, b float64) float64, f32 func(d, a, b *vec)) exec {
	ftz, sat := d.rounding(t)
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	if t.packed() {
		e := t.elem()
		one := func(a, b uint64) uint64 { return e.round(op(e.value(a), e.value(b)), false) }
		return each2(dst, a, b, func(a, b uint64) uint64 { return one(a&0xffff, b&0xffff) | one(a>>16, b>>16)<<16 })
	}
	if t == (typ{'f', 32}) {
		if !ftz && !sat {
			return lanes2(dst, a, b, f32)
		}
		return lanes2(dst, a, b, func(d, a, b *vec) {
			x, y := *a, *b
			for l := range x {
				if ftz {
					x[l], y[l] = flush(x[l]), flush(y[l])
				}
			}
			f32(d, &x, &y)
			for l := range d {
				d[l] = finish(t, d[l], ftz, sat)
			}
		})
	}
	return each2(dst, a, b, func(a, b uint64) uint64 { return finish(t, t.round(op(t.value(a), t.value(b)), false), false, sat) })
}

func decodeFMA(d *decoder) exec { return d.fma(d.typ()) }

func (d *decoder) fma(t typ) exec {
	ftz, sat := d.rounding(t)
	relu := d.has("relu")
	dst, a, b, c := d.dst(0, t.bits), d.src(1, t), d.src(2, t), d.src(3, t)
	if t == (typ{'f', 32}) && !ftz && !sat && !relu {
		return lanes3(dst, a, b, c, func(d, a, b, c *vec) {
			for l := range d {
				d[l] = bits32(fma32(f32(a[l]), f32(b[l]), f32(c[l])))
			}
		})
	}
	e := t.elem()
	one := func(a, b, c uint64) uint64 {
		if ftz {
			a, b, c = flush(a), flush(b), flush(c)
		}
		var x uint64
		if e.bits == 64 {
			x = e.round(math.FMA(e.value(a), e.value(b), e.value(c)), false)
		} else {
			x = e.round(odd(e.value(a)*e.value(b), e.value(c)), false)
		}
		if relu && !(e.value(x) > 0) && e.value(x) == e.value(x) {
			x = 0
		}
		return finish(e, x, ftz, sat)
	}
	if t.packed() {
		return each3(dst, a, b, c, func(a, b, c uint64) uint64 {
			return one(a&0xffff, b&0xffff, c&0xffff) | one(a>>16, b>>16, c>>16)<<16
		})
	}
	return each3(dst, a, b, c, one)
}

// extremeFloat is min or max: a NaN loses against a number, unless .NaN is given; -0 is less than +0.
func (d *decoder) extremeFloat(t typ, most bool) exec {
	ftz, _ := d.rounding(t)
	keepNaN := d.has("NaN")
	e := t.elem()
	one := func(a, b uint64) uint64 {
		if ftz {
			a, b = flush(a), flush(b)
		}
		x, y := e.value(a), e.value(b)
		switch {
		case x != x && y != y, keepNaN && (x != x || y != y):
			return e.round(math.NaN(), false)
		case x != x:
			return b
		case y != y:
			return a
		case x == y:
			if math.Signbit(x) == most {
				return b
			}
			return a
		case (x < y) == most:
			return b
		}
		return a
	}
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	if t.packed() {
		return each2(dst, a, b, func(a, b uint64) uint64 { return one(a&0xffff, b&0xffff) | one(a>>16, b>>16)<<16 })
	}
	return each2(dst, a, b, one)
}

// signFloat is an operation on the sign bits of a float or a pair.
func (d *decoder) signFloat(t typ, op func(x, sign uint64) uint64) exec {
	ftz := t.bits == 32 && !t.packed() && d.has("ftz")
	sign := uint64(1) << (t.bits - 1)
	if t.packed() {
		sign |= 1 << 15
	}
	return each1(d.dst(0, t.bits), d.src(1, t), func(a uint64) uint64 {
		if ftz {
			a = flush(a)
		}
		return op(a, sign)
	})
}

// unary are the functions of one float. All but rcp.rn and sqrt.rn are approximate.
var unary = map[string]func(float64) float64{
	"sqrt": math.Sqrt, "rcp": func(x float64) float64 { return 1 / x }, "rsqrt": func(x float64) float64 { return 1 / math.Sqrt(x) },
	"sin": math.Sin, "cos": math.Cos, "lg2": math.Log2, "ex2": math.Exp2, "tanh": math.Tanh,
}

func decodeUnaryFloat(d *decoder) exec {
	t := d.typ()
	root, _, _ := strings.Cut(d.s.op, ".")
	if !t.float() {
		d.fail("it is defined for floats only")
	}
	if d.has("approx") {
		if t.bits == 64 {
			d.fail("an approximation in float64 is not supported")
		}
	} else if !d.has("rn") || root != "sqrt" && root != "rcp" {
		d.fail("the rounding is not supported")
	}
	ftz := t.bits == 32 && d.has("ftz")
	f := unary[root]
	return each1(d.dst(0, t.bits), d.src(1, t), func(a uint64) uint64 {
		if ftz {
			a = flush(a)
		}
		return finish(t, t.round(f(t.value(a)), false), ftz, false)
	})
}

func decodeCopysign(d *decoder) exec {
	t := d.typ()
	sign := uint64(1) << (t.bits - 1)
	return each2(d.dst(0, t.bits), d.src(1, t), d.src(2, t), func(a, b uint64) uint64 { return b&^sign | a&sign })
}

func decodeTestp(d *decoder) exec {
	t := d.typ()
	what := d.one("finite", "infinite", "number", "notanumber", "normal", "subnormal")
	if what == "" || !t.float() || t.bits < 32 {
		d.fail("the test is not supported")
	}
	least := math.Ldexp(1, -126)
	if t.bits == 64 {
		least = math.Ldexp(1, -1022)
	}
	return d.compare(d.arg(0), d.src(1, t), d.src(1, t), func(a, _ uint64) bool {
		f := t.value(a)
		infinite, nan, small := math.IsInf(f, 0), f != f, math.Abs(f) < least
		switch what {
		case "finite":
			return !infinite && !nan
		case "infinite":
			return infinite
		case "number":
			return !nan
		case "notanumber":
			return nan
		case "normal":
			return !infinite && !nan && !small
		}
		return small && f != 0
	})
}
