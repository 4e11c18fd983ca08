package cpu

import (
	"fmt"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/view"
	"qnc/ir"
)

// elemwise gives the expression of an op over its operands.
var elemwise = map[ir.Op]func(k *kern, x []*Statement) *Statement{
	ir.OpCont: func(_ *kern, x []*Statement) *Statement { return x[0] },
	ir.OpAdd:  func(_ *kern, x []*Statement) *Statement { return x[0].Op("+").Add(x[1]) },
	ir.OpSub:  func(_ *kern, x []*Statement) *Statement { return x[0].Op("-").Add(x[1]) },
	ir.OpMul:  func(_ *kern, x []*Statement) *Statement { return x[0].Op("*").Add(x[1]) },
	ir.OpDiv:  func(_ *kern, x []*Statement) *Statement { return x[0].Op("/").Add(x[1]) },

	ir.OpExp:      unary("Exp"),
	ir.OpSigmoid:  unary("Sigmoid"),
	ir.OpSilu:     unary("Silu"),
	ir.OpSoftplus: unary("Softplus"),
	ir.OpScale: func(k *kern, x []*Statement) *Statement {
		return x[0].Op("*").Id(k.v.Attr.Get("by"))
	},
	ir.OpClamp: func(k *kern, x []*Statement) *Statement {
		return Id("max").Call(x[0], Id(k.v.Attr.Get("min")))
	},
}

func unary(fn string) func(*kern, []*Statement) *Statement {
	return func(_ *kern, x []*Statement) *Statement { return Qual(pkgKernel, fn).Call(x[0]) }
}

// emitElemwise emits a loop nest over the result with the strides of every operand:
//
//	func mul_Tx8x64(th *engine.Thread, out []float32, x []float32, y []float32, n int) {
//		lo, hi := th.Cut(n, 1)
//		for i0 := lo; i0 < hi; i0++ {
//			for i1 := range 512 {
//				out[i0*512+i1] = x[i0*1024+i1] * y[i1]
//			}
//		}
//	}
//
// An innermost loop over a long row is one call:
//
//	kernel.Mul(out[i0*512:][:512], x[i0*1024:], y[0:])
func emitElemwise(k *kern) {
	expr := elemwise[k.v.Op]
	names := []string{"out", "x", "y"}
	if expr == nil || len(k.v.Args) >= len(names) {
		k.fail("elementwise %s of %d operands has no expression", k.v.Op, len(k.v.Args))
		return
	}
	t := k.v.Type
	k.name = k.v.Op.String() + "_" + shapeName(t.Dims)
	out, err := view.Dense(k.v)
	k.try(err)
	views := []view.View{out}
	k.out("out", k.v, ir.F32)
	for i := range k.v.Args {
		x := k.arg(i)
		if k.fault != nil {
			return
		}
		k.view(names[i+1], x)
		views = append(views, x)
	}
	k.tokens(t.Dims[0])
	loops, err := view.Nest(t.Dims, views, k.v.Attr.Get("map"))
	k.try(err)
	if k.fault != nil {
		return
	}
	if len(loops) == 0 {
		loops = []view.Loop{{N: ir.Num(1), Strides: make([]int, len(views))}}
	}
	index := func(j int) string {
		terms := make([]string, len(loops))
		for i, l := range loops {
			terms[i] = at(fmt.Sprintf("i%d", i), l.Strides[j])
		}
		return sum(terms...)
	}
	var xs []*Statement
	for j := range k.v.Args {
		xs = append(xs, raw("%s[%s]", names[j+1], index(j+1)))
	}
	inner := len(loops) - 1
	body := k.rowCall(loops, names)
	if body == nil {
		body = raw("out[%s]", index(0)).Op("=").Add(expr(k, xs))
		inner = len(loops)
	}
	for i := inner - 1; i > 0; i-- {
		body = For(Id(fmt.Sprintf("i%d", i)).Op(":=").Range().Lit(k.static(loops[i].N))).Block(body)
	}
	n, grain := "n", 1
	if s, ok := loops[0].N.Static(); ok {
		n = fmt.Sprint(s)
		if loops[0].Strides[0] == 1 {
			grain = 16
		}
		if k.one() {
			grain = k.dealElems(loops, views, s, grain)
		}
	}
	if inner == 0 { // one row, cut over the threads
		k.stmt(List(Id("lo"), Id("hi")).Op(":=").Id("th").Dot("Cut").Call(Id(n), Lit(grain)), body)
		return
	}
	k.cut("i0", n, grain, body)
}

// dealElems is the grain of the outermost loop of s over one token: the result is dealt as the
// argument was that a kernel since the last barrier wrote, otherwise as products are.
func (k *kern) dealElems(loops []view.Loop, views []view.View, s, grain int) int {
	elems := k.v.Type.Elems(k.p.max)
	alike := func(j int) bool { // argument j-1 lies as the result
		for _, l := range loops {
			if l.Strides[j] != l.Strides[0] {
				return false
			}
		}
		return views[j].Off == 0 && views[j].Base.Type.Elems(k.p.max) == elems
	}
	parts := s // of a loop around others an iteration is a part
	if len(loops) == 1 {
		parts = k.deal(s)
		for j := 1; j < len(views); j++ {
			if n := k.dealt(views[j], elems); n > 0 && s%n == 0 && alike(j) {
				parts = n
				break
			}
		}
		if parts == 0 {
			return grain
		}
	}
	k.wrote(parts)
	k.readAlike(views[1:], func(j int) bool { return alike(j + 1) }, parts)
	return s / parts
}

// rowOps are the ops with a kernel for a whole row.
var rowOps = map[ir.Op]string{
	ir.OpAdd: "Add", ir.OpMul: "Mul",
	ir.OpExp: "ExpRow", ir.OpSigmoid: "SigmoidRow", ir.OpSilu: "SiluRow", ir.OpSoftplus: "SoftplusRow",
}

// leastRow is the length from which a row is worth a call.
const leastRow = 16

// rowCall is the innermost loop as a call, nil where its rows are short or not
// contiguous. One factor a row is a scale.
func (k *kern) rowCall(loops []view.Loop, names []string) *Statement {
	fn, ok := rowOps[k.v.Op]
	last := loops[len(loops)-1]
	n, static := last.N.Static()
	if !ok || !static || n < leastRow {
		return nil
	}
	from := func(j int) string {
		if len(loops) == 1 {
			return at("lo", last.Strides[j])
		}
		var terms []string
		for i, l := range loops[:len(loops)-1] {
			terms = append(terms, at(fmt.Sprintf("i%d", i), l.Strides[j]))
		}
		return sum(terms...)
	}
	to := raw("%s", cutSlice("out", from(0), n))
	if len(loops) == 1 {
		to = raw("out[lo:hi]")
	}
	args := []Code{to}
	for j := 1; j < len(last.Strides); j++ {
		switch last.Strides[j] {
		case 1:
			args = append(args, raw("%s[%s:]", names[j], from(j)))
		case 0:
			if k.v.Op != ir.OpMul || j != 2 {
				return nil
			}
			fn = "Scale"
			args = append(args, raw("%s[%s]", names[j], from(j)))
		default:
			return nil
		}
	}
	if last.Strides[0] != 1 {
		return nil
	}
	return Qual(pkgKernel, fn).Call(args...)
}

// shapeName is a shape as part of a kernel's name; the tokens' axis is T.
func shapeName(dims []ir.Dim) string {
	s := make([]string, len(dims))
	for i, d := range dims {
		s[i] = d.String()
		if d.Sym != "" {
			s[i] = d.Sym
		}
	}
	return strings.Join(s, "x")
}

// emitGetRows emits the gather of embeddings or of activations:
//
//	func getRowsQ4K_256(th *engine.Thread, out []float32, table []byte, ids []int32, n int) {
//		lo, hi := th.Cut(n, 1)
//		for t := lo; t < hi; t++ {
//			quant.DequantizeQ4K(out[t*256:][:256], table[int(ids[t])*144:][:144])
//		}
//	}
func emitGetRows(k *kern) {
	table, t := k.v.Args[0], k.v.Type
	width := k.static(t.Dims[1])
	if t.Rank() != 2 {
		k.fail("rows of more than one axis have no kernel")
		return
	}
	k.out("out", k.v, ir.F32)
	row := cutSlice("out", at("t", width), width)
	var copyRow Code
	if table.Op == ir.OpWeight {
		kind := k.matrix("table", 0)
		k.name = fmt.Sprintf("getRows%s_%d", kind.Ident, width)
		n := kind.RowBytes(width)
		if table.Type.Layout == Panel {
			k.name += "_" + Panel
			k.scratch = (n + 3) / 4
			copyRow = Qual(pkgKernel, "PanelRow").Call(raw("%s", row), Lit(kind.Name), Id("table"), raw("int(ids[t])"), raw("th.Scratch(%d)", k.scratch))
		} else {
			copyRow = dequantize(kind).Call(raw("%s", row), raw("table[int(ids[t])*%d:][:%d]", n, n))
		}
	} else {
		k.name = fmt.Sprintf("getRows_%d", width)
		stride, _ := k.rows("table", 0, 1, width)
		copyRow = Id("copy").Call(raw("%s", row), raw("table[int(ids[t])*%d:]", stride))
	}
	k.in("ids", 1)
	k.tokens(t.Dims[0])
	k.cut("t", "n", 1, copyRow)
}
