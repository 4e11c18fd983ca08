// Package eval gives every op of package ir its meaning in plain float32. It
// is the oracle that passes and emitted kernels are compared with: slow enough
// to be plain, fast enough for a whole small model.
//
// Sums along an axis accumulate in float64 and are rounded once, so that an
// order of accumulation is no part of an op's meaning. Values whose storage is
// narrower (f16, bf16, q8_0, a8) hold the float32 that the storage stands for.
package eval

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// A Tensor is a dense tensor, slowest axis first. Ids and positions are stored
// as float32 too: they are exact below 2^24.
type Tensor struct {
	Shape []int
	Data  []float32
}

// New returns a tensor of zeros.
func New(shape ...int) Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return Tensor{shape, make([]float32, n)}
}

// rows returns how many rows t has and how long they are.
func (t Tensor) rows() (n, last int) {
	if len(t.Shape) == 0 {
		return 1, 1
	}
	last = t.Shape[len(t.Shape)-1]
	if last == 0 {
		return 0, 0
	}
	return len(t.Data) / last, last
}

// An Env is what a function runs in. All tokens of one run belong to the
// sequence seq[0].
type Env struct {
	Sizes ir.Sizes
	// Weight returns a weight as float32, From and Rows of v applied. It is
	// asked once for each use.
	Weight func(v *ir.Value) (Tensor, error)
	// State holds the state symbols by name: zero at first use, changed by writes.
	State map[string]Tensor
	// Trace, when set, sees every tensor as it is computed, members of tuples
	// at their part.
	Trace func(v *ir.Value, t Tensor)
	// MaxElems bounds a tensor and the sum of all that are alive at once:
	// state, parameters, the weights of an op and what is still read. 0 is 2^31.
	MaxElems int

	live int // elements that this run holds
}

func (e *Env) limit() int {
	if e.MaxElems <= 0 {
		return 1 << 31
	}
	return e.MaxElems
}

// hold counts n elements, before they are made where the run makes them.
func (e *Env) hold(n int) error {
	if n > e.limit()-e.live {
		return fmt.Errorf("more than %d elements are alive at once: lower the bounds of the sizes", e.limit())
	}
	e.live += n
	return nil
}

func (e *Env) release(ts ...Tensor) {
	for _, t := range ts {
		e.live -= volume(t.Shape)
	}
}

// shape returns the extents of t, with errors for sizes that are missing or absurd.
func (e *Env) shape(t ir.Type) ([]int, error) {
	limit, n := e.limit(), 1
	for _, d := range t.Dims {
		if _, ok := e.Sizes[d.Sym]; !ok && d.Sym != "" {
			return nil, fmt.Errorf("%s: the size of %s is not given", t, d.Sym)
		}
		x := d.At(e.Sizes)
		if x < 0 || x > limit {
			return nil, fmt.Errorf("%s: extent %s is %d", t, d, x)
		}
		if n *= x; n > limit {
			return nil, fmt.Errorf("%s: more than %d elements", t, limit)
		}
	}
	return t.Shape(e.Sizes), nil
}

// fits checks a tensor that came from outside.
func (e *Env) fits(t Tensor, want ir.Type) error {
	shape, err := e.shape(want)
	if err != nil {
		return err
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	if !slices.Equal(shape, t.Shape) || n != len(t.Data) {
		return fmt.Errorf("have a tensor of shape %v with %d elements, want %s = %v", t.Shape, len(t.Data), want, shape)
	}
	return nil
}

// A call is one op application: the function in the table fills out, which
// lies ready in the right shapes (views: without data).
type call struct {
	env   *Env
	v     *ir.Value
	in    []Tensor // empty for state
	tuple []Tensor // when argument 0 is a tuple
	out   []Tensor
}

// Run evaluates f, whose module Verify has accepted. The results and what
// Trace sees may share memory with the parameters and with each other.
func (e *Env) Run(f *ir.Func, params []Tensor) ([]Tensor, error) {
	if len(params) != len(f.Params) {
		return nil, fmt.Errorf("%s: %d parameters, want %d", f.Name, len(params), len(f.Params))
	}
	if e.State == nil {
		e.State = map[string]Tensor{}
	}
	e.live = 0
	for _, s := range e.State { // the sum has no order
		if err := e.hold(len(s.Data)); err != nil {
			return nil, fmt.Errorf("%s: state: %w", f.Name, err)
		}
	}
	vals := make(map[*ir.Value][]Tensor, len(f.Body))
	for i, p := range f.Params {
		err := e.fits(params[i], p.Type)
		if err == nil {
			err = e.hold(len(params[i].Data))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: parameter %s: %w", f.Name, p, err)
		}
		vals[p] = params[i : i+1]
	}
	dies := lastUses(f)
	for i, v := range f.Body {
		out, err := e.apply(v, vals)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.Name, v.LongString(), err)
		}
		vals[v] = out
		if e.Trace != nil && len(out) == 1 && !v.Type.IsTuple() {
			e.Trace(v, out[0])
		}
		for _, a := range dies[i] {
			e.release(vals[a]...)
			delete(vals, a)
		}
	}
	results := make([]Tensor, len(f.Results))
	for i, r := range f.Results {
		out, err := e.arg(r, vals)
		if err != nil {
			return nil, fmt.Errorf("%s: return %s: %w", f.Name, r, err)
		}
		results[i] = out[0]
	}
	return results, nil
}

// lastUses lists, for each position of the body, the values not read after it.
func lastUses(f *ir.Func) [][]*ir.Value {
	last := make(map[*ir.Value]int, len(f.Body))
	for i, v := range f.Body {
		last[v] = i
		for _, a := range v.Args {
			last[a] = i
		}
	}
	for _, r := range f.Results {
		last[r] = len(f.Body)
	}
	dies := make([][]*ir.Value, len(f.Body)+1)
	for _, v := range slices.Concat(f.Params, f.Body) {
		dies[last[v]] = append(dies[last[v]], v)
	}
	return dies
}

// arg returns the tensors of a: one, or the members of a tuple.
func (e *Env) arg(a *ir.Value, vals map[*ir.Value][]Tensor) ([]Tensor, error) {
	if a.Op == ir.OpState {
		return []Tensor{{}}, nil
	}
	if a.Op != ir.OpWeight {
		out, ok := vals[a]
		if !ok || len(out) == 0 {
			return nil, fmt.Errorf("argument %s has no value", a)
		}
		return out, nil
	}
	if e.Weight == nil {
		return nil, fmt.Errorf("weight %s: no weights are given", a)
	}
	t, err := e.Weight(a)
	if err == nil {
		err = e.fits(t, a.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("weight %s: %w", a, err)
	}
	return []Tensor{t}, nil
}

func (e *Env) apply(v *ir.Value, vals map[*ir.Value][]Tensor) ([]Tensor, error) {
	c := &call{env: e, v: v, in: make([]Tensor, len(v.Args))}
	for i, a := range v.Args {
		t, err := e.arg(a, vals)
		if err != nil {
			return nil, err
		}
		c.in[i] = t[0]
		if a.Op == ir.OpWeight {
			if err := e.hold(len(t[0].Data)); err != nil {
				return nil, err
			}
			defer e.release(t[0])
		}
		if a.Type.IsTuple() {
			c.tuple = t
		}
	}
	types := v.Type.Tuple
	if !v.Type.IsTuple() && !v.Type.IsNone() {
		types = []ir.Type{v.Type}
	}
	for _, t := range types {
		shape, err := e.shape(t)
		if err == nil {
			err = e.hold(volume(shape))
		}
		if err != nil {
			return nil, err
		}
		if v.Op.IsView() {
			c.out = append(c.out, Tensor{Shape: shape})
		} else {
			c.out = append(c.out, New(shape...))
		}
	}
	f := meanings[v.Op]
	if f == nil {
		return nil, fmt.Errorf("op %s has no meaning here", v.Op)
	}
	return c.out, f(c)
}

// index returns x as an index below n.
func index(x float32, n int, what string) (int, error) {
	i := int(x)
	if !(x >= 0) || i >= n || float32(i) != x {
		return 0, fmt.Errorf("%s %v is outside 0 … %d", what, x, n-1)
	}
	return i, nil
}

// indices returns all of t as indices below n.
func indices(t Tensor, n int, what string) ([]int, error) {
	out := make([]int, len(t.Data))
	for i, x := range t.Data {
		var err error
		if out[i], err = index(x, n, what); err != nil {
			return nil, err
		}
	}
	return out, nil
}
