package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

	"qnc/ir"
	"qnc/runtime/kernel"
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
	k.stmt(Id("c").Op(":=").Add(k.cache("cache", k.v.Args[0])))
	k.cut("t", "n", 1, append(k.angles(dim),
		Id("y").Op(":=").Id("th").Dot("Scratch").Call(Lit(dim)),
		each("r", heads,
			Qual(pkgKernel, "Norm").Call(Id("y"), raw("%s", cutSlice("x", rowAt(2, token, row), dim)), Id("w"), Id(f32(k.v.Float("eps")))),
			Qual(pkgKernel, "Rope").Call(Id("y"), Id("cos"), Id("sin")),
			raw("c.Store(r, int(pos[t]), y)")))...)
}

// cacheFormats are the formats of package kernel.
var cacheFormats = map[ir.DType]string{ir.F32: "F32", ir.F16: "F16", ir.Q8_0: "Q80"}

// cache is the text of a kernel.Cache over the bytes called name.
func (k *kern) cache(name string, s *ir.Value) Code {
	format, ok := cacheFormats[s.Type.DType]
	if !ok {
		k.fail("a cache of %s has no kernel: use f16, q8_0 or f32", s.Type.DType)
	}
	return Qual(pkgKernel, "Cache").Values(Dict{
		Id("Bytes"): Id(name), Id("Cells"): Lit(k.static(s.Type.Dims[1])), Id("Dim"): Lit(k.static(s.Type.Dims[3])),
		Id("Format"): Qual(pkgKernel, format),
	})
}

// emitStoreRows emits the write of values to the cells of their positions:
//
//	c := kernel.Cache{Bytes: cache, Cells: 4096, Dim: 64, Format: kernel.F16}
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		for r := range 2 {
//			c.Store(r, int(pos[t]), x[t*128+r*64:][:64])
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
	k.stmt(Id("c").Op(":=").Add(k.cache("cache", k.v.Args[0])))
	k.cut("t", "n", 1, each("r", heads, raw("c.Store(r, int(pos[t]), %s)", cutSlice("x", rowAt(2, token, row), dim))))
}

// emitAttention emits attention over the cells up to a token's position; a
// group's heads and some tokens share each cell that is read. One token is cut
// into ranges of cells, which all threads take part in:
//
//	a := kernel.Attention{Heads: 16, Groups: 2, K: 256, V: 256, Q: q, QToken: 4096, QHead: 256, …}
//	a.Part(th.Ith, th.Nth, th.Scratch(78976), th.Shared(132096))
//	th.Barrier()
//	a.Merge(th.Ith, th.Nth, th.Shared(132096))
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
	k.name = fmt.Sprintf("attention%s%s_%dx%dof%d", cacheFormats[keys.Type.DType], cacheFormats[values.Type.DType], heads, dim, groups)
	k.scratch = kernel.AttendScratch(heads/groups, dim, vdim)
	k.stmt(Id("a").Op(":=").Qual(pkgKernel, "Attention").Values(Dict{
		Id("Heads"): Lit(heads), Id("Groups"): Lit(groups), Id("Tiled"): Lit(k.v.Attr.Get("map") == "tiled"),
		Id("K"): Lit(dim), Id("V"): Lit(vdim), Id("Q"): Id("q"), Id("QToken"): Lit(token), Id("QHead"): Lit(row),
		Id("Out"): Id("out"), Id("Pos"): Id("pos"), Id("Scale"): Id(f32(k.v.Float("scale"))),
		Id("Keys"): k.cache("keys", keys.Args[0]), Id("Values"): k.cache("values", values.Args[0]),
	}))
	if !q.Dims[0].Is(1) {
		k.stmt(raw("a.Run(n, th.Ith, th.Nth, th.Scratch(%d))", k.scratch))
		return
	}
	k.share(kernel.AttendShared(heads, vdim))
	k.stmt(raw("a.Part(th.Ith, th.Nth, th.Scratch(%d), th.Shared(%d))", k.scratch, k.shared),
		raw("th.Barrier()"), raw("a.Merge(th.Ith, th.Nth, th.Shared(%d))", k.shared))
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
