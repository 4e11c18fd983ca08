package synth

import (
	"io"
	"os"

	"qnc/runtime/gguf"
)

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
