//go:build ignore

package main

// fold adds the upper half of register i to its lower 128 bits, for op on floats.
func (g *gen) fold(op string, i, tmp int) {
	if g.z {
		g.p("VEXTRACTF64X4 $1, Z%d, Y%d\n%s Y%d, Y%d, Y%d", i, tmp, op, tmp, i, i)
	}
	g.p("VEXTRACTF128 $1, Y%d, X%d\n%s X%d, X%d, X%d", i, tmp, op, tmp, i, i)
}

// across reduces register i to its lowest element.
func (g *gen) across(op string, i, tmp int) {
	g.fold(op, i, tmp)
	g.p("VPERMILPS $0x4e, X%d, X%d\n%s X%d, X%d, X%d", i, tmp, op, tmp, i, i)
	g.p("VPERMILPS $0xb1, X%d, X%d\n%s X%d, X%d, X%d", i, tmp, op, tmp, i, i)
}

func (g *gen) zero(i int) { g.p("VXORPS X%d, X%d, X%d", i, i, i) }

func (g *gen) reductions() {
	// Squares are summed in float64, eight or four lanes in two registers.
	g.fn("sumSquares", "is the sum of x², in float64.", "float64", "x []float32")
	g.arg("x", "SI")
	g.length("x", "CX")
	g.zero(4)
	g.zero(5)
	g.strips(func(masked bool) {
		g.load("(SI)(AX*4)", g.v(0), masked)
		if g.z {
			g.p("VEXTRACTF64X4 $1, Z0, Y1\nVCVTPS2PD Y0, Z2\nVCVTPS2PD Y1, Z3")
		} else {
			g.p("VEXTRACTF128 $1, Y0, X1\nVCVTPS2PD X0, Y2\nVCVTPS2PD X1, Y3")
		}
		g.p("VFMADD231PD %[1]s, %[1]s, %[2]s\nVFMADD231PD %[3]s, %[3]s, %[4]s", g.v(2), g.v(4), g.v(3), g.v(5))
	})
	g.p("VADDPD %s, %s, %s", g.v(5), g.v(4), g.v(4))
	g.fold("VADDPD", 4, 5)
	g.p("VPERMILPD $1, X4, X5\nVADDSD X5, X4, X4\nVMOVSD X4, ret+%d(FP)", g.off["ret"])
	g.ret()

	g.fn("maxOf", "is the largest element that is a number, -Inf when there is none.", "float32", "x []float32")
	g.arg("x", "SI")
	g.length("x", "CX")
	inf := g.bits("minusinf", 0xff800000)
	g.p("VMOVUPS %s, %s\nVMOVAPS %s, %s", inf, g.v(4), g.v(4), g.v(5))
	g.strips(func(masked bool) {
		g.load("(SI)(AX*4)", g.v(0), masked)
		if masked && g.z {
			g.p("VMOVAPS Z5, Z1\nVMOVAPS Z0, K1, Z1\nVMOVAPS Z1, Z0")
		} else if masked {
			g.p("VBLENDVPS Y15, Y0, Y5, Y0")
		}
		g.p("VMAXPS %s, %s, %s", g.v(4), g.v(0), g.v(4)) // of a NaN and the maximum so far: the latter
	})
	g.across("VMAXPS", 4, 5)
	g.p("VMOVSS X4, ret+%d(FP)", g.off["ret"])
	g.ret()

	g.fn("expSum", "writes e^(x-m) and returns the sum.", "float32", "dst []float32", "x []float32", "m float32")
	g.arg("dst", "DI")
	g.length("dst", "CX")
	g.arg("x", "SI")
	g.splat("m", g.v(12))
	g.zero(5)
	g.strips(func(masked bool) {
		a := g.v(0)
		g.load("(SI)(AX*4)", a, masked)
		g.p("VSUBPS %s, %s, %s", g.v(12), a, a)
		g.exp(a, g.v(3), g.v(4))
		g.store(a, "(DI)(AX*4)", masked)
		switch {
		case masked && g.z:
			g.p("VADDPS Z0, Z5, K1, Z5")
		case masked:
			g.p("VANDPS Y15, Y0, Y0\nVADDPS Y0, Y5, Y5")
		default:
			g.p("VADDPS %s, %s, %s", a, g.v(5), g.v(5))
		}
	})
	g.across("VADDPS", 5, 6)
	g.p("VMOVSS X5, ret+%d(FP)", g.off["ret"])
	g.ret()

	g.argMax()
}

// argMax keeps, lane by lane, the largest value and where it was first; of the
// lanes that have the largest the least index wins.
func (g *gen) argMax() {
	g.fn("argMax", "is the index of the largest element above -Inf, the lowest among equals, or -1.", "int", "x []float32")
	g.arg("x", "SI")
	g.length("x", "CX")
	// 0 values, 1 best, 2 its index, 3 the index now, 4 the step, 5 -Inf.
	best, at, now := g.v(1), g.v(2), g.v(3)
	none := g.bits("none", 0x7fffffff)
	g.p("VMOVUPS %s, %s\nVMOVAPS %s, %s", g.bits("minusinf", 0xff800000), best, best, g.v(5))
	g.p("VMOVUPS %s, %s\nVMOVUPS iota<>(SB), %s\nVMOVUPS %s, %s", none, at, now, g.bits("width", uint32(g.w)), g.v(4))
	g.strips(func(masked bool) {
		g.load("(SI)(AX*4)", g.v(0), masked)
		if masked && g.z {
			g.p("VMOVAPS Z5, Z6\nVMOVAPS Z0, K1, Z6\nVMOVAPS Z6, Z0")
		} else if masked {
			g.p("VBLENDVPS Y15, Y0, Y5, Y0")
		}
		if g.z {
			g.p("VCMPPS $0x1e, Z1, Z0, K2\nVMOVAPS Z0, K2, Z1\nVMOVDQA32 Z3, K2, Z2")
		} else {
			g.p("VCMPPS $0x1e, Y1, Y0, Y6\nVBLENDVPS Y6, Y0, Y1, Y1\nVBLENDVPS Y6, Y3, Y2, Y2")
		}
		g.p("VPADDD %s, %s, %s", g.v(4), now, now)
	})
	g.p("VMOVAPS %s, %s", best, g.v(7))
	g.across("VMAXPS", 7, 6)
	g.p("VBROADCASTSS X7, %s", g.v(7))
	if g.z {
		g.p("VCMPPS $0, Z7, Z1, K2\nVMOVUPS %s, Z0\nVMOVDQA32 Z2, K2, Z0", none)
	} else {
		g.p("VCMPPS $0, Y7, Y1, Y6\nVMOVUPS %s, Y0\nVBLENDVPS Y6, Y2, Y0, Y0", none)
	}
	g.across("VPMINSD", 0, 6)
	done := g.fresh("found")
	g.p("VMOVD X0, AX\nCMPL AX, $0x7fffffff\nJNE %s\nMOVQ $-1, AX\n%s:\nMOVQ AX, ret+%d(FP)", done, done, g.off["ret"])
	g.ret()
}
