//go:build ignore

package main

import "fmt"

// products emits the tiles of matrix products. Each element of a result is
// summed in an order that the tile's shape does not change.
func (g *gen) products() {
	rows := []int{4, 2, 1}
	wide := []int{2}
	if g.z {
		rows, wide = []int{8, 4, 2, 1}, []int{2, 1}
	}
	for _, m := range rows {
		for _, nv := range wide {
			g.gemm(m, nv)
		}
	}
	a := 2
	if g.z {
		a = 4
	}
	for _, t := range [][2]int{{a, 4}, {1, 4}, {a, 1}, {1, 1}} {
		g.dots(t[0], t[1], a)
	}
	g.transpose()
}

// row is the address of row i of a matrix at base with the row size in reg:
// triple holds three times reg, and upper the address of row 4.
func row(i int, base, reg, triple, upper string) string {
	if i >= 4 {
		base, i = upper, i-4
	}
	switch i {
	case 1:
		return fmt.Sprintf("(%s)(%s*1)", base, reg)
	case 2:
		return fmt.Sprintf("(%s)(%s*2)", base, reg)
	case 3:
		return fmt.Sprintf("(%s)(%s*1)", base, triple)
	}
	return fmt.Sprintf("(%s)", base)
}

// plus is an address moved by off bytes.
func plus(off int, addr string) string {
	if off == 0 {
		return addr
	}
	return fmt.Sprintf("%d%s", off, addr)
}

// gemm: c[i,:] = (add ? c[i,:] : 0) + sum over k of a[i,k] b[k,:], in the order of k.
func (g *gen) gemm(m, nv int) {
	g.fn(fmt.Sprintf("gemm%dx%d", m, nv), "", "",
		"c *float32", "ldc int", "a *float32", "ars int", "acs int", "b *float32", "ldb int", "k int", "add int")
	for _, r := range [][2]string{{"c", "DI"}, {"ldc", "SI"}, {"a", "R8"}, {"ars", "R9"}, {"acs", "R10"}, {"b", "R11"}, {"ldb", "R12"}, {"k", "CX"}, {"add", "AX"}} {
		g.arg(r[0], r[1])
	}
	g.p("LEAQ (R9)(R9*2), R13\nLEAQ (R8)(R9*4), DX")
	acc := func(i, j int) string { return g.v(i*nv + j) }
	b := func(j int) string { return g.v(m*nv + j) }
	t := g.v(m*nv + nv)
	start, loop, done, keep := g.fresh("start"), g.fresh("loop"), g.fresh("done"), g.fresh("keep")
	g.p("TESTQ AX, AX\nLEAQ (SI)(SI*2), AX\nLEAQ (DI)(SI*4), BX\nJNZ %s", keep)
	for i := range m * nv {
		g.zero(i)
	}
	g.p("JMP %s\n%s:", start, keep)
	each := func(f func(reg, mem string)) {
		for i := range m {
			for j := range nv {
				f(acc(i, j), plus(4*g.w*j, row(i, "DI", "SI", "AX", "BX")))
			}
		}
	}
	each(func(reg, mem string) { g.p("VMOVUPS %s, %s", mem, reg) })
	g.p("%s:\nTESTQ CX, CX\nJZ %s\n%s:", start, done, loop)
	for j := range nv {
		g.p("VMOVUPS %s, %s", plus(4*g.w*j, "(R11)"), b(j))
	}
	for i := range m {
		from := row(i, "R8", "R9", "R13", "DX")
		if nv == 1 && g.z {
			g.p("VFMADD231PS.BCST %s, %s, %s", from, b(0), acc(i, 0))
			continue
		}
		g.p("VBROADCASTSS %s, %s", from, t)
		for j := range nv {
			g.p("VFMADD231PS %s, %s, %s", b(j), t, acc(i, j))
		}
	}
	g.p("ADDQ R10, R8\nADDQ R10, DX\nADDQ R12, R11\nDECQ CX\nJNZ %s\n%s:", loop, done)
	each(func(reg, mem string) { g.p("VMOVUPS %s, %s", reg, mem) })
	g.ret()
}

// dots: out[i,j] = a[i,:]·b[j,:], lane l the sum of elements l, l+w, …. With
// flag 1 the lanes start from part, with flag 2 they are left there instead.
func (g *gen) dots(m, n, most int) {
	name := fmt.Sprintf("dots%dx%d", m, n)
	if m == most {
		name = fmt.Sprintf("dotsNx%d", n)
	}
	g.fn(name, "", "", "out *float32", "ldo int", "a *float32", "lda int", "b *float32", "ldb int", "k int", "part *float32", "flags int")
	for _, r := range [][2]string{{"out", "DI"}, {"ldo", "R9"}, {"a", "R8"}, {"lda", "R10"}, {"b", "R11"}, {"ldb", "R12"}, {"k", "CX"}, {"part", "SI"}, {"flags", "BX"}} {
		g.arg(r[0], r[1])
	}
	g.p("LEAQ (R10)(R10*2), R13\nLEAQ (R12)(R12*2), DX")
	start, loop, keep, sum := g.fresh("start"), g.fresh("loop"), g.fresh("keep"), g.fresh("sum")
	count := m * n
	g.p("TESTQ $1, BX\nJNZ %s", keep)
	for i := range count {
		g.zero(i)
	}
	g.p("JMP %s\n%s:", start, keep)
	for i := range count {
		g.p("VMOVUPS %s, %s", plus(4*g.w*i, "(SI)"), g.v(i))
	}
	g.p("%s:\n%s:", start, loop)
	b := func(j int) string { return g.v(count + j) }
	a := g.v(count + n)
	for j := range n {
		g.p("VMOVUPS %s, %s", row(j, "R11", "R12", "DX", ""), b(j))
	}
	for i := range m {
		g.p("VMOVUPS %s, %s", row(i, "R8", "R10", "R13", ""), a)
		for j := range n {
			g.p("VFMADD231PS %s, %s, %s", b(j), a, g.v(i*n+j))
		}
	}
	g.p("ADDQ $%d, R8\nADDQ $%d, R11\nSUBQ $%d, CX\nJNZ %s", 4*g.w, 4*g.w, g.w, loop)
	g.p("TESTQ $2, BX\nJZ %s", sum)
	for i := range count {
		g.p("VMOVUPS %s, %s", g.v(i), plus(4*g.w*i, "(SI)"))
	}
	g.ret()
	g.p("%s:", sum)
	tmp := count + n
	for i := range m {
		r := i * n
		for j := range n {
			if g.z {
				g.p("VEXTRACTF64X4 $1, Z%d, Y%d\nVADDPS Y%d, Y%d, Y%d", r+j, tmp, tmp, r+j, r+j)
			}
		}
		if n == 4 {
			g.p("VHADDPS Y%d, Y%d, Y%d\nVHADDPS Y%d, Y%d, Y%d\nVHADDPS Y%d, Y%d, Y%d", r+1, r, r, r+3, r+2, r+2, r+2, r, r)
		} else {
			g.p("VHADDPS Y%[1]d, Y%[1]d, Y%[1]d\nVHADDPS Y%[1]d, Y%[1]d, Y%[1]d", r)
		}
		g.p("%s $1, Y%d, X%d\nVADDPS X%d, X%d, X%d", g.by("VEXTRACTF128", "VEXTRACTF32X4"), r, tmp, tmp, r, r)
		g.p("%s X%d, (DI)", map[bool]string{true: "VMOVUPS", false: "VMOVSS"}[n == 4], r)
		if i < m-1 {
			g.p("ADDQ R9, DI")
		}
	}
	g.ret()
}

// transpose: 8 rows of n floats to n rows of 8, n a multiple of 8.
func (g *gen) transpose() {
	g.fn("transpose8", "writes 8 rows of n floats as n rows of 8; sizes of rows in bytes.", "", "dst *float32", "ldd int", "src *float32", "lds int", "n int")
	for _, r := range [][2]string{{"dst", "DI"}, {"ldd", "R9"}, {"src", "R8"}, {"lds", "R10"}, {"n", "CX"}} {
		g.arg(r[0], r[1])
	}
	loop, done := g.fresh("loop"), g.fresh("done")
	g.p("LEAQ (R10)(R10*2), R13\nLEAQ (R8)(R10*4), DX\nLEAQ (R9)(R9*2), R12\nSHRQ $3, CX\nJZ %s\n%s:\nLEAQ (DI)(R9*4), BX", done, loop)
	for i := range 8 {
		g.p("VMOVUPS %s, Y%d", row(i, "R8", "R10", "R13", "DX"), i)
	}
	for i := 0; i < 8; i += 2 {
		g.p("VUNPCKLPS Y%d, Y%d, Y%d\nVUNPCKHPS Y%d, Y%d, Y%d", i+1, i, 8+i, i+1, i, 9+i)
	}
	for i := 0; i < 8; i += 4 {
		g.p("VSHUFPS $0x44, Y%d, Y%d, Y%d\nVSHUFPS $0xee, Y%d, Y%d, Y%d", 10+i, 8+i, i, 10+i, 8+i, i+1)
		g.p("VSHUFPS $0x44, Y%d, Y%d, Y%d\nVSHUFPS $0xee, Y%d, Y%d, Y%d", 11+i, 9+i, i+2, 11+i, 9+i, i+3)
	}
	for i := range 4 {
		g.p("VPERM2F128 $0x20, Y%d, Y%d, Y%d\nVPERM2F128 $0x31, Y%d, Y%d, Y%d", i+4, i, 8, i+4, i, 9)
		g.p("VMOVUPS Y8, %s\nVMOVUPS Y9, %s", row(i, "DI", "R9", "R12", "BX"), row(i+4, "DI", "R9", "R12", "BX"))
	}
	g.p("ADDQ $32, R8\nADDQ $32, DX\nLEAQ (DI)(R9*8), DI\nDECQ CX\nJNZ %s\n%s:", loop, done)
	g.ret()
}
