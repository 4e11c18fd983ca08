package asm

// emitQ6K writes the kernel of q6_K. For each block and token, as quant.DotA8Q6K, with u = q+32:
//
//	acc += d·(d6·(c0·Σ u·a + c1·Σ u·a - 32·(c0·sum0 + c1·sum1)))
func emitQ6K(p *prog) {
	const (
		c0, c1, both = vec(8), vec(9), vec(10)
		part, tmp    = vec(11), vec(12)
		wait         = vec(13)
		d            = "0(SP)"
	)
	p.walk(unit{
		blocks: 8,
		bytes:  3328,
		head:   32,
		x:      8 * recordBytes,
		begin: func() {
			p.op("VCVTPH2PS", mem(0, rHead), tmp)
			p.store(tmp, d)
		},
		block: func(b int) {
			p.sixths(256+384*b, part, tmp)
			p.op("VPMOVSXBW", mem(32*b, rNarrow), both)
			p.pair(both, c0, c1, tmp)
			p.op("VPSLLW", 5, both, both)
		},
		dot: func(b int, tok string, acc vec) {
			at := recordBytes * b
			p.dot(product{w: groups[:4], at: at, most: 63, scale: c0}, tok, acc, part, tmp)
			p.dot(product{w: groups[4:], at: at + 16, most: 63, scale: c1, more: true}, tok, acc, part, tmp)
			p.op("VPBROADCASTD", act(tok, at+recordSums), part)
			p.op("VPMADDWD", both, part, part)
			p.op("VPSUBD", part, acc, acc)
		},
		scale: func(b int, tok string, acc vec) {
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", d, acc, acc)
			p.times(act(tok, recordBytes*b+recordD), acc, wait, acc)
		},
	})
}

// emitQ6KWide writes the kernel of q6_K for wide activations. For each 256 k, with u = q+32:
//
//	acc += d·(d6·(Σ c·Σ u·a - 32·Σ c·sum))
func emitQ6KWide(p *prog) {
	const (
		c0, c1    = vec(8), vec(9)
		part, tmp = vec(10), vec(11)
		both      = vec(12)
		d         = vec(8)
	)
	p.walk(unit{
		blocks: 8,
		bytes:  3328,
		head:   32,
		x:      wideBytes,
		begin:  func() {},
		block: func(b int) {
			p.sixths(256+384*b, part, tmp)
			p.op("VPMOVSXBW", mem(32*b, rNarrow), both)
			p.pair(both, c0, c1, tmp)
		},
		dot: func(b int, tok string, acc vec) {
			p.dot(product{w: groups[:4], at: 32 * b, most: 63, scale: c0}, tok, acc, part, tmp)
			p.dot(product{w: groups[4:], at: 32*b + 16, most: 63, scale: c1, more: true}, tok, acc, part, tmp)
		},
		whole: func() {
			for b, v := range groups {
				p.op("VPMOVSXBW", mem(32*b, rNarrow), v)
			}
			p.op("VCVTPH2PS", mem(0, rHead), d)
		},
		total: func(tok string, acc vec) {
			p.pairs(groups, tok, wideHalves, part, tmp)
			p.op("VPSLLD", 5, part, part)
			p.op("VPSUBD", part, acc, acc)
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", d, acc, acc)
			p.times(act(tok, wideD), acc, tmp, acc)
		},
	})
}

// sixths decodes the groups of a block of 6-bit levels.
func (p *prog) sixths(at int, part, tmp vec) {
	p.nibbles(at)
	for g, w := range groups { // upper bits to bits 4 and 5
		high := part
		switch g % 4 {
		case 0:
			p.load(mem(at+256+64*(g/4), rPanel), tmp)
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
