package ptx

import "math/bits"

func decodeLogic(d *decoder) exec {
	t := d.typ()
	root := d.s.op[:2]
	if t.kind == 'p' {
		dst, a, b := d.predTarget(d.arg(0)), d.pred(1), d.pred(2)
		return func(w *warp, m uint32) {
			x, y := w.pred(a), w.pred(b)
			switch root {
			case "an":
				x &= y
			case "or":
				x |= y
			default:
				x ^= y
			}
			w.setPred(dst, x, m)
		}
	}
	d.integer(t)
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	switch root {
	case "an":
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = a[l] & b[l]
			}
		})
	case "or":
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = a[l] | b[l]
			}
		})
	}
	return each2(dst, a, b, func(a, b uint64) uint64 { return a ^ b })
}

func decodeNot(d *decoder) exec {
	t := d.typ()
	if t.kind == 'p' {
		dst, a := d.predTarget(d.arg(0)), d.pred(1)
		return func(w *warp, m uint32) { w.setPred(dst, ^w.pred(a), m) }
	}
	d.integer(t)
	dst, a := d.dst(0, t.bits), d.src(1, t)
	if d.s.op[0] == 'c' {
		return each1(dst, a, func(a uint64) uint64 { return truth(a == 0) })
	}
	return each1(dst, a, func(a uint64) uint64 { return ^a & t.mask() })
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// immediate is operand i, which must be a number.
func (d *decoder) immediate(i int) uint64 {
	o := d.arg(i)
	if o.kind != kindInt {
		d.fail("operand %d is no number", i+1)
	}
	return o.val
}

func decodeLop3(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	table := d.immediate(4)
	return each3(d.dst(0, t.bits), d.src(1, t), d.src(2, t), d.src(3, t), func(a, b, c uint64) uint64 {
		var r uint64
		for i := range 8 { // bit i of the table is the result for a, b, c = the bits of i
			if table>>i&1 != 0 {
				r |= (a ^ (uint64(i>>2&1) - 1)) & (b ^ (uint64(i>>1&1) - 1)) & (c ^ (uint64(i&1) - 1))
			}
		}
		return r & t.mask()
	})
}

func decodeShift(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	left := d.s.op[2] == 'l'
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, typ{'u', 32})
	mask, up := t.mask(), 64-t.bits
	switch {
	case left:
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = a[l] << b[l] & mask
			}
		})
	case t.kind == 's':
		return lanes2(dst, a, b, func(d, a, b *vec) {
			for l := range d {
				d[l] = uint64(int64(a[l]<<up)>>up>>b[l]) & mask
			}
		})
	}
	return lanes2(dst, a, b, func(d, a, b *vec) {
		for l := range d {
			d[l] = a[l] >> b[l]
		}
	})
}

// word takes a type that must have 32 bits.
func (d *decoder) word() typ {
	t := d.typ()
	if t.bits != 32 {
		d.fail("it is defined for 32 bits")
	}
	return t
}

// decodeFunnel shifts the 64 bits of operands 3 and 2.
func decodeFunnel(d *decoder) exec {
	t := d.word()
	left := d.one("l", "r") == "l"
	wrap := d.one("wrap", "clamp") == "wrap"
	return each3(d.dst(0, 32), d.src(1, t), d.src(2, t), d.src(3, t), func(lo, hi, n uint64) uint64 {
		if wrap {
			n &= 31
		}
		n = min(n, 32)
		x := hi<<32 | lo
		if left {
			return x << n >> 32
		}
		return uint64(uint32(x >> n))
	})
}

// decodePermute picks bytes of two registers.
func decodePermute(d *decoder) exec {
	t := d.word()
	return each3(d.dst(0, 32), d.src(1, t), d.src(2, t), d.src(3, t), func(a, b, sel uint64) uint64 {
		x := b<<32 | a
		var r uint64
		for i := range 4 {
			s := sel >> (4 * i)
			v := x >> (8 * (s & 7)) & 0xff
			if s&8 != 0 { // its sign, eight times
				v = (v >> 7) * 0xff
			}
			r |= v << (8 * i)
		}
		return r
	})
}

func decodeCount(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	amount := d.has("shiftamt")
	a, n := d.src(1, t), t.bits
	switch d.s.op[:2] {
	case "po":
		return each1(d.dst(0, 32), a, func(a uint64) uint64 { return uint64(bits.OnesCount64(a)) })
	case "cl":
		return each1(d.dst(0, 32), a, func(a uint64) uint64 { return uint64(bits.LeadingZeros64(a) - (64 - n)) })
	case "br":
		return each1(d.dst(0, n), a, func(a uint64) uint64 { return bits.Reverse64(a) >> (64 - n) })
	}
	return each1(d.dst(0, 32), a, func(a uint64) uint64 { // bfind: the leading bit that is no sign
		if t.kind == 's' && signed(a, n) < 0 {
			a = ^a & t.mask()
		}
		i := bits.Len64(a) - 1
		if i < 0 {
			return 0xffffffff
		}
		if amount {
			i = n - 1 - i
		}
		return uint64(i)
	})
}

func decodeBfe(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	n := uint64(t.bits)
	c := typ{'u', 32}
	return each3(d.dst(0, t.bits), d.src(1, t), d.src(2, c), d.src(3, c), func(a, pos, size uint64) uint64 {
		pos, size = pos&0xff, size&0xff
		if size == 0 {
			return 0
		}
		if t.kind == 's' {
			a = uint64(signed(a, t.bits))
			top := min(pos+size, n) - 1 // the sign, also of a field that begins or ends outside
			if pos >= n {
				return uint64(int64(a)>>63) & t.mask()
			}
			v := int64(a<<(63-top)) >> (63 - top)
			return uint64(v>>pos) & t.mask()
		}
		if pos >= n {
			return 0
		}
		return a >> pos & (uint64(1)<<min(size, 63) - 1 | -truth(size >= 64))
	})
}

func decodeBfi(d *decoder) exec {
	t := d.typ()
	d.integer(t)
	dst, a, b := d.dst(0, t.bits), d.src(1, t), d.src(2, t)
	pos, size := d.src(3, typ{'u', 32}), d.src(4, typ{'u', 32})
	return func(w *warp, m uint32) {
		var r vec
		for l := range r {
			p, n := w.r[pos][l]&0xff, w.r[size][l]&0xff
			field := (uint64(1)<<min(n, 63) - 1 | -truth(n >= 64)) << min(p, 64)
			r[l] = (w.r[b][l]&^field | w.r[a][l]<<min(p, 64)&field) & t.mask()
		}
		w.keep(dst, &r, m)
	}
}

func decodeBmsk(d *decoder) exec {
	t := d.word()
	wrap := d.one("wrap", "clamp") == "wrap"
	return each2(d.dst(0, 32), d.src(1, t), d.src(2, t), func(pos, size uint64) uint64 {
		if wrap {
			pos, size = pos&31, size&31
		}
		return uint64(uint32((uint64(1)<<min(size, 32) - 1) << min(pos, 32)))
	})
}
