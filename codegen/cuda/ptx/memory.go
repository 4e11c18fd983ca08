package ptx

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A buffer has 64 GiB of addresses, so that no offset of a kernel reaches another one.
const bufferShift = 36

// The windows of the other state spaces in generic addresses lie above all buffers.
const maxBuffers = 1 << (60 - bufferShift)

// A space is a state space.
type space uint8

const (
	spaceGlobal space = iota // and const: a constant has the address of a global
	spaceShared
	spaceLocal
	spaceParam
	spaceGeneric
)

// window is what a state space adds to its own addresses to make generic ones.
func (s space) window() uint64 {
	if s == spaceGeneric {
		return 0
	}
	return uint64(s) << 60
}

// spaceOf is the state space of a generic address.
func spaceOf(a uint64) space { return space(a >> 60 & 3) }

// A Machine is the memory that kernels of a module run over.
type Machine struct {
	m       *Module
	buffers [][]byte // buffer i has the addresses from (i+1) << bufferShift
	fixed   int      // the first ones are variables of the module
}

// NewMachine makes a machine with the variables of a module.
func NewMachine(m *Module) *Machine {
	x := &Machine{m: m, fixed: len(m.globals)}
	for _, v := range m.globals {
		b := make([]byte, v.size)
		copy(b, v.init)
		x.buffers = append(x.buffers, b)
	}
	return x
}

// Map makes a buffer known and returns its address: kernels read and write b itself.
func (x *Machine) Map(b []byte) uint64 {
	x.buffers = append(x.buffers, b)
	return uint64(len(x.buffers)) << bufferShift
}

// Variable gives the memory of a .global or .const variable.
func (x *Machine) Variable(name string) ([]byte, bool) {
	for i, v := range x.m.globals {
		if v.name == name {
			return x.buffers[i], true
		}
	}
	return nil, false
}

// access gives n bytes at an address of a state space; a fault stops the warp.
func (w *warp) access(s space, a uint64, n, lane int, write bool) []byte {
	if s == spaceGeneric {
		s = spaceOf(a)
		a -= s.window()
	}
	var mem []byte
	off := a
	switch s {
	case spaceGlobal:
		i := a>>bufferShift - 1
		if i >= uint64(len(w.g.x.buffers)) {
			w.outside(s, a, n, lane)
			return nil
		}
		mem = w.g.x.buffers[i]
		off = a & (1<<bufferShift - 1)
		if write && i < uint64(w.g.x.fixed) && w.g.x.m.globals[i].space == "const" {
			w.fault(lane, "a write to the constant %s", w.g.x.m.globals[i].name)
			return nil
		}
	case spaceShared:
		mem = w.b.shared
	case spaceLocal:
		mem = w.localOf(lane)
	default:
		mem = w.g.params
		if write {
			w.fault(lane, "a write to a parameter")
			return nil
		}
	}
	if a&uint64(n-1) != 0 || off > uint64(len(mem)) || uint64(n) > uint64(len(mem))-off {
		w.outside(s, a, n, lane)
		return nil
	}
	return mem[off : off+uint64(n)]
}

// outside reports an access that is misaligned or touches what is not there.
func (w *warp) outside(s space, a uint64, n, lane int) {
	if a&uint64(n-1) != 0 {
		w.fault(lane, "%d bytes at %s: not a multiple of %d", n, w.where(s, a), n)
		return
	}
	w.fault(lane, "%d bytes at %s", n, w.where(s, a))
}

// where words an address for a message.
func (w *warp) where(s space, a uint64) string {
	switch s {
	case spaceShared:
		return fmt.Sprintf("offset %d of %d bytes of shared memory", int64(a), len(w.b.shared))
	case spaceLocal:
		return fmt.Sprintf("offset %d of %d bytes of local memory", int64(a), w.g.k.local)
	case spaceParam:
		return fmt.Sprintf("offset %d of %d bytes of parameters", int64(a), len(w.g.params))
	}
	// An offset in the upper half is a negative one of the next buffer.
	i := int64(a+1<<(bufferShift-1))>>bufferShift - 1
	off := int64(a) - (i+1)<<bufferShift
	fixed := int64(w.g.x.fixed)
	switch {
	case i < 0:
		return fmt.Sprintf("address %#x, near null", a)
	case i >= int64(len(w.g.x.buffers)):
		return fmt.Sprintf("address %#x, where no buffer is", a)
	case i < fixed:
		return fmt.Sprintf("offset %d of %d bytes of variable %s", off, len(w.g.x.buffers[i]), w.g.x.m.globals[i].name)
	}
	return fmt.Sprintf("offset %d of %d bytes of buffer %d", off, len(w.g.x.buffers[i]), i-fixed)
}

// get reads a number of n bytes.
func get(b []byte, n int) uint64 {
	switch n {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func put(b []byte, v uint64, n int) {
	switch n {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

// hints take what orders or places an access: here all memory is coherent and in order.
func (d *decoder) hints() {
	for d.one("weak", "relaxed", "acquire", "release", "acq_rel", "sc", "volatile", "mmio", "cta", "cluster", "gpu", "sys", "gl",
		"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc",
		"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B",
		"L2", "L1", "L2::evict_last", "L2::evict_normal", "noftz") != "" {
	}
}

// vector takes .v2, .v4 or .v8 and checks the number of registers.
func (d *decoder) vector(o operand) []operand {
	n := map[string]int{"": 1, "v2": 2, "v4": 4, "v8": 8}[d.one("v2", "v4", "v8")]
	e := d.elements(o)
	if len(e) != n {
		d.fail("%d registers: want %d", len(e), n)
	}
	return e
}

func decodeLoad(d *decoder) exec {
	t := d.typ()
	space := d.space()
	d.hints()
	if t.bits > 64 || t.packed() || t.kind == 'p' {
		d.fail("the type is not supported")
		return nil
	}
	a := d.addr(1)
	var dst []int
	var wide []uint64
	for _, o := range d.vector(d.arg(0)) {
		r := d.target(o, t.bits, 64)
		mask := ^uint64(0)
		if o.kind == kindReg {
			mask = typ{'b', d.k.regs[r].bits}.mask()
		}
		dst, wide = append(dst, r), append(wide, mask)
	}
	n := t.bits / 8
	return func(w *warp, m uint32) {
		from := w.r[a.reg] // it may be among the targets
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			p := w.access(space, (from[l]+a.off)&a.mask, n*len(dst), l, false)
			if p == nil {
				return
			}
			for i, r := range dst {
				w.r[r][l] = t.widen(get(p[i*n:], n)) & wide[i]
			}
		}
	}
}

func decodeStore(d *decoder) exec {
	t := d.typ()
	space := d.space()
	d.hints()
	if t.bits > 64 || t.packed() || t.kind == 'p' {
		d.fail("the type is not supported")
		return nil
	}
	a := d.addr(0)
	var src []int
	for _, o := range d.vector(d.arg(1)) {
		src = append(src, d.source(o, t, 64))
	}
	n := t.bits / 8
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			p := w.access(space, a.at(w, l), n*len(src), l, true)
			if p == nil {
				return
			}
			for i, r := range src {
				put(p[i*n:], w.r[r][l], n)
			}
		}
	}
}

// decodeAtomic is atom, which gives the old value, and red, which does not.
func decodeAtomic(d *decoder) exec {
	t := d.typ()
	space := d.space()
	d.hints()
	op := d.one("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")
	i, dst := 0, len(d.k.regs)
	if d.s.op[0] == 'a' {
		dst = d.dst(0, t.bits)
		i = 1
	}
	a, b := d.addr(i), d.src(i+1, t)
	c := b
	switch {
	case op == "cas" && len(d.s.args) == 4:
		c = d.src(3, t)
	case op == "cas" || len(d.s.args) > i+2:
		d.fail("%d operands", len(d.s.args))
	}
	number := t.float() || t.packed()
	if t.bits < 16 || t.bits > 64 || number && op != "add" && op != "min" && op != "max" || op == "" {
		d.fail("the operation is not supported")
	}
	e := t.elem()
	var f func(old, b, c uint64) uint64
	switch op {
	case "add":
		f = func(old, b, _ uint64) uint64 { return (old + b) & t.mask() }
		if number {
			f = func(old, b, _ uint64) uint64 { return e.round(e.value(old)+e.value(b), false) }
		}
		if t.packed() {
			one := f
			f = func(old, b, _ uint64) uint64 {
				return one(old&0xffff, b&0xffff, 0) | one(old>>16, b>>16, 0)<<16
			}
		}
	case "min", "max":
		if number {
			d.fail("the operation is not supported")
		}
		f = func(old, b, _ uint64) uint64 { return pick(t, op == "max", old, b) }
	case "and":
		f = func(old, b, _ uint64) uint64 { return old & b }
	case "or":
		f = func(old, b, _ uint64) uint64 { return old | b }
	case "xor":
		f = func(old, b, _ uint64) uint64 { return old ^ b }
	case "exch":
		f = func(_, b, _ uint64) uint64 { return b }
	case "cas":
		f = func(old, b, c uint64) uint64 {
			if old == b {
				return c
			}
			return old
		}
	case "inc":
		f = func(old, b, _ uint64) uint64 {
			if old >= b {
				return 0
			}
			return old + 1
		}
	case "dec":
		f = func(old, b, _ uint64) uint64 {
			if old == 0 || old > b {
				return b
			}
			return old - 1
		}
	}
	n := t.bits / 8
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			p := w.access(space, a.at(w, l), n, l, true)
			if p == nil {
				return
			}
			old := get(p, n)
			put(p, f(old, w.r[b][l], w.r[c][l]), n)
			w.r[dst][l] = old
		}
	}
}

// decodeHint is an instruction that changes when something happens and not what.
func decodeHint(d *decoder) exec {
	d.space()
	d.hints()
	for d.one("proxy", "alias", "async", "async::generic", "launch_dependents", "wait", "u32", "inc", "dec", "sync", "aligned",
		"mbarrier_init", "sc", "acquire", "release", "sync_restrict::shared::cta", "sync_restrict::shared::cluster") != "" {
	}
	return func(*warp, uint32) {}
}

// A copyAsync is a copy on its way.
type copyAsync struct {
	lane, group int
	to, from    uint64
	n, fill     int // bytes that are written; of these the last ones are zeros
}

// decodeCopy is cp.async. The bytes arrive at the wait; until then the target holds a pattern.
func decodeCopy(d *decoder) exec {
	if !d.has("async") {
		d.fail("the copy is not supported")
	}
	switch {
	case d.has("commit_group"):
		return func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				w.commits[bits.TrailingZeros32(m)]++
			}
		}
	case d.has("wait_all"):
		return func(w *warp, m uint32) { w.arrive(m, 0, true) }
	case d.has("wait_group"):
		n := d.immediate(0)
		if n > 1<<16 {
			d.fail("%d groups", n)
		}
		return func(w *warp, m uint32) { w.arrive(m, int(n), false) }
	}
	if d.one("ca", "cg") == "" || !(d.has("shared") || d.has("shared::cta")) || !d.has("global") {
		d.fail("the copy is not supported")
	}
	d.hints()
	to, from, n := d.addr(0), d.addr(1), d.immediate(2)
	if n != 4 && n != 8 && n != 16 {
		d.fail("a copy of %d bytes", n)
	}
	size := d.constant(n) // bytes that are read
	if len(d.s.args) == 4 {
		if d.arg(3).kind == kindPred {
			d.fail("a predicate that leaves the source out is not supported")
		} else {
			size = d.src(3, typ{'u', 32})
		}
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			read := w.r[size][l]
			if read > n {
				w.fault(l, "a copy of %d bytes reads %d", n, read)
				return
			}
			c := copyAsync{l, w.commits[l], to.at(w, l), from.at(w, l), int(n), int(n - read)}
			p := w.access(spaceShared, c.to, c.n, l, true)
			if p == nil || read > 0 && w.source(c) == nil {
				return
			}
			for i := range p {
				p[i] = poison
			}
			w.copies = append(w.copies, c)
		}
	}
}

// source gives what a copy reads; it must be aligned for the whole copy.
func (w *warp) source(c copyAsync) []byte {
	if c.from&uint64(c.n-1) != 0 {
		w.fault(c.lane, "a copy of %d bytes from %s, which is no multiple of it", c.n, w.where(spaceGlobal, c.from))
		return nil
	}
	n := c.n - c.fill
	out := make([]byte, 0, 16)
	for i := range n {
		p := w.access(spaceGlobal, c.from+uint64(i), 1, c.lane, false)
		if p == nil {
			return nil
		}
		out = append(out, p[0])
	}
	return out
}

// arrive completes the copies of lanes m but for those of the n youngest groups.
func (w *warp) arrive(m uint32, n int, uncommitted bool) {
	rest := w.copies[:0]
	for _, c := range w.copies {
		if m>>c.lane&1 == 0 || !uncommitted && c.group >= w.commits[c.lane]-n {
			rest = append(rest, c)
			continue
		}
		p := w.access(spaceShared, c.to, c.n, c.lane, true)
		if p == nil {
			return
		}
		clear(p)
		if c.fill < c.n {
			s := w.source(c)
			if s == nil {
				return
			}
			copy(p, s)
		}
	}
	w.copies = rest
}
