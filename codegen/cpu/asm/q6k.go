package asm

// q6K is the kernel of q6_K. For each block and token, as quant.DotA8Q6K, with u = q+32:
//
//	acc += d·(d6·(c0·Σ u·a + c1·Σ u·a - 32·(c0·sum0 + c1·sum1)))
func q6K(p *prog) unit {
	const (
		c0, c1, both = vec(8), vec(9), vec(10)
		part, tmp    = vec(11), vec(12)
		wait         = vec(13)
	)
	return unit{
		blocks: 8,
		bytes:  3328,
		head:   32,
		near:   192,
		begin: func() {
			p.op("VCVTPH2PS", p.header(0), tmp)
			p.store(tmp, p.kept(0))
		},
		block: func(b int) {
			p.sixths(256+384*b, part, tmp)
			p.op("VPMOVSXBW", p.narrow(32*b), both)
			p.pair(both, c0, c1)
			p.op("VPSLLW", 5, both, both)
		},
		dot: func(x token, acc vec) {
			p.dot(product{w: groups[:4], most: 63, scale: c0}, x, acc, part, tmp)
			p.dot(product{w: groups[4:], at: 16, most: 63, scale: c1, more: true}, x, acc, part, tmp)
			p.op("VPBROADCASTD", x(recordSums), part)
			p.op("VPMADDWD", both, part, part)
			p.op("VPSUBD", part, acc, acc)
		},
		scale: func(x token, acc vec) {
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", p.kept(0), acc, acc)
			p.times(x(recordD), acc, wait, acc)
		},
	}
}

// sixths decodes the groups of a block of 6-bit levels.
func (p *prog) sixths(at int, part, tmp vec) {
	and, or := p.logic("VPAND"), p.logic("VPOR")
	for v := range 2 {
		last := groups[4*v+3]
		for i := range 3 { // the upper two bits come together in the upper six
			w := groups[4*v+i]
			p.load(p.rows(at+64*(3*v+i)), w)
			if i == 0 {
				p.op(and, constant("top"), w, last)
			} else {
				p.op(and, constant("top"), w, part)
				p.op("VPSRLW", 2*i, part, part)
				p.op(or, part, last, last)
			}
			p.op(and, constant("sixths"), w, w)
		}
		p.op("VPSRLW", 2, last, last)
	}
}

// pair takes the two int16 of each lane of both apart, in the form in which dot scales: doubled, or
// as int32 with VNNI.
func (p *prog) pair(both, c0, c1 vec) {
	if p.VNNI {
		p.op("VPSLLD", 16, both, c0)
		p.op("VPSRAD", 16, c0, c0)
		p.op("VPSRAD", 16, both, c1)
		return
	}
	p.op("VPSHUFB", constant("lower"), both, c0)
	p.op("VPSHUFB", constant("upper"), both, c1)
}
