package passes

import (
	"fmt"
	"slices"
	"strings"

	"qnc/ir"
)

// partition orders each function into parts, maximal runs on one device, and
// inserts the transfers between them: see order.go.
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
		addTransfers(m, f)
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

// cut orders f.Body and sets f.Parts, trying each device as the first.
func cut(m *ir.Module, f *ir.Func) error {
	var best *schedule
	g := dependencies(f)
	for _, d := range m.Machine.Devices {
		s := g.schedule(deviceNames(m), d.Name)
		if s.total < len(f.Body) {
			return fmt.Errorf("%d of %d values are on no device of the module: add a device line", len(f.Body)-s.total, len(f.Body))
		}
		if best == nil || len(s.runs) < len(best.runs) {
			best = s
		}
	}
	var body []*ir.Value
	for k, run := range best.runs {
		f.Parts = append(f.Parts, ir.Part{Device: best.on[k], Len: len(run)})
		for _, i := range run {
			body = append(body, f.Body[i])
		}
	}
	f.Body = body
	return nil
}

func deviceNames(m *ir.Module) []ir.Device {
	var names []ir.Device
	for _, d := range m.Machine.Devices {
		names = append(names, d.Name)
	}
	return names
}

// addTransfers copies each value that another device reads, once for each
// such device, at the start of the first part there that reads it; a weight
// just before that.
func addTransfers(m *ir.Module, f *ir.Func) {
	uploads := copies(m, f)
	type key struct {
		v *ir.Value
		d ir.Device
	}
	made := map[key]*ir.Value{}
	names := newNamer(f)
	var body []*ir.Value
	at := 0
	for p := range f.Parts {
		part := &f.Parts[p]
		values := f.Body[at : at+part.Len]
		at += part.Len
		var inputs, rest []*ir.Value
		for _, v := range values {
			for i, a := range v.Args {
				if a.On == "" || a.On == part.Device {
					continue
				}
				k := key{a, part.Device}
				if made[k] == nil {
					made[k] = &ir.Value{Name: names.fresh(a.Name + "." + strings.ReplaceAll(string(part.Device), ":", "")), Op: ir.OpTransfer, Type: a.Type,
						Args: []*ir.Value{a}, Attr: ir.Attrs{{Name: "to", Val: string(part.Device)}}, On: part.Device, Mem: ir.NoMem}
					if a.Op == ir.OpWeight {
						made[k].Attr = append(made[k].Attr, uploads...)
						rest = append(rest, made[k])
					} else {
						inputs = append(inputs, made[k])
					}
				}
				v.Args[i] = made[k]
			}
			rest = append(rest, v)
		}
		body = append(append(body, inputs...), rest...)
		part.Len = len(inputs) + len(rest)
	}
	f.Body = body
}
