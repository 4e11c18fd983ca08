package cuda

import (
	"fmt"
	"math/bits"

	"qnc/ir"
)

// matvecWarps is matvec_warps of matvec.cuh.
const matvecWarps = 4

// An operand is the activation side of a product: rows of records or of floats.
type operand struct {
	act         string // template of matvec.cuh
	row         string // type of its words
	units       int    // of a row
	token, row1 int    // strides in words
	name        string
}

// operand adds argument i as rows of width elements, m a token.
func (k *kern) operand(i, m, width int) operand {
	x := k.v.Args[i]
	token, row := k.rows(i, m, width)
	if x.Type.DType != ir.A8 {
		return operand{"Floats", "float", width, token, row, "_f32"}
	}
	if token%32 != 0 || row%32 != 0 {
		k.fail("quantised rows of %s do not start with a block", x)
	}
	const words = 11 // record_words
	return operand{"Records", "uint32_t", width / 32, token / 32 * words, row / 32 * words, ""}
}

// lanes is Lanes of matvec.cuh: how many share a row.
func (o operand) lanes() int {
	if o.units >= 32 {
		return 32
	}
	return 1 << (bits.Len(uint(o.units)) - 1)
}

// rowBlocks is how many blocks n rows take.
func (o operand) rowBlocks(n int) extent {
	return extent{ir.Num(n), 1, matvecWarps * 32 / o.lanes()}
}

// fields are those that all products share.
func (o operand) fields(kind string, n, width int) fields {
	return fields{"Kind": kind, "Act": o.act, "Row": o.row, "N": n, "K": width, "Token": o.token}
}

// emitMatMul emits a product with a weight.
func emitMatMul(k *kern) {
	w := k.v.Args[1].Type
	if w.Rank() != 2 || k.v.Type.Rank() != 2 {
		k.fail("a batched product has no kernel")
		return
	}
	n, width := k.static(w.Dims[0]), k.static(w.Dims[1])
	k.out(k.v)
	x := k.operand(0, 1, width)
	kind := k.weight(1)
	k.launch("matvec", fmt.Sprintf("matvec_%s%s_%dx%d", w.DType, x.name, n, width), 32*matvecWarps, 0,
		x.fields(kind, n, width), x.rowBlocks(n), extent{k.v.Type.Dims[0], 1, 1})
}

// emitGateUp emits silu(x gateᵀ) * (x upᵀ).
func emitGateUp(k *kern) {
	g, u := k.v.Args[1].Type, k.v.Args[2].Type
	n, width := k.static(g.Dims[0]), k.static(g.Dims[1])
	k.out(k.v)
	x := k.operand(0, 1, width)
	f := x.fields(k.weight(1), n, width)
	f["Kind2"] = k.weight(2)
	k.launch("gate_up", fmt.Sprintf("gate_up_%s_%s%s_%dx%d", g.DType, u.DType, x.name, n, width), 32*matvecWarps, 0,
		f, x.rowBlocks(n), extent{k.v.Type.Dims[0], 1, 1})
}

// experts adds the activations of a product by expert and gives its shape: used
// experts a token, rows of width.
func (k *kern) experts(x, w, ids int) (used, n, width int, in operand) {
	wt, xt := k.v.Args[w].Type, k.v.Args[x].Type
	n, width = k.static(wt.Dims[1]), k.static(wt.Dims[2])
	used = k.static(k.v.Args[ids].Type.Dims[1])
	per := k.static(xt.Dims[1])
	in = k.operand(x, per, width)
	if per == 1 {
		in.row1 = 0
	}
	return used, n, width, in
}

// emitMatMulID emits a product by expert.
func emitMatMulID(k *kern) {
	k.out(k.v)
	used, n, width, x := k.experts(0, 1, 2)
	f := x.fields(k.weight(1), n, width)
	f["Used"], f["Item"] = used, x.row1
	k.in(2)
	k.launch("matvec_id", fmt.Sprintf("matvec_id_%s%s_%dx%d", k.v.Args[1].Type.DType, x.name, n, width), 32*matvecWarps, 0,
		f, x.rowBlocks(n), extent{k.v.Type.Dims[0], used, 1})
}

// emitMoEGateUp emits gate_up by expert.
func emitMoEGateUp(k *kern) {
	k.out(k.v)
	used, n, width, x := k.experts(0, 1, 3)
	f := x.fields(k.weight(1), n, width)
	f["Kind2"] = k.weight(2)
	f["Used"] = used
	k.in(3)
	k.launch("moe_gate_up", fmt.Sprintf("moe_gate_up_%s_%s%s_%dx%d", k.v.Args[1].Type.DType, k.v.Args[2].Type.DType, x.name, n, width), 32*matvecWarps, 0,
		f, x.rowBlocks(n), extent{k.v.Type.Dims[0], used, 1})
}

// emitMoEDown emits the weighted sum of the experts' products.
func emitMoEDown(k *kern) {
	k.out(k.v)
	used, n, width, x := k.experts(0, 1, 2)
	f := x.fields(k.weight(1), n, width)
	f["Used"], f["Item"] = used, x.row1
	k.in(2)
	k.in(3)
	k.launch("moe_down", fmt.Sprintf("moe_down_%s%s_%dx%d", k.v.Args[1].Type.DType, x.name, n, width), 32*matvecWarps, 0,
		f, extent{ir.Num(n), 1, matvecWarps}, extent{k.v.Type.Dims[0], 1, 1})
}

// emitTopKMoE emits the routing, a warp a token.
func emitTopKMoE(k *kern) {
	x := k.v.Args[0].Type
	experts, used := k.static(x.Dims[1]), k.v.Int("k")
	k.out(k.result(0))
	k.out(k.result(1))
	if len(k.p.m.Funcs) > 0 && (k.result(0) == nil || k.result(1) == nil) {
		k.fail("weights and ids must both be read")
		return
	}
	f := fields{"E": experts, "K": used, "Norm": k.v.Int("norm") == 1, "Min": f32(k.v.Float("min")), "Scale": f32(k.v.Float("scale"))}
	f["XT"], _ = k.rows(0, 1, experts)
	k.launch("topk_moe", fmt.Sprintf("topk_moe_%dof%d", used, experts), 32, 0, f, extent{x.Dims[0], 1, 1})
}
