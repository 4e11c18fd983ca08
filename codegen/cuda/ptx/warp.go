package ptx

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// A group is lanes that stand at one instruction.
type group struct {
	pc     int
	mask   uint32
	parked bool // waits there for other lanes
}

type warp struct {
	g       *grid
	b       *block
	index   int // in the block
	r       []vec
	p       []uint32
	live    uint32
	groups  []group
	waiting bool // at a barrier of the block
	local   [][]byte
	copies  []copyAsync
	commits [32]int // groups of copies that each lane has closed
	in      *instr
}

// keep writes the lanes m of v.
func (w *warp) keep(dst int, v *vec, m uint32) {
	d := &w.r[dst]
	if m == all {
		*d = *v
		return
	}
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		d[l] = v[l]
	}
}

// pred gives a predicate's lanes.
func (w *warp) pred(p predicate) uint32 {
	if p.not {
		return ^w.p[p.n]
	}
	return w.p[p.n]
}

func (w *warp) setPred(n int, v, m uint32) { w.p[n] = w.p[n]&^m | v&m }

// test compares two registers.
func (w *warp) test(a, b int, f func(a, b uint64) bool) uint32 {
	x, y := &w.r[a], &w.r[b]
	var r uint32
	for l := range x {
		if f(x[l], y[l]) {
			r |= 1 << l
		}
	}
	return r
}

// fault ends the launch with what a lane did.
func (w *warp) fault(lane int, format string, args ...any) {
	if w.g.err != nil {
		return
	}
	t := w.index*32 + lane
	n := w.g.block
	w.g.err = fmt.Errorf("kernel %s, line %d: %s: thread (%d,%d,%d) of block (%d,%d,%d): %s", w.g.k.Name, w.in.s.line, w.in.s.text,
		t%n[0], t/n[0]%n[1], t/n[0]/n[1], w.b.at[0], w.b.at[1], w.b.at[2], fmt.Sprintf(format, args...))
}

// localOf gives the local memory of a lane.
func (w *warp) localOf(lane int) []byte {
	if w.local[lane] == nil {
		w.local[lane] = bytesOf(w.g.k.local)
	}
	return w.local[lane]
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = poison
	}
	return b
}

func (w *warp) start(lanes int) {
	w.live = all >> (32 - lanes)
	w.groups = append(w.groups[:0], group{mask: w.live})
	w.waiting = false
	w.copies, w.commits = w.copies[:0], [32]int{}
	clear(w.local)
	for i := range w.p {
		w.p[i] = 0xaaaaaaaa
	}
	w.p[len(w.p)-1] = 0
	copy(w.r, w.g.fresh)
	for _, s := range w.g.p.specials {
		f := specialRegs[s.name]
		for l := range w.r[s.reg] {
			w.r[s.reg][l] = uint64(f(w, l))
		}
	}
}

// run executes up to n instructions, until the warp waits or ends.
func (w *warp) run(n int64) {
	for end := w.g.steps + n; w.g.steps < end && !w.waiting && len(w.groups) > 0; {
		i := -1
		for j := range w.groups {
			if !w.groups[j].parked && (i < 0 || w.groups[j].pc < w.groups[i].pc) {
				i = j
			}
		}
		if i < 0 {
			w.stuck()
			return
		}
		if w.advance(i, end); w.g.err != nil {
			return
		}
	}
}

// stuck reports lanes of one warp that wait for each other at different instructions.
func (w *warp) stuck() {
	a, b := w.groups[0], group{}
	w.in = &w.g.p.code[a.pc]
	if len(w.groups) > 1 {
		b = w.groups[1]
		in := &w.g.p.code[b.pc]
		w.fault(bits.TrailingZeros32(a.mask), "lanes %#08x wait here for lanes %#08x, which wait at line %d: %s", a.mask, b.mask, in.s.line, in.s.text)
		return
	}
	w.fault(bits.TrailingZeros32(a.mask), "lanes %#08x wait for lanes that do not come", a.mask)
}

// settle makes the lanes m of group i stand at pc, and joins groups that stand together.
func (w *warp) settle(i, pc int, m uint32) {
	w.groups[i].pc, w.groups[i].mask = pc, m
	if m == 0 {
		w.groups = slices.Delete(w.groups, i, i+1)
		return
	}
	for j := range w.groups {
		if j != i && w.groups[j].pc == pc {
			w.groups[j].mask |= m
			w.groups[j].parked = false
			w.groups = slices.Delete(w.groups, i, i+1)
			return
		}
	}
}

// split takes the lanes m, which go on at pc, out of group i.
func (w *warp) split(i, pc int, m uint32) {
	w.groups[i].mask &^= m
	w.groups = append(w.groups, group{})
	w.settle(len(w.groups)-1, pc, m)
}

// advance executes group i until it reaches another group, waits, ends or splits.
func (w *warp) advance(i int, end int64) {
	g := w.g
	pc, m := w.groups[i].pc, w.groups[i].mask
	others := len(w.groups) > 1
	limit := math.MaxInt // the next group
	for j := range w.groups {
		if j != i && w.groups[j].pc > pc {
			limit = min(limit, w.groups[j].pc)
		}
	}
	for g.steps < end {
		in := &g.p.code[pc]
		w.in = in
		run := m
		if in.guard >= 0 {
			if p := w.p[in.guard]; in.not {
				run &^= p
			} else {
				run &= p
			}
		}
		g.steps++
		g.lanes += int64(bits.OnesCount32(run))
		next := pc + 1
		switch in.kind {
		case stepPlain:
			if run != 0 {
				if in.run(w, run); g.err != nil {
					return
				}
			}
		case stepBranch:
			if run == m {
				next = in.target
			} else if run != 0 {
				w.settle(i, next, m&^run)
				w.groups = append(w.groups, group{})
				w.settle(len(w.groups)-1, in.target, run)
				return
			}
		case stepExit:
			if run != 0 {
				if w.exit(run); g.err != nil {
					return
				}
				w.settle(i, next, m&^run)
				return
			}
		default:
			if run == 0 {
				break
			}
			if run != m {
				w.groups[i].pc = pc
				w.split(i, next, m&^run)
				return
			}
			need := w.live
			if in.kind == stepMeet && in.mask >= 0 {
				need = w.named(m)
				if g.err != nil {
					return
				}
			}
			if need&^m != 0 {
				w.groups[i].pc, w.groups[i].mask, w.groups[i].parked = pc, m, true
				g.steps-- // it is not executed yet
				return
			}
			if in.run(w, need); g.err != nil {
				return
			}
			if need != m {
				w.groups[i].pc = pc
				w.split(i, next, need)
				return
			}
			if w.waiting {
				w.settle(i, next, m)
				return
			}
		}
		if next == limit || others && next < pc {
			w.settle(i, next, m)
			return
		}
		if next > limit {
			w.settle(i, next, m)
			return
		}
		pc = next
	}
	w.settle(i, pc, m)
}

// named gives the lanes that the first lane of m names in its mask, and that are to do it together.
func (w *warp) named(m uint32) uint32 {
	first := bits.TrailingZeros32(m)
	need := uint32(w.r[w.in.mask][first])
	switch {
	case need>>first&1 == 0:
		w.fault(first, "the mask %#08x does not name the lane itself", need)
	case need&^w.live != 0:
		w.fault(first, "the mask %#08x names lanes %#08x, which have ended or never were", need, need&^w.live)
	}
	for x := m & need; x != 0; x &= x - 1 {
		if l := bits.TrailingZeros32(x); uint32(w.r[w.in.mask][l]) != need {
			w.fault(l, "its mask is %#08x, that of lane %d %#08x", uint32(w.r[w.in.mask][l]), first, need)
		}
	}
	return need
}

// exit ends lanes.
func (w *warp) exit(m uint32) {
	for _, c := range w.copies {
		if m>>c.lane&1 != 0 {
			w.fault(c.lane, "it ends before its asynchronous copies have arrived")
			return
		}
	}
	w.live &^= m
	w.b.live -= bits.OnesCount32(m)
	for j := range w.groups { // what waits for all that live may go on
		w.groups[j].parked = false
	}
	for id := range w.b.bars {
		w.b.release(id)
	}
}
