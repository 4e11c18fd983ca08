package passes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"qnc/ir"
)

// Stats says what a module costs, under its bounds. Text, JSON and goldens
// all come from it.
type Stats struct {
	Funcs   []FuncStats   `json:"funcs"`
	Devices []DeviceStats `json:"devices,omitempty"` // of a placed module
}

// A FuncStats is one function's share.
type FuncStats struct {
	Func        string `json:"func"`
	Values      int    `json:"values"`
	Launches    int    `json:"launches"`     // values that compute or copy something
	Repeats     int    `json:"repeats"`      // repeat
	RepeatBytes int64  `json:"repeat_bytes"` // what they write
	Copies      int    `json:"copies"`       // cont, pad, concat, transfer
	CopyBytes   int64  `json:"copy_bytes"`   // what they write
	Moved       int64  `json:"bytes_moved"`  // arguments read and results written; a weight once
	Splits      int    `json:"splits"`       // parts; 0 before placement
	MinSplits   int    `json:"min_splits"`   // no order has fewer
	Transfers   int    `json:"transfers"`    // between devices
	Peak        int64  `json:"peak_bytes"`   // arena, all devices; 0 before plan-memory
}

// A DeviceStats is what lies in the memory of one device.
type DeviceStats struct {
	Device  ir.Device `json:"device"`
	Weights int64     `json:"weight_bytes"`
	State   int64     `json:"state_bytes"`
	Arena   int64     `json:"arena_bytes"` // the largest function's
}

// bytesOf returns the storage of t under s, at most ir.MaxBytes.
func bytesOf(t ir.Type, s ir.Sizes) int64 { return int64(t.Bytes(s)) }

func satAdd(a, b int64) int64 { return min(a+b, ir.MaxBytes) }

// isFree reports whether v costs no launch: it only renames memory that is there.
func isFree(v *ir.Value) bool { return v.Op.IsView() || v.Op == ir.OpLoadRows }

// Measure counts what m costs.
func Measure(m *ir.Module) *Stats {
	s := &Stats{}
	sizes := m.MaxSizes()
	for _, f := range m.Funcs {
		s.Funcs = append(s.Funcs, measureFunc(m, f, sizes))
	}
	if m.Level >= ir.LevelPlaced {
		for _, d := range m.Machine.Devices {
			w, st := symbolBytes(m, d.Name, sizes)
			s.Devices = append(s.Devices, DeviceStats{d.Name, w, st, ArenaBytes(m, d.Name)})
		}
	}
	return s
}

// symbolBytes returns what the weights and the state of a device take.
func symbolBytes(m *ir.Module, d ir.Device, sizes ir.Sizes) (weights, state int64) {
	for _, v := range m.Weights {
		if v.On == d {
			weights = satAdd(weights, bytesOf(v.Type, sizes))
		}
	}
	for _, v := range m.State {
		if v.On == d {
			state = satAdd(state, bytesOf(v.Type, sizes))
		}
	}
	return weights, state
}

// ArenaBytes returns the size of a planned module's arena on a device: the
// functions share it.
func ArenaBytes(m *ir.Module, d ir.Device) int64 {
	n := int64(0)
	for _, f := range m.Funcs {
		n = max(n, arenaBytes(f, d, m.MaxSizes()))
	}
	return n
}

func arenaBytes(f *ir.Func, d ir.Device, sizes ir.Sizes) int64 {
	n := int64(0)
	for _, v := range f.Body {
		if v.Mem != ir.NoMem && v.On == d {
			n = max(n, satAdd(v.Mem, bytesOf(v.Type, sizes)))
		}
	}
	return n
}

func measureFunc(m *ir.Module, f *ir.Func, sizes ir.Sizes) FuncStats {
	s := FuncStats{Func: f.Name, Values: len(f.Body), Splits: len(f.Parts)}
	seen := map[*ir.Value]bool{}
	for _, v := range f.Body {
		out := bytesOf(v.Type, sizes)
		if !isFree(v) {
			s.Launches++
			s.Moved = satAdd(s.Moved, satAdd(out, bytesRead(v, sizes, seen)))
		}
		switch v.Op {
		case ir.OpRepeat:
			s.Repeats++
			s.RepeatBytes = satAdd(s.RepeatBytes, out)
		case ir.OpTransfer:
			s.Transfers++
			fallthrough
		case ir.OpCont, ir.OpPad, ir.OpConcat:
			s.Copies++
			s.CopyBytes = satAdd(s.CopyBytes, out)
		}
	}
	for _, d := range m.Machine.Devices {
		s.Peak += arenaBytes(f, d.Name, sizes)
	}
	if s.Splits > 0 {
		s.MinSplits = Certify(f).Bound
	}
	return s
}

// bytesRead returns what v reads of its arguments and reads and writes of
// state. A weight that is in seen is not counted again; one that is read by
// index counts with the rows or experts that the bounds can reach.
func bytesRead(v *ir.Value, sizes ir.Sizes, seen map[*ir.Value]bool) int64 {
	n := int64(0)
	for i, a := range v.Args {
		switch {
		case slices.Contains(v.Args[:i], a), a.Op == ir.OpWeight && seen[a]:
		case a.Op == ir.OpState:
			n = satAdd(n, stateBytes(v, sizes))
		default:
			n = satAdd(n, reached(v, i, sizes))
		}
		if a.Op == ir.OpWeight {
			seen[a] = true
		}
	}
	return n
}

// stateBytes returns what v reads and writes of the state of one sequence.
func stateBytes(v *ir.Value, sizes ir.Sizes) int64 {
	t := v.Args[0].Type
	row := t
	row.Dims = t.Dims[1:]
	switch v.Op {
	case ir.OpStoreRows, ir.OpNormRopeStore: // only the cells of this step
		row.Dims = slices.Clone(row.Dims)
		row.Dims[0] = v.Args[1].Type.Dims[0]
	}
	n, once := int64(0), bytesOf(row, sizes)
	if v.Effect()&ir.ReadsState != 0 {
		n = satAdd(n, once)
	}
	if v.Effect()&ir.WritesState != 0 {
		n = satAdd(n, once)
	}
	return n
}

// reached returns how many bytes of argument i the op v reads.
func reached(v *ir.Value, i int, sizes ir.Sizes) int64 {
	t := v.Args[i].Type
	all := bytesOf(t, sizes)
	ids := indexArg[v.Op]
	if ids == 0 || t.Rank() == 0 || i >= ids || i == 0 && v.Op != ir.OpGetRows {
		return all
	}
	rows := int64(max(t.Dims[0].At(sizes), 1))
	picks := bytesOf(ir.Tensor(ir.I32, v.Args[ids].Type.Dims...), sizes) / 4
	return all / rows * min(rows, picks)
}

// indexArg names, for each op that picks leading rows of its weights, the
// argument that holds the indices; the weights lie between x and it.
var indexArg = map[ir.Op]int{ir.OpGetRows: 1, ir.OpMatMulID: 2, ir.OpMoEGateUp: 3, ir.OpMoEDown: 2}

// Total sums the functions; the peak is the largest one's, since they share the arena.
func (s *Stats) Total() FuncStats {
	t := FuncStats{Func: "total"}
	for _, f := range s.Funcs {
		t.Values += f.Values
		t.Launches += f.Launches
		t.Repeats += f.Repeats
		t.RepeatBytes = satAdd(t.RepeatBytes, f.RepeatBytes)
		t.Copies += f.Copies
		t.CopyBytes = satAdd(t.CopyBytes, f.CopyBytes)
		t.Moved = satAdd(t.Moved, f.Moved)
		t.Splits += f.Splits
		t.MinSplits += f.MinSplits
		t.Transfers += f.Transfers
		t.Peak = max(t.Peak, f.Peak)
	}
	return t
}

// String prints a table, a function a line, then the devices.
func (s *Stats) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "func\tvalues\tlaunches\trepeats\tbytes\tcopies\tbytes\tmoved\tsplits\tleast\ttransfers\tpeak\t")
	for _, f := range s.Funcs {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", f.Func, f.Values, f.Launches,
			f.Repeats, f.RepeatBytes, f.Copies, f.CopyBytes, f.Moved, f.Splits, f.MinSplits, f.Transfers, f.Peak)
	}
	w.Flush()
	if len(s.Devices) > 0 {
		fmt.Fprintln(w, "device\tweights\tstate\tarena\t")
		for _, d := range s.Devices {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", d.Device, d.Weights, d.State, d.Arena)
		}
		w.Flush()
	}
	return b.String()
}

// JSON prints the same for programs.
func (s *Stats) JSON() []byte {
	out, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		panic("BUG: statistics do not marshal: " + err.Error())
	}
	return append(out, '\n')
}
