package passes

import (
	"slices"

	"qnc/ir"
)

// settle chooses the device of each value of f among those that can run it.
//
// A schedule that lets free values run wherever it is gives each value a phase,
// its part: the earliest. What is free then moves to later phases, together
// with all that depends on it there, while that moves fewer bytes and adds no
// split. On two devices no choice has fewer splits.
func (p *placer) settle(f *ir.Func, can [][]ir.Device) {
	devices := deviceNames(p.m)
	g := dependencies(f)
	g.can = can
	var best *phases
	for _, start := range devices {
		s := newPhases(f, g, g.schedule(devices, start), p.sizes)
		if best != nil && len(s.on) > len(best.on) {
			continue
		}
		s.improve()
		if best == nil || len(s.on) < len(best.on) || s.total() < best.total() {
			best = s
		}
	}
	for i, v := range f.Body {
		v.On = best.device(i)
	}
}

// phases is a placement: what runs in phase k is on device on[k].
type phases struct {
	f      *ir.Func
	g      *graph
	on     []ir.Device
	phase  []int
	latest []int // phase that adds no split
	size   []int64
	preds  [][]int
}

// transferCost is what a transfer costs beyond its bytes, as bytes.
const transferCost = 1 << 16

func newPhases(f *ir.Func, g *graph, order *schedule, sizes ir.Sizes) *phases {
	n := len(f.Body)
	s := &phases{f: f, g: g, on: order.on, phase: make([]int, n), latest: make([]int, n), size: make([]int64, n), preds: make([][]int, n)}
	for k, run := range order.runs {
		for _, i := range run {
			s.phase[i] = k
		}
	}
	for i, v := range f.Body {
		s.size[i] = bytesOf(v.Type, sizes)
		for _, t := range g.succs[i] {
			s.preds[t] = append(s.preds[t], i)
		}
	}
	for i := range slices.Backward(f.Body) {
		s.latest[i] = len(s.on) - 1
		for _, t := range g.succs[i] {
			s.latest[i] = min(s.latest[i], s.latest[t])
		}
		for !s.allows(i, s.latest[i]) {
			s.latest[i]--
		}
	}
	return s
}

func (s *phases) device(i int) ir.Device { return s.on[s.phase[i]] }

// allows reports whether value i can run where phase k is.
func (s *phases) allows(i, k int) bool { return slices.Contains(s.g.can[i], s.on[k]) }

// cost is what the transfers of value i cost.
func (s *phases) cost(i int) int64 {
	n := int64(0)
	var to []ir.Device
	for _, t := range s.g.succs[i] {
		if d := s.device(t); d != s.device(i) && !slices.Contains(to, d) && slices.Contains(s.f.Body[t].Args, s.f.Body[i]) {
			to = append(to, d)
			n = satAdd(n, s.size[i]+transferCost)
		}
	}
	return n
}

func (s *phases) total() int64 {
	n := int64(0)
	for i := range s.phase {
		n = satAdd(n, s.cost(i))
	}
	return n
}

// improve moves free values to later phases while that saves bytes.
func (s *phases) improve() {
	for range s.on {
		moved := false
		for i, v := range s.f.Body {
			if v.Op.IsView() && len(s.preds[i]) > 0 {
				continue // goes with what it views
			}
			if set, to := s.movable(i); set != nil && s.move(set, to) {
				moved = true
			}
		}
		if !moved {
			return
		}
	}
}

// movable returns the next phase on another device that i can run in, and with
// i all that depends on it before that; nil when one of them cannot run there.
func (s *phases) movable(i int) (set []int, to int) {
	if len(s.g.can[i]) < 2 {
		return nil, 0
	}
	to = s.phase[i] + 1
	for to <= s.latest[i] && (s.on[to] == s.device(i) || !s.allows(i, to)) {
		to++
	}
	set = []int{i}
	in := map[int]bool{i: true}
	for k := 0; k < len(set); k++ {
		j := set[k]
		if s.latest[j] < to || !s.allows(j, to) {
			return nil, 0
		}
		for _, t := range s.g.succs[j] {
			if s.phase[t] < to && !in[t] {
				in[t] = true
				set = append(set, t)
			}
		}
	}
	return set, to
}

// move moves the set to a later phase if that is cheaper, and reports whether it is.
func (s *phases) move(set []int, to int) bool {
	around := map[int]bool{}
	for _, i := range set {
		around[i] = true
		for _, p := range s.preds[i] {
			around[p] = true
		}
	}
	sum := func() (n int64) {
		for i := range around {
			n = satAdd(n, s.cost(i))
		}
		return n
	}
	before := sum()
	was := make([]int, len(set))
	for k, i := range set {
		was[k], s.phase[i] = s.phase[i], to
	}
	if sum() < before {
		return true
	}
	for k, i := range set {
		s.phase[i] = was[k]
	}
	return false
}
