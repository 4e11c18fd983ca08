package eval

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"qnc/ir"
)

// The tests of this file compare each fused op with the primitives it stands for.

func TestTopKMoE(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x := random(r, 9, 16)
	x.Data[3], x.Data[7] = 4, 4 // a tie at the top
	for _, norm := range []int{0, 1} {
		for _, least := range []float64{6e-5, 2} {
			have := newEnv().all(t, ir.OpTopKMoE, at("k", 4, "norm", norm, "min", least, "scale", 2.5), x)
			p := do(t, ir.OpSoftmax, nil, x)
			id := do(t, ir.OpTopK, at("k", 4), p)
			w := do(t, ir.OpGather, nil, p, i32{id})
			if norm == 1 {
				w = do(t, ir.OpDiv, nil, w, do(t, ir.OpClamp, at("min", least), do(t, ir.OpSum, at("axis", 1), w)))
			}
			near(t, "weights", have[0], do(t, ir.OpScale, at("by", 2.5), w), 1e-6)
			near(t, "ids", have[1], id, 0)
		}
	}
}

func TestExperts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x, gate, up := random(r, 3, 8), random(r, 5, 8), random(r, 5, 8)
	silu := func(x Tensor) Tensor { return do(t, ir.OpSilu, nil, x) }
	mul := func(x, y Tensor) Tensor { return do(t, ir.OpMul, nil, x, y) }
	near(t, "gate_up", do(t, ir.OpGateUp, nil, x, gate, up),
		mul(silu(do(t, ir.OpMatMul, nil, x, gate)), do(t, ir.OpMatMul, nil, x, up)), 1e-6)

	eg, eu, ed := random(r, 6, 5, 8), random(r, 6, 5, 8), random(r, 6, 7, 5)
	id, share := ids(0, 5, 3, 3, 1, 0).as(3, 2), random(r, 3, 2)
	h := do(t, ir.OpMoEGateUp, nil, x.as(3, 1, 8), eg, eu, id)
	near(t, "moe_gate_up", h, mul(silu(do(t, ir.OpMatMulID, nil, x.as(3, 1, 8), eg, id)), do(t, ir.OpMatMulID, nil, x.as(3, 1, 8), eu, id)), 1e-6)
	y := mul(do(t, ir.OpMatMulID, nil, h, ed, id), share.as(3, 2, 1))
	near(t, "moe_down", do(t, ir.OpMoEDown, nil, h, ed, id, share), do(t, ir.OpSum, at("axis", 1), y).as(3, 7), 1e-6)
}

func TestNorms(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	x, y, w, z := random(r, 3, 64), random(r, 3, 64), random(r, 64), random(r, 3, 64)
	mul := func(x, y Tensor) Tensor { return do(t, ir.OpMul, nil, x, y) }
	normed := func(x Tensor) Tensor { return mul(do(t, ir.OpRMSNorm, at("eps", 1e-6), x), w) }
	s := do(t, ir.OpAdd, nil, x, y)
	have := newEnv().all(t, ir.OpNorm, at("eps", 1e-6, "out", "a8,sum,f32"), x, w, y)
	near(t, "norm a8", have[0], do(t, ir.OpQuantize, nil, normed(s)), 0)
	near(t, "norm sum", have[1], s, 0)
	near(t, "norm f32", have[2], normed(s), 0)
	near(t, "norm of x", do(t, ir.OpNorm, at("eps", 1e-6, "out", "f32"), x, w), normed(x), 0)
	gated := mul(normed(x), do(t, ir.OpSilu, nil, z))
	have = newEnv().all(t, ir.OpGatedNorm, at("eps", 1e-6, "out", "f32,a8"), x, w, z)
	near(t, "gated_norm", have[0], gated, 1e-6)
	near(t, "gated_norm a8", have[1], do(t, ir.OpQuantize, nil, gated), 1e-6)
	heads := func(x Tensor) Tensor { return Tensor{[]int{3, 2, 32}, x.Data} }
	w = random(r, 32)
	gated = mul(mul(do(t, ir.OpRMSNorm, at("eps", 1e-6), heads(x)), w), do(t, ir.OpSilu, nil, heads(z)))
	flat := do(t, ir.OpQuantize, nil, Tensor{[]int{3, 64}, gated.Data})
	near(t, "gated_norm of heads", do(t, ir.OpGatedNorm, at("eps", 1e-6, "out", "a8"), heads(x), w, heads(z)), flat, 1e-6)
}

func TestNormRope(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	x, w, pos := random(r, 3, 2, 8), random(r, 8), ids(4, 2, 7)
	want := do(t, ir.OpRope, at("dims", 4, "base", 1e4), do(t, ir.OpMul, nil, do(t, ir.OpRMSNorm, at("eps", 1e-6), x), w), pos)
	near(t, "norm_rope", do(t, ir.OpNormRope, at("eps", 1e-6, "dims", 4, "base", 1e4), x, w, pos), want, 0)

	e, cache := newEnv(), sym{"c", ir.F16, []int{8, 2, 8}}
	e.Sizes["C"] = 8
	e.all(t, ir.OpNormRopeStore, at("eps", 1e-6, "dims", 4, "base", 1e4), cache, x, w, pos, ids(1, 1, 1))
	have := e.all(t, ir.OpLoadRows, nil, cache, ids(1))[0]
	e.all(t, ir.OpStoreRows, nil, cache, want, pos, ids(0, 0, 0))
	near(t, "norm_rope_store", have, e.all(t, ir.OpLoadRows, nil, cache, ids(0))[0], 0)
}

func TestConvSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const heads, kd, vheads, vd, tokens = 2, 3, 4, 5, 6
	const d = 2*heads*kd + vheads*vd
	w := random(r, d, 4)
	fused, plain := newEnv(), newEnv()
	s := sym{"s", ir.F32, []int{3, d}}
	for range 2 { // the second round starts from a state
		x := random(r, tokens, d)
		seq := i32{New(tokens)}
		have := fused.all(t, ir.OpConvSplit, at("heads", heads, "kdim", kd, "vheads", vheads, "vdim", vd, "eps", 1e-6), s, x, w, seq)
		joined := do(t, ir.OpConcat, at("axis", 0), plain.all(t, ir.OpLoad, nil, s, seq)[0], x)
		plain.all(t, ir.OpStore, nil, s, do(t, ir.OpSlice, at("axis", 0, "start", fmt.Sprint(tokens), "len", "3"), joined), seq)
		y := do(t, ir.OpSilu, nil, do(t, ir.OpConv, nil, joined, w))
		cut := func(start, n, h int) Tensor {
			return do(t, ir.OpSlice, at("axis", 1, "start", fmt.Sprint(start), "len", fmt.Sprint(n)), y).as(tokens, h, n/h)
		}
		near(t, "q", have[0], do(t, ir.OpL2Norm, at("eps", 1e-6), cut(0, heads*kd, heads)), 0)
		near(t, "k", have[1], do(t, ir.OpL2Norm, at("eps", 1e-6), cut(heads*kd, heads*kd, heads)), 0)
		near(t, "v", have[2], cut(2*heads*kd, vheads*vd, vheads), 0)
		near(t, "state", fused.all(t, ir.OpLoad, nil, s, seq)[0], plain.all(t, ir.OpLoad, nil, s, seq)[0], 0)
	}
}

// TestDelta compares the op over many tokens with itself a token at a time,
// one step of it with its primitives, and the chunked algebra around
// affine_scan with both.
func TestDelta(t *testing.T) {
	const groups, heads, kd, vd, chunks, tokens = 2, 4, 8, 6, 3, 64*2 + 9
	r := rand.New(rand.NewPCG(15, 16))
	l2 := func(x Tensor) Tensor { return do(t, ir.OpL2Norm, at("eps", 1e-6), x) }
	q, k, v := l2(random(r, tokens, groups, kd)), l2(random(r, tokens, groups, kd)), random(r, tokens, heads, vd)
	g := do(t, ir.OpScale, at("by", -0.2), do(t, ir.OpSoftplus, nil, random(r, tokens, heads)))
	beta := do(t, ir.OpSigmoid, nil, random(r, tokens, heads))
	s0 := random(r, heads, vd, kd)
	s := sym{"s", ir.F32, s0.Shape}
	seq := i32{New(tokens)}
	for _, mapping := range []string{"interleaved", "tiled"} {
		attrs := at("scale", 0.35, "map", mapping)
		start := func() *Env {
			e := newEnv()
			e.all(t, ir.OpStore, nil, s, s0, ids(0))
			return e
		}
		whole := start()
		have := whole.all(t, ir.OpDeltaChunk, attrs, s, q, k, v, g, beta, seq)[0]
		state := whole.all(t, ir.OpLoad, nil, s, ids(0))[0]

		step := start()
		want := New(tokens, heads, vd)
		for i := range tokens {
			row := func(x Tensor) Tensor {
				return do(t, ir.OpSlice, at("axis", 0, "start", fmt.Sprint(i), "len", "1"), x)
			}
			old := step.all(t, ir.OpLoad, nil, s, ids(0))[0]
			o := step.all(t, ir.OpDeltaStep, attrs, s, row(q), row(k), row(v), row(g), row(beta), ids(0))[0]
			copy(want.Data[i*heads*vd:], o.Data)
			if i < 3 {
				o2, s2 := deltaPrimitives(t, row(q), row(k), row(v), row(g), row(beta), old, mapping)
				near(t, "one step, primitives", o, o2, 1e-5)
				near(t, "its state", step.all(t, ir.OpLoad, nil, s, ids(0))[0], s2, 1e-5)
			}
		}
		near(t, mapping+" whole against steps", have, want, 1e-5)
		near(t, mapping+" state", state, step.all(t, ir.OpLoad, nil, s, ids(0))[0], 1e-5)

		out, last := deltaChunked(t, q, k, v, g, beta, s0, mapping)
		near(t, mapping+" chunked", out, have, 1e-5)
		near(t, mapping+" state after the chunks", last, state, 1e-5)
	}
}

// deltaPrimitives is one token of the rule in elementwise ops and sums.
func deltaPrimitives(t *testing.T, q, k, v, g, beta, s Tensor, mapping string) (out, state Tensor) {
	heads, kd, vd := v.Shape[1], k.Shape[2], v.Shape[2]
	rep := func(x Tensor) Tensor {
		return do(t, ir.OpRepeat, at("axis", 1, "n", fmt.Sprint(heads/x.Shape[1]), "map", mapping), x).as(heads, 1, kd)
	}
	bin := func(op ir.Op, x, y Tensor) Tensor { return do(t, op, nil, x, y) }
	dotK := func(x, y Tensor) Tensor { return do(t, ir.OpSum, at("axis", 2), bin(ir.OpMul, x, y)) }
	q, k = rep(q), rep(k)
	s = bin(ir.OpMul, s, do(t, ir.OpExp, nil, g).as(heads, 1, 1))
	e := bin(ir.OpMul, bin(ir.OpSub, v.as(heads, vd, 1), dotK(s, k)), beta.as(heads, 1, 1))
	s = bin(ir.OpAdd, s, bin(ir.OpMul, e, k))
	return do(t, ir.OpScale, at("by", 0.35), dotK(s, q)).as(1, heads, vd), s
}

// deltaChunked is the rule in chunks of 64: inside a chunk a triangular solve
// (WY form), between chunks the affine scan.
func deltaChunked(t *testing.T, q, k, v, g, beta, s Tensor, mapping string) (out, state Tensor) {
	const c = ir.ChunkTokens
	tokens, heads, kd, vd := v.Shape[0], v.Shape[1], k.Shape[2], v.Shape[2]
	n := (tokens + c - 1) / c
	bin := func(op ir.Op, x, y Tensor) Tensor { return do(t, op, nil, x, y) }
	chunked := func(x Tensor, d int) Tensor { // [T,h,d] to [heads,n,c,d]
		x = do(t, ir.OpPad, at("axis", 0, "len", fmt.Sprint(n*c)), x)
		if x.Shape[1] != heads {
			x = do(t, ir.OpRepeat, at("axis", 1, "n", fmt.Sprint(heads/x.Shape[1]), "map", mapping), x)
		}
		return do(t, ir.OpPermute, at("perm", "2,0,1,3"), x.as(n, c, heads, d))
	}
	q, k, v = chunked(q, kd), chunked(k, kd), chunked(v, vd)
	g, beta = chunked(g.as(tokens, heads, 1), 1), chunked(beta.as(tokens, heads, 1), 1)
	cum := do(t, ir.OpCumsum, nil, g.as(heads, n, c))
	row := do(t, ir.OpRepeat, at("axis", 3, "n", "64"), cum.as(heads, n, c, 1))
	col := do(t, ir.OpRepeat, at("axis", 2, "n", "64"), cum.as(heads, n, 1, c))
	lower := func(x Tensor) Tensor { return do(t, ir.OpTri, at("keep", "lower"), x) }
	decay := lower(do(t, ir.OpExp, nil, lower(bin(ir.OpSub, row, col))))
	eg := do(t, ir.OpExp, nil, cum).as(heads, n, c, 1)

	a := bin(ir.OpMul, bin(ir.OpMul, bin(ir.OpMatMul, k, k), decay), beta)
	u := bin(ir.OpSolveTri, a, bin(ir.OpMul, v, beta))
	w := bin(ir.OpSolveTri, a, bin(ir.OpMul, k, bin(ir.OpMul, beta, eg)))
	last := do(t, ir.OpSlice, at("axis", 2, "start", "63", "len", "1"), cum)
	kd2 := bin(ir.OpMul, k, do(t, ir.OpExp, nil, bin(ir.OpSub, last, cum)).as(heads, n, c, 1))
	all := do(t, ir.OpAffineScan, nil, do(t, ir.OpExp, nil, last).as(heads, n), kd2, u, w, s)
	before := do(t, ir.OpSlice, at("axis", 1, "start", "0", "len", fmt.Sprint(n)), all)
	state = do(t, ir.OpSlice, at("axis", 1, "start", fmt.Sprint(n), "len", "1"), all).as(heads, vd, kd)

	u = bin(ir.OpSub, u, bin(ir.OpMatMul, w, before))
	attn := bin(ir.OpMul, bin(ir.OpMatMul, q, k), decay)
	o := bin(ir.OpAdd, bin(ir.OpMatMul, bin(ir.OpMul, q, eg), before),
		bin(ir.OpMatMul, attn, do(t, ir.OpPermute, at("perm", "0,1,3,2"), u)))
	o = do(t, ir.OpPermute, at("perm", "1,2,0,3"), do(t, ir.OpScale, at("by", 0.35), o)).as(n*c, heads, vd)
	return do(t, ir.OpSlice, at("axis", 0, "start", "0", "len", fmt.Sprint(tokens)), o), state
}
