package arch

import (
	"fmt"

	"qnc/ir"
	"qnc/runtime/fault"
)

// minExpertSum is the lower bound of the sum of the selected experts'
// probabilities before they are divided by it (llama.cpp, build_moe_ffn).
const minExpertSum = 6.103515625e-05

// blocks builds one function out of pieces that architectures share. Names
// are those of llama.cpp's callbacks with the layer behind them.
type blocks struct {
	*ir.Builder
	im       *Importer
	tokens   ir.Dim
	pos, seq *ir.Value
	layer    int
}

func newBlocks(im *Importer, f *ir.Func, tokens ir.Dim) *blocks {
	return &blocks{Builder: ir.NewBuilder(f), im: im, tokens: tokens, layer: -1}
}

// name is the tensor name of this layer.
func (b *blocks) name(s string) string { return fmt.Sprintf("blk.%d.%s", b.layer, s) }

func (b *blocks) weight(name string, dims ...int) *ir.Value {
	return b.im.Weight(b.name(name), dims...)
}

func (b *blocks) vector(name string, dims ...int) *ir.Value {
	return b.im.Vector(b.name(name), dims...)
}

// op appends an op; args are *ir.Value first, then attribute pairs.
func (b *blocks) op(name string, op ir.Op, args ...any) *ir.Value {
	var vs []*ir.Value
	i := 0
	for ; i < len(args); i++ {
		v, ok := args[i].(*ir.Value)
		if !ok {
			break
		}
		vs = append(vs, v)
	}
	if b.layer >= 0 {
		name = fmt.Sprintf("%s-%d", name, b.layer)
	}
	return b.Add(name, op, vs, args[i:]...)
}

// reshape takes extents as ints or dims.
func (b *blocks) reshape(name string, x *ir.Value, shape ...any) *ir.Value {
	dims := make([]ir.Dim, len(shape))
	for i, s := range shape {
		switch s := s.(type) {
		case ir.Dim:
			dims[i] = s
		case int:
			dims[i] = ir.Num(s)
		}
	}
	return b.op(name, ir.OpReshape, x, "shape", dims)
}

func (b *blocks) slice(name string, x *ir.Value, axis int, start, n ir.Dim) *ir.Value {
	return b.op(name, ir.OpSlice, x, "axis", axis, "start", start, "len", n)
}

func (b *blocks) permute(name string, x *ir.Value, perm ...int) *ir.Value {
	return b.op(name, ir.OpPermute, x, "perm", perm)
}

// repeat repeats an axis of extent 1.
func (b *blocks) repeat(name string, x *ir.Value, axis int, n ir.Dim) *ir.Value {
	return b.op(name, ir.OpRepeat, x, "axis", axis, "n", n)
}

// norm is rms_norm(x) * w; +1, where a model has it, is already in the file.
func (b *blocks) norm(name string, x, w *ir.Value, eps float64) *ir.Value {
	return b.op(name, ir.OpMul, b.op(name+"_rms", ir.OpRMSNorm, x, "eps", eps), w)
}

func (b *blocks) rope(name string, x *ir.Value, dims int, base float64) *ir.Value {
	return b.op(name, ir.OpRope, x, b.pos, "dims", dims, "base", base)
}

// cachedAttention writes k and v to this layer's cache and attends with q[T,H,D].
func (b *blocks) cachedAttention(q, k, v *ir.Value, scale float64) *ir.Value {
	state := func(name string, x *ir.Value, d ir.DType) *ir.Value {
		heads, _ := x.Type.Dims[1].Static()
		dim, _ := x.Type.Dims[2].Static()
		if n := d.Info().BlockElems; dim%n != 0 {
			b.im.failWith(fault.New(fault.Usage, "a KV cache of %s has blocks of %d, but the heads of this model are %d wide: compile with -ctk f16 -ctv f16", d, n, dim))
		}
		s := b.im.State(b.name(name), d, b.im.Opt.Ctx, heads, dim)
		b.op(name+"_store", ir.OpStoreRows, s, x, b.pos, b.seq)
		return b.op(name, ir.OpLoadRows, s, b.seq)
	}
	ks := state("cache_k", k, b.im.Opt.TypeK)
	vs := state("cache_v", v, b.im.Opt.TypeV)
	args := []any{q, ks, vs, b.pos, "scale", scale}
	if q.Type.Dims[1] != k.Type.Dims[1] {
		args = append(args, "map", "interleaved")
	}
	return b.op("attn_pregate_heads", ir.OpAttention, args...)
}

// causalConv convolves x[T,D] with the layer's ssm_conv1d over c tokens, the
// first c-1 of them from the state, and applies SiLU.
func (b *blocks) causalConv(x *ir.Value, c int) *ir.Value {
	d, _ := x.Type.Last().Static()
	s := b.im.State(b.name("conv"), ir.F32, c-1, d)
	all := b.op("conv_input", ir.OpConcat, b.op("conv_states", ir.OpLoad, s, b.seq), x, "axis", 0)
	b.op("conv_store", ir.OpStore, s, b.op("last_conv_states", ir.OpCont, b.slice("last_conv_view", all, 0, b.tokens, ir.Num(c-1))), b.seq)
	y := b.op("conv_output_raw", ir.OpConv, all, b.vector("ssm_conv1d.weight", d, c))
	return b.op("conv_output_silu", ir.OpSilu, y)
}

type expertWeights struct {
	router, gate, up, down *ir.Value
	used                   int
	scale                  float64
}

// experts routes x[n,D] to the top experts: softmax over all, top-k,
// renormalised, times scale.
func (b *blocks) experts(x *ir.Value, w expertWeights) *ir.Value {
	n := x.Type.Dims[0]
	probs := b.op("ffn_moe_probs", ir.OpSoftmax, b.op("ffn_moe_logits", ir.OpMatMul, x, w.router))
	ids := b.op("ffn_moe_topk", ir.OpTopK, probs, "k", w.used)
	p := b.op("ffn_moe_weights", ir.OpGather, probs, ids)
	sum := b.op("ffn_moe_weights_sum", ir.OpSum, p, "axis", 1)
	sum = b.op("ffn_moe_weights_sum_clamped", ir.OpClamp, sum, "min", minExpertSum)
	p = b.op("ffn_moe_weights_norm", ir.OpDiv, p, sum)
	if w.scale != 1 {
		p = b.op("ffn_moe_weights_scaled", ir.OpScale, p, "by", w.scale)
	}
	each := b.reshape("ffn_moe_in", x, n, 1, x.Type.Last())
	up := b.op("ffn_moe_up", ir.OpMatMulID, each, w.up, ids)
	gate := b.op("ffn_moe_gate", ir.OpMatMulID, each, w.gate, ids)
	act := b.op("ffn_moe_swiglu", ir.OpMul, b.op("ffn_moe_silu", ir.OpSilu, gate), up)
	down := b.op("ffn_moe_down", ir.OpMatMulID, act, w.down, ids)
	down = b.op("ffn_moe_weighted", ir.OpMul, down, b.reshape("ffn_moe_weights_col", p, n, w.used, 1))
	return b.reshape("ffn_moe_out", b.op("ffn_moe_sum", ir.OpSum, down, "axis", 1), n, down.Type.Last())
}

// feedForward is down(silu(gate(x)) * up(x)).
func (b *blocks) feedForward(name string, x, gate, up, down *ir.Value) *ir.Value {
	act := b.op(name+"_silu", ir.OpSilu, b.op(name+"_gate", ir.OpMatMul, x, gate))
	act = b.op(name+"_swiglu", ir.OpMul, act, b.op(name+"_up", ir.OpMatMul, x, up))
	return b.op(name+"_out", ir.OpMatMul, act, down)
}
