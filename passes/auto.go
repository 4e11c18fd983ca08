package passes

import (
	"cmp"
	"slices"

	"qnc/ir"
)

// Automatic placement cuts the layers into segments, one a device, in any order
// of the devices. A segment's layers lie on its device: whole, or, where
// memory is short, without what a decode step reads least per byte, the last
// layers' experts first, then the embedding. That stays on the cpu.
//
// Segments do not touch each other's memory, so that dynamic programming over
// the boundaries finds the cut with the least time for one token: bytes read
// over the bandwidth of where they lie, and a constant for each split.

// splitTime is what a change of the device costs beside the bytes, in seconds.
const splitTime = 20e-6

// Bandwidths of devices that do not state one.
const (
	unknownCPU = 40e9
	unknownGPU = 400e9
)

func bandwidth(d ir.DeviceInfo) float64 {
	switch {
	case d.Bandwidth > 0:
		return d.Bandwidth
	case d.Name == "cpu":
		return unknownCPU
	}
	return unknownGPU
}

// maxOrders bounds the devices of which every order is tried: there are 2^n sets of them.
const maxOrders = 8

// cutter is the search for the best segments.
type cutter struct {
	devs   []ir.DeviceInfo // preferred ones first, the cpu last if there is one
	room   []int64         // by device
	cpu    int             // its index, or -1
	layers []*layer
	need   []int64   // prefix sums of dense bytes
	read   []float64 // and of what decode reads of them
	class  []*class
}

// A class is the sparse weights of one density. Its sums are prefix sums.
type class struct {
	density     int
	need, count []int64
	read        []float64
}

func newCutter(devs []ir.DeviceInfo, room map[ir.Device]int64, layers []*layer, u *usage, sizes ir.Sizes) *cutter {
	n := len(layers)
	c := &cutter{devs: devs, cpu: -1, layers: layers, need: make([]int64, n+1), read: make([]float64, n+1)}
	for i, d := range devs {
		c.room = append(c.room, room[d.Name])
		if d.Name == "cpu" {
			c.cpu, c.room[i] = i, ir.MaxBytes // its weights are mapped
		}
	}
	classOf := func(density int) *class {
		i, ok := slices.BinarySearchFunc(c.class, density, func(x *class, d int) int { return cmp.Compare(d, x.density) })
		if !ok {
			c.class = slices.Insert(c.class, i, &class{density, make([]int64, n+1), make([]int64, n+1), make([]float64, n+1)})
		}
		return c.class[i]
	}
	for i, l := range layers { // first as differences
		for _, s := range l.dense {
			c.need[i+1] = satAdd(c.need[i+1], bytesOf(s.Type, sizes))
			c.read[i+1] += float64(u.read[s])
		}
		for _, s := range l.sparse {
			x := classOf(u.density(s, sizes))
			x.need[i+1] = satAdd(x.need[i+1], bytesOf(s.Type, sizes))
			x.read[i+1] += float64(u.read[s])
			x.count[i+1] = 2 // splits, if it is on another device than the layer
			if i == 0 {
				x.count[i+1] = 1
			}
		}
	}
	sum(c.need)
	sum(c.read)
	for _, x := range c.class {
		sum(x.need)
		sum(x.count)
		sum(x.read)
	}
	return c
}

// sum turns differences into prefix sums.
func sum[T int64 | float64](list []T) {
	for i := 1; i < len(list); i++ {
		list[i] += list[i-1]
	}
}

// cost returns the seconds that layers a…b-1 on device d add to a token,
// and for each class the layer from which on it is left out.
func (c *cutter) cost(d, a, b int) (seconds float64, kept []int, ok bool) {
	left := c.room[d] - (c.need[b] - c.need[a])
	if left < 0 {
		return 0, nil, false
	}
	own := bandwidth(c.devs[d])
	seconds = (c.read[b] - c.read[a]) / own
	used := c.need[b] - c.need[a]
	for _, x := range c.class {
		e := b
		if x.need[b]-x.need[a] > left {
			i, _ := slices.BinarySearch(x.need[a:b+1], x.need[a]+left+1)
			e = a + i - 1
		}
		left -= x.need[e] - x.need[a]
		used += x.need[e] - x.need[a]
		seconds += (x.read[e] - x.read[a]) / own
		if e < b {
			if c.cpu < 0 {
				return 0, nil, false
			}
			seconds += (x.read[b]-x.read[e])/bandwidth(c.devs[c.cpu]) + splitTime*float64(x.count[b]-x.count[e])
		}
		kept = append(kept, e)
	}
	// Between equal cuts the one that fills the preferred device.
	return seconds + 1e-18*float64(d)*float64(used), kept, true
}

// A segment is layers from…end-1 on device d.
type segment struct{ d, from, end int }

// best returns the segments in order; ok is false when no cut holds the layers.
func (c *cutter) best() (list []segment, ok bool) {
	n, k := len(c.layers), len(c.devs)
	order := make([]int, 0, k) // the cpu first: of equal cuts the later layers are on the GPU
	if c.cpu >= 0 {
		order = append(order, c.cpu)
	}
	for d := range k {
		if d != c.cpu {
			order = append(order, d)
		}
	}
	// A state is which devices have a segment and how many layers are laid
	// out. With many devices they come in order, and which is the latest.
	sets := k + 1
	if k <= maxOrders {
		sets = 1 << k
	}
	type state struct {
		seconds float64
		latest  segment
		before  int // the set without the latest
		ok      bool
	}
	table := make([][]state, sets)
	for i := range table {
		table[i] = make([]state, n+1)
	}
	table[0][0].ok = true
	last := -1
	for set := range sets {
		for a, s := range table[set][:n] {
			if !s.ok {
				continue
			}
			for i, d := range order {
				next := i + 1
				if k <= maxOrders {
					next = set | 1<<i
				}
				if next <= set {
					continue
				}
				for b := a + 1; b <= n; b++ {
					t, _, ok := c.cost(d, a, b)
					if !ok && c.need[b]-c.need[a] > c.room[d] {
						break
					}
					t += s.seconds
					if a > 0 {
						t += splitTime
					}
					if old := &table[next][b]; ok && (!old.ok || t < old.seconds) {
						*old = state{t, segment{d, a, b}, set, true}
					}
				}
			}
		}
		if s := table[set][n]; s.ok && (last < 0 || s.seconds < table[last][n].seconds) {
			last = set
		}
	}
	if last < 0 {
		return nil, false
	}
	for end := n; end > 0; {
		s := table[last][end]
		list = append(list, s.latest)
		last, end = s.before, s.latest.from
	}
	slices.Reverse(list)
	return list, true
}

// assign calls put with the device of each symbol.
func (c *cutter) assign(segments []segment, u *usage, sizes ir.Sizes, put func(*ir.Value, ir.Device)) {
	for _, s := range segments {
		_, kept, _ := c.cost(s.d, s.from, s.end)
		for i := s.from; i < s.end; i++ {
			for _, v := range c.layers[i].dense {
				put(v, c.devs[s.d].Name)
			}
			for _, v := range c.layers[i].sparse {
				density := u.density(v, sizes)
				k := slices.IndexFunc(c.class, func(x *class) bool { return x.density == density })
				if i < kept[k] {
					put(v, c.devs[s.d].Name)
				} else {
					put(v, c.devs[c.cpu].Name)
				}
			}
		}
	}
}
