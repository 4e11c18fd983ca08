package passes

import (
	"cmp"
	"fmt"
	"slices"

	"qnc/ir"
)

// place gives every weight, state and value its device.
//
// What the text has placed stays. The other symbols fill the devices from the
// last one used back to the first, accelerators by bandwidth before the cpu, so
// that what does not fit is one stretch at the start of the model. A value
// goes where its state lies, or else its largest weight, or else to the only
// device that runs it. The others are free and lie so that a function has the
// fewest splits and then moves the fewest bytes: see settle.
func place(m *ir.Module, t *Target) error {
	if m.Level != ir.LevelGraph {
		return fmt.Errorf("the module is %s: it has been placed", m.Level)
	}
	if len(m.Machine.Devices) == 0 {
		return fmt.Errorf("module %s has no device: add a line such as \"device cpu\"", m.Name)
	}
	p := &placer{m: m, t: t, sizes: m.MaxSizes()}
	if err := checkBounds(m, p.sizes); err != nil {
		return err
	}
	p.order = slices.Clone(m.Machine.Devices)
	slices.SortStableFunc(p.order, func(a, b ir.DeviceInfo) int {
		if ac, bc := a.Name == "cpu", b.Name == "cpu"; ac != bc {
			return map[bool]int{false: -1, true: 1}[ac]
		}
		return cmp.Compare(b.Bandwidth, a.Bandwidth)
	})
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			v.On = ""
		}
	}
	if err := p.symbols(); err != nil {
		return err
	}
	for _, f := range m.Funcs {
		if err := p.values(f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	arena, err := p.arena()
	if err != nil {
		return err
	}
	return checkBudgets(m, p.sizes, arena)
}

type placer struct {
	m     *ir.Module
	t     *Target
	sizes ir.Sizes
	order []ir.DeviceInfo // the preferred first
}

func (p *placer) canRun(d ir.Device, v *ir.Value) bool {
	return p.t == nil || p.t.CanRun == nil || v.Op.IsView() || p.t.CanRun(d, v)
}

// runners returns the devices that run all of vs.
func (p *placer) runners(vs ...*ir.Value) []ir.Device {
	var out []ir.Device
	for _, d := range p.order {
		if !slices.ContainsFunc(vs, func(v *ir.Value) bool { return !p.canRun(d.Name, v) }) {
			out = append(out, d.Name)
		}
	}
	return out
}

// uses returns the values that read each symbol, views looked through, and the
// symbols in the order of their first use; those without use come first.
func (p *placer) uses() (map[*ir.Value][]*ir.Value, []*ir.Value) {
	users := map[*ir.Value][]*ir.Value{}
	var used []*ir.Value
	for _, f := range p.m.Funcs {
		for _, v := range f.Body {
			for _, a := range v.Args {
				if s := viewed(a); s.IsSymbol() && !v.Op.IsView() {
					if users[s] == nil {
						used = append(used, s)
					}
					users[s] = append(users[s], v)
				}
			}
		}
	}
	var order []*ir.Value
	for _, s := range slices.Concat(p.m.Weights, p.m.State) {
		if users[s] == nil {
			order = append(order, s)
		}
	}
	return users, append(order, used...)
}

// symbols places the weights and the state.
func (p *placer) symbols() error {
	users, order := p.uses()
	room := map[ir.Device]int64{}
	arena, err := p.arena() // nothing is placed: as if all ran on one device
	if err != nil {
		return err
	}
	for _, d := range p.m.Machine.Devices {
		w, s := symbolBytes(p.m, d.Name, p.sizes)
		room[d.Name] = d.Mem - arena[""] - w - s
		if d.Mem == 0 {
			room[d.Name] = ir.MaxBytes
		}
	}
	full := map[ir.Device]bool{}
	for _, s := range slices.Backward(order) {
		can := p.runners(users[s]...)
		switch _, known := p.m.Machine.Device(s.On); {
		case s.On != "" && !known:
			return fmt.Errorf("%s is on %s, which is no device of the module: add a device line", s, s.On)
		case s.Op == ir.OpState && len(can) == 0:
			return fmt.Errorf("state %s: no device runs all that uses it: %s", s, devicesOf(p, users[s]))
		case s.Op == ir.OpState && s.On != "" && !slices.Contains(can, s.On):
			return fmt.Errorf("state %s is on %s, which does not run all that uses it: place it on %s", s, s.On, can[0])
		case s.On != "":
			continue
		case len(can) == 0:
			can = p.runners(users[s][0])
		}
		if len(can) == 0 {
			return fmt.Errorf("no device runs %q", users[s][0].LongString())
		}
		size := bytesOf(s.Type, p.sizes)
		s.On = can[len(can)-1]
		for _, d := range can {
			if !full[d] && size <= room[d] {
				s.On = d
				break
			}
			full[d] = true
		}
		room[s.On] -= size
	}
	return nil
}

// devicesOf lists who runs what, for an error.
func devicesOf(p *placer, vs []*ir.Value) string {
	out := ""
	for i, v := range vs {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%s on %v", v.Op, p.runners(v))
	}
	return out
}

// values places the values of f.
func (p *placer) values(f *ir.Func) error {
	can := make([][]ir.Device, len(f.Body)) // one device: the value is fixed
	for i, v := range f.Body {
		can[i] = p.runners(v)
		if len(can[i]) == 0 {
			return fmt.Errorf("no device runs %q", v.LongString())
		}
		if d := p.home(v); d != "" && slices.Contains(can[i], d) {
			can[i] = []ir.Device{d}
		}
	}
	p.settle(f, can)
	return nil
}

// home returns the device of v's state, a window of it included, or else of its largest weight.
func (p *placer) home(v *ir.Value) ir.Device {
	var d ir.Device
	most := int64(-1)
	for _, a := range v.Args {
		s := viewed(a)
		if s.Op == ir.OpLoadRows {
			s = s.Args[0]
		}
		if s.Op == ir.OpState {
			return s.On
		}
		if n := bytesOf(s.Type, p.sizes); s.Op == ir.OpWeight && n > most {
			d, most = s.On, n
		}
	}
	return d
}

// arena returns what the functions take on each device in the order they stand in.
func (p *placer) arena() (map[ir.Device]int64, error) {
	most := map[ir.Device]int64{}
	for _, f := range p.m.Funcs {
		blocks, err := storage(f, p.sizes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		arrange(blocks)
		for _, b := range blocks {
			most[b.on] = max(most[b.on], b.at+b.size)
		}
	}
	return most, nil
}

// A FitError says that a device's memory does not hold what is placed on it.
type FitError struct {
	Device                      ir.Device
	Weights, State, Arena, Have int64 // bytes
}

func (e *FitError) Error() string {
	return fmt.Sprintf("needs %s (weights %s, state %s, arena %s), %s has %s: use a smaller -c, -ub or -np, or a smaller quantisation",
		humanBytes(e.Weights+e.State+e.Arena), humanBytes(e.Weights), humanBytes(e.State), humanBytes(e.Arena), e.Device, humanBytes(e.Have))
}

// checkBudgets compares what each device must hold with what it has. On the
// CPU the weights are mapped from their file: they may be larger than its memory.
func checkBudgets(m *ir.Module, sizes ir.Sizes, arena map[ir.Device]int64) error {
	for _, d := range m.Machine.Devices {
		w, s := symbolBytes(m, d.Name, sizes)
		if d.Name == "cpu" {
			w = 0
		}
		if need := satAdd(satAdd(w, s), arena[d.Name]); d.Mem > 0 && need > d.Mem {
			return &FitError{d.Name, w, s, arena[d.Name], d.Mem}
		}
	}
	return nil
}

func humanBytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
