package passes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qnc/ir"
)

// place gives every weight, state and value its device.
//
// What the text has placed stays; the rest is laid out by cutter. A value goes
// where its state lies, or else its largest weight, or else to the only device
// that runs it. The others are free and lie so that a function has the fewest
// splits and then moves the fewest bytes: see settle.
func place(m *ir.Module, t *Target) error {
	if m.Level != ir.LevelGraph {
		return fmt.Errorf("the module is %s: it has been placed", m.Level)
	}
	if len(m.Machine.Devices) == 0 {
		return fmt.Errorf("module %s has no device: add a line such as \"device cpu\"", m.Name)
	}
	p := &placer{m: m, t: t, sizes: m.MaxSizes(), uploads: map[*ir.Func]upload{}, sigs: map[*ir.Value]string{}, can: map[string]bool{}}
	if err := checkBounds(m, p.sizes); err != nil {
		return err
	}
	p.order = slices.Clone(m.Machine.Devices)
	slices.SortStableFunc(p.order, func(a, b ir.DeviceInfo) int {
		if ac, bc := a.Name == "cpu", b.Name == "cpu"; ac != bc {
			return map[bool]int{false: -1, true: 1}[ac]
		}
		return cmp.Or(cmp.Compare(bandwidth(b), bandwidth(a)), cmp.Compare(budget(b), budget(a)))
	})
	p.symbolList = slices.Concat(m.Weights, m.State)
	text := p.devices()
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			v.On = ""
		}
	}
	p.addUploads()
	arena, err := p.arena() // nothing is placed: as if each device ran all
	if err != nil {
		return err
	}
	guess := map[ir.Device]int64{}
	for _, d := range p.order {
		guess[d.Name] = arena[""]
		for f := range p.uploads {
			if d.Name != "cpu" {
				guess[d.Name] = max(guess[d.Name], arena[""]+uploadBytes(f, p.sizes))
			}
		}
	}
	u := newUsage(m, p.sizes)
	var best []ir.Device
	var uses []DeviceUse
	for range maxRounds {
		p.put(text)
		if err := p.round(u, guess); err != nil {
			return err
		}
		if uses, err = p.trial(); err != nil {
			return err
		}
		fits := lacking(uses) == nil
		if best == nil || fits {
			best = p.devices()
		}
		arena = map[ir.Device]int64{}
		for _, x := range uses {
			arena[x.Device] = satAdd(x.Arena, x.Staging)
		}
		if !fits || len(p.order) == 1 || maps.Equal(guess, arena) {
			break
		}
		guess = arena
	}
	if !slices.Equal(best, p.devices()) {
		p.put(best)
		if err := p.round(u, nil); err != nil {
			return err
		}
		if uses, err = p.trial(); err != nil {
			return err
		}
	}
	p.dropUploads()
	if e := lacking(uses); e != nil && !(t != nil && t.Overfull) {
		return e
	}
	return nil
}

// trial measures the placement as it will be once parts are ordered and
// transfers are there.
func (p *placer) trial() ([]DeviceUse, error) {
	arena, err := p.arena()
	if err != nil || len(p.order) == 1 {
		return use(p.m, p.sizes, arena), err
	}
	m := p.m.Clone()
	if err := partition(m, p.t); err != nil {
		return nil, err
	}
	if arena, err = (&placer{m: m, sizes: p.sizes}).arena(); err != nil {
		return nil, err
	}
	return use(m, p.sizes, arena), nil
}

// maxRounds bounds how often symbols are laid out with the arenas that the
// layout before had: less arena is more room for weights.
const maxRounds = 3

type placer struct {
	m     *ir.Module
	t     *Target
	sizes ir.Sizes
	order []ir.DeviceInfo // the preferred first: by bandwidth, then by memory; the cpu last

	symbolList []*ir.Value
	uploads    map[*ir.Func]upload // the second forms of functions

	sigs map[*ir.Value]string // of values
	can  map[string]bool      // what CanRun has said of a device and a signature
}

// devices returns where the symbols are, put moves them there.
func (p *placer) devices() []ir.Device {
	var out []ir.Device
	for _, s := range p.symbolList {
		out = append(out, s.On)
	}
	return out
}

func (p *placer) put(devices []ir.Device) {
	for i, s := range p.symbolList {
		s.On = devices[i]
	}
}

// budget is what a device has for a program.
func budget(d ir.DeviceInfo) int64 {
	if d.Mem == 0 {
		return ir.MaxBytes
	}
	return max(d.Mem-d.Reserve, 0)
}

// round places symbols, then values, with room for arenas.
func (p *placer) round(u *usage, arena map[ir.Device]int64) error {
	room := map[ir.Device]int64{}
	for _, d := range p.order {
		w, s := symbolBytes(p.m, d.Name, p.sizes)
		room[d.Name] = budget(d) - arena[d.Name] - w - s
	}
	if err := p.symbols(u, room); err != nil {
		return err
	}
	homes := p.blockHomes(u)
	for _, f := range p.m.Funcs {
		if err := p.values(f, homes); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func (p *placer) canRun(d ir.Device, v *ir.Value) bool {
	if p.t == nil || p.t.CanRun == nil || v.Op.IsView() {
		return true
	}
	sig, ok := p.sigs[v]
	if !ok {
		sig = signature(v)
		p.sigs[v] = sig
	}
	key := string(d) + " " + sig
	can, ok := p.can[key]
	if !ok {
		can = p.t.CanRun(d, v)
		p.can[key] = can
	}
	return can
}

// signature is what an emitter may look at: the op, its constants and types,
// and what its arguments are through views.
func signature(v *ir.Value) string {
	var b strings.Builder
	one := func(v *ir.Value) {
		b.WriteString(v.Op.String())
		for _, a := range v.Attr {
			b.WriteString(" " + a.Name + "=" + a.Val)
		}
		b.WriteString(v.Type.String())
	}
	one(v)
	for i, a := range v.Args {
		fmt.Fprintf(&b, "|%d", slices.Index(v.Args, a)-i) // the same value twice
		for ; a.Op.IsView(); a = a.Args[0] {
			one(a)
		}
		if a.IsSymbol() || a.Op == ir.OpParam || a.Op == ir.OpLoadRows {
			b.WriteString(a.Op.String())
		}
		b.WriteString(a.Type.String())
	}
	return b.String()
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

// symbols places the weights and the state, those that the text has placed
// first; room is what each device has left for the others.
func (p *placer) symbols(u *usage, room map[ir.Device]int64) error {
	free := map[*ir.Value]bool{}
	for _, s := range u.order {
		can := p.runners(u.users[s]...)
		switch _, known := p.m.Machine.Device(s.On); {
		case s.On != "" && !known:
			return fmt.Errorf("%s is on %s, which is no device of the module: add a device line", s, s.On)
		case s.Op == ir.OpState && len(can) == 0:
			return fmt.Errorf("state %s: no device runs all that uses it: %s", s, devicesOf(p, u.users[s]))
		case s.Op == ir.OpState && s.On != "" && !slices.Contains(can, s.On):
			return fmt.Errorf("state %s is on %s, which does not run all that uses it: place it on %s", s, s.On, can[0])
		case s.On != "":
			continue
		case len(can) == 0:
			can = p.runners(u.users[s][0])
		}
		switch len(can) {
		case 0:
			return fmt.Errorf("no device runs %q", u.users[s][0].LongString())
		case 1:
			s.On = can[0]
			room[s.On] -= bytesOf(s.Type, p.sizes)
		default:
			free[s] = true
		}
	}
	layers := u.layers(func(s *ir.Value) bool { return free[s] }, p.sizes)
	c := newCutter(p.order, room, layers, u, p.sizes)
	segments, ok := c.best()
	if !ok { // checkBudgets will say what is missing
		c.room[len(c.room)-1] = ir.MaxBytes
		segments, _ = c.best()
	}
	c.assign(segments, u, p.sizes, func(s *ir.Value, d ir.Device) {
		if can := p.runners(u.users[s]...); len(can) > 0 && !slices.Contains(can, d) {
			d = can[0]
		} else if len(can) == 0 {
			d = p.runners(u.users[s][0])[0]
		}
		s.On = d
	})
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

// values places the values of f; homes is where the blocks are.
func (p *placer) values(f *ir.Func, homes map[int]ir.Device) error {
	_, uploads := p.uploads[f]
	can := make([][]ir.Device, len(f.Body)) // one device: the value is fixed
	for i, v := range f.Body {
		can[i] = p.runners(v)
		if len(can[i]) == 0 {
			return fmt.Errorf("no device runs %q", v.LongString())
		}
		if d, ok := p.uploadTo(v, homes); uploads && ok {
			can[i] = []ir.Device{d}
		} else if d := p.home(v); d != "" && slices.Contains(can[i], d) {
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
