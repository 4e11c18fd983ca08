package passes

import "qnc/ir"

// actBound is the bound that quantize-acts states: |after - before| of one
// product over the largest |before|. An element of a block is off by at most
// max|x| / 254; that much of each term, of either sign, is what a sum sees.
const actBound = 0.02

// quantizeActs gives products with block-quantised weights their activations
// as a8, quantised once for all users. Products with f32, f16 and bf16 weights
// keep f32 activations.
func quantizeActs(m *ir.Module, f *ir.Func, t *Target) error {
	q := &quantizer{names: newNamer(f), made: map[*ir.Value]*ir.Value{}}
	for _, v := range f.Body {
		if err := q.value(m, v, t); err != nil {
			return err
		}
		q.body = append(q.body, v)
	}
	f.Body = q.body
	f.Sweep()
	return nil
}

type quantizer struct {
	names namer
	made  map[*ir.Value]*ir.Value // activation → its a8
	body  []*ir.Value
}

// weightArgs lists the products: which arguments are weights; argument 0 is the activation.
var weightArgs = map[ir.Op][]int{
	ir.OpMatMul: {1}, ir.OpMatMulID: {1}, ir.OpGateUp: {1, 2}, ir.OpMoEGateUp: {1, 2}, ir.OpMoEDown: {1},
}

func (q *quantizer) value(m *ir.Module, v *ir.Value, t *Target) error {
	args := weightArgs[v.Op]
	if args == nil || v.Args[0].Type.DType != ir.F32 {
		return nil
	}
	for _, i := range args {
		if w := v.Args[i]; w.Op != ir.OpWeight || !w.Type.DType.Quantised() {
			return nil
		}
	}
	x := v.Args[0]
	if n, ok := x.Type.Last().Static(); !ok || n%ir.A8.Info().BlockElems != 0 {
		return nil
	}
	old := v.Args[0]
	a, err := q.quantized(x)
	if err != nil {
		return err
	}
	v.Args[0] = a
	if !t.canRun(m, v) {
		v.Args[0] = old
	}
	return nil
}

// quantized returns x as a8. Reshapes that keep the rows are quantised before
// them, so that a token's activation is quantised once whatever its shape.
func (q *quantizer) quantized(x *ir.Value) (*ir.Value, error) {
	if a := q.made[x]; a != nil {
		return a, nil
	}
	op, arg, attrs := ir.OpQuantize, x, []any(nil)
	if x.Op == ir.OpReshape && x.Args[0].Type.Last() == x.Type.Last() {
		a, err := q.quantized(x.Args[0])
		if err != nil {
			return nil, err
		}
		op, arg, attrs = ir.OpReshape, a, []any{"shape", x.Type.Dims}
	}
	a, err := ir.NewValue(q.names.fresh(x.Name+"_a8"), op, []*ir.Value{arg}, attrs...)
	if err != nil {
		return nil, err
	}
	q.made[x] = a
	q.body = append(q.body, a)
	return a, nil
}
