// Package synth makes GGUF models of the Qwen3-Next architecture out of a
// short description, for tests of shapes that no published model has and for
// measurements at the shapes of the large ones.
//
// A description is a list of "key = value" lines; '#' starts a comment and a
// key that is left out keeps its default, so the empty description is a model
// as well:
//
//	layers      = 3
//	hidden      = 96
//	key_heads   = 3
//	value_heads = 6
//	type        = q8_0            # of every matrix
//	type.output = f16             # of one class of tensors
//	type.blk.1.attn_qkv = bf16    # of one tensor
//
// The file is a pure function of the description: weights come from a
// generator of this package, seeded per tensor row, and nothing else enters.
// Three more kinds of lines make the odd files that tests of readers want:
//
//	meta.KEY    = u32|i32|f32|bool|str VALUE    adds or replaces a metadata key
//	tensor.NAME = TYPE DIM [DIM ...]            adds or replaces a tensor (dims fastest first)
//	omit        = NAME [NAME ...]               leaves out metadata keys or tensors
package synth

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Config describes one synthetic model; Default and Parse make valid ones.
type Config struct {
	Name string
	Seed uint64

	Layers, MTPLayers int // decoder blocks; multi-token-prediction blocks after them
	Context, Hidden   int
	Vocab             int // 256 bytes, then merges, then three special tokens
	FF                int // feed_forward_length, which only dense layers would use

	Experts, ExpertsUsed int
	ExpertFF, SharedFF   int // widths of one routed expert and of the shared one

	KeyHeads, ValueHeads int // of the delta net
	State                int // width of its heads
	Conv                 int // taps of its causal convolution

	Heads, KVHeads    int // of the full-attention layers
	HeadDim, RopeDims int
	Interval          int    // every Interval-th layer is full attention, unless Recurrent is set
	Recurrent         []bool // per decoder block: true = delta net
	RopeBase, Eps     float64

	// RouterSpread is the relative spread of the lengths of the router's rows:
	// a longer row is chosen more often. 0 gives every expert the same chance.
	RouterSpread float64

	ExpertScale float64 // expert_weights_scale; 0 = key left out
	Tied        bool    // no output.weight
	Legacy      bool    // ssm_in instead of attn_qkv and attn_gate
	Merged      bool    // ffn_gate_up_exps instead of ffn_gate_exps and ffn_up_exps
	Pre         string  // tokenizer.ggml.pre

	Type string // of every matrix that Types does not name

	Types   []Line // "type." lines: class or tensor, and its type
	Meta    []Line // "meta." lines
	Tensors []Line // "tensor." lines
	Omit    []string
}

// A Line is one "PREFIX.Key = Value" line of a description.
type Line struct{ Key, Value string }

// Default returns the model of the empty description.
func Default() *Config {
	c := &Config{}
	for i := range fields {
		if err := fields[i].set(c, fields[i].def); err != nil {
			panic("synth: default of " + fields[i].name + ": " + err.Error())
		}
	}
	return c
}

// maxText bounds a description; the longest useful ones are a few kilobytes.
const maxText = 1 << 16

// Parse reads a description and checks every value and relation. The error
// names the line.
func Parse(text string) (*Config, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("synth: description of %d bytes: the most is %d", len(text), maxText)
	}
	c := Default()
	seen := map[string]bool{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.Join(strings.Fields(value), " ")
		if !ok || key == "" {
			return nil, fmt.Errorf("synth: line %d: %q is not key = value", n, line)
		}
		if seen[key] {
			return nil, fmt.Errorf("synth: line %d: %s is given twice: leave one", n, key)
		}
		seen[key] = true
		if err := c.set(key, value); err != nil {
			return nil, fmt.Errorf("synth: line %d: %s: %w", n, key, err)
		}
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) set(key, value string) error {
	if i := slices.IndexFunc(fields, func(f field) bool { return f.name == key }); i >= 0 {
		return fields[i].set(c, value)
	}
	prefix, rest, _ := strings.Cut(key, ".")
	list := c.lines(prefix)
	if list == nil || rest == "" {
		return fmt.Errorf("unknown key; known are %s, type.CLASS, meta.KEY, tensor.NAME", strings.Join(fieldNames(), ", "))
	}
	*list = append(*list, Line{rest, value})
	return nil
}

func (c *Config) lines(prefix string) *[]Line {
	switch prefix {
	case "type":
		return &c.Types
	case "meta":
		return &c.Meta
	case "tensor":
		return &c.Tensors
	}
	return nil
}

// String writes the description that Parse reads back as c: defaults are left out.
func (c *Config) String() string {
	var b strings.Builder
	for i := range fields {
		if f := &fields[i]; f.get(c) != f.def {
			fmt.Fprintf(&b, "%s = %s\n", f.name, f.get(c))
		}
	}
	for _, prefix := range []string{"type", "meta", "tensor"} {
		for _, l := range *c.lines(prefix) {
			fmt.Fprintf(&b, "%s.%s = %s\n", prefix, l.Key, l.Value)
		}
	}
	return b.String()
}

// A field is one plain key: ptr gives the member of Config that it sets
// (*int, *uint64, *float64, *bool, *string, *[]bool or *[]string).
type field struct {
	name, def string
	min, max  float64 // of numbers
	ptr       func(*Config) any
}

var fields = []field{
	{"name", "Synthetic", 0, 0, func(c *Config) any { return &c.Name }},
	{"seed", "1", 0, 1 << 53, func(c *Config) any { return &c.Seed }},
	{"layers", "4", 1, 1024, func(c *Config) any { return &c.Layers }},
	{"mtp_layers", "0", 0, 16, func(c *Config) any { return &c.MTPLayers }},
	{"context", "4096", 1, 1 << 24, func(c *Config) any { return &c.Context }},
	{"hidden", "64", 1, 1 << 16, func(c *Config) any { return &c.Hidden }},
	{"vocab", "320", 259, 1 << 20, func(c *Config) any { return &c.Vocab }},
	{"ff", "128", 1, 1 << 20, func(c *Config) any { return &c.FF }},
	{"experts", "8", 1, 4096, func(c *Config) any { return &c.Experts }},
	{"experts_used", "2", 1, 4096, func(c *Config) any { return &c.ExpertsUsed }},
	{"expert_ff", "32", 1, 1 << 16, func(c *Config) any { return &c.ExpertFF }},
	{"shared_ff", "32", 1, 1 << 16, func(c *Config) any { return &c.SharedFF }},
	{"key_heads", "2", 1, 1024, func(c *Config) any { return &c.KeyHeads }},
	{"value_heads", "4", 1, 1024, func(c *Config) any { return &c.ValueHeads }},
	{"state", "16", 1, 1024, func(c *Config) any { return &c.State }},
	{"conv", "4", 2, 16, func(c *Config) any { return &c.Conv }},
	{"heads", "4", 1, 1024, func(c *Config) any { return &c.Heads }},
	{"kv_heads", "2", 1, 1024, func(c *Config) any { return &c.KVHeads }},
	{"head_dim", "16", 2, 1024, func(c *Config) any { return &c.HeadDim }},
	{"rope_dims", "4", 2, 1024, func(c *Config) any { return &c.RopeDims }},
	{"interval", "4", 1, 1024, func(c *Config) any { return &c.Interval }},
	{"recurrent", "", 0, 0, func(c *Config) any { return &c.Recurrent }},
	{"rope_base", "10000", 1, 1e12, func(c *Config) any { return &c.RopeBase }},
	{"eps", "1e-06", 1e-12, 1, func(c *Config) any { return &c.Eps }},
	{"router_spread", "0", 0, 0.25, func(c *Config) any { return &c.RouterSpread }},
	{"expert_scale", "0", 0, 1e6, func(c *Config) any { return &c.ExpertScale }},
	{"tied", "false", 0, 0, func(c *Config) any { return &c.Tied }},
	{"legacy", "false", 0, 0, func(c *Config) any { return &c.Legacy }},
	{"merged", "false", 0, 0, func(c *Config) any { return &c.Merged }},
	{"pre", "qwen2", 0, 0, func(c *Config) any { return &c.Pre }},
	{"type", "f32", 0, 0, func(c *Config) any { return &c.Type }},
	{"omit", "", 0, 0, func(c *Config) any { return &c.Omit }},
}

func fieldNames() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

func (f *field) set(c *Config, s string) error {
	switch p := f.ptr(c).(type) {
	case *int:
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer", s)
		}
		if err := f.inRange(float64(v)); err != nil {
			return err
		}
		*p = int(v)
	case *uint64:
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a non-negative integer", s)
		}
		if err := f.inRange(float64(v)); err != nil {
			return err
		}
		*p = v
	case *float64:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		if err := f.inRange(v); err != nil {
			return err
		}
		*p = v
	case *bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*p = s == "true"
	case *string:
		*p = s
	case *[]bool:
		*p = nil
		for _, w := range strings.Fields(s) {
			if w != "0" && w != "1" {
				return fmt.Errorf("%q is neither 0 (full attention) nor 1 (delta net)", w)
			}
			*p = append(*p, w == "1")
		}
	case *[]string:
		*p = strings.Fields(s)
	}
	return nil
}

// inRange is written so that NaN is out of range.
func (f *field) inRange(v float64) error {
	if v >= f.min && v <= f.max {
		return nil
	}
	return fmt.Errorf("%v is outside %v to %v", v, f.min, f.max)
}

func (f *field) get(c *Config) string {
	switch p := f.ptr(c).(type) {
	case *bool:
		return strconv.FormatBool(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *[]bool:
		var w []string
		for _, b := range *p {
			w = append(w, map[bool]string{false: "0", true: "1"}[b])
		}
		return strings.Join(w, " ")
	case *[]string:
		return strings.Join(*p, " ")
	case *string:
		return *p
	case *int:
		return strconv.Itoa(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	}
	return ""
}

// Check reports the first relation between the values that does not hold, and
// the first type, metadata or tensor line that cannot be followed.
func (c *Config) Check() error {
	for i := range fields { // a Config filled by hand has not been through set
		if err := fields[i].set(c, fields[i].get(c)); err != nil {
			return fmt.Errorf("synth: %s: %w", fields[i].name, err)
		}
	}
	for _, r := range []struct {
		bad  bool
		text string
	}{
		{c.ValueHeads%c.KeyHeads != 0, "value_heads must be a multiple of key_heads"},
		{c.Heads%c.KVHeads != 0, "heads must be a multiple of kv_heads"},
		{c.ExpertsUsed > c.Experts, "experts_used must not exceed experts"},
		{c.RopeDims > c.HeadDim, "rope_dims must not exceed head_dim"},
		{c.RopeDims%2 != 0, "rope_dims must be even"},
		{c.Recurrent != nil && len(c.Recurrent) != c.Layers, "recurrent must have one 0 or 1 per layer"},
	} {
		if r.bad {
			return fmt.Errorf("synth: %s", r.text)
		}
	}
	for _, l := range c.Meta {
		if _, err := metaValue(l.Value); err != nil {
			return fmt.Errorf("synth: meta.%s: %w", l.Key, err)
		}
	}
	_, err := c.specs()
	return err
}

// IsRecurrent says whether block i is a delta-net layer.
func (c *Config) IsRecurrent(i int) bool {
	switch {
	case i >= c.Layers:
		return false
	case c.Recurrent != nil:
		return c.Recurrent[i]
	}
	return (i+1)%c.Interval != 0
}
