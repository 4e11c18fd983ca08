package synth

import (
	"fmt"
	"slices"
)

// A Preset is a description with a name.
type Preset struct {
	Name, Help string
	Config     func() *Config
}

// Presets lists the named descriptions.
var Presets = []Preset{
	{"default", "four small layers in f32", Default},
	{"80b-4layers", "four layers with the shapes of Qwen3-Next 80B in Q4_K_M, 4.4 GB: for measurements", func() *Config { return qwen3Next(4) }},
	{"80b", "all 48 layers of them, 48 GB", Qwen3Next80B},
}

// PresetByName finds a named description.
func PresetByName(name string) (*Config, bool) {
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return Presets[i].Config(), true
}

// Qwen3Next80B describes a model with the shapes of Qwen3-Next 80B and the
// types that llama.cpp's Q4_K_M gives its tensors.
func Qwen3Next80B() *Config { return qwen3Next(48) }

// qwen3Next has n layers of the 80B shapes. In every layer some matrices may
// have six bits instead of four: Q4_K_M gives them to the first and the last
// eighth of the layers and to every third one between.
func qwen3Next(n int) *Config {
	c := Default()
	c.Name, c.Layers, c.Context, c.Hidden, c.Vocab, c.FF = fmt.Sprintf("80B shapes, %d layers", n), n, 262144, 2048, 151936, 5120
	c.Experts, c.ExpertsUsed, c.ExpertFF, c.SharedFF = 512, 10, 512, 512
	c.KeyHeads, c.ValueHeads, c.State = 16, 32, 128
	c.Heads, c.KVHeads, c.HeadDim, c.RopeDims, c.RopeBase = 16, 2, 256, 64, 5e6
	c.RouterSpread = 0.16
	c.Type = "q4_K"
	c.Types = []Line{{"output", "q6_K"}}
	for i := range n {
		if i >= n/8 && i < 7*n/8 && (i-n/8)%3 != 2 {
			continue
		}
		mixer := "attn_v"
		if c.IsRecurrent(i) {
			mixer = "attn_qkv"
		}
		for _, class := range []string{mixer, "ffn_down_exps", "ffn_down_shexp"} {
			c.Types = append(c.Types, Line{fmt.Sprintf("blk.%d.%s", i, class), "q6_K"})
		}
	}
	return c
}
