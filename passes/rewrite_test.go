package passes

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"qnc/ir"
)

// randomFunc grows a function of random ops over a few parameters and a state:
// what does not infer is left out.
func randomFunc(r *rand.Rand) *ir.Module {
	dim := func() ir.Dim { return []ir.Dim{ir.Num(1), ir.Num(2), ir.Num(3), ir.Num(6), ir.Sym("T")}[r.IntN(5)] }
	dims := func() []ir.Dim {
		out := make([]ir.Dim, 1+r.IntN(3))
		for i := range out {
			out[i] = dim()
		}
		return out
	}
	m := &ir.Module{Name: "random", State: []*ir.Value{{Name: "s", Op: ir.OpState, Mem: ir.NoMem, Type: ir.Tensor(ir.F32, ir.Sym("S"), ir.Num(6), ir.Num(2))}}}
	f := &ir.Func{Name: "f"}
	m.Funcs = []*ir.Func{f}
	b := ir.NewBuilder(f)
	seq := b.Param("seq", ir.Tensor(ir.I32, ir.Num(1)))
	var vals []*ir.Value
	for range 3 {
		vals = append(vals, b.Param("x", ir.Tensor(ir.F32, dims()...)))
	}
	try := func(op ir.Op, args []*ir.Value, attrs ...any) {
		if v, err := ir.NewValue("v"+strconv.Itoa(len(f.Body)), op, slices.Clone(args), attrs...); err == nil {
			if n := v.Type.Elems(ir.Sizes{"T": 65, "S": 1}); v.Type.IsNone() || n <= 1<<14 {
				f.Body = append(f.Body, v)
				if !v.Type.IsNone() {
					vals = append(vals, v)
				}
			}
		}
	}
	maps := []string{"", "interleaved", "tiled"}
	unary := []ir.Op{ir.OpCont, ir.OpSigmoid, ir.OpSoftmax, ir.OpCumsum, ir.OpTri}
	binary := []ir.Op{ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpMatMul, ir.OpSolveTri}
	for range 60 {
		x, y := vals[len(vals)-1-r.IntN(min(len(vals), 4))], vals[r.IntN(len(vals))]
		rank := x.Type.Rank()
		axis := r.IntN(rank)
		one := []*ir.Value{x}
		switch r.IntN(13) {
		case 0, 1, 2:
			try(ir.OpRepeat, one, "axis", axis, "n", dim(), "map", maps[r.IntN(3)])
		case 3:
			try(ir.OpPermute, one, "perm", r.Perm(rank))
		case 4, 5:
			shape := []ir.Dim{}
			for _, d := range x.Type.Dims {
				n, ok := d.Static()
				for _, p := range []int{2, 3} {
					if ok && n%p == 0 && n > p && r.IntN(2) == 0 {
						shape, d = append(shape, ir.Num(p)), ir.Num(n/p)
						break
					}
				}
				if k := len(shape); k > 0 && r.IntN(3) == 0 {
					if a, ok := shape[k-1].Static(); ok {
						shape[k-1] = d.Times(a)
						continue
					}
				}
				shape = append(shape, d)
			}
			if r.IntN(4) == 0 {
				i := r.IntN(len(shape) + 1)
				shape = append(shape[:i:i], append([]ir.Dim{ir.Num(1)}, shape[i:]...)...)
			}
			try(ir.OpReshape, one, "shape", shape)
		case 6:
			try(ir.OpSlice, one, "axis", axis, "start", r.IntN(2), "len", dim())
		case 7:
			try(ir.OpPad, one, "axis", axis, "len", []ir.Dim{ir.Num(6), ir.CeilDiv("T", 64).Times(64)}[r.IntN(2)])
			try(ir.OpConcat, []*ir.Value{x, y}, "axis", axis)
		case 8:
			try(unary[r.IntN(len(unary))], one, "keep", "lower")
			try(ir.OpSum, one, "axis", axis)
		case 9:
			try(ir.OpStore, []*ir.Value{m.State[0], x, seq})
			try(ir.OpLoad, []*ir.Value{m.State[0], seq})
		default:
			for _, mapping := range maps {
				try(binary[r.IntN(len(binary))], []*ir.Value{x, y}, "map", mapping)
			}
		}
	}
	for range 3 {
		f.Results = append(f.Results, vals[len(vals)-1-r.IntN(min(len(vals), 8))])
	}
	for _, v := range f.Body { // attributes that the op does not have
		keep := ir.Attrs{}
		for _, a := range v.Attr {
			for _, spec := range v.Op.Info().Attrs {
				if spec.Name == a.Name {
					keep = append(keep, a)
				}
			}
		}
		v.Attr = keep
	}
	return m
}

// randomRuns is how many graphs TestRandom makes.
const randomRuns = 200

// TestRandom runs the passes that work on any graph on random ones: values
// and states stay equal bit by bit.
func TestRandom(t *testing.T) {
	exact := []*Pass{}
	for _, name := range []string{"elim-repeat", "elim-copy", "cse", "dce"} {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		exact = append(exact, p)
	}
	kept, repeats := 0, 0
	for seed := range uint64(randomRuns) {
		m := randomFunc(rand.New(rand.NewPCG(seed, 2)))
		if err := m.Verify(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m)
		}
		first := m.Clone()
		repeats += count(m.Funcs[0])[ir.OpRepeat]
		for _, p := range exact {
			before := m.Clone()
			if err := Run(m, nil, []*Pass{p}, nil); err != nil {
				t.Fatalf("seed %d: %v\n%s\n%s", seed, err, before, m)
			}
			for _, tokens := range []int{1, 2, 65} {
				if err := sameAt(p, before, m, 0, ir.Sizes{"T": tokens, "S": 2}); err != nil {
					t.Fatalf("seed %d, T=%d: %s: %v\n%s\n%s\nfirst\n%s", seed, tokens, p.Name, err, before, m, first)
				}
			}
		}
		kept += count(m.Funcs[0])[ir.OpRepeat]
	}
	t.Logf("%d of %d repeats left", kept, repeats)
}

// FuzzPasses: whatever verifies, no pass panics or leaves it invalid.
func FuzzPasses(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(a.Files[0].Data))
	}
	f.Fuzz(func(t *testing.T, src string) {
		m, err := ir.Parse(src)
		if err != nil || m.Verify() != nil {
			return
		}
		for _, p := range Default(false) {
			if err := p.Run(m, nil); err != nil {
				return
			}
			if err := m.Verify(); err != nil {
				t.Fatal(fmt.Errorf("after %s: %w\n%s", p.Name, err, m))
			}
		}
	})
}

// TestSinkByClass: an elementwise op needs no row for repeats to sink below it.
func TestSinkByClass(t *testing.T) {
	for _, o := range ir.Ops() {
		n := len(strings.Fields(o.Info().Args))
		if o.Info().Class == ir.Elemwise && n <= 2 && sinkOf(&ir.Value{Op: o, Args: make([]*ir.Value, n)}) == nil {
			t.Errorf("repeats do not sink below %s", o)
		}
	}
	for _, op := range []ir.Op{ir.OpExp, ir.OpAdd} {
		if sinks[op] != nil {
			t.Errorf("%s has a row that says what its class says", op)
		}
	}
}
