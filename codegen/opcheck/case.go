package opcheck

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"

	"qnc/ir"
	"qnc/ir/eval"
	"qnc/runtime/quant"
)

// A row is one op on one set of shapes and types.
type row struct {
	Name  string
	Op    ir.Op
	Tol   Tolerance
	build func(b *Case) []*ir.Value // the results to compare
}

// A Case is a row as a function of the module, of n tokens.
type Case struct {
	row
	F      *ir.Func
	States []*ir.Value
	Arena  int // bytes of its values

	l *Lab
	b *ir.Builder
	n ir.Dim

	tok, pos, seq, rows *ir.Value
}

func newCase(l *Lab, c row, name string, n ir.Dim) *Case {
	f := &ir.Func{Name: name}
	b := &Case{row: c, l: l, F: f, b: ir.NewBuilder(f), n: n}
	r := ir.Sym("R")
	if n.Is(1) {
		b.row.Name += " of one token"
		r = n
	}
	b.tok, b.pos = b.b.Param("tok", ir.Tensor(ir.I32, n)), b.b.Param("pos", ir.Tensor(ir.I32, n))
	b.seq, b.rows = b.b.Param("seq", ir.Tensor(ir.I32, n)), b.b.Param("rows", ir.Tensor(ir.I32, r))
	f.Results = c.build(b)
	l.M.Funcs = append(l.M.Funcs, f)
	return b
}

func (b *Case) op(op ir.Op, args []*ir.Value, attrs ...any) *ir.Value {
	return b.b.Add("v", op, args, attrs...)
}

func (b *Case) part(t *ir.Value, i int) *ir.Value {
	return b.op(ir.OpPart, []*ir.Value{t}, "i", i)
}

// shape is [tokens, dims...].
func (b *Case) shape(dims ...int) []ir.Dim {
	out := []ir.Dim{b.n}
	for _, d := range dims {
		out = append(out, ir.Num(d))
	}
	return out
}

func (b *Case) reshape(x *ir.Value, dims ...int) *ir.Value {
	return b.op(ir.OpReshape, []*ir.Value{x}, "shape", b.shape(dims...))
}

func (b *Case) slice(x *ir.Value, axis, start, n int) *ir.Value {
	return b.op(ir.OpSlice, []*ir.Value{x}, "axis", axis, "start", start, "len", n)
}

// plainRows are the normal rows of an input's table; wildRows follow them.
const plainRows = 97

// wildRows change a row of normal numbers. Only the first are used where huge
// numbers have no meaning that two orders of summation share.
var wildRows = []func(x []float32){
	func(x []float32) { clear(x) },
	func(x []float32) { times(x, 1e-40) },
	func(x []float32) { x[len(x)/3] = float32(math.NaN()) },
	func(x []float32) { times(x, 1e15) },
	func(x []float32) { x[len(x)/2] = float32(math.Inf(1)) },
	func(x []float32) { x[0] = float32(math.Inf(-1)) },
}

const tameRows = 3

func times(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

// x is an input [tokens, dims...]: the tokens' rows of a table.
func (b *Case) x(dims ...int) *ir.Value { return b.input(len(wildRows), dims...) }

// tame is x without rows of huge numbers and infinities.
func (b *Case) tame(dims ...int) *ir.Value { return b.input(tameRows, dims...) }

func (b *Case) input(wild int, dims ...int) *ir.Value {
	width := volume(dims)
	table := b.matrix(ir.F32, plainRows+len(wildRows), width)
	x := b.l.Floats[table.Name].Data
	for i := range wild {
		wildRows[i](x[(plainRows+i)*width:][:width])
	}
	quant.QuantizeF32(b.l.Weights[table.Name], x)
	v := b.op(ir.OpGetRows, []*ir.Value{table, b.tok})
	if len(dims) > 1 {
		v = b.reshape(v, dims...)
	}
	return v
}

func volume(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// matrix is a weight of normal numbers as type d has them.
func (b *Case) matrix(d ir.DType, dims ...int) *ir.Value {
	name := fmt.Sprintf("%s.%d", b.F.Name, len(b.l.M.Weights))
	t := ir.Tensor(d)
	for _, n := range dims {
		t.Dims = append(t.Dims, ir.Num(n))
	}
	w := &ir.Value{Name: name, Op: ir.OpWeight, Type: t, Mem: ir.NoMem}
	kind, _ := quant.ByName(d.String())
	h := fnv.New64a()
	io.WriteString(h, name)
	r := rand.New(rand.NewPCG(h.Sum64(), 3))
	x := eval.New(dims...)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	data := make([]byte, t.Bytes(nil))
	kind.Quantize(data, x.Data)
	kind.Dequantize(x.Data, data)
	b.l.M.Weights = append(b.l.M.Weights, w)
	b.l.Weights[name], b.l.Floats[name] = data, x
	return w
}

// state is a state [S, dims...].
func (b *Case) state(d ir.DType, dims ...int) *ir.Value {
	t := ir.Tensor(d, ir.Sym("S"))
	for _, n := range dims {
		t.Dims = append(t.Dims, ir.Num(n))
	}
	s := &ir.Value{Name: fmt.Sprintf("%s.s%d", b.F.Name, len(b.States)), Op: ir.OpState, Type: t, Mem: ir.NoMem}
	b.l.M.State = append(b.l.M.State, s)
	b.States = append(b.States, s)
	return s
}
