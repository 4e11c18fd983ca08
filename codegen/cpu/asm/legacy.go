package asm

// A legacy is a format of 32 elements with a scale of their own, and maybe a minimum.
type legacy struct {
	fifth  bool
	bytes  bool // elements are int8
	min    bool
	offset string // constant that is taken from levels, "" for 0
}

// unit is the kernel. For each block and token, as quant.DotA8Q40 and DotA8Q41:
//
//	acc += d·(d4·(i - offset·sum))    or    acc += d·(d4·i + m4·sum)
func (l legacy) unit(p *prog) unit {
	const (
		d, m           = vec(8), vec(9)
		part, tmp, one = vec(10), vec(11), vec(12)
		wait           = vec(13)
	)
	size, most := levels(l.fifth)
	head := 32
	if l.min {
		head = 64
	}
	offset := l.offset
	if l.bytes {
		size = 512
		if p.signs() {
			offset = ""
		}
	}
	return unit{
		blocks: 1,
		bytes:  size,
		head:   head,
		near:   192,
		begin:  func() { p.load(constant("one"), one) },
		block: func(int) {
			p.op("VCVTPH2PS", p.header(0), d)
			if l.min {
				p.op("VCVTPH2PS", p.header(32), m)
			}
			if l.bytes {
				p.int8s()
			} else {
				p.fives(0, l.fifth, part, tmp)
			}
		},
		dot: func(x token, acc vec) {
			if l.bytes {
				p.dotInt8(x, one, acc, part, tmp)
			} else {
				p.dot(product{w: groups, most: most, scale: one, unit: true}, x, acc, part, tmp)
			}
		},
		scale: func(x token, acc vec) {
			p.op("VCVTDQ2PS", acc, acc)
			if offset != "" {
				p.op("VBROADCASTSS", x(recordSum), wait)
				p.op("VMULPS", constant(offset), wait, wait)
				p.op("VSUBPS", wait, acc, acc)
			}
			p.op("VMULPS", d, acc, acc)
			if l.min {
				p.times(x(recordSum), m, wait, wait)
				p.op("VADDPS", wait, acc, acc)
			}
			p.times(x(recordD), acc, wait, acc)
		},
	}
}

// Weights of int8 need a first factor without sign. VNNI: 128 is added, and 128·sum taken away
// again. AVX2: the weights' signs go to the activations. Plain AVX-512 has no such instruction: 128
// is added and the halves of the bytes are multiplied apart, since two products of whole ones do
// not fit int16.

// signs says whether the signs go to the activations.
func (p *prog) signs() bool { return p.Bytes == 32 }

// uppers hold the upper halves, in registers that EVEX has.
var uppers = []vec{16, 17, 18, 19, 20, 21, 22, 23}

func (p *prog) int8s() {
	for g, w := range groups {
		at := p.rows(64 * g)
		if p.signs() {
			p.op("VPABSB", at, w)
			continue
		}
		p.load(at, w)
		p.op("VPXORD", constant("sign"), w, w)
		if !p.VNNI {
			p.op("VPSRLW", 4, w, uppers[g])
			p.op("VPANDD", constant("nib"), w, w)
			p.op("VPANDD", constant("nib"), uppers[g], uppers[g])
		}
	}
}

func (p *prog) dotInt8(x token, one, acc, part, tmp vec) {
	switch {
	case p.VNNI:
		p.dot(product{w: groups, unit: true}, x, acc, part, tmp)
	case !p.signs():
		p.dot(product{w: uppers, most: 15, scale: one}, x, acc, part, tmp)
		p.op("VPSLLD", 4, acc, acc)
		p.dot(product{w: groups, most: 15, scale: one, more: true}, x, acc, part, tmp)
	default:
		for g, w := range groups {
			to := tmp
			if g == 0 {
				to = acc
			}
			p.op("VPBROADCASTD", x(4*g), tmp)
			p.op("VPSIGNB", p.rows(64*g), tmp, tmp)
			p.op("VPMADDUBSW", tmp, w, tmp)
			p.op("VPMADDWD", one, tmp, to)
			if g > 0 {
				p.op("VPADDD", tmp, acc, acc)
			}
		}
	}
}
