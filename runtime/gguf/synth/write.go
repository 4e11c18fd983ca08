package synth

import (
	"io"

	"qnc/runtime/gguf"
)

// Write writes the model as a GGUF file. It encodes on all processors and
// holds a few megabytes, whatever the size of the model.
func (c *Config) Write(w io.Writer) error {
	kvs, tensors, err := c.content()
	if err != nil {
		return err
	}
	return gguf.Write(w, kvs, tensors)
}

// WriteFile writes the model to path, which is either complete or untouched.
func (c *Config) WriteFile(path string) error {
	kvs, tensors, err := c.content()
	if err != nil {
		return err
	}
	return gguf.WriteFile(path, kvs, tensors)
}

func (c *Config) content() ([]gguf.KV, []gguf.TensorSource, error) {
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	kvs, err := c.metadata()
	if err != nil {
		return nil, nil, err
	}
	specs, err := c.specs()
	if err != nil {
		return nil, nil, err
	}
	tensors := make([]gguf.TensorSource, len(specs))
	for i := range specs {
		s := &specs[i]
		tensors[i] = gguf.TensorSource{
			Name: s.name, Type: gguf.Type(s.kind.GGML), Dims: s.dims,
			Write: func(w io.Writer) error { return s.write(w, c.Seed) },
		}
	}
	return kvs, tensors, nil
}
