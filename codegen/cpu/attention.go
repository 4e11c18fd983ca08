package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

	"qnc/ir"
	"qnc/runtime/quant"
)

// heads gives the shape [n, heads, dim] of argument i and its strides.
func (k *kern) heads(name string, i int) (heads, dim, token, row int) {
	t := k.v.Args[i].Type
	heads, dim = k.static(t.Dims[1]), k.static(t.Dims[2])
	token, row = k.rows(name, i, heads, dim)
	return heads, dim, token, row
}

// angles emits the rotation of token t: cos and sin of dims/2 angles in the
// thread's scratch, behind skip floats.
func (k *kern) angles(skip int) []Code {
	half := k.v.Int("dims") / 2
	k.scratch = skip + 2*half
	return []Code{
		raw("cos, sin := th.Scratch(%d)[%d:%d], th.Scratch(%d)[%d:]", skip+2*half, skip, skip+half, skip+2*half, skip+half),
		Qual(pkgKernel, "Angles").Call(Id("cos"), Id("sin"), Id("pos").Index(Id("t")), Id(f32(k.v.Float("base")))),
	}
}

// emitRope emits the rotation alone: emitNormRope without the norm.
func emitRope(k *kern) {
	t := k.v.Type
	k.name = fmt.Sprintf("rope%d_%s", k.v.Int("dims"), shapeName(t.Dims))
	k.out("out", k.v, ir.F32)
	heads, dim, token, row := k.heads("x", 0)
	k.in("pos", 1)
	k.tokens(t.Dims[0])
	k.cut("t", "n", 1, append(k.angles(0), each("r", heads,
		Id("y").Op(":=").Add(raw("%s", cutSlice("out", rowAt(2, heads*dim, dim), dim))),
		Id("copy").Call(Id("y"), raw("%s", cutSlice("x", rowAt(2, token, row), dim))),
		Qual(pkgKernel, "Rope").Call(Id("y"), Id("cos"), Id("sin"))))...)
}

// emitNormRope emits RMS norm and partial rotation of every head:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		cos, sin := th.Scratch(16)[0:8], th.Scratch(16)[8:]
//		kernel.Angles(cos, sin, pos[t], 10000)
//		for r := range 4 {
//			y := out[t*256+r*64:][:64]
//			kernel.Norm(y, x[t*512+r*128:][:64], w, 1e-06)
//			kernel.Rope(y, cos, sin)
//		}
//	}
func emitNormRope(k *kern) {
	t := k.v.Type
	k.name = fmt.Sprintf("normRope%d_%s", k.v.Int("dims"), shapeName(t.Dims))
	k.out("out", k.v, ir.F32)
	heads, dim, token, row := k.heads("x", 0)
	k.in("w", 1)
	k.in("pos", 2)
	k.tokens(t.Dims[0])
	k.cut("t", "n", 1, append(k.angles(0), each("r", heads,
		Id("y").Op(":=").Add(raw("%s", cutSlice("out", rowAt(2, heads*dim, dim), dim))),
		Qual(pkgKernel, "Norm").Call(Id("y"), raw("%s", cutSlice("x", rowAt(2, token, row), dim)), Id("w"), Id(f32(k.v.Float("eps")))),
		Qual(pkgKernel, "Rope").Call(Id("y"), Id("cos"), Id("sin"))))...)
}

// emitNormRopeStore emits emitNormRope with its rows encoded into the cache.
func emitNormRopeStore(k *kern) {
	x := k.v.Args[1].Type
	k.name = fmt.Sprintf("normRopeStore%d_%s", k.v.Int("dims"), shapeName(x.Dims))
	k.state("cache", k.v.Args[0], true)
	heads, dim, token, row := k.heads("x", 1)
	k.in("w", 2)
	k.in("pos", 3)
	k.tokens(x.Dims[0])
	kind := k.cacheKind(k.v.Args[0])
	n := kind.RowBytes(dim)
	k.cut("t", "n", 1, append(k.angles(dim),
		Id("y").Op(":=").Id("th").Dot("Scratch").Call(Lit(dim)),
		each("r", heads,
			Qual(pkgKernel, "Norm").Call(Id("y"), raw("%s", cutSlice("x", rowAt(2, token, row), dim)), Id("w"), Id(f32(k.v.Float("eps")))),
			Qual(pkgKernel, "Rope").Call(Id("y"), Id("cos"), Id("sin")),
			Qual(pkgQuant, "Quantize"+kind.Ident).Call(raw("cache[int(pos[t])*%d+%s:][:%d]", heads*n, at("r", n), n), Id("y"))))...)
}

// cacheKind is the format of a cache.
func (k *kern) cacheKind(s *ir.Value) *quant.Kind {
	switch s.Type.DType {
	case ir.F32, ir.F16, ir.Q8_0:
	default:
		k.fail("a cache of %s has no kernel: use f16, q8_0 or f32", s.Type.DType)
	}
	kind, _ := quant.ByName(s.Type.DType.String())
	return kind
}

// emitStoreRows emits the write of values to the cells of their positions:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		for r := range 2 {
//			quant.QuantizeF16(cache[int(pos[t])*256+r*128:][:128], x[t*128+r*64:][:64])
//		}
//	}
func emitStoreRows(k *kern) {
	x := k.v.Args[1].Type
	if x.Rank() != 3 {
		k.fail("cells of %s have no kernel", x)
		return
	}
	k.name = fmt.Sprintf("storeRows_%s", shapeName(x.Dims))
	k.state("cache", k.v.Args[0], true)
	heads, dim, token, row := k.heads("x", 1)
	k.in("pos", 2)
	k.tokens(x.Dims[0])
	kind := k.cacheKind(k.v.Args[0])
	n := kind.RowBytes(dim)
	k.cut("t", "n", 1, each("r", heads,
		Qual(pkgQuant, "Quantize"+kind.Ident).Call(raw("cache[int(pos[t])*%d+%s:][:%d]", heads*n, at("r", n), n), raw("%s", cutSlice("x", rowAt(2, token, row), dim)))))
}

// emitAttention emits attention over the cells up to a token's position, heads
// of tokens cut over the threads:
//
//	lo, hi := th.Cut(n*16, 1)
//	for i := lo; i < hi; i++ {
//		t, h := i/16, i%16
//		g := h / 8
//		kernel.Attend(out[t*4096+h*256:][:256], q[t*4096+h*256:][:256], keys[g*512:], 1024, values[g*512:], 1024,
//			512, 512, int(pos[t])+1, 0.0625, quant.DotF32F16, quant.AxpyF16)
//	}
func emitAttention(k *kern) {
	q, keys, values := k.v.Args[0].Type, k.v.Args[1], k.v.Args[2]
	if keys.Op != ir.OpLoadRows || values.Op != ir.OpLoadRows {
		k.fail("keys and values must come from a cache")
		return
	}
	k.out("out", k.v, ir.F32)
	heads, dim, token, row := k.heads("q", 0)
	k.state("keys", keys.Args[0], false)
	k.state("values", values.Args[0], false)
	k.in("pos", 3)
	k.tokens(q.Dims[0])
	groups, vdim := k.static(keys.Type.Dims[1]), k.static(values.Type.Dims[2])
	kk, vk := k.cacheKind(keys.Args[0]), k.cacheKind(values.Args[0])
	kb, vb := kk.RowBytes(dim), vk.RowBytes(vdim)
	axpy := Qual(pkgQuant, "Axpy"+vk.Ident)
	if vk.Ident == "F32" {
		axpy = Qual(pkgKernel, "AxpyF32")
	}
	k.name = fmt.Sprintf("attention%s%s_%dx%dof%d", kk.Ident, vk.Ident, heads, dim, groups)
	k.cut("i", fmt.Sprintf("n*%d", heads), 1,
		raw("t, h := i/%d, i%%%d", heads, heads),
		raw("g := %s", groupOf("h", heads, groups, k.v.Attr.Get("map"))),
		Qual(pkgKernel, "Attend").Call(
			raw("out[t*%d+h*%d:][:%d]", heads*vdim, vdim, vdim), raw("q[%s:][:%d]", sum(at("t", token), at("h", row)), dim),
			raw("keys[g*%d:]", kb), Lit(groups*kb), raw("values[g*%d:]", vb), Lit(groups*vb), Lit(kb), Lit(vb),
			raw("int(pos[t])+1"), Id(f32(k.v.Float("scale"))), Qual(pkgQuant, "DotF32"+kk.Ident), axpy))
}

// groupOf is the text of the group that head h reads.
func groupOf(h string, heads, groups int, mapping string) string {
	switch {
	case heads == groups:
		return h
	case groups == 1:
		return "0"
	case mapping == "tiled":
		return fmt.Sprintf("%s %% %d", h, groups)
	}
	return fmt.Sprintf("%s / %d", h, heads/groups)
}
