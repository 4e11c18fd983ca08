package cuda

import (
	"fmt"
	"go/format"
	"io/fs"
	"slices"
	"strings"

	"qnc/codegen"
	"qnc/codegen/view"
	"qnc/cudatemplates"
	"qnc/ir"
)

// An Output is what of a planned module runs on GPUs.
type Output struct {
	Files   []codegen.File // gpu.go: type gpuModel with its constructor newGPU, and a method a part
	Sources []codegen.File // of the kernels; the first is the one to compile
	Devices []DevicePlan
	Parts   map[string][]string // by function, for each part its method as a member of gpuModel; "" on the CPU
	Logits  map[string]Result   // by function
	Kernels int
}

// A DevicePlan is the memory of one GPU, in bytes.
type DevicePlan struct {
	Name           ir.Device
	Weights, Arena int64
	Recurrent      int64 // state of one sequence
	KV             int64 // of all sequences
}

// A Result says where a function leaves its logits.
type Result struct {
	Device int // in Devices, -1 for the CPU
	Offset int64
}

// A unit is the program of one device while it is emitted.
type unit struct {
	*program
	index         int
	fields, names map[string]string // by content, and taken
	decls, inits  []string
	steps         strings.Builder
	weights       int64
	arena         int
}

// Emit writes what of a planned module runs on GPUs, for package pkg.
//
// A part begins with the copies of what it takes from the CPU and other
// devices, and one before a part of the CPU ends with those of what that takes.
// The CPU's values lie in the arena of engine.Memory.
func Emit(m *ir.Module, pkg string) (*Output, error) {
	out := &Output{Parts: map[string][]string{}, Logits: map[string]Result{}}
	var units []*unit
	of := map[ir.Device]*unit{}
	var all *program // the kernels of all devices are one source
	for _, d := range m.Machine.Devices {
		if d.Name == "cpu" {
			continue
		}
		u := &unit{program: newProgram(m, d.Name), index: len(units), fields: map[string]string{}, names: map[string]string{"mem": "", "d": ""}}
		if all == nil {
			all = u.program
		} else {
			u.byText, u.single, u.joints, u.program.names = all.byText, all.single, all.joints, all.names
		}
		units, of[d.Name] = append(units, u), u
	}
	for _, f := range m.Funcs {
		at := 0
		for i, part := range f.Parts {
			values := f.Body[at : at+part.Len]
			at += part.Len
			u := of[part.Device]
			if u == nil {
				out.Parts[f.Name] = append(out.Parts[f.Name], "")
				continue
			}
			var next []*ir.Value
			if i+1 < len(f.Parts) && f.Parts[i+1].Device == "cpu" {
				next = f.Body[at : at+f.Parts[i+1].Len]
			}
			name := fmt.Sprintf("%s%d", f.Name, i)
			if err := u.part(f, name, values, next, of); err != nil {
				return nil, err
			}
			out.Parts[f.Name] = append(out.Parts[f.Name], fmt.Sprintf("gpu%d.%s", u.index, name))
		}
		for _, r := range f.Results {
			x := Result{Device: -1}
			if u := of[r.On]; u != nil {
				x = Result{u.index, r.Mem}
			}
			out.Logits[f.Name] = x
		}
	}
	var kernels []*kernel
	for _, u := range units {
		out.Devices = append(out.Devices, DevicePlan{u.device, u.weights, int64(align(u.arena) + align(u.scratch) + u.route), int64(u.state), int64(u.cache)})
		for _, k := range u.kernels {
			if !slices.Contains(kernels, k) {
				kernels = append(kernels, k)
			}
		}
	}
	out.Kernels = len(kernels)
	text, err := format.Source([]byte(goSource(pkg, units)))
	if err != nil {
		return nil, fmt.Errorf("BUG: gpu.go: %w", err)
	}
	out.Files = []codegen.File{{Name: "gpu.go", Data: text}}
	out.Sources, err = sources(kernels)
	return out, err
}

// sources are the kernels and the headers that they include.
func sources(kernels []*kernel) ([]codegen.File, error) {
	list := []codegen.File{{Name: "kernels.cu", Data: source(kernels)}}
	err := fs.WalkDir(cudatemplates.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".cuh") {
			return err
		}
		data, err := cudatemplates.Files.ReadFile(path)
		list = append(list, codegen.File{Name: path, Data: data})
		return err
	})
	return list, err
}

// field returns the member of u with this content, which init makes.
func (u *unit) field(name, typ, doc, init string) string {
	key := typ + " " + init + " " + name
	if f, ok := u.fields[key]; ok {
		return f
	}
	try := name
	for i := 2; ; i++ {
		if _, taken := u.names[try]; !taken {
			break
		}
		try = fmt.Sprintf("%s_%d", name, i)
	}
	u.names[try], u.fields[key] = key, try
	u.decls = append(u.decls, fmt.Sprintf("%s %s // %s", try, typ, doc))
	u.inits = append(u.inits, fmt.Sprintf("%s: %s,", try, init))
	return try
}

// buffer is the member for a value of the arena. Values of all layers with the
// same name, place and type share one.
func (u *unit) buffer(v *ir.Value) string {
	base, _ := codegen.Layer(v.Name)
	u.arena = max(u.arena, int(v.Mem)+v.Type.Bytes(u.m.MaxSizes()))
	return "m." + u.field(codegen.GoName(base), "uint64", fmt.Sprintf("%s at %d", v.Type, v.Mem), fmt.Sprintf("uint64(d.Arena(%d))", v.Mem))
}

// weight is the member for a weight on the device.
func (u *unit) weight(w *ir.Value) string {
	before := len(u.decls)
	n := w.Type.Bytes(nil)
	f := u.field(codegen.GoName(w.Name), "uint64", w.Type.String(), fmt.Sprintf("uint64(d.Weight(%q, %d))", w.Name, n))
	if len(u.decls) > before {
		u.weights += int64(align(n))
	}
	return "m." + f
}

// arg is the text of one argument of a launch.
func (u *unit) arg(a arg) string {
	var s string
	switch a.in {
	case inArena:
		s = u.buffer(a.v)
	case inWeights:
		s = u.weight(a.v)
	case inState:
		where := "Recurrent"
		if u.caches[a.v] {
			where = "KV"
		}
		s = "m." + u.field(codegen.GoName(a.v.Name), "uint64", a.v.Type.String(), fmt.Sprintf("uint64(d.%s(%d))", where, u.offset[a.v.Name]))
	case inInput:
		name := map[string]string{"tok": "Tok", "pos": "Pos", "seq": "Seq", "rows": "Rows"}[a.v.Name]
		s = "m." + u.field(a.v.Name, "uint64", "of the step", fmt.Sprintf("uint64(d.%s())", name))
	case inScratch:
		// its place is known when the arena is
		s = "m." + u.field("scratch", "uint64", "behind the arena", "uint64(d.Arena(scratch))")
	case inRoute:
		s = "m." + u.field("route", "uint64", "rows by expert, behind scratch", "uint64(d.Arena(route))")
	case nowhere:
		return "0"
	case isDim:
		return fmt.Sprintf("cuda.I32(%s)", count(a.dim, 1))
	}
	if a.off != 0 {
		s += fmt.Sprintf("+%d", a.off)
	}
	return s
}

// count is the text of per times a dim of the step.
func count(d ir.Dim, per int) string {
	if n, ok := d.Static(); ok {
		return fmt.Sprint(n * per)
	}
	s := "in." + d.Sym
	if per != 1 {
		s += fmt.Sprintf("*%d", per)
	}
	return s
}

// text is an extent as Go.
func (e extent) text() string {
	if n, ok := e.tokens.Static(); ok {
		return fmt.Sprint(extent{ir.Num(n), e.per, e.by}.at(nil))
	}
	if e.by == 1 {
		return count(e.tokens, e.per)
	}
	return fmt.Sprintf("(%s+%d)/%d", count(e.tokens, e.per), e.by-1, e.by)
}

// sizeOf is the text of a value's size in a step: its leading axis is the only
// one that a step decides.
func sizeOf(t ir.Type) string {
	if _, ok := t.Dims[0].Static(); ok {
		return fmt.Sprint(t.Bytes(nil))
	}
	return count(t.Dims[0], t.Bytes(ir.Sizes{t.Dims[0].Sym: 1}))
}

// part emits the method of one part.
func (u *unit) part(f *ir.Func, name string, values, next []*ir.Value, of map[ir.Device]*unit) error {
	w := &u.steps
	fmt.Fprintf(w, "\n// %s queues a part of a step of %s.\nfunc (m *gpu%d) %s(q *cuda.Queue, in *engine.Step) {\n", name, f.Name, u.index, name)
	for _, v := range values {
		if v.Op != ir.OpTransfer {
			continue
		}
		line, err := u.fetch(v, of)
		if err != nil {
			return fmt.Errorf("%s: %w", v.LongString(), err)
		}
		w.WriteString(line)
	}
	stages, err := u.translate(f, values)
	if err != nil {
		return err
	}
	last := -1
	for _, s := range stages {
		if _, layer := codegen.Layer(s.v.Name); layer != last && layer >= 0 {
			fmt.Fprintf(w, "\n// blk.%d\n", layer)
			last = layer
		} else if layer < 0 && last >= 0 && !s.v.Type.IsNone() {
			fmt.Fprintf(w, "\n// head\n")
			last = -1
		}
		for i := range s.launches {
			l := &s.launches[i]
			if i == 0 || l.when != s.launches[i-1].when {
				switch l.when {
				case few:
					fmt.Fprintf(w, "if in.%s <= %d {\n", l.tokens.Sym, fewTokens)
				case many:
					w.WriteString("} else {\n")
				}
			}
			u.call(l)
		}
		if s.launches[len(s.launches)-1].when != always {
			w.WriteString("}\n")
		}
	}
	for _, v := range next {
		if v.Op != ir.OpTransfer {
			continue
		}
		from, off, err := spot(v.Args[0])
		if err != nil {
			return fmt.Errorf("%s: %w", v.LongString(), err)
		}
		if src := of[from.On]; src != nil {
			fmt.Fprintf(w, "q.Download(m.mem.Bytes(%d, %s), %s)\n", v.Mem, sizeOf(v.Type), u.place(src, from, off))
		}
	}
	w.WriteString("}\n")
	return nil
}

// call emits one launch.
func (u *unit) call(l *launch) {
	w := &u.steps
	k := l.kernel
	fn := u.field(k.name, "*cuda.Kernel", fmt.Sprintf("%d threads", k.threads), fmt.Sprintf("d.Kernel(%q, %d, %d)", k.name, k.threads, k.shared))
	fmt.Fprintf(w, "q.Launch(m.%s, %s, %s, %s", fn, l.grid[0].text(), l.grid[1].text(), l.grid[2].text())
	for _, a := range l.args {
		fmt.Fprintf(w, ", %s", u.arg(a))
	}
	w.WriteString(")\n")
}

// fetch is the copy of a value, or weight, of the CPU or another device to u.
func (u *unit) fetch(v *ir.Value, of map[ir.Device]*unit) (string, error) {
	from, off, err := spot(v.Args[0])
	if err != nil {
		return "", err
	}
	to, n := u.buffer(v), sizeOf(v.Type)
	switch src := of[from.On]; {
	case src != nil:
		return fmt.Sprintf("q.Peer(cuda.Ptr(%s), m.%s, %s, %s)\n", to, u.peer(src), u.place(src, from, off), n), nil
	case from.Op == ir.OpWeight && from.Type.Layout != "":
		return "", fmt.Errorf("the weight lies in the CPU's layout %s: place it on %s", from.Type.Layout, u.device)
	case from.Op == ir.OpWeight:
		w := u.field(codegen.GoName(from.Name)+"Host", "[]byte", from.Type.String(), fmt.Sprintf("mem.Weight(%q, %d)", from.Name, from.Type.Bytes(nil)))
		return fmt.Sprintf("q.Upload(cuda.Ptr(%s), m.%s[%d:][:%s])\n", to, w, off, n), nil
	}
	return fmt.Sprintf("q.Upload(cuda.Ptr(%s), m.mem.Bytes(%d, %s))\n", to, int(from.Mem)+off, n), nil
}

// peer is the member of u for another device.
func (u *unit) peer(of *unit) string {
	return u.field(fmt.Sprintf("peer%d", of.index), "*cuda.Device", string(of.device), fmt.Sprintf("g.Device(%d)", of.index))
}

// place is the address of what lies off bytes into a value or weight of a device, for methods of u.
func (u *unit) place(src *unit, v *ir.Value, off int) string {
	at := ""
	switch {
	case v.Op == ir.OpWeight && src != u:
		src.weight(v)
		at = "m." + u.field(fmt.Sprintf("%s%d", codegen.GoName(v.Name), src.index), "uint64", fmt.Sprintf("%s on %s", v.Type, src.device), fmt.Sprintf("uint64(g.Device(%d).Weight(%q, %d))", src.index, v.Name, v.Type.Bytes(nil)))
	case v.Op == ir.OpWeight:
		at = src.weight(v)
	case src != u:
		src.buffer(v)
		return fmt.Sprintf("m.%s.Arena(%d)", u.peer(src), int(v.Mem)+off)
	default:
		at = src.buffer(v)
	}
	if off != 0 {
		at += fmt.Sprintf("+%d", off)
	}
	return "cuda.Ptr(" + at + ")"
}

// spot is where the elements of v start, which must lie one after the other: a
// value or weight, and the bytes into it.
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

// goSource is the text of gpu.go.
func goSource(pkg string, units []*unit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\n\npackage %s\n\nimport (\n\"qnc/runtime/cuda\"\n\"qnc/runtime/engine\"\n)\n", codegen.Header, pkg)
	b.WriteString("\n// gpuModel is what lies on GPUs.\ntype gpuModel struct {\n")
	for _, u := range units {
		fmt.Fprintf(&b, "gpu%d *gpu%d // %s\n", u.index, u.index, u.device)
	}
	b.WriteString("}\n\n// newGPU names kernels and memory of the devices.\nfunc newGPU(g *cuda.GPU, mem *engine.Memory) *gpuModel {\nreturn &gpuModel{")
	for _, u := range units {
		fmt.Fprintf(&b, "gpu%d: newGPU%d(g, mem),\n", u.index, u.index)
	}
	b.WriteString("}\n}\n")
	for _, u := range units {
		fmt.Fprintf(&b, "\n// gpu%d holds the kernels of %s and the addresses of weights, state and buffers there.\ntype gpu%d struct {\nmem *engine.Memory\n%s\n}\n", u.index, u.device, u.index, strings.Join(u.decls, "\n"))
		fmt.Fprintf(&b, "\nfunc newGPU%d(g *cuda.GPU, mem *engine.Memory) *gpu%d {\nd := g.Device(%d)\n", u.index, u.index, u.index)
		if u.scratch > 0 {
			fmt.Fprintf(&b, "const scratch = %d // bytes of the arena before it\n", align(u.arena))
		}
		if u.route > 0 {
			fmt.Fprintf(&b, "const route = %d\n", align(u.arena)+align(u.scratch))
		}
		fmt.Fprintf(&b, "return &gpu%d{\nmem: mem,\n%s\n}\n}\n%s", u.index, strings.Join(u.inits, "\n"), u.steps.String())
	}
	return b.String()
}
