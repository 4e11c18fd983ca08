package passes

import (
	"fmt"
	"math/rand/v2"

	"qnc/ir"
)

// randomModule makes a module on the given devices with one function of about
// n ops: chains, views of every kind, tuples whose members are used or not,
// state that is loaded, stored and read through windows. Values that are not
// views are on random devices, state where its symbol is.
func randomModule(r *rand.Rand, n int, devices ...ir.Device) *ir.Module {
	f := &ir.Func{Name: "f"}
	m := &ir.Module{Name: "random", Funcs: []*ir.Func{f}, Bounds: []ir.Bound{{Sym: "T", Max: 6}, {Sym: "S", Max: 2}, {Sym: "C", Max: 9}}}
	for _, d := range devices {
		m.Machine.Devices = append(m.Machine.Devices, ir.DeviceInfo{Name: d})
	}
	pick := func() ir.Device { return devices[r.IntN(len(devices))] }
	t, w := ir.Sym("T"), ir.Num(32)
	symbol := func(op ir.Op, name string, dims ...ir.Dim) *ir.Value {
		return &ir.Value{Name: name, Op: op, Type: ir.Tensor(ir.F32, dims...), On: pick(), Mem: ir.NoMem}
	}
	m.Weights = []*ir.Value{symbol(ir.OpWeight, "w", w, w)}
	m.State = []*ir.Value{symbol(ir.OpState, "s", ir.Sym("S"), ir.Num(1), w), symbol(ir.OpState, "c", ir.Sym("S"), ir.Num(160), w)}
	weight, state, cache := m.Weights[0], m.State[0], m.State[1]

	b := ir.NewBuilder(f)
	pos, seq := b.Param("pos", ir.Tensor(ir.I32, t)), b.Param("seq", ir.Tensor(ir.I32, t))
	pool := []*ir.Value{b.Param("x", ir.Tensor(ir.F32, t, w))} // all of type f32[T,32]
	add := func(op ir.Op, args []*ir.Value, attrs ...any) *ir.Value {
		v := b.Add("v", op, args, attrs...)
		switch {
		case v.Effect() != ir.Pure:
			v.On = args[0].On
		case op.IsView() && args[0].On != "":
			v.On = args[0].On
		default:
			v.On = pick()
		}
		return v
	}
	any := func() *ir.Value { return pool[r.IntN(len(pool))] }
	vs := func(v ...*ir.Value) []*ir.Value { return v }
	cells := add(ir.OpLoadRows, vs(cache, seq))
	makers := []func() *ir.Value{
		func() *ir.Value { return add(ir.OpSigmoid, vs(any())) },
		func() *ir.Value { return add([]ir.Op{ir.OpAdd, ir.OpMul}[r.IntN(2)], vs(any(), any())) },
		func() *ir.Value { return add(ir.OpSub, vs(any(), add(ir.OpSum, vs(any()), "axis", 1))) },
		func() *ir.Value { return add(ir.OpMatMul, vs(any(), weight)) },
		func() *ir.Value {
			y := add(ir.OpPermute, vs(any()), "perm", "1,0")
			if r.IntN(2) == 0 {
				y = add(ir.OpSigmoid, vs(y))
			}
			return add(ir.OpPermute, vs(y), "perm", "1,0")
		},
		func() *ir.Value { // a value and a view of it in another order, of equal size
			x := any()
			y := add(ir.OpReshape, vs(x), "shape", "T,4,8")
			z := add(ir.OpPermute, vs(y), "perm", "0,2,1")
			z = add(ir.OpReshape, vs(add(ir.OpCont, vs(z))), "shape", "T,32")
			return add(ir.OpAdd, vs(x, z))
		},
		func() *ir.Value {
			y := add(ir.OpSlice, vs(any()), "axis", 1, "start", "8", "len", "16")
			return add(ir.OpConcat, vs(y, add(ir.OpSigmoid, vs(y))), "axis", 1)
		},
		func() *ir.Value { // members of a tuple, some of them, in any order, perhaps twice
			y := add(ir.OpNorm, vs(any(), add(ir.OpReshape, vs(add(ir.OpSlice, vs(weight), "axis", 0, "start", "3", "len", "1")), "shape", "32"), any()),
				"eps", 1e-6, "out", "sum,f32,a8")
			out := add(ir.OpPart, vs(y), "i", r.IntN(2))
			if r.IntN(2) == 0 {
				pool = append(pool, add(ir.OpPart, vs(y), "i", r.IntN(2)))
			}
			if r.IntN(2) == 0 {
				pool = append(pool, add(ir.OpMatMul, vs(add(ir.OpPart, vs(y), "i", 2), weight)))
			}
			return out
		},
		func() *ir.Value {
			x := any()
			x = add(ir.OpAdd, vs(x, add(ir.OpLoad, vs(state, seq))))
			if r.IntN(2) == 0 {
				last := add(ir.OpSlice, vs(x), "axis", 0, "start", "0", "len", "1")
				add(ir.OpStore, vs(state, last, seq))
			}
			return x
		},
		func() *ir.Value {
			if r.IntN(3) == 0 {
				add(ir.OpStoreRows, vs(cache, any(), pos, seq))
				cells = add(ir.OpLoadRows, vs(cache, seq))
			}
			s := add(ir.OpMatMul, vs(any(), cells))
			v := add(ir.OpPermute, vs(cells), "perm", "1,0")
			return add(ir.OpMatMul, vs(add(ir.OpSoftmax, vs(s)), v))
		},
	}
	for len(f.Body) < n {
		pool = append(pool, makers[r.IntN(len(makers))]())
	}
	for range 1 + r.IntN(3) {
		f.Results = append(f.Results, any())
	}
	if b.Err != nil {
		panic(b.Err)
	}
	if err := m.Verify(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, m))
	}
	return m
}
