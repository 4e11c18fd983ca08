package cuda

import (
	"fmt"
	"slices"
	"strings"

	"qnc/ir"
)

// chains finds the elementwise values of a part that one other of it alone
// reads, an elementwise one or a norm: they become part of its expression, and are never in memory. What such
// an expression reads must still be there when it runs, and what it writes must
// not be read by another of its threads.
func (p *program) chains(f *ir.Func, values []*ir.Value) {
	p.inlined = map[*ir.Value]bool{}
	at := map[*ir.Value]int{}
	for i, v := range values {
		at[v] = i
	}
	uses := map[*ir.Value][]*ir.Value{}
	for _, v := range f.Body {
		if !v.Op.IsView() {
			for _, a := range v.Args {
				base := beneath(a)
				uses[base] = append(uses[base], v)
			}
		}
	}
	for _, r := range f.Results {
		base := beneath(r)
		uses[base] = append(uses[base], nil)
	}
	for i, v := range values {
		var tried []*ir.Value
		for _, a := range written(v) {
			x := beneath(a)
			if _, here := at[x]; here && expressions[x.Op] != nil && len(uses[x]) == 1 && !p.inlined[x] {
				p.inlined[x] = true
				tried = append(tried, x)
			}
		}
		if len(tried) > 0 && !p.sound(values, at, i) {
			for _, x := range tried {
				delete(p.inlined, x)
			}
		}
	}
}

// written are the arguments of v that may be expressions.
func written(v *ir.Value) []*ir.Value {
	switch {
	case expressions[v.Op] != nil:
		return v.Args
	case v.Op == ir.OpNorm && len(v.Args) == 3:
		return []*ir.Value{v.Args[0], v.Args[2]}
	case v.Op == ir.OpNorm:
		return v.Args[:1]
	}
	return nil
}

// results are the values in memory that v makes.
func (p *program) results(v *ir.Value) []*ir.Value {
	if !v.Type.IsTuple() {
		return []*ir.Value{v}
	}
	return slices.DeleteFunc(slices.Clone(p.members(v)), func(v *ir.Value) bool { return v == nil })
}

// beneath is the value that a view looks into.
func beneath(v *ir.Value) *ir.Value {
	for v.Op.IsView() && v.Op != ir.OpPart {
		v = v.Args[0]
	}
	return v
}

// sound reports whether the expression of value i, with what is inlined into it,
// reads what it means to.
func (p *program) sound(values []*ir.Value, at map[*ir.Value]int, i int) bool {
	root := values[i]
	k := &kern{p: p, v: root}
	t := &tree{k: k}
	elementwise := expressions[root.Op] != nil
	if elementwise {
		t.expression(root, "i")
	} else {
		for j, a := range root.Args {
			if slices.Contains(written(root), a) {
				m, width := k.rowShape(a.Type)
				t.row(j, m, width)
			}
		}
	}
	if k.fault != nil {
		return false
	}
	first := i
	for _, v := range t.members {
		first = min(first, at[v])
	}
	for _, l := range t.leaves {
		if l.in != inArena {
			continue
		}
		if l.v.Mem == ir.NoMem {
			return false
		}
		for _, x := range values[first:i] {
			if x != l.v && x.Mem != ir.NoMem && !p.inlined[x] && p.overlap(x, l.v) && at[x] > at[l.v] {
				return false
			}
		}
		for _, r := range p.results(root) {
			if p.overlap(r, l.v) && !(elementwise && l.v.Mem == r.Mem && l.off == 0 && l.index == "i") {
				return false
			}
		}
	}
	return true
}

func (p *program) overlap(a, b *ir.Value) bool {
	s := p.m.MaxSizes()
	return a.Mem < b.Mem+int64(b.Type.Bytes(s)) && b.Mem < a.Mem+int64(a.Type.Bytes(s))
}

// What one launch joins at most, and how far ahead it looks for it.
const (
	mostJoined = 6
	ahead      = 24
)

// schedule orders the stages of a step of one token and joins those that do not
// depend on each other, where they have blocks of the same size: what a launch
// costs there is more than what it does. Each launch takes the first stage that
// is left and what else is ready. Of many tokens the order stays.
func (p *program) schedule(stages []stage) []stage {
	for _, s := range stages {
		for _, l := range s.launches {
			for _, e := range l.grid {
				if _, ok := e.tokens.Static(); !ok || l.when != always {
					return stages
				}
			}
		}
	}
	var out []stage
	left := slices.Clone(stages)
	for len(left) > 0 {
		take := []int{0}
		for i := 1; i < min(len(left), ahead) && len(take) < mostJoined && joinable(left[0]); i++ {
			if !joinable(left[i]) || left[i].launches[0].kernel.threads != left[0].launches[0].kernel.threads {
				continue
			}
			if !slices.ContainsFunc(left[:i], func(s stage) bool { return p.depend(s, left[i]) }) {
				take = append(take, i)
			}
		}
		s := left[0]
		if len(take) > 1 {
			var joined []stage
			for _, i := range take {
				joined = append(joined, left[i])
			}
			s.launches = []launch{p.joint(joined)}
		}
		out = append(out, s)
		for _, i := range slices.Backward(take) {
			left = slices.Delete(left, i, i+1)
		}
	}
	return out
}

// joinable reports whether a stage can share a launch.
func joinable(s stage) bool { return len(s.launches) == 1 && s.launches[0].kernel.shared == 0 }

// depend reports whether one of two stages may write what the other uses.
func (p *program) depend(a, b stage) bool {
	for _, l := range a.launches {
		for _, x := range l.args {
			for _, m := range b.launches {
				for _, y := range m.args {
					if p.clash(x, y) {
						return true
					}
				}
			}
		}
	}
	return false
}

// clash reports whether two arguments are memory that one of two launches may
// write while the other uses it.
func (p *program) clash(x, y arg) bool {
	if x.in != y.in {
		return false
	}
	switch x.in {
	case inArena:
		return (x.written || y.written) && p.overlap(x.v, y.v)
	case inState:
		return x.v == y.v
	case inScratch, inRoute:
		return true
	}
	return false
}

// joint is one launch for several: the blocks of the first, then those of the second, …
func (p *program) joint(stages []stage) launch {
	var names, params, lines []string
	k := &kernel{threads: stages[0].launches[0].kernel.threads}
	l := launch{kernel: k, grid: [3]extent{blocks(0), blocks(1), blocks(1)}}
	first := 0
	for i, s := range stages {
		one := s.launches[0]
		b := one.kernel.bodies[0]
		k.bodies = append(k.bodies, b)
		names = append(names, b.name)
		l.args = append(l.args, one.args...)
		call := ""
		for _, x := range b.params {
			name := paramName(x)
			params = append(params, fmt.Sprintf("%s%s%d", strings.TrimSuffix(x, name), name, i))
			call += fmt.Sprintf(", %s%d", name, i)
		}
		x, y, z := one.grid[0].at(nil), one.grid[1].at(nil), one.grid[2].at(nil)
		lines = append(lines, fmt.Sprintf("  if (b < %d) return %s_body(Block{b %% %d, b / %d %% %d, b / %d}%s);\n  b -= %d;\n", x*y*z, b.name, x, x, y, x*y, call, x*y*z))
		first += x * y * z
	}
	l.grid[0] = blocks(first)
	key := strings.Join(names, " ") + strings.Join(lines, "")
	if b := p.joints[key]; b != nil {
		l.kernel = b
		return l
	}
	k.name = p.unique(strings.Join(names, "_and_"))
	k.text = k.frame(strings.Join(params, ", "), "  int b = blockIdx.x;\n"+strings.Join(lines, ""))
	p.joints[key] = k
	return l
}
