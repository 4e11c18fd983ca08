package asm

// emitQ4K writes the kernel of q4_K. For each block and token, as quant.DotA8Q4K:
//
//	acc += d·(s·i - m·sum)    s = d4·c, m = dmin4·c', both exact
func emitQ4K(p *prog) {
	const (
		w                   = vec(0) // 0-7: levels of the block's groups
		s, m                = vec(8), vec(9)
		acc, part, tmp, one = vec(10), vec(11), vec(12), vec(13)
		nib, six            = vec(14), vec(15)
	)
	p.walk(unit{
		bytes: 2304,
		begin: func() {
			p.load(constant("one"), one)
			p.load(constant("nib"), nib)
			p.load(constant("six"), six)
		},
		block: func(b int) {
			p.field(2*b, s, w, six)
			p.field(2*b+1, m, w, six)
			p.op("VCVTPH2PS", mem(0, rNarrow), w)
			p.op("VMULPS", w, s, s)
			p.op("VCVTPH2PS", mem(32, rNarrow), w)
			p.op("VMULPS", w, m, m)
			p.nibbles(256+256*b, w, nib)
		},
		token: func(b int) vec {
			at := recordBytes * b
			p.dot([]vec{0, 1, 2, 3, 4, 5, 6, 7}, at, 15, one, acc, part, tmp)
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", s, acc, acc)
			p.times(act(at+recordSum), m, tmp, tmp)
			p.op("VSUBPS", tmp, acc, acc)
			p.times(act(at+recordD), acc, tmp, acc)
			return acc
		},
	})
}

// field decodes 6-bit field f of the header to float32.
func (p *prog) field(f int, dst, tmp, six vec) {
	const at = 64
	if f < 15 {
		p.load(mem(at+64*(f/5), rPanel), dst)
		if f%5 > 0 {
			p.op("VPSRLD", 6*(f%5), dst, dst)
		}
	} else {
		p.load(mem(at, rPanel), dst)
		p.op("VPSRLD", 30, dst, dst)
		for i := 1; i < 3; i++ {
			p.load(mem(at+64*i, rPanel), tmp)
			p.op("VPSRLD", 30, tmp, tmp)
			p.op("VPSLLD", 2*i, tmp, tmp)
			p.op(p.logic("VPOR"), tmp, dst, dst)
		}
	}
	p.op(p.logic("VPAND"), six, dst, dst)
	p.op("VCVTDQ2PS", dst, dst)
}

// nibbles decodes the groups of a block into registers w to w+7.
func (p *prog) nibbles(disp int, w, nib vec) {
	for v := range vec(4) {
		lo, hi := w+2*v, w+2*v+1
		p.load(mem(disp+64*int(v), rPanel), lo)
		p.op("VPSRLW", 4, lo, hi)
		p.op(p.logic("VPAND"), nib, lo, lo)
		p.op(p.logic("VPAND"), nib, hi, hi)
	}
}
