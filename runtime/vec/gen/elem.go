//go:build ignore

package main

// exp replaces register r by e^r within 1.5 ulp; t and u are lost. Below -104.5
// the result is 0, above 89.5 infinity; NaN stays NaN.
func (g *gen) exp(r, t, u string) {
	g.p("VMOVUPS %s, %s\nVMINPS %s, %s, %s", g.f(89.5), t, r, t, r)
	g.p("VMOVUPS %s, %s\nVMAXPS %s, %s, %s", g.f(-104.5), t, r, t, r)
	g.p("VMULPS %s, %s, %s", g.f(1.44269504), r, t)
	g.p("%s $8, %s, %s", g.by("VROUNDPS", "VRNDSCALEPS"), t, t)
	// r -= t ln 2, in two parts.
	g.p("VFMADD231PS %s, %s, %s", g.f(-0.693359375), t, r)
	g.p("VFMADD231PS %s, %s, %s", g.f(2.12194440e-4), t, r)
	g.p("VMOVUPS %s, %s", g.f(1.9875691500e-4), u)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		g.p("VFMADD213PS %s, %s, %s", g.f(c), r, u)
	}
	if g.z {
		g.p("VSCALEFPS %s, %s, %s", t, u, r)
		return
	}
	// 2^t as the product of two halves: neither leaves the range of a float.
	g.p(`VCVTPS2DQ %[1]s, %[1]s
		VPSRAD $1, %[1]s, %[3]s
		VPSUBD %[3]s, %[1]s, %[1]s
		VPADDD %[4]s, %[1]s, %[1]s
		VPADDD %[4]s, %[3]s, %[3]s
		VPSLLD $23, %[1]s, %[1]s
		VPSLLD $23, %[3]s, %[3]s
		VMULPS %[1]s, %[2]s, %[2]s
		VMULPS %[3]s, %[2]s, %[3]s`, t, u, r, g.bits("bias", 127))
}

// sigmoid replaces r by num / (1 + e^-r), num a register or "" for 1.
func (g *gen) sigmoid(r, num, t, u string) {
	g.p("VXORPS %s, %s, %s", g.bits("sign", 1<<31), r, r)
	g.exp(r, t, u)
	g.p("VADDPS %s, %s, %s", g.f(1), r, r)
	if num == "" {
		num = t
		g.p("VMOVUPS %s, %s", g.f(1), t)
	}
	g.p("VDIVPS %s, %s, %s", r, num, r)
}

// softplus replaces r by log(1 + e^r), and leaves it above 20; registers 3 to 7 are lost.
func (g *gen) softplus(r string) {
	in, t, u, w, e := g.v(3), g.v(4), g.v(5), g.v(6), g.v(7)
	g.p("VMOVAPS %s, %s", r, in)
	g.exp(r, t, u)
	// log(1+r) = log w + (r - (w-1)) / w for w = 1+r rounded.
	g.p("VADDPS %s, %s, %s", g.f(1), r, w)
	g.p("VSUBPS %s, %s, %s\nVSUBPS %s, %s, %s\nVDIVPS %s, %s, %s", g.f(1), w, t, t, r, r, w, r, r)
	// w = m 2^e, m from sqrt(1/2) to sqrt(2).
	g.p("%s %s, %s, %s", g.by("VPSUBD", "VPSUBD"), g.bits("sqrthalf", 0x3f3504f3), w, e)
	g.p("VPSRAD $23, %s, %s\nVPSLLD $23, %s, %s\nVPSUBD %s, %s, %s", e, e, e, t, t, w, w)
	g.p("VCVTDQ2PS %s, %s\nVSUBPS %s, %s, %s", e, e, g.f(1), w, w)
	g.p("VMOVUPS %s, %s", g.f(7.0376836292e-2), t)
	for _, c := range []float32{-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1} {
		g.p("VFMADD213PS %s, %s, %s", g.f(c), w, t)
	}
	g.p("VMULPS %[1]s, %[1]s, %[2]s\nVMULPS %[1]s, %[3]s, %[3]s\nVMULPS %[2]s, %[3]s, %[3]s", w, u, t)
	g.p("VFMADD231PS %s, %s, %s", g.f(-2.12194440e-4), e, t)
	g.p("VFMADD231PS %s, %s, %s", g.f(-0.5), u, t)
	g.p("VADDPS %s, %s, %s\nVADDPS %s, %s, %s", t, r, r, w, r, r)
	g.p("VFMADD231PS %s, %s, %s", g.f(0.693359375), e, r)
	if g.z {
		g.p("VCMPPS $0x1e, %s, %s, K2\nVMOVAPS %s, K2, %s", g.f(20), in, in, r)
		return
	}
	g.p("VCMPPS $0x1e, %s, %s, %s\nVBLENDVPS %s, %s, %s, %s", g.f(20), in, t, t, in, r, r)
}

// elem emits dst = body(sources, scalars) over len(dst) elements. Sources are
// in registers 0, 1, 2 (the result in 0), scalars in 12 and 13.
func (g *gen) elem(name, doc string, sources, scalars []string, body func()) {
	params := []string{"dst []float32"}
	for _, s := range sources {
		params = append(params, s+" []float32")
	}
	for _, s := range scalars {
		params = append(params, s+" float32")
	}
	g.fn(name, doc, "", params...)
	g.arg("dst", "DI")
	g.length("dst", "CX")
	regs := []string{"SI", "DX", "R8"}
	for i, s := range sources {
		g.arg(s, regs[i])
	}
	for i, s := range scalars {
		g.splat(s, g.v(12+i))
	}
	g.strips(func(masked bool) {
		for i := range sources {
			g.load("("+regs[i]+")(AX*4)", g.v(i), masked)
		}
		body()
		g.store(g.v(0), "(DI)(AX*4)", masked)
	})
	g.ret()
}

func (g *gen) elementwise() {
	a, b, c, s, t, u := g.v(0), g.v(1), g.v(2), g.v(12), g.v(3), g.v(4)
	g.elem("add", "writes x + y.", []string{"x", "y"}, nil, func() { g.p("VADDPS %s, %s, %s", b, a, a) })
	g.elem("mul", "writes x * y.", []string{"x", "y"}, nil, func() { g.p("VMULPS %s, %s, %s", b, a, a) })
	g.elem("scale", "writes x * s.", []string{"x"}, []string{"s"}, func() { g.p("VMULPS %s, %s, %s", s, a, a) })
	g.elem("mulAdd", "writes y + p * x.", []string{"y", "x"}, []string{"p"}, func() { g.p("VFMADD231PS %s, %s, %s", b, s, a) })
	g.elem("norm", "writes x * s * w.", []string{"x", "w"}, []string{"s"}, func() {
		g.p("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", s, a, a, b, a, a)
	})
	g.elem("gated", "writes x * s * w * silu(z).", []string{"x", "w", "z"}, []string{"s"}, func() {
		g.p("VMULPS %s, %s, %s\nVMULPS %s, %s, %s", s, a, a, b, a, a)
		g.p("VMOVAPS %s, %s", c, b)
		g.sigmoid(c, b, t, u)
		g.p("VMULPS %s, %s, %s", c, a, a)
	})
	g.elem("exp", "writes e^x.", []string{"x"}, nil, func() { g.exp(a, t, u) })
	g.elem("sigmoid", "writes 1 / (1 + e^-x).", []string{"x"}, nil, func() { g.sigmoid(a, "", t, u) })
	g.elem("silu", "writes x / (1 + e^-x).", []string{"x"}, nil, func() {
		g.p("VMOVAPS %s, %s", a, b)
		g.sigmoid(a, b, t, u)
	})
	g.elem("softplus", "writes log(1 + e^x).", []string{"x"}, nil, func() { g.softplus(a) })
	g.elem("siluMul", "writes silu(x) * y.", []string{"x", "y"}, nil, func() {
		g.p("VMOVAPS %s, %s", a, c)
		g.sigmoid(a, c, t, u)
		g.p("VMULPS %s, %s, %s", b, a, a)
	})
	// hi + lo is a sum in two parts; exponents near 0 keep all their digits.
	g.elem("decay", "writes e^((hi0 - hi) + (lo0 - lo)).", []string{"hi", "lo"}, []string{"hi0", "lo0"}, func() {
		g.p("VSUBPS %s, %s, %s\nVSUBPS %s, %s, %s\nVADDPS %s, %s, %s", a, s, a, b, g.v(13), b, b, a, a)
		g.exp(a, t, u)
	})

	g.fn("rope", "turns the pairs (lo[i], hi[i]) by the angles of cos and sin.", "",
		"lo []float32", "hi []float32", "cos []float32", "sin []float32")
	g.arg("lo", "DI")
	g.arg("hi", "SI")
	g.arg("cos", "DX")
	g.arg("sin", "R8")
	g.length("cos", "CX")
	g.strips(func(masked bool) {
		for i, r := range []string{"DI", "SI", "DX", "R8"} {
			g.load("("+r+")(AX*4)", g.v(i), masked)
		}
		lo, hi, cos, sin, t := g.v(0), g.v(1), g.v(2), g.v(3), g.v(4)
		g.p("VMULPS %s, %s, %s\nVFNMADD231PS %s, %s, %s", lo, cos, t, hi, sin, t)
		g.store(t, "(DI)(AX*4)", masked)
		g.p("VMULPS %s, %s, %s\nVFMADD231PS %s, %s, %s", hi, cos, t, lo, sin, t)
		g.store(t, "(SI)(AX*4)", masked)
	})
	g.ret()
}
