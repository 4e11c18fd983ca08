package cuda

import (
	"fmt"
	"strings"

	"qnc/ir"
)

// chains finds the elementwise values of a part that one other of it alone
// reads: they become part of its expression, and are never in memory. What such
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
		if expressions[v.Op] == nil {
			continue
		}
		var tried []*ir.Value
		for _, a := range v.Args {
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
	t.expression(root, "i")
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
		if p.overlap(root, l.v) && (l.v.Mem != root.Mem || l.off != 0 || l.index != "i") {
			return false
		}
	}
	return true
}

func (p *program) overlap(a, b *ir.Value) bool {
	s := p.m.MaxSizes()
	return a.Mem < b.Mem+int64(b.Type.Bytes(s)) && b.Mem < a.Mem+int64(a.Type.Bytes(s))
}

// mostGrouped is how many launches become one at most.
const mostGrouped = 6

// group makes one launch of launches that follow each other and do not depend
// on each other, of one token: what a launch costs there is more than what it does.
func (p *program) group(stages []stage) []stage {
	var out []stage
	for i := 0; i < len(stages); {
		n := 1
		for i+n < len(stages) && n < mostGrouped && p.joins(stages[i:i+n], stages[i+n]) {
			n++
		}
		s := stages[i]
		if n > 1 {
			s.launches = []launch{p.joint(stages[i : i+n])}
		}
		out = append(out, s)
		i += n
	}
	return out
}

// joins reports whether a stage can run together with the ones before it.
func (p *program) joins(before []stage, s stage) bool {
	groups := func(s stage) bool {
		if len(s.launches) != 1 || s.launches[0].when != always || s.launches[0].kernel.shared > 0 {
			return false
		}
		for _, e := range s.launches[0].grid {
			if _, ok := e.tokens.Static(); !ok {
				return false
			}
		}
		return true
	}
	if !groups(s) || !groups(before[0]) || s.launches[0].kernel.threads != before[0].launches[0].kernel.threads {
		return false
	}
	for _, b := range before {
		for _, x := range b.launches[0].args {
			for _, y := range s.launches[0].args {
				if p.depend(x, y) {
					return false
				}
			}
		}
	}
	return true
}

// depend reports whether two arguments are memory that one of two launches may
// write while the other uses it.
func (p *program) depend(x, y arg) bool {
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
