package ir

import "slices"

// ArenaAlign is the alignment of every value in the arena: a cache line, and a
// vector of 512 bits.
const ArenaAlign = 64

// An arenaCheck runs a planned function with the owner of each piece of arena
// instead of data: whoever reads a value must find it whole. It derives no
// lifetimes; that two values are alive together shows when one is read that
// the other has overwritten.
type arenaCheck struct {
	sizes  Sizes
	shown  map[*Value]*Value   // the value whose memory a view shows
	parts  map[*Value][]*Value // the members of a tuple
	owners map[Device][]*Value // whole ones, by offset: they do not overlap
	gone   map[*Value]*Value   // of those that are no longer whole: what wrote over them
	report func(*Value, string, ...any)
}

// arena checks the memory plan of f, which has no other fault.
func (c *checker) arena(f *Func, report func(*Value, string, ...any)) {
	a := &arenaCheck{
		sizes: c.sizes, report: report,
		shown: make(map[*Value]*Value, len(f.Body)), parts: map[*Value][]*Value{},
		owners: map[Device][]*Value{}, gone: map[*Value]*Value{},
	}
	if !a.placed(f) {
		return
	}
	windows := map[*Value][]*Value{} // what shows cells of a state in place
	for _, v := range f.Body {
		if v.Op.IsView() {
			continue
		}
		for _, x := range v.Args {
			a.read(v, x)
		}
		for _, w := range a.written(v) {
			a.write(w)
		}
		for _, x := range v.Args { // what is not read as it is overwritten must survive the writing
			if !readInPlace(v, x) {
				a.read(v, x)
			}
		}
		if v.Effect()&WritesState != 0 {
			for _, w := range windows[v.Args[0]] {
				a.gone[w] = v
			}
			windows[v.Args[0]] = nil
		}
		if v.Op == OpLoadRows {
			windows[v.Args[0]] = append(windows[v.Args[0]], v)
		}
	}
	for _, r := range f.Results {
		if by := a.gone[a.source(r)]; by != nil {
			report(r, "the result is overwritten by %q: give it another place", by.LongString())
		}
	}
}

// placed checks each place by itself and finds what the views show.
func (a *arenaCheck) placed(f *Func) bool {
	ok := true
	fault := func(v *Value, format string, args ...any) {
		a.report(v, format, args...)
		ok = false
	}
	type member struct {
		of *Value
		i  int
	}
	first := map[member]*Value{} // a member may be selected more than once
	for _, v := range f.Body {
		if v.Op == OpPart {
			key := member{v.Args[0], v.Int("i")}
			switch w := first[key]; {
			case w == nil:
				first[key] = v
				a.parts[v.Args[0]] = append(a.parts[v.Args[0]], v)
			case w.Mem != v.Mem || w.On != v.On:
				fault(v, "%s is the same member at another place", w)
			default:
				a.shown[v] = w
			}
		} else if v.Op.IsView() {
			a.shown[v] = a.source(v.Args[0])
		}
		if !NeedsMem(v) {
			if v.Mem != NoMem {
				fault(v, "it has no memory of its own: leave out at")
			}
			continue
		}
		for _, d := range v.Type.Dims {
			if d.Sym != "" && a.sizes[d.Sym] == 0 {
				fault(v, "%s has no bound: add a line such as \"bound %s 512\"", d.Sym, d.Sym)
			}
		}
		if v.Mem%ArenaAlign != 0 || v.Mem > MaxBytes {
			fault(v, "a place is a multiple of %d up to %d", ArenaAlign, MaxBytes)
		}
	}
	return ok
}

func (a *arenaCheck) source(v *Value) *Value {
	if s := a.shown[v]; s != nil {
		return s
	}
	return v
}

// written lists what v writes: itself, or the members that are selected of it.
func (a *arenaCheck) written(v *Value) []*Value {
	if v.Type.IsTuple() {
		return a.parts[v]
	}
	if NeedsMem(v) {
		return []*Value{v}
	}
	return nil
}

func (a *arenaCheck) read(by, x *Value) {
	if w := a.gone[a.source(x)]; w != nil {
		a.report(by, "argument %s is overwritten by %q: give one of them another place", x, w.LongString())
	}
}

// write makes v the owner of its place.
func (a *arenaCheck) write(v *Value) {
	end := v.Mem + int64(v.Type.Bytes(a.sizes))
	if end == v.Mem {
		return
	}
	list := a.owners[v.On]
	i, _ := slices.BinarySearchFunc(list, v.Mem, func(w *Value, at int64) int {
		if w.Mem+int64(w.Type.Bytes(a.sizes)) <= at {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(list) && list[j].Mem < end; j++ {
		a.gone[list[j]] = v
	}
	a.owners[v.On] = slices.Replace(list, i, j, v)
}

// readInPlace reports whether v reads element i of x when it writes its own
// element i, so that both may have one place.
func readInPlace(v, x *Value) bool {
	if v.Op.Info().Class != Elemwise || x.Type.DType != v.Type.DType || !slices.Equal(x.Type.Dims, v.Type.Dims) {
		return false
	}
	for ; x.Op.IsView() && x.Op != OpPart; x = x.Args[0] {
		if x.Op != OpReshape {
			return false
		}
	}
	return true
}
