package cpu

import (
	"fmt"
	"io"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/cpu/asm"
	"qnc/ir"
	"qnc/runtime/kernel"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// Panel is the layout of weights that vector kernels read: package panel.
const Panel = "panel"

// vectorTarget finds the vector unit of a target CPU; false for plain Go.
func vectorTarget(name string) (asm.Target, bool) {
	for _, t := range asm.Targets {
		if t.Name == name {
			return t, true
		}
	}
	return asm.Target{}, false
}

// AssignLayouts chooses the layout of every weight for a target CPU: a
// quantised weight on it that is multiplied with quantised activations becomes
// panels where the target has vector kernels; everything else stays as it is
// in the file.
func AssignLayouts(m *ir.Module, target string) {
	if _, ok := vectorTarget(target); !ok {
		return
	}
	for _, f := range m.Funcs {
		for _, v := range f.Body {
			if len(v.Args) == 0 || v.Args[0].Type.DType != ir.A8 {
				continue
			}
			for _, w := range v.Args[1:] {
				if w.Op == ir.OpWeight && here(w) && w.Type.DType.Quantised() {
					w.Type.Layout = Panel
				}
			}
		}
	}
}

// matrices splits the shape of a weight into matrices of rows of width elements.
func matrices(t ir.Type) (count, rows, width int) {
	count = 1
	for _, d := range t.Dims[:t.Rank()-2] {
		count *= d.At(nil)
	}
	return count, t.Dims[t.Rank()-2].At(nil), t.Last().At(nil)
}

// WeightBytes is the size of a weight as it is packed.
func WeightBytes(v *ir.Value) int {
	if v.Type.Layout != Panel {
		return v.Type.Bytes(nil)
	}
	f, ok := panel.ByName(v.Type.DType.String())
	if !ok {
		return 0
	}
	count, rows, width := matrices(v.Type)
	return count * f.MatrixBytes(rows, width)
}

// packRows is how many rows a Packer lays out at a time.
const packRows = 64 * panel.Rows

// A Packer takes the rows of a weight as the file has them and writes them in
// the weight's layout. Matrices (experts) start with a panel of their own.
type Packer struct {
	w       io.Writer
	f       *panel.Format
	width   int
	rows    int // of a matrix
	left    int // rows of this matrix that are still to come
	size    int // bytes of a row
	pending []byte
	out     []byte
}

// NewPacker returns a writer for the rows of v; without a layout that is w itself.
func NewPacker(w io.Writer, v *ir.Value) (io.Writer, error) {
	if v.Type.Layout == "" {
		return w, nil
	}
	f, ok := panel.ByName(v.Type.DType.String())
	if !ok || v.Type.Layout != Panel {
		return nil, fmt.Errorf("BUG: weight %s has no layout %q", v, v.Type.Layout)
	}
	_, rows, width := matrices(v.Type)
	n := min(rows, packRows)
	return &Packer{w: w, f: f, width: width, rows: rows, left: rows, size: f.Kind.RowBytes(width),
		pending: make([]byte, 0, n*f.Kind.RowBytes(width)), out: make([]byte, f.MatrixBytes(n, width))}, nil
}

// Write takes bytes of rows; whole groups of rows go on at once.
func (p *Packer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		want := min(p.left, packRows) * p.size
		src := b
		if len(p.pending) > 0 || len(b) < want {
			take := min(want-len(p.pending), len(b))
			p.pending = append(p.pending, b[:take]...)
			b = b[take:]
			if len(p.pending) < want {
				return n, nil
			}
			src = p.pending
		} else {
			src, b = b[:want], b[want:]
		}
		out := p.out[:p.f.MatrixBytes(want/p.size, p.width)]
		p.f.Pack(out, src, p.width)
		p.pending = p.pending[:0]
		if p.left -= want / p.size; p.left == 0 {
			p.left = p.rows
		}
		if _, err := p.w.Write(out); err != nil {
			return n - len(b), err
		}
	}
	return n, nil
}

// a8Bytes is the size of a row of quantised activations: records for vector
// kernels, quant.A8 for plain Go.
func (p *program) a8Bytes(width int) int {
	if p.vector {
		return panel.RowBytes(width)
	}
	return quant.A8RowBytes(width)
}

// panelOf is what an emitted call of a vector kernel needs of a weight.
type panelOf struct {
	name   string // of the assembly function
	bytes  int    // of a panel
	blocks int
	panels int // of a matrix
}

// panel asks for the vector kernel of weight argument i; ok is false when the
// weight is not in panels.
func (k *kern) panel(i int) (x panelOf, ok bool) {
	w := k.v.Args[i]
	if w.Type.Layout != Panel {
		if k.p.vector && k.v.Args[0].Type.DType == ir.A8 {
			k.fail("weight %s has no panels, which quantised activations of a vector target need", w)
		}
		return x, false
	}
	f, known := panel.ByName(w.Type.DType.String())
	if !known {
		k.fail("weight %s has type %s, for which there is no vector kernel", w, w.Type.DType)
		return x, true
	}
	_, rows, width := matrices(w.Type)
	for _, a := range asm.Kernels {
		if a.Format == f.Kind.Name {
			k.p.asm[a.Name] = true
			return panelOf{a.Name, f.Bytes(width), width / a.Block, (rows + panel.Rows - 1) / panel.Rows}, true
		}
	}
	k.fail("weight %s has type %s, for which there is no vector kernel", w, w.Type.DType)
	return x, true
}

// value is the weight called name as the runtime's loops take it.
func (x panelOf) value(name string) Code {
	return Qual(pkgKernel, "Panels").Values(Dict{
		Id("Func"): Id(x.name), Id("Data"): Id(name), Id("Bytes"): Lit(x.bytes), Id("Blocks"): Lit(x.blocks), Id("Count"): Lit(x.panels),
	})
}

// product is the scratch of a panel loop: with used experts a token, or 0.
func (k *kern) product(used int) int {
	if used == 0 {
		return kernel.PanelScratch(0, 0)
	}
	n := k.v.Type.Dims[0].At(k.p.max)
	return kernel.PanelScratch(n*used, k.static(k.v.Args[1].Type.Dims[0]))
}

// routing is the choice of experts in ids, with the strides of the activations.
func (k *kern) routing(w, used int, x operand) Code {
	return Qual(pkgKernel, "Routing").Values(Dict{
		Id("IDs"): Id("ids"), Id("Used"): Lit(used), Id("Experts"): Lit(k.static(k.v.Args[w].Type.Dims[0])),
		Id("XToken"): Lit(x.token), Id("XItem"): Lit(x.row),
	})
}

// panelCall emits a loop of package kernel over this thread's panels:
//
//	lo, hi := th.Cut(64, 1)
//	kernel.PanelMatMul(out, 1024, x, 352, kernel.Panels{Func: q4K, Data: w, …}, lo, hi, n, th.Scratch(1634))
//
// Functions for one token, Token…, take no n.
func (k *kern) panelCall(fn string, panels, scratch int, args []Code) {
	k.name += "_" + Panel
	k.scratch = scratch
	k.bounds(panels, k.grain(panels*panel.Rows)/panel.Rows)
	args = append(args, Id("lo"), Id("hi"))
	if !strings.HasPrefix(fn, "Token") {
		args = append(args, Id("n"))
	}
	k.stmt(Qual(pkgKernel, fn).Call(append(args, raw("th.Scratch(%d)", scratch))...))
}

// quantizeRow emits the quantisation of a row, in the form that the target's kernels read.
func (k *kern) quantizeRow(dst, src Code) Code {
	if k.p.vector {
		return Qual(pkgKernel, "QuantizeRecords").Call(dst, src)
	}
	return Qual(pkgQuant, "QuantizeA8").Call(dst, src)
}
