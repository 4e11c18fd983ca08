package cuda

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	"qnc/cudatemplates"
	"qnc/ir"
)

// A program collects the kernels of a module's parts on a device.
type program struct {
	m       *ir.Module
	device  ir.Device
	member  map[*ir.Value][]*ir.Value // the parts of a tuple, by index
	caches  map[*ir.Value]bool
	offset  map[string]int // of a state symbol, bytes
	state   int            // bytes of one sequence's recurrent state
	cache   int            // bytes of the caches of all sequences
	scratch int            // bytes
	route   int            // bytes
	routed  *ir.Value      // whose rows by expert the part has last made
	inlined map[*ir.Value]bool

	kernels []*kernel
	byText  map[string]*kernel
	names   map[string]bool
}

func newProgram(m *ir.Module, device ir.Device) *program {
	p := &program{m: m, device: device, member: map[*ir.Value][]*ir.Value{}, caches: map[*ir.Value]bool{}, offset: map[string]int{}, byText: map[string]*kernel{}, names: map[string]bool{}}
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			p.note(v)
		}
	}
	for _, s := range m.State {
		if !p.here(s) {
			continue
		}
		if p.caches[s] {
			p.offset[s.Name] = p.cache
			p.cache += align(s.Type.Bytes(m.MaxSizes()))
		} else {
			p.offset[s.Name] = p.state
			p.state += align(s.Type.Bytes(ir.Sizes{"S": 1}))
		}
	}
	return p
}

func align(n int) int { return (n + 255) &^ 255 }

// here reports whether a symbol or value is on the program's device.
func (p *program) here(v *ir.Value) bool { return p.device == "" || v.On == p.device }

// note keeps what v says of other values: members of tuples, and which state
// symbols are KV caches.
func (p *program) note(v *ir.Value) {
	switch v.Op {
	case ir.OpLoadRows, ir.OpStoreRows, ir.OpNormRopeStore:
		p.caches[v.Args[0]] = true
	case ir.OpPart:
		t := v.Args[0]
		if p.member[t] == nil {
			p.member[t] = make([]*ir.Value, len(t.Type.Tuple))
		}
		p.member[t][v.Int("i")] = v
	}
}

// members returns the parts of a tuple value by index; nil where nobody reads one.
func (p *program) members(v *ir.Value) []*ir.Value {
	if m := p.member[v]; m != nil {
		return m
	}
	return make([]*ir.Value, len(v.Type.Tuple))
}

// recurrent is the stride of a sequence's recurrent state, in floats.
func (p *program) recurrent(*ir.Value) int { return p.state / 4 }

var templates = template.Must(template.ParseFS(cudatemplates.Files, "*.cu.tmpl"))

// kernel instantiates a template, or finds the instance with the same text.
func (p *program) kernel(tmpl, name string, threads, shared int, f fields) (*kernel, error) {
	render := func(name string) (string, error) {
		f["Name"] = name
		var b strings.Builder
		err := templates.Lookup(tmpl+".cu.tmpl").Option("missingkey=error").Execute(&b, f)
		return b.String(), err
	}
	key, err := render("k")
	if err != nil {
		return nil, err
	}
	if k := p.byText[key]; k != nil && k.shared == shared {
		return k, nil
	}
	unique := name
	for i := 2; p.names[unique]; i++ {
		unique = fmt.Sprintf("%s_%d", name, i)
	}
	text, err := render(unique)
	if err != nil {
		return nil, err
	}
	k := &kernel{unique, threads, shared, text}
	p.names[unique] = true
	p.byText[key] = k
	p.kernels = append(p.kernels, k)
	return k, nil
}

// source is the text of all kernels, to be compiled in the folder of the templates.
func (p *program) source() []byte {
	names, err := cudatemplates.Files.ReadDir(".")
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	for _, e := range names {
		if strings.HasSuffix(e.Name(), ".cuh") && e.Name() != "clang.cuh" {
			fmt.Fprintf(&b, "#include %q\n", e.Name())
		}
	}
	for _, k := range slices.SortedFunc(slices.Values(p.kernels), func(a, b *kernel) int { return strings.Compare(a.name, b.name) }) {
		b.WriteString("\n" + k.text)
	}
	return []byte(b.String())
}

// A stage is the launches of one value, or of several as one.
type stage struct {
	v        *ir.Value
	launches []launch
}

// translate is the stages of a part of f, in order.
func (p *program) translate(f *ir.Func, part []*ir.Value) ([]stage, error) {
	var out []stage
	p.routed = nil
	p.chains(f, part)
	for _, v := range part {
		if free(v) || v.Op == ir.OpTransfer || p.inlined[v] {
			continue
		}
		k := &kern{p: p, v: v}
		if err := k.emit(); err != nil {
			return nil, err
		}
		out = append(out, stage{v, k.launches})
	}
	return out, nil
}
