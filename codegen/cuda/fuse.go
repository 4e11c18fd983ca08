package cuda

import (
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
