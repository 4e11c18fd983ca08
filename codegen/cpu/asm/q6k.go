package asm

// emitQ6K writes the kernel of q6_K. For each block and token, as quant.DotA8Q6K, with u = q+32:
//
//	acc += d·(d6·(c0·Σ u·a + c1·Σ u·a - 32·(c0·sum0 + c1·sum1)))
func emitQ6K(p *prog) {
	const (
		w            = vec(0) // 0-7: levels of the block's groups
		c0, c1, both = vec(8), vec(9), vec(10)
		acc, high    = vec(11), vec(12)
		part, tmp    = vec(13), vec(14)
		d            = vec(15)
		lanesOdd     = 0xaa // words 1, 3, … of a blend
	)
	p.walk(unit{
		bytes: 3328,
		head:  32,
		begin: func() { p.op("VCVTPH2PS", mem(0, rHead), d) },
		block: func(b int) {
			at := 256 + 384*b
			p.load(constant("nib"), part)
			p.nibbles(at, w, part)
			p.load(constant("top"), part)
			for g := range vec(8) { // to bits 4 and 5
				switch g % 4 {
				case 0:
					p.load(mem(at+256+64*int(g/4), rPanel), tmp)
					p.op("VPSLLW", 4, tmp, high)
				case 1:
					p.op("VPSLLW", 2, tmp, high)
				case 3:
					p.op("VPSRLW", 2, tmp, high)
				}
				from := high
				if g%4 == 2 {
					from = tmp // where they are
				}
				p.op(p.logic("VPAND"), part, from, high)
				p.op(p.logic("VPOR"), high, w+g, w+g)
			}
			p.op("VPMOVSXBW", mem(32*b, rNarrow), both)
			p.pair(both, c0, c1, tmp)
			p.op("VPSLLW", 5, both, both)
		},
		token: func(b int) vec {
			at := recordBytes * b
			p.dot([]vec{0, 1, 2, 3}, at, 63, c0, acc, part, tmp)
			p.dot([]vec{4, 5, 6, 7}, at+16, 63, c1, high, part, tmp)
			if p.VNNI {
				p.op("VPMULLD", c0, acc, acc)
				p.op("VPMULLD", c1, high, high)
			}
			p.op("VPADDD", high, acc, acc)
			p.op("VPBROADCASTD", act(at+recordSums), tmp)
			p.op("VPMADDWD", both, tmp, tmp)
			p.op("VPSUBD", tmp, acc, acc)
			p.op("VCVTDQ2PS", acc, acc)
			p.op("VMULPS", d, acc, acc)
			p.times(act(at+recordD), acc, tmp, acc)
			return acc
		},
	})
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
