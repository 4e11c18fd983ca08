package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

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
//	if i, end := max(lo, 4), min(hi, 8); i < end {
//		… the same for k
//	}
//	if i, end := max(lo, 8), hi; i < end {
//		… v, without the norm
//	}
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
	head := func(name string, first, last, start, dim, stride int, norm bool) Code {
		i, lo, hi := "i", "lo", "hi"
		if first > 0 {
			i, lo = fmt.Sprintf("(i-%d)", first), fmt.Sprintf("max(lo, %d)", first)
		}
		if last < 2*g+vh {
			hi = fmt.Sprintf("min(hi, %d)", last)
		}
		eps := "-1"
		if norm {
			eps = f32(k.v.Float("eps"))
		}
		ch, tap := sum(fmt.Sprint(start), at(i, dim)), sum(fmt.Sprint(start*c), at(i, dim*c))
		return If(raw("i, end := %s, %s", lo, hi), raw("i < end")).Block(
			Qual(pkgKernel, "ConvHeads").Call(raw("%s[%s:]", name, at(i, dim)), Lit(stride), raw("state[%s:]", ch), Lit(channels),
				raw("x[%s:]", ch), Lit(token), raw("w[%s:]", tap), Lit(c), Id("n"), Lit(dim), raw("end-i"), raw("%s", eps), raw("th.Scratch(%d)", k.scratch)))
	}
	for i := range 3 {
		if k.result(i) == nil && len(k.p.m.Funcs) > 0 {
			k.fail("q, k and v must all be read")
			return
		}
	}
	k.stmt(raw("lo, hi := th.Cut(%d, 1)", 2*g+vh),
		head("q", 0, g, 0, kd, g*kd, true),
		head("k", g, 2*g, g*kd, kd, g*kd, true),
		head("v", 2*g, 2*g+vh, 2*g*kd, vd, vh*vd, false))
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
	k.cut("h", fmt.Sprint(heads), 1,
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
