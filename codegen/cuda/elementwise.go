package cuda

import (
	"fmt"
	"strings"

	"qnc/codegen/view"
	"qnc/ir"
)

// expressions give an op over its operands, which are text.
var expressions = map[ir.Op]func(k *kern, x []string) string{
	ir.OpCont:     func(_ *kern, x []string) string { return x[0] },
	ir.OpAdd:      func(_ *kern, x []string) string { return x[0] + " + " + x[1] },
	ir.OpSub:      func(_ *kern, x []string) string { return x[0] + " - " + x[1] },
	ir.OpMul:      func(_ *kern, x []string) string { return x[0] + " * " + x[1] },
	ir.OpDiv:      func(_ *kern, x []string) string { return fmt.Sprintf("div_rn(%s, %s)", x[0], x[1]) },
	ir.OpExp:      function("exp_f"),
	ir.OpSigmoid:  function("sigmoid_f"),
	ir.OpSilu:     function("silu_f"),
	ir.OpSoftplus: function("softplus_f"),
	ir.OpScale:    func(k *kern, x []string) string { return x[0] + " * " + f32(k.v.Float("by")) },
	ir.OpClamp: func(k *kern, x []string) string {
		return fmt.Sprintf("clamp_f(%s, %s)", x[0], f32(k.v.Float("min")))
	},
}

func function(name string) func(*kern, []string) string {
	return func(_ *kern, x []string) string { return name + "(" + x[0] + ")" }
}

// emitElementwise emits a thread an element, whose place in every operand is
// counted from the loops of the result:
//
//	int64_t i2 = i % 512; i /= 512;
//	int64_t i1 = i % 8; i /= 8;
//	out[i*4096 + i1*512 + i2] = x[i*8192 + i1*1024 + i2] * y[i2];
func emitElementwise(k *kern) {
	if len(k.v.Args) > 2 {
		k.fail("elementwise %s of %d operands has no expression", k.v.Op, len(k.v.Args))
		return
	}
	t := k.v.Type
	out, err := view.Dense(k.v)
	k.try(err)
	views := []view.View{out}
	k.out(k.v)
	for i := range k.v.Args {
		x := k.arg(i)
		if k.fault != nil {
			return
		}
		k.view(x)
		views = append(views, x)
	}
	if len(k.v.Args) == 1 {
		k.args = append(k.args, arg{in: nowhere})
	}
	loops, err := view.Nest(t.Dims, views, k.v.Attr.Get("map"))
	k.try(err)
	if k.fault != nil {
		return
	}
	if len(loops) == 0 {
		loops = []view.Loop{{N: ir.Num(1), Strides: make([]int, len(views))}}
	}
	var index []string
	each := 1
	names := make([]string, len(loops))
	names[0] = "i"
	for i := len(loops) - 1; i > 0; i-- {
		n := k.static(loops[i].N)
		each *= n
		names[i] = fmt.Sprintf("i%d", i)
		index = append(index, fmt.Sprintf("int64_t i%d = i %% %d; i /= %d;", i, n, n))
	}
	at := func(j int) string {
		var terms []string
		for i, l := range loops {
			switch s := l.Strides[j]; s {
			case 0:
			case 1:
				terms = append(terms, names[i])
			default:
				terms = append(terms, fmt.Sprintf("%s*%d", names[i], s))
			}
		}
		if len(terms) == 0 {
			return "0"
		}
		return strings.Join(terms, " + ")
	}
	xs := make([]string, len(k.v.Args))
	for j := range xs {
		xs[j] = fmt.Sprintf("%c[%s]", "xy"[j], at(j+1))
	}
	n := loops[0].N
	if _, ok := n.Static(); !ok && n != ir.Sym("T") && n != ir.Sym("R") {
		k.fail("extent %s has no kernel", n)
	}
	k.args = append(k.args, arg{in: isDim, dim: n})
	const threads = 256
	k.launch("elementwise", k.v.Op.String()+"_"+dims(t), threads, 0, fields{
		"Doc": k.v.Op.Info().Doc, "Each": each, "Index": index, "Out": at(0), "Expr": expressions[k.v.Op](k, xs),
	}, extent{n, each, threads})
}

// dims is a shape as part of a kernel's name.
func dims(t ir.Type) string {
	s := make([]any, len(t.Dims))
	for i, d := range t.Dims {
		s[i] = d.String()
		if d.Sym != "" {
			s[i] = "T"
		}
	}
	return tag(s...)
}

// emitGetRows emits the gather of embeddings or of activations.
func emitGetRows(k *kern) {
	table, t := k.v.Args[0], k.v.Type
	if t.Rank() != 2 {
		k.fail("rows of more than one axis have no kernel")
		return
	}
	width := k.static(t.Dims[1])
	threads := warps(width, 256)
	k.out(k.v)
	f := fields{"W": width}
	tmpl, name := "get_rows", ""
	if table.Op == ir.OpWeight {
		f["Kind"] = k.weight(0)
		name = fmt.Sprintf("get_rows_%s_%d", table.Type.DType, width)
	} else {
		tmpl, name = "copy_rows", fmt.Sprintf("copy_rows_%d", width)
		f["XT"], _ = k.rows(0, 1, width)
	}
	k.in(1)
	k.launch(tmpl, name, threads, 0, f, extent{t.Dims[0], 1, 1})
}
