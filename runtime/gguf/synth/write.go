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
	return c.WriteFileProgress(path, func(done, total uint64) error { return nil })
}

// WriteFileProgress is WriteFile that calls progress with the bytes of tensors
// written and to write, every few hundred kilobytes; its error ends the writing.
func (c *Config) WriteFileProgress(path string, progress func(done, total uint64) error) error {
	kvs, tensors, err := c.content()
	if err != nil {
		return err
	}
	m := &meter{progress: progress}
	for i := range tensors {
		size, _, err := gguf.TensorBytes(tensors[i].Type, tensors[i].Dims)
		if err != nil {
			return err
		}
		m.total += size
		write := tensors[i].Write
		tensors[i].Write = func(w io.Writer) error { return write(&metered{w, m}) }
	}
	return gguf.WriteFile(path, kvs, tensors)
}

// A meter counts what is written to all tensors.
type meter struct {
	done, total uint64
	progress    func(done, total uint64) error
}

type metered struct {
	w io.Writer
	m *meter
}

func (w *metered) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.m.done += uint64(n)
	if err == nil {
		err = w.m.progress(w.m.done, w.m.total)
	}
	return n, err
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
