package asm

// prefetchAhead is how far ahead of the block in use weights are fetched: across pages, which the
// hardware does not.
const prefetchAhead = 3072

// A unit says how 256 k of a panel are walked.
type unit struct {
	bytes int // of the 256 k
	head  int // bytes a 256 that lie at the panel's start
	// begin loads what holds for the 256 k of the rows of a register.
	begin func()
	// block decodes the weights of block b into registers.
	block func(b int)
	// token leaves the sum of block b for a token in acc, times the activations' scale.
	token func(b int) (acc vec)
}

// walk writes a kernel: for each 256 k, for each register of rows, for each block of 32, decode
// it, then for each token add its product to the token's sums in memory.
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
	}
	p.clearSums()
	next, half := p.label(), p.label()
	halves := 64 / p.Bytes
	p.mark(next)
	p.op("MOVQ", rPanel, rNarrow)
	if halves > 1 {
		p.op("MOVQ", halves, rHalf)
		p.mark(half)
	}
	u.begin()
	for b := range 8 {
		p.comment("block %d", b)
		for i := b * u.bytes / 8 / 64; i < (b+1)*u.bytes/8/64; i++ {
			p.op("PREFETCHT0", mem(prefetchAhead+64*i, rPanel))
		}
		u.block(b)
		p.tokens(func() vec { return u.token(b) })
	}
	back := 0
	if halves > 1 {
		p.op("ADDQ", p.Bytes, rPanel)
		p.op("ADDQ", p.Bytes, rDst)
		p.op("ADDQ", p.Bytes/2, rNarrow)
		if u.head > 0 {
			p.op("ADDQ", p.Bytes/2, rHead)
		}
		p.op("DECQ", rHalf)
		p.op("JNZ", half)
		back = 64
		p.op("SUBQ", back, rDst)
	}
	p.op("ADDQ", u.bytes-back, rPanel)
	if u.head > 0 && halves == 1 {
		p.op("ADDQ", u.head, rHead)
	}
	p.op("ADDQ", 8*recordBytes, rX)
	p.op("DECQ", rBlocks)
	p.op("JNZ", next)
	p.op("VZEROUPPER")
	p.op("RET")
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

// tokens writes the loop over tokens; body leaves the product to add.
func (p *prog) tokens(body func() vec) {
	l := p.label()
	p.op("MOVQ", rDst, rAcc)
	p.op("XORL", rT, rT)
	p.mark(l)
	p.op("MOVQ", "("+rOffset+")("+rT+"*8)", rTok)
	acc := body()
	p.op("VADDPS", mem(0, rAcc), acc, acc)
	p.store(acc, mem(0, rAcc))
	p.op("ADDQ", 64, rAcc)
	p.op("INCQ", rT)
	p.op("CMPQ", rT, rN)
	p.op("JLT", l)
}

// Bytes of a record of activations, as package panel has them.
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

// dot sums the products of groups of weights w with the activations from byte disp of the block
// on, in lanes of int32. most is the largest level of a weight: it says how many products a lane of
// int16 holds. Without VNNI scale are pairs of int16 by which the two int16 of a lane are multiplied
// on the way. part and tmp are scratch; part is not touched when all fits int16.
func (p *prog) dot(w []vec, disp, most int, scale, acc, part, tmp vec) {
	if p.VNNI {
		p.zero(acc)
		for i, v := range w {
			p.op("VPDPBUSD.BCST", act(disp+4*i), v, acc)
		}
		return
	}
	room := 32767 / (2 * 127 * most)
	for i, v := range w {
		to, sum := tmp, acc
		if i >= room {
			sum = part
		}
		if i%room == 0 {
			to = sum
		}
		p.op("VPBROADCASTD", act(disp+4*i), tmp)
		p.op("VPMADDUBSW", tmp, v, to)
		if to == tmp {
			p.op("VPADDW", tmp, sum, sum)
		}
		if i%room == room-1 || i == len(w)-1 {
			p.op("VPMADDWD", scale, sum, sum)
			if sum == part {
				p.op("VPADDD", part, acc, acc)
			}
		}
	}
}
