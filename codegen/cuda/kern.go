package cuda

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"qnc/codegen/view"
	"qnc/ir"
	"qnc/runtime/quant"
)

// An extent is a count of blocks: ceil(per * tokens / by), where tokens is a
// dim of the step.
type extent struct {
	tokens  ir.Dim
	per, by int
}

// at is the extent for a step.
func (e extent) at(s ir.Sizes) int { return (e.per*e.tokens.At(s) + e.by - 1) / e.by }

func blocks(n int) extent { return extent{ir.Num(n), 1, 1} }

// An arg is one argument of a launch: memory, or the number of a dim.
type arg struct {
	in  place
	v   *ir.Value // of an arena, a weight or a state
	off int       // bytes
	dim ir.Dim

	written bool
}

type place int

const (
	inArena   place = iota
	inWeights       // v as it is packed
	inState         // of sequence 0
	inInput         // v is a parameter of the function
	inScratch       // behind the arena: an op's alone
	inRoute         // behind it: rows by expert, which ops of the same routing share
	nowhere         // a result that nobody reads
	isDim           // dim is the argument
)

// A launch is a kernel with its grid and arguments, for any number of tokens
// or for few or many of a dim of the step.
type launch struct {
	kernel *kernel
	grid   [3]extent
	args   []arg
	when   when
	tokens ir.Dim
}

type when int

const (
	always when = iota
	few         // at most fewTokens: each token reads the weights
	many        // more: tokens share them
)

// fewTokens is how many tokens at most are multiplied one by one.
const fewTokens = 8

// runs reports whether l is part of a step.
func (l *launch) runs(s ir.Sizes) bool {
	return l.when == always || (l.tokens.At(s) <= fewTokens) == (l.when == few)
}

// A body is one instance of a template: a function that kernels call.
type body struct {
	name, text string
	params     []string // with their types
	threads    int
}

// A kernel calls a body, or several that share its blocks.
type kernel struct {
	name            string
	threads, shared int // shared: dynamic, bytes
	text            string
	bodies          []*body
}

// kern builds the launches that compute v within the program p.
type kern struct {
	p        *program
	v        *ir.Value
	args     []arg
	launches []launch
	fault    error
	when     when // of the launches to come
}

func (k *kern) fail(format string, args ...any) {
	if k.fault == nil {
		k.fault = fmt.Errorf("%s: %s", k.v.LongString(), fmt.Sprintf(format, args...))
	}
}

func (k *kern) try(err error) {
	if err != nil {
		k.fail("%v", err)
	}
}

// fields are the values of a template.
type fields map[string]any

// maxBlocks is the limit of the second and third extents of a grid.
const maxBlocks = 65535

// launch adds a launch of an instance of a template, with the arguments so far.
func (k *kern) launch(template, name string, threads, shared int, f fields, grid ...extent) {
	l := launch{args: k.args, when: k.when, grid: [3]extent{blocks(1), blocks(1), blocks(1)}}
	copy(l.grid[:], grid)
	k.args = nil
	if k.fault != nil {
		return
	}
	if k.when != always {
		l.tokens = k.v.Args[0].Type.Dims[0]
	}
	for _, g := range l.grid[1:] {
		if n := g.at(k.p.m.MaxSizes()); n > maxBlocks {
			k.fail("a grid of %d blocks: %d at most", n, maxBlocks)
			return
		}
	}
	f["Threads"] = threads
	var err error
	if l.kernel, err = k.p.kernel(template, name, threads, shared, f); err != nil {
		k.fail("BUG: %v", err)
	}
	k.launches = append(k.launches, l)
}

// out adds a result, or nothing for a member of a tuple that nobody reads.
func (k *kern) out(v *ir.Value) {
	if v == nil {
		k.args = append(k.args, arg{in: nowhere})
		return
	}
	k.args = append(k.args, arg{in: inArena, v: v, written: true})
}

// scratch adds n bytes behind the arena, which are the op's alone.
func (k *kern) scratch(n int) {
	k.p.scratch = max(k.p.scratch, n)
	k.args = append(k.args, arg{in: inScratch})
}

// route adds the lists of rows by expert at off bytes of n.
func (k *kern) route(off, n int) {
	k.p.route = max(k.p.route, n)
	k.args = append(k.args, arg{in: inRoute, off: off})
}

// view adds what a view looks into.
func (k *kern) view(x view.View) {
	a := arg{v: x.Base, off: x.Off * 4}
	switch x.Base.Op {
	case ir.OpWeight:
		if x.Base.Type.DType != ir.F32 {
			k.fail("weight %s is no vector of f32", x.Base)
		}
		a.in = inWeights
	case ir.OpParam:
		a.in = inInput
	case ir.OpLoadRows, ir.OpLoad, ir.OpState:
		k.fail("state is read by its own kernels only")
	default:
		if d := x.Base.Type.DType; d == ir.A8 {
			a.off = x.Off / 32 * ir.A8.Info().BlockBytes
		}
	}
	k.args = append(k.args, a)
}

// arg is the view of argument i.
func (k *kern) arg(i int) view.View {
	x, err := view.Of(k.v.Args[i])
	k.try(err)
	return x
}

// in adds argument i as it lies, whole.
func (k *kern) in(i int) {
	if x := k.arg(i); k.fault == nil {
		k.view(x)
	}
}

// rows adds argument i as rows of width elements, m a token, and returns the
// strides of token and row in elements.
func (k *kern) rows(i, m, width int) (token, row int) {
	x := k.arg(i)
	if k.fault != nil {
		return 0, 0
	}
	k.view(x)
	token, row, err := x.Rows(k.v.Args[i].Type.Dims[0], m, width)
	k.try(err)
	return token, row
}

// heads adds argument i, [n, heads, dim], and returns its shape and strides.
func (k *kern) heads(i int) (heads, dim, token, row int) {
	t := k.v.Args[i].Type
	if t.Rank() != 3 {
		k.fail("%s is not [tokens, heads, dim]", t)
		return
	}
	heads, dim = k.static(t.Dims[1]), k.static(t.Dims[2])
	token, row = k.rows(i, heads, dim)
	return heads, dim, token, row
}

// weight adds argument i, a matrix, and returns the name of its format.
func (k *kern) weight(i int) string {
	w := k.v.Args[i]
	if w.Op != ir.OpWeight {
		k.fail("argument %s is no weight", w)
		return ""
	}
	if w.Type.Layout != "" {
		k.fail("weight %s has the layout %s of another device", w, w.Type.Layout)
	}
	k.args = append(k.args, arg{in: inWeights, v: w})
	kind, ok := quant.ByName(w.Type.DType.String())
	if !ok {
		k.fail("weight %s has type %s, for which there is no kernel", w, w.Type.DType)
		return ""
	}
	return "Kind" + strings.ToUpper(kind.Name)
}

// state adds a state symbol and returns its bytes for one sequence, or for
// recurrent state those of all of a sequence's symbols, as floats.
func (k *kern) state(s *ir.Value) int {
	k.args = append(k.args, arg{in: inState, v: s})
	if k.p.caches[s] {
		return s.Type.Bytes(ir.Sizes{"S": 1})
	}
	return k.p.recurrent(s)
}

// tokens adds the extent of the step's leading axis.
func (k *kern) tokens(d ir.Dim) {
	if d.Sym != "" && d != ir.Sym("T") && d != ir.Sym("R") {
		k.fail("extent %s has no kernel", d)
	}
	k.args = append(k.args, arg{in: isDim, dim: d})
}

// static returns the number behind a dim.
func (k *kern) static(d ir.Dim) int {
	n, ok := d.Static()
	if !ok {
		k.fail("extent %s is not known ahead of time", d)
	}
	return n
}

// result returns output i of v, which may be a tuple or the one tensor.
func (k *kern) result(i int) *ir.Value {
	if !k.v.Type.IsTuple() {
		return k.v
	}
	return k.p.members(k.v)[i]
}

// rowShape splits [n, …, width] into rows a token and their width.
func (k *kern) rowShape(t ir.Type) (rows, width int) {
	if t.Rank() < 2 {
		k.fail("%s has no axis before its rows", t)
		return 1, 1
	}
	rows = 1
	for _, d := range t.Dims[1 : t.Rank()-1] {
		rows *= k.static(d)
	}
	return rows, k.static(t.Last())
}

// f32 is a float literal of C++.
func f32(x float64) string {
	s := strconv.FormatFloat(float64(float32(x)), 'g', -1, 32)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s + "f"
}

// tag is a shape as part of a kernel's name; the tokens' axis is T.
func tag(dims ...any) string {
	s := make([]string, len(dims))
	for i, d := range dims {
		s[i] = fmt.Sprint(d)
	}
	return strings.Join(s, "x")
}

// warps is a number of threads, whole warps, for n items and most at most.
func warps(n, most int) int { return min((n+31)/32*32, most) }

// turns are base^(-2i/dims) radians as 2^64ths of a circle, for the pairs of a rope.
func turns(dims int, base float64) string {
	scale := new(big.Float).SetPrec(160).SetInt(new(big.Int).Lsh(big.NewInt(1), 64))
	// 2 pi to 40 digits
	pi, _, err := big.ParseFloat("6.283185307179586476925286766559005768394", 10, 160, big.ToNearestEven)
	if err != nil {
		panic(err)
	}
	var out []string
	for i := range dims / 2 {
		f := new(big.Float).SetPrec(160).SetFloat64(math.Pow(base, -2*float64(i)/float64(dims)))
		f.Mul(f, scale).Quo(f, pi).Add(f, big.NewFloat(0.5))
		n, _ := f.Int(nil)
		out = append(out, n.String()+"ull")
	}
	if len(out) == 0 {
		out = []string{"0"}
	}
	return strings.Join(out, ", ")
}
