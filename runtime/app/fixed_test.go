package app

import (
	"strings"
	"testing"

	"qnc/runtime/engine"
	"qnc/runtime/flags"
)

// TestFixedGPU: a program with GPUs takes the placement that it was compiled
// with, however it is worded, and refuses another with the command that compiles it.
func TestFixedGPU(t *testing.T) {
	in := &engine.Info{GPUs: "cuda:0, cuda:1", GPULayers: 5, NumLayers: 4, Recompile: "qnc compile m.gguf -o m -ngl all -ts 3,1 -ot 'exps=CPU'"}
	part := &engine.Info{GPUs: "cuda:0", GPULayers: 2, NumLayers: 4, Recompile: "qnc compile m.gguf -o m -ngl 2"}
	for _, c := range []struct {
		in   *engine.Info
		args string
		want string // "" when it is taken
	}{
		{in, "-ngl 99", ""}, {in, "-ngl 5", ""}, {in, "-ngl all", ""}, {in, "-ngl auto", ""}, {in, "-ts 3,1", ""}, {in, "-ot exps=CPU", ""}, {in, "-mg 0", ""},
		{in, "-ngl 4", "-ngl 4: this binary was compiled for 5 of 5 layers on cuda:0, cuda:1: recompile: qnc compile m.gguf -o m -ngl all"},
		{in, "-ngl 0", "-ngl 0: this binary"}, {in, "-ts 1,1", "-ts 1,1: this binary"}, {in, "-ot attn=CPU", "-ot attn=CPU: this binary"}, {in, "-mg 1", "-mg 1: this binary"},
		{part, "-ngl 2", ""}, {part, "-ngl 99", "compiled for 2 of 5 layers on cuda:0"},
		{&engine.Info{NumLayers: 4}, "-ngl 0", ""}, {&engine.Info{NumLayers: 4}, "-ngl 1", "compiled for the CPU alone"},
	} {
		set, err := flags.Parse(flags.Complete, strings.Fields("-p x "+c.args), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatalf("%s: %v", c.args, err)
		}
		switch err := checkFixed(set, flags.Complete, c.in); {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}
