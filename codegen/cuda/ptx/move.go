package ptx

import (
	"math"
	"slices"
)

func decodeMov(d *decoder) exec {
	t := d.typ()
	if t.kind == 'p' {
		dst, a := d.predTarget(d.arg(0)), d.pred(1)
		return func(w *warp, m uint32) { w.setPred(dst, w.pred(a), m) }
	}
	to, from := d.arg(0), d.arg(1)
	switch {
	case to.kind == kindList: // unpack
		part := t.bits / len(to.list)
		a := d.source(from, t, t.bits)
		dst := make([]int, len(to.list))
		for i, o := range to.list {
			dst[i] = d.target(o, part, part)
		}
		return func(w *warp, m uint32) {
			x := w.r[a] // it may be among the targets
			for i, r := range dst {
				var v vec
				for l := range v {
					v[l] = x[l] >> (part * i) & typ{'b', part}.mask()
				}
				w.keep(r, &v, m)
			}
		}
	case from.kind == kindList: // pack
		part := t.bits / len(from.list)
		src := make([]int, len(from.list))
		for i, o := range from.list {
			src[i] = d.source(o, typ{'b', part}, part)
		}
		dst := d.target(to, t.bits, t.bits)
		return func(w *warp, m uint32) {
			var v vec
			for i, r := range src {
				for l := range v {
					v[l] |= w.r[r][l] << (part * i)
				}
			}
			w.keep(dst, &v, m)
		}
	case from.kind == kindSpecial && slices.Contains(clocks, from.name):
		dst := d.target(to, t.bits, t.bits)
		return func(w *warp, m uint32) {
			var v vec
			for l := range v {
				v[l] = uint64(w.g.steps) & t.mask()
			}
			w.keep(dst, &v, m)
		}
	}
	return lanes1(d.dst(0, t.bits), d.src(1, t), func(d, a *vec) { *d = *a })
}

// decodeCvta converts between a state space and generic addresses.
func decodeCvta(d *decoder) exec {
	t := d.typ()
	to := d.has("to")
	base := d.space().window()
	return each1(d.dst(0, t.bits), d.src(1, t), func(a uint64) uint64 {
		if to {
			return a - base
		}
		return a + base
	})
}

func decodeIsspacep(d *decoder) exec {
	space := d.space()
	return d.compare(d.arg(0), d.src(1, typ{'u', 64}), d.constant(0), func(a, _ uint64) bool { return spaceOf(a) == space })
}

func decodeSelp(d *decoder) exec {
	t := d.typ()
	dst, a, b, p := d.dst(0, t.bits), d.src(1, t), d.src(2, t), d.pred(3)
	return func(w *warp, m uint32) {
		var v vec
		x, y, q := &w.r[a], &w.r[b], w.pred(p)
		for l := range v {
			if q>>l&1 != 0 {
				v[l] = x[l]
			} else {
				v[l] = y[l]
			}
		}
		w.keep(dst, &v, m)
	}
}

func decodeSlct(d *decoder) exec {
	c, t := d.typ(), d.typ()
	ftz := d.has("ftz")
	return each3(d.dst(0, t.bits), d.src(1, t), d.src(2, t), d.src(3, c), func(a, b, x uint64) uint64 {
		if ftz {
			x = flush(x)
		}
		if c.float() && c.value(x) >= 0 || !c.float() && signed(x, c.bits) >= 0 {
			return a
		}
		return b
	})
}

// comparisons are those of numbers; of floats, those ending in u are true of NaN.
var comparisons = []string{"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}

// comparison takes the operator of setp and set.
func (d *decoder) comparison(t typ) func(a, b uint64) bool {
	op := d.one(comparisons...)
	ftz := d.has("ftz")
	order := func(less, equal, more bool) func(c int) bool {
		return func(c int) bool { return c < 0 && less || c == 0 && equal || c > 0 && more }
	}
	if t.float() {
		unordered := len(op) == 3
		var test func(c int) bool
		switch op {
		case "eq", "equ":
			test = order(false, true, false)
		case "ne", "neu":
			test = order(true, false, true)
		case "lt", "ltu":
			test = order(true, false, false)
		case "le", "leu":
			test = order(true, true, false)
		case "gt", "gtu":
			test = order(false, false, true)
		case "ge", "geu":
			test = order(false, true, true)
		case "num":
			test, unordered = order(true, true, true), false
		case "nan":
			test = order(false, false, false)
		default:
			d.fail("the comparison is not supported")
		}
		return func(a, b uint64) bool {
			if ftz {
				a, b = flush(a), flush(b)
			}
			x, y := t.value(a), t.value(b)
			switch {
			case x < y:
				return test(-1)
			case x > y:
				return test(1)
			case x == y:
				return test(0)
			}
			return unordered
		}
	}
	d.integer(t)
	bias := uint64(0) // makes signed numbers compare as unsigned ones
	if t.kind == 's' {
		bias = 1 << (t.bits - 1)
	}
	switch op {
	case "eq":
		return func(a, b uint64) bool { return a == b }
	case "ne":
		return func(a, b uint64) bool { return a != b }
	case "lt", "lo":
		return func(a, b uint64) bool { return a^bias < b^bias }
	case "le", "ls":
		return func(a, b uint64) bool { return a^bias <= b^bias }
	case "gt", "hi":
		return func(a, b uint64) bool { return a^bias > b^bias }
	case "ge", "hs":
		return func(a, b uint64) bool { return a^bias >= b^bias }
	}
	d.fail("the comparison is not supported")
	return nil
}

// compare sets a predicate, or a pair of it and its opposite.
func (d *decoder) compare(to operand, a, b int, f func(a, b uint64) bool) exec {
	p, not := to, operand{kind: kindSink}
	if to.kind == kindPair {
		p, not = to.list[0], to.list[1]
	}
	dst, other := d.predTarget(p), d.predTarget(not)
	return func(w *warp, m uint32) {
		x, y := &w.r[a], &w.r[b]
		var r uint32
		for l := range x {
			if f(x[l], y[l]) {
				r |= 1 << l
			}
		}
		w.setPred(dst, r, m)
		w.setPred(other, ^r, m)
	}
}

// combine takes .and, .or or .xor with the predicate of the last operand.
func (d *decoder) combine() func(w *warp, r uint32) uint32 {
	op := d.one("and", "or", "xor")
	if op == "" {
		if len(d.s.args) == 4 {
			d.fail("a fourth operand")
		}
		return nil
	}
	q := d.pred(3)
	return func(w *warp, r uint32) uint32 {
		switch op {
		case "and":
			return r & w.pred(q)
		case "or":
			return r | w.pred(q)
		}
		return r ^ w.pred(q)
	}
}

func decodeSetp(d *decoder) exec {
	t := d.typ()
	f, with := d.comparison(t), d.combine()
	a, b := d.src(1, t), d.src(2, t)
	if with == nil {
		return d.compare(d.arg(0), a, b, f)
	}
	p, not := d.arg(0), operand{kind: kindSink}
	if p.kind == kindPair {
		p, not = p.list[0], p.list[1]
	}
	dst, other := d.predTarget(p), d.predTarget(not)
	return func(w *warp, m uint32) {
		r := w.test(a, b, f)
		yes, no := with(w, r), with(w, ^r)
		w.setPred(dst, yes, m)
		w.setPred(other, no, m)
	}
}

// decodeSet is a comparison whose result is a number: all ones, or 1.0.
func decodeSet(d *decoder) exec {
	t, to := d.typ(), d.typ()
	f, with := d.comparison(t), d.combine()
	yes := to.mask()
	if to.float() {
		yes = to.round(1, false)
	}
	dst, a, b := d.dst(0, to.bits), d.src(1, t), d.src(2, t)
	return func(w *warp, m uint32) {
		r := w.test(a, b, f)
		if with != nil {
			r = with(w, r)
		}
		var v vec
		for l := range v {
			v[l] = yes * uint64(r>>l&1)
		}
		w.keep(dst, &v, m)
	}
}

func decodeCvt(d *decoder) exec {
	from, to := d.typ(), d.typ()
	if len(d.s.args) == 3 {
		return d.cvtPair(from, to)
	}
	ftz, sat := d.has("ftz"), d.has("sat")
	mode := d.one("rni", "rzi", "rmi", "rpi", "rn", "rz")
	whole := len(mode) == 3
	round := map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}[mode]
	if from.packed() || to.packed() || from.bits > 64 || to.bits > 64 || from.kind == 'p' || to.kind == 'p' {
		d.fail("the conversion is not supported")
		return nil
	}
	if from.float() && to.float() && to.bits < from.bits && mode == "" || from.float() && !to.float() && !whole || !from.float() && to.float() && whole {
		d.fail("the rounding is missing or not supported")
	}
	// A register may be wider than the type: a source's other bits are ignored, a target gets the sign or zeros.
	a := d.source(d.arg(1), from, 64)
	dst, wide := d.dstWider(0, to)
	f32 := typ{'f', 32}
	switch { // those that kernels are full of
	case !from.float() && !to.float() && !sat:
		return extend(dst, a, from, to, wide)
	case from == (typ{'f', 16}) && to == f32 && !ftz && !sat:
		return lanes1(dst, a, func(d, a *vec) {
			for l := range d {
				d[l] = halfBits(a[l] & 0xffff)
			}
		})
	case from == (typ{'s', 32}) && to == f32 && mode == "rn" && !sat:
		return lanes1(dst, a, func(d, a *vec) {
			for l := range d {
				d[l] = uint64(math.Float32bits(float32(int32(a[l]))))
			}
		})
	}
	return each1(dst, a, func(a uint64) uint64 {
		if !from.float() {
			v := from.widen(a)
			if to.float() {
				f := float64(v)
				if from.kind == 's' {
					f = float64(int64(v))
				}
				if from.bits == 64 && to.bits < 64 { // once, not twice
					f = oddInt(v, from.kind == 's')
				}
				return finish(to, to.round(f, mode == "rz"), false, sat)
			}
			if from.kind != 's' && v > math.MaxInt64 {
				v = math.MaxInt64
			}
			return to.widen(clamp(int64(v), to.kind, to.bits)) & wide
		}
		a &= from.mask()
		if ftz && from.bits == 32 {
			a = flush(a)
		}
		f := from.value(a)
		if round != nil {
			f = round(f)
		}
		if to.float() {
			if from == to && round == nil {
				return finish(to, a, false, sat)
			}
			return finish(to, to.round(f, mode == "rz"), ftz && to.bits == 32, sat)
		}
		return to.widen(floatInt(f, to)) & wide
	})
}

// extend converts integers: the source's sign or zeros, cut to the target, whose sign or zeros fill the register.
func extend(dst, a int, from, to typ, wide uint64) exec {
	in, out := 64-from.bits, 64-to.bits
	if from.kind == 's' && to.bits > from.bits {
		mask := to.mask() & wide
		return lanes1(dst, a, func(d, a *vec) {
			for l := range d {
				d[l] = uint64(int64(a[l]<<in)>>in) & mask
			}
		})
	}
	if to.kind == 's' && to.bits <= from.bits {
		return lanes1(dst, a, func(d, a *vec) {
			for l := range d {
				d[l] = uint64(int64(a[l]<<out)>>out) & wide
			}
		})
	}
	mask := from.mask() & to.mask()
	return lanes1(dst, a, func(d, a *vec) {
		for l := range d {
			d[l] = a[l] & mask
		}
	})
}

// dstWider is a target register of a type's bits or more, with the mask of the register.
func (d *decoder) dstWider(i int, t typ) (reg int, mask uint64) {
	o := d.arg(i)
	reg = d.target(o, t.bits, 64)
	mask = ^uint64(0)
	if o.kind == kindReg {
		mask = typ{'b', d.k.regs[reg].bits}.mask()
	}
	return reg, mask
}

// floatInt is f, a whole number, as an integer: numbers outside are clamped, NaN is 0.
func floatInt(f float64, t typ) uint64 {
	lo, hi := 0.0, math.Ldexp(1, t.bits)
	if t.kind == 's' {
		hi /= 2
		lo = -hi
	}
	switch {
	case f != f:
		return 0
	case f < lo:
		f = lo
	case f >= hi:
		if t.kind == 's' {
			return t.mask() >> 1
		}
		return t.mask()
	}
	if f < 0 {
		return uint64(int64(f))
	}
	return uint64(f)
}

// oddInt is a number of 64 bits as a float64 whose last bit tells that bits were lost.
func oddInt(v uint64, neg bool) float64 {
	sign := 1.0
	if neg && int64(v) < 0 {
		v, sign = -v, -1
	}
	hi, lo := v>>11<<11, v&(1<<11-1)
	if v < 1<<53 {
		hi, lo = v, 0
	}
	return sign * odd(float64(hi), float64(lo))
}

// cvtPair packs two float32 into a pair; the first goes to the upper half.
func (d *decoder) cvtPair(from, to typ) exec {
	mode := d.one("rn", "rz")
	relu := d.has("relu")
	if !to.packed() || from != (typ{'f', 32}) || mode == "" {
		d.fail("the conversion is not supported")
		return nil
	}
	e := to.elem()
	one := func(a uint64) uint64 {
		f := e.value(e.round(from.value(a), mode == "rz"))
		if relu && f < 0 {
			f = 0
		}
		return e.round(f, false)
	}
	return each2(d.dst(0, 32), d.src(1, from), d.src(2, from), func(a, b uint64) uint64 { return one(a)<<16 | one(b) })
}
