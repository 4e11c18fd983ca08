package cpu

import (
	"fmt"
	"strconv"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/view"
	"qnc/ir"
	"qnc/runtime/cost"
	"qnc/runtime/quant"
)

const (
	pkgEngine = "qnc/runtime/engine"
	pkgKernel = "qnc/runtime/kernel"
	pkgQuant  = "qnc/runtime/quant"
)

// A call is one emitted function and one call of it.
type call struct {
	name    string // a hint; deduplication may add a number
	params  []param
	body    []Code
	scratch int // floats a thread needs
	shared  int // floats the threads share
	reads   []region
	writes  []region
	cost    cost.Cost
	fault   error
	since   []region // what the step's kernels have written since the last barrier
}

// A param is one argument: its name and type in the kernel, its text in the call.
type param struct {
	name string
	typ  *Statement
	arg  string
}

// A region is what a kernel touches: bytes of the arena, or a state symbol.
type region struct {
	state  *ir.Value
	lo, hi int
	parts  int // equal parts that are dealt to the threads; 0: any thread touches all of it
}

// crosses reports whether a thread may touch in r what another touches in s.
func (r region) crosses(s region) bool { return r.overlaps(s) && (r != s || r.parts == 0) }

func (r region) overlaps(s region) bool { return r.state == s.state && r.lo < s.hi && s.lo < r.hi }

// dequantize names the function that decodes rows of a kind; package kernel has vector forms of some.
func dequantize(kind *quant.Kind) *Statement {
	name := "Dequantize" + kind.Ident
	switch kind.Ident {
	case "F16", "Q80":
		return Qual(pkgKernel, name)
	}
	return Qual(pkgQuant, name)
}

// raw is Go text that needs no import.
func raw(format string, args ...any) *Statement { return Id(fmt.Sprintf(format, args...)) }

// kern builds a kernel for v within the program p.
type kern struct {
	call
	p *program
	v *ir.Value
}

func (k *kern) fail(format string, args ...any) {
	if k.fault == nil {
		k.fault = fmt.Errorf("%s: %s", k.v.LongString(), fmt.Sprintf(format, args...))
	}
}

func (k *kern) try(err error) {
	if err != nil {
		k.fail("%v", err)
	}
}

func slice(d ir.DType) *Statement {
	switch d {
	case ir.F32:
		return Index().Float32()
	case ir.I32:
		return Index().Int32()
	}
	return Index().Byte()
}

// buffer adds a parameter for a value that lies in the arena or is a parameter
// of the function, starting at element off.
func (k *kern) buffer(name string, v *ir.Value, off int) {
	arg := k.p.field(v)
	if off != 0 {
		arg += "[" + strconv.Itoa(off) + ":]"
	}
	k.params = append(k.params, param{name, slice(v.Type.DType), arg})
}

// out adds the result, or nil for a member of a tuple that nobody reads.
func (k *kern) out(name string, v *ir.Value, d ir.DType) {
	if v == nil {
		k.params = append(k.params, param{name, slice(d), "nil"})
		return
	}
	k.buffer(name, v, 0)
	k.writes = append(k.writes, k.p.region(v))
}

// in adds argument i as it is, whole.
func (k *kern) in(name string, i int) { k.view(name, k.arg(i)) }

// arg is the view of argument i.
func (k *kern) arg(i int) view.View {
	x, err := view.Of(k.v.Args[i])
	k.try(err)
	return x
}

func (k *kern) view(name string, x view.View) {
	switch x.Base.Op {
	case ir.OpWeight:
		if x.Base.Type.DType != ir.F32 {
			k.fail("weight %s is no vector of f32", x.Base)
			return
		}
		arg := k.p.weight(x.Base, true)
		if x.Off != 0 {
			arg += "[" + strconv.Itoa(x.Off) + ":]"
		}
		k.params = append(k.params, param{name, Index().Float32(), arg})
		return
	case ir.OpParam:
		k.params = append(k.params, param{name, slice(x.Base.Type.DType), k.p.field(x.Base)})
		return
	case ir.OpLoadRows, ir.OpLoad, ir.OpState:
		k.fail("state is read by its own kernels only")
		return
	}
	k.buffer(name, x.Base, x.Off)
	k.reads = append(k.reads, k.p.region(x.Base))
}

// matrix adds a weight argument as bytes and returns its format.
func (k *kern) matrix(name string, i int) *quant.Kind {
	w := k.v.Args[i]
	if w.Op != ir.OpWeight {
		k.fail("argument %s is no weight", w)
		return &quant.Kinds[0]
	}
	k.params = append(k.params, param{name, Index().Byte(), k.p.weight(w, false)})
	kind, ok := quant.ByName(w.Type.DType.String())
	if !ok {
		k.fail("weight %s has type %s, for which there is no kernel", w, w.Type.DType)
		return &quant.Kinds[0]
	}
	return kind
}

// rows adds argument i as rows of width floats, m a token, and returns the
// strides of token and row.
func (k *kern) rows(name string, i, m, width int) (token, row int) {
	x := k.arg(i)
	if k.fault != nil {
		return 0, 0
	}
	k.view(name, x)
	token, row, err := x.Rows(k.v.Args[i].Type.Dims[0], m, width)
	k.try(err)
	return token, row
}

// state adds a state symbol: the region of the step's sequence.
func (k *kern) state(name string, s *ir.Value, write bool) {
	typ := slice(s.Type.DType)
	if k.p.caches[s] {
		typ = Index().Byte()
	}
	k.params = append(k.params, param{name, typ, k.p.state(s)})
	r := region{state: s, lo: 0, hi: 1}
	if write {
		k.writes = append(k.writes, r)
	} else {
		k.reads = append(k.reads, r)
	}
}

// sharedMemory is what kernels that share hold each other up by.
var sharedMemory = &ir.Value{Name: "shared"}

// share asks for n floats that the threads share.
func (k *kern) share(n int) {
	k.shared = n
	k.writes = append(k.writes, region{state: sharedMemory, lo: 0, hi: 1})
}

// tokens adds the parameter n: the extent of the step's leading axis.
func (k *kern) tokens(d ir.Dim) {
	arg := ""
	switch {
	case d == ir.Sym("T"):
		arg = "in.T"
	case d == ir.Sym("R"):
		arg = "in.R"
	case d.Sym == "":
		arg = strconv.Itoa(d.Add)
	default:
		k.fail("extent %s has no kernel", d)
	}
	k.params = append(k.params, param{"n", Int(), arg})
}

// static returns the number behind a dim.
func (k *kern) static(d ir.Dim) int {
	n, ok := d.Static()
	if !ok {
		k.fail("extent %s is not known ahead of time", d)
	}
	return n
}

// stmt appends statements.
func (k *kern) stmt(c ...Code) { k.body = append(k.body, c...) }

// cut emits `lo, hi := th.Cut(n, grain)` and a loop over that share.
func (k *kern) cut(name, n string, grain int, body ...Code) {
	k.stmt(List(Id("lo"), Id("hi")).Op(":=").Id("th").Dot("Cut").Call(Id(n), Lit(grain)))
	k.stmt(For(raw("%s := lo", name), raw("%s < hi", name), raw("%s++", name)).Block(body...))
}

// each is a loop from 0 to n.
func each(name string, n any, body ...Code) Code {
	switch n := n.(type) {
	case int:
		return For(Id(name).Op(":=").Range().Lit(n)).Block(body...)
	default:
		return For(Id(name).Op(":=").Range().Id(n.(string))).Block(body...)
	}
}

// at is the text i*stride, without what is not needed.
func at(i string, stride int) string {
	switch stride {
	case 0:
		return "0"
	case 1:
		return i
	}
	return i + "*" + strconv.Itoa(stride)
}

// sum joins index terms with +.
func sum(terms ...string) string {
	var out []string
	for _, t := range terms {
		if t != "0" && t != "" {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return "0"
	}
	return strings.Join(out, "+")
}

// cutSlice is the text x[i:][:n].
func cutSlice(x, i string, n int) string {
	if i == "0" {
		return fmt.Sprintf("%s[:%d]", x, n)
	}
	return fmt.Sprintf("%s[%s:][:%d]", x, i, n)
}

func f32(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
