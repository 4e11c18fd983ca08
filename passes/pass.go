// Package passes rewrites modules: the optimiser, the placement on devices and
// the memory plan. A pass is a row of Pipeline, a file and a folder of goldens
// under testdata, all of one name.
package passes

import (
	"fmt"
	"slices"
	"strings"

	"qnc/ir"
)

// A Pass is a named rewrite of a module.
type Pass struct {
	Name string // also its file, its folder of goldens and its word in --passes
	Doc  string // one line for people
	Run  func(*ir.Module, *Target) error

	Stage        Stage   // the zero one is Rewrites
	Reassociates bool    // sums in another order: values agree to 1e-5 of the largest
	Lossy        bool    // changes values; left out by --precise
	Bound        float64 // of a lossy pass: |after - before| over the largest |before|
	Required     bool    // later stages need it: no selection leaves it out
}

// A Stage is a run of passes that a compile can stop after; Pipeline lists the
// stages one after the other.
type Stage uint8

const (
	Rewrites  Stage = iota // of a graph, which they leave one
	Placement              // from a graph to a placed module
	Planning               // from a placed module to a planned one
)

// stages gives the level of a module after each stage.
var stages = [...]struct {
	name  string
	level ir.Level
}{
	Rewrites:  {"rewrites", ir.LevelGraph},
	Placement: {"placement", ir.LevelPlaced},
	Planning:  {"planning", ir.LevelPlanned},
}

func (s Stage) String() string { return stages[s].name }

// Level is that of a module after the stage.
func (s Stage) Level() ir.Level { return stages[s].level }

// Passes returns the passes of the stage in order; precise leaves out those that lose precision.
func (s Stage) Passes(precise bool) []*Pass {
	return slices.DeleteFunc(Default(precise), func(p *Pass) bool { return p.Stage != s })
}

// A Target is what passes may know of the code generators.
type Target struct {
	// CanRun reports whether device d has an emitter for v. Nil means that
	// every device runs everything. It looks at v's op, constants and types and
	// at what its arguments are, at no name.
	CanRun func(d ir.Device, v *ir.Value) bool
	// Uploads lets experts that lie on the cpu be uploaded for long prompts.
	Uploads bool
	// Overfull plans what does not fit as well: no FitError.
	Overfull bool
	// VerifyOnce verifies the module after the last pass only, not after each.
	VerifyOnce bool
}

// canRun reports whether some device of m runs v.
func (t *Target) canRun(m *ir.Module, v *ir.Value) bool {
	if t == nil || t.CanRun == nil || len(m.Machine.Devices) == 0 || v.Op.IsView() {
		return true
	}
	for _, d := range m.Machine.Devices {
		if t.CanRun(d.Name, v) {
			return true
		}
	}
	return false
}

// ByName finds a pass of the pipeline.
func ByName(name string) (*Pass, error) {
	var names []string
	for i := range Pipeline {
		if Pipeline[i].Name == name {
			return &Pipeline[i], nil
		}
		names = append(names, Pipeline[i].Name)
	}
	return nil, fmt.Errorf("unknown pass %q%s; known: %s", name, ir.Nearest(name, names), strings.Join(names, " "))
}

// Default returns the passes of a compile in order; precise leaves out those that lose precision.
func Default(precise bool) []*Pass {
	var out []*Pass
	for i := range Pipeline {
		if p := &Pipeline[i]; !precise || !p.Lossy {
			out = append(out, p)
		}
	}
	return out
}

// Run applies the passes in the order given, verifies the module and then
// calls after, which may be nil.
func Run(m *ir.Module, t *Target, list []*Pass, after func(*Pass) error) error {
	for i, p := range list {
		if err := p.Run(m, t); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if t == nil || !t.VerifyOnce || i == len(list)-1 {
			if err := m.Verify(); err != nil {
				return fmt.Errorf("BUG: after %s: %w", p.Name, err)
			}
		}
		if after != nil {
			if err := after(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachFunc makes a pass of a rewrite of one function.
func eachFunc(rewrite func(m *ir.Module, f *ir.Func, t *Target) error) func(*ir.Module, *Target) error {
	return func(m *ir.Module, t *Target) error {
		if m.Level != ir.LevelGraph {
			return fmt.Errorf("the module is %s: graph rewrites come before placement", m.Level)
		}
		for _, f := range m.Funcs {
			if err := rewrite(m, f, t); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		return nil
	}
}

// rules makes a pass of rewrite rules, applied in turn: the more specific ones come first.
func rules(list ...*rule) func(*ir.Module, *Target) error {
	return eachFunc(func(m *ir.Module, f *ir.Func, t *Target) error {
		for _, r := range list {
			if err := r.apply(m, f, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// A namer hands out names that no value of a function has.
type namer map[string]bool

func newNamer(f *ir.Func) namer {
	n := namer{}
	for _, list := range [][]*ir.Value{f.Params, f.Body} {
		for _, v := range list {
			n[v.Name] = true
		}
	}
	return n
}

// fresh returns base, or base.1, base.2, … when it is taken.
func (n namer) fresh(base string) string {
	name := base
	for i := 1; n[name]; i++ {
		name = fmt.Sprintf("%s.%d", base, i)
	}
	n[name] = true
	return name
}
