package ptx

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A vec is a register of all lanes.
type vec = [32]uint64

// An exec performs an instruction for the lanes of m.
type exec func(w *warp, m uint32)

type stepKind uint8

const (
	stepPlain   stepKind = iota
	stepBranch           // to target
	stepExit             // ends lanes
	stepMeet             // waits for the lanes named by register mask, or all that live
	stepBarrier          // the same, and then for the block
)

// An instr is a decoded instruction.
type instr struct {
	run    exec
	kind   stepKind
	not    bool
	guard  int // predicate, or -1
	target int
	mask   int // stepMeet: register of the lanes, or -1
	s      *stmt
}

// A program is a decoded kernel.
type program struct {
	code     []instr
	regs     int // registers with those of constants and special ones
	preds    int
	consts   []constant
	specials []special
}

type constant struct {
	reg int
	val uint64
}

type special struct {
	reg  int
	name string
}

// decode makes the program of a kernel.
func (k *Kernel) decode(m *Module) (*program, error) {
	if k.decoded != nil {
		return k.decoded, nil
	}
	p := &program{regs: len(k.regs) + 1, preds: k.preds + 2} // one more of each takes what goes to _, a last predicate is false
	d := &decoder{m: m, k: k, p: p, consts: map[uint64]int{}, specials: map[string]int{}}
	for i := range k.body {
		in, err := d.instruction(&k.body[i])
		if err != nil {
			return nil, fmt.Errorf("kernel %s, line %d: %s: %w", k.Name, k.body[i].line, k.body[i].text, err)
		}
		p.code = append(p.code, in)
	}
	end := &stmt{text: "the end", guard: -1}
	p.code = append(p.code, instr{kind: stepExit, guard: -1, s: end})
	k.decoded = p
	return p, nil
}

// A decoder turns statements into instructions. The first fault is kept, so that
// rows of the table read their operands without looking for errors.
type decoder struct {
	m        *Module
	k        *Kernel
	p        *program
	consts   map[uint64]int
	specials map[string]int

	s    *stmt
	in   *instr
	mods []string // modifiers that nobody has taken
	err  error
}

func (d *decoder) instruction(s *stmt) (instr, error) {
	root, rest, _ := strings.Cut(s.op, ".")
	in := instr{guard: s.guard, not: s.not, target: s.target, mask: -1, s: s}
	d.s, d.in, d.mods, d.err = s, &in, nil, nil
	if rest != "" {
		d.mods = strings.Split(rest, ".")
	}
	op, ok := opcodes[root]
	if !ok {
		return in, fmt.Errorf("the instruction %s is not supported", root)
	}
	if len(s.args) < op.min || len(s.args) > op.max {
		return in, fmt.Errorf("%d operands: want %d to %d", len(s.args), op.min, op.max)
	}
	in.run = op.decode(d)
	if d.err == nil && len(d.mods) > 0 {
		d.fail("the modifier .%s is not supported", d.mods[0])
	}
	return in, d.err
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// has takes a modifier if it is there.
func (d *decoder) has(mod string) bool {
	i := slices.Index(d.mods, mod)
	if i >= 0 {
		d.mods = slices.Delete(d.mods, i, i+1)
	}
	return i >= 0
}

// one takes the first of some modifiers that is there, "" when none is.
func (d *decoder) one(names ...string) string {
	for _, n := range names {
		if d.has(n) {
			return n
		}
	}
	return ""
}

// typ takes the last modifier as a type.
func (d *decoder) typ() typ {
	if n := len(d.mods); n > 0 {
		if t, ok := typeOf(d.mods[n-1]); ok {
			d.mods = d.mods[:n-1]
			return t
		}
	}
	d.fail("it has no type")
	return typ{'b', 32}
}

// arg gives operand i, a sink where there is none.
func (d *decoder) arg(i int) operand {
	if i < len(d.s.args) {
		return d.s.args[i]
	}
	d.fail("operand %d is missing", i+1)
	return operand{kind: kindSink}
}

// dst is the register that operand i names, of exactly the given bits.
func (d *decoder) dst(i, bits int) int { return d.target(d.arg(i), bits, bits) }

// target is a register that is written, of lo to hi bits.
func (d *decoder) target(o operand, lo, hi int) int {
	switch o.kind {
	case kindSink:
		return len(d.k.regs)
	case kindReg:
		if b := d.k.regs[o.reg].bits; b < lo || b > hi {
			d.fail("register %s has %d bits, want %d", d.k.regs[o.reg].name, b, lo)
		}
		return o.reg
	}
	d.fail("the target is no register")
	return 0
}

// src is the register of source operand i, of a type.
func (d *decoder) src(i int, t typ) int { return d.source(d.arg(i), t, t.bits) }

// source is a register that is read, of the type's bits up to hi; what is no
// register gets one that always has its value.
func (d *decoder) source(o operand, t typ, hi int) int {
	switch o.kind {
	case kindReg:
		if b := d.k.regs[o.reg].bits; b < t.bits || b > hi {
			d.fail("register %s has %d bits, want %d", d.k.regs[o.reg].name, b, t.bits)
		}
		return o.reg
	case kindInt:
		return d.constant(o.val & t.mask())
	case kindFloat, kindDouble:
		v := o.val
		switch {
		case o.kind == kindFloat && t.bits == 64:
			v = math.Float64bits(float64(f32(v)))
		case o.kind == kindDouble && t.float() && t.bits < 64:
			v = t.round(math.Float64frombits(v), false)
		}
		if v&^t.mask() != 0 {
			d.fail("a float of more than %d bits", t.bits)
		}
		return d.constant(v)
	case kindSpecial:
		if o.name == "WARP_SZ" {
			return d.constant(32)
		}
		if !isSpecial(o.name) {
			d.fail("the register %s is not supported", o.name)
		}
		r, ok := d.specials[o.name]
		if !ok {
			r = d.fresh()
			d.specials[o.name] = r
			d.p.specials = append(d.p.specials, special{r, o.name})
		}
		return r
	case kindVar:
		if o.v.extern {
			return d.constant((uint64(d.k.Shared) + 15) &^ 15)
		}
		return d.constant(o.v.offset)
	}
	d.fail("a source is neither register nor number")
	return 0
}

// constant is a register that holds a number.
func (d *decoder) constant(v uint64) int {
	r, ok := d.consts[v]
	if !ok {
		r = d.fresh()
		d.consts[v] = r
		d.p.consts = append(d.p.consts, constant{r, v})
	}
	return r
}

func (d *decoder) fresh() int {
	d.p.regs++
	return d.p.regs - 1
}

// A predicate operand: its number, and whether it is negated.
type predicate struct {
	n   int
	not bool
}

// pred is operand i as a source.
func (d *decoder) pred(i int) predicate {
	o := d.arg(i)
	if o.kind == kindInt {
		return predicate{d.k.preds + 1, o.val != 0}
	}
	if o.kind != kindPred {
		d.fail("operand %d is no predicate", i+1)
		return predicate{}
	}
	return predicate{o.reg, o.not}
}

// predTarget is a predicate that is written.
func (d *decoder) predTarget(o operand) int {
	switch {
	case o.kind == kindSink:
		return d.k.preds
	case o.kind == kindPred && !o.not:
		return o.reg
	}
	d.fail("the target is no predicate")
	return 0
}

// elements are the registers of a list, or of a single operand.
func (d *decoder) elements(o operand) []operand {
	if o.kind == kindList {
		return o.list
	}
	return []operand{o}
}

// list wants n registers of 32 bits as operand i.
func (d *decoder) list(i, n int, target bool) []int {
	e := d.elements(d.arg(i))
	if len(e) != n {
		d.fail("operand %d has %d elements: want %d", i+1, len(e), n)
	}
	out := make([]int, n)
	for j := range min(n, len(e)) {
		if target {
			out[j] = d.target(e[j], 32, 32)
		} else {
			out[j] = d.source(e[j], typ{'b', 32}, 32)
		}
	}
	return out
}

// An address is a register plus an offset, in the bits of the register.
type address struct {
	reg       int
	off, mask uint64
}

// at is the address of a lane.
func (a *address) at(w *warp, lane int) uint64 { return (w.r[a.reg][lane] + a.off) & a.mask }

// addr is operand i as an address.
func (d *decoder) addr(i int) address {
	o := d.arg(i)
	if o.kind != kindAddr {
		d.fail("operand %d is no address", i+1)
		return address{}
	}
	base := o.list[0]
	bits := 64
	if base.kind == kindReg {
		bits = d.k.regs[base.reg].bits
		if bits < 32 {
			d.fail("an address of %d bits", bits)
		}
	}
	return address{d.source(base, typ{'u', bits}, 64), uint64(o.off), typ{'u', bits}.mask()}
}

// space takes the state space of a memory instruction.
func (d *decoder) space() space {
	switch d.one("global", "shared", "shared::cta", "local", "const", "param", "param::entry") {
	case "global", "const":
		return spaceGlobal
	case "shared", "shared::cta":
		return spaceShared
	case "local":
		return spaceLocal
	case "":
		return spaceGeneric
	}
	return spaceParam
}
