//go:build ignore

package main

func (g *gen) converts() {
	g.fn("widenF16", "decodes f16.", "", "dst []float32", "src []byte")
	g.arg("dst", "DI")
	g.length("dst", "CX")
	g.arg("src", "SI")
	g.halves(func(i int) {
		g.p("VCVTPH2PS %d(SI)(AX*2), %s\nVMOVUPS %s, %d(DI)(AX*4)", 2*g.w*i, g.v(i), g.v(i), 4*g.w*i)
	}, func() {
		g.p("MOVWLZX (SI)(AX*2), BX\nVMOVD BX, X0\nVCVTPH2PS X0, X0\nVMOVSS X0, (DI)(AX*4)")
	})

	g.fn("narrowF16", "encodes f16, rounding to nearest even.", "", "dst []byte", "src []float32")
	g.arg("dst", "DI")
	g.arg("src", "SI")
	g.length("src", "CX")
	g.halves(func(i int) {
		g.p("VMOVUPS %d(SI)(AX*4), %s\nVCVTPS2PH $0, %s, %d(DI)(AX*2)", 4*g.w*i, g.v(i), g.v(i), 2*g.w*i)
	}, func() {
		g.p("VMOVSS (SI)(AX*4), X0\nVCVTPS2PH $0, X0, X0\nVMOVD X0, BX\nMOVW BX, (DI)(AX*2)")
	})

	g.fn("widenQ80", "decodes q8_0, whole blocks of 32.", "", "dst []float32", "src []byte")
	g.arg("dst", "DI")
	g.length("dst", "CX")
	g.arg("src", "SI")
	loop, done := g.fresh("block"), g.fresh("done")
	g.p("SHRQ $5, CX\nJZ %s\n%s:\nMOVWLZX (SI), BX\nVMOVD BX, X0\nVCVTPH2PS X0, X0\nVBROADCASTSS X0, %s", done, loop, g.v(0))
	for i := 0; i < 32; i += g.w {
		g.p("VPMOVSXBD %[1]d(SI), %[2]s\nVCVTDQ2PS %[2]s, %[2]s\nVMULPS %[3]s, %[2]s, %[2]s\nVMOVUPS %[2]s, %[4]d(DI)", 2+i, g.v(1), g.v(0), 4*i)
	}
	g.p("ADDQ $34, SI\nADDQ $128, DI\nDECQ CX\nJNZ %s\n%s:", loop, done)
	g.ret()
	g.records()

	g.fn("prefetch", "asks memory for the lines of p.", "", "p []byte")
	g.arg("p", "SI")
	g.length("p", "CX")
	loop, done = g.fresh("loop"), g.fresh("done")
	g.p("SUBQ $1, CX\nJLT %s\n%s:\nPREFETCHT1 (SI)\nADDQ $64, SI\nSUBQ $64, CX\nJGE %s\n%s:\nRET", done, loop, loop, done)
}

// halves runs whole over full registers of CX elements, four at a time and
// then one, and one for each element left.
func (g *gen) halves(whole func(i int), one func()) {
	g.p("XORQ AX, AX")
	for _, n := range []int{4, 1} {
		loop, next := g.fresh("loop"), g.fresh("next")
		g.p("SUBQ $%d, CX\nJLT %s\n%s:", n*g.w, next, loop)
		for i := range n {
			whole(i)
		}
		g.p("ADDQ $%d, AX\nSUBQ $%d, CX\nJGE %s\n%s:\nADDQ $%d, CX", n*g.w, n*g.w, loop, next, n*g.w)
	}
	loop, done := g.fresh("loop"), g.fresh("done")
	g.p("TESTQ CX, CX\nJZ %s\n%s:", done, loop)
	one()
	g.p("INCQ AX\nDECQ CX\nJNZ %s\n%s:", loop, done)
	g.ret()
}

// records is panel.Quantize bit by bit.
func (g *gen) records() {
	const bytes, d, sum, halves = 44, 32, 36, 40 // of package panel
	g.fn("records", "encodes whole blocks of 32 as panel.Quantize does.", "", "row []byte", "x []float32")
	g.arg("row", "DI")
	g.arg("x", "SI")
	g.length("x", "CX")
	loop, odd, next, done := g.fresh("block"), g.fresh("odd"), g.fresh("next"), g.fresh("done")
	g.p("SHRQ $5, CX\nJZ %s", done)
	abs := g.bits("abs", 0x7fffffff)
	n := 32 / g.w // registers of a block: 0..n-1
	g.p("VMOVUPS %s, %s", abs, g.v(12))
	g.p("VMOVSS %s, X13", g.f(127))
	if !g.z {
		g.p("VMOVUPS pack8<>(SB), Y14")
	}
	g.p("%s:", loop)
	for i := range n {
		g.p("VMOVUPS %d(SI), %s", 4*g.w*i, g.v(i))
	}
	// The largest absolute value as bits: NaN above infinity above numbers.
	for i := range n {
		g.p("%s %s, %s, %s", g.by("VPAND", "VPANDD"), g.v(12), g.v(i), g.v(4+i))
	}
	for i := 1; i < n; i++ {
		g.p("VPMAXUD %s, %s, %s", g.v(4+i), g.v(4), g.v(4))
	}
	g.across("VPMAXUD", 4, 5)
	g.p("VMOVD X4, AX\nCMPL AX, $0x7f800000\nJAE %s\nCMPL AX, $0x04000000\nJB %s", odd, odd)
	g.p("VDIVSS X13, X4, X5\nVMOVSS X5, %d(DI)", d) // m/127
	g.p("VDIVSS X4, X13, X5\nVBROADCASTSS X5, %s", g.v(5))
	for i := range n {
		g.p("VMULPS %[1]s, %[2]s, %[2]s\nVCVTPS2DQ %[2]s, %[2]s", g.v(5), g.v(i))
	}
	if g.z {
		g.p("VPMOVDB Z0, (DI)\nVPMOVDB Z1, 16(DI)")
	} else {
		g.p("VPACKSSDW Y1, Y0, Y6\nVPACKSSDW Y3, Y2, Y7\nVPACKSSWB Y7, Y6, Y6\nVPERMD Y6, Y14, Y6\nVMOVDQU Y6, (DI)")
		g.p("VPADDD Y1, Y0, Y0\nVPADDD Y3, Y2, Y1")
	}
	g.across("VPADDD", 0, 2)
	g.across("VPADDD", 1, 2)
	g.p("VMOVD X0, AX\nMOVW AX, %d(DI)\nVMOVD X1, AX\nMOVW AX, %d(DI)", halves, halves+2)
	g.p("VPADDD X1, X0, X0\nVCVTDQ2PS X0, X0\nVMOVSS X0, %d(DI)\nJMP %s", sum, next)
	g.p("%s:\nXORQ BX, BX\nCMPL AX, $0x7f800000\nMOVL $0x7fc00000, DX\nCMOVLCC DX, BX", odd)
	g.p("MOVL BX, %d(DI)\nMOVL $0, %d(DI)\nMOVL $0, %d(DI)\nVPXOR X0, X0, X0\nVMOVDQU Y0, (DI)", d, sum, halves)
	g.p("%s:\nADDQ $128, SI\nADDQ $%d, DI\nDECQ CX\nJNZ %s\n%s:", next, bytes, loop, done)
	g.ret()
}
