package passes

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// A rep says how an axis is repeated; the zero rep says that it is not.
type rep struct {
	n       ir.Dim // factor
	mapping string // "" when the axis has extent 1
}

func (r rep) none() bool { return r == rep{} }

// An operand is a value without its repeats: what stands for base repeated
// along its axes. reps is nil or has one entry for each axis.
type operand struct {
	base *ir.Value
	reps []rep
}

func (o operand) dims() []ir.Dim { return o.base.Type.Dims }
func (o operand) rank() int      { return len(o.base.Type.Dims) }

// at returns the repeat of an axis.
func (o operand) at(axis int) rep {
	if o.reps == nil {
		return rep{}
	}
	return o.reps[axis]
}

// full returns the extent of an axis with its repeat.
func (o operand) full(axis int) ir.Dim {
	d, r := o.dims()[axis], o.at(axis)
	switch n, ok := r.n.Static(); {
	case r.none():
		return d
	case d.Is(1):
		return r.n
	case ok:
		return d.Times(n)
	}
	return d
}

func anyRep(reps []rep) bool {
	return slices.ContainsFunc(reps, func(r rep) bool { return !r.none() })
}

// elimRepeat removes every repeat whose users can read the unrepeated value:
// repeats sink through views and through what works on each element, row or
// matrix alone, until an operand of full extent takes them in.
func elimRepeat(m *ir.Module, f *ir.Func, t *Target) error {
	if !slices.ContainsFunc(f.Body, func(v *ir.Value) bool { return v.Op == ir.OpRepeat }) {
		return nil
	}
	s := &sinker{names: newNamer(f), reps: map[*ir.Value]operand{}, made: map[*ir.Value]*ir.Value{}}
	for _, v := range f.Body {
		if err := s.value(v); err != nil {
			return err
		}
	}
	for i, r := range f.Results {
		f.Results[i] = s.materialise(r)
	}
	f.Body = s.body
	return s.err
}

type sinker struct {
	names namer
	reps  map[*ir.Value]operand   // values that are repeats of another
	made  map[*ir.Value]*ir.Value // and those that had to be made after all
	body  []*ir.Value
	err   error
}

func (s *sinker) operand(v *ir.Value) operand {
	if o, ok := s.reps[v]; ok {
		return o
	}
	return operand{base: v}
}

func (s *sinker) value(v *ir.Value) error {
	args := make([]operand, len(v.Args))
	any := v.Op == ir.OpRepeat // or an argument is one
	for i, a := range v.Args {
		args[i] = s.operand(a)
		any = any || args[i].base != a || args[i].reps != nil
	}
	if !any {
		s.body = append(s.body, v)
		return nil
	}
	if v.Op == ir.OpRepeat {
		if o, ok := sinkRepeat(v, args[0]); ok {
			s.reps[v] = o
			return nil
		}
	}
	sink := sinkOf(v)
	for i := len(args); ; {
		if res, ok := s.try(sink, v, args); ok {
			return s.commit(v, args, res)
		}
		// What cannot be read unrepeated is repeated in memory, last argument first.
		for i--; args[i].reps == nil; i-- {
		}
		args[i] = operand{base: s.materialise(v.Args[i])}
	}
}

// A sunk says how an op runs on unrepeated operands.
type sunk struct {
	reps []rep // of the result
	attr ir.Attrs
}

// A sinkFunc reports whether v can run on the bases of its arguments.
type sinkFunc func(v *ir.Value, args []operand) (sunk, bool)

func (s *sinker) try(sink sinkFunc, v *ir.Value, args []operand) (sunk, bool) {
	if !slices.ContainsFunc(args, func(o operand) bool { return o.reps != nil }) {
		return sunk{attr: v.Attr}, true
	}
	if sink == nil {
		return sunk{}, false
	}
	return sink(v, args)
}

func (s *sinker) commit(v *ir.Value, args []operand, res sunk) error {
	for i := range args {
		v.Args[i] = args[i].base
	}
	v.Attr = res.attr
	t, err := v.Op.Info().Infer(v)
	if err != nil {
		return fmt.Errorf("BUG: %s: %w", v.LongString(), err)
	}
	v.Type = t
	s.body = append(s.body, v)
	if anyRep(res.reps) {
		s.reps[v] = operand{v, res.reps}
	}
	return nil
}

// materialise returns v with its repeats made.
func (s *sinker) materialise(v *ir.Value) *ir.Value {
	o, ok := s.reps[v]
	if !ok {
		return v
	}
	if m := s.made[v]; m != nil {
		return m
	}
	x := o.base
	for axis, r := range o.reps {
		if r.none() {
			continue
		}
		y, err := ir.NewValue(s.names.fresh(v.Name+"_rep"), ir.OpRepeat, []*ir.Value{x}, "axis", axis, "n", r.n, "map", r.mapping)
		if err != nil && s.err == nil {
			s.err = fmt.Errorf("BUG: %w", err)
		}
		s.body = append(s.body, y)
		x = y
	}
	if v.Op == ir.OpRepeat && x != o.base {
		x.Name = v.Name // v itself is gone
	}
	s.made[v] = x
	return x
}

// sinkRepeat adds the repeat v to those of its argument.
func sinkRepeat(v *ir.Value, x operand) (operand, bool) {
	axis, n, mapping := v.Int("axis"), v.Dim("n"), v.Attr.Get("map")
	out := operand{x.base, make([]rep, x.rank())}
	copy(out.reps, x.reps)
	r := &out.reps[axis]
	k, static := n.Static()
	switch before, ok := r.n.Static(); {
	case n.Is(1):
	case r.none() && x.dims()[axis].Is(1):
		*r = rep{n, ""}
	case r.none():
		*r = rep{n, mapping}
	case !ok || !static:
		return x, false
	case r.mapping == "" || r.mapping == mapping:
		r.n = ir.Num(before * k)
	default:
		return x, false
	}
	if !anyRep(out.reps) {
		out.reps = nil
	}
	return out, true
}
