package synth

import (
	"fmt"
	"io"
	"os"

	"qnc/runtime/gguf"
)

// Qwen3Next80B describes a model with the shapes of Qwen3-Next 80B and the
// types that llama.cpp's Q4_K_M gives its tensors.
func Qwen3Next80B() *Config {
	c := Default()
	c.Name, c.Layers, c.Context, c.Hidden, c.Vocab, c.FF = "80B shapes", 48, 262144, 2048, 151936, 5120
	c.Experts, c.ExpertsUsed, c.ExpertFF, c.SharedFF = 512, 10, 512, 512
	c.KeyHeads, c.ValueHeads, c.State = 16, 32, 128
	c.Heads, c.KVHeads, c.HeadDim, c.RopeDims, c.RopeBase = 16, 2, 256, 64, 5e6
	c.Type = "q4_K"
	c.Types = []Line{{"output", "q6_K"}}
	for i := range c.Layers {
		if i >= 6 && i < 42 && i%3 != 2 {
			continue
		}
		for _, class := range []string{"attn_v", "ffn_down_exps", "ffn_down_shexp"} {
			if class == "attn_v" && c.IsRecurrent(i) {
				continue
			}
			c.Types = append(c.Types, Line{fmt.Sprintf("blk.%d.%s", i, class), "q6_K"})
		}
	}
	return c
}

// headBytes is more than any header of a Config has; what follows is a hole.
const headBytes = 16 << 20

// A headWriter keeps the first bytes and counts the others.
type headWriter struct {
	head []byte
	n    int64
}

func (w *headWriter) Write(p []byte) (int, error) {
	w.head = append(w.head, p[:min(len(p), headBytes-len(w.head))]...)
	w.n += int64(len(p))
	return len(p), nil
}

// WriteSparse writes the model's header to path and makes the file as long as
// the model, with a hole where the weights would be: for what reads headers only.
func (c *Config) WriteSparse(path string) error {
	kvs, tensors, err := c.content()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for i := range tensors {
		size, _, err := gguf.TensorBytes(tensors[i].Type, tensors[i].Dims)
		if err != nil {
			return err
		}
		tensors[i].Write = func(w io.Writer) error {
			for left := size; left > 0; {
				n, err := w.Write(zeros[:min(left, uint64(len(zeros)))])
				if err != nil {
					return err
				}
				left -= uint64(n)
			}
			return nil
		}
	}
	w := &headWriter{}
	if err := gguf.Write(w, kvs, tensors); err != nil {
		return err
	}
	if err := os.WriteFile(path, w.head, 0o644); err != nil {
		return err
	}
	return os.Truncate(path, w.n)
}
