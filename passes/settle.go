package passes

import (
	"slices"

	"qnc/ir"
)

// settle chooses the device of each value of f among those that can run it.
//
// On two devices a value has a phase: how many times the device has changed
// when it runs. The earliest phases, each value in the phase of its latest
// argument unless it is fixed on the other device, give the fewest splits, for
// the better of the two devices to start on. What is free then moves to later
// phases, together with all that depends on it there, while that moves fewer
// bytes and adds no split.
//
// With more devices a free value follows its largest argument, and one
// without arguments its first user.
func (p *placer) settle(f *ir.Func, can [][]ir.Device) {
	devs := p.m.Machine.Devices
	if len(devs) != 2 {
		p.follow(f, can)
		return
	}
	g := dependencies(f)
	var best *phases
	for start := range 2 {
		s := newPhases(f, g, can, [2]ir.Device{devs[start].Name, devs[1-start].Name}, p.sizes)
		s.improve()
		if best == nil || s.splits < best.splits || s.splits == best.splits && s.total() < best.total() {
			best = s
		}
	}
	for i, v := range f.Body {
		v.On = best.device(i)
	}
}

// follow places values one after the other.
func (p *placer) follow(f *ir.Func, can [][]ir.Device) {
	on := map[*ir.Value]ir.Device{}
	choose := func(i int, d ir.Device) {
		if d != "" {
			if !slices.Contains(can[i], d) {
				d = can[i][0]
			}
			on[f.Body[i]] = d
		}
	}
	for i, v := range f.Body {
		if len(can[i]) == 1 && !v.Op.IsView() {
			choose(i, can[i][0])
			continue
		}
		var d ir.Device
		most := int64(-1)
		for _, a := range v.Args {
			if n := bytesOf(a.Type, p.sizes); on[a] != "" && n > most {
				d, most = on[a], n
			}
		}
		choose(i, d)
	}
	users := f.Users()
	for i, v := range slices.Backward(f.Body) {
		if on[v] == "" {
			d := p.m.Machine.Devices[0].Name
			if len(users[v]) > 0 {
				d = on[users[v][0]]
			}
			choose(i, d)
		}
	}
	for _, v := range f.Body {
		v.On = on[v]
	}
}

// phases is a placement on two devices: even phases run on dev[0], odd ones on dev[1].
type phases struct {
	f      *ir.Func
	g      *graph
	dev    [2]ir.Device
	free   []bool
	phase  []int
	latest []int // phase that adds no split
	size   []int64
	preds  [][]int
	splits int
}

// transferCost is what a transfer costs beyond its bytes, as bytes.
const transferCost = 1 << 16

func newPhases(f *ir.Func, g *graph, can [][]ir.Device, dev [2]ir.Device, sizes ir.Sizes) *phases {
	n := len(f.Body)
	s := &phases{f: f, g: g, dev: dev, free: make([]bool, n), phase: make([]int, n), latest: make([]int, n),
		size: make([]int64, n), preds: make([][]int, n)}
	most, least := 0, n
	for i, v := range f.Body {
		s.free[i] = len(can[i]) == 2
		s.size[i] = bytesOf(v.Type, sizes)
		if !s.free[i] && s.device(i) != can[i][0] {
			s.phase[i]++
		}
		most, least = max(most, s.phase[i]), min(least, s.phase[i])
		for _, t := range g.succs[i] {
			s.phase[t] = max(s.phase[t], s.phase[i])
			s.preds[t] = append(s.preds[t], i)
		}
	}
	s.splits = most - min(least, most) + 1
	for i := range slices.Backward(f.Body) {
		s.latest[i] = most
		for _, t := range g.succs[i] {
			s.latest[i] = min(s.latest[i], s.latest[t])
		}
		if !s.free[i] && (s.latest[i]-s.phase[i])%2 != 0 {
			s.latest[i]--
		}
	}
	return s
}

func (s *phases) device(i int) ir.Device { return s.dev[s.phase[i]%2] }

// cost is what the transfer of value i costs.
func (s *phases) cost(i int) int64 {
	for _, t := range s.g.succs[i] {
		if (s.phase[t]-s.phase[i])%2 != 0 && slices.Contains(s.f.Body[t].Args, s.f.Body[i]) {
			return s.size[i] + transferCost
		}
	}
	return 0
}

func (s *phases) total() int64 {
	n := int64(0)
	for i := range s.phase {
		n = satAdd(n, s.cost(i))
	}
	return n
}

// improve moves free values to the next phase while that saves bytes.
func (s *phases) improve() {
	for range s.splits {
		moved := false
		for i, v := range s.f.Body {
			if v.Op.IsView() && len(s.preds[i]) > 0 {
				continue // goes with what it views
			}
			if set := s.movable(i); set != nil && s.move(set) {
				moved = true
			}
		}
		if !moved {
			return
		}
	}
}

// movable returns i and all that depends on it in its phase, or nil when one
// of them cannot run in the next phase.
func (s *phases) movable(i int) []int {
	set := []int{i}
	in := map[int]bool{i: true}
	for k := 0; k < len(set); k++ {
		j := set[k]
		if !s.free[j] || s.latest[j] <= s.phase[j] {
			return nil
		}
		for _, t := range s.g.succs[j] {
			if s.phase[t] == s.phase[i] && !in[t] {
				in[t] = true
				set = append(set, t)
			}
		}
	}
	return set
}

// move moves the set to the next phase if that is no dearer, and reports
// whether it is cheaper; a move that changes nothing is undone.
func (s *phases) move(set []int) bool {
	around := map[int]bool{}
	for _, i := range set {
		around[i] = true
		for _, p := range s.preds[i] {
			around[p] = true
		}
	}
	sum := func() (n int64) {
		for i := range around {
			n += s.cost(i)
		}
		return n
	}
	before := sum()
	for _, i := range set {
		s.phase[i]++
	}
	if sum() < before {
		return true
	}
	for _, i := range set {
		s.phase[i]--
	}
	return false
}
