// Package arch lowers GGUF models to IR: one file per architecture, made of
// the shared blocks. It decides everything from the header; tensor data is
// never read.
package arch

import (
	"slices"
	"strings"

	"qnc/ir"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// Options are the sizes that are fixed ahead of time.
type Options struct {
	Ctx    int // cells of one sequence
	Ubatch int // tokens of one step
	Seqs   int
	TypeK  ir.DType // of the KV cache
	TypeV  ir.DType
}

// An Arch is one architecture: its name in general.architecture and its lowering.
type Arch struct {
	Name  string
	Doc   string
	Lower func(*Importer) error
}

// All lists the architectures.
var All = []Arch{
	{"qwen3next", "Qwen3-Next: gated delta net, gated attention, mixture of experts with a shared expert", lowerQwen3Next},
}

// An Importer collects the module while an architecture is lowered.
type Importer struct {
	File    *gguf.File
	Opt     Options
	M       *ir.Module
	Notes   []string // what the user should know: "skipped 1 MTP block"
	Layers  int      // blocks that are lowered
	used    map[string]bool
	arch    string
	allowed []string // keys of the architecture that have been looked at
	err     error
}

// A Result is an imported model.
type Result struct {
	Module *ir.Module
	Notes  []string
	Layers int
}

// Import lowers the model in f to a module with the functions prefill and
// decode. Every tensor must be consumed and every key of the architecture known.
func Import(f *gguf.File, machine ir.Machine, opt Options) (*Result, error) {
	name, ok, err := f.String("general.architecture")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Model, "%s: key general.architecture is missing: this is no model file; give a converted model", f.Path())
	}
	if kind, ok, err := f.String("general.type"); err != nil {
		return nil, err
	} else if ok && kind != "model" {
		return nil, fault.New(fault.Model, "%s: general.type is %q: this is no whole model; compile the one that it belongs to", f.Path(), kind)
	}
	i := slices.IndexFunc(All, func(a Arch) bool { return a.Name == name })
	if i < 0 {
		var known []string
		for _, a := range All {
			known = append(known, a.Name)
		}
		return nil, fault.New(fault.Model, "%s: architecture %q is not known: qnc compiles %s", f.Path(), name, fault.Either(known...))
	}
	im := &Importer{File: f, Opt: opt, used: map[string]bool{}, arch: name, M: &ir.Module{
		Name:    name,
		Machine: machine,
		Bounds:  []ir.Bound{{Sym: "T", Max: opt.Ubatch}, {Sym: "R", Max: opt.Ubatch}, {Sym: "S", Max: opt.Seqs}, {Sym: "C", Max: opt.Ctx}},
	}}
	if err := All[i].Lower(im); err != nil {
		return nil, err
	}
	if im.err != nil {
		return nil, im.err
	}
	if err := im.leftovers(); err != nil {
		return nil, err
	}
	if err := im.M.Verify(); err != nil {
		return nil, fault.Wrap(fault.Model, err)
	}
	return &Result{im.M, im.Notes, im.Layers}, nil
}

// errorf is a fault of the file.
func (im *Importer) errorf(format string, args ...any) error {
	return fault.New(fault.Model, "%s: "+format, append([]any{im.File.Path()}, args...)...)
}

// fail keeps the first fault, one of the file.
func (im *Importer) fail(format string, args ...any) { im.failWith(im.errorf(format, args...)) }

func (im *Importer) failWith(err error) {
	if im.err == nil {
		im.err = err
	}
}

// leftovers reports what the lowering did not look at: ignoring a tensor or a
// key of the architecture could change the result silently.
func (im *Importer) leftovers() error {
	for _, t := range im.File.Tensors() {
		if !im.used[t.Name] {
			im.fail("tensor %s is used by nothing in architecture %s: the file holds a variant that qnc does not know; convert the model without it", t.Name, im.arch)
		}
	}
	for _, k := range im.File.Keys() {
		if strings.HasPrefix(k, im.arch+".") && !slices.Contains(im.allowed, k) {
			im.fail("key %s is not handled and could change the result: convert the model without it", k)
		}
	}
	return im.err
}

// Weight declares the tensor as a symbol. dims are slowest first; a GGUF
// tensor may leave out leading extents of 1.
func (im *Importer) Weight(name string, dims ...int) *ir.Value {
	return im.weight(name, name, nil, dims)
}

// Vector declares a small tensor that kernels read as f32: it is widened when it is packed.
func (im *Importer) Vector(name string, dims ...int) *ir.Value {
	v := im.weight(name, name, nil, dims)
	if d := v.Type.DType; d != ir.F32 && d != ir.F16 && d != ir.BF16 {
		im.fail("tensor %s is %s, want f32: convert the model again", name, d)
	}
	v.Type.DType = ir.F32
	return v
}

// Take declares part of a tensor with shape whole (slowest first) as a symbol
// of its own: rows says which of its rows.
func (im *Importer) Take(name, from string, whole []int, rows []ir.Rows, dims ...int) *ir.Value {
	im.check(from, whole)
	return im.weight(name, from, rows, dims)
}

func (im *Importer) weight(name, from string, rows []ir.Rows, dims []int) *ir.Value {
	if v := im.M.Symbol(name); v != nil {
		return v
	}
	v := &ir.Value{Name: name, Op: ir.OpWeight, Mem: ir.NoMem, Rows: rows, Type: ir.Type{Dims: nums(dims)}}
	if from != name {
		v.From = from
	}
	if rows == nil {
		im.check(from, dims)
	}
	if t, ok := im.File.Tensor(from); ok {
		d, ok := ir.DTypeOfGGML(int(t.Type))
		if _, kernel := quant.ByGGML(uint32(t.Type)); ok && kernel {
			v.Type.DType = d
		} else { // the symbol stays f32: what is made of it has the right shape
			im.fail("tensor %s has type %s, for which there is no kernel: quantise the model to another type, such as Q4_K_M", from, t.Type)
		}
	}
	im.M.Weights = append(im.M.Weights, v)
	return v
}

// check marks the tensor as used and compares its shape.
func (im *Importer) check(name string, dims []int) {
	t, ok := im.File.Tensor(name)
	if !ok {
		im.fail("tensor %s is missing: the file is incomplete or of another variant; download or convert the model again", name)
		return
	}
	im.used[name] = true
	want := trimOnes(dims)
	have := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		have[len(have)-1-i] = int(d)
	}
	if !slices.Equal(trimOnes(have), want) {
		im.fail("tensor %s has shape %v, want %v as the metadata says: the file is damaged or of another variant; download or convert the model again", name, have, dims)
	}
}

// Has reports whether the file has the tensor.
func (im *Importer) Has(name string) bool {
	_, ok := im.File.Tensor(name)
	return ok
}

// State declares a piece of state, [S, dims…].
func (im *Importer) State(name string, d ir.DType, dims ...int) *ir.Value {
	if v := im.M.Symbol(name); v != nil {
		return v
	}
	v := &ir.Value{Name: name, Op: ir.OpState, Mem: ir.NoMem, Type: ir.Tensor(d, append([]ir.Dim{ir.Sym("S")}, nums(dims)...)...)}
	im.M.State = append(im.M.State, v)
	return v
}

func nums(dims []int) []ir.Dim {
	out := make([]ir.Dim, len(dims))
	for i, d := range dims {
		out[i] = ir.Num(d)
	}
	return out
}

// trimOnes drops leading extents of 1.
func trimOnes(dims []int) []int {
	for len(dims) > 1 && dims[0] == 1 {
		dims = dims[1:]
	}
	return dims
}
