package cpu

import (
	"fmt"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen/view"
	"qnc/ir"
)

// In a step of one token a kernel cuts its rows themselves over the threads. A value is dealt to
// them in equal parts, of which Thread.Cut gives each a range; between kernels that deal a value
// alike no thread reads what another wrote, and no barrier is needed.

// dealRows is the rows of a part of a product: two panels, one block of quantised activations.
const dealRows = 32

// one reports whether the kernel has one token.
func (k *kern) one() bool {
	t := k.v.Type
	if t.IsTuple() {
		t = t.Tuple[0]
	}
	return t.Rank() > 0 && t.Dims[0].Is(1)
}

// deal is how n elements of one token are dealt, 0 for values that are not.
func (k *kern) deal(n int) (parts int) {
	if !k.one() || n%dealRows != 0 {
		return 0
	}
	return n / dealRows
}

// wrote notes that the result added last is dealt in parts.
func (k *kern) wrote(parts int) { k.writes[len(k.writes)-1].parts = parts }

// readAlike notes that a thread reads its part of those of args, which were added in this order,
// that are alike.
func (k *kern) readAlike(args []view.View, alike func(i int) bool, parts int) {
	at := 0
	for i, x := range args {
		if x.Base.Op == ir.OpWeight || x.Base.Op == ir.OpParam {
			continue // not among the reads
		}
		if alike(i) {
			k.reads[at].parts = parts
		}
		at++
	}
}

// dealt is how the value behind x, n elements in their order, was dealt by the kernels since the
// last barrier; 0: not at all, or x is something else.
func (k *kern) dealt(x view.View, n int) int {
	if k.p == nil || x.Base.Mem == ir.NoMem || x.Off != 0 || x.Base.Type.Elems(k.p.max) != n {
		return 0
	}
	r := k.p.region(x.Base)
	for _, w := range k.since {
		if w.state == nil && w.lo == r.lo && w.hi == r.hi {
			return w.parts
		}
	}
	return 0
}

// inOrder reports whether rows of width elements, token and row apart, are all of x in its order.
func (k *kern) inOrder(x view.View, token, row, rows, width int) bool {
	return x.Off == 0 && (rows == 1 || row == width) && token == rows*width && x.Base.Type.Elems(k.p.max) == rows*width
}

// bounds emits `lo, hi := th.Cut(n, grain)`.
func (k *kern) bounds(n, grain int) {
	k.stmt(List(Id("lo"), Id("hi")).Op(":=").Id("th").Dot("Cut").Call(Lit(n), Lit(grain)))
}

// span is the text of x[lo·a:hi·a], for elements of which one takes size/per bytes.
func span(x string, size, per int) string {
	if size == per {
		return x + "[lo:hi]"
	}
	return fmt.Sprintf("%s[lo/%d*%d:hi/%d*%d]", x, per, size, per, size)
}
