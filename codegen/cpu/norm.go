package cpu

import (
	"fmt"
	"slices"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/view"
	"qnc/ir"
	"qnc/runtime/panel"
)

// rowShape splits [n, …, width] into rows a token and their width.
func (k *kern) rowShape(t ir.Type) (rows, width int) {
	rows = 1
	for _, d := range t.Dims[1 : t.Rank()-1] {
		rows *= k.static(d)
	}
	return rows, k.static(t.Last())
}

// leading guards the emitters that need a tokens' axis before the rows.
func (k *kern) leading(t ir.Type) bool {
	if t.Rank() < 2 {
		k.fail("%s has no axis before its rows", t)
		return false
	}
	return true
}

// eachRow emits the loops over tokens, cut over the threads, and rows of a token.
func (k *kern) eachRow(rows int, body ...Code) {
	if rows == 1 {
		k.cut("t", "n", 1, body...)
		return
	}
	k.cut("t", "n", 1, each("r", rows, body...))
}

// rowAt is the text of the index of row r of token t; with one row a token there is no r.
func rowAt(rows, token, row int) string {
	if rows == 1 {
		return at("t", token)
	}
	return sum(at("t", token), at("r", row))
}

// rowOf is rowAt; of one token there is no t.
func (k *kern) rowOf(rows, token, row int) string {
	if k.one() && rows > 1 {
		return at("r", row)
	}
	return rowAt(rows, token, row)
}

// emitQuantize emits the quantisation of rows:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		quant.QuantizeA8(out[t*320:][:320], x[t*256:][:256])
//	}
//
// The blocks of one token are dealt to the threads:
//
//	lo, hi := th.Cut(256, 32)
//	kernel.QuantizeRecords(out[lo/32*44:hi/32*44], x[lo:hi])
func emitQuantize(k *kern) {
	t := k.v.Type
	if !k.leading(t) {
		return
	}
	rows, width := k.rowShape(t)
	k.name = fmt.Sprintf("quantize_%s", shapeName(t.Dims))
	k.out("out", k.v, ir.A8)
	token, row := k.rows("x", 0, rows, width)
	k.tokens(t.Dims[0])
	n := k.p.a8Bytes(width)
	if x, parts := k.arg(0), k.deal(rows*width); parts > 0 && k.p.vector && k.fault == nil && k.inOrder(x, token, row, rows, width) {
		k.wrote(parts)
		k.readAlike([]view.View{x}, func(int) bool { return true }, parts)
		k.bounds(rows*width, dealRows)
		k.stmt(k.quantizeRow(raw("%s", span("out", panel.RecordBytes, dealRows)), raw("x[lo:hi]")))
		return
	}
	k.eachRow(rows, k.quantizeRow(
		raw("%s", cutSlice("out", rowAt(rows, rows*n, n), n)), raw("%s", cutSlice("x", rowAt(rows, token, row), width))))
}

// emitUnitNorm emits rms_norm or l2_norm without a weight:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		y := out[t*256:][:256]
//		copy(y, x[t*256:][:256])
//		kernel.L2Normalize(y, 1e-06)
//	}
func emitUnitNorm(k *kern) {
	t := k.v.Type
	if !k.leading(t) {
		return
	}
	rows, width := k.rowShape(t)
	k.name = k.v.Op.String() + "_" + shapeName(t.Dims)
	k.out("out", k.v, ir.F32)
	token, row := k.rows("x", 0, rows, width)
	k.tokens(t.Dims[0])
	fn := map[ir.Op]string{ir.OpRMSNorm: "RMSNormalize", ir.OpL2Norm: "L2Normalize"}[k.v.Op]
	k.eachRow(rows,
		Id("y").Op(":=").Add(raw("%s", cutSlice("out", rowAt(rows, rows*width, width), width))),
		Id("copy").Call(Id("y"), raw("%s", cutSlice("x", rowAt(rows, token, row), width))),
		Qual(pkgKernel, fn).Call(Id("y"), Id(f32(k.v.Float("eps")))))
}

// emitNorm emits residual sum, RMS norm and quantisation in one walk; results
// that nobody reads are left out:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		s := sum[t*256:][:256]
//		kernel.Add(s, x[t*256:][:256], y[t*256:][:256])
//		f := f32[t*256:][:256]
//		kernel.Norm(f, s, w, 1e-06)
//		quant.QuantizeA8(a8[t*320:][:320], f)
//	}
func emitNorm(k *kern) {
	k.normLike("norm", 2, func(rows, width int) {
		k.in("w", 1)
	}, func(s *Statement, width int, eps string) Code {
		return Qual(pkgKernel, "Norm").Call(Id("f"), s, Id("w"), Id(eps))
	})
}

// dealtNorm emits emitNorm for one token, where a thread writes its part of the row:
//
//	lo, hi := th.Cut(256, 32)
//	s := th.Scratch(512)
//	kernel.Add(s[:256], x[:256], y)
//	copy(sum[lo:hi], s[lo:hi])
//	f := f32[lo:hi]
//	kernel.ScaledNorm(f, s[lo:hi], w[lo:], kernel.RMSScale(s[:256], 1e-06))
//	kernel.QuantizeRecords(a8[lo/32*44:hi/32*44], f)
//
// It reports false, and emits nothing, where a thread would read what another has written over.
func (k *kern) dealtNorm(width int, add, sums, floats, a8 bool) bool {
	parts := k.deal(width)
	if parts == 0 || a8 && !k.p.vector || k.fault != nil || hazard(k.reads, k.writes) {
		return false
	}
	for i := range k.writes {
		k.writes[i].parts = parts
	}
	k.bounds(width, dealRows)
	if add || !floats {
		k.scratch = 2 * width
		k.stmt(Id("s").Op(":=").Id("th").Dot("Scratch").Call(Lit(2 * width)))
	}
	s, f := fmt.Sprintf("s[:%d]", width), raw("f32[lo:hi]")
	from := "s"
	if add {
		k.stmt(Qual(pkgKernel, "Add").Call(raw("%s", s), raw("x[:%d]", width), raw("y")))
	} else {
		s, from = fmt.Sprintf("x[:%d]", width), "x"
	}
	if sums {
		k.stmt(Id("copy").Call(raw("sum[lo:hi]"), raw("s[lo:hi]")))
	}
	if !floats {
		f = raw("s[%d:][:hi-lo]", width)
	}
	k.stmt(Id("f").Op(":=").Add(f),
		Qual(pkgKernel, "ScaledNorm").Call(Id("f"), raw("%s[lo:hi]", from), raw("w[lo:hi]"), Qual(pkgKernel, "RMSScale").Call(raw("%s", s), Id(f32(k.v.Float("eps"))))))
	if a8 {
		k.stmt(k.quantizeRow(raw("%s", span("a8", panel.RecordBytes, dealRows)), Id("f")))
	}
	return true
}

// emitGatedNorm emits rms_norm(x) * w * silu(z) for the heads of a token, whose
// rows are quantised as one:
//
//	for t := lo; t < hi; t++ {
//		row := th.Scratch(512)
//		for r := range 8 {
//			f := row[r*64:][:64]
//			kernel.GatedNorm(f, x[t*512+r*64:][:64], w, z[t*512+r*64:][:64], 1e-06)
//		}
//		quant.QuantizeA8(a8[t*640:][:640], row)
//	}
func emitGatedNorm(k *kern) {
	var token, row, count int
	k.normLike("gatedNorm", -1, func(rows, width int) {
		k.in("w", 1)
		token, row = k.rows("z", 2, rows, width)
		count = rows
	}, func(s *Statement, width int, eps string) Code {
		return Qual(pkgKernel, "GatedNorm").Call(Id("f"), s, Id("w"), raw("%s", cutSlice("z", k.rowOf(count, token, row), width)), Id(eps))
	})
}

// dealtHeads emits emitGatedNorm for one token, whose heads are dealt to the threads:
//
//	lo, hi := th.Cut(8, 1)
//	for r := lo; r < hi; r++ {
//		f := th.Scratch(64)
//		kernel.GatedNorm(f, x[r*64:][:64], w, z[r*64:][:64], 1e-06)
//		kernel.QuantizeRecords(a8[r*88:][:88], f)
//	}
//
// It reports false, and emits nothing, where heads share a block of quantised activations.
func (k *kern) dealtHeads(rows, width, token, row int, floats, a8 bool, norm func(s *Statement, width int, eps string) Code) bool {
	if !k.one() || rows == 1 || a8 && (!k.p.vector || width%dealRows != 0) || k.fault != nil || hazard(k.reads, k.writes) {
		return false
	}
	parts := rows
	if x := k.arg(0); k.inOrder(x, token, row, rows, width) {
		if n := k.dealt(x, rows*width); n > 0 && rows%n == 0 {
			parts = n
		}
		k.readAlike([]view.View{x}, func(int) bool { return true }, parts)
	}
	for i := range k.writes {
		k.writes[i].parts = parts
	}
	f := raw("th.Scratch(%d)", width)
	k.scratch = width
	if floats {
		f = raw("%s", cutSlice("f32", at("r", width), width))
	}
	body := []Code{Id("f").Op(":=").Add(f), norm(raw("%s", cutSlice("x", at("r", row), width)), width, f32(k.v.Float("eps")))}
	if a8 {
		n := k.p.a8Bytes(width)
		body = append(body, k.quantizeRow(raw("%s", cutSlice("a8", at("r", n), n)), Id("f")))
	}
	k.cut("r", fmt.Sprint(rows), rows/parts, body...)
	return true
}

// normLike emits the frame of both norms; add is the argument of the residual sum, or -1.
func (k *kern) normLike(name string, add int, more func(rows, width int), norm func(s *Statement, width int, eps string) Code) {
	x := k.v.Args[0].Type
	if !k.leading(x) {
		return
	}
	rows, width := k.rowShape(x)
	words := k.v.Words("out")
	result := func(word string) *ir.Value {
		if i := slices.Index(words, word); i >= 0 {
			return k.result(i)
		}
		return nil
	}
	sums, floats, a8 := result("sum"), result("f32"), result("a8")
	k.name = fmt.Sprintf("%s_%s", name, shapeName(x.Dims))
	token, row := k.rows("x", 0, rows, width)
	out := rowAt(rows, rows*width, width)
	s := raw("%s", cutSlice("x", rowAt(rows, token, row), width))
	var body []Code
	if add >= 0 && len(k.v.Args) > add {
		yt, yr := k.rows("y", add, rows, width)
		to := raw("th.Scratch(%d)[%d:]", 2*width, width)
		k.scratch = 2 * width
		if sums != nil {
			k.out("sum", sums, ir.F32)
			to = raw("%s", cutSlice("sum", out, width))
			k.name += "_sum"
		}
		body = append(body, Id("s").Op(":=").Add(to),
			Qual(pkgKernel, "Add").Call(Id("s"), s, raw("%s", cutSlice("y", rowAt(rows, yt, yr), width))))
		s = Id("s")
	}
	more(rows, width)
	joined := add < 0 && rows > 1 && a8 != nil // a token's rows are quantised as one
	if floats != nil {
		k.out("f32", floats, ir.F32)
		body = append(body, Id("f").Op(":=").Add(raw("%s", cutSlice("f32", out, width))))
		k.name += "_f32"
	} else if joined {
		k.scratch = rows * width
		body = append(body, Id("f").Op(":=").Add(raw("%s", cutSlice("row", at("r", width), width))))
	} else {
		k.scratch = max(k.scratch, width)
		body = append(body, Id("f").Op(":=").Id("th").Dot("Scratch").Call(Lit(width)))
	}
	body = append(body, norm(s, width, f32(k.v.Float("eps"))))
	if a8 != nil {
		k.out("a8", a8, ir.A8)
		k.name += "_a8"
	}
	k.tokens(x.Dims[0])
	if add >= 0 && rows == 1 && k.dealtNorm(width, len(k.v.Args) > add, sums != nil, floats != nil, a8 != nil) {
		return
	}
	if add < 0 && k.dealtHeads(rows, width, token, row, floats != nil, a8 != nil, norm) {
		return
	}
	if a8 == nil {
		k.eachRow(rows, body...)
		return
	}
	if joined {
		n := k.p.a8Bytes(rows * width)
		row := Id("row").Op(":=").Id("th").Dot("Scratch").Call(Lit(rows * width))
		if floats != nil {
			row = Id("row").Op(":=").Add(raw("%s", cutSlice("f32", at("t", rows*width), rows*width)))
		}
		k.cut("t", "n", 1, row, each("r", rows, body...),
			k.quantizeRow(raw("%s", cutSlice("a8", at("t", n), n)), Id("row")))
		return
	}
	n := k.p.a8Bytes(width)
	k.eachRow(rows, append(body, k.quantizeRow(raw("%s", cutSlice("a8", rowAt(rows, rows*n, n), n)), Id("f")))...)
}

// emitTopKMoE emits the router's choice, tokens cut over the threads:
//
//	lo, hi := th.Cut(n, 1)
//	for t := lo; t < hi; t++ {
//		p := th.Scratch(512)
//		copy(p, x[t*512:][:512])
//		kernel.TopK(weights[t*10:][:10], ids[t*10:][:10], p, true, 6.1e-05, 1)
//	}
func emitTopKMoE(k *kern) {
	x := k.v.Args[0].Type
	experts, used := k.static(x.Last()), k.v.Int("k")
	weights, ids := k.result(0), k.result(1)
	if weights == nil || ids == nil {
		if len(k.p.m.Funcs) > 0 {
			k.fail("weights and ids must both be read")
			return
		}
		weights, ids = k.v, k.v // CanRun asks about the op alone
	}
	k.name = fmt.Sprintf("topKMoE_%dof%d", used, experts)
	k.out("weights", weights, ir.F32)
	k.out("ids", ids, ir.I32)
	token, _ := k.rows("x", 0, 1, experts)
	k.tokens(x.Dims[0])
	k.scratch = experts
	k.cut("t", "n", 1,
		Id("p").Op(":=").Id("th").Dot("Scratch").Call(Lit(experts)),
		Id("copy").Call(Id("p"), raw("%s", cutSlice("x", at("t", token), experts))),
		Qual(pkgKernel, "TopK").Call(raw("%s", cutSlice("weights", at("t", used), used)), raw("%s", cutSlice("ids", at("t", used), used)), Id("p"),
			Lit(k.v.Int("norm") == 1), Id(f32(k.v.Float("min"))), Id(f32(k.v.Float("scale")))))
}
