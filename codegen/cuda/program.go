package cuda

import (
	"fmt"
	"maps"
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

	kernels []*kernel // that launches use
	byText  map[string]*body
	single  map[*body]*kernel
	joints  map[string]*kernel
	names   map[string]bool
}

func newProgram(m *ir.Module, device ir.Device) *program {
	p := &program{m: m, device: device, member: map[*ir.Value][]*ir.Value{}, caches: map[*ir.Value]bool{}, offset: map[string]int{}, byText: map[string]*body{}, single: map[*body]*kernel{}, joints: map[string]*kernel{}, names: map[string]bool{}}
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

// kernel instantiates a template, or finds the instance with the same text, as
// a kernel of its own.
func (p *program) kernel(tmpl, name string, threads, shared int, f fields) (*kernel, error) {
	b, err := p.body(tmpl, name, threads, f)
	if err != nil {
		return nil, err
	}
	k := p.single[b]
	if k == nil {
		var names []string
		for _, x := range b.params {
			names = append(names, ", "+paramName(x))
		}
		k = &kernel{name: b.name, threads: threads, shared: shared, bodies: []*body{b}}
		k.text = k.frame(strings.Join(b.params, ", "), fmt.Sprintf("  %s_body(this_block()%s);\n", b.name, strings.Join(names, "")))
		p.single[b] = k
	}
	return k, nil
}

// frame is a kernel as text.
func (k *kernel) frame(params, body string) string {
	return fmt.Sprintf("QNC_KERNEL(%d) %s(%s) {\n%s}\nQNC_EXPORT(%s)\n", k.threads, k.name, params, body, k.name)
}

// paramName is the name of "const float *x".
func paramName(s string) string { return s[strings.LastIndexAny(s, " *")+1:] }

// unique returns a name that no kernel has.
func (p *program) unique(name string) string {
	try := name
	for i := 2; p.names[try]; i++ {
		try = fmt.Sprintf("%s_%d", name, i)
	}
	p.names[try] = true
	return try
}

// body instantiates a template, or finds the instance with the same text.
func (p *program) body(tmpl, name string, threads int, f fields) (*body, error) {
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
	if b := p.byText[key]; b != nil {
		return b, nil
	}
	b := &body{name: p.unique(name), threads: threads}
	if b.text, err = render(b.name); err != nil {
		return nil, err
	}
	_, params, ok := strings.Cut(b.text, "_body(Block at, ")
	params, _, ok2 := strings.Cut(params, ") {")
	if !ok || !ok2 {
		return nil, fmt.Errorf("template %s has no body", tmpl)
	}
	b.params = strings.Split(params, ", ")
	p.byText[key] = b
	return b, nil
}

// source is the text of kernels, to be compiled in the folder of the templates.
func source(kernels []*kernel) []byte {
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
	bodies := map[string]string{}
	for _, k := range kernels {
		for _, x := range k.bodies {
			bodies[x.name] = x.text
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		b.WriteString("\n" + bodies[name])
	}
	b.WriteString("\n")
	for _, k := range slices.SortedFunc(slices.Values(kernels), func(a, b *kernel) int { return strings.Compare(a.name, b.name) }) {
		b.WriteString(k.text)
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
	out = p.schedule(out)
	for _, s := range out {
		for _, l := range s.launches {
			if !slices.Contains(p.kernels, l.kernel) {
				p.kernels = append(p.kernels, l.kernel)
			}
		}
	}
	return out, nil
}
