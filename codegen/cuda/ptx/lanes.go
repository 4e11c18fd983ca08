package ptx

import "math/bits"

// meets makes the instruction wait for the lanes that operand i names; i < 0: for all that live.
func (d *decoder) meets(i int) {
	d.in.kind = stepMeet
	if i >= 0 {
		d.in.mask = d.src(i, typ{'b', 32})
	}
}

func decodeShuffle(d *decoder) exec {
	if !d.has("sync") {
		d.fail("it is supported with .sync only")
	}
	d.word()
	mode := d.one("up", "down", "bfly", "idx")
	d.meets(4)
	t := typ{'b', 32}
	to, ok := d.arg(0), operand{kind: kindSink}
	if to.kind == kindPair {
		to, ok = to.list[0], to.list[1]
	}
	dst, inside := d.target(to, 32, 32), d.predTarget(ok)
	a, b, c := d.src(1, t), d.src(2, t), d.src(3, t)
	return func(w *warp, m uint32) {
		src := w.r[a]
		var in uint32
		for rest := m; rest != 0; rest &= rest - 1 {
			l := bits.TrailingZeros32(rest)
			by := int(w.r[b][l] & 31)
			limit, seg := int(w.r[c][l]&31), int(w.r[c][l]>>8&31)
			last := l&seg | limit&^seg
			from, inRange := 0, false
			switch mode {
			case "up":
				from = l - by
				inRange = from >= last
			case "down":
				from = l + by
				inRange = from <= last
			case "bfly":
				from = l ^ by
				inRange = from <= last
			default:
				from = l&seg | by&^seg
				inRange = from <= last
			}
			if inRange {
				in |= 1 << l
			} else {
				from = l
			}
			if m>>from&1 == 0 {
				w.fault(l, "it reads lane %d, which does not take part", from)
				return
			}
			w.r[dst][l] = src[from]
		}
		w.setPred(inside, in, m)
	}
}

func decodeVote(d *decoder) exec {
	if !d.has("sync") {
		d.fail("it is supported with .sync only")
	}
	t := d.typ()
	op := d.one("all", "any", "uni", "ballot")
	d.meets(2)
	p := d.pred(1)
	if op == "ballot" {
		dst := d.dst(0, t.bits)
		return func(w *warp, m uint32) {
			var v vec
			for l := range v {
				v[l] = uint64(w.pred(p) & m)
			}
			w.keep(dst, &v, m)
		}
	}
	dst := d.predTarget(d.arg(0))
	return func(w *warp, m uint32) {
		x := w.pred(p) & m
		var r uint32
		switch {
		case op == "all" && x == m, op == "any" && x != 0, op == "uni" && (x == m || x == 0):
			r = all
		}
		w.setPred(dst, r, m)
	}
}

func decodeMatch(d *decoder) exec {
	t := d.typ()
	d.has("sync")
	every := d.one("all", "any") == "all"
	d.meets(2)
	to, ok := d.arg(0), operand{kind: kindSink}
	if to.kind == kindPair {
		to, ok = to.list[0], to.list[1]
	}
	dst, same, a := d.target(to, 32, 32), d.predTarget(ok), d.src(1, t)
	return func(w *warp, m uint32) {
		var v vec
		equal := true
		for x := m; x != 0; x &= x - 1 {
			l := bits.TrailingZeros32(x)
			for y := m; y != 0; y &= y - 1 {
				k := bits.TrailingZeros32(y)
				if w.r[a][k] == w.r[a][l] {
					v[l] |= 1 << k
				}
			}
			equal = equal && uint32(v[l]) == m
		}
		var yes uint32
		if equal {
			yes = all
		}
		if every && !equal {
			v = vec{}
		}
		w.keep(dst, &v, m)
		w.setPred(same, yes, m)
	}
}

func decodeRedux(d *decoder) exec {
	t := d.typ()
	d.has("sync")
	op := d.one("add", "min", "max", "and", "or", "xor")
	if op == "" || t.float() || t.bits != 32 {
		d.fail("the operation is not supported")
	}
	d.meets(2)
	dst, a := d.dst(0, 32), d.src(1, t)
	return func(w *warp, m uint32) {
		r := w.r[a][bits.TrailingZeros32(m)]
		for x := m & (m - 1); x != 0; x &= x - 1 {
			b := w.r[a][bits.TrailingZeros32(x)]
			switch op {
			case "add":
				r = (r + b) & t.mask()
			case "and":
				r &= b
			case "or":
				r |= b
			case "xor":
				r ^= b
			default:
				r = pick(t, op == "max", r, b)
			}
		}
		var v vec
		for l := range v {
			v[l] = r
		}
		w.keep(dst, &v, m)
	}
}

func decodeActive(d *decoder) exec {
	t := d.typ()
	dst := d.dst(0, t.bits)
	return func(w *warp, m uint32) {
		var v vec
		for l := range v {
			v[l] = uint64(m)
		}
		w.keep(dst, &v, m)
	}
}

func decodeElect(d *decoder) exec {
	d.has("sync")
	d.meets(1)
	to, ok := d.arg(0), operand{kind: kindSink}
	if to.kind == kindPair {
		to, ok = to.list[0], to.list[1]
	}
	dst, won := d.target(to, 32, 32), d.predTarget(ok)
	return func(w *warp, m uint32) {
		leader := bits.TrailingZeros32(m)
		var v vec
		for l := range v {
			v[l] = uint64(leader)
		}
		w.keep(dst, &v, m)
		w.setPred(won, 1<<leader, m)
	}
}

// decodeBarrier is bar.warp.sync, which lanes of a warp meet at, and the barriers of a block.
func decodeBarrier(d *decoder) exec {
	if d.has("warp") {
		d.has("sync")
		d.meets(0)
		return func(*warp, uint32) {}
	}
	d.has("cta")
	d.has("aligned")
	d.in.kind = stepBarrier
	op := d.one("sync", "arrive", "red")
	u := typ{'u', 32}
	if op == "red" {
		return d.reduceBarrier()
	}
	id, count := d.src(0, u), -1
	if len(d.s.args) > 1 {
		count = d.src(1, u)
	}
	if op == "" || op == "arrive" && count < 0 {
		d.fail("the barrier is not supported")
	}
	return func(w *warp, m uint32) { w.arriveAt(id, count, m, 0, op == "sync", nil) }
}

// reduceBarrier is bar.red: the block's predicates are counted or combined.
func (d *decoder) reduceBarrier() exec {
	t := d.typ()
	op := d.one("popc", "and", "or")
	u := typ{'u', 32}
	id, count := d.src(1, u), -1
	if len(d.s.args) == 4 {
		count = d.src(2, u)
	}
	p := d.pred(len(d.s.args) - 1)
	dst := 0
	if op == "popc" {
		dst = d.dst(0, t.bits)
	} else {
		dst = d.predTarget(d.arg(0))
	}
	if op == "" {
		d.fail("the operation is not supported")
	}
	return func(w *warp, m uint32) {
		w.arriveAt(id, count, m, w.pred(p), true, func(yes, of int) {
			switch op {
			case "popc":
				var v vec
				for l := range v {
					v[l] = uint64(yes)
				}
				w.keep(dst, &v, m)
			case "and":
				w.setPred(dst, -uint32(truth(yes == of)), m)
			default:
				w.setPred(dst, -uint32(truth(yes > 0)), m)
			}
		})
	}
}

func decodeBranch(d *decoder) exec {
	d.has("uni")
	d.in.kind = stepBranch
	if d.arg(0).kind != kindLabel {
		d.fail("the target is no label")
	}
	return nil
}

func decodeExit(d *decoder) exec {
	d.has("uni")
	d.in.kind = stepExit
	return nil
}

func decodeTrap(*decoder) exec {
	return func(w *warp, m uint32) { w.fault(bits.TrailingZeros32(m), "the kernel gives up") }
}
