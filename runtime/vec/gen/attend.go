//go:build ignore

package main

import "fmt"

// A layout is how the cells of a group lie in a cache, one behind the other:
// K or V elements of so many bytes each.
type layout struct {
	name  string
	bytes int
}

var layouts = []layout{{"F32", 4}, {"F16", 2}, {"Q80", 1}}

// widen loads a vector of elements as floats; quants of q8_0 without their scale.
func (g *gen) widen(f layout, mem, reg string) {
	switch f.name {
	case "F32":
		g.p("VMOVUPS %s, %s", mem, reg)
	case "F16":
		g.p("VCVTPH2PS %s, %s", mem, reg)
	case "Q80":
		g.p("VPMOVSXBD %s, %s\nVCVTDQ2PS %s, %s", mem, reg, reg, reg)
	}
}

// attend emits what attention does with the cells of a cache.
func (g *gen) attend() {
	for _, f := range layouts {
		for _, m := range []int{4, 2, 1} {
			g.scores(f, m)
			g.weigh(f, m)
		}
	}
	g.scaleWeights()
	g.quantizeI16()
	g.quantizeQ80()
}

// scores: out[i,c] = q[i,:]·key c for rows in groups of m, which share the keys of
// a tile of cells while they are near. Lane l sums elements l, l+w, …; of q8_0
// and int16 those of a block exactly, then times its scale. The cells at ahead
// are fetched meanwhile, step bytes for each 16 or 32 elements.
func (g *gen) scores(f layout, m int) {
	g.fn(fmt.Sprintf("scores%sx%d", f.name, m), "", "", "out *float32", "ldo int", "q *float32", "groups int",
		"keys *byte", "scales *float32", "lds int", "k int", "cells int", "ahead int", "step int")
	for _, r := range [][2]string{{"out", "DI"}, {"q", "R8"}, {"k", "R9"}, {"keys", "R11"}, {"cells", "DX"}} {
		g.arg(r[0], r[1])
	}
	n := 3
	if f.name == "Q80" {
		n = 2
		g.arg("lds", "SI")
		g.p("MOVQ R9, R10\nSHLQ $1, R9")
	} else {
		g.p("SHLQ $%d, R9\nMOVQ R9, R10", f.bytes/2)
		if f.bytes == 2 {
			g.p("SHLQ $1, R9")
		}
	}
	g.p("LEAQ (R9)(R9*2), R12")
	loop, rest, done := g.fresh("tile"), g.fresh("rest"), g.fresh("done")
	g.p("%s:\nCMPQ DX, $%d\nJLT %s", loop, n, rest)
	g.scoreTile(f, m, n)
	g.p("JMP %s\n%s:\nTESTQ DX, DX\nJZ %s", loop, rest, done)
	g.scoreTile(f, m, 1)
	g.p("JMP %s\n%s:", rest, done)
	g.ret()
}

// scoreTile is n cells of R10 bytes: R8 rows of R9 bytes, R11 the cells, DI the result.
func (g *gen) scoreTile(f layout, m, n int) {
	group, loop := g.fresh("group"), g.fresh("keys")
	g.p("MOVQ R8, AX\nMOVQ R11, R13\nADDQ ahead+%d(FP), R13\nMOVQ groups+%d(FP), R15\nMOVQ DI, R14\n%s:", g.off["ahead"], g.off["groups"], group)
	for i := range m * n {
		g.zero(i)
	}
	g.p("MOVQ R11, BX\nMOVQ k+%d(FP), CX", g.off["k"])
	if f.name == "Q80" {
		g.p("MOVQ scales+%d(FP), SI", g.off["scales"])
	}
	g.p("%s:", loop)
	for j := range n {
		g.p("PREFETCHT0 %s", row(j, "R13", "R10", "", ""))
	}
	elems := 16
	if f.name == "Q80" {
		elems = 32
		g.blockDots(m, n)
	} else {
		g.floatDots(f, m, n)
	}
	g.p("ADDQ $64, AX\nADDQ $%d, BX\nADDQ step+%d(FP), R13\nSUBQ $%d, CX\nJNZ %s", elems*f.bytes, g.off["step"], elems, loop)
	for i := range m {
		g.sums(i*n, n, m*n)
		g.p("%s X%d, (R14)\nADDQ ldo+%d(FP), R14", []string{"", "VMOVSS", "VMOVLPS", "VMOVUPS"}[n], i*n, g.off["ldo"])
		if i > 0 {
			g.p("ADDQ R9, AX")
		}
	}
	g.p("DECQ R15\nJNZ %s\nADDQ $%d, DI", group, 4*n)
	if f.name == "Q80" {
		g.p("ADDQ $%d, scales+%d(FP)", 4*n, g.off["scales"])
	}
	for range n {
		g.p("ADDQ R10, R11")
	}
	g.p("SUBQ $%d, DX", n)
}

// floatDots multiplies 16 elements of m rows at AX with those of n cells at BX.
func (g *gen) floatDots(f layout, m, n int) {
	key := func(j int) string { return g.v(m*n + j) }
	q := g.v(m*n + n)
	for u := range 16 / g.w {
		for j := range n {
			g.widen(f, plus(u*g.w*f.bytes, row(j, "BX", "R10", "", "")), key(j))
		}
		for i := range m {
			g.p("VMOVUPS %s, %s", plus(4*g.w*u, row(i, "AX", "R9", "R12", "")), q)
			for j := range n {
				g.p("VFMADD231PS %s, %s, %s", key(j), q, g.v(i*n+j))
			}
		}
	}
}

// blockDots does so with a block of 32 int16 and int8, whose scales are at SI.
func (g *gen) blockDots(m, n int) {
	regs := 32 / (2 * g.w) // of a block of int16
	key := func(j, u int) string { return g.v(m*n + j*regs + u) }
	scale := func(j int) string { return g.v(m*n + n*regs + j) }
	t, s := g.v(m*n+n*regs+n), g.v(m*n+n*regs+n+1)
	for j := range n {
		for u := range regs {
			g.p("VPMOVSXBW %s, %s", plus(2*g.w*u, row(j, "BX", "R10", "", "")), key(j, u))
		}
		g.p("VBROADCASTSS %s, %s", plus(4*j, "(SI)"), scale(j))
	}
	for i := range m {
		for j := range n {
			for u := range regs {
				g.p("VPMADDWD %s, %s, %s", plus(4*g.w*u, row(i, "AX", "R9", "R12", "")), key(j, u), []string{t, s}[u])
			}
			if regs == 2 {
				g.p("VPADDD %s, %s, %s", s, t, t)
			}
			g.p("VCVTDQ2PS %s, %s\nVFMADD231PS %s, %s, %s", t, t, scale(j), t, g.v(i*n+j))
		}
	}
	g.p("ADDQ lds+%d(FP), SI", g.off["lds"])
}

// sums adds the lanes of n registers from r into the lowest of r.
func (g *gen) sums(r, n, tmp int) {
	for j := range n {
		if g.z {
			g.p("VEXTRACTF64X4 $1, Z%d, Y%d\nVADDPS Y%d, Y%d, Y%d", r+j, tmp, tmp, r+j, r+j)
		}
	}
	hadd := func(b, a int) { g.p("VHADDPS Y%d, Y%d, Y%d", b, a, a) }
	switch n {
	case 1:
		hadd(r, r)
		hadd(r, r)
	case 2:
		hadd(r+1, r)
		hadd(r, r)
	case 3:
		hadd(r+1, r)
		hadd(r+2, r+2)
		hadd(r+2, r)
	}
	g.p("VEXTRACTF128 $1, Y%d, X%d\nVADDPS X%d, X%d, X%d", r, tmp, tmp, r, r)
}

// weigh: out[i,:] += sum over c of p[i,c] value c, in the order of c, for rows
// in groups of m. The weights of the next 32 elements lie ldb further.
func (g *gen) weigh(f layout, m int) {
	g.fn(fmt.Sprintf("weigh%sx%d", f.name, m), "", "", "out *float32", "ldo int", "p *float32", "ldp int", "ldb int", "groups int",
		"values *byte", "v int", "cells int", "ahead int")
	for _, r := range [][2]string{{"out", "DI"}, {"ldo", "SI"}, {"ldp", "R9"}, {"values", "R11"}, {"v", "DX"}, {"ahead", "R13"}} {
		g.arg(r[0], r[1])
	}
	g.p("MOVQ DX, R10\nSHLQ $%d, R10\nLEAQ (R9)(R9*2), R12", f.bytes/2)
	panel, group, loop, done := g.fresh("panel"), g.fresh("group"), g.fresh("cells"), g.fresh("done")
	n := 16 / g.w
	acc := func(i, j int) string { return g.v(i*n + j) }
	value, p := func(j int) string { return g.v(m*n + j) }, g.v(m*n+n)
	g.p("%s:\nMOVQ DI, R14\nMOVQ groups+%d(FP), R15\nMOVQ p+%d(FP), R8\n%s:\nLEAQ (SI)(SI*2), AX", panel, g.off["groups"], g.off["p"], group)
	each := func(f func(reg, mem string)) {
		for i := range m {
			for j := range n {
				f(acc(i, j), plus(4*g.w*j, row(i, "R14", "SI", "AX", "")))
			}
		}
	}
	each(func(reg, mem string) { g.p("VMOVUPS %s, %s", mem, reg) })
	g.p("MOVQ R8, AX\nMOVQ R11, BX\nMOVQ cells+%d(FP), CX\n%s:\nPREFETCHT0 (BX)(R13*1)", g.off["cells"], loop)
	for j := range n {
		g.widen(f, plus(j*g.w*f.bytes, "(BX)"), value(j))
	}
	for i := range m {
		from := row(i, "AX", "R9", "R12", "")
		if g.z {
			g.p("VFMADD231PS.BCST %s, %s, %s", from, value(0), acc(i, 0))
			continue
		}
		g.p("VBROADCASTSS %s, %s", from, p)
		for j := range n {
			g.p("VFMADD231PS %s, %s, %s", value(j), p, acc(i, j))
		}
	}
	g.p("ADDQ $4, AX\nADDQ R10, BX\nDECQ CX\nJNZ %s\nLEAQ (SI)(SI*2), AX", loop)
	each(func(reg, mem string) { g.p("VMOVUPS %s, %s", reg, mem) })
	for range m {
		g.p("ADDQ SI, R14\nADDQ R9, R8")
	}
	g.p("DECQ R15\nJNZ %s\nADDQ $64, DI\nADDQ $%d, R11\nSUBQ $16, DX\nJZ %s", group, 16*f.bytes, done)
	if f.name == "Q80" {
		g.p("TESTQ $16, DX\nJNZ %s\nMOVQ ldb+%d(FP), AX\nADDQ AX, p+%d(FP)", panel, g.off["ldb"], g.off["p"])
	}
	g.p("JMP %s\n%s:", panel, done)
	g.ret()
}

// scaleWeights: dst[i,b,c] = p[i,c] d[b,c].
func (g *gen) scaleWeights() {
	g.fn("scaleWeights", "writes p d for each row and block, of cells rounded up to 16; sizes of rows in bytes, those of dst dense.", "",
		"dst *float32", "ldd int", "p *float32", "ldp int", "d *float32", "lds int", "rows int", "blocks int", "cells int")
	for _, r := range [][2]string{{"dst", "DI"}, {"ldd", "SI"}, {"p", "R8"}, {"ldp", "R11"}, {"lds", "R10"}, {"rows", "BX"}, {"cells", "CX"}} {
		g.arg(r[0], r[1])
	}
	rows, block, loop := g.fresh("row"), g.fresh("block"), g.fresh("cells")
	g.p("%s:\nMOVQ d+%d(FP), R9\nMOVQ blocks+%d(FP), DX\n%s:\nXORQ AX, AX\n%s:", rows, g.off["d"], g.off["blocks"], block, loop)
	for i := range 16 / g.w {
		g.p("VMOVUPS %[1]d(R9)(AX*4), %[2]s\nVMULPS %[1]d(R8)(AX*4), %[2]s, %[2]s\nVMOVUPS %[2]s, %[1]d(DI)(AX*4)", 4*g.w*i, g.v(i))
	}
	g.p("ADDQ $16, AX\nCMPQ AX, CX\nJLT %s\nADDQ SI, DI\nADDQ R10, R9\nDECQ DX\nJNZ %s\nADDQ R11, R8\nDECQ BX\nJNZ %s", loop, block, rows)
	g.ret()
}

// quantizeI16 finds the largest absolute value as bits: NaN above infinity above numbers.
func (g *gen) quantizeI16() {
	g.fn("quantizeI16", "writes x/s rounded as int16, s = max|x|/32767, and returns s: NaN where x has a NaN or an infinity, 0 where it is below 2^-110. len(x) is a multiple of 16.",
		"float32", "dst *float32", "x []float32")
	g.arg("dst", "DI")
	g.arg("x", "SI")
	g.length("x", "CX")
	loop, odd, write, words := g.fresh("max"), g.fresh("odd"), g.fresh("write"), g.fresh("words")
	g.p("VMOVUPS %s, %s\nXORQ AX, AX", g.bits("abs", 0x7fffffff), g.v(6))
	g.zero(4)
	g.p("%s:\n%s (SI)(AX*4), %s, %s\nVPMAXUD %s, %s, %s\nADDQ $%d, AX\nCMPQ AX, CX\nJLT %s", loop,
		g.by("VPAND", "VPANDD"), g.v(6), g.v(0), g.v(0), g.v(4), g.v(4), g.w, loop)
	g.across("VPMAXUD", 4, 5)
	g.p("VMOVD X4, AX\nCMPL AX, $0x7f800000\nJAE %s\nCMPL AX, $0x08800000\nJB %s", odd, odd)
	g.p("VMOVSS %s, X1\nVDIVSS X1, X4, X2\nVDIVSS X4, X1, X5\nJMP %s", g.f(32767), write)
	g.p("%s:\nXORQ BX, BX\nCMPL AX, $0x7f800000\nMOVL $0x7fc00000, DX\nCMOVLCC DX, BX\nVMOVD BX, X2", odd)
	g.zero(5)
	g.p("%s:\nVMOVSS X2, ret+%d(FP)\nVBROADCASTSS X5, %s\nXORQ AX, AX\n%s:", write, g.off["ret"], g.v(5), words)
	if g.z {
		g.p("VMULPS (SI)(AX*4), Z5, Z0\nVCVTPS2DQ Z0, Z0\nVPMOVDW Z0, (DI)(AX*2)")
	} else {
		g.p("VMULPS (SI)(AX*4), Y5, Y0\nVMULPS 32(SI)(AX*4), Y5, Y1\nVCVTPS2DQ Y0, Y0\nVCVTPS2DQ Y1, Y1")
		g.p("VPACKSSDW Y1, Y0, Y0\nVPERMQ $0xd8, Y0, Y0\nVMOVDQU Y0, (DI)(AX*2)")
	}
	g.p("ADDQ $16, AX\nCMPQ AX, CX\nJLT %s", words)
	g.ret()
}

// quantizeQ80 is quant.QuantizeQ80 bit by bit, the scales apart.
func (g *gen) quantizeQ80() {
	g.fn("quantizeQ80", "encodes whole blocks of 32 as quant.QuantizeQ80 does, q one after the other and d lds bytes apart.", "",
		"q *byte", "d *byte", "lds int", "x []float32")
	for _, r := range [][2]string{{"q", "DI"}, {"d", "R8"}, {"lds", "R9"}, {"x", "SI"}} {
		g.arg(r[0], r[1])
	}
	g.length("x", "CX")
	block, tiny, odd, write, next := g.fresh("block"), g.fresh("tiny"), g.fresh("odd"), g.fresh("write"), g.fresh("next")
	n := 32 / g.w // registers of a block: 0..n-1
	g.p("VMOVUPS %s, %s\nVMOVSS %s, X13\nVMOVSS %s, X11", g.bits("abs", 0x7fffffff), g.v(12), g.f(127), g.f(1))
	if !g.z {
		g.p("VMOVUPS pack8<>(SB), Y14")
	}
	g.p("%s:", block)
	for i := range n {
		g.p("VMOVUPS %d(SI), %s\n%s %s, %s, %s", 4*g.w*i, g.v(i), g.by("VPAND", "VPANDD"), g.v(12), g.v(i), g.v(4+i))
	}
	for i := 1; i < n; i++ {
		g.p("VPMAXUD %s, %s, %s", g.v(4+i), g.v(4), g.v(4))
	}
	g.across("VPMAXUD", 4, 5)
	g.p("VMOVD X4, AX\nCMPL AX, $0x7f800000\nJAE %s", odd)
	g.p("VDIVSS X13, X4, X4\nVMOVD X4, AX\nVCVTPS2PH $0, X4, X5\nVMOVD X5, BX\nCMPL AX, $0x00800000\nJB %s\nVDIVSS X4, X11, X4\nJMP %s", tiny, write)
	g.p("%s:", tiny)
	g.zero(4)
	g.p("%s:\nVBROADCASTSS X4, %s", write, g.v(4))
	for i := range n {
		g.p("VMULPS %[1]s, %[2]s, %[2]s\nVCVTPS2DQ %[2]s, %[2]s", g.v(4), g.v(i))
	}
	if g.z {
		g.p("VPMOVDB Z0, (DI)\nVPMOVDB Z1, 16(DI)")
	} else {
		g.p("VPACKSSDW Y1, Y0, Y0\nVPACKSSDW Y3, Y2, Y2\nVPACKSSWB Y2, Y0, Y0\nVPERMD Y0, Y14, Y0\nVMOVDQU Y0, (DI)")
	}
	g.p("JMP %s\n%s:\nMOVL $0x7e00, BX\nVPXOR X0, X0, X0\nVMOVDQU Y0, (DI)", next, odd)
	g.p("%s:\nMOVW BX, (R8)\nADDQ $128, SI\nADDQ $32, DI\nADDQ R9, R8\nSUBQ $32, CX\nJNZ %s", next, block)
	g.ret()
}
