package passes

import (
	"fmt"
	"slices"
	"strings"

	"qnc/ir"
)

// partition orders each function into parts, maximal runs on one device, and
// inserts the transfers between them.
//
// With two devices the number of parts is the least there is: 1 + the most
// device changes on any path, for the better of the two devices to start on.
// Running everything that is ready on the present device before changing over
// attains it, because then a value's part is the number of changes before it.
// With more devices that is greedy, and Stats prints the bound beside it.
func partition(m *ir.Module, t *Target) error {
	if len(m.Machine.Devices) == 0 {
		return fmt.Errorf("module %s has no device: add a line such as \"device cpu\"", m.Name)
	}
	if !isPlaced(m) {
		if err := place(m, t); err != nil {
			return err
		}
	}
	for _, f := range m.Funcs {
		dropTransfers(f)
		settleSymbols(f)
		err := alignDevices(f)
		if err == nil {
			err = cut(m, f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		addTransfers(f)
	}
	m.Level = ir.LevelPlaced
	return nil
}

// isPlaced reports whether every symbol and every value has its device.
func isPlaced(m *ir.Module) bool {
	lists := [][]*ir.Value{m.Weights, m.State}
	for _, f := range m.Funcs {
		lists = append(lists, f.Body)
	}
	for _, list := range lists {
		if slices.ContainsFunc(list, func(v *ir.Value) bool { return v.On == "" }) {
			return m.Level >= ir.LevelPlaced
		}
	}
	return true
}

// dropTransfers undoes an earlier partition.
func dropTransfers(f *ir.Func) {
	orig := map[*ir.Value]*ir.Value{}
	f.Body = slices.DeleteFunc(f.Body, func(v *ir.Value) bool {
		v.Mem = ir.NoMem
		if v.Op == ir.OpTransfer {
			orig[v] = v.Args[0]
		}
		return v.Op == ir.OpTransfer
	})
	f.ReplaceAll(orig)
	f.Parts = nil
}

// settleSymbols puts a symbol that a placed text left open where it is first read.
func settleSymbols(f *ir.Func) {
	for _, v := range f.Body {
		for _, a := range v.Args {
			if a.IsSymbol() && a.On == "" {
				a.On = v.On
			}
		}
	}
}

// alignDevices keeps the members of a tuple where the tuple is, and refuses
// what no transfer can mend: state is used where it lies.
func alignDevices(f *ir.Func) error {
	for _, v := range f.Body {
		if v.Op == ir.OpPart {
			v.On = v.Args[0].On
		}
		if v.Effect() != ir.Pure && v.Args[0].On != "" && v.Args[0].On != v.On {
			return fmt.Errorf("%q is on %s, its state on %s: place both on one device", v.LongString(), v.On, v.Args[0].On)
		}
	}
	return nil
}

// A graph is what the order of a function must respect, values by position.
type graph struct {
	on    []ir.Device
	succs [][]int
	preds []int // how many
}

// dependencies gives each value its arguments, the accesses of its state
// before it, and, for a write, the users of the windows that loads opened on
// what it changes.
func dependencies(f *ir.Func) *graph {
	g := &graph{make([]ir.Device, len(f.Body)), make([][]int, len(f.Body)), make([]int, len(f.Body))}
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
		g.on[i], pos[v] = v.On, i
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

// cut orders f.Body and sets f.Parts, trying each device as the first.
func cut(m *ir.Module, f *ir.Func) error {
	g := dependencies(f)
	var best [][]int
	for _, d := range m.Machine.Devices {
		runs, err := g.runs(m.Machine.Devices, d.Name)
		if err != nil {
			return err
		}
		if best == nil || len(runs) < len(best) {
			best = runs
		}
	}
	var body []*ir.Value
	for _, run := range best {
		f.Parts = append(f.Parts, ir.Part{Device: g.on[run[0]], Len: len(run)})
		for _, i := range run {
			body = append(body, f.Body[i])
		}
	}
	f.Body = body
	return nil
}

// A walk is one execution of a graph.
type walk struct {
	*graph
	left  []int               // arguments still missing
	ready map[ir.Device][]int // sorted
}

// runs executes the graph from device start: on each device all that is ready,
// in the order of the positions, then on the device that can run the most.
func (g *graph) runs(devices []ir.DeviceInfo, start ir.Device) ([][]int, error) {
	w := &walk{g, slices.Clone(g.preds), map[ir.Device][]int{}}
	for i, n := range w.left {
		if n == 0 {
			w.push(i)
		}
	}
	var runs [][]int
	total := 0
	for d, most := start, 1; most > 0; {
		if run := w.run(d); len(run) > 0 {
			runs = append(runs, run)
			total += len(run)
		}
		most = 0
		for _, x := range devices {
			if n := w.closure(x.Name); n > most {
				d, most = x.Name, n
			}
		}
	}
	if total < len(g.on) {
		return nil, fmt.Errorf("%d of %d values are on no device of the module: add a device line", len(g.on)-total, len(g.on))
	}
	return runs, nil
}

func (w *walk) push(i int) {
	list := w.ready[w.on[i]]
	at, _ := slices.BinarySearch(list, i)
	w.ready[w.on[i]] = slices.Insert(list, at, i)
}

// run takes what is ready on d until nothing is.
func (w *walk) run(d ir.Device) []int {
	var run []int
	for len(w.ready[d]) > 0 {
		i := w.ready[d][0]
		w.ready[d] = w.ready[d][1:]
		run = append(run, i)
		for _, s := range w.succs[i] {
			if w.left[s]--; w.left[s] == 0 {
				w.push(s)
			}
		}
	}
	return run
}

// closure counts what d could run from here without the others.
func (w *walk) closure(d ir.Device) int {
	queue := slices.Clone(w.ready[d])
	met := map[int]int{}
	for n := 0; n < len(queue); n++ {
		for _, s := range w.succs[queue[n]] {
			if met[s]++; met[s] == w.left[s] && w.on[s] == d {
				queue = append(queue, s)
			}
		}
	}
	return len(queue)
}

// minSplits bounds the parts of f from below: 1 + the most device changes on
// a path from a source on the start device, for the best device to start on;
// and the number of devices in use.
func minSplits(f *ir.Func) int {
	g := dependencies(f)
	var used []ir.Device
	for _, d := range g.on {
		if !slices.Contains(used, d) {
			used = append(used, d)
		}
	}
	least := len(f.Body)
	changes := make([]int, len(g.on))
	for _, start := range used {
		most := 0
		for i, d := range g.on {
			changes[i] = 0
			if d != start {
				changes[i] = 1
			}
		}
		for i := range g.on {
			most = max(most, changes[i])
			for _, s := range g.succs[i] {
				n := changes[i]
				if g.on[s] != g.on[i] {
					n++
				}
				changes[s] = max(changes[s], n)
			}
		}
		least = min(least, most+1)
	}
	return max(least, len(used))
}

// addTransfers copies each value that another device reads, once for each
// such device, at the start of the first part there that reads it.
func addTransfers(f *ir.Func) {
	type key struct {
		v *ir.Value
		d ir.Device
	}
	copies := map[key]*ir.Value{}
	names := newNamer(f)
	var body []*ir.Value
	at := 0
	for p := range f.Parts {
		part := &f.Parts[p]
		values := f.Body[at : at+part.Len]
		at += part.Len
		var inputs []*ir.Value
		for _, v := range values {
			for i, a := range v.Args {
				if a.On == "" || a.On == part.Device {
					continue
				}
				k := key{a, part.Device}
				if copies[k] == nil {
					copies[k] = &ir.Value{Name: names.fresh(a.Name + "." + strings.ReplaceAll(string(part.Device), ":", "")), Op: ir.OpTransfer, Type: a.Type,
						Args: []*ir.Value{a}, Attr: ir.Attrs{{Name: "to", Val: string(part.Device)}}, On: part.Device, Mem: ir.NoMem}
					inputs = append(inputs, copies[k])
				}
				v.Args[i] = copies[k]
			}
		}
		body = append(append(body, inputs...), values...)
		part.Len += len(inputs)
	}
	f.Body = body
}
