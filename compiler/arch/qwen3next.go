package arch

import (
	"fmt"
	"math"

	"qnc/ir"
)

// qwen3next holds the hyper-parameters of Qwen3-Next in the words of its GGUF keys.
type qwen3next struct {
	blocks, mtp               int
	hidden, vocab             int
	heads, kvHeads, headDim   int
	valueDim, ropeDims        int
	ropeBase, eps             float64
	experts, used             int
	expertFF, sharedFF, ff    int
	expertScale               float64
	conv, state, keyHeads     int
	valHeads, inner, interval int
	ctx                       int
	recurrent                 []bool // per block: delta net (true) or attention
}

func lowerQwen3Next(im *Importer) error {
	h := &qwen3next{}
	h.params(im)
	if im.err != nil {
		return im.err
	}
	im.Layers = h.blocks
	for _, tokens := range []struct {
		name string
		t, r ir.Dim
	}{{"prefill", ir.Sym("T"), ir.Sym("R")}, {"decode", ir.Num(1), ir.Num(1)}} {
		f := &ir.Func{Name: tokens.name}
		im.M.Funcs = append(im.M.Funcs, f)
		h.lower(im, newBlocks(im, f, tokens.t), tokens.r)
	}
	h.skipMTP(im)
	return im.err
}

// big bounds a number of rows or columns, so that no product of two wraps.
const big = 1 << 20

// table is the hyper-parameters. Defaults of 0 stand for another parameter: see defaults.
func (h *qwen3next) table() []hparam {
	return []hparam{
		{key: "block_count", int: &h.blocks, min: 1, max: 4096, def: required},
		{key: "nextn_predict_layers", int: &h.mtp, min: 0, max: 64, def: 0},
		{key: "context_length", int: &h.ctx, min: 1, max: 1 << 30, def: required},
		{key: "embedding_length", int: &h.hidden, min: 1, max: big, def: required},
		{key: "attention.head_count", int: &h.heads, min: 1, max: big, def: required, blocks: &h.blocks},
		{key: "attention.head_count_kv", int: &h.kvHeads, min: 1, max: big, def: 0, blocks: &h.blocks},
		{key: "attention.key_length", int: &h.headDim, min: 2, max: big, def: 0},
		{key: "attention.value_length", int: &h.valueDim, min: 1, max: big, def: 0},
		{key: "rope.dimension_count", int: &h.ropeDims, min: 2, max: big, def: 0},
		{key: "rope.freq_base", float: &h.ropeBase, min: 1, max: 1e12, def: 10000},
		{key: "attention.layer_norm_rms_epsilon", float: &h.eps, min: 0, max: 1, def: required},
		{key: "expert_count", int: &h.experts, min: 1, max: 1 << 16, def: required},
		{key: "expert_used_count", int: &h.used, min: 1, max: 1 << 16, def: required, blocks: &h.blocks},
		{key: "feed_forward_length", int: &h.ff, min: 0, max: big, def: 0, blocks: &h.blocks},
		{key: "expert_feed_forward_length", int: &h.expertFF, min: 1, max: big, def: 0, blocks: &h.blocks},
		{key: "expert_shared_feed_forward_length", int: &h.sharedFF, min: 0, max: big, def: 0},
		{key: "expert_weights_scale", float: &h.expertScale, min: 0, max: 1e6, def: 0},
		{key: "ssm.conv_kernel", int: &h.conv, min: 2, max: 64, def: required},
		{key: "ssm.state_size", int: &h.state, min: 2, max: big, def: required},
		{key: "ssm.group_count", int: &h.keyHeads, min: 1, max: big, def: required},
		{key: "ssm.time_step_rank", int: &h.valHeads, min: 1, max: big, def: required},
		{key: "ssm.inner_size", int: &h.inner, min: 1, max: big, def: required},
		{key: "full_attention_interval", int: &h.interval, min: 1, max: 4096, def: 4},
	}
}

// qwen3nextNeutral are keys that other architectures use or that converters
// add. rope.scaling.type linear is what a file without the key means.
var qwen3nextNeutral = []neutral{
	{"vocab_size", "*"},   // the embedding decides
	{"pooling_type", "*"}, // of embeddings, not of logits
	{"rope.scaling.type", "none linear"},
	{"rope.scaling.factor", "0 1"},
	{"rope.scale_linear", "0 1"},
	{"rope.scaling.attn_factor", "1"},
	{"rope.scaling.original_context_length", "*"}, // read by scaling types only
	{"rope.scaling.finetuned", "*"},
	{"expert_gating_func", "1"}, // softmax
	{"expert_weights_norm", "true"},
	{"expert_group_count", "0 1"},
	{"expert_group_used_count", "0 1"},
	{"expert_shared_count", "0 1"},
	{"leading_dense_block_count", "0"},
	{"decoder_sparse_step", "1"},
	{"interleave_moe_layer_step", "1"},
	{"attention.scale", "0"}, // 0: 1/√key_length
	{"attention.causal", "true"},
	{"attention.sliding_window", "0"},
	{"attn_logit_softcapping", "0"},
	{"final_logit_softcapping", "0"},
	{"logit_scale", "0 1"},
}

// defaults replaces a 0 by the parameter that it stands for.
func (h *qwen3next) defaults() {
	for _, d := range []struct {
		v   *int
		def int
	}{{&h.kvHeads, h.heads}, {&h.headDim, h.hidden / h.heads}, {&h.expertFF, h.ff / h.used}, {&h.sharedFF, h.ff}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if h.valueDim == 0 {
		h.valueDim = h.headDim
	}
	if h.ropeDims == 0 {
		h.ropeDims = h.headDim
	}
	if h.expertScale == 0 {
		h.expertScale = 1
	}
}

// relations must hold once the defaults are in.
func (h *qwen3next) relations() []relation {
	return []relation{
		{h.blocks >= 1, "nextn_predict_layers below block_count"},
		{h.heads%h.kvHeads == 0, "attention.head_count a multiple of attention.head_count_kv"},
		{h.valHeads%h.keyHeads == 0, "ssm.time_step_rank (value heads) a multiple of ssm.group_count (key heads)"},
		{h.inner == h.valHeads*h.state, "ssm.inner_size = ssm.time_step_rank * ssm.state_size"},
		{h.headDim >= 2, "attention.key_length, or embedding_length / attention.head_count, at least 2"},
		{h.valueDim == h.headDim, "attention.value_length = attention.key_length"},
		{h.ropeDims%2 == 0 && h.ropeDims <= h.headDim, "rope.dimension_count even and at most attention.key_length"},
		{h.used <= h.experts, "expert_used_count at most expert_count"},
		{h.expertFF >= 1 && h.sharedFF >= 1, "expert_feed_forward_length and expert_shared_feed_forward_length above 0"},
		{h.keyHeads*h.state <= big && h.heads*h.headDim <= big, "heads times head size at most 1048576"},
	}
}

// params reads and checks the hyper-parameters.
func (h *qwen3next) params(im *Importer) {
	im.read(h.table())
	im.ignore(qwen3nextNeutral)
	if im.err != nil {
		return
	}
	h.blocks -= h.mtp
	h.defaults()
	im.relate(h.relations())
	if im.err != nil {
		return
	}
	h.readVocab(im)
	h.readLayers(im)
}

// readVocab takes the vocabulary from the embedding, as llama.cpp takes it from the token list.
func (h *qwen3next) readVocab(im *Importer) {
	t, ok := im.File.Tensor("token_embd.weight")
	if !ok || len(t.Dims) != 2 || t.Dims[1] == 0 || t.Dims[1] > 1<<24 {
		im.fail("tensor token_embd.weight is missing or no matrix: the file is incomplete; download or convert the model again")
		return
	}
	h.vocab = int(t.Dims[1])
	if n, ok, err := im.File.Len("tokenizer.ggml.tokens"); err != nil {
		im.failWith(err)
	} else if ok && n != h.vocab {
		im.fail("tokenizer.ggml.tokens has %d tokens, token_embd.weight %d rows: the file is damaged; convert the model again", n, h.vocab)
	}
}

// readLayers says which blocks are recurrent: attention.recurrent_layers, or
// every block but each full_attention_interval-th.
func (h *qwen3next) readLayers(im *Importer) {
	key := im.arch + ".attention.recurrent_layers"
	im.allowed = append(im.allowed, key)
	h.recurrent = make([]bool, h.blocks)
	if im.File.Has(key) {
		list, _, err := im.File.Bools(key)
		if err != nil {
			im.failWith(err)
			return
		}
		if len(list) < h.blocks {
			im.fail("key %s has %d entries for %d blocks: the file is damaged", key, len(list), h.blocks)
			return
		}
		copy(h.recurrent, list)
		return
	}
	for i := range h.recurrent {
		h.recurrent[i] = (i+1)%h.interval != 0
	}
}

// skipMTP marks the blocks for multi-token prediction as known: nothing runs them.
func (h *qwen3next) skipMTP(im *Importer) {
	if h.mtp == 0 {
		return
	}
	n := 0
	for i := h.blocks; i < h.blocks+h.mtp; i++ {
		prefix := fmt.Sprintf("blk.%d.", i)
		for _, t := range im.File.Tensors() {
			if len(t.Name) > len(prefix) && t.Name[:len(prefix)] == prefix {
				im.used[t.Name] = true
				n++
			}
		}
	}
	im.Notes = append(im.Notes, fmt.Sprintf("%d MTP block(s) with %d tensors skipped: they only predict further tokens", h.mtp, n))
}

// lower builds one function: tokens in, logits of the asked rows out.
func (h *qwen3next) lower(im *Importer, b *blocks, rows ir.Dim) {
	tok := b.Param("tok", ir.Tensor(ir.I32, b.tokens))
	b.pos = b.Param("pos", ir.Tensor(ir.I32, b.tokens))
	b.seq = b.Param("seq", ir.Tensor(ir.I32, b.tokens))
	var pick *ir.Value
	if b.tokens.Sym != "" {
		pick = b.Param("rows", ir.Tensor(ir.I32, rows))
	}
	embd := im.Weight("token_embd.weight", h.vocab, h.hidden)
	x := b.op("model.embed_tokens", ir.OpGetRows, embd, tok)
	for i := range h.blocks {
		if b.layer = i; im.err != nil {
			return // a small file may promise thousands of blocks
		}
		n := b.norm("attn_norm", x, b.vector("attn_norm.weight", h.hidden), h.eps)
		var mix *ir.Value
		if h.recurrent[i] {
			mix = h.deltaNet(b, n)
		} else {
			mix = h.attention(b, n)
		}
		if i == h.blocks-1 && pick != nil { // only the asked rows go on
			mix = b.op("attn_out_rows", ir.OpGetRows, mix, pick)
			x = b.op("residual_rows", ir.OpGetRows, x, pick)
		}
		x = b.op("attn_residual", ir.OpAdd, mix, x)
		n = b.norm("attn_post_norm", x, b.vector("post_attention_norm.weight", h.hidden), h.eps)
		x = b.op("l_out", ir.OpAdd, h.moe(b, n), x)
	}
	b.layer = -1
	n := b.norm("result_norm", x, im.Vector("output_norm.weight", h.hidden), h.eps)
	head := embd
	if im.Has("output.weight") {
		head = im.Weight("output.weight", h.vocab, h.hidden)
	}
	b.F.Results = []*ir.Value{b.op("result_output", ir.OpMatMul, n, head)}
	if b.Err != nil {
		im.fail("%v", b.Err)
	}
}

// attention is the gated full attention of a block: x[T,hidden].
func (h *qwen3next) attention(b *blocks, x *ir.Value) *ir.Value {
	t, d := b.tokens, h.headDim
	wq, wk, wv := h.attentionWeights(b)
	q := b.op("Qcur_full", ir.OpMatMul, x, wq)
	q = b.reshape("Qcur_gate", q, t, h.heads, 2, d) // [q, gate] a head
	gate := b.slice("gate", q, 2, ir.Num(1), ir.Num(1))
	gate = b.reshape("gate_flat", b.op("gate_cont", ir.OpCont, gate), t, h.heads*d)
	q = b.reshape("Qcur", b.slice("Qcur_view", q, 2, ir.Num(0), ir.Num(1)), t, h.heads, d)
	k := b.reshape("Kcur", b.op("Kcur_flat", ir.OpMatMul, x, wk), t, h.kvHeads, d)
	v := b.reshape("Vcur", b.op("Vcur_flat", ir.OpMatMul, x, wv), t, h.kvHeads, d)
	q = b.rope("Qcur_rope", b.norm("Qcur_normed", q, b.vector("attn_q_norm.weight", d), h.eps), h.ropeDims, h.ropeBase)
	k = b.rope("Kcur_rope", b.norm("Kcur_normed", k, b.vector("attn_k_norm.weight", d), h.eps), h.ropeDims, h.ropeBase)
	out := b.cachedAttention(q, k, v, 1/math.Sqrt(float64(d)))
	out = b.op("attn_gated", ir.OpMul, b.reshape("attn_pregate", out, t, h.heads*d), b.op("gate_sigmoid", ir.OpSigmoid, gate))
	return b.op("attn_output", ir.OpMatMul, out, b.weight("attn_output.weight", h.hidden, h.heads*d))
}

// attentionWeights gives the weights of q with its gate, k and v; a converter
// may have joined them to attn_qkv.
func (h *qwen3next) attentionWeights(b *blocks) (q, k, v *ir.Value) {
	nq, nk := 2*h.heads*h.headDim, h.kvHeads*h.headDim
	from := b.name("attn_qkv.weight")
	if !b.im.Has(from) {
		return b.weight("attn_q.weight", nq, h.hidden), b.weight("attn_k.weight", nk, h.hidden), b.weight("attn_v.weight", nk, h.hidden)
	}
	part := func(name string, start, n int) *ir.Value {
		return b.im.Take(b.name(name), from, []int{nq + 2*nk, h.hidden},
			[]ir.Rows{{Start: start, Len: n, Groups: 1, Stride: n}}, n, h.hidden)
	}
	return part("attn_q.weight", 0, nq), part("attn_k.weight", nq, nk), part("attn_v.weight", nq+nk, nk)
}

// deltaNet is the gated delta net of a block: x[T,hidden].
func (h *qwen3next) deltaNet(b *blocks, x *ir.Value) *ir.Value {
	t, r, d := b.tokens, h.valHeads/h.keyHeads, h.state
	qkv, z := h.inProjection(b)
	mixed := b.op("linear_attn_qkv_mixed", ir.OpMatMul, x, qkv)
	gate := b.reshape("z", b.op("z_flat", ir.OpMatMul, x, z), t, h.valHeads, d)

	// [beta × r, alpha × r] per key head.
	ba := b.reshape("ssm_ba", b.op("ssm_ba_flat", ir.OpMatMul, x, b.weight("ssm_ba.weight", 2*h.valHeads, h.hidden)), t, h.keyHeads, 2*r)
	pick := func(name string, start int) *ir.Value {
		part := b.op(name+"_cont", ir.OpCont, b.slice(name+"_view", ba, 2, ir.Num(start), ir.Num(r)))
		return b.reshape(name, part, t, h.valHeads)
	}
	beta := b.op("beta_sigmoid", ir.OpSigmoid, pick("beta", 0))
	alpha := b.op("alpha_biased", ir.OpAdd, pick("alpha", r), b.vector("ssm_dt.bias", h.valHeads))
	g := b.op("gate_decay", ir.OpMul, b.op("alpha_softplus", ir.OpSoftplus, alpha), b.vector("ssm_a", h.valHeads))

	conv := b.causalConv(mixed, h.conv)
	qk := h.keyHeads * d
	cut := func(name string, start, heads int) *ir.Value {
		part := b.op(name+"_cont", ir.OpCont, b.slice(name+"_view", conv, 1, ir.Num(start), ir.Num(heads*d)))
		return b.reshape(name, part, t, heads, d)
	}
	q := b.op("q_conv_predelta", ir.OpL2Norm, cut("q_conv", 0, h.keyHeads), "eps", h.eps)
	k := b.op("k_conv_predelta", ir.OpL2Norm, cut("k_conv", qk, h.keyHeads), "eps", h.eps)
	v := cut("v_conv_predelta", 2*qk, h.valHeads)

	out := b.deltaRule(q, k, v, g, beta, 1/math.Sqrt(float64(d)))
	n := b.norm("attn_out_norm", out, b.vector("ssm_norm.weight", d), h.eps)
	n = b.op("final_gated", ir.OpMul, n, b.op("z_silu", ir.OpSilu, gate))
	return b.op("linear_attn_out", ir.OpMatMul, b.reshape("final_output", n, t, h.inner), b.weight("ssm_out.weight", h.hidden, h.inner))
}

// inProjection gives the weights of q, k, v joined and of z. The legacy layout
// ssm_in holds [q, k, v × r, z × r] per key head: its rows are sorted when they are packed.
func (h *qwen3next) inProjection(b *blocks) (qkv, z *ir.Value) {
	d, g := h.state, h.keyHeads
	r := h.valHeads / g
	conv := 2*g*d + h.inner
	if !b.im.Has(b.name("ssm_in.weight")) {
		return b.weight("attn_qkv.weight", conv, h.hidden), b.weight("attn_gate.weight", h.inner, h.hidden)
	}
	from, stride := b.name("ssm_in.weight"), (2+2*r)*d
	whole := []int{conv + h.inner, h.hidden}
	qkv = b.im.Take(b.name("attn_qkv.weight"), from, whole,
		[]ir.Rows{{Start: 0, Len: d, Groups: g, Stride: stride}, {Start: d, Len: d, Groups: g, Stride: stride}, {Start: 2 * d, Len: r * d, Groups: g, Stride: stride}},
		conv, h.hidden)
	z = b.im.Take(b.name("attn_gate.weight"), from, whole,
		[]ir.Rows{{Start: (2 + r) * d, Len: r * d, Groups: g, Stride: stride}}, h.inner, h.hidden)
	return qkv, z
}

// moe is the mixture of experts with its shared expert: x[n,hidden].
func (h *qwen3next) moe(b *blocks, x *ir.Value) *ir.Value {
	gate, up := h.expertWeights(b)
	routed := b.experts(x, expertWeights{
		router: b.weight("ffn_gate_inp.weight", h.experts, h.hidden),
		gate:   gate, up: up,
		down: b.weight("ffn_down_exps.weight", h.experts, h.hidden, h.expertFF),
		used: h.used, scale: h.expertScale,
	})
	shared := b.feedForward("ffn_shexp", x,
		b.weight("ffn_gate_shexp.weight", h.sharedFF, h.hidden),
		b.weight("ffn_up_shexp.weight", h.sharedFF, h.hidden),
		b.weight("ffn_down_shexp.weight", h.hidden, h.sharedFF))
	open := b.op("shared_expert_gate", ir.OpMatMul, x, b.weight("ffn_gate_inp_shexp.weight", 1, h.hidden))
	shared = b.op("ffn_shexp_gated", ir.OpMul, shared, b.op("shared_expert_gate_sigmoid", ir.OpSigmoid, open))
	return b.op("ffn_out", ir.OpAdd, routed, shared)
}

// expertWeights gives gate and up; a merged ffn_gate_up_exps has [gate, up] per expert.
func (h *qwen3next) expertWeights(b *blocks) (gate, up *ir.Value) {
	e, n := h.experts, h.expertFF
	from := b.name("ffn_gate_up_exps.weight")
	if !b.im.Has(from) {
		return b.weight("ffn_gate_exps.weight", e, n, h.hidden), b.weight("ffn_up_exps.weight", e, n, h.hidden)
	}
	half := func(name string, start int) *ir.Value {
		return b.im.Take(b.name(name), from, []int{e, 2 * n, h.hidden},
			[]ir.Rows{{Start: start, Len: n, Groups: e, Stride: 2 * n}}, e, n, h.hidden)
	}
	return half("ffn_gate_exps.weight", 0), half("ffn_up_exps.weight", n)
}
