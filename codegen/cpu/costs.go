package cpu

import (
	"fmt"
	"reflect"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/ir"
)

const pkgCost = "qnc/runtime/cost"

// costs emits the tables of what the steps' kernels cost, in the order of the calls:
//
//	var decodeLines = []cost.Line{
//		{Kernel: "matmulQ4K_1024x256_panel", Op: "matmul", Value: "Qcur_full-1", …, Cost: cost.Cost{Weights: 147456, …}},
//	}
func (p *program) costs() []Code {
	var out []Code
	for _, f := range p.m.Funcs {
		out = append(out,
			Comment(fmt.Sprintf("%sLines is what the kernels of %s cost, in its order.", f.Name, f.Name)),
			Var().Id(f.Name+"Lines").Op("=").Index().Qual(pkgCost, "Line").ValuesFunc(func(g *Group) {
				for _, l := range p.lines[f] {
					g.Line().Values(literal(l)...)
				}
				g.Line()
			}), Line())
	}
	return out
}

// literal lists the fields of a struct that are not zero.
func literal(x any) []Code {
	var out []Code
	v := reflect.ValueOf(x)
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		name := v.Type().Field(i).Name
		if f.Kind() == reflect.Struct {
			out = append(out, Id(name).Op(":").Qual(pkgCost, f.Type().Name()).Values(literal(f.Interface())...))
			continue
		}
		out = append(out, Id(name).Op(":").Id(fmt.Sprintf("%#v", f.Interface())))
	}
	return out
}

// The products whose speed in the caches is this program's peak: so many rows
// of weights, wide enough to be typical and small enough to stay in the caches,
// times as many rows of activations as a panel passes by.
const (
	peakRows   = 64
	peakWidth  = 1024
	peakTokens = 48
)

// products emits one matrix product for each kind of weight, on operands that stay in the caches:
//
//	var products = []engine.Product{
//		{Format: "q4_K", Int: true, Out: 3072, X: 67584, W: 36864, MACs: 3145728, Product: func(th *engine.Thread, out []float32, x, w []byte) {
//			matmulQ4K_64x1024_panel(th, out, x, w, 48)
//		}},
//	}
func (p *program) products() ([]Code, error) {
	type kind struct {
		d ir.DType
		x ir.DType
	}
	var list []Code
	seen := map[kind]bool{}
	for _, f := range p.m.Funcs {
		for _, v := range f.Body {
			if !productOps[v.Op] {
				continue
			}
			x := v.Args[0].Type.DType
			for _, w := range v.Args[1:] {
				k := kind{w.Type.DType, x}
				if w.Op != ir.OpWeight || w.Type.Rank() < 2 || seen[k] {
					continue
				}
				seen[k] = true
				code, err := p.product(k.d, k.x, w.Type.Layout)
				if err != nil {
					return nil, err
				}
				list = append(list, code)
			}
		}
	}
	return []Code{
		Comment("products are this program's matrix products on operands that stay in the caches."),
		Var().Id("products").Op("=").Index().Qual(pkgEngine, "Product").Values(append(list, Line())...),
	}, nil
}

var productOps = map[ir.Op]bool{ir.OpMatMul: true, ir.OpGateUp: true, ir.OpMatMulID: true, ir.OpMoEGateUp: true, ir.OpMoEDown: true}

// product emits one row of products. The kernel is that of a matmul; its
// operands are those of no model.
func (p *program) product(d, x ir.DType, layout string) (Code, error) {
	q := newProgram(&ir.Module{Bounds: []ir.Bound{{Sym: "T", Max: peakTokens}}})
	q.vector = p.vector
	width := peakWidth
	if !d.Quantised() {
		width += 16 // rows of a power of two would share the sets of a cache
	}
	in := &ir.Value{Name: "x", Op: ir.OpCont, Type: ir.Tensor(x, ir.Sym("T"), ir.Num(width))}
	w := &ir.Value{Name: "peak", Op: ir.OpWeight, Type: ir.Tensor(d, ir.Num(peakRows), ir.Num(width))}
	w.Type.Layout = layout
	v := &ir.Value{Name: "peak", Op: ir.OpMatMul, Args: []*ir.Value{in, w}, Type: ir.Tensor(ir.F32, ir.Sym("T"), ir.Num(peakRows))}
	k := &kern{p: q, v: v}
	emitMatMul(k)
	c, err := codegen.Cost(v, WeightBytes, nil)
	k.try(err)
	if k.fault != nil {
		return nil, k.fault
	}
	k.p, k.cost = p, c
	name := p.function(k)
	for a := range q.asm {
		p.asm[a] = true
	}
	size := 4 * width
	if x == ir.A8 {
		size = p.a8Bytes(width)
	}
	arg := Id("x")
	if x != ir.A8 {
		arg = Qual(pkgKernel, "Floats").Call(Id("x"))
	}
	return Line().Values(
		Id("Format").Op(":").Lit(d.String()), Id("Int").Op(":").Lit(x == ir.A8),
		Id("Out").Op(":").Lit(peakTokens*peakRows), Id("X").Op(":").Lit(peakTokens*size), Id("W").Op(":").Lit(WeightBytes(w)),
		Id("MACs").Op(":").Lit(int(c.MACs)*peakTokens),
		Id("Product").Op(":").Func().Params(Id("th").Op("*").Qual(pkgEngine, "Thread"), Id("out").Index().Float32(), List(Id("x"), Id("w")).Index().Byte()).Block(
			Id(name).Call(Id("th"), Id("out"), arg, Id("w"), Lit(peakTokens)),
		),
	), k.fault
}

// intPerFloat is how many 8-bit multiply-adds the products of a target do in
// the time of one of float32, in the caches. Those of portable and x86-64-v3 are
// measured, the others follow from the width of their instructions.
var intPerFloat = map[string]float64{"portable": 1.1, "x86-64-v3": 2.3, "x86-64-v4": 2.3, "x86-64-v4+vnni": 3.5}

// IntPerFloat is that of a target.
func IntPerFloat(target string) float64 { return intPerFloat[target] }
