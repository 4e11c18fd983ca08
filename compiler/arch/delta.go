package arch

import "qnc/ir"

// deltaRule lowers the gated delta rule over q, k [T,G,K], v [T,H,V], log
// decay g and beta [T,H]; value head h reads key head h / (H/G). One token is
// lowered as one step, more as chunks of 64. Both are primitive ops only, with
// the repeats, permutes and copies that a graph of ggml has.
func (b *blocks) deltaRule(q, k, v, g, beta *ir.Value, scale float64) *ir.Value {
	heads, dv, dk := v.Type.Dims[1], v.Type.Dims[2], k.Type.Dims[2]
	h, _ := heads.Static()
	groups, _ := k.Type.Dims[1].Static()
	vi, _ := dv.Static()
	ki, _ := dk.Static()
	state := b.im.State(b.name("delta"), ir.F32, h, vi, ki)
	if h != groups {
		q = b.op("q_heads", ir.OpRepeat, q, "axis", 1, "n", h/groups, "map", "interleaved")
		k = b.op("k_heads", ir.OpRepeat, k, "axis", 1, "n", h/groups, "map", "interleaved")
	}
	q = b.op("q_scaled", ir.OpScale, q, "by", scale)
	if b.tokens.Is(1) {
		return b.deltaStep(state, q, k, v, g, beta)
	}
	return b.deltaChunks(state, q, k, v, g, beta)
}

// deltaStep is one token: S = e^g S; S += beta (v - S k) kᵀ; out = S q.
func (b *blocks) deltaStep(state, q, k, v, g, beta *ir.Value) *ir.Value {
	h, dv, dk := v.Type.Dims[1], v.Type.Dims[2], k.Type.Dims[2]
	row := func(name string, x *ir.Value) *ir.Value { // [1,H,K] over all rows of the state
		return b.repeat(name, b.reshape(name+"_row", x, h, 1, dk), 1, dv)
	}
	one := func(name string, x *ir.Value) *ir.Value { return b.reshape(name, x, h, 1, 1) }
	s := b.op("state_decayed", ir.OpMul, b.op("state", ir.OpLoad, state, b.seq), one("decay", b.op("g_exp", ir.OpExp, g)))
	kr := row("k_rep", k)
	kv := b.op("kv_mem", ir.OpSum, b.op("state_k", ir.OpMul, s, kr), "axis", 2)
	delta := b.op("v_diff", ir.OpSub, b.reshape("v_col", v, h, dv, 1), kv)
	delta = b.op("delta", ir.OpMul, delta, one("beta_one", beta))
	s = b.op("state_new", ir.OpAdd, s, b.op("delta_k", ir.OpMul, b.repeat("delta_rep", delta, 2, dk), kr))
	b.op("state_store", ir.OpStore, state, s, b.seq)
	out := b.op("state_q_sum", ir.OpSum, b.op("state_q", ir.OpMul, s, row("q_rep", q)), "axis", 2)
	return b.reshape("attn_output_delta", out, 1, h, dv)
}

// deltaChunks is the chunked form (Yang et al., Gated Delta Networks, the WY
// form): inside a chunk a triangular solve gives u and w, between chunks the
// state goes through affine_scan.
func (b *blocks) deltaChunks(state, q, k, v, g, beta *ir.Value) *ir.Value {
	const c = ir.ChunkTokens
	t, h, dv, dk := b.tokens, v.Type.Dims[1], v.Type.Dims[2], k.Type.Dims[2]
	n := ir.CeilDiv(t.Sym, c)
	chunked := func(name string, x *ir.Value, perm []int, tail ...any) *ir.Value {
		x = b.op(name+"_cont", ir.OpCont, b.op(name+"_perm", ir.OpPermute, x, "perm", perm))
		x = b.op(name+"_pad", ir.OpPad, x, "axis", 1, "len", n.Times(c))
		return b.reshape(name+"_chunks", x, append([]any{h, n, c}, tail...)...)
	}
	q = chunked("q", q, []int{1, 0, 2}, dk)
	k = chunked("k", k, []int{1, 0, 2}, dk)
	v = chunked("v", v, []int{1, 0, 2}, dv)
	beta = chunked("beta", beta, []int{1, 0}, 1)
	gc := b.op("g_cumsum", ir.OpCumsum, chunked("g", g, []int{1, 0}))

	// Pairwise decay e^(g_i - g_j) for j <= i.
	col := b.reshape("g_col", gc, h, n, c, 1)
	gi := b.repeat("g_i", col, 3, ir.Num(c))
	gj := b.repeat("g_j", b.reshape("g_row", gc, h, n, 1, c), 2, ir.Num(c))
	lower := func(name string, x *ir.Value) *ir.Value { return b.op(name, ir.OpTri, x, "keep", "lower") }
	decay := lower("decay_mask", b.op("decay_exp", ir.OpExp, lower("decay_diff_tri", b.op("decay_diff", ir.OpSub, gi, gj))))

	kb := b.op("k_beta", ir.OpMul, k, beta)
	a := b.op("attn_kk", ir.OpMul, b.op("kk", ir.OpMatMul, kb, k), decay)
	gexp := b.op("g_exp", ir.OpExp, col)
	u := b.op("u", ir.OpSolveTri, a, b.op("v_beta", ir.OpMul, v, beta))
	w := b.op("w", ir.OpSolveTri, a, b.op("k_beta_g", ir.OpMul, kb, gexp))
	att := b.op("attn_qk", ir.OpMul, b.op("qk", ir.OpMatMul, q, k), decay)

	last := b.slice("g_last", gc, 2, ir.Num(c-1), ir.Num(1))
	rest := b.op("g_diff", ir.OpSub, b.repeat("g_last_rep", last, 2, ir.Num(c)), gc)
	kd := b.op("k_decayed", ir.OpMul, k, b.reshape("g_diff_col", b.op("g_diff_exp", ir.OpExp, rest), h, n, c, 1))
	chunk := b.op("chunk_decay", ir.OpExp, b.reshape("g_last_flat", last, h, n))
	s := b.op("states", ir.OpAffineScan, chunk, kd, u, w, b.op("state", ir.OpLoad, state, b.seq))
	final := b.reshape("state_final", b.slice("state_last", s, 1, n, ir.Num(1)), h, dv, dk)
	b.op("state_store", ir.OpStore, state, final, b.seq)

	before := b.slice("states_before", s, 1, ir.Num(0), n)
	vn := b.op("v_new", ir.OpSub, u, b.op("w_state", ir.OpMatMul, w, before))
	inter := b.op("attn_inter", ir.OpMatMul, b.op("q_g", ir.OpMul, q, gexp), before)
	vt := b.op("v_new_t", ir.OpCont, b.permute("v_new_perm", vn, 0, 1, 3, 2))
	out := b.op("core_attn_out", ir.OpAdd, inter, b.op("attn_intra", ir.OpMatMul, att, vt))
	out = b.reshape("core_attn_flat", out, h, n.Times(c), dv)
	out = b.permute("attn_output_perm", b.slice("attn_output_cut", out, 1, ir.Num(0), t), 1, 0, 2)
	return b.op("attn_output_delta", ir.OpCont, out)
}
