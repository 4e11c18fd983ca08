//go:build ignore

package main

import "fmt"

func (g *gen) recurrent() {
	g.step()
	g.solve()
	g.taps()
	g.convRow()
}

// step reads and writes each row of the state once: with d = s·k, the row
// becomes decay s + u k, u = beta (v - decay d), and gives scale times its
// product with q.
func (g *gen) step() {
	g.fn("deltaStep", "is one token of the gated delta rule over a state of rows times cols, cols a multiple of 16.", "",
		"state *float32", "k *float32", "q *float32", "v *float32", "out *float32", "cols int", "rows int",
		"decay float32", "beta float32", "scale float32")
	for _, r := range [][2]string{{"state", "DI"}, {"k", "SI"}, {"q", "DX"}, {"v", "R8"}, {"out", "R9"}, {"cols", "R10"}, {"rows", "R11"}} {
		g.arg(r[0], r[1])
	}
	decay := g.v(12)
	g.splat("decay", decay)
	g.p("VMOVSS beta+%d(FP), X13\nVMOVSS scale+%d(FP), X14", g.off["beta"], g.off["scale"])
	rows, dot, update, done := g.fresh("row"), g.fresh("dot"), g.fresh("update"), g.fresh("done")
	n := 16 / g.w // registers of an iteration
	g.p("TESTQ R11, R11\nJZ %s\n%s:\nXORQ AX, AX", done, rows)
	for i := range 2 * n {
		g.zero(i)
	}
	g.p("%s:", dot)
	for i := range n {
		g.p("VMOVUPS %d(DI)(AX*4), %s\nVFMADD231PS %d(SI)(AX*4), %s, %s", 4*g.w*i, g.v(4+i), 4*g.w*i, g.v(4+i), g.v(i))
	}
	g.p("ADDQ $16, AX\nCMPQ AX, R10\nJLT %s", dot)
	if n == 2 {
		g.p("VADDPS Y1, Y0, Y0")
	}
	g.across("VADDPS", 0, 6)
	// u = beta (v - decay d)
	g.p("VMULSS X12, X0, X0\nVMOVSS (R8), X1\nVSUBSS X0, X1, X1\nVMULSS X13, X1, X1\nVBROADCASTSS X1, %s\nXORQ AX, AX", g.v(11))
	for i := range n {
		g.zero(2 + i)
	}
	g.p("%s:", update)
	for i := range n {
		s := g.v(4 + i)
		g.p("VMULPS %d(DI)(AX*4), %s, %s\nVFMADD231PS %d(SI)(AX*4), %s, %s", 4*g.w*i, decay, s, 4*g.w*i, g.v(11), s)
		g.p("VMOVUPS %s, %d(DI)(AX*4)\nVFMADD231PS %d(DX)(AX*4), %s, %s", s, 4*g.w*i, 4*g.w*i, s, g.v(2+i))
	}
	g.p("ADDQ $16, AX\nCMPQ AX, R10\nJLT %s", update)
	if n == 2 {
		g.p("VADDPS Y3, Y2, Y2")
	}
	g.across("VADDPS", 2, 6)
	g.p("VMULSS X14, X2, X2\nVMOVSS X2, (R9)\nADDQ $4, R8\nADDQ $4, R9\nLEAQ (DI)(R10*4), DI\nDECQ R11\nJNZ %s\n%s:", rows, done)
	g.ret()
}

// solve: row r of u gains a[r,l] times row l for each l < r, in this order.
func (g *gen) solve() {
	g.fn("solve8", "solves eight rows of a unit lower triangular system in place; a is the negative of its matrix. n is a multiple of 16.", "",
		"u *float32", "ldu int", "a *float32", "lda int", "n int")
	for _, r := range [][2]string{{"u", "DI"}, {"ldu", "SI"}, {"a", "R8"}, {"lda", "R9"}, {"n", "CX"}} {
		g.arg(r[0], r[1])
	}
	loop, done := g.fresh("loop"), g.fresh("done")
	g.p("LEAQ (R9)(R9*2), R13\nLEAQ (R8)(R9*4), DX\nLEAQ (SI)(SI*2), R12\nTESTQ CX, CX\nJZ %s\n%s:\nLEAQ (DI)(SI*4), BX", done, loop)
	for r := range 8 {
		g.p("VMOVUPS %s, %s", row(r, "DI", "SI", "R12", "BX"), g.v(r))
	}
	for l := range 7 {
		for r := l + 1; r < 8; r++ {
			from := plus(4*l, row(r, "R8", "R9", "R13", "DX"))
			if g.z {
				g.p("VFMADD231PS.BCST %s, %s, %s", from, g.v(l), g.v(r))
			} else {
				g.p("VBROADCASTSS %s, Y%d\nVFMADD231PS Y%d, Y%d, Y%d", from, 8+r%4, 8+r%4, l, r)
			}
		}
	}
	for r := 1; r < 8; r++ {
		g.p("VMOVUPS %s, %s", g.v(r), row(r, "DI", "SI", "R12", "BX"))
	}
	g.p("ADDQ $%d, DI\nSUBQ $%d, CX\nJNZ %s\n%s:", 4*g.w, g.w, loop, done)
	g.ret()
}

// taps: [channels,4] to [4,channels].
func (g *gen) taps() {
	g.fn("taps4", "writes the four taps of each channel as four rows of channels, a multiple of 16.", "", "dst *float32", "w *float32", "channels int")
	g.arg("dst", "DI")
	g.arg("w", "SI")
	g.arg("channels", "CX")
	loop, done := g.fresh("loop"), g.fresh("done")
	g.p("LEAQ (CX*4), R9\nLEAQ (R9)(R9*2), R10\nVMOVUPS untap%d<>(SB), %s\nTESTQ CX, CX\nJZ %s\n%s:", g.w, g.v(12), done, loop)
	for i := range 4 {
		g.p("VMOVUPS %d(SI), %s", 4*g.w*i, g.v(i))
	}
	for i := 0; i < 4; i += 2 {
		g.p("VUNPCKLPS %[1]s, %[2]s, %[3]s\nVUNPCKHPS %[1]s, %[2]s, %[4]s", g.v(i+1), g.v(i), g.v(4+i), g.v(5+i))
	}
	for i := range 4 {
		imm := 0x44 + 0xaa*(i%2)
		g.p("VSHUFPS $%#x, %s, %s, %s", imm, g.v(6+i/2), g.v(4+i/2), g.v(i))
		g.p("VPERMPS %s, %s, %s\nVMOVUPS %s, %s", g.v(i), g.v(12), g.v(i), g.v(i), row(i, "DI", "R9", "R10", ""))
	}
	g.p("ADDQ $%d, DI\nADDQ $%d, SI\nSUBQ $%d, CX\nJNZ %s\n%s:", 4*g.w, 16*g.w, g.w, loop, done)
	g.ret()
}

// convRow: y = silu of the sum of four rows times their taps, oldest first.
func (g *gen) convRow() {
	g.fn("conv4", "writes silu(r0 taps[0] + … + r3 taps[3]) over channels, a multiple of 16.", "",
		"y *float32", "r0 *float32", "r1 *float32", "r2 *float32", "r3 *float32", "taps *float32", "channels int")
	regs := []string{"SI", "R8", "R9", "R10"}
	g.arg("y", "DI")
	for i, r := range regs {
		g.arg(fmt.Sprintf("r%d", i), r)
	}
	g.arg("taps", "DX")
	g.arg("channels", "CX")
	loop, done := g.fresh("loop"), g.fresh("done")
	g.p("LEAQ (CX*4), R11\nLEAQ (R11)(R11*2), R12\nXORQ AX, AX\nTESTQ CX, CX\nJZ %s\n%s:", done, loop)
	s, t := g.v(0), g.v(1)
	for i, r := range regs {
		g.p("VMOVUPS (%s)(AX*1), %s", r, t)
		op := "VFMADD231PS"
		if i == 0 {
			op = "VMULPS"
		}
		g.p("%s %s, %s, %s", op, row(i, "DX", "R11", "R12", ""), t, s)
	}
	g.p("VMOVAPS %s, %s", s, t)
	g.sigmoid(s, t, g.v(2), g.v(3))
	g.p("VMOVUPS %s, (DI)(AX*1)\nADDQ $%d, AX\nADDQ $%d, DX\nSUBQ $%d, CX\nJNZ %s\n%s:", s, 4*g.w, 4*g.w, g.w, loop, done)
	g.ret()
}
