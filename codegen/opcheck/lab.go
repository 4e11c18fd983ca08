// Package opcheck compares the kernels of a backend with the meaning of ops in
// ir/eval: a table of cases for every op that has kernels, the steps that each
// case runs, and what their results may differ by. It is for tests.
package opcheck

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"qnc/ir"
	"qnc/ir/eval"
)

// The bounds of T, S and C.
const (
	MaxTokens = 65
	Slots     = 2
	MaxCells  = 80
)

// A Lab is all cases as one module, planned, and the steps to run.
type Lab struct {
	Cases   []*Case
	M       *ir.Module
	Weights map[string][]byte // as files have them
	Floats  map[string]eval.Tensor
	Steps   []Step
}

// A Step runs a case once, on some tokens of a sequence.
type Step struct {
	Case           int
	Tok, Pos, Rows []int32
	Slot           int
	Used           int  // cells of the sequence afterwards
	Fresh          bool // the first step of the case
}

// Sizes are the extents of the step.
func (s *Step) Sizes() ir.Sizes {
	return ir.Sizes{"T": len(s.Tok), "R": len(s.Rows), "S": Slots, "C": int(s.Pos[len(s.Pos)-1]) + 1}
}

// New builds every case twice: for T tokens, and for the one of a decode. With
// only, the cases of these ops.
func New(only ...ir.Op) (*Lab, error) { return build(cases(), only) }

// NewReal is New with few cases, which have the shapes of a layer of an 80B model.
func NewReal(only ...ir.Op) (*Lab, error) { return build(realCases(), only) }

func build(rows []row, only []ir.Op) (*Lab, error) {
	l := &Lab{Weights: map[string][]byte{}, Floats: map[string]eval.Tensor{}, M: &ir.Module{Name: "opcheck",
		Bounds: []ir.Bound{{Sym: "T", Max: MaxTokens}, {Sym: "R", Max: 3}, {Sym: "S", Max: Slots}, {Sym: "C", Max: MaxCells}}}}
	for i, c := range rows {
		if len(only) > 0 && !slices.Contains(only, c.Op) {
			continue
		}
		for j, n := range []ir.Dim{ir.Sym("T"), ir.Num(1)} {
			b := newCase(l, c, fmt.Sprintf("c%d_%d", i, j), n)
			if b.b.Err != nil {
				return nil, fmt.Errorf("case %s: %w", c.Name, b.b.Err)
			}
			if !slices.ContainsFunc(b.F.Body, func(v *ir.Value) bool { return v.Op == c.Op }) {
				return nil, fmt.Errorf("case %s does not use %s", c.Name, c.Op)
			}
			l.Cases = append(l.Cases, b)
		}
	}
	if err := l.M.Verify(); err != nil {
		return nil, err
	}
	for _, b := range l.Cases { // every value has a place of its own
		for _, v := range b.F.Body {
			if ir.NeedsMem(v) {
				v.Mem = int64(b.Arena)
				b.Arena += (v.Type.Bytes(l.M.MaxSizes()) + 63) &^ 63
			}
		}
	}
	l.plan()
	return l, nil
}

// Ops are those that have cases.
func Ops() map[ir.Op]bool {
	have := map[ir.Op]bool{}
	for _, c := range cases() {
		have[c.Op] = true
	}
	return have
}

// Sample leaves every nth case of each op, and the first, with their steps.
func (l *Lab) Sample(n int) {
	seen, keep := map[string]int{}, map[int]int{}
	var cases []*Case
	for i, c := range l.Cases {
		name := fmt.Sprintf("%s %v", c.Op, c.n.Is(1))
		if seen[name]++; seen[name]%n == 1%n {
			keep[i] = len(cases)
			cases = append(cases, c)
		}
	}
	var steps []Step
	for _, s := range l.Steps {
		if i, ok := keep[s.Case]; ok {
			s.Case = i
			steps = append(steps, s)
		}
	}
	l.Cases, l.Steps = cases, steps
}

// Arena is what the largest case uses, in bytes.
func (l *Lab) Arena() (n int) {
	for _, b := range l.Cases {
		n = max(n, b.Arena)
	}
	return n
}

// plan makes the steps of each case: on one sequence the first token, a few,
// more than a chunk, one more; on the other rows of NaN, infinities, zeros,
// huge and tiny numbers; then the first sequence again, which must not have
// seen any of that.
func (l *Lab) plan() {
	for i, b := range l.Cases {
		used := [Slots]int{}
		for j, run := range []struct{ slot, n, wild int }{{0, 1, 0}, {0, 3, 0}, {0, MaxTokens, 0}, {0, 1, 0}, {1, 1, 0}, {1, 3, 1}, {1, MaxTokens, 2}, {0, 3, 0}} {
			n := run.n
			if b.n.Is(1) {
				n = 1
			}
			s := Step{Case: i, Slot: run.slot, Fresh: j == 0}
			for t := range n {
				tok := (i*31 + j*7 + t*13) % plainRows
				if run.wild > 0 && t%5 == 1%n {
					tok = plainRows + (run.wild*3+t/5)%len(wildRows)
				}
				s.Tok = append(s.Tok, int32(tok))
				s.Pos = append(s.Pos, int32(used[run.slot]+t))
			}
			for _, r := range []int{0, n / 2, n - 1} {
				if !slices.Contains(s.Rows, int32(r)) {
					s.Rows = append(s.Rows, int32(r))
				}
			}
			used[run.slot] += n
			s.Used = used[run.slot]
			l.Steps = append(l.Steps, s)
		}
	}
}

// Compare evaluates the steps and looks for differences. read is asked for what
// a backend made of a result of the case, or of a state of the step's sequence,
// in the order of the steps.
//
// Policy for what is not finite: an element is NaN or infinite exactly where
// eval has one that is; which of the two is not compared.
func (l *Lab) Compare(t *testing.T, tol func(c *Case, d ir.DType) Tolerance, read func(step int, v *ir.Value) []float32) {
	var env *eval.Env
	failed := map[int]bool{}
	for step, s := range l.Steps {
		b := l.Cases[s.Case]
		if s.Fresh {
			env = &eval.Env{State: map[string]eval.Tensor{}, Weight: func(v *ir.Value) (eval.Tensor, error) { return l.Floats[v.Name], nil }}
		}
		env.Sizes = s.Sizes()
		want, err := env.Run(b.F, []eval.Tensor{ints(s.Tok), ints(s.Pos), ints(make([]int32, len(s.Tok)), int32(s.Slot)), ints(s.Rows)})
		if err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
		check := func(what string, v *ir.Value, want []float32) {
			got := read(step, v)
			if v.Op == ir.OpState && len(got) <= len(want) { // the cells in use
				want = want[:len(got)]
			}
			if err := tol(b, v.Type.DType).near(v.Type.DType, got, want, v.Type.Last().At(env.Sizes)); err != nil && !failed[s.Case] {
				failed[s.Case] = true
				t.Errorf("%s: T=%d at %d: %s: %v", b.Name, len(s.Tok), s.Pos[0], what, err)
			}
		}
		for i, r := range b.F.Results {
			check(fmt.Sprintf("result %d", i), r, want[i].Data)
		}
		for _, v := range b.States {
			n := len(env.State[v.Name].Data) / Slots
			check("state "+v.Name, v, env.State[v.Name].Data[s.Slot*n:][:n])
		}
	}
}

// ints is a vector of ids; add is added to each.
func ints(x []int32, add ...int32) eval.Tensor {
	out := eval.New(len(x))
	for i, v := range x {
		for _, a := range add {
			v += a
		}
		out.Data[i] = float32(v)
	}
	return out
}

// A Tolerance bounds |kernel - eval| by the row's largest number; the zero
// value asks for equal numbers. Where a number is rounded to a type of few
// steps after arithmetic in another order, one element in fifty may be a step off.
type Tolerance float64

// stepOf is one step of a narrow type, in units of a row's largest number.
var stepOf = map[ir.DType]float64{ir.F16: 1.0 / 1024, ir.Q8_0: 1.01 / 127, ir.A8: 1.01 / 127}

func (tol Tolerance) near(d ir.DType, got, want []float32, last int) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(got), len(want))
	}
	off := 0
	for r := 0; r < len(want); r += last {
		most := 0.0
		for _, x := range want[r : r+last] {
			if a := math.Abs(float64(x)); a > most && !math.IsInf(a, 0) {
				most = a
			}
		}
		for i := r; i < r+last; i++ {
			g, w := float64(got[i]), float64(want[i])
			if finite(g) != finite(w) {
				return fmt.Errorf("row %d element %d is %v, want %v", r/last, i-r, g, w)
			}
			switch e := math.Abs(g - w); {
			case !finite(w) || e <= float64(tol)*most || tol > 0 && e < 1e-40:
			case tol > 0 && e <= stepOf[d]*most:
				off++
			default:
				return fmt.Errorf("row %d element %d is %v, want %v: off by %.3g of the row's largest, allowed %g", r/last, i-r, g, w, e/most, float64(tol))
			}
		}
	}
	if off > 1+len(want)/50 {
		return fmt.Errorf("%d of %d elements are a step off", off, len(want))
	}
	return nil
}

func finite(x float64) bool { return x-x == 0 }
