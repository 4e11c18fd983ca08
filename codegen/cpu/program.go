package cpu

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/codegen/cpu/asm"
	"qnc/ir"
	"qnc/runtime/cost"
)

// A program collects what the emitted file declares: fields for weights and
// buffers, kernels, and the plan.
type program struct {
	m      *ir.Module
	typ    string // the emitted type: model, or of parts hostModel
	max    ir.Sizes
	member map[*ir.Value][]*ir.Value // the parts of a tuple, by index

	fields  map[string]*field // by content
	names   map[string]bool
	weights []*field
	buffers []*field

	kernels   map[string]string // body text to name
	funcs     []Code
	arena     int
	scratch   int
	shared    int
	recurrent int            // floats of one sequence
	cache     int            // bytes of all sequences
	offset    map[string]int // of a state symbol, floats or bytes
	caches    map[*ir.Value]bool
	vector    bool            // quantised activations are records for vector kernels
	asm       map[string]bool // vector kernels that are called
	lines     map[*ir.Func][]cost.Line
}

// A field is one field of the emitted model.
type field struct {
	name, doc string
	typ, init *Statement
}

func newProgram(m *ir.Module) *program {
	p := &program{m: m, typ: "model", max: m.MaxSizes(), member: map[*ir.Value][]*ir.Value{}, fields: map[string]*field{},
		names: map[string]bool{}, lines: map[*ir.Func][]cost.Line{}, kernels: map[string]string{}, offset: map[string]int{}, caches: map[*ir.Value]bool{}, asm: map[string]bool{}}
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			p.noteCache(v)
		}
	}
	for _, taken := range []string{"mem", "recurrent", "cache", "model", "newModel", "spec", "buildID", "main", "products",
		"hostModel", "newHost", "gpuModel", "newGPU", "gpuPlan", "newProgram", "openDriver", "image"} {
		p.names[taken] = true
	}
	for _, f := range m.Funcs {
		p.names[f.Name], p.names[f.Name+"Lines"] = true, true
	}
	for _, k := range asm.Kernels {
		p.names[k.Name] = true
	}
	for _, s := range m.State {
		if !here(s) {
			continue
		}
		n := s.Type.Elems(ir.Sizes{"S": 1})
		if p.caches[s] {
			p.offset[s.Name] = p.cache
			p.cache += (s.Type.Bytes(p.max) + 63) &^ 63
		} else {
			p.offset[s.Name] = p.recurrent
			p.recurrent += (n + 15) &^ 15
		}
	}
	return p
}

// here reports whether a symbol or value is the CPU's: of a module that was not
// placed, all are.
func here(v *ir.Value) bool { return v.On == "" || v.On == "cpu" }

// noteCache marks a state symbol as a KV cache when v reads or writes cells of
// it. The others are recurrent state, kept together for each sequence.
func (p *program) noteCache(v *ir.Value) {
	switch v.Op {
	case ir.OpLoadRows, ir.OpStoreRows, ir.OpNormRopeStore:
		p.caches[v.Args[0]] = true
	}
}

func (p *program) region(v *ir.Value) region {
	if v.Mem == ir.NoMem {
		return region{}
	}
	return region{lo: int(v.Mem), hi: int(v.Mem) + v.Type.Bytes(p.max)}
}

// unique returns a free identifier.
func (p *program) unique(name string) string {
	try := name
	for i := 2; p.names[try] || token(try); i++ {
		try = fmt.Sprintf("%s_%d", name, i)
	}
	p.names[try] = true
	return try
}

// token reports whether s is a word of the language that no field may be called.
func token(s string) bool {
	return slices.Contains(strings.Fields("break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var in th m"), s)
}

// field returns the text of the buffer in which v lies. Values of all layers
// with the same name, place and type share a field.
func (p *program) field(v *ir.Value) string {
	if v.Op == ir.OpParam {
		return "in." + map[string]string{"tok": "Tok", "pos": "Pos", "seq": "Seq", "rows": "Rows"}[v.Name]
	}
	n, unit := v.Type.Elems(p.max), 4
	ctor, typ := "Floats", slice(v.Type.DType)
	switch v.Type.DType {
	case ir.F32:
	case ir.I32:
		ctor = "Int32s"
	default:
		ctor, unit, n = "Bytes", 1, v.Type.Bytes(p.max)
	}
	p.arena = max(p.arena, int(v.Mem)+n*unit)
	base, _ := codegen.Layer(v.Name)
	key := fmt.Sprintf("%s %s %d %d", base, ctor, v.Mem, n)
	f := p.fields[key]
	if f == nil {
		f = &field{p.unique(codegen.GoName(base)), fmt.Sprintf("%s at %d", v.Type, v.Mem), typ, raw("mem.%s(%d, %d)", ctor, v.Mem, n)}
		p.fields[key] = f
		p.buffers = append(p.buffers, f)
	}
	return "m." + f.name
}

// weight is the text of a weight's field: bytes for a matrix, floats for a vector.
func (p *program) weight(w *ir.Value, floats bool) string {
	key := fmt.Sprintf("@%s %v", w.Name, floats)
	f := p.fields[key]
	if f == nil {
		f = &field{p.unique(codegen.GoName(w.Name)), w.Type.String(), Index().Byte(), raw("mem.Weight(%q, %d)", w.Name, WeightBytes(w))}
		if floats {
			f.typ, f.init = Index().Float32(), raw("mem.Vector(%q, %d)", w.Name, w.Type.Elems(nil))
		}
		p.fields[key] = f
		p.weights = append(p.weights, f)
	}
	return "m." + f.name
}

// state is the text of the step's sequence's region of a state symbol.
func (p *program) state(s *ir.Value) string {
	if p.caches[s] {
		n := s.Type.Bytes(ir.Sizes{"S": 1})
		return fmt.Sprintf("m.cache(in, %d, %d)", p.offset[s.Name], n)
	}
	return fmt.Sprintf("m.recurrent(in, %d, %d)", p.offset[s.Name], s.Type.Elems(ir.Sizes{"S": 1}))
}

// members returns the parts of a tuple value by index; nil where nobody reads one.
func (p *program) members(v *ir.Value) []*ir.Value {
	if m := p.member[v]; m != nil {
		return m
	}
	return make([]*ir.Value, len(v.Type.Tuple))
}

// result returns output i of v, which may be a tuple or the one tensor.
func (k *kern) result(i int) *ir.Value {
	if !k.v.Type.IsTuple() {
		return k.v
	}
	return k.p.members(k.v)[i]
}

// function declares the kernel, or finds the one with the same body, and returns its name.
func (p *program) function(k *kern) string {
	declare := func(name string) *Statement {
		return Func().Id(name).ParamsFunc(func(g *Group) {
			g.Id("th").Op("*").Qual(pkgEngine, "Thread")
			for _, x := range k.params {
				g.Id(x.name).Add(x.typ)
			}
		}).Block(append([]Code{Id("th").Dot("Enter").Call()}, k.body...)...)
	}
	// The layout takes most of the time of rendering: once a kernel is enough.
	var text bytes.Buffer
	f := NewFile("k")
	f.NoFormat = true
	f.Add(declare("k"))
	if err := f.Render(&text); err != nil {
		k.fail("emitted code cannot be written: %v", err)
		return ""
	}
	p.scratch, p.shared = max(p.scratch, k.scratch), max(p.shared, k.shared)
	if name, ok := p.kernels[text.String()]; ok {
		return name
	}
	if err := declare("k").Render(io.Discard); err != nil {
		k.fail("emitted code does not parse: %v", err)
		return ""
	}
	name := p.unique(k.name)
	p.kernels[text.String()] = name
	p.funcs = append(p.funcs, Comment(k.v.LongString()))
	if doc := k.cost.String(); doc != "" {
		p.funcs = append(p.funcs, Comment(doc))
	}
	p.funcs = append(p.funcs, declare(name), Line())
	return name
}

// An Output is the emitted CPU program and its plan.
type Output struct {
	Files           []codegen.File
	ArenaBytes      int
	ScratchFloats   int // of each thread
	SharedFloats    int // of all threads
	RecurrentFloats int
	CacheBytes      int
	Kernels         int
}

// Emit writes step.go, kernels.go and costs.go of package pkg for a planned module.
// target is the name of a target CPU; the weights have the layouts of AssignLayouts for it.
func Emit(m *ir.Module, pkg, target string) (*Output, error) {
	_, vector := vectorTarget(target)
	p, steps, err := translate(m, vector)
	if err != nil {
		return nil, err
	}
	code := slices.Concat(p.declarations(), p.constructor(), steps)
	products, err := p.products()
	if err != nil {
		return nil, err
	}
	out := p.output()
	for _, x := range []struct {
		name string
		code []Code
	}{{"step.go", code}, {"kernels.go", p.funcs}, {"costs.go", slices.Concat(p.costs(), products)}} {
		data, err := render(pkg, x.code)
		if err != nil {
			return nil, fmt.Errorf("BUG: %s: %w", x.name, err)
		}
		out.Files = append(out.Files, codegen.File{Name: x.name, Data: data})
	}
	out.Files = append(out.Files, p.assembly(pkg, target)...)
	return out, nil
}

// assembly writes the vector kernels that are called, and their declarations.
func (p *program) assembly(pkg, target string) []codegen.File {
	var list []asm.Kernel
	for _, k := range asm.Kernels {
		if p.asm[k.Name] {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return nil
	}
	unit, _ := vectorTarget(target)
	text, stubs := asm.Emit(unit, pkg, list)
	return []codegen.File{{Name: "kernels_amd64.s", Data: text}, {Name: "kernels_amd64.go", Data: stubs}}
}

// render lays out one file of the program.
func render(pkg string, code []Code) ([]byte, error) {
	f := NewFile(pkg)
	f.HeaderComment(codegen.Header)
	for _, c := range code {
		f.Add(c)
	}
	var b bytes.Buffer
	err := f.Render(&b)
	return b.Bytes(), err
}

// translate emits the functions of m: their steps, and in the program what those need.
func translate(m *ir.Module, vector bool) (*program, []Code, error) {
	p := newProgram(m)
	p.vector = vector
	steps, err := p.functions()
	return p, steps, err
}

// functions emits the functions of p's module.
func (p *program) functions() ([]Code, error) {
	var steps []Code
	for _, f := range p.m.Funcs {
		p.noteMembers(f)
		body, err := p.step(f)
		if err != nil {
			return nil, err
		}
		steps = append(steps, body...)
	}
	return steps, nil
}

// noteMembers keeps the parts of tuples.
func (p *program) noteMembers(f *ir.Func) {
	for _, v := range f.Body {
		if v.Op == ir.OpPart {
			t := v.Args[0]
			if p.member[t] == nil {
				p.member[t] = make([]*ir.Value, len(t.Type.Tuple))
			}
			p.member[t][v.Int("i")] = v
		}
	}
}

// step emits one function of the module.
func (p *program) step(f *ir.Func) ([]Code, error) {
	return p.method(f, f.Name, fmt.Sprintf("%s runs one step: tokens in.Tok at in.Pos of sequence in.Slot; logits of in.Rows.", f.Name), f.Body)
}

// method emits values of f as straight-line calls with barriers.
func (p *program) method(f *ir.Func, name, doc string, values []*ir.Value) ([]Code, error) {
	var body []Code
	last := -1
	costing := codegen.NewCosting(f, WeightBytes)
	for s := p.schedule(values); len(s.queue) > 0; {
		k, barrier, err := s.next()
		if err != nil {
			return nil, err
		}
		v := k.v
		line, err := costing.Line(v)
		k.try(err)
		k.cost = line.Cost
		kernel := p.function(k)
		if k.fault != nil {
			return nil, k.fault
		}
		line.Kernel = kernel
		p.lines[f] = append(p.lines[f], line)
		if barrier {
			body = append(body, Id("th").Dot("Barrier").Call())
		}
		if _, layer := codegen.Layer(v.Name); layer != last && layer >= 0 {
			body = append(body, Line().Comment(fmt.Sprintf("blk.%d", layer)))
			last = layer
		} else if layer < 0 && last >= 0 && !v.Type.IsNone() {
			body = append(body, Line().Comment("head"))
			last = -1
		}
		body = append(body, Id(kernel).CallFunc(func(g *Group) {
			g.Id("th")
			for _, x := range k.params {
				g.Id(x.arg)
			}
		}))
	}
	return []Code{
		Comment(doc),
		Func().Params(Id("m").Op("*").Id(p.typ)).Id(name).Params(Id("th").Op("*").Qual(pkgEngine, "Thread"), Id("in").Op("*").Qual(pkgEngine, "Step")).Block(body...),
		Line(),
	}, nil
}

// inits are the fields of the model over its memory.
func (p *program) inits() Dict {
	inits := Dict{Id("mem"): Id("mem")}
	for _, f := range slices.Concat(p.weights, p.buffers) {
		inits[Id(f.name)] = f.init
	}
	return inits
}

// constructor emits newModel, which cuts the memory and hands out the steps.
func (p *program) constructor() []Code {
	return []Code{
		Comment("newModel cuts the memory into the tensors of the model."),
		Func().Id("newModel").Params(Id("mem").Op("*").Qual(pkgEngine, "Memory")).Params(Op("*").Qual(pkgEngine, "Program"), Error()).Block(
			Id("m").Op(":=").Op("&").Id("model").Values(p.inits()),
			Return(Op("&").Qual(pkgEngine, "Program").Values(p.steps()), Id("mem").Dot("Err").Call()),
		),
		Line(),
	}
}

// steps are the members of engine.Program: each function and where its logits lie.
func (p *program) steps() Dict {
	members := Dict{}
	for _, f := range p.m.Funcs {
		name := strings.ToUpper(f.Name[:1]) + f.Name[1:]
		members[Id(name)] = Id("m").Dot(f.Name)
		members[Id(name+"Lines")] = Id(f.Name + "Lines")
		for _, r := range f.Results {
			members[Id(name+"Logits")] = Id(p.field(r))
		}
	}
	members[Id("Products")] = Id("products")
	return members
}

// declarations emits the model type and its access to state.
func (p *program) declarations() []Code {
	list := func(fs []*field) []Code {
		var out []Code
		for _, f := range fs {
			out = append(out, Id(f.name).Add(f.typ).Comment(f.doc))
		}
		return out
	}
	return []Code{
		Comment(p.typ + " holds the weights, mapped, and the buffers of a step, which lie in one arena:"),
		Comment("buffers that are never alive together overlap, as \"at\" shows."),
		Type().Id(p.typ).Struct(append(append([]Code{Id("mem").Op("*").Qual(pkgEngine, "Memory"), Line()}, list(p.weights)...), append([]Code{Line()}, list(p.buffers)...)...)...),
		Line(),
		Comment("recurrent is n floats of the step's sequence's recurrent state."),
		Func().Params(Id("m").Op("*").Id(p.typ)).Id("recurrent").Params(Id("in").Op("*").Qual(pkgEngine, "Step"), List(Id("off"), Id("n")).Int()).Index().Float32().Block(
			Return(raw("m.mem.Recurrent[in.Slot*%d+off:][:n]", p.recurrent)),
		),
		Line(),
		Comment("cache is the step's sequence's n bytes of a KV cache that starts at off."),
		Func().Params(Id("m").Op("*").Id(p.typ)).Id("cache").Params(Id("in").Op("*").Qual(pkgEngine, "Step"), List(Id("off"), Id("n")).Int()).Index().Byte().Block(
			Return(raw("m.mem.KV[off+in.Slot*n:][:n]")),
		),
		Line(),
	}
}
