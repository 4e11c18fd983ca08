package cpu

import (
	"slices"

	"qnc/codegen"
	"qnc/ir"
)

// A schedule puts the kernels of a step in order and says where threads must wait for each other.
type schedule struct {
	p             *program
	queue         []*ir.Value // still to come
	hoist         bool        // kernels may pass others; only values of one token are small enough to matter
	reads, writes []region    // since the last barrier
}

func (p *program) schedule(values []*ir.Value) *schedule {
	s := &schedule{p: p, hoist: true}
	for _, v := range values {
		if free(v) {
			continue
		}
		s.queue = append(s.queue, v)
		s.hoist = s.hoist && !slices.ContainsFunc(v.Type.Dims, func(d ir.Dim) bool { return d.Sym == "T" })
	}
	return s
}

// next gives the next kernel and whether a barrier precedes it: where it touches what another has
// touched since the last. Before that, a later kernel of the layer that need not wait comes first.
func (s *schedule) next() (k *kern, barrier bool, err error) {
	pick, first := 0, s.emit(0)
	if k = first; k.fault == nil && s.waits(k) {
		passed := []*kern{first}
		_, layer := codegen.Layer(first.v.Name)
		for i := 1; s.hoist && i < len(s.queue); i++ {
			if _, l := codegen.Layer(s.queue[i].Name); l != layer {
				break
			}
			x := s.emit(i)
			if x.fault != nil {
				break // it is reported in its turn
			}
			if !s.waits(x) && !slices.ContainsFunc(passed, x.depends) {
				pick, k = i, x
				break
			}
			passed = append(passed, x)
		}
		if pick == 0 {
			barrier, s.reads, s.writes = true, nil, nil
			k = s.emit(0)
		}
	}
	if k.fault != nil {
		return nil, false, k.fault
	}
	s.queue = slices.Delete(s.queue, pick, pick+1)
	s.reads, s.writes = append(s.reads, k.reads...), append(s.writes, k.writes...)
	return k, barrier, nil
}

// emit makes the kernel of the value at i of the queue.
func (s *schedule) emit(i int) *kern {
	v := s.queue[i]
	k := &kern{call: call{since: s.writes}, p: s.p, v: v}
	if emit := emitters[v.Op]; emit != nil {
		emit(k)
	} else {
		k.fail("the CPU has no kernel for %s", v.Op)
	}
	return k
}

// waits reports whether k must wait for the threads' kernels since the last barrier.
func (s *schedule) waits(k *kern) bool {
	return hazard(k.reads, s.writes) || hazard(k.writes, s.writes) || hazard(k.writes, s.reads)
}

// depends reports whether k may not come before x.
func (k *kern) depends(x *kern) bool {
	meet := func(a, b []region) bool {
		return slices.ContainsFunc(a, func(r region) bool {
			return slices.ContainsFunc(b, r.overlaps)
		})
	}
	return meet(k.reads, x.writes) || meet(k.writes, x.writes) || meet(k.writes, x.reads)
}

// hazard reports whether a thread may touch in a what another touches in b.
func hazard(a, b []region) bool {
	return slices.ContainsFunc(a, func(r region) bool {
		return slices.ContainsFunc(b, r.crosses)
	})
}
