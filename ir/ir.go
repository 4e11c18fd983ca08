package ir

import "slices"

// A Level says how far a module has come, and with it what Verify demands.
type Level uint8

const (
	LevelGraph   Level = iota // no devices, no memory
	LevelPlaced               // every function is cut into parts
	LevelPlanned              // values have arena offsets
)

var levels = []string{"graph", "placed", "planned"}

func (l Level) String() string { return levels[l] }

// A Module is a model: a machine, weights and state, and functions over them.
type Module struct {
	Name    string
	Level   Level
	Machine Machine
	Bounds  []Bound
	Weights []*Value // Op == OpWeight
	State   []*Value // Op == OpState
	Funcs   []*Func
}

// A Bound is the largest value of a dimension symbol.
type Bound struct {
	Sym string
	Max int
}

// MaxSizes returns the bounds as sizes.
func (m *Module) MaxSizes() Sizes {
	s := Sizes{}
	for _, b := range m.Bounds {
		s[b.Sym] = b.Max
	}
	return s
}

// Symbol finds a weight or state by name.
func (m *Module) Symbol(name string) *Value {
	for _, list := range [][]*Value{m.Weights, m.State} {
		for _, v := range list {
			if v.Name == name {
				return v
			}
		}
	}
	return nil
}

// Func finds a function by name.
func (m *Module) Func(name string) *Func {
	for _, f := range m.Funcs {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Rows is a run of Groups × Len rows of a GGUF tensor: group g starts at row
// Start + g*Stride. A weight made of several runs is their concatenation, so
// that a merged or interleaved tensor is taken apart when it is packed.
type Rows struct{ Start, Len, Groups, Stride int }

// NoMem marks a value without arena memory.
const NoMem = -1

// A Value is one op application and its result, a parameter (OpParam), a
// weight (OpWeight) or a piece of state (OpState).
type Value struct {
	Name string // without % or @
	Op   Op
	Type Type
	Args []*Value
	Attr Attrs

	On  Device // placed modules
	Mem int64  // arena offset in bytes, or NoMem

	// Weights only: the GGUF tensor they come from, and which of its rows (all when nil).
	From string
	Rows []Rows
}

// IsSymbol reports whether v is a weight or state.
func (v *Value) IsSymbol() bool { return v.Op == OpWeight || v.Op == OpState }

// Effect returns what v does to the state symbol that is its first argument.
func (v *Value) Effect() Effect { return v.Op.Info().Effect }

// A Part is a maximal run of values on one device.
type Part struct {
	Device Device
	Len    int // number of values of Body
}

// A Func is a dataflow graph: Params, then Body in an order where every value
// follows its arguments, then Results. len(Parts) is the number of splits as
// ggml counts them: 1 on a single device.
type Func struct {
	Name    string
	From    int // least T that it is meant for; another function takes shorter steps
	Params  []*Value
	Body    []*Value
	Results []*Value
	Parts   []Part
}

// An Attr is one compile-time constant of an op.
type Attr struct{ Name, Val string }

// Attrs are an op's constants in the order of its table row.
type Attrs []Attr

// Get returns the value of the attribute, or "".
func (a Attrs) Get(name string) string {
	for _, x := range a {
		if x.Name == name {
			return x.Val
		}
	}
	return ""
}

// With returns a copy of a with name set to val; an empty val removes it.
func (a Attrs) With(name, val string) Attrs {
	out := slices.DeleteFunc(slices.Clone(a), func(x Attr) bool { return x.Name == name })
	if val == "" {
		return out
	}
	return append(out, Attr{name, val})
}
