package asm

// affine is the kernel of q4_K, or with fifth bits of q5_K. For each block and token, as
// quant.DotA8Q4K:
//
//	acc += d·(s·i - m·sum)    s = d4·c, m = dmin4·c', both exact
func affine(p *prog, fifth bool) unit {
	const (
		s, m           = vec(8), vec(9)
		part, tmp, one = vec(10), vec(11), vec(12)
		wait           = vec(13)
	)
	size, most := levels(fifth)
	near := 0
	if fifth {
		near = 384
	}
	return unit{
		blocks: 8,
		bytes:  headAffine + 8*size,
		near:   near,
		begin: func() {
			p.load(constant("one"), one)
			for i := range 2 {
				p.op("VCVTPH2PS", p.narrow(32*i), tmp)
				p.store(tmp, p.kept(i))
			}
		},
		block: func(b int) {
			p.field(2*b, s, tmp)
			p.op("VCVTDQ2PS", s, s)
			p.field(2*b+1, m, tmp)
			p.op("VCVTDQ2PS", m, m)
			p.op("VMULPS", p.kept(0), s, s)
			p.op("VMULPS", p.kept(1), m, m)
			p.fives(headAffine+size*b, fifth, part, tmp)
		},
		dot: func(x token, acc vec) {
			p.dot(product{w: groups, most: most, scale: one, unit: true}, x, acc, part, tmp)
		},
		scale: func(x token, acc vec) {
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", s, acc, acc)
			p.times(x(recordSum), m, wait, wait)
			p.op("VSUBPS", wait, acc, acc)
			p.times(x(recordD), acc, wait, acc)
		},
	}
}

// headAffine is where the blocks of 256 k start.
const headAffine = 256

// levels gives the bytes of a block of halves, maybe with fifth bits, and the largest level.
func levels(fifth bool) (size, most int) {
	if fifth {
		return 320, 31
	}
	return 256, 15
}

// field decodes 6-bit field f of the header.
func (p *prog) field(f int, dst, tmp vec) {
	const at = 64
	if f < 15 {
		p.load(p.rows(at+64*(f/5)), dst)
		if f%5 > 0 {
			p.op("VPSRLD", 6*(f%5), dst, dst)
		}
	} else {
		p.load(p.rows(at), dst)
		p.op("VPSRLD", 30, dst, dst)
		for i := 1; i < 3; i++ {
			p.load(p.rows(at+64*i), tmp)
			p.op("VPSRLD", 30, tmp, tmp)
			p.op("VPSLLD", 2*i, tmp, tmp)
			p.op(p.logic("VPOR"), tmp, dst, dst)
		}
	}
	p.op(p.logic("VPAND"), constant("six"), dst, dst)
}

// nibbles decodes the groups of a block.
func (p *prog) nibbles(disp int) {
	for v := range 4 {
		lo, hi := groups[2*v], groups[2*v+1]
		p.load(p.rows(disp+64*v), lo)
		p.op("VPSRLW", 4, lo, hi)
		p.op(p.logic("VPAND"), constant("nib"), lo, lo)
		p.op(p.logic("VPAND"), constant("nib"), hi, hi)
	}
}

// fives decodes the groups of a block of halves, maybe with fifth bits.
func (p *prog) fives(disp int, fifth bool, part, tmp vec) {
	p.nibbles(disp)
	if !fifth {
		return
	}
	p.load(p.rows(disp+256), tmp)
	for g, w := range groups { // bit g to bit 4
		from := part
		switch {
		case g < 4:
			p.op("VPSLLW", 4-g, tmp, part)
		case g > 4:
			p.op("VPSRLW", g-4, tmp, part)
		default:
			from = tmp
		}
		p.op(p.logic("VPAND"), constant("bit4"), from, part)
		p.op(p.logic("VPOR"), part, w, w)
	}
}
