package passes

import (
	"slices"

	"qnc/ir"
)

// A graph is what the order of a function must respect, values by position,
// and on which devices each may run.
//
// A function runs in parts, one device after the other. With two devices the
// number of parts is the least there is: 1 + the most device changes on any
// path, for the better of the two devices to start on. Running everything that
// may run on the present device before changing over attains it, because then
// a value's part is the number of changes before it. With more devices the next
// one is that after which the fewest changes are left on any path: that is
// greedy, and Stats prints the bound beside it.
type graph struct {
	can   [][]ir.Device
	succs [][]int
	preds []int // how many
}

// dependencies gives each value its arguments, the accesses of its state
// before it, and, for a write, the users of the windows that loads opened on
// what it changes.
func dependencies(f *ir.Func) *graph {
	g := &graph{make([][]ir.Device, len(f.Body)), make([][]int, len(f.Body)), make([]int, len(f.Body))}
	pos := make(map[*ir.Value]int, len(f.Body))
	edge := func(from, to int) {
		if !slices.Contains(g.succs[from], to) {
			g.succs[from] = append(g.succs[from], to)
			g.preds[to]++
		}
	}
	access := map[*ir.Value]int{}    // the latest, by state
	readers := map[*ir.Value][]int{} // of windows, by state
	for i, v := range f.Body {
		g.can[i], pos[v] = []ir.Device{v.On}, i
		for _, a := range v.Args {
			if p, ok := pos[a]; ok {
				edge(p, i)
			}
			if w := viewed(a); w.Op == ir.OpLoadRows {
				readers[w.Args[0]] = append(readers[w.Args[0]], i)
			}
		}
		if v.Effect() == ir.Pure {
			continue
		}
		s := v.Args[0]
		if p, ok := access[s]; ok {
			edge(p, i)
		}
		access[s] = i
		if v.Effect()&ir.WritesState != 0 {
			for _, r := range readers[s] {
				if r != i {
					edge(r, i)
				}
			}
		}
	}
	return g
}

// changes returns, for each value and each device that is present before it
// runs, the most device changes on a path that begins there. A value that may
// run on several devices changes none.
func (g *graph) changes(devices []ir.Device) [][]int {
	out := make([][]int, len(g.can))
	for i := range slices.Backward(g.can) {
		out[i] = make([]int, len(devices))
		after := make([]int, len(devices)) // when i ran on the device
		for _, s := range g.succs[i] {
			for x := range devices {
				after[x] = max(after[x], out[s][x])
			}
		}
		for x, d := range devices {
			if slices.Contains(g.can[i], d) {
				out[i][x] = after[x]
				continue
			}
			least := len(g.can)
			for _, y := range g.can[i] {
				if k := slices.Index(devices, y); k >= 0 {
					least = min(least, after[k])
				}
			}
			out[i][x] = 1 + least
		}
	}
	return out
}

// A schedule is an execution of a graph: what runs in each part, and where.
type schedule struct {
	runs  [][]int
	on    []ir.Device
	total int // values that have run
}

// A walk is a schedule in the making.
type walk struct {
	*graph
	devices []ir.Device
	changes [][]int
	left    []int   // arguments still missing
	ready   [][]int // by device, sorted; a value that may run on several is in each
	done    []bool
}

// schedule executes the graph from device start: on each device all that is
// ready, in the order of the positions.
func (g *graph) schedule(devices []ir.Device, start ir.Device) *schedule {
	w := &walk{g, devices, g.changes(devices), slices.Clone(g.preds), make([][]int, len(devices)), make([]bool, len(g.can))}
	for i, n := range w.left {
		if n == 0 {
			w.push(i)
		}
	}
	s := &schedule{}
	for x := slices.Index(devices, start); x >= 0; x = w.next() {
		if run := w.run(x); len(run) > 0 {
			s.runs, s.on = append(s.runs, run), append(s.on, devices[x])
			s.total += len(run)
		}
	}
	return s
}

func (w *walk) push(i int) {
	for x, d := range w.devices {
		if slices.Contains(w.can[i], d) {
			at, _ := slices.BinarySearch(w.ready[x], i)
			w.ready[x] = slices.Insert(w.ready[x], at, i)
		}
	}
}

// run takes what is ready on device x until nothing is.
func (w *walk) run(x int) []int {
	var run []int
	for len(w.ready[x]) > 0 {
		i := w.ready[x][0]
		w.ready[x] = w.ready[x][1:]
		if w.done[i] {
			continue
		}
		w.done[i] = true
		run = append(run, i)
		for _, s := range w.succs[i] {
			if w.left[s]--; w.left[s] == 0 {
				w.push(s)
			}
		}
	}
	return run
}

// next chooses the device after which the fewest changes are left, and of
// those the one that can run the most; -1 when none can run anything.
func (w *walk) next() int {
	best, least, most := -1, 0, 0
	for x := range w.devices {
		n, left := w.closure(x)
		if n > 0 && (best < 0 || left < least || left == least && n > most) {
			best, least, most = x, left, n
		}
	}
	return best
}

// closure counts what device x could run from here without the others, and the
// most changes on a path of what is ready after that.
func (w *walk) closure(x int) (n, left int) {
	queue := slices.DeleteFunc(slices.Clone(w.ready[x]), func(i int) bool { return w.done[i] })
	for y := range w.devices {
		for _, i := range w.ready[y] {
			if !w.done[i] && !slices.Contains(w.can[i], w.devices[x]) {
				left = max(left, w.changes[i][x])
			}
		}
	}
	met := map[int]int{}
	for ; n < len(queue); n++ {
		for _, s := range w.succs[queue[n]] {
			if met[s]++; met[s] < w.left[s] {
				continue
			}
			if slices.Contains(w.can[s], w.devices[x]) {
				queue = append(queue, s)
			} else {
				left = max(left, w.changes[s][x])
			}
		}
	}
	return n, left
}

// A Certificate proves a number of splits: on a path through the function the
// device must change Bound-1 times, whatever the order.
type Certificate struct {
	Bound int         `json:"bound"`
	Start ir.Device   `json:"start"` // the better device to start on
	Path  []*ir.Value `json:"-"`     // the values at which the device changes, from a source on Start
}

// Certify finds the certificate of a placed function.
func Certify(f *ir.Func) Certificate {
	g := dependencies(f)
	var used []ir.Device
	for _, can := range g.can {
		if !slices.Contains(used, can[0]) {
			used = append(used, can[0])
		}
	}
	changes := g.changes(used)
	c := Certificate{Bound: len(f.Body) + 1}
	start := 0
	for x, d := range used {
		most := 0
		for i := range g.can {
			most = max(most, changes[i][x])
		}
		if most+1 < c.Bound {
			c.Bound, c.Start, start = most+1, d, x
		}
	}
	// The path: always on to where the most changes are left.
	rest := make([]int, len(g.can))
	for i := range rest {
		rest[i] = i
	}
	for x := start; len(rest) > 0; {
		i := slices.MaxFunc(rest, func(i, j int) int { return changes[i][x] - changes[j][x] })
		if changes[i][x] == 0 {
			break
		}
		if g.can[i][0] != used[x] {
			c.Path = append(c.Path, f.Body[i])
			x = slices.Index(used, g.can[i][0])
		}
		rest = g.succs[i]
	}
	c.Bound = max(c.Bound, len(used))
	return c
}
