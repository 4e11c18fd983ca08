package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

	"qnc/ir"
	"qnc/runtime/kernel"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// rowGrain is the least number of output rows that a thread takes: 16 floats are a cache line.
const rowGrain = 16

// grain is the least rows that a thread takes of a product.
func (k *kern) grain(rows int) int {
	if k.deal(rows) > 0 {
		return dealRows
	}
	return rowGrain
}

// An operand is the activation side of a product: rows of a8 or of f32.
type operand struct {
	name   string
	a8     bool
	width  int
	token  int // stride of a token, in bytes (a8) or floats
	row    int // stride of a row within a token
	rowLen int // bytes or floats of a row
}

// operand adds argument i as rows of width elements, m a token.
func (k *kern) operand(name string, i, m, width int) operand {
	x := k.v.Args[i]
	o := operand{name: name, a8: x.Type.DType == ir.A8, width: width, rowLen: width}
	if o.a8 {
		o.rowLen = k.p.a8Bytes(width)
	}
	token, row := k.rows(name, i, m, width)
	if o.a8 && (row != width && m > 1 || token != m*width) {
		k.fail("quantised rows of %s are not contiguous", x)
	}
	o.token, o.row = token/width*o.rowLen, row/width*o.rowLen
	if !o.a8 {
		o.token, o.row = token, row
	}
	return o
}

// dot is the product of a weight row (text) and the operand's row that starts at i.
func (o operand) dot(kind *quant.Kind, row, i string) *Statement {
	if o.a8 {
		return Qual(pkgQuant, "DotA8"+kind.Ident).Call(raw("%s", row), Qual(pkgQuant, "ViewA8").Call(raw("%s[%s:]", o.name, i), Lit(o.width)))
	}
	return Qual(pkgQuant, "DotF32"+kind.Ident).Call(raw("%s", row), raw("%s", cutSlice(o.name, i, o.width)))
}

func (o operand) suffix() string {
	if o.a8 {
		return ""
	}
	return "F32"
}

// emitMatMul emits a product with a weight, a range of its rows a thread. With
// quantised activations:
//
//	func matmulQ4K_1024x256(th *engine.Thread, out []float32, x []byte, w []byte, n int) {
//		lo, hi := th.Cut(1024, 16)
//		for i := lo; i < hi; i++ {
//			row := w[i*144:][:144]
//			for t := range n {
//				out[t*1024+i] = quant.DotA8Q4K(row, quant.ViewA8(x[t*320:], 256))
//			}
//		}
//	}
//
// With f32 activations rows are decoded to f32 and serve all tokens:
//
//	lo, hi := th.Cut(1024, 16)
//	kernel.MatMul(out, 1024, x, 256, w, 512, kernel.DequantizeF16, lo, hi, n, 256, th.Scratch(8192))
func emitMatMul(k *kern) {
	w := k.v.Args[1]
	if w.Type.Rank() != 2 || k.v.Type.Rank() != 2 {
		k.fail("a batched product has no kernel")
		return
	}
	rows, width := k.static(w.Type.Dims[0]), k.static(w.Type.Dims[1])
	k.out("out", k.v, ir.F32)
	x := k.operand("x", 0, 1, width)
	kind := k.matrix("w", 1)
	k.tokens(k.v.Type.Dims[0])
	k.name = fmt.Sprintf("matmul%s%s_%dx%d", kind.Ident, x.suffix(), rows, width)
	size := kind.RowBytes(width)
	from := fmt.Sprintf("w[%s:][:%d]", at("i", size), size)
	to := raw("out[%s]", sum(at("t", rows), "i"))
	k.wrote(k.deal(rows))
	if p, ok := k.panel(1); ok {
		k.panelCall("PanelMatMul", p.panels, k.product(0), []Code{Id("out"), Lit(rows), Id("x"), Lit(x.token), p.value("w")})
		return
	}
	if x.a8 {
		k.cut("i", fmt.Sprint(rows), k.grain(rows),
			Id("row").Op(":=").Add(raw("%s", from)),
			each("t", "n", to.Op("=").Add(x.dot(kind, "row", at("t", x.token)))))
		return
	}
	k.scratch = kernel.MatMulScratch(width)
	decode := dequantize(kind)
	if kind.Ident == "F32" {
		decode = Nil()
	}
	k.bounds(rows, k.grain(rows))
	k.stmt(Qual(pkgKernel, "MatMul").Call(Id("out"), Lit(rows), Id("x"), Lit(x.token), Id("w"), Lit(size), decode,
		Id("lo"), Id("hi"), Id("n"), Lit(width), raw("th.Scratch(%d)", k.scratch)))
}

// emitGateUp emits silu(x gateᵀ) * (x upᵀ), a range of rows of both a thread:
//
//	lo, hi := th.Cut(512, 16)
//	for i := lo; i < hi; i++ {
//		g, u := gate[i*144:][:144], up[i*144:][:144]
//		for t := range n {
//			out[t*512+i] = kernel.Silu(quant.DotA8Q4K(g, …)) * quant.DotA8Q4K(u, …)
//		}
//	}
func emitGateUp(k *kern) {
	w := k.v.Args[1].Type
	rows, width := k.static(w.Dims[0]), k.static(w.Dims[1])
	k.out("out", k.v, ir.F32)
	x := k.operand("x", 0, 1, width)
	g, u := k.matrix("gate", 1), k.matrix("up", 2)
	k.tokens(k.v.Type.Dims[0])
	k.name = fmt.Sprintf("gateUp%s%s%s_%dx%d", g.Ident, u.Ident, x.suffix(), rows, width)
	k.wrote(k.deal(rows))
	if p, ok := k.panel(1); ok {
		q, _ := k.panel(2)
		k.panelCall("PanelGateUp", p.panels, k.product(0), []Code{Id("out"), Lit(rows), Id("x"), Lit(x.token), p.value("gate"), q.value("up")})
		return
	}
	gs, us := g.RowBytes(width), u.RowBytes(width)
	k.cut("i", fmt.Sprint(rows), k.grain(rows),
		raw("g, u := gate[%s:][:%d], up[%s:][:%d]", at("i", gs), gs, at("i", us), us),
		each("t", "n", raw("out[%s]", sum(at("t", rows), "i")).Op("=").
			Qual(pkgKernel, "Silu").Call(x.dot(g, "g", at("t", x.token))).Op("*").Add(x.dot(u, "u", at("t", x.token)))))
}

// experts adds ids and gives the shape of a product by expert: k experts a
// token, rows of width. x has one row a token, or one an expert.
func (k *kern) experts(x, w, ids int) (used, rows, width int, in operand) {
	wt := k.v.Args[w].Type
	rows, width = k.static(wt.Dims[1]), k.static(wt.Dims[2])
	used = k.static(k.v.Args[ids].Type.Dims[1])
	per := k.static(k.v.Args[x].Type.Dims[1])
	in = k.operand("x", x, per, width)
	if per == 1 {
		in.row = 0
	}
	return used, rows, width, in
}

// emitMatMulID emits a product by expert:
//
//	lo, hi := th.Cut(256, 16)
//	for t := range n {
//		for j := range 4 {
//			e := int(ids[t*4+j]) * 256
//			for i := lo; i < hi; i++ {
//				out[t*1024+j*256+i] = quant.DotA8Q4K(w[(e+i)*144:][:144], …)
//			}
//		}
//	}
func emitMatMulID(k *kern) {
	k.out("out", k.v, ir.F32)
	used, rows, width, x := k.experts(0, 1, 2)
	kind := k.matrix("w", 1)
	k.in("ids", 2)
	k.tokens(k.v.Type.Dims[0])
	k.name = fmt.Sprintf("matmulID%s%s_%dx%d", kind.Ident, x.suffix(), rows, width)
	if p, ok := k.panel(1); ok {
		k.panelCall("PanelMatMulID", p.panels, k.product(used), []Code{Id("out"), Lit(rows), Id("x"), k.routing(1, used, x), p.value("w")})
		return
	}
	n := kind.RowBytes(width)
	k.eachExpert(rows, used,
		raw("out[%s]", sum(at("t", used*rows), at("j", rows), "i")).Op("=").
			Add(x.dot(kind, fmt.Sprintf("w[(e+i)*%d:][:%d]", n, n), sum(at("t", x.token), at("j", x.row)))))
}

// eachExpert emits the loops of a product by expert around body.
func (k *kern) eachExpert(rows, used int, body Code) {
	k.stmt(List(Id("lo"), Id("hi")).Op(":=").Id("th").Dot("Cut").Call(Lit(rows), Lit(rowGrain)))
	k.stmt(each("t", "n", each("j", used,
		raw("e := int(ids[%s]) * %d", sum(at("t", used), "j"), rows),
		For(raw("i := lo"), raw("i < hi"), raw("i++")).Block(body))))
}

// emitMoEGateUp emits emitGateUp by expert, with the loops of emitMatMulID.
func emitMoEGateUp(k *kern) {
	k.out("out", k.v, ir.F32)
	used, rows, width, x := k.experts(0, 1, 3)
	g, u := k.matrix("gate", 1), k.matrix("up", 2)
	k.in("ids", 3)
	k.tokens(k.v.Type.Dims[0])
	k.name = fmt.Sprintf("moeGateUp%s%s%s_%dx%d", g.Ident, u.Ident, x.suffix(), rows, width)
	if p, ok := k.panel(1); ok {
		q, _ := k.panel(2)
		if parts := k.deal(used * rows); parts > 0 && rows%dealRows == 0 {
			k.wrote(parts)
			k.panelCall("TokenMoEGateUp", used*p.panels, kernel.TokenScratch(used, rows), []Code{Id("out"), Id("x"), k.routing(1, used, x), p.value("gate"), q.value("up")})
			return
		}
		k.panelCall("PanelMoEGateUp", p.panels, k.product(used), []Code{Id("out"), Lit(rows), Id("x"), k.routing(1, used, x), p.value("gate"), q.value("up")})
		return
	}
	gs, us := g.RowBytes(width), u.RowBytes(width)
	i := sum(at("t", x.token), at("j", x.row))
	k.eachExpert(rows, used,
		raw("out[%s]", sum(at("t", used*rows), at("j", rows), "i")).Op("=").
			Qual(pkgKernel, "Silu").Call(x.dot(g, fmt.Sprintf("gate[(e+i)*%d:][:%d]", gs, gs), i)).Op("*").
			Add(x.dot(u, fmt.Sprintf("up[(e+i)*%d:][:%d]", us, us), i)))
}

// emitMoEDown emits the weighted sum of the experts' products. Plain Go takes a
// token's experts in the order of ids, panels in ascending order of experts:
//
//	lo, hi := th.Cut(256, 16)
//	for t := range n {
//		clear(out[t*256+lo : t*256+hi])
//		for j := range 4 {
//			e, p := int(ids[t*4+j])*256, weights[t*4+j]
//			for i := lo; i < hi; i++ {
//				out[t*256+i] += float32(p * quant.DotA8Q4K(w[(e+i)*144:][:144], …))
//			}
//		}
//	}
func emitMoEDown(k *kern) {
	k.out("out", k.v, ir.F32)
	used, rows, width, x := k.experts(0, 1, 2)
	kind := k.matrix("w", 1)
	k.in("ids", 2)
	k.in("weights", 3)
	k.tokens(k.v.Type.Dims[0])
	k.name = fmt.Sprintf("moeDown%s%s_%dx%d", kind.Ident, x.suffix(), rows, width)
	k.wrote(k.deal(rows))
	if p, ok := k.panel(1); ok {
		if k.one() && rows%panel.Rows == 0 {
			k.panelCall("TokenMoEDown", p.panels, kernel.TokenScratch(used, rows), []Code{Id("out"), Id("x"), k.routing(1, used, x), Id("weights"), p.value("w")})
			return
		}
		k.panelCall("PanelMoEDown", p.panels, k.product(used), []Code{Id("out"), Lit(rows), Id("x"), k.routing(1, used, x), Id("weights"), p.value("w")})
		return
	}
	n := kind.RowBytes(width)
	item := sum(at("t", used), "j")
	k.stmt(List(Id("lo"), Id("hi")).Op(":=").Id("th").Dot("Cut").Call(Lit(rows), Lit(k.grain(rows))))
	k.stmt(each("t", "n",
		Id("clear").Call(raw("out[%s:%s]", sum(at("t", rows), "lo"), sum(at("t", rows), "hi"))),
		each("j", used,
			raw("e, p := int(ids[%s])*%d, weights[%s]", item, rows, item),
			For(raw("i := lo"), raw("i < hi"), raw("i++")).Block(
				raw("out[%s]", sum(at("t", rows), "i")).Op("+=").Float32().Call(Id("p").Op("*").
					Add(x.dot(kind, fmt.Sprintf("w[(e+i)*%d:][:%d]", n, n), sum(at("t", x.token), at("j", x.row)))))))))
}
