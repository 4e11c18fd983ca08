package cuda

import (
	"fmt"
	"strings"

	"qnc/ir"
)

// headWarps is head_warps of norm.cuh.
const headWarps = 4

// emitNormRope emits rope, after RMS norm or alone.
func emitNormRope(k *kern) {
	t := k.v.Type
	k.out(k.v)
	norm := k.v.Op == ir.OpNormRope
	f := k.rotation(0, norm)
	pos := 1
	if norm {
		k.in(1)
		pos = 2
	} else {
		k.args = append(k.args, arg{in: nowhere})
	}
	k.in(pos)
	k.tokens(t.Dims[0])
	if k.fault != nil {
		return
	}
	k.launch("norm_rope", fmt.Sprintf("%s_%vx%v", k.v.Op, f["H"], f["D"]), 32*headWarps, 0, f, extent{t.Dims[0], f["H"].(int), headWarps})
}

// rotation adds argument i, heads, and gives the fields of their norm and rotation.
func (k *kern) rotation(i int, norm bool) fields {
	heads, dim, token, row := k.heads(i)
	d, base := k.v.Int("dims"), k.v.Float("base")
	if d > dim || d%2 != 0 {
		k.fail("%d of %d elements cannot rotate", d, dim)
	}
	return fields{"H": heads, "D": dim, "Dims": d, "Norm": norm, "XT": token, "XR": row, "Eps": f32(k.v.Float("eps")), "Turns": turns(d, base)}
}

// cell is the type of a cache's cells in common.cuh.
func (k *kern) cell(s *ir.Value) string {
	switch s.Type.DType {
	case ir.F32, ir.F16, ir.Q8_0:
	default:
		k.fail("a cache of %s has no kernel: use f16, q8_0 or f32", s.Type.DType)
	}
	return "Cell" + strings.ToUpper(s.Type.DType.String())
}

// emitStoreCells emits the write of heads to the cells of their positions, with
// norm and rotation or as they are.
func emitStoreCells(k *kern) {
	norm := k.v.Op == ir.OpNormRopeStore
	x := k.v.Args[1].Type
	size := k.state(k.v.Args[0])
	f := k.rotation(1, norm)
	pos := 2
	if norm {
		k.in(2)
		pos = 3
	} else {
		k.args = append(k.args, arg{in: nowhere})
	}
	k.in(pos)
	k.in(pos + 1)
	k.tokens(x.Dims[0])
	if k.fault != nil {
		return
	}
	f["Cell"], f["Size"] = k.cell(k.v.Args[0]), size
	k.launch("store_cells", fmt.Sprintf("%s_%s_%vx%v", k.v.Op, k.v.Args[0].Type.DType, f["H"], f["D"]), 32*headWarps, 0, f,
		extent{x.Dims[0], f["H"].(int), headWarps})
}

// What attention.cuh calls attention_threads and attention_cells, and the ranges
// of cells of one token.
const (
	attentionThreads = 128
	attentionCells   = 32
	attentionSplit   = 16
)

// emitAttention emits attention over the cells up to a token's position. One
// token's cells are split over blocks and joined; of many tokens some share the
// cells that are read.
func emitAttention(k *kern) {
	q, keys, values := k.v.Args[0].Type, k.v.Args[1], k.v.Args[2]
	if keys.Op != ir.OpLoadRows || values.Op != ir.OpLoadRows {
		k.fail("keys and values must come from a cache")
		return
	}
	heads, dim := k.static(q.Dims[1]), k.static(q.Dims[2])
	groups, vdim := k.static(keys.Type.Dims[1]), k.static(values.Type.Dims[2])
	per := heads / groups
	tokens, split := max(1, 16/per), 1
	if q.Dims[0].Is(1) {
		tokens, split = 1, attentionSplit
	}
	rows := per * tokens
	f := fields{"CK": k.cell(keys.Args[0]), "CV": k.cell(values.Args[0]), "H": heads, "G": groups, "Tiled": k.v.Attr.Get("map") == "tiled",
		"D": dim, "E": vdim, "TT": tokens, "Split": split, "Scale": f32(k.v.Float("scale"))}
	name := fmt.Sprintf("attention_%s_%s_%dx%dof%d", keys.Args[0].Type.DType, values.Args[0].Type.DType, heads, dim, groups)
	if split > 1 {
		k.scratch(4 * heads * split * (vdim + 2))
		name += "_split"
	} else {
		k.out(k.v)
	}
	f["XT"], f["XR"] = k.rows(0, heads, dim)
	f["KSize"], f["VSize"] = k.state(keys.Args[0]), k.state(values.Args[0])
	k.in(3)
	seq, err := keys.Args[1], error(nil)
	if seq != values.Args[1] {
		err = fmt.Errorf("keys and values are of two sequences")
	}
	k.try(err)
	k.args = append(k.args, arg{in: inInput, v: seq})
	k.tokens(q.Dims[0])
	tile := 4 * (rows*dim + attentionCells*(dim+1) + rows*attentionCells + 3*rows)
	k.launch("attention", name, attentionThreads, tile, f, blocks(groups), extent{q.Dims[0], 1, tokens}, blocks(split))
	if split > 1 {
		k.out(k.v)
		k.scratch(0)
		k.launch("attention_join", fmt.Sprintf("attention_join_%d", vdim), warps(vdim, 256), 0, fields{"E": vdim, "Split": split}, blocks(heads))
	}
}
