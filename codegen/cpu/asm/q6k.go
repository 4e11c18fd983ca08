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
	d := func() string { return mem(p.half*p.Bytes, "SP") }
	return unit{
		blocks: 8,
		bytes:  3328,
		head:   32,
		begin: func() {
			p.op("VCVTPH2PS", p.header(0), tmp)
			p.store(tmp, d())
		},
		block: func(b int) {
			p.sixths(256+384*b, part, tmp)
			p.op("VPMOVSXBW", p.narrow(32*b), both)
			p.pair(both, c0, c1, tmp)
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
			p.op("VMULPS", d(), acc, acc)
			p.times(x(recordD), acc, wait, acc)
		},
	}
}

// sixths decodes the groups of a block of 6-bit levels.
func (p *prog) sixths(at int, part, tmp vec) {
	p.nibbles(at)
	for g, w := range groups { // upper bits to bits 4 and 5
		high := part
		switch g % 4 {
		case 0:
			p.load(p.rows(at+256+64*(g/4)), tmp)
			p.op("VPSLLW", 4, tmp, high)
		case 1:
			p.op("VPSLLW", 2, tmp, high)
		case 2:
			high = tmp
		case 3:
			p.op("VPSRLW", 2, tmp, high)
		}
		p.op(p.logic("VPAND"), constant("top"), high, part)
		p.op(p.logic("VPOR"), part, w, w)
	}
}

// pair takes the two int16 of each lane of both apart, in the form in which dot scales: doubled, or
// as int32 with VNNI.
func (p *prog) pair(both, c0, c1, tmp vec) {
	if p.VNNI {
		p.op("VPSLLD", 16, both, c0)
		p.op("VPSRAD", 16, c0, c0)
		p.op("VPSRAD", 16, both, c1)
		return
	}
	p.op("VPSLLD", 16, both, tmp)
	p.op("VPSRLD", 16, tmp, c0)
	p.op(p.logic("VPOR"), tmp, c0, c0)
	p.op("VPSRLD", 16, both, c1)
	p.op("VPSLLD", 16, c1, tmp)
	p.op(p.logic("VPOR"), tmp, c1, c1)
}
