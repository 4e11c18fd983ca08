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
	token, item int    // strides in words
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

// What tile.cuh calls tile_rows and route_threads, the tokens of a tile of one
// matrix and of others, and the blocks that share the tiles of all experts.
const (
	tileRows     = 64
	routeThreads = 512
	wideTile     = 64
	tile         = 32
	tileBlocks   = 1024
)

// byTokens emits a product for few tokens, each with all weights, and one for
// many, in tiles. Activations of floats are never many.
func (k *kern) byTokens(single, tiled func()) {
	x := k.v.Args[0].Type
	if n, ok := x.Dims[0].Static(); x.DType != ir.A8 || ok && n <= fewTokens {
		single()
		return
	}
	k.when = few
	single()
	k.when = many
	tiled()
	k.when = always
}

// emitMatMul emits a product with a weight.
func emitMatMul(k *kern) {
	w, t := k.v.Args[1].Type, k.v.Type.Dims[0]
	if w.Rank() != 2 || k.v.Type.Rank() != 2 {
		k.fail("a batched product has no kernel")
		return
	}
	n, width := k.static(w.Dims[0]), k.static(w.Dims[1])
	args := func() (operand, fields) {
		k.out(k.v)
		x := k.operand(0, 1, width)
		return x, x.fields(k.weight(1), n, width)
	}
	k.byTokens(func() {
		x, f := args()
		k.launch("matvec", fmt.Sprintf("matvec_%s%s_%dx%d", w.DType, x.name, n, width), 32*matvecWarps, 0, f, x.rowBlocks(n), extent{t, 1, 1})
	}, func() {
		_, f := args()
		f["BN"] = wideTile
		k.tokens(t)
		k.launch("tile_matmul", fmt.Sprintf("tile_matmul_%s_%dx%d", w.DType, n, width), 32*matvecWarps, 0, f, extent{ir.Num(n), 1, tileRows}, extent{t, 1, wideTile})
	})
}

// emitGateUp emits silu(x gateᵀ) * (x upᵀ).
func emitGateUp(k *kern) {
	g, u, t := k.v.Args[1].Type, k.v.Args[2].Type, k.v.Type.Dims[0]
	n, width := k.static(g.Dims[0]), k.static(g.Dims[1])
	args := func() (operand, fields) {
		k.out(k.v)
		x := k.operand(0, 1, width)
		f := x.fields(k.weight(1), n, width)
		f["Kind2"] = k.weight(2)
		return x, f
	}
	k.byTokens(func() {
		x, f := args()
		k.launch("gate_up", fmt.Sprintf("gate_up_%s_%s%s_%dx%d", g.DType, u.DType, x.name, n, width), 32*matvecWarps, 0, f, x.rowBlocks(n), extent{t, 1, 1})
	}, func() {
		_, f := args()
		f["BN"] = tile
		k.tokens(t)
		k.launch("tile_gate_up", fmt.Sprintf("tile_gate_up_%s_%s_%dx%d", g.DType, u.DType, n, width), 32*matvecWarps, 0, f, extent{ir.Num(n), 1, tileRows}, extent{t, 1, tile})
	})
}

// An expertProduct is one by expert: used of count experts a token, n rows of width.
type expertProduct struct {
	used, count, n, width int
	in                    operand
	f                     fields
}

// experts adds the activations x and the weights w of a product by expert.
func (k *kern) experts(x, w, ids int) expertProduct {
	wt, xt := k.v.Args[w].Type, k.v.Args[x].Type
	e := expertProduct{used: k.static(k.v.Args[ids].Type.Dims[1]), count: k.static(wt.Dims[0]), n: k.static(wt.Dims[1]), width: k.static(wt.Dims[2])}
	per := k.static(xt.Dims[1])
	e.in = k.operand(x, per, e.width)
	if per == 1 {
		e.in.item = 0
	}
	e.f = e.in.fields(k.weight(w), e.n, e.width)
	e.f["Used"], e.f["Item"] = e.used, e.in.item
	return e
}

// lists gives the sizes of the lists of rows by expert: of the rows themselves
// and of tiles.
func (k *kern) lists(e expertProduct) (rows, work int) {
	n := k.v.Args[0].Type.Dims[0].At(k.p.m.MaxSizes()) * e.used
	return align(4 * n), 4 * (1 + 3*(n/tile+e.count))
}

// sort emits the rows by expert of argument ids, when the part has not just made them.
func (k *kern) sort(e expertProduct, ids int) {
	id := k.v.Args[ids]
	if k.p.routed == id {
		return
	}
	k.p.routed = id
	args := k.args
	k.args = nil
	rows, work := k.lists(e)
	k.route(0, rows)
	k.route(rows, rows+work)
	k.in(ids)
	k.tokens(id.Type.Dims[0])
	k.launch("route", fmt.Sprintf("route_%dof%d", e.used, e.count), routeThreads, 0, fields{"E": e.count, "Used": e.used, "BN": tile})
	k.args = args
}

// tiles launches a kernel of tiles by expert.
func (k *kern) tiles(e expertProduct, template, name string) {
	rows, work := k.lists(e)
	k.route(0, rows)
	k.route(rows, rows+work)
	e.f["BN"] = tile
	groups := (e.n + tileRows - 1) / tileRows
	k.launch(template, fmt.Sprintf("%s_%s_%dx%d", template, name, e.n, e.width), 32*matvecWarps, 0, e.f, blocks(min(tileBlocks, groups*work/12)))
}

// emitMatMulID emits a product by expert.
func emitMatMulID(k *kern) {
	name := k.v.Args[1].Type.DType.String()
	k.byTokens(func() {
		k.out(k.v)
		e := k.experts(0, 1, 2)
		k.in(2)
		k.launch("matvec_id", fmt.Sprintf("matvec_id_%s%s_%dx%d", name, e.in.name, e.n, e.width), 32*matvecWarps, 0, e.f, e.in.rowBlocks(e.n), extent{k.v.Type.Dims[0], e.used, 1})
	}, func() {
		k.out(k.v)
		e := k.experts(0, 1, 2)
		k.sort(e, 2)
		k.tiles(e, "tile_matmul_id", name)
	})
}

// emitMoEGateUp emits gate_up by expert.
func emitMoEGateUp(k *kern) {
	name := fmt.Sprintf("%s_%s", k.v.Args[1].Type.DType, k.v.Args[2].Type.DType)
	args := func() expertProduct {
		k.out(k.v)
		e := k.experts(0, 1, 3)
		e.f["Kind2"] = k.weight(2)
		return e
	}
	k.byTokens(func() {
		e := args()
		k.in(3)
		k.launch("moe_gate_up", fmt.Sprintf("moe_gate_up_%s%s_%dx%d", name, e.in.name, e.n, e.width), 32*matvecWarps, 0, e.f, e.in.rowBlocks(e.n), extent{k.v.Type.Dims[0], e.used, 1})
	}, func() {
		e := args()
		k.sort(e, 3)
		k.tiles(e, "tile_moe_gate_up", name)
	})
}

// emitMoEDown emits the weighted sum of the experts' products, of many tokens
// in two steps.
func emitMoEDown(k *kern) {
	name, t := k.v.Args[1].Type.DType.String(), k.v.Type.Dims[0]
	k.byTokens(func() {
		k.out(k.v)
		e := k.experts(0, 1, 2)
		k.in(2)
		k.in(3)
		k.launch("moe_down", fmt.Sprintf("moe_down_%s%s_%dx%d", name, e.in.name, e.n, e.width), 32*matvecWarps, 0, e.f, extent{ir.Num(e.n), 1, matvecWarps}, extent{t, 1, 1})
	}, func() {
		used, n := k.static(k.v.Args[2].Type.Dims[1]), k.static(k.v.Type.Dims[1])
		parts := 4 * t.At(k.p.m.MaxSizes()) * used * n
		k.scratch(parts)
		e := k.experts(0, 1, 2)
		k.sort(e, 2)
		k.tiles(e, "tile_matmul_id", name)
		k.out(k.v)
		k.scratch(parts)
		k.in(3)
		const threads = 256
		k.launch("moe_sum", fmt.Sprintf("moe_sum_%dx%d", used, n), threads, 0, fields{"N": n, "Used": used}, extent{ir.Num(n), 1, threads}, extent{t, 1, 1})
	})
}

// emitTopKMoE emits the routing, a warp a token. Its block has the size of those
// of products, which it can share a launch with.
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
	k.launch("topk_moe", fmt.Sprintf("topk_moe_%dof%d", used, experts), 128, 0, f, extent{x.Dims[0], 1, 1})
}
