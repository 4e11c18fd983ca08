package cuda

import (
	"fmt"
	"strings"

	"qnc/codegen/view"
	"qnc/ir"
)

// expressions give an op over its operands, which are text.
var expressions = map[ir.Op]func(v *ir.Value, x []string) string{
	ir.OpCont:     func(_ *ir.Value, x []string) string { return x[0] },
	ir.OpAdd:      func(_ *ir.Value, x []string) string { return x[0] + " + " + x[1] },
	ir.OpSub:      func(_ *ir.Value, x []string) string { return x[0] + " - " + x[1] },
	ir.OpMul:      func(_ *ir.Value, x []string) string { return x[0] + " * " + x[1] },
	ir.OpDiv:      func(_ *ir.Value, x []string) string { return fmt.Sprintf("div_rn(%s, %s)", x[0], x[1]) },
	ir.OpExp:      function("exp_f"),
	ir.OpSigmoid:  function("sigmoid_f"),
	ir.OpSilu:     function("silu_f"),
	ir.OpSoftplus: function("softplus_f"),
	ir.OpScale:    func(v *ir.Value, x []string) string { return x[0] + " * " + f32(v.Float("by")) },
	ir.OpClamp: func(v *ir.Value, x []string) string {
		return fmt.Sprintf("clamp_f(%s, %s)", x[0], f32(v.Float("min")))
	},
}

func function(name string) func(*ir.Value, []string) string {
	return func(_ *ir.Value, x []string) string { return name + "(" + x[0] + ")" }
}

// A tree is an expression of elementwise values while it is written: the roots'
// arguments that are inlined are written in place of their memory.
type tree struct {
	k       *kern
	leaves  []leaf
	members []*ir.Value // what is inlined
	lines   []string    // declarations of indices
	vars    int
}

// A leaf is an operand in memory; index is the text of its last index.
type leaf struct {
	arg
	index string
}

// expression is the text of the element of v with the linear index at.
func (t *tree) expression(v *ir.Value, at string) string {
	k := t.k
	if len(v.Args) > 2 {
		k.fail("elementwise %s of %d operands has no expression", v.Op, len(v.Args))
		return ""
	}
	out, err := view.Dense(v)
	k.try(err)
	views := []view.View{out}
	for _, a := range v.Args {
		x, err := view.Of(a)
		k.try(err)
		views = append(views, x)
	}
	if k.fault != nil {
		return ""
	}
	loops, err := view.Nest(v.Type.Dims, views, v.Attr.Get("map"))
	k.try(err)
	if k.fault != nil {
		return ""
	}
	// The index of each loop, from the linear one.
	names := make([]string, len(loops))
	below := 1
	for i := len(loops) - 1; i >= 0; i-- {
		switch {
		case len(loops) == 1:
			names[i] = at
		case i == 0:
			names[i] = t.index(fmt.Sprintf("%s / %d", at, below))
		default:
			n := k.static(loops[i].N)
			if below == 1 {
				names[i] = t.index(fmt.Sprintf("%s %% %d", at, n))
			} else {
				names[i] = t.index(fmt.Sprintf("%s / %d %% %d", at, below, n))
			}
			below *= n
		}
	}
	xs := make([]string, len(v.Args))
	for j := range xs {
		x := views[j+1]
		index := linear(names, loops, j+1)
		xs[j] = t.operand(x, index)
	}
	return "(" + expressions[v.Op](v, xs) + ")"
}

// operand is the text of an element of a view: of memory, or of what stands in its place.
func (t *tree) operand(x view.View, index string) string {
	if !t.k.p.inlined[x.Base] {
		return fmt.Sprintf("x%d[%s]", t.leaf(x, index), index)
	}
	t.members = append(t.members, x.Base)
	if x.Off != 0 {
		index += fmt.Sprintf(" + %d", x.Off)
	}
	if strings.Contains(index, " ") {
		index = t.index(index)
	}
	return t.expression(x.Base, index)
}

// row is element i of row j of token t of argument arg, m rows of width a token.
func (t *tree) row(arg, m, width int) string {
	x := t.k.arg(arg)
	if t.k.fault != nil {
		return ""
	}
	token, row, err := x.Rows(t.k.v.Args[arg].Type.Dims[0], m, width)
	t.k.try(err)
	return t.operand(x, fmt.Sprintf("t*%d + j*%d + i", token, row))
}

// operands adds the operands as arguments and returns their parameters.
func (t *tree) operands() string {
	var params strings.Builder
	for i, l := range t.leaves {
		t.k.args = append(t.k.args, l.arg)
		fmt.Fprintf(&params, "const float *x%d, ", i)
	}
	return params.String()
}

// name is that of the whole, what is inlined first.
func (t *tree) name(root string) string {
	for _, m := range t.members {
		root = m.Op.String() + "_" + root
	}
	return root
}

// index declares an index and returns its name.
func (t *tree) index(text string) string {
	t.vars++
	name := fmt.Sprintf("i%d", t.vars)
	t.lines = append(t.lines, fmt.Sprintf("int64_t %s = %s;", name, text))
	return name
}

// leaf adds an operand, or finds it, and returns its number.
func (t *tree) leaf(x view.View, index string) int {
	before := len(t.k.args)
	t.k.view(x)
	a := t.k.args[before]
	t.k.args = t.k.args[:before]
	for i, l := range t.leaves {
		if l.arg == a {
			if l.index != index {
				t.leaves[i].index = ""
			}
			return i
		}
	}
	t.leaves = append(t.leaves, leaf{a, index})
	return len(t.leaves) - 1
}

// linear is the text of an operand's index.
func linear(names []string, loops []view.Loop, j int) string {
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

// emitElementwise emits a thread an element of an expression, whose place in
// every operand is counted from that in the result:
//
//	int64_t i1 = i % 512;
//	int64_t i2 = i / 512 % 8;
//	int64_t i3 = i / 4096;
//	out[i] = (x0[i3*8192 + i2*1024 + i1] * sigmoid_f(x1[i1]));
func emitElementwise(k *kern) {
	v := k.v
	t := &tree{k: k}
	expr := t.expression(v, "i")
	if k.fault != nil {
		return
	}
	n, each := v.Type.Dims[0], 1
	for _, d := range v.Type.Dims[1:] {
		each *= k.static(d)
	}
	k.out(v)
	params := t.operands()
	k.tokens(n)
	const threads = 128
	k.launch("elementwise", t.name(v.Op.String())+"_"+dims(v.Type), threads, 0, fields{
		"Params": params, "Each": each, "Index": t.lines, "Expr": expr,
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
