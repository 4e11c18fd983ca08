package cuda

import (
	"fmt"
	"slices"

	"qnc/ir"
)

// emitQuantize emits records of rows.
func emitQuantize(k *kern) {
	t := k.v.Type
	m, width := k.rowShape(t)
	k.out(k.v)
	f := fields{"W": width, "M": m}
	f["XT"], f["XR"] = k.rows(0, m, width)
	k.tokens(t.Dims[0])
	const threads = 128
	k.launch("quantize", "quantize_"+dims(t), threads, 0, f, extent{t.Dims[0], m * width, threads})
}

// emitUnitNorm emits rms_norm or l2_norm without weights, a warp a row.
func emitUnitNorm(k *kern) {
	t := k.v.Type
	m, width := k.rowShape(t)
	k.out(k.v)
	f := fields{"W": width, "M": m, "Mean": k.v.Op == ir.OpRMSNorm, "Eps": f32(k.v.Float("eps"))}
	f["XT"], f["XR"] = k.rows(0, m, width)
	k.tokens(t.Dims[0])
	k.launch("unit_norm", k.v.Op.String()+"_"+dims(t), 128, 0, f, extent{t.Dims[0], m, 4})
}

// wanted gives the results of a norm by the words of its attribute.
func (k *kern) wanted() func(word string) *ir.Value {
	words := k.v.Words("out")
	return func(word string) *ir.Value {
		if i := slices.Index(words, word); i >= 0 {
			return k.result(i)
		}
		return nil
	}
}

// emitNorm emits residual sum, RMS norm and records, a row a block. What is
// added may be elementwise expressions.
func emitNorm(k *kern) {
	x := k.v.Args[0].Type
	m, width := k.rowShape(x)
	want := k.wanted()
	sum, plain, a8 := want("sum"), want("f32"), want("a8")
	k.out(sum)
	k.out(plain)
	k.out(a8)
	t := &tree{k: k}
	expr := t.row(0, m, width)
	if len(k.v.Args) == 3 {
		expr += " + " + t.row(2, m, width)
	}
	params := t.operands()
	k.in(1)
	k.launch("norm", t.name("norm")+fmt.Sprintf("_%d", width), warps(width, 256), 0, fields{
		"W": width, "M": m, "Sum": sum != nil, "F32": plain != nil, "A8": a8 != nil, "Words": width / 32 * 11, "Eps": f32(k.v.Float("eps")),
		"Params": params, "Index": t.lines, "X": expr,
	}, extent{x.Dims[0], m, 1})
}

// emitGatedNorm emits rms_norm(x) * w * silu(z). A block takes a head, or all
// heads of a token where their records are not each its own.
func emitGatedNorm(k *kern) {
	x := k.v.Args[0].Type
	heads, width := k.rowShape(x)
	want := k.wanted()
	plain, a8 := want("f32"), want("a8")
	k.out(plain)
	k.out(a8)
	h := 1
	if width%32 != 0 {
		h = heads
	}
	if h > 1024 {
		k.fail("%d heads of %d in one block: 1024 at most", h, width)
	}
	f := fields{"H": h, "Heads": heads, "V": width, "F32": plain != nil, "A8": a8 != nil, "Eps": f32(k.v.Float("eps"))}
	f["XT"], f["XR"] = k.rows(0, heads, width)
	k.in(1)
	f["ZT"], f["ZR"] = k.rows(2, heads, width)
	k.launch("gated_norm", fmt.Sprintf("gated_norm_%dx%d", heads, width), warps(h*width, 256), 0, f,
		extent{ir.Num(heads), 1, h}, extent{x.Dims[0], 1, 1})
}
