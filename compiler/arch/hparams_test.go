package arch

import (
	"math"
	"slices"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/runtime/gguf"
)

const prefix = "qwen3next."

// paramsOf reads the hyper-parameters of f.
func paramsOf(f *gguf.File) (*qwen3next, error) {
	h := &qwen3next{}
	im := &Importer{File: f, arch: "qwen3next", used: map[string]bool{}, M: &ir.Module{}}
	h.params(im)
	return h, im.err
}

// field is the variable of a row.
func (h *qwen3next) field(key string) (x float64) {
	for _, r := range h.table() {
		if r.key == key && r.float != nil {
			x = *r.float
		} else if r.key == key {
			x = float64(*r.int)
		}
	}
	return x
}

// TestParams: every row of the table refuses a missing key that it requires, a
// value of another kind and values outside its range, and takes its default.
func TestParams(t *testing.T) {
	// What a key that is absent stands for, in a model of tiny with the keys
	// that follow from it left out as well.
	absent := map[string]struct {
		without []string
		want    float64
	}{
		"nextn_predict_layers":              {nil, 0},
		"attention.head_count_kv":           {nil, 4},                                // attention.head_count
		"attention.key_length":              {[]string{"attention.value_length"}, 6}, // 24 / 4
		"attention.value_length":            {nil, 8},                                // attention.key_length
		"rope.dimension_count":              {nil, 8},                                // attention.key_length
		"rope.freq_base":                    {nil, 10000},
		"feed_forward_length":               {nil, 0},
		"expert_feed_forward_length":        {nil, 20}, // 40 / 2
		"expert_shared_feed_forward_length": {nil, 40}, // feed_forward_length
		"expert_weights_scale":              {nil, 1},
		"full_attention_interval":           {nil, 4},
	}
	f := describe(t, "expert_scale = 2")
	if _, err := paramsOf(f); err != nil {
		t.Fatal(err)
	}
	for _, r := range (&qwen3next{}).table() {
		t.Run(r.key, func(t *testing.T) {
			with := func(v any) error {
				_, err := paramsOf(edit(t, f, map[string]any{prefix + r.key: v}))
				return err
			}
			wants := func(what string, v any, text string) {
				t.Helper()
				if err := with(v); err == nil || !strings.Contains(err.Error(), prefix+r.key) || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v, want %q of %s", what, err, text, r.key)
				}
			}
			if a, ok := absent[r.key]; math.IsNaN(r.def) {
				wants("absent", nil, "is missing")
			} else if !ok {
				t.Error("no case for its default")
			} else {
				keys := map[string]any{prefix + r.key: nil}
				for _, k := range a.without {
					keys[prefix+k] = nil
				}
				if r.key == "attention.key_length" {
					keys[prefix+"rope.dimension_count"] = uint32(4)
				}
				h, err := paramsOf(edit(t, f, keys))
				if err != nil || h.field(r.key) != a.want {
					t.Errorf("absent: %v, %v, want %v", h.field(r.key), err, a.want)
				}
			}
			wants("another kind", "many", "want")
			if r.float != nil {
				wants("an integer", uint32(1), "want a float")
				wants("NaN", float32(math.NaN()), "want")
				wants("infinite", float32(math.Inf(1)), "want")
				wants("below", float32(r.min-1), "want")
				wants("above", float32(r.max*2), "want")
				return
			}
			wants("a float", float32(1), "want an integer")
			wants("negative", int32(-1), "want")
			if r.min > 0 {
				wants("below", uint32(r.min-1), "want")
			}
			wants("above", uint64(r.max+1), "want")
			wants("absurd", uint64(math.MaxUint64), "out of range")
			if r.blocks == nil {
				wants("a list", []uint32{1, 1}, "want an integer")
			}
		})
	}
	for key := range absent {
		if !slices.ContainsFunc((&qwen3next{}).table(), func(r hparam) bool { return r.key == key }) {
			t.Errorf("case for %s, which the table does not have", key)
		}
	}
}

// TestPerBlock: values that other writers give for each block are taken when
// the blocks agree.
func TestPerBlock(t *testing.T) {
	f := describe(t, "")
	for key, n := range map[string]uint32{
		"attention.head_count": 4, "attention.head_count_kv": 2, "expert_used_count": 2, "feed_forward_length": 40, "expert_feed_forward_length": 12,
	} {
		key = prefix + key
		want := accepted(t, f).String()
		for _, list := range []any{[]uint32{n, n}, []int32{0, int32(n)}, []uint64{uint64(n), uint64(n)}} {
			if have := accepted(t, edit(t, f, map[string]any{key: list})).String(); have != want {
				t.Errorf("%s = %v gives another module", key, list)
			}
		}
		refused(t, edit(t, f, map[string]any{key: []uint32{n}}), "key "+key+" has 1 entries for 2 blocks")
		refused(t, edit(t, f, map[string]any{key: []uint32{}}), "key "+key+" has 0 entries for 2 blocks")
		refused(t, edit(t, f, map[string]any{key: []uint32{n, n + 1}}), "blocks that differ are not handled")
		refused(t, edit(t, f, map[string]any{key: []float32{1, 1}}), key)
		if key != prefix+"feed_forward_length" {
			refused(t, edit(t, f, map[string]any{key: []uint32{0, 0}}), "key "+key+" is 0")
		}
	}
}

// TestRelations: every relation is broken once.
func TestRelations(t *testing.T) {
	u := func(pairs ...any) map[string]any {
		keys := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			keys[prefix+pairs[i].(string)] = uint32(pairs[i+1].(int))
		}
		return keys
	}
	cases := []struct {
		text string
		keys map[string]any
	}{
		{"nextn_predict_layers below", u("nextn_predict_layers", 2)},
		{"attention.head_count a multiple", u("attention.head_count_kv", 3)},
		{"ssm.time_step_rank (value heads) a multiple", u("ssm.group_count", 3)},
		{"ssm.inner_size =", u("ssm.inner_size", 31)},
		{"attention.key_length, or", map[string]any{prefix + "attention.key_length": nil, prefix + "attention.value_length": nil,
			prefix + "attention.head_count": uint32(24), prefix + "rope.dimension_count": nil}},
		{"attention.value_length =", u("attention.value_length", 16)},
		{"rope.dimension_count even", u("rope.dimension_count", 3)},
		{"expert_used_count at most", u("expert_used_count", 6)},
		{"expert_feed_forward_length and", map[string]any{prefix + "feed_forward_length": nil, prefix + "expert_shared_feed_forward_length": nil}},
		{"heads times head size", u("ssm.state_size", 1<<19, "ssm.group_count", 4, "ssm.inner_size", 1<<19)},
	}
	f := describe(t, "")
	for _, c := range cases {
		_, err := paramsOf(edit(t, f, c.keys))
		if c.text == "heads times head size" { // inner_size is checked first: the relation itself
			h := &qwen3next{blocks: 1, heads: 1, kvHeads: 1, keyHeads: 4, valHeads: 4, state: 1 << 19, inner: 1 << 21, headDim: 2, valueDim: 2, ropeDims: 2, experts: 1, used: 1, expertFF: 1, sharedFF: 1}
			im := &Importer{File: f}
			im.relate(h.relations())
			err = im.err
		}
		if err == nil || !strings.Contains(err.Error(), "contradicts itself: want "+c.text) {
			t.Errorf("%v: %v, want %q", c.keys, err, c.text)
		}
	}
	refused(t, edit(t, f, u("rope.dimension_count", 10)), "rope.dimension_count even and at most")
	for _, r := range (&qwen3next{heads: 1, kvHeads: 1, valHeads: 1, keyHeads: 1}).relations() {
		if !slices.ContainsFunc(cases, func(c struct {
			text string
			keys map[string]any
		}) bool {
			return strings.HasPrefix(r.text, c.text)
		}) {
			t.Errorf("no case for %q", r.text)
		}
	}
}

// TestNeutral: every key of other architectures is taken with a value that
// changes nothing, and changes nothing, and is refused with another.
func TestNeutral(t *testing.T) {
	cases := map[string]struct{ taken, refused []any }{
		"vocab_size":                           {[]any{uint32(261), uint32(7)}, nil},
		"pooling_type":                         {[]any{uint32(3)}, nil},
		"rope.scaling.type":                    {[]any{"none", "linear"}, []any{"yarn", "longrope", uint32(0)}},
		"rope.scaling.factor":                  {[]any{float32(0), float32(1)}, []any{float32(4), float32(0.5)}},
		"rope.scale_linear":                    {[]any{float32(1)}, []any{float32(2)}},
		"rope.scaling.attn_factor":             {[]any{float32(1)}, []any{float32(0), float32(1.2)}},
		"rope.scaling.original_context_length": {[]any{uint32(4096)}, nil},
		"rope.scaling.finetuned":               {[]any{true, false}, nil},
		"expert_gating_func":                   {[]any{uint32(1)}, []any{uint32(2), uint32(0)}},
		"expert_weights_norm":                  {[]any{true}, []any{false}},
		"expert_group_count":                   {[]any{uint32(0), uint32(1)}, []any{uint32(2)}},
		"expert_group_used_count":              {[]any{uint32(0), uint32(1)}, []any{uint32(2)}},
		"expert_shared_count":                  {[]any{uint32(1)}, []any{uint32(2)}},
		"leading_dense_block_count":            {[]any{uint32(0)}, []any{uint32(1)}},
		"decoder_sparse_step":                  {[]any{uint32(1)}, []any{uint32(2)}},
		"interleave_moe_layer_step":            {[]any{uint32(1)}, []any{uint32(2)}},
		"attention.scale":                      {[]any{float32(0)}, []any{float32(0.5)}},
		"attention.causal":                     {[]any{true}, []any{false}},
		"attention.sliding_window":             {[]any{uint32(0)}, []any{uint32(512)}},
		"attn_logit_softcapping":               {[]any{float32(0)}, []any{float32(50)}},
		"final_logit_softcapping":              {[]any{float32(0)}, []any{float32(30)}},
		"logit_scale":                          {[]any{float32(1)}, []any{float32(0.5)}},
	}
	f := describe(t, "")
	want := accepted(t, f).String()
	for _, r := range qwen3nextNeutral {
		t.Run(r.key, func(t *testing.T) {
			c, ok := cases[r.key]
			if !ok || len(c.taken) == 0 || len(c.refused) == 0 && r.values != "*" {
				t.Fatal("no case")
			}
			for _, v := range c.taken {
				if have := accepted(t, edit(t, f, map[string]any{prefix + r.key: v})).String(); have != want {
					t.Errorf("%v changes the module", v)
				}
			}
			for _, v := range c.refused {
				refused(t, edit(t, f, map[string]any{prefix + r.key: v}), "key "+prefix+r.key+" is ")
			}
		})
	}
}

// TestOtherKeys: keys that change results elsewhere are refused by name, keys
// outside the architecture are no business of it.
func TestOtherKeys(t *testing.T) {
	f := describe(t, "")
	for _, key := range []string{
		"rope.scaling.yarn_ext_factor", "rope.scaling.alpha", "rope.dimension_sections", "rope.freq_base_swa", "router_logit_softcapping",
		"attention.clamp_kqv", "attention.max_alibi_bias", "attention.key_length_mla", "attention.sliding_window_pattern", "expert_group_scale",
		"embedding_scale", "residual_scale", "ssm.dt_b_c_rms", "swiglu_clamp_exp", "use_parallel_residual",
	} {
		refused(t, edit(t, f, map[string]any{prefix + key: float32(1)}), "key "+prefix+key+" is not handled")
	}
	accepted(t, edit(t, f, map[string]any{"general.size_label": "512x2.5B", "quantize.imatrix.file": "x", "qwen3.block_count": uint32(7), "split.count": uint16(0)}))
}

// TestRecurrentLayers: the list is used, and refused when it is short or no list of bools.
func TestRecurrentLayers(t *testing.T) {
	f := describe(t, "")
	key := prefix + "attention.recurrent_layers"
	accepted(t, edit(t, f, map[string]any{key: []bool{true, false}}))
	accepted(t, edit(t, f, map[string]any{key: []bool{true, false}, prefix + "full_attention_interval": uint32(3)}))
	refused(t, edit(t, f, map[string]any{key: []bool{false, true}}), "tensor blk.0.attn_qkv.weight has shape [64 24], want [96 24]")
	refused(t, edit(t, f, map[string]any{key: []bool{true}}), "key "+key+" has 1 entries for 2 blocks")
	refused(t, edit(t, f, map[string]any{key: uint32(1)}), "key "+key)
	refused(t, edit(t, f, map[string]any{key: []uint32{1, 0}}), "key "+key)
}

// TestEveryTensor: each tensor is refused by name when it is missing, when its
// shape is another, and when its type is none of weights.
func TestEveryTensor(t *testing.T) {
	for _, desc := range []string{"", "legacy = true\nmerged = true\ntied = true"} {
		for _, x := range describe(t, desc).Tensors() {
			if x.Name == "output.weight" && desc == "" {
				continue // absent means tied
			}
			for _, line := range []string{"omit = " + x.Name, "tensor." + x.Name + " = f32 7", "tensor." + x.Name + " = f32 24 24 5 2"} {
				// Without one of two layouts the other is asked for.
				name := strings.NewReplacer("ssm_in", "attn_qkv", "ffn_gate_up_exps", "ffn_gate_exps").Replace(x.Name)
				if !strings.HasPrefix(line, "omit") {
					name = x.Name
				}
				refused(t, describe(t, desc+"\n"+line), "tensor "+name+" ")
			}
			f := describe(t, desc)
			y, _ := f.Tensor(x.Name)
			y.Type = gguf.TypeI32
			refused(t, f, "tensor "+x.Name+" ")
			y.Type = gguf.TypeIQ4XS
			refused(t, f, "tensor "+x.Name+" has type iq4_xs, for which there is no kernel")
		}
	}
}

// TestJoinedAttention: q, k and v of attention may be one tensor.
func TestJoinedAttention(t *testing.T) {
	const joined = "omit = blk.1.attn_q.weight blk.1.attn_k.weight blk.1.attn_v.weight\ntensor.blk.1.attn_qkv.weight = f32 24 "
	m := accepted(t, describe(t, joined+"96"))
	for name, rows := range map[string]ir.Rows{"q": {Start: 0, Len: 64, Groups: 1, Stride: 64}, "k": {Start: 64, Len: 16, Groups: 1, Stride: 16}, "v": {Start: 80, Len: 16, Groups: 1, Stride: 16}} {
		w := m.Symbol("blk.1.attn_" + name + ".weight")
		if w == nil || w.From != "blk.1.attn_qkv.weight" || !slices.Equal(w.Rows, []ir.Rows{rows}) {
			t.Errorf("attn_%s: %+v", name, w)
		}
	}
	refused(t, describe(t, joined+"95"), "tensor blk.1.attn_qkv.weight has shape [95 24], want [96 24]")
	refused(t, describe(t, "tensor.blk.1.attn_qkv.weight = f32 24 96"), "tensor blk.1.attn_q.weight is used by nothing")
}
