package synth

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// A class is what the tensors of one name in all blocks have in common.
type class struct {
	name string
	dist dist
	kind string // "" = the description's type
}

// routerGain sets the best experts of a token apart.
const routerGain = 2.5

// Scales are those of trained models: norms near 1, decays from a few tokens
// to a few hundred, a router whose best experts are apart, and residual
// branches that add about as much as they find.
var classes = []class{
	{"token_embd", around(0, 0.5), ""},
	{"output", matrix(3), ""},
	{"output_norm", around(1, 0.15), "f32"},
	{"attn_norm", around(1, 0.15), "f32"},
	{"post_attention_norm", around(1, 0.15), "f32"},

	{"attn_qkv", matrix(1.2), ""},
	{"attn_gate", matrix(1.2), ""},
	{"ssm_in", matrix(1.2), ""},
	{"ssm_ba", matrix(1), ""},
	{"ssm_conv1d", around(0.2, 0.3), "f32"},
	{"ssm_dt", around(-2, 1.2), "f32"},
	{"ssm_a", skewed(-0.3, -4), "f32"},
	{"ssm_norm", around(1, 0.15), "f32"},
	{"ssm_out", matrix(0.4), ""},

	{"attn_q", matrix(1.2), ""},
	{"attn_k", matrix(1.2), ""},
	{"attn_v", matrix(1.2), ""},
	{"attn_q_norm", around(1.4, 0.25), "f32"},
	{"attn_k_norm", around(1.4, 0.25), "f32"},
	{"attn_output", matrix(0.6), ""},

	{"ffn_gate_inp", matrix(routerGain), "f32"},
	{"ffn_gate_exps", matrix(1.5), ""},
	{"ffn_up_exps", matrix(1.5), ""},
	{"ffn_gate_up_exps", matrix(1.5), ""},
	{"ffn_down_exps", matrix(0.4), ""},
	{"ffn_gate_inp_shexp", matrix(1), "f32"},
	{"ffn_gate_shexp", matrix(1.5), ""},
	{"ffn_up_shexp", matrix(1.5), ""},
	{"ffn_down_shexp", matrix(0.4), ""},

	{"nextn.eh_proj", matrix(1), ""},
	{"nextn.enorm", around(1, 0.15), "f32"},
	{"nextn.hnorm", around(1, 0.15), "f32"},
	{"nextn.shared_head_norm", around(1, 0.15), "f32"},
}

func classOf(name string) (*class, bool) {
	i := slices.IndexFunc(classes, func(k class) bool { return k.name == name })
	if i < 0 {
		return nil, false
	}
	return &classes[i], true
}

// A spec is one tensor to be written.
type spec struct {
	name string
	dims []uint64 // fastest first
	kind *quant.Kind
	dist dist
	// source names the row of the usual layout that row i holds.
	source func(i int) (name string, row int)
}

func (s *spec) row() int { return int(s.dims[0]) }

func (s *spec) rows() int {
	n := 1
	for _, d := range s.dims[1:] {
		n *= int(d)
	}
	return n
}

// maxElems bounds one tensor, so that no product of the checked sizes wraps.
const maxElems = 1 << 40

// builder collects the tensors of a description in file order.
type builder struct {
	c     *Config
	types map[string]string
	specs []spec
	err   error
}

// add appends tensor [blk.B.]class[suffix]; block is negative outside blocks.
func (b *builder) add(block int, class, suffix string, dims ...int) *spec {
	name := class + suffix
	if block >= 0 {
		name = "blk." + strconv.Itoa(block) + "." + name
	}
	k, ok := classOf(class)
	if !ok {
		panic("synth: class " + class + " has no row in the table")
	}
	typ := b.c.Type
	if k.kind != "" {
		typ = k.kind
	}
	for _, key := range []string{class, strings.TrimSuffix(name, suffix)} {
		if t, ok := b.types[key]; ok {
			typ = t
			b.types[key] = t
		}
	}
	s := spec{name: name, dist: k.dist}
	for _, d := range dims {
		s.dims = append(s.dims, uint64(d))
	}
	if err := s.setKind(typ); err != nil && b.err == nil {
		b.err = err
	}
	b.specs = append(b.specs, s)
	return &b.specs[len(b.specs)-1]
}

func (s *spec) setKind(typ string) error {
	kind, ok := quant.ByName(typ)
	if !ok {
		return fmt.Errorf("synth: tensor %s: type %q: known are %s", s.name, typ, strings.Join(kindNames(), ", "))
	}
	if s.dims[0]%uint64(kind.BlockElems) != 0 {
		return fmt.Errorf("synth: tensor %s: rows of %d are not whole blocks of %s (%d): choose another type for it", s.name, s.dims[0], typ, kind.BlockElems)
	}
	n := uint64(1)
	for _, d := range s.dims {
		if d == 0 || d > maxElems || n > maxElems/d {
			return fmt.Errorf("synth: tensor %s: dimensions %v: the most is %d elements", s.name, s.dims, uint64(maxElems))
		}
		n *= d
	}
	s.kind = kind
	return nil
}

func kindNames() []string {
	names := make([]string, len(quant.Kinds))
	for i, k := range quant.Kinds {
		names[i] = k.Name
	}
	return names
}

// specs lists the tensors of the file in order.
func (c *Config) specs() ([]spec, error) {
	b := &builder{c: c, types: map[string]string{}}
	for _, l := range c.Types {
		b.types[l.Key] = l.Value
	}
	b.add(-1, "token_embd", ".weight", c.Hidden, c.Vocab)
	if !c.Tied {
		b.add(-1, "output", ".weight", c.Hidden, c.Vocab)
	}
	b.add(-1, "output_norm", ".weight", c.Hidden)
	for i := range c.Layers + c.MTPLayers {
		b.add(i, "attn_norm", ".weight", c.Hidden)
		if c.IsRecurrent(i) {
			b.deltaNet(i)
		} else {
			b.attention(i)
		}
		b.experts(i)
		if i >= c.Layers {
			b.add(i, "nextn.eh_proj", ".weight", 2*c.Hidden, c.Hidden)
			b.add(i, "nextn.enorm", ".weight", c.Hidden)
			b.add(i, "nextn.hnorm", ".weight", c.Hidden)
			b.add(i, "nextn.shared_head_norm", ".weight", c.Hidden)
		}
	}
	if b.err != nil {
		return nil, b.err
	}
	if err := b.checkTypes(); err != nil {
		return nil, err
	}
	return b.edit()
}

func (b *builder) deltaNet(i int) {
	c := b.c
	key, value := c.KeyHeads*c.State, c.ValueHeads*c.State
	if !c.Legacy {
		b.add(i, "attn_qkv", ".weight", c.Hidden, 2*key+value)
		b.add(i, "attn_gate", ".weight", c.Hidden, value)
	} else {
		// Per key head: its q, its k, the v and then the z of its value heads.
		s := b.add(i, "ssm_in", ".weight", c.Hidden, 2*key+2*value)
		d, r := c.State, c.ValueHeads/c.KeyHeads
		qkv, gate := fmt.Sprintf("blk.%d.attn_qkv.weight", i), fmt.Sprintf("blk.%d.attn_gate.weight", i)
		s.source = func(row int) (string, int) {
			head, at := row/(2*d+2*r*d), row%(2*d+2*r*d)
			switch {
			case at < d:
				return qkv, head*d + at
			case at < 2*d:
				return qkv, key + head*d + at - d
			case at < 2*d+r*d:
				return qkv, 2*key + head*r*d + at - 2*d
			}
			return gate, head*r*d + at - 2*d - r*d
		}
	}
	b.add(i, "ssm_ba", ".weight", c.Hidden, 2*c.ValueHeads)
	b.add(i, "ssm_conv1d", ".weight", c.Conv, 2*key+value)
	b.add(i, "ssm_dt", ".bias", c.ValueHeads)
	b.add(i, "ssm_a", "", c.ValueHeads)
	b.add(i, "ssm_norm", ".weight", c.State)
	b.add(i, "ssm_out", ".weight", value, c.Hidden)
}

func (b *builder) attention(i int) {
	c := b.c
	b.add(i, "attn_q", ".weight", c.Hidden, 2*c.Heads*c.HeadDim) // per head: query, gate
	b.add(i, "attn_k", ".weight", c.Hidden, c.KVHeads*c.HeadDim)
	b.add(i, "attn_v", ".weight", c.Hidden, c.KVHeads*c.HeadDim)
	b.add(i, "attn_q_norm", ".weight", c.HeadDim)
	b.add(i, "attn_k_norm", ".weight", c.HeadDim)
	b.add(i, "attn_output", ".weight", c.Heads*c.HeadDim, c.Hidden)
}

func (b *builder) experts(i int) {
	c := b.c
	b.add(i, "post_attention_norm", ".weight", c.Hidden)
	if s := b.add(i, "ffn_gate_inp", ".weight", c.Hidden, c.Experts); c.RouterSpread > 0 {
		s.dist = uneven(routerGain, c.RouterSpread)
	}
	if !c.Merged {
		b.add(i, "ffn_gate_exps", ".weight", c.Hidden, c.ExpertFF, c.Experts)
		b.add(i, "ffn_up_exps", ".weight", c.Hidden, c.ExpertFF, c.Experts)
	} else {
		s := b.add(i, "ffn_gate_up_exps", ".weight", c.Hidden, 2*c.ExpertFF, c.Experts)
		gate, up := fmt.Sprintf("blk.%d.ffn_gate_exps.weight", i), fmt.Sprintf("blk.%d.ffn_up_exps.weight", i)
		s.source = func(row int) (string, int) {
			e, at := row/(2*c.ExpertFF), row%(2*c.ExpertFF)
			if at < c.ExpertFF {
				return gate, e*c.ExpertFF + at
			}
			return up, e*c.ExpertFF + at - c.ExpertFF
		}
	}
	b.add(i, "ffn_down_exps", ".weight", c.ExpertFF, c.Hidden, c.Experts)
	b.add(i, "ffn_gate_inp_shexp", ".weight", c.Hidden)
	b.add(i, "ffn_gate_shexp", ".weight", c.Hidden, c.SharedFF)
	b.add(i, "ffn_up_shexp", ".weight", c.Hidden, c.SharedFF)
	b.add(i, "ffn_down_shexp", ".weight", c.SharedFF, c.Hidden)
}

// checkTypes refuses a type line that names no tensor of this model, and a
// type that does not exist even where a later line replaces it.
func (b *builder) checkTypes() error {
	for _, l := range b.c.Types {
		if _, ok := quant.ByName(l.Value); !ok {
			return fmt.Errorf("synth: type.%s: type %q: known are %s", l.Key, l.Value, strings.Join(kindNames(), ", "))
		}
		if _, ok := classOf(l.Key); ok {
			continue
		}
		if !slices.ContainsFunc(b.specs, func(s spec) bool { return s.name == l.Key+".weight" || s.name == l.Key+".bias" || s.name == l.Key }) {
			return fmt.Errorf("synth: type.%s: no tensor or class of that name", l.Key)
		}
	}
	return nil
}

// edit follows the tensor and omit lines.
func (b *builder) edit() ([]spec, error) {
	for _, l := range b.c.Tensors {
		typ, dims, _ := strings.Cut(l.Value, " ")
		s := spec{name: l.Key, dist: around(0, 1)}
		for _, w := range strings.Fields(dims) {
			d, err := strconv.ParseUint(w, 10, 40)
			if err != nil {
				return nil, fmt.Errorf("synth: tensor.%s: dimension %q", l.Key, w)
			}
			s.dims = append(s.dims, d)
		}
		if len(s.dims) == 0 || len(s.dims) > 4 {
			return nil, fmt.Errorf("synth: tensor.%s: write a type and 1 to 4 dimensions, fastest first", l.Key)
		}
		if err := s.setKind(typ); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(b.specs, func(o spec) bool { return o.name == s.name }); i >= 0 {
			s.dist = b.specs[i].dist
			b.specs[i] = s
		} else {
			b.specs = append(b.specs, s)
		}
	}
	return slices.DeleteFunc(b.specs, func(s spec) bool { return slices.Contains(b.c.Omit, s.name) }), nil
}

// fileTypes are the numbers of general.file_type by the name of the type of
// most matrices.
var fileTypes = map[string]uint32{
	"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q4_K": 15, "q5_K": 17, "q6_K": 18, "bf16": 32,
}

// metadata lists the keys of the file in order.
func (c *Config) metadata() ([]gguf.KV, error) {
	const arch = "qwen3next."
	u := func(v int) uint32 { return uint32(v) }
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "qwen3next"},
		{Key: "general.type", Value: "model"},
		{Key: "general.name", Value: c.Name},
		{Key: arch + "block_count", Value: u(c.Layers + c.MTPLayers)},
		{Key: arch + "context_length", Value: u(c.Context)},
		{Key: arch + "embedding_length", Value: u(c.Hidden)},
		{Key: arch + "feed_forward_length", Value: u(c.FF)},
		{Key: arch + "attention.head_count", Value: u(c.Heads)},
		{Key: arch + "attention.head_count_kv", Value: u(c.KVHeads)},
		{Key: arch + "attention.key_length", Value: u(c.HeadDim)},
		{Key: arch + "attention.value_length", Value: u(c.HeadDim)},
		{Key: arch + "rope.freq_base", Value: float32(c.RopeBase)},
		{Key: arch + "attention.layer_norm_rms_epsilon", Value: float32(c.Eps)},
		{Key: arch + "expert_count", Value: u(c.Experts)},
		{Key: arch + "expert_used_count", Value: u(c.ExpertsUsed)},
		{Key: arch + "expert_feed_forward_length", Value: u(c.ExpertFF)},
		{Key: arch + "expert_shared_feed_forward_length", Value: u(c.SharedFF)},
		{Key: arch + "ssm.conv_kernel", Value: u(c.Conv)},
		{Key: arch + "ssm.state_size", Value: u(c.State)},
		{Key: arch + "ssm.group_count", Value: u(c.KeyHeads)},
		{Key: arch + "ssm.time_step_rank", Value: u(c.ValueHeads)},
		{Key: arch + "ssm.inner_size", Value: u(c.ValueHeads * c.State)},
		{Key: arch + "full_attention_interval", Value: u(c.Interval)},
		{Key: arch + "rope.dimension_count", Value: u(c.RopeDims)},
	}
	if c.Recurrent != nil {
		all := make([]bool, c.Layers+c.MTPLayers)
		for i := range all {
			all[i] = c.IsRecurrent(i)
		}
		kvs = append(kvs, gguf.KV{Key: arch + "attention.recurrent_layers", Value: all})
	}
	if c.MTPLayers > 0 {
		kvs = append(kvs, gguf.KV{Key: arch + "nextn_predict_layers", Value: u(c.MTPLayers)})
	}
	if c.ExpertScale != 0 {
		kvs = append(kvs, gguf.KV{Key: arch + "expert_weights_scale", Value: float32(c.ExpertScale)})
	}
	kvs = append(kvs, c.tokenizer()...)
	kvs = append(kvs,
		gguf.KV{Key: "general.quantization_version", Value: uint32(2)},
		gguf.KV{Key: "general.file_type", Value: fileTypes[c.Type]})
	for _, l := range c.Meta {
		v, err := metaValue(l.Value)
		if err != nil {
			return nil, fmt.Errorf("synth: meta.%s: %w", l.Key, err)
		}
		if i := slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == l.Key }); i >= 0 {
			kvs[i].Value = v
		} else {
			kvs = append(kvs, gguf.KV{Key: l.Key, Value: v})
		}
	}
	return slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return slices.Contains(c.Omit, kv.Key) }), nil
}

func metaValue(s string) (any, error) {
	typ, text, _ := strings.Cut(s, " ")
	switch typ {
	case "u32":
		v, err := strconv.ParseUint(text, 10, 32)
		return uint32(v), err
	case "i32":
		v, err := strconv.ParseInt(text, 10, 32)
		return int32(v), err
	case "f32":
		v, err := strconv.ParseFloat(text, 32)
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			err = fmt.Errorf("%q is not a finite number", text)
		}
		return float32(v), err
	case "bool":
		v, err := strconv.ParseBool(text)
		return v, err
	case "str":
		return text, nil
	}
	return nil, fmt.Errorf("type %q: known are u32, i32, f32, bool, str", typ)
}
