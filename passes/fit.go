package passes

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// A DeviceUse is what a plan takes of one device, in bytes.
type DeviceUse struct {
	Device    ir.Device `json:"device"`
	Have      int64     `json:"have_bytes"` // its memory; 0 is unknown
	Weights   int64     `json:"weight_bytes"`
	KV        int64     `json:"kv_bytes"`
	Recurrent int64     `json:"recurrent_bytes"`
	Arena     int64     `json:"arena_bytes"`   // the largest function's
	Staging   int64     `json:"staging_bytes"` // of the host: pinned memory between the devices
	Reserve   int64     `json:"reserve_bytes"` // the driver's context
}

// Mapped reports whether the weights stay in their file: on the cpu they may
// be larger than its memory.
func (u *DeviceUse) Mapped() bool { return u.Device == "cpu" }

// Need is what must fit.
func (u *DeviceUse) Need() int64 {
	n := satAdd(satAdd(u.KV, u.Recurrent), satAdd(satAdd(u.Arena, u.Staging), u.Reserve))
	if !u.Mapped() {
		n = satAdd(n, u.Weights)
	}
	return n
}

// Free is what is left; negative when it does not fit.
func (u *DeviceUse) Free() int64 {
	if u.Have == 0 {
		return ir.MaxBytes
	}
	return u.Have - u.Need()
}

// Use returns what a placed module takes of each device; the arena is part of
// it once the module is planned.
func Use(m *ir.Module) []DeviceUse {
	arena := map[ir.Device]int64{}
	for _, d := range m.Machine.Devices {
		arena[d.Name] = ArenaBytes(m, d.Name)
	}
	return use(m, m.MaxSizes(), arena)
}

func use(m *ir.Module, sizes ir.Sizes, arena map[ir.Device]int64) []DeviceUse {
	caches := Caches(m)
	var list []DeviceUse
	for i, d := range m.Machine.Devices {
		u := DeviceUse{Device: d.Name, Have: d.Mem, Arena: arena[d.Name], Reserve: d.Reserve}
		u.Weights, u.Recurrent = symbolBytes(m, d.Name, sizes)
		for _, s := range m.State {
			if s.On == d.Name && caches[s] {
				u.KV = satAdd(u.KV, bytesOf(s.Type, sizes))
			}
		}
		u.Recurrent -= min(u.KV, u.Recurrent)
		if i == 0 {
			u.Staging = staging(m, sizes)
		}
		list = append(list, u)
	}
	return list
}

// Caches returns the KV caches of m: the state that is written row by row.
func Caches(m *ir.Module) map[*ir.Value]bool {
	out := map[*ir.Value]bool{}
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			if v.Op == ir.OpStoreRows || v.Op == ir.OpNormRopeStore || v.Op == ir.OpLoadRows {
				out[v.Args[0]] = true
			}
		}
	}
	return out
}

// staging is the pinned memory of the host: two buffers, each for what any
// part takes from other devices. Weights are uploaded from where they are mapped.
func staging(m *ir.Module, sizes ir.Sizes) int64 {
	most := int64(0)
	for _, f := range m.Funcs {
		at := 0
		for _, p := range f.Parts {
			n := int64(0)
			for _, v := range f.Body[at : at+p.Len] {
				if v.Op == ir.OpTransfer && v.Args[0].Op != ir.OpWeight {
					n = satAdd(n, alignUp(bytesOf(v.Type, sizes)))
				}
			}
			at += p.Len
			most = max(most, n)
		}
	}
	return satAdd(most, most)
}

// A FitError says that a device's memory does not hold what is placed on it.
type FitError struct{ DeviceUse }

func (e *FitError) Error() string {
	return e.Lacks().Error() + ": use a smaller -c, -ub or -np, or a smaller quantisation"
}

// Lacks is the error without its cure.
func (e *FitError) Lacks() error {
	state := satAdd(e.KV, e.Recurrent)
	weights, rest := e.Weights, ""
	if e.Mapped() {
		weights = 0
	}
	if e.Staging > 0 {
		rest += ", staging " + humanBytes(e.Staging)
	}
	if e.Reserve > 0 {
		rest += ", context " + humanBytes(e.Reserve)
	}
	return fmt.Errorf("needs %s (weights %s, state %s, arena %s%s), %s has %s",
		humanBytes(e.Need()), humanBytes(weights), humanBytes(state), humanBytes(e.Arena), rest, e.Device, humanBytes(e.Have))
}

// lacking returns what does not fit first, or nil.
func lacking(uses []DeviceUse) error {
	i := slices.IndexFunc(uses, func(u DeviceUse) bool { return u.Free() < 0 })
	if i < 0 {
		return nil
	}
	return &FitError{uses[i]}
}

// A Layout is what lies on a device, by layers as Blocks counts them.
type Layout struct {
	Device ir.Device
	Dense  map[int]int64 // bytes of state and of weights that decode reads whole
	Sparse map[int]int64 // bytes of the others: experts, and the embedding at -1
}

// Layouts returns what lies on each device, and the number of blocks.
func Layouts(m *ir.Module) ([]Layout, int) {
	sizes := m.MaxSizes()
	u := newUsage(m, sizes)
	layer, n := Blocks(m)
	var list []Layout
	for _, d := range m.Machine.Devices {
		l := Layout{d.Name, map[int]int64{}, map[int]int64{}}
		for _, s := range u.order {
			switch {
			case s.On != d.Name:
			case u.isSparse(s, sizes):
				l.Sparse[layer[s]] = satAdd(l.Sparse[layer[s]], bytesOf(s.Type, sizes))
			default:
				l.Dense[layer[s]] = satAdd(l.Dense[layer[s]], bytesOf(s.Type, sizes))
			}
		}
		list = append(list, l)
	}
	return list, n
}

// ArenaWith returns what the arenas of a placed module would take under other bounds.
func ArenaWith(m *ir.Module, sizes ir.Sizes) (map[ir.Device]int64, error) {
	p := &placer{m: m, sizes: sizes}
	return p.arena()
}

func humanBytes(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
