package passes

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"qnc/ir"
)

// A layer is what placement moves as one: the symbols of a block, named
// blk.N.…, or a symbol that belongs to none.
type layer struct {
	dense  []*ir.Value // state, and weights that a decode step reads whole
	sparse []*ir.Value // weights of which it reads rows or experts
}

// usage is who reads what in a module.
type usage struct {
	users map[*ir.Value][]*ir.Value // of each symbol, views looked through
	order []*ir.Value               // symbols by first use; those without use come first
	first map[*ir.Value]int         // position of the first use; -1 without
	last  map[*ir.Value]int
	read  map[*ir.Value]int64 // bytes that decode reads, and writes of state
}

// decodeFunc is the function that runs most often.
func decodeFunc(m *ir.Module) *ir.Func {
	if f := m.Func("decode"); f != nil || len(m.Funcs) == 0 {
		return f
	}
	return m.Funcs[len(m.Funcs)-1]
}

func newUsage(m *ir.Module, sizes ir.Sizes) *usage {
	u := &usage{users: map[*ir.Value][]*ir.Value{}, first: map[*ir.Value]int{}, last: map[*ir.Value]int{}, read: map[*ir.Value]int64{}}
	var used []*ir.Value
	decode := decodeFunc(m)
	for _, f := range m.Funcs {
		for at, v := range f.Body {
			if v.Op.IsView() {
				continue
			}
			for i, a := range v.Args {
				s := viewed(a)
				if !s.IsSymbol() {
					continue
				}
				if u.users[s] == nil {
					used = append(used, s)
					u.first[s] = at
				}
				if n := len(u.users[s]); n == 0 || u.users[s][n-1] != v {
					u.users[s] = append(u.users[s], v)
				}
				u.last[s] = max(u.last[s], at)
				if f == decode {
					n := stateBytesOf(v, s, sizes)
					if s.Op == ir.OpWeight {
						n = reached(v, i, sizes)
					}
					u.read[s] = satAdd(u.read[s], n)
				}
			}
		}
	}
	for _, s := range slices.Concat(m.Weights, m.State) {
		if u.users[s] == nil {
			u.order, u.first[s] = append(u.order, s), -1
		}
	}
	u.order = append(u.order, used...)
	return u
}

// stateBytesOf is what v moves of state s, its first argument.
func stateBytesOf(v, s *ir.Value, sizes ir.Sizes) int64 {
	if s.Op != ir.OpState || v.Effect() == ir.Pure {
		return 0
	}
	return stateBytes(v, sizes)
}

// blockOf reads N of a symbol named blk.N.….
func blockOf(s *ir.Value) (int, bool) {
	rest, ok := strings.CutPrefix(s.Name, "blk.")
	num, _, dot := strings.Cut(rest, ".")
	n, err := strconv.Atoi(num)
	return n, ok && dot && err == nil && n >= 0
}

// Blocks gives each symbol its layer as llama.cpp counts them: the n blocks of
// the model from 0, the output head n, what stands before the blocks -1. What
// is read both before and after them, a tied embedding, belongs to the head.
func Blocks(m *ir.Module) (of map[*ir.Value]int, n int) {
	u := newUsage(m, m.MaxSizes())
	start := math.MaxInt // where the blocks begin
	of = map[*ir.Value]int{}
	for _, s := range u.order {
		if b, ok := blockOf(s); ok {
			of[s] = b
			n = max(n, b+1)
			if u.first[s] >= 0 {
				start = min(start, u.first[s])
			}
		}
	}
	for _, s := range u.order {
		if _, ok := of[s]; ok {
			continue
		}
		of[s] = -1
		if u.last[s] > start {
			of[s] = n
		}
	}
	return of, n
}

// density is the part of s that a decode step reads, in millionths.
func (u *usage) density(s *ir.Value, sizes ir.Sizes) int {
	n := bytesOf(s.Type, sizes)
	if n == 0 {
		return 0
	}
	return int(math.Round(1e6 * min(1, float64(u.read[s])/float64(n))))
}

// isSparse reports whether s is a weight of which decode reads less than half.
func (u *usage) isSparse(s *ir.Value, sizes ir.Sizes) bool {
	return s.Op == ir.OpWeight && u.density(s, sizes) < 500_000
}

// layers groups the symbols for which free holds, in the order of first use.
func (u *usage) layers(free func(*ir.Value) bool, sizes ir.Sizes) []*layer {
	var list []*layer
	blocks := map[int]*layer{}
	for _, s := range u.order {
		if !free(s) {
			continue
		}
		b, numbered := blockOf(s)
		l := blocks[b]
		if !numbered || l == nil {
			l = &layer{}
			list = append(list, l)
			if numbered {
				blocks[b] = l
			}
		}
		if u.isSparse(s, sizes) {
			l.sparse = append(l.sparse, s)
		} else {
			l.dense = append(l.dense, s)
		}
	}
	return list
}
