package ir

import (
	"fmt"
	"io"
	"strings"
)

// String prints the module in the form that Parse reads.
func (m *Module) String() string {
	var b strings.Builder
	m.WriteTo(&b)
	return b.String()
}

// WriteTo prints the module to w.
func (m *Module) WriteTo(w io.Writer) (int64, error) {
	p := &printer{w: w}
	p.f("module %s level=%s {\n", m.Name, m.Level)
	for _, d := range m.Machine.Devices {
		p.f("\tdevice %s", d.Name)
		if d.Mem != 0 {
			p.f(" mem=%s", FormatBytes(d.Mem))
		}
		if d.Reserve != 0 {
			p.f(" reserve=%s", FormatBytes(d.Reserve))
		}
		if d.Bandwidth != 0 {
			p.f(" bw=%s", formatRate(d.Bandwidth, byteRate))
		}
		if d.MACs != 0 {
			p.f(" mac=%s", formatRate(d.MACs, macRate))
		}
		p.f("\n")
	}
	for _, l := range m.Machine.Links {
		p.f("\tlink %s %s %s\n", l.A, l.B, formatRate(l.Bandwidth, byteRate))
	}
	for _, x := range m.Bounds {
		p.f("\tbound %s %d\n", x.Sym, x.Max)
	}
	for _, v := range m.Weights {
		p.f("\tweight @%s : %s", v.Name, v.Type)
		if v.From != "" {
			p.f(" from=%s", v.From)
		}
		for i, r := range v.Rows {
			p.f("%s%d:%d:%d:%d", []string{" rows=", ","}[min(i, 1)], r.Start, r.Len, r.Groups, r.Stride)
		}
		p.on(v)
	}
	for _, v := range m.State {
		p.f("\tstate @%s : %s", v.Name, v.Type)
		p.on(v)
	}
	p.f("}\n")
	for _, fn := range m.Funcs {
		p.f("\n")
		p.fn(fn)
	}
	return p.n, p.err
}

// String prints the function as it stands in its module.
func (f *Func) String() string {
	var b strings.Builder
	(&printer{w: &b}).fn(f)
	return b.String()
}

type printer struct {
	w   io.Writer
	n   int64
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		var n int
		n, p.err = fmt.Fprintf(p.w, format, args...)
		p.n += int64(n)
	}
}

func (p *printer) on(v *Value) {
	if v.On != "" {
		p.f(" @%s", v.On)
	}
	p.f("\n")
}

func (p *printer) fn(f *Func) {
	p.f("func %s(", f.Name)
	for i, v := range f.Params {
		if i > 0 {
			p.f(", ")
		}
		p.f("%%%s: %s", v.Name, v.Type)
	}
	p.f("%s {\n", fromText(f.From))
	part, left := 0, 0
	for _, v := range f.Body {
		for left == 0 && part < len(f.Parts) {
			p.f("p%d @%s:\n", part, f.Parts[part].Device)
			left = f.Parts[part].Len
			part++
		}
		left--
		p.f("\t%s\n", v.LongString())
	}
	p.f("\treturn")
	for i, r := range f.Results {
		if i > 0 {
			p.f(",")
		}
		p.f(" %s", r)
	}
	p.f("\n}\n")
}

// String prints the reference to v: %name or @name.
func (v *Value) String() string {
	if v.IsSymbol() {
		return "@" + v.Name
	}
	return "%" + v.Name
}

// LongString prints v as its line of a function: %name = op %args {attrs} : type.
func (v *Value) LongString() string {
	var b strings.Builder
	if !v.Type.IsNone() {
		fmt.Fprintf(&b, "%%%s = ", v.Name)
	}
	b.WriteString(v.Op.String())
	for i, a := range v.Args {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + a.String())
	}
	for i, a := range v.Attr {
		fmt.Fprintf(&b, "%s%s=%s", []string{" {", " "}[min(i, 1)], a.Name, a.Val)
	}
	if len(v.Attr) > 0 {
		b.WriteByte('}')
	}
	if !v.Type.IsNone() {
		fmt.Fprintf(&b, " : %s", v.Type)
	}
	if v.Mem != NoMem {
		fmt.Fprintf(&b, " at %d", v.Mem)
	}
	return b.String()
}
