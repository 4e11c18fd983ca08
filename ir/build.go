package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// A Builder appends values to a function and infers their types. The first
// fault is kept; check Err at the end.
type Builder struct {
	F     *Func
	Err   error
	names map[string]int
}

// NewBuilder returns a builder for f.
func NewBuilder(f *Func) *Builder {
	b := &Builder{F: f, names: map[string]int{}}
	for _, v := range f.Params {
		b.names[v.Name] = 1
	}
	for _, v := range f.Body {
		b.names[v.Name] = 1
	}
	return b
}

// Param adds a parameter.
func (b *Builder) Param(name string, t Type) *Value {
	v := &Value{Name: b.unique(name), Op: OpParam, Type: t, Mem: NoMem}
	b.F.Params = append(b.F.Params, v)
	return v
}

// Add appends op(args) called name. Attributes are name, value pairs: a value
// is a string, int, float64, Dim, []Dim or []int.
func (b *Builder) Add(name string, op Op, args []*Value, attrs ...any) *Value {
	v, err := NewValue(b.unique(name), op, args, attrs...)
	if err != nil && b.Err == nil {
		b.Err = fmt.Errorf("%s: %w", b.F.Name, err)
	}
	b.F.Body = append(b.F.Body, v)
	return v
}

// NewValue makes a value outside any function and infers its type.
func NewValue(name string, op Op, args []*Value, attrs ...any) (*Value, error) {
	v := &Value{Name: name, Op: op, Args: args, Mem: NoMem}
	for i := 0; i+1 < len(attrs); i += 2 {
		if s := attrText(attrs[i+1]); s != "" {
			v.Attr = append(v.Attr, Attr{attrs[i].(string), s})
		}
	}
	v.Attr = v.Attr.sorted(op)
	for _, a := range args {
		if a.Op != OpParam && !a.IsSymbol() && a.Type.IsNone() {
			return v, fmt.Errorf("%s: argument %s has no type", v.LongString(), a)
		}
	}
	t, err := op.Info().Infer(v)
	if err != nil {
		return v, fmt.Errorf("%s: %w", v.LongString(), err)
	}
	v.Type = t
	return v, nil
}

func attrText(x any) string {
	switch x := x.(type) {
	case string:
		return x
	case int:
		return strconv.Itoa(x)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case Dim:
		return x.String()
	case []Dim:
		s := make([]string, len(x))
		for i, d := range x {
			s[i] = d.String()
		}
		return strings.Join(s, ",")
	case []int:
		s := make([]string, len(x))
		for i, n := range x {
			s[i] = strconv.Itoa(n)
		}
		return strings.Join(s, ",")
	}
	panic(fmt.Sprintf("BUG: attribute of type %T", x))
}

// unique returns name, or name.1, name.2, … when it is taken.
func (b *Builder) unique(name string) string {
	n := b.names[name]
	b.names[name] = n + 1
	if n == 0 {
		return name
	}
	for {
		try := name + "." + strconv.Itoa(n)
		if b.names[try] == 0 {
			b.names[try] = 1
			return try
		}
		n++
		b.names[name] = n + 1
	}
}
