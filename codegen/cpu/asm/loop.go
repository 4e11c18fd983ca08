package asm

import "strings"

// prefetchAhead is how far ahead of the block in use weights are fetched: across pages, which the
// hardware does not.
const prefetchAhead = 2048

// A unit says how some k of a panel are walked: 256, or 32 in formats that have nothing in common for
// more.
type unit struct {
	blocks int // of 32 k
	bytes  int // of the panel
	head   int // bytes that lie at the panel's start
	near   int // how far ahead one token fetches
	// begin loads what holds for the unit and the rows of a register.
	begin func()
	// block decodes the weights of block b into registers.
	block func(b int)
	// dot leaves the integer sum of the block for token x in acc.
	dot func(x token, acc vec)
	// scale makes of it the float32 that is added to the token's sums, with scratch of its own.
	scale func(x token, acc vec)
}

// walk writes a kernel: for each unit, for each register of rows, for each block of 32, decode
// it, then for each token add its product to the token's sums in memory. One token alone has code
// of its own, with its sums in a register.
func (p *prog) walk(u unit) {
	p.op("MOVQ", "panel+0(FP)", rPanel)
	p.op("MOVQ", "x+8(FP)", rX)
	p.op("MOVQ", "offset+16(FP)", rOffset)
	p.op("MOVQ", "dst+24(FP)", rDst)
	p.op("MOVQ", "n+32(FP)", rN)
	p.op("MOVQ", "blocks+40(FP)", rBlocks)
	if u.head > 0 {
		p.op("MOVQ", rPanel, rHead)
		p.op("MOVQ", rBlocks, rT)
		p.op("IMULQ", u.head, rT)
		p.op("ADDQ", rT, rPanel)
		p.prefetchSkipped()
	}
	p.clearSums()
	one := p.label()
	p.op("CMPQ", rN, 1)
	p.op("JEQ", one)
	p.units(u, func(b int) { p.tokens(b, u) })
	p.mark(one)
	p.single(u)
}

// single writes the loops for one token. Its time is that of memory: where rows take two registers the
// panel is walked block by block, in the order in which it lies there. Fetching far ahead hinders the
// hardware that does; a few lines ahead help some formats.
func (p *prog) single(u unit) {
	halves := func(do func()) {
		for p.half = range 64 / p.Bytes {
			do()
		}
		p.half = 0
	}
	next := p.label()
	p.op("MOVQ", "("+rOffset+")", rTok)
	p.mark(next)
	p.op("MOVQ", rPanel, rNarrow)
	halves(u.begin)
	for b := range u.blocks {
		p.comment("block %d", b)
		if u.near > 0 {
			size := u.bytes / u.blocks
			for at := (b*size + 63) / 64 * 64; at < (b+1)*size; at += 64 {
				p.op("PREFETCHT0", mem(u.near+at, rPanel))
			}
		}
		halves(func() {
			x := record(b, rTok)
			u.block(b)
			u.dot(x, acc0)
			u.scale(x, acc0)
			p.addUp(acc0, mem(p.half*p.Bytes, rDst))
		})
	}
	p.advance(u, 0)
	p.op("JNZ", next)
	p.op("VZEROUPPER")
	p.op("RET")
}

// units writes the loop over units for several tokens; block does what follows the decoding of a block.
func (p *prog) units(u unit, block func(b int)) {
	next, half := p.label(), p.label()
	halves := 64 / p.Bytes
	p.mark(next)
	p.op("MOVQ", rPanel, rNarrow)
	if halves > 1 {
		p.op("MOVQ", halves, rHalf)
		p.mark(half)
	}
	u.begin()
	for b := range u.blocks {
		p.comment("block %d", b)
		p.prefetch(b*u.bytes/u.blocks, (b+1)*u.bytes/u.blocks)
		u.block(b)
		block(b)
	}
	moved := 0
	if halves > 1 {
		moved = 64
		p.op("ADDQ", p.Bytes, rPanel)
		p.op("ADDQ", p.Bytes, rDst)
		p.op("ADDQ", p.Bytes/2, rNarrow)
		if u.head > 0 {
			p.op("ADDQ", p.Bytes/2, rHead)
		}
		p.op("DECQ", rHalf)
		p.op("JNZ", half)
		p.op("SUBQ", moved, rDst)
	}
	p.advance(u, moved)
	p.op("JNZ", next)
	p.op("VZEROUPPER")
	p.op("RET")
}

// advance moves on to the next unit, from registers that moved already.
func (p *prog) advance(u unit, moved int) {
	p.op("ADDQ", u.bytes-moved, rPanel)
	if u.head > moved/2 {
		p.op("ADDQ", u.head-moved/2, rHead)
	}
	p.op("ADDQ", u.blocks*recordBytes, rX)
	p.op("DECQ", rBlocks)
}

// prefetch fetches the lines from byte lo to hi of what comes prefetchAhead later. Where the rows take
// two registers, the second turn finds rPanel half a line further: it takes the odd lines.
func (p *prog) prefetch(lo, hi int) {
	step, first := 64, 0
	if p.Bytes == 32 {
		step, first = 128, 32
	}
	for at := (lo + step - 1) / step * step; at < hi; at += step {
		p.op("PREFETCHT0", mem(prefetchAhead+at+first, rPanel))
	}
}

// prefetchSkipped fetches what the walk over the last panel did not reach, since this one starts
// behind the d.
func (p *prog) prefetchSkipped() {
	l := p.label()
	p.op("MOVQ", rHead, rAcc)
	p.mark(l)
	p.op("PREFETCHT0", mem(prefetchAhead, rAcc))
	p.op("ADDQ", 64, rAcc)
	p.op("CMPQ", rAcc, rPanel)
	p.op("JLT", l)
}

func (p *prog) clearSums() {
	l := p.label()
	p.op("MOVQ", rDst, rAcc)
	p.op("MOVQ", rN, rT)
	p.zero(0)
	p.mark(l)
	for i := 0; i < 64; i += p.Bytes {
		p.store(0, mem(i, rAcc))
	}
	p.op("ADDQ", 64, rAcc)
	p.op("DECQ", rT)
	p.op("JNZ", l)
}

// tokens writes the loop over tokens of block b. The long chain that scales a token's sum and adds
// it up runs beside the products of the next token, instruction by instruction: waiting together
// they would fill the scheduler. Two tokens a turn, with registers of their own.
func (p *prog) tokens(b int, u unit) {
	tok, acc := [2]string{rTok, rTok2}, [2]vec{acc0, acc1}
	begin := func(i int) {
		p.op("MOVQ", "("+rT+")", tok[i])
		p.op("ADDQ", 8, rT)
		u.dot(record(b, tok[i]), acc[i])
	}
	end := func(i int) {
		u.scale(record(b, tok[i]), acc[i])
		p.addUp(acc[i], mem(0, rAcc))
		p.op("ADDQ", 64, rAcc)
	}
	next, last, done := p.label(), p.label(), p.label()
	p.op("MOVQ", rDst, rAcc)
	p.op("MOVQ", rOffset, rT)
	p.op("MOVQ", rN, rLeft)
	begin(0)
	p.mark(next)
	p.op("DECQ", rLeft)
	p.op("JZ", last)
	p.beside(func() { begin(1) }, func() { end(0) })
	p.op("DECQ", rLeft)
	p.op("JZ", done)
	p.beside(func() { begin(0) }, func() { end(1) })
	p.op("JMP", next)
	p.mark(done)
	end(1)
	p.op("JMP", done+"x")
	p.mark(last)
	end(0)
	p.mark(done + "x")
}

// addUp adds v to sums in memory.
func (p *prog) addUp(v vec, sums string) {
	p.op("VADDPS", sums, v, v)
	p.store(v, sums)
}

// beside writes the instructions of two independent sequences in turns, in proportion.
func (p *prog) beside(long, short func()) {
	a, b := p.capture(long), p.capture(short)
	j := 0
	for i, line := range a {
		p.out.WriteString(line)
		for ; j*len(a) < (i+1)*len(b); j++ {
			p.out.WriteString(b[j])
		}
	}
}

// capture gives the instructions that emit writes.
func (p *prog) capture(emit func()) []string {
	at := p.out.Len()
	emit()
	lines := strings.SplitAfter(p.out.String()[at:], "\n")
	p.out.Truncate(at)
	return lines[:len(lines)-1]
}

// Bytes of records of activations, as package panel has them.
const (
	recordBytes = 44
	recordD     = 32
	recordSum   = 36
	recordSums  = 40
)

// times multiplies v by the broadcast f32 at src, through tmp where the unit cannot broadcast an
// operand.
func (p *prog) times(src string, v, tmp, dst vec) {
	if p.Bytes == 64 {
		p.op("VMULPS.BCST", src, v, dst)
		return
	}
	p.op("VBROADCASTSS", src, tmp)
	p.op("VMULPS", v, tmp, dst)
}

// A product is that of groups of weights with activations, in lanes of int32.
type product struct {
	w     []vec
	at    int  // byte of the activations in the record
	most  int  // largest level of a weight
	scale vec  // factor of each row: int32 with VNNI, otherwise twice as int16 (see pair)
	unit  bool // the factor is one
	more  bool // add to what acc holds
}

// dot writes a product to acc. part and tmp are scratch.
func (p *prog) dot(y product, x token, acc, part, tmp vec) {
	if p.VNNI {
		p.dotVNNI(y, x, acc, part)
		return
	}
	// A lane of int16 holds the products of room groups. One such sum is two chains.
	room := 32767 / (2 * 127 * y.most)
	for i := 0; i < len(y.w); i += room {
		n := min(room, len(y.w)-i)
		sum := part
		if i == 0 && !y.more {
			sum = acc
		}
		chains := 1
		if n == len(y.w) && !y.more {
			chains = 2
		}
		for j := range n {
			s, to := []vec{sum, part}[j%chains], tmp
			if j < chains {
				to = s
			}
			p.op("VPBROADCASTD", x(y.at+4*(i+j)), tmp)
			p.op("VPMADDUBSW", tmp, y.w[i+j], to)
			if j >= chains {
				p.op("VPADDW", tmp, s, s)
			}
		}
		if chains == 2 {
			p.op("VPADDW", part, sum, sum)
		}
		p.op("VPMADDWD", y.scale, sum, sum)
		if sum == part {
			p.op("VPADDD", part, acc, acc)
		}
	}
}

func (p *prog) dotVNNI(y product, x token, acc, part vec) {
	chain := []vec{part}
	if !y.more {
		chain = []vec{acc}
		if y.unit {
			chain = []vec{acc, part}
		}
	}
	for _, c := range chain {
		p.zero(c)
	}
	for i, w := range y.w {
		p.op("VPDPBUSD.BCST", x(y.at+4*i), w, chain[i%len(chain)])
	}
	if !y.unit {
		p.op("VPMULLD", y.scale, chain[0], chain[0])
	}
	if y.more || y.unit {
		p.op("VPADDD", part, acc, acc)
	}
}
