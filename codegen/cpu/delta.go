package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/view"
	"qnc/ir"
	"qnc/runtime/kernel"
)

// emitConvSplit emits convolution, SiLU, split and L2 norm; the heads of q, k
// and v are cut over the threads:
//
//	lo, hi := th.Cut(16, 1)
//	if i, end := lo, min(hi, 4); i < end {
//		kernel.ConvHeads(q[i*64:], 256, state[i*64:], 1024, x[i*64:], 1024, w[i*256:], 4, n, 64, end-i, 1e-06, th.Scratch(4096))
//	}
//	if i, end := max(lo, 4)-4, min(hi, 8)-4; i < end {
//		… the same for k
//	}
//	if i, end := max(lo, 8)-8, hi-8; i < end {
//		… v, without the norm
//	}
//
// Of one token a group of heads is cut, with what emitDelta reads of it.
func emitConvSplit(k *kern) {
	x := k.v.Args[1].Type
	g, kd, vh, vd := k.v.Int("heads"), k.v.Int("kdim"), k.v.Int("vheads"), k.v.Int("vdim")
	channels, c := k.static(x.Last()), k.static(k.v.Args[2].Type.Dims[1])
	k.name = fmt.Sprintf("convSplit%d_%dx%d_%dx%d", c, g, kd, vh, vd)
	for i, name := range []string{"q", "k", "v"} {
		k.out(name, k.result(i), ir.F32)
	}
	k.state("state", k.v.Args[0], true)
	token, _ := k.rows("x", 1, 1, channels)
	k.in("w", 2)
	k.tokens(x.Dims[0])
	k.scratch = kernel.ConvScratch(max(kd, vd), c)
	// heads i to end of a part whose channels start at start
	heads := func(name, i, end string, start, dim, stride int, norm bool) Code {
		eps := "-1"
		if norm {
			eps = f32(k.v.Float("eps"))
		}
		ch, tap := sum(fmt.Sprint(start), at("i", dim)), sum(fmt.Sprint(start*c), at("i", dim*c))
		return If(raw("i, end := %s, %s", i, end), raw("i < end")).Block(
			Qual(pkgKernel, "ConvHeads").Call(raw("%s[%s:]", name, at("i", dim)), Lit(stride), raw("state[%s:]", ch), Lit(channels),
				raw("x[%s:]", ch), Lit(token), raw("w[%s:]", tap), Lit(c), Id("n"), Lit(dim), raw("end-i"), raw("%s", eps), raw("th.Scratch(%d)", k.scratch)))
	}
	for i := range 3 {
		if k.result(i) == nil && len(k.p.m.Funcs) > 0 {
			k.fail("q, k and v must all be read")
			return
		}
	}
	if k.one() && vh%g == 0 { // groups, whose heads are one job in emitDelta
		for i := range k.writes {
			if k.writes[i].state == nil {
				k.writes[i].parts = g
			}
		}
		k.bounds(g, 1)
		k.stmt(heads("q", "lo", "hi", 0, kd, g*kd, true),
			heads("k", "lo", "hi", g*kd, kd, g*kd, true),
			heads("v", at("lo", vh/g), at("hi", vh/g), 2*g*kd, vd, vh*vd, false))
		return
	}
	k.bounds(2*g+vh, 1)
	k.stmt(heads("q", "lo", fmt.Sprintf("min(hi, %d)", g), 0, kd, g*kd, true),
		heads("k", fmt.Sprintf("max(lo, %d)-%d", g, g), fmt.Sprintf("min(hi, %d)-%d", 2*g, g), g*kd, kd, g*kd, true),
		heads("v", fmt.Sprintf("max(lo, %d)-%d", 2*g, 2*g), fmt.Sprintf("hi-%d", 2*g), 2*g*kd, vd, vh*vd, false))
}

// emitDelta emits the gated delta rule, value heads cut over the threads:
//
//	lo, hi := th.Cut(8, 1)
//	for h := lo; h < hi; h++ {
//		g := h / 2
//		head := kernel.DeltaHead{K: 64, V: 64, State: state[h*4096:][:4096], Q: q[g*64:], …}
//		head.Chunks(n, 64, th.Scratch(16512))
//	}
func emitDelta(k *kern) {
	q, v := k.v.Args[1].Type, k.v.Args[3].Type
	groups, kd := k.static(q.Dims[1]), k.static(q.Dims[2])
	heads, vd := k.static(v.Dims[1]), k.static(v.Dims[2])
	k.out("out", k.v, ir.F32)
	k.state("state", k.v.Args[0], true)
	qt, qr := k.rows("q", 1, groups, kd)
	kt, kr := k.rows("key", 2, groups, kd)
	vt, vr := k.rows("val", 3, heads, vd)
	gt, gr := k.rows("decay", 4, heads, 1)
	bt, br := k.rows("beta", 5, heads, 1)
	if k.fault == nil && (qt != kt || qr != kr || gt != bt || gr != br) {
		k.fail("q and k, and g and beta, must have the same strides")
		return
	}
	k.tokens(v.Dims[0])
	run := raw("head.Step(n)")
	k.name = fmt.Sprintf("deltaStep_%dx%d_%dx%d", groups, kd, heads, vd)
	if k.v.Op == ir.OpDeltaChunk {
		k.scratch = kernel.ChunkScratch(ir.ChunkTokens, kd, vd)
		run = raw("head.Chunks(n, %d, th.Scratch(%d))", ir.ChunkTokens, k.scratch)
		k.name = fmt.Sprintf("deltaChunk_%dx%d_%dx%d", groups, kd, heads, vd)
	}
	grain := 1
	if k.one() && heads%groups == 0 && k.v.Attr.Get("map") != "tiled" { // a group's heads together
		grain = heads / groups
		k.writes[0].parts = groups
		var args []view.View
		for i := range 5 {
			args = append(args, k.arg(i+1))
		}
		rows := [][4]int{{qt, qr, groups, kd}, {kt, kr, groups, kd}, {vt, vr, heads, vd}, {gt, gr, heads, 1}, {bt, br, heads, 1}}
		k.readAlike(args, func(i int) bool { r := rows[i]; return k.inOrder(args[i], r[0], r[1], r[2], r[3]) }, groups)
	}
	k.cut("h", fmt.Sprint(heads), grain,
		raw("g := %s", groupOf("h", heads, groups, k.v.Attr.Get("map"))),
		Id("head").Op(":=").Qual(pkgKernel, "DeltaHead").Values(Dict{
			Id("K"): Lit(kd), Id("V"): Lit(vd),
			Id("State"): raw("state[h*%d:][:%d]", kd*vd, kd*vd),
			Id("Q"):     raw("q[%s:]", at("g", qr)), Id("Key"): raw("key[%s:]", at("g", kr)), Id("QStride"): Lit(qt),
			Id("Val"): raw("val[%s:]", at("h", vr)), Id("VStride"): Lit(vt),
			Id("Out"): raw("out[%s:]", at("h", vd)), Id("OStride"): Lit(heads * vd),
			Id("G"): raw("decay[%s:]", at("h", gr)), Id("Beta"): raw("beta[%s:]", at("h", br)), Id("GStride"): Lit(gt),
			Id("Scale"): Id(f32(k.v.Float("scale"))),
		}),
		run)
}
