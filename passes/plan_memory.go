package passes

import (
	"cmp"
	"fmt"
	"slices"

	"qnc/ir"
)

// planMemory gives every value that needs memory a place in the arena of its
// device. Each function is planned on its own from offset 0: functions run one
// at a time and share the arena.
func planMemory(m *ir.Module, t *Target) error {
	if m.Level < ir.LevelPlaced {
		return fmt.Errorf("the module is %s: run partition first", m.Level)
	}
	sizes := m.MaxSizes()
	if err := checkBounds(m, sizes); err != nil {
		return err
	}
	for _, f := range m.Funcs {
		blocks, err := storage(f, sizes)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		for _, v := range f.Body {
			v.Mem = ir.NoMem
		}
		if oneToken(f) {
			for _, b := range blocks {
				b.last += linger
			}
		}
		arrange(blocks)
		for _, b := range blocks {
			for _, v := range b.values {
				v.Mem = b.at
			}
		}
	}
	m.Level = ir.LevelPlanned
	arena := map[ir.Device]int64{}
	for _, d := range m.Machine.Devices {
		arena[d.Name] = ArenaBytes(m, d.Name)
	}
	if t != nil && t.Overfull {
		return nil
	}
	return lacking(use(m, sizes, arena))
}

// linger is for how many values the memory of a value of one token is left alone after its last
// use. It is small, and a value that takes it at once makes all threads wait until the last has read it.
const linger = 24

// oneToken reports whether the extents of f's values do not depend on the tokens of a step.
func oneToken(f *ir.Func) bool {
	for _, v := range f.Body {
		for _, d := range v.Type.Dims {
			if d.Sym == "T" {
				return false
			}
		}
	}
	return true
}

// checkBounds demands a bound for every symbol that a type uses.
func checkBounds(m *ir.Module, sizes ir.Sizes) error {
	check := func(v *ir.Value) error {
		types := append([]ir.Type{v.Type}, v.Type.Tuple...)
		for _, t := range types {
			for _, d := range t.Dims {
				if d.Sym != "" && sizes[d.Sym] == 0 {
					return fmt.Errorf("%s is %s, but %s has no bound: add a line such as \"bound %s 512\"", v, t, d.Sym, d.Sym)
				}
			}
		}
		if bytesOf(v.Type, sizes) >= ir.MaxBytes {
			return fmt.Errorf("%s is %s, which no memory holds under the bounds: lower them", v, v.Type)
		}
		return nil
	}
	for _, v := range slices.Concat(m.Weights, m.State) {
		if err := check(v); err != nil {
			return err
		}
	}
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			if err := check(v); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// A block is one piece of arena: the value that is computed there, those that
// take its place when it dies, and how long it is needed.
type block struct {
	values      []*ir.Value
	on          ir.Device
	size        int64
	first, last int // positions of the body, both included
	at          int64
}

// viewed follows views to the value or symbol whose memory v shows: part stops
// at itself, since the members of a tuple have memory of their own.
func viewed(v *ir.Value) *ir.Value {
	for v.Op.IsView() && v.Op != ir.OpPart {
		v = v.Args[0]
	}
	return v
}

// storage makes the blocks of f in the order they come to life.
func storage(f *ir.Func, sizes ir.Sizes) ([]*block, error) {
	pos := make(map[*ir.Value]int, len(f.Body))
	last := make(map[*ir.Value]int, len(f.Body))
	for i, v := range f.Body {
		pos[v], last[v] = i, i
		if !v.Op.IsView() {
			for _, a := range v.Args {
				last[viewed(a)] = i
			}
		}
	}
	for _, r := range f.Results {
		last[viewed(r)] = len(f.Body)
	}
	if err := checkWindows(f, last); err != nil {
		return nil, err
	}

	type member struct {
		of *ir.Value
		i  int
	}
	memberOf := func(v *ir.Value) member { return member{v.Args[0], v.Int("i")} }
	lastPart := map[member]int{} // a member may be selected more than once
	for _, v := range f.Body {
		if v.Op == ir.OpPart {
			lastPart[memberOf(v)] = max(lastPart[memberOf(v)], last[v])
		}
	}
	members := map[member]*block{}
	of := make(map[*ir.Value]*block, len(f.Body))
	var blocks []*block
	add := func(v *ir.Value, first int) *block {
		b := &block{values: []*ir.Value{v}, on: v.On, size: bytesOf(v.Type, sizes), first: first, last: last[v]}
		blocks = append(blocks, b)
		of[v] = b
		return b
	}
	for i, v := range f.Body {
		switch {
		case !ir.NeedsMem(v):
		case v.Op == ir.OpPart:
			key := memberOf(v)
			if b := members[key]; b != nil {
				b.values = append(b.values, v)
				of[v] = b
				continue
			}
			b := add(v, pos[v.Args[0]])
			b.last = lastPart[key]
			members[key] = b
		default:
			b := dying(v, i, of, sizes)
			if b == nil {
				add(v, i)
				continue
			}
			b.values, b.last = append(b.values, v), last[v]
			of[v] = b
		}
	}
	return blocks, nil
}

// dying returns the block that v, at position i, can be computed in place of:
// v is elementwise, and an operand of v's own size, read in v's own order, is
// not needed afterwards.
func dying(v *ir.Value, i int, of map[*ir.Value]*block, sizes ir.Sizes) *block {
	if v.Op.Info().Class != ir.Elemwise {
		return nil
	}
	for _, a := range v.Args {
		b := of[viewed(a)]
		if b != nil && b.last == i && b.on == v.On && b.size == bytesOf(v.Type, sizes) && inOrder(v, b, of) {
			return b
		}
	}
	return nil
}

// inOrder reports whether v reads b, through every argument that shows it,
// element by element as v is written.
func inOrder(v *ir.Value, b *block, of map[*ir.Value]*block) bool {
	for _, a := range v.Args {
		if of[viewed(a)] != b {
			continue
		}
		if !slices.Equal(a.Type.Dims, v.Type.Dims) || a.Type.DType != v.Type.DType {
			return false
		}
		for ; a.Op.IsView() && a.Op != ir.OpPart; a = a.Args[0] {
			if a.Op != ir.OpReshape {
				return false
			}
		}
	}
	return true
}

// checkWindows refuses a read of a cache that a write would change while it is in use.
func checkWindows(f *ir.Func, last map[*ir.Value]int) error {
	open := map[*ir.Value][]*ir.Value{} // windows by state
	for i, v := range f.Body {
		if v.Effect() == ir.Pure {
			continue
		}
		s := v.Args[0]
		if v.Op == ir.OpLoadRows {
			open[s] = append(open[s], v)
		}
		if v.Effect()&ir.WritesState == 0 {
			continue
		}
		for _, w := range open[s] {
			if last[w] > i {
				return fmt.Errorf("%s shows the cells of %s that %q then changes: copy it with cont before that", w, s, v.LongString())
			}
		}
	}
	return nil
}

// arrange gives the blocks their offsets: the largest first, each into the
// smallest gap that holds it between those that live at the same time.
func arrange(blocks []*block) {
	order := slices.Clone(blocks)
	slices.SortStableFunc(order, func(a, b *block) int { return cmp.Compare(b.size, a.size) })
	var placed []*block // by offset
	for _, b := range order {
		best, room, end := int64(-1), int64(0), int64(0)
		for _, p := range placed {
			if p.on != b.on || p.last < b.first || b.last < p.first {
				continue
			}
			if gap := p.at - end; gap >= b.size && (best < 0 || gap < room) {
				best, room = end, gap
			}
			end = max(end, alignUp(p.at+p.size))
		}
		if b.at = best; best < 0 {
			b.at = end
		}
		i, _ := slices.BinarySearchFunc(placed, b.at, func(p *block, at int64) int { return cmp.Compare(p.at, at) })
		placed = slices.Insert(placed, i, b)
	}
}

func alignUp(n int64) int64 { return (n + ir.ArenaAlign - 1) &^ (ir.ArenaAlign - 1) }
