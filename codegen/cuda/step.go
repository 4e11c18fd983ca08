package cuda

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/codegen/view"
	"qnc/cudatemplates"
	"qnc/ir"
)

const (
	pkgEngine = "qnc/runtime/engine"
	pkgCUDA   = "qnc/runtime/cuda"
)

// An Image is a file of code for GPUs in the emitted module.
type Image struct {
	File  codegen.File // kernels.fatbin
	Archs []int        // chips with machine code
	PTX   []int        // chips whose PTX it holds
}

// A Binary is all code for GPUs, and the CUDA versions that a driver must support to
// run its machine code and to compile its PTX.
type Binary struct {
	Images              []Image
	NativeCUDA, PTXCUDA int
}

// Host is the CPU's part of the program, as codegen/cpu names it.
type Host struct {
	Parts  map[string][]string // by function, for each part its method of hostModel; "" on a GPU
	Logits map[string]string   // by function, the field of hostModel with the result; "" on a GPU
}

// A Program is the GPUs' part of a planned module: its kernels, and the steps
// that launch them.
type Program struct {
	m       *ir.Module
	devices []*device
	fields  []Code
	inits   Dict
	names   map[string]bool
	methods []Code
}

// device is one GPU of the program.
type device struct {
	*program
	name    string // its field in gpuModel
	index   int
	arena   int
	weights int64
	field   map[string]string // of gpuModel, by content
}

// Translate makes the launches of every part of m that is not the CPU's.
func Translate(m *ir.Module) (*Program, error) {
	p := &Program{m: m, inits: Dict{}, names: map[string]bool{}}
	for _, taken := range []string{"mem", "host", "gpu"} {
		p.names[taken] = true
	}
	for _, d := range m.Machine.Devices {
		if !onDevice(m, d.Name) {
			continue
		}
		x := &device{program: newProgram(m, d.Name), name: fmt.Sprintf("d%d", len(p.devices)), index: len(p.devices), field: map[string]string{}}
		if len(p.devices) > 0 { // one image for all
			x.byText, x.program.names = p.devices[0].byText, p.devices[0].program.names
		}
		p.names[x.name] = true
		p.devices = append(p.devices, x)
	}
	for _, f := range m.Funcs {
		at := 0
		for i, part := range f.Parts {
			values := f.Body[at : at+part.Len]
			at += part.Len
			if err := p.part(f, i, part.Device, values); err != nil {
				return nil, err
			}
		}
	}
	for _, w := range m.Weights {
		if d := p.on(w.On); d != nil {
			d.weight(p, w) // also one that nobody reads: it was planned
		}
	}
	return p, nil
}

// onDevice reports whether anything of m is on a GPU d.
func onDevice(m *ir.Module, d ir.Device) bool {
	if d == "cpu" {
		return false
	}
	has := func(v *ir.Value) bool { return v.On == d }
	return slices.ContainsFunc(m.Weights, has) || slices.ContainsFunc(m.State, has) ||
		slices.ContainsFunc(m.Funcs, func(f *ir.Func) bool { return slices.ContainsFunc(f.Body, has) })
}

// on finds the program's device; nil for the CPU.
func (p *Program) on(d ir.Device) *device {
	i := slices.IndexFunc(p.devices, func(x *device) bool { return x.program.device == d })
	if i < 0 {
		return nil
	}
	return p.devices[i]
}

// unique returns a free name of a member.
func (p *Program) unique(name string) string {
	try := name
	for i := 2; p.names[try]; i++ {
		try = fmt.Sprintf("%s_%d", name, i)
	}
	p.names[try] = true
	return try
}

// member gives gpuModel a member with its value, once for each key, and returns its text.
func (p *Program) member(d *device, key, name string, typ, init Code, doc string) string {
	if f, ok := d.field[key]; ok {
		return f
	}
	name = p.unique(name)
	line := Id(name).Add(typ)
	if doc != "" {
		line.Comment(doc)
	}
	p.fields = append(p.fields, line)
	p.inits[Id(name)] = init
	d.field[key] = "m." + name
	return "m." + name
}

// address is a member with an address of the device.
func (p *Program) address(d *device, key, name, init, doc string) string {
	return p.member(d, key, name, Uint64(), Id("uint64").Call(Id(d.name+"."+init)), doc)
}

// weight is the member with the address of a weight.
func (d *device) weight(p *Program, w *ir.Value) string {
	key := "@" + w.Name
	if _, ok := d.field[key]; !ok {
		d.weights += int64(w.Type.Bytes(nil)+255) &^ 255
	}
	return p.address(d, key, codegen.GoName(w.Name), fmt.Sprintf("Weight(%q, %d)", w.Name, w.Type.Bytes(nil)), w.Type.String())
}

// buffer is the member with the address of a value's place in the arena. Values
// of all layers with the same name, place and type share it.
func (d *device) buffer(p *Program, v *ir.Value) string {
	d.arena = max(d.arena, int(v.Mem)+v.Type.Bytes(p.m.MaxSizes()))
	base, _ := codegen.Layer(v.Name)
	return p.address(d, fmt.Sprintf("%s %s %d", base, v.Type, v.Mem), codegen.GoName(base), fmt.Sprintf("Arena(%d)", v.Mem), fmt.Sprintf("%s at %d", v.Type, v.Mem))
}

// input is the member with the address of a parameter of the step.
func (d *device) input(p *Program, v *ir.Value) string {
	method := strings.ToUpper(v.Name[:1]) + v.Name[1:]
	return p.address(d, "%"+v.Name, v.Name, method+"()", "")
}

// arg is the text of an argument.
func (d *device) arg(p *Program, a arg) (string, error) {
	text := ""
	switch a.in {
	case inArena:
		text = d.buffer(p, a.v)
	case inWeights:
		text = d.weight(p, a.v)
	case inState:
		method := "Recurrent"
		if d.caches[a.v] {
			method = "KV"
		}
		text = p.address(d, "state "+a.v.Name, codegen.GoName(a.v.Name), fmt.Sprintf("%s(%d)", method, d.offset[a.v.Name]), a.v.Type.String())
	case inInput:
		text = d.input(p, a.v)
	case inScratch:
		text = p.address(d, "scratch", "scratch", "Scratch()", "of one launch")
	case nowhere:
		return "0", nil
	case isDim:
		n, err := dim(a.dim)
		return "cuda.I32(" + n + ")", err
	}
	if a.off != 0 {
		text += fmt.Sprintf("+%d", a.off)
	}
	return text, nil
}

// dim is the text of an extent of the step.
func dim(d ir.Dim) (string, error) {
	switch n, ok := d.Static(); {
	case ok:
		return fmt.Sprint(n), nil
	case d == ir.Sym("T"):
		return "in.T", nil
	case d == ir.Sym("R"):
		return "in.R", nil
	}
	return "", fmt.Errorf("extent %s has no kernel", d)
}

// text is the Go of a number of blocks.
func (e extent) text() (string, error) {
	if n, ok := e.tokens.Static(); ok {
		return fmt.Sprint((e.per*n + e.by - 1) / e.by), nil
	}
	n, err := dim(e.tokens)
	if e.per != 1 {
		n = fmt.Sprintf("%d*%s", e.per, n)
	}
	if e.by != 1 {
		n = fmt.Sprintf("(%s+%d)/%d", n, e.by-1, e.by)
	}
	return n, err
}

// bytesOf is the Go of the size of a value of type t.
func bytesOf(t ir.Type) (string, error) {
	if n, ok := t.Dims[0].Static(); ok {
		t.Dims = append([]ir.Dim{ir.Num(n)}, t.Dims[1:]...)
		return fmt.Sprint(t.Bytes(nil)), nil
	}
	n, err := dim(t.Dims[0])
	one := t.Clone()
	one.Dims[0] = ir.Num(1)
	return fmt.Sprintf("%s*%d", n, one.Bytes(nil)), err
}

// spot is where the elements of v start, which must lie one after the other: a
// value, and the bytes into it.
func spot(v *ir.Value) (*ir.Value, int, error) {
	x, err := view.Of(v)
	if err != nil {
		return nil, 0, err
	}
	width := 1
	for _, d := range v.Type.Dims[1:] {
		n, ok := d.Static()
		if !ok {
			return nil, 0, fmt.Errorf("extent %s is not known ahead of time", d)
		}
		width *= n
	}
	if token, _, err := x.Rows(v.Type.Dims[0], 1, width); err != nil || token != width {
		return nil, 0, fmt.Errorf("%s crosses to another device and does not lie in one piece: keep the cont", v)
	}
	i := v.Type.DType.Info()
	return x.Base, x.Off / i.BlockElems * i.BlockBytes, nil
}

// part emits part i of f, which runs on a device, or before one of the CPU the
// copies of what it reads from GPUs.
func (p *Program) part(f *ir.Func, i int, on ir.Device, values []*ir.Value) error {
	if on == "cpu" {
		return p.downloads(f, i, values)
	}
	d := p.on(on)
	var body []Code
	last := -1
	for _, v := range values {
		var lines []Code
		var err error
		if v.Op == ir.OpTransfer {
			lines, err = p.fetch(d, v)
		} else if !free(v) {
			lines, err = p.launches(d, v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", v.LongString(), err)
		}
		if _, layer := codegen.Layer(v.Name); len(lines) > 0 && layer != last && !v.Type.IsNone() {
			mark := "head"
			if layer >= 0 {
				mark = fmt.Sprintf("blk.%d", layer)
			}
			if layer >= 0 || last >= 0 {
				body = append(body, Line().Comment(mark))
			}
			last = layer
		}
		body = append(body, lines...)
	}
	p.method(fmt.Sprintf("%s%d", f.Name, i), fmt.Sprintf("queues part %d of a step of %s on %s.", i, f.Name, on), body)
	return nil
}

func (p *Program) method(name, doc string, body []Code) {
	p.methods = append(p.methods,
		Comment(name+" "+doc),
		Func().Params(Id("m").Op("*").Id("gpuModel")).Id(name).Params(Id("q").Op("*").Qual(pkgCUDA, "Queue"), Id("in").Op("*").Qual(pkgEngine, "Step")).Block(body...),
		Line())
}

// launches emits the kernels of v.
func (p *Program) launches(d *device, v *ir.Value) ([]Code, error) {
	list, err := d.translate([]*ir.Value{v})
	if err != nil {
		return nil, err
	}
	var out []Code
	for _, l := range list {
		args := []string{p.member(d, "kernel "+l.kernel.name, "k"+strings.ToUpper(l.kernel.name[:1])+l.kernel.name[1:], Op("*").Qual(pkgCUDA, "Kernel"),
			Id(fmt.Sprintf("%s.Kernel(%q, %d, %d)", d.name, l.kernel.name, l.kernel.threads, l.kernel.shared)), "")}
		for _, e := range l.grid {
			n, err := e.text()
			if err != nil {
				return nil, err
			}
			args = append(args, n)
		}
		for _, a := range l.args {
			text, err := d.arg(p, a)
			if err != nil {
				return nil, err
			}
			args = append(args, text)
		}
		out = append(out, Id("q.Launch("+strings.Join(args, ", ")+")"))
	}
	return out, nil
}

// fetch emits the copy of a value, or weight, of another device to d.
func (p *Program) fetch(d *device, v *ir.Value) ([]Code, error) {
	src, off, err := spot(v.Args[0])
	if err != nil {
		return nil, err
	}
	n, err := bytesOf(v.Type)
	if err != nil {
		return nil, err
	}
	dst := d.buffer(p, v)
	from := p.on(src.On)
	switch {
	case from == nil && src.Op == ir.OpWeight:
		if src.Type.Layout != "" {
			return nil, fmt.Errorf("weight %s has the layout %s of the CPU", src, src.Type.Layout)
		}
		w := p.member(d, "host @"+src.Name, codegen.GoName(src.Name)+"Host", Index().Byte(), Id(fmt.Sprintf("mem.Weight(%q, %d)", src.Name, src.Type.Bytes(nil))), src.Type.String())
		return []Code{Id(fmt.Sprintf("q.Upload(cuda.Ptr(%s), %s[%d:][:%s])", dst, w, off, n))}, nil
	case from == nil:
		return []Code{Id(fmt.Sprintf("q.Upload(cuda.Ptr(%s), m.mem.Bytes(%d, %s))", dst, int(src.Mem)+off, n))}, nil
	}
	text, err := from.place(p, src, off)
	return []Code{Id(fmt.Sprintf("q.Peer(cuda.Ptr(%s), m.%s, cuda.Ptr(%s), %s)", dst, from.name, text, n))}, err
}

// place is the address of a value or weight on d.
func (d *device) place(p *Program, v *ir.Value, off int) (string, error) {
	if v.Op == ir.OpWeight {
		return d.arg(p, arg{in: inWeights, v: v, off: off})
	}
	return d.arg(p, arg{in: inArena, v: v, off: off})
}

// downloads emits for each GPU the copies of what part i of f, on the CPU, reads from it.
func (p *Program) downloads(f *ir.Func, i int, values []*ir.Value) error {
	for _, d := range p.devices {
		var body []Code
		for _, v := range values {
			if v.Op != ir.OpTransfer {
				continue
			}
			src, off, err := spot(v.Args[0])
			if err == nil && src.On == d.program.device {
				var n, text string
				if n, err = bytesOf(v.Type); err == nil {
					text, err = d.place(p, src, off)
					body = append(body, Id(fmt.Sprintf("q.Download(m.mem.Bytes(%d, %s), cuda.Ptr(%s))", v.Mem, n, text)))
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", v.LongString(), err)
			}
		}
		if body != nil {
			p.method(downloadName(f, i, d), fmt.Sprintf("fetches what part %d of a step of %s, on the CPU, reads from %s.", i, f.Name, d.program.device), body)
			d.field[downloadName(f, i, d)] = ""
		}
	}
	return nil
}

func downloadName(f *ir.Func, i int, d *device) string {
	return fmt.Sprintf("%s%dFrom%d", f.Name, i, d.index)
}

// Source is the text of all kernels, to be compiled beside the headers of package cudatemplates.
func (p *Program) Source() []byte {
	all := *p.devices[0].program
	all.kernels = p.kernels()
	return all.source()
}

// Headers are the files that Source includes.
func Headers() ([]codegen.File, error) {
	names, err := fs.Glob(cudatemplates.Files, "*.cuh")
	if err != nil {
		return nil, err
	}
	var out []codegen.File
	for _, name := range names {
		data, err := cudatemplates.Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, codegen.File{Name: name, Data: data})
	}
	return out, nil
}

func (p *Program) kernels() []*kernel {
	var all []*kernel
	for _, d := range p.devices { // a kernel is the first's that needed it
		all = append(all, d.program.kernels...)
	}
	return all
}

// Kernels is how many kernels there are.
func (p *Program) Kernels() int { return len(p.kernels()) }

// Files writes step_cuda.go of package pkg, the plan, the model's addresses and
// the steps, and the images.
func (p *Program) Files(pkg string, host *Host, bin *Binary) ([]codegen.File, error) {
	f := NewFile(pkg)
	f.HeaderComment(codegen.Header)
	f.ImportName(pkgCUDA, "cuda")
	f.Anon("embed")
	var files []codegen.File
	for i, x := range bin.Images {
		f.Comment(fmt.Sprintf("image%d is code of all kernels.", i))
		f.Comment("//")
		f.Comment("//go:embed " + x.File.Name)
		f.Var().Id(fmt.Sprintf("image%d", i)).Index().Byte()
		f.Line()
		files = append(files, x.File)
	}
	for _, c := range p.plan(bin) {
		f.Add(c)
	}
	f.Comment("gpuModel holds where things lie on the GPUs. Places that are never in use together overlap, as \"at\" shows.")
	top := []Code{Id("mem").Op("*").Qual(pkgEngine, "Memory"), Id("host").Op("*").Id("hostModel")}
	for _, d := range p.devices {
		top = append(top, Id(d.name).Op("*").Qual(pkgCUDA, "Device"))
	}
	f.Type().Id("gpuModel").Struct(append(append(top, Line()), p.fields...)...)
	f.Line()
	if err := p.constructor(f, host); err != nil {
		return nil, err
	}
	for _, c := range p.methods {
		f.Add(c)
	}
	var b bytes.Buffer
	if err := f.Render(&b); err != nil {
		return nil, fmt.Errorf("BUG: step_cuda.go: %w", err)
	}
	return append([]codegen.File{{Name: "step_cuda.go", Data: b.Bytes()}}, files...), nil
}

// A Plan is what lies on a GPU, in bytes; Recurrent is of one sequence.
type Plan struct {
	Name                                   ir.Device
	Weights, Arena, Scratch, Recurrent, KV int64
}

// Plans are those of all GPUs.
func (p *Program) Plans() []Plan {
	scratch := 0
	for _, d := range p.devices {
		scratch = max(scratch, d.scratch)
	}
	var out []Plan
	for _, d := range p.devices {
		out = append(out, Plan{d.program.device, d.weights, int64(align(d.arena)), int64(scratch), int64(d.state), int64(d.cache)})
	}
	return out
}

// plan emits gpuPlan.
func (p *Program) plan(bin *Binary) []Code {
	number := func(n int64) Code { return Id(fmt.Sprint(n)) }
	var devices, images []Code
	for _, d := range p.Plans() {
		devices = append(devices, Line().Values(Dict{
			Id("Name"): Lit(string(d.Name)), Id("Weights"): number(d.Weights), Id("Arena"): number(d.Arena), Id("Scratch"): number(d.Scratch),
			Id("Recurrent"): number(d.Recurrent), Id("KV"): number(d.KV),
		}))
	}
	list := func(archs []int) Code {
		return Index().Int().ValuesFunc(func(g *Group) {
			for _, a := range archs {
				g.Lit(a)
			}
		})
	}
	for i, x := range bin.Images {
		images = append(images, Line().Values(Dict{Id("Data"): Id(fmt.Sprintf("image%d", i)), Id("Archs"): list(x.Archs), Id("PTX"): list(x.PTX)}))
	}
	return []Code{
		Comment("gpuPlan is what lies on each GPU, and the code for it."),
		Var().Id("gpuPlan").Op("=").Qual(pkgCUDA, "Plan").Values(Dict{
			Id("Images"): Index().Qual(pkgCUDA, "Image").Values(append(images, Line())...), Id("NativeCUDA"): Lit(bin.NativeCUDA), Id("PTXCUDA"): Lit(bin.PTXCUDA),
			Id("Devices"): Index().Qual(pkgCUDA, "DevicePlan").Values(append(devices, Line())...),
		}),
		Line(),
	}
}

// constructor emits newGPU.
func (p *Program) constructor(f *File, host *Host) error {
	body := []Code{
		List(Id("g"), Err()).Op(":=").Qual(pkgCUDA, "Open").Call(Id("openDriver"), Op("&").Id("gpuPlan"), Id("mem")),
		If(Err().Op("!=").Nil()).Block(Return(Nil(), Err())),
		Id("h").Op(":=").Id("newHost").Call(Id("mem")),
	}
	inits := Dict{Id("mem"): Id("mem"), Id("host"): Id("h")}
	for _, d := range p.devices {
		body = append(body, Id(d.name).Op(":=").Id("g").Dot("Device").Call(Lit(d.index)))
		inits[Id(d.name)] = Id(d.name)
	}
	for k, v := range p.inits {
		inits[k] = v
	}
	steps := Dict{}
	for _, fn := range p.m.Funcs {
		name := strings.ToUpper(fn.Name[:1]) + fn.Name[1:]
		var parts []Code
		for i, part := range fn.Parts {
			if part.Device != "cpu" {
				parts = append(parts, Line().Values(Dict{Id("Device"): Lit(p.on(part.Device).index), Id("Launch"): Id(fmt.Sprintf("m.%s%d", fn.Name, i))}))
				continue
			}
			for _, d := range p.devices {
				if _, ok := d.field[downloadName(fn, i, d)]; ok {
					parts = append(parts, Line().Values(Dict{Id("Device"): Lit(d.index), Id("Launch"): Id("m." + downloadName(fn, i, d))}))
				}
			}
			parts = append(parts, Line().Values(Dict{Id("Host"): Id("h." + host.Parts[fn.Name][i])}))
		}
		steps[Id(name)] = Index().Qual(pkgCUDA, "Part").Values(append(parts, Line())...)
		for _, r := range fn.Results {
			at := Dict{Id("Host"): Id("h." + host.Logits[fn.Name])}
			if d := p.on(r.On); d != nil {
				base, off, err := spot(r)
				if err != nil {
					return err
				}
				text, err := d.place(p, base, off)
				if err != nil {
					return err
				}
				at = Dict{Id("Device"): Lit(d.index), Id("At"): Qual(pkgCUDA, "Ptr").Call(Id(text))}
			}
			steps[Id(name+"Logits")] = Qual(pkgCUDA, "Logits").Values(at)
		}
	}
	body = append(body,
		Id("m").Op(":=").Op("&").Id("gpuModel").Values(inits),
		Return(Id("g").Dot("Program").Call(Qual(pkgCUDA, "Steps").Values(steps))))
	f.Comment("newGPU opens the devices, cuts their memory and hands out the steps.")
	f.Func().Id("newGPU").Params(Id("mem").Op("*").Qual(pkgEngine, "Memory")).Params(Op("*").Qual(pkgEngine, "Program"), Error()).Block(body...)
	f.Line()
	return nil
}
