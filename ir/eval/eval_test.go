package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qnc/ir"
)

// i32 marks a tensor of ids, sym a state symbol.
type i32 struct{ Tensor }

type sym struct {
	name  string
	dtype ir.DType
	shape []int // without the sequences
}

func vec(data ...float32) Tensor { return Tensor{[]int{len(data)}, data} }
func ids(data ...float32) i32    { return i32{vec(data...)} }

func (t Tensor) as(shape ...int) Tensor { return Tensor{shape, t.Data} }
func (t i32) as(shape ...int) i32       { return i32{t.Tensor.as(shape...)} }

func random(r *rand.Rand, shape ...int) Tensor {
	t := New(shape...)
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

func dims(shape []int) []ir.Dim {
	out := []ir.Dim{}
	for _, d := range shape {
		out = append(out, ir.Num(d))
	}
	return out
}

// try applies one op to tensors; a tuple gives all its members.
func (e *Env) try(op ir.Op, attrs []any, args ...any) ([]Tensor, error) {
	f := &ir.Func{Name: "f"}
	m := &ir.Module{Name: "m", Funcs: []*ir.Func{f}}
	b := ir.NewBuilder(f)
	var vs []*ir.Value
	var params []Tensor
	for i, a := range args {
		name := fmt.Sprint("a", i)
		switch a := a.(type) {
		case sym:
			s := &ir.Value{Name: a.name, Op: ir.OpState, Mem: ir.NoMem,
				Type: ir.Tensor(a.dtype, append([]ir.Dim{ir.Sym("S")}, dims(a.shape)...)...)}
			m.State = append(m.State, s)
			vs = append(vs, s)
		case i32:
			vs = append(vs, b.Param(name, ir.Tensor(ir.I32, dims(a.Shape)...)))
			params = append(params, a.Tensor)
		case Tensor:
			vs = append(vs, b.Param(name, ir.Tensor(ir.F32, dims(a.Shape)...)))
			params = append(params, a)
		}
	}
	y := b.Add("y", op, vs, attrs...)
	switch {
	case y.Type.IsTuple():
		for i := range y.Type.Tuple {
			f.Results = append(f.Results, b.Add(fmt.Sprint("p", i), ir.OpPart, []*ir.Value{y}, "i", i))
		}
	case !y.Type.IsNone():
		f.Results = []*ir.Value{y}
	}
	if b.Err != nil {
		return nil, b.Err
	}
	if err := m.Verify(); err != nil {
		return nil, err
	}
	return e.Run(f, params)
}

func newEnv() *Env { return &Env{Sizes: ir.Sizes{"S": 2, "C": 4}} }

func (e *Env) all(t *testing.T, op ir.Op, attrs []any, args ...any) []Tensor {
	t.Helper()
	out, err := e.try(op, attrs, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// do applies an op that touches no state and has one result.
func do(t *testing.T, op ir.Op, attrs []any, args ...any) Tensor {
	t.Helper()
	return newEnv().all(t, op, attrs, args...)[0]
}

func at(kv ...any) []any { return kv }

// near reports whether have equals want to tol of want's largest element.
func near(t *testing.T, what string, have, want Tensor, tol float64) {
	t.Helper()
	if fmt.Sprint(have.Shape) != fmt.Sprint(want.Shape) {
		t.Errorf("%s: shape %v, want %v", what, have.Shape, want.Shape)
		return
	}
	big := 0.0
	for _, x := range want.Data {
		big = max(big, math.Abs(float64(x)))
	}
	for i, x := range have.Data {
		if d := math.Abs(float64(x) - float64(want.Data[i])); !(d <= tol*big) {
			t.Errorf("%s: element %d is %v, want %v", what, i, x, want.Data[i])
			return
		}
	}
}

func TestEveryOpHasAMeaning(t *testing.T) {
	for _, o := range ir.Ops() {
		if meanings[o] == nil {
			t.Errorf("%s: no row in meanings", o)
		}
	}
	if len(meanings) != len(ir.Ops()) {
		t.Errorf("%d meanings for %d ops", len(meanings), len(ir.Ops()))
	}
}

// TestOps gives each plain op a small case worked out by hand.
func TestOps(t *testing.T) {
	inf := float32(math.Inf(1))
	x23 := vec(1, 2, 3, 4, 5, 6).as(2, 3)
	for _, c := range []struct {
		op    ir.Op
		attrs []any
		args  []any
		want  Tensor
	}{
		{ir.OpReshape, at("shape", "3,2"), []any{x23}, vec(1, 2, 3, 4, 5, 6).as(3, 2)},
		{ir.OpPermute, at("perm", "1,0"), []any{x23}, vec(1, 4, 2, 5, 3, 6).as(3, 2)},
		{ir.OpPermute, at("perm", "1,2,0"), []any{x23.as(2, 3, 1)}, vec(1, 4, 2, 5, 3, 6).as(3, 1, 2)},
		{ir.OpSlice, at("axis", 1, "start", "1", "len", "2"), []any{x23}, vec(2, 3, 5, 6).as(2, 2)},
		{ir.OpSlice, at("axis", 0, "start", "1", "len", "1"), []any{x23}, vec(4, 5, 6).as(1, 3)},
		{ir.OpCont, nil, []any{x23}, x23},
		{ir.OpTransfer, at("to", "cpu"), []any{x23}, x23},
		{ir.OpRepeat, at("axis", 0, "n", "2", "map", "interleaved"), []any{vec(1, 2).as(2, 1)}, vec(1, 1, 2, 2).as(4, 1)},
		{ir.OpRepeat, at("axis", 0, "n", "2", "map", "tiled"), []any{vec(1, 2).as(2, 1)}, vec(1, 2, 1, 2).as(4, 1)},
		{ir.OpRepeat, at("axis", 1, "n", "3"), []any{vec(1, 2).as(2, 1)}, vec(1, 1, 1, 2, 2, 2).as(2, 3)},
		{ir.OpConcat, at("axis", 0), []any{x23, vec(7, 8, 9).as(1, 3)}, vec(1, 2, 3, 4, 5, 6, 7, 8, 9).as(3, 3)},
		{ir.OpConcat, at("axis", 1), []any{x23, vec(7, 8).as(2, 1)}, vec(1, 2, 3, 7, 4, 5, 6, 8).as(2, 4)},
		{ir.OpPad, at("axis", 1, "len", "4"), []any{x23}, vec(1, 2, 3, 0, 4, 5, 6, 0).as(2, 4)},
		{ir.OpPad, at("axis", 0, "len", "3"), []any{x23}, vec(1, 2, 3, 4, 5, 6, 0, 0, 0).as(3, 3)},

		{ir.OpAdd, nil, []any{x23, vec(10, 20, 30)}, vec(11, 22, 33, 14, 25, 36).as(2, 3)},
		{ir.OpSub, nil, []any{vec(10, 20, 30), x23}, vec(9, 18, 27, 6, 15, 24).as(2, 3)},
		{ir.OpMul, nil, []any{x23, vec(10, 100).as(2, 1)}, vec(10, 20, 30, 400, 500, 600).as(2, 3)},
		{ir.OpMul, at("map", "interleaved"), []any{vec(1, 2, 3, 4), vec(10, 100)}, vec(10, 20, 300, 400)},
		{ir.OpMul, at("map", "tiled"), []any{vec(1, 2, 3, 4), vec(10, 100)}, vec(10, 200, 30, 400)},
		{ir.OpMul, at("map", "interleaved"), []any{vec(1, 2).as(2, 1), vec(1, 2, 3, 4, 5, 6, 7, 8).as(4, 2)}, vec(1, 2, 3, 4, 10, 12, 14, 16).as(4, 2)},
		{ir.OpDiv, nil, []any{vec(1, 2, 3).as(3, 1), vec(2, 4)}, vec(.5, .25, 1, .5, 1.5, .75).as(3, 2)},
		{ir.OpExp, nil, []any{vec(0, 1, -inf)}, vec(1, 2.7182818, 0)},
		{ir.OpSigmoid, nil, []any{vec(0, 100, -100, 1)}, vec(.5, 1, 0, .7310586)},
		{ir.OpSilu, nil, []any{vec(0, 100, -100, 1)}, vec(0, 100, 0, .7310586)},
		{ir.OpSoftplus, nil, []any{vec(0, 1, -100, 20, 20.5, 1e30)}, vec(.6931472, 1.3132616, 0, 20, 20.5, 1e30)},
		{ir.OpScale, at("by", -2.0), []any{vec(1, 2)}, vec(-2, -4)},
		{ir.OpClamp, at("min", 0.5), []any{vec(.2, .5, 3)}, vec(.5, .5, 3)},

		{ir.OpSum, at("axis", 1), []any{x23}, vec(6, 15).as(2, 1)},
		{ir.OpSum, at("axis", 0), []any{x23}, vec(5, 7, 9).as(1, 3)},
		{ir.OpCumsum, nil, []any{x23}, vec(1, 3, 6, 4, 9, 15).as(2, 3)},
		{ir.OpSoftmax, nil, []any{vec(1e30, 1e30, -1e30, -inf)}, vec(.5, .5, 0, 0)},
		{ir.OpSoftmax, nil, []any{vec(0, float32(math.Log(3)))}, vec(.25, .75)},
		{ir.OpRMSNorm, at("eps", 2.0), []any{vec(1, 3, 2, 2)}, vec(1/2.5495098, 3/2.5495098, 2/2.5495098, 2/2.5495098)},
		{ir.OpL2Norm, at("eps", 7.0), []any{vec(3, 0, 3, 0).as(2, 2)}, vec(.75, 0, .75, 0).as(2, 2)},
		{ir.OpTri, at("keep", "lower"), []any{vec(1, 2, 3, 4, 5, 6, 7, 8).as(2, 2, 2)}, vec(1, 0, 3, 4, 5, 0, 7, 8).as(2, 2, 2)},
		{ir.OpTri, at("keep", "strict"), []any{vec(1, 2, 3, 4).as(2, 2)}, vec(0, 0, 3, 0).as(2, 2)},
		{ir.OpTopK, at("k", 3), []any{vec(1, 5, 2, 5, 2)}, vec(1, 3, 2)},

		{ir.OpGetRows, nil, []any{x23, ids(1, 0, 1)}, vec(4, 5, 6, 1, 2, 3, 4, 5, 6).as(3, 3)},
		{ir.OpGather, nil, []any{x23, ids(2, 0, 1, 1).as(2, 2)}, vec(3, 1, 5, 5).as(2, 2)},
		{ir.OpMatMul, nil, []any{x23, vec(1, 0, 0, 1, 1, 1).as(2, 3)}, vec(1, 6, 4, 15).as(2, 2)},
		{ir.OpMatMul, at("map", "interleaved"), []any{vec(1, 2, 3, 4).as(4, 1, 1), vec(10, 100).as(2, 1, 1)}, vec(10, 20, 300, 400).as(4, 1, 1)},
		{ir.OpMatMul, at("map", "tiled"), []any{vec(1, 2, 3, 4).as(4, 1, 1), vec(10, 100).as(2, 1, 1)}, vec(10, 200, 30, 400).as(4, 1, 1)},
		{ir.OpMatMulID, nil, []any{vec(1, 2, 3, 4).as(2, 1, 2), vec(1, 0, 0, 1, 1, 1).as(3, 1, 2), ids(2, 0, 1, 1).as(2, 2)}, vec(3, 1, 4, 4).as(2, 2, 1)},
		{ir.OpMatMulID, nil, []any{vec(1, 2, 3, 4).as(1, 2, 2), vec(1, 0, 0, 1, 1, 1).as(3, 1, 2), ids(2, 0).as(1, 2)}, vec(3, 3).as(1, 2, 1)},
		{ir.OpSolveTri, nil, []any{vec(9, 9, 9, 2, 9, 9, 3, 4, 9).as(3, 3), vec(1, 1, 1).as(3, 1)}, vec(1, -1, 2).as(3, 1)},
		{ir.OpConv, nil, []any{vec(1, 10, 2, 20, 3, 30).as(3, 2), vec(1, 2, 3, 4).as(2, 2)}, vec(5, 110, 8, 180).as(2, 2)},
		{ir.OpRope, at("dims", 2, "base", 10.0), []any{vec(1, 0, 7, 1, 0, 7).as(2, 1, 3), ids(0, 1)}, vec(1, 0, 7, .5403023, .84147098, 7).as(2, 1, 3)},
		{ir.OpRope, at("dims", 4, "base", 100.0), []any{vec(1, 1, 0, 0).as(1, 1, 4), ids(2)}, vec(-.41614684, .98006658, .9092974, .19866933).as(1, 1, 4)},
		{ir.OpQuantize, nil, []any{ramp(1)}, ramp(1)},
	} {
		name := fmt.Sprint(c.op, c.attrs)
		near(t, name, do(t, c.op, c.attrs, c.args...), c.want, 1e-6)
	}
}

// ramp is a block that a8 holds exactly: its largest element is 127 d.
func ramp(d float32) Tensor {
	t := New(1, 32)
	for i := range t.Data {
		t.Data[i] = d * float32(127-8*i)
	}
	return t
}

// TestAffineScan: two chunks of one token, one head, K = V = 1, by hand:
// S1 = 0.5*2 + (3 - 1*2)*10 = 11, S2 = 2*11 + (1 - 4*11)*1 = -21.
func TestAffineScan(t *testing.T) {
	have := do(t, ir.OpAffineScan, nil, vec(.5, 2).as(1, 2), vec(10, 1).as(1, 2, 1, 1), vec(3, 1).as(1, 2, 1, 1),
		vec(1, 4).as(1, 2, 1, 1), vec(2).as(1, 1, 1))
	near(t, "scan", have, vec(2, 11, -21).as(1, 3, 1, 1), 1e-6)
}

// TestScanMap: with map=interleaved and map=tiled a scan over repeated k equals the scan without repeat.
func TestScanMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d, k, u, w, s := random(r, 4, 3), random(r, 2, 3, 5, 6), random(r, 4, 3, 5, 7), random(r, 4, 3, 5, 6), random(r, 4, 7, 6)
	for _, m := range []string{"interleaved", "tiled"} {
		have := do(t, ir.OpAffineScan, at("map", m), d, k, u, w, s)
		kr := do(t, ir.OpRepeat, at("axis", 0, "n", "2", "map", m), k)
		near(t, m, have, do(t, ir.OpAffineScan, nil, d, kr, u, w, s), 1e-6)
	}
}

func TestAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	q, k, v := random(r, 3, 4, 6), random(r, 7, 2, 6), random(r, 7, 2, 5)
	pos := ids(0, 3, 6)
	for _, m := range []string{"interleaved", "tiled"} {
		have := do(t, ir.OpAttention, at("scale", 0.3, "map", m), q, k, v, pos)
		want := New(3, 4, 5)
		for i, p := range pos.Data {
			n := int(p) + 1
			for h := range 4 {
				g := h / 2
				if m == "tiled" {
					g = h % 2
				}
				head := func(x Tensor, rows, h int) Tensor {
					x = do(t, ir.OpSlice, at("axis", 1, "start", fmt.Sprint(h), "len", "1"), x)
					x = do(t, ir.OpSlice, at("axis", 0, "start", "0", "len", fmt.Sprint(rows)), x)
					return x.as(rows, x.Shape[2])
				}
				qt := do(t, ir.OpSlice, at("axis", 0, "start", fmt.Sprint(i), "len", "1"), q)
				a := do(t, ir.OpMatMul, nil, head(qt, 1, h), head(k, n, g))
				a = do(t, ir.OpSoftmax, nil, do(t, ir.OpScale, at("by", 0.3), a))
				o := do(t, ir.OpMatMul, nil, a, do(t, ir.OpPermute, at("perm", "1,0"), head(v, n, g)))
				copy(want.Data[(i*4+h)*5:], o.Data)
			}
		}
		near(t, m, have, want, 1e-6)
	}
}

func TestState(t *testing.T) {
	e := newEnv()
	s := sym{"s", ir.F32, []int{3}}
	if have := e.all(t, ir.OpLoad, nil, s, ids(1))[0]; fmt.Sprint(have.Data) != "[0 0 0]" {
		t.Errorf("state starts as %v, want zeros", have.Data)
	}
	e.all(t, ir.OpStore, nil, s, vec(1, 2, 3), ids(1))
	near(t, "other sequence", e.all(t, ir.OpLoad, nil, s, ids(0))[0], vec(0, 0, 0), 0)
	before := e.all(t, ir.OpLoad, nil, s, ids(1, 1))[0]
	e.all(t, ir.OpStore, nil, s, vec(4, 5, 6), ids(1))
	near(t, "what was loaded stays", before, vec(1, 2, 3), 0)

	c := sym{"c", ir.F16, []int{8, 2}}
	e.all(t, ir.OpStoreRows, nil, c, vec(1, 1+0x1p-12, 3, 2049).as(2, 2), ids(2, 0), ids(1, 1))
	near(t, "cells, rounded to f16", e.all(t, ir.OpLoadRows, nil, c, ids(1))[0], vec(3, 2048, 0, 0, 1, 1, 0, 0).as(4, 2), 0)
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		op    ir.Op
		attrs []any
		args  []any
		want  string
	}{
		{ir.OpGetRows, nil, []any{vec(1, 2).as(2, 1), ids(2)}, "%y = get_rows %a0, %a1 : f32[1,1]: row 2 is outside 0 … 1"},
		{ir.OpGetRows, nil, []any{vec(1, 2).as(2, 1), ids(-1)}, "row -1 is outside"},
		{ir.OpGetRows, nil, []any{vec(1, 2).as(2, 1), ids(float32(math.NaN()))}, "row NaN is outside"},
		{ir.OpGetRows, nil, []any{vec(1, 2).as(2, 1), ids(.5)}, "row 0.5 is outside"},
		{ir.OpGather, nil, []any{vec(1, 2).as(1, 2), ids(1e30).as(1, 1)}, "id 1e+30 is outside"},
		{ir.OpMatMulID, nil, []any{vec(1).as(1, 1, 1), vec(1).as(1, 1, 1), ids(1).as(1, 1)}, "expert 1 is outside"},
		{ir.OpAttention, at("scale", 1.0), []any{vec(1).as(1, 1, 1), vec(1).as(1, 1, 1), vec(1).as(1, 1, 1), ids(1)}, "position 1 is outside"},
		{ir.OpLoad, nil, []any{sym{"s", ir.F32, []int{3}}, ids(2)}, "sequence 2 is outside 0 … 1"},
		{ir.OpLoadRows, nil, []any{sym{"s", ir.F32, []int{3, 1}}, ids(0)}, "4 cells, the cache has 3"},
		{ir.OpStoreRows, nil, []any{sym{"s", ir.F32, []int{3, 1}}, vec(1).as(1, 1), ids(3), ids(0)}, "position 3 is outside"},
		{ir.OpStore, nil, []any{sym{"s", ir.Q4_K, []int{256}}, New(256), ids(0)}, "nothing is rounded to q4_K"},
		{ir.OpRepeat, at("axis", 0, "n", "3000000000"), []any{vec(1)}, "extent 3000000000 is"},
		{ir.OpRepeat, at("axis", 0, "n", "1000000"), []any{New(1, 4096)}, "more than 2147483648 elements"},
		{ir.OpRepeat, at("axis", 0, "n", "R"), []any{vec(1)}, "the size of R is not given"},
	} {
		_, err := newEnv().try(c.op, c.attrs, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %s", c.op, err, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	m, err := ir.Parse(`module m level=graph {
	weight @w : f32[2,3]
	state @s : f32[S,2]
}

func f(%x: f32[T,3], %seq: i32[T]) {
	%y = matmul %x, @w : f32[T,2]
	%n = sum %y {axis=0} : f32[1,2]
	%r = reshape %n {shape=2} : f32[2]
	%o = load @s, %seq : f32[2]
	%p = add %o, %r : f32[2]
	store @s, %p, %seq
	return %p, %x
}
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	e := &Env{
		Sizes:  ir.Sizes{"T": 2, "S": 1},
		Weight: func(v *ir.Value) (Tensor, error) { return vec(1, 0, 0, 0, 1, 1).as(2, 3), nil },
		Trace:  func(v *ir.Value, x Tensor) { seen = append(seen, v.Name) },
	}
	params := []Tensor{vec(1, 2, 3, 4, 5, 6).as(2, 3), vec(0, 0)}
	for i := 1; i <= 3; i++ {
		out, err := e.Run(m.Funcs[0], params)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint("run ", i), out[0], vec(float32(5*i), float32(16*i)), 0)
	}
	if got := strings.Join(seen[:5], " "); got != "y n r o p" {
		t.Errorf("traced %s", got)
	}
	for _, c := range []struct {
		change func()
		want   string
	}{
		{func() { e.Weight = func(*ir.Value) (Tensor, error) { return vec(1), nil } }, "weight @w: have a tensor of shape [1] with 1 elements, want f32[2,3]"},
		{func() { e.Weight = func(*ir.Value) (Tensor, error) { return Tensor{}, fmt.Errorf("gone") } }, "weight @w: gone"},
		{func() { e.Weight = nil }, "weight @w: no weights are given"},
		{func() { e.Sizes["T"] = 3 }, "parameter %x: have a tensor of shape [2 3]"},
		{func() { params = params[:1] }, "1 parameters, want 2"},
	} {
		c.change()
		if _, err := e.Run(m.Funcs[0], params); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("have %v, want %s", err, c.want)
		}
	}
}

// TestRunBudget: what is alive at once is bounded, not what has been.
func TestRunBudget(t *testing.T) {
	const head = "module m {\n\tweight @w : f32[16,16]\n\tstate @s : f32[S,16]\n}\n\nfunc f(%x: f32[16], %seq: i32[T]) {\n"
	for _, c := range []struct {
		body string
		max  int // x has 16 elements, seq 1 until it is known to be unused
		ok   bool
	}{
		{"%a = exp %x : f32[16]\n%b = exp %a : f32[16]\n%c = exp %b : f32[16]\n%d = exp %c : f32[16]\nreturn %d", 16 + 1 + 16, true},
		{"%a = exp %x : f32[16]\n%b = exp %a : f32[16]\n%c = exp %b : f32[16]\n%d = exp %c : f32[16]\nreturn %d", 16 + 16, false},
		{"%a = exp %x : f32[16]\n%b = exp %x : f32[16]\n%c = add %a, %b : f32[16]\nreturn %c, %x", 4 * 16, true},
		{"%a = exp %x : f32[16]\n%b = exp %x : f32[16]\n%c = add %a, %b : f32[16]\nreturn %c, %x", 4*16 - 1, false},
		{"%a = repeat %v {axis=0 n=4} : f32[4,16]\nreturn %a", 16 + 64, true},
		{"%a = repeat %v {axis=0 n=4} : f32[4,16]\nreturn %a", 16 + 63, false},
		{"%m = matmul %v, @w : f32[1,16]\nreturn %m", 16 + 256 + 16, true},
		{"%m = matmul %v, @w : f32[1,16]\nreturn %m", 16 + 256 + 15, false},
		{"store @s, %x, %seq\nreturn %x", 17 + 32, true},
		{"store @s, %x, %seq\nreturn %x", 17 + 31, false},
	} {
		body := c.body
		if strings.Contains(body, "%v") {
			body = "%v = reshape %x {shape=1,16} : f32[1,16]\n" + body
		}
		m, err := ir.Parse(head + body + "\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(); err != nil {
			t.Fatal(err)
		}
		e := &Env{Sizes: ir.Sizes{"T": 1, "S": 2}, MaxElems: c.max, Weight: func(v *ir.Value) (Tensor, error) { return New(v.Type.Shape(nil)...), nil }}
		for range 2 { // a run leaves nothing behind but its state
			_, err = e.Run(m.Funcs[0], []Tensor{New(16), New(1)})
		}
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "elements are alive at once") {
			t.Errorf("%s with %d: %v", body, c.max, err)
		}
	}
}
