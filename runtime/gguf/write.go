package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A KV is one metadata entry to write. Value is of a GGUF kind's Go type
// (uint8 … uint64, int8 … int64, float32, float64, bool, string), a slice of
// one of them, or a Raw that another file gave.
type KV struct {
	Key   string
	Value any
}

// Raw is a value in its encoded form, for copies from file to file. Its bytes
// are part of the file that it came from and end with it.
type Raw struct {
	kind Kind
	data []byte
}

// A TensorSource is one tensor to write; Write must write exactly the bytes
// that Type and Dims (fastest first) ask for.
type TensorSource struct {
	Name  string
	Type  Type
	Dims  []uint64
	Write func(w io.Writer) error
}

const defaultAlign = 32

// Write writes a GGUF file of version 3: kvs and tensors in the given order,
// nothing added. general.alignment among kvs is obeyed.
func Write(w io.Writer, kvs []KV, tensors []TensorSource) error {
	return Guard(func() error { return write(w, kvs, tensors) })
}

func write(w io.Writer, kvs []KV, tensors []TensorSource) error {
	if len(kvs) > maxKeys || len(tensors) > maxTensors {
		return fmt.Errorf("%d keys and %d tensors: a file holds at most %d and %d", len(kvs), len(tensors), maxKeys, maxTensors)
	}
	align := uint64(defaultAlign)
	head := append([]byte(nil), magic...)
	head = le.AppendUint32(head, 3)
	head = le.AppendUint64(head, uint64(len(tensors)))
	head = le.AppendUint64(head, uint64(len(kvs)))

	seen := make(map[string]bool, len(kvs)+len(tensors))
	for _, kv := range kvs {
		if err := checkName("key", kv.Key, seen); err != nil {
			return err
		}
		head = appendString(head, kv.Key)
		value := len(head)
		var err error
		if head, err = appendValue(head, kv.Value); err != nil {
			return fmt.Errorf("key %s: %w", kv.Key, err)
		}
		if kv.Key == keyAlignment {
			kind, v := le.Uint32(head[value:]), head[value+4:]
			if Kind(kind) != KindUint32 || !validAlign(word(KindUint32, v)) {
				return fmt.Errorf("key %s: is not a uint32 power of two up to %d", kv.Key, maxAlign)
			}
			align = word(KindUint32, v)
		}
	}

	clear(seen)
	sizes := make([]uint64, len(tensors))
	offset := uint64(0)
	for i, t := range tensors {
		if err := checkName("tensor", t.Name, seen); err != nil {
			return err
		}
		size, _, err := TensorBytes(t.Type, t.Dims)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		sizes[i] = size
		head = appendString(head, t.Name)
		head = le.AppendUint32(head, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			head = le.AppendUint64(head, d)
		}
		head = le.AppendUint32(head, uint32(t.Type))
		head = le.AppendUint64(head, offset)
		end, ok := add(offset, size)
		if ok {
			offset, ok = alignUp(end, align)
		}
		if !ok {
			return fmt.Errorf("tensor %s: the file would pass 63 bits", t.Name)
		}
	}
	if len(head) > maxHeader {
		return fmt.Errorf("a header of %d bytes: at most %d can be read back", len(head), maxHeader)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	if len(tensors) == 0 {
		return nil
	}
	pad := make([]byte, align)
	end := uint64(len(head))
	for i, t := range tensors {
		if _, err := w.Write(pad[:-end&(align-1)]); err != nil {
			return err
		}
		c := counter{w: w}
		if err := t.Write(&c); err != nil {
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if c.n != sizes[i] {
			return fmt.Errorf("tensor %s: wrote %d bytes, its shape needs %d", t.Name, c.n, sizes[i])
		}
		end = sizes[i] // what came before it is aligned
	}
	// ggml wants the last tensor padded as well.
	_, err := w.Write(pad[:-end&(align-1)])
	return err
}

// WriteFile writes path through a temporary file beside it, so that path is
// either complete or untouched.
func WriteFile(path string, kvs []KV, tensors []TensorSource) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err = Write(w, kvs, tensors); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}

func checkName(what, name string, seen map[string]bool) error {
	if bad := nameFault(name); bad != "" {
		return fmt.Errorf("%s %q: the name %s", what, name, bad)
	}
	if seen[name] {
		return fmt.Errorf("%s %s is given twice", what, name)
	}
	seen[name] = true
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends kind and value.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case Raw:
		return append(le.AppendUint32(b, uint32(v.kind)), v.data...), nil
	case string:
		if len(v) > maxString {
			return nil, fmt.Errorf("a string of %d bytes, at most %d can be read back", len(v), maxString)
		}
		return appendString(le.AppendUint32(b, uint32(KindString)), v), nil
	case []string:
		b, err := appendArray(b, KindString, len(v))
		for _, s := range v {
			if len(s) > maxString {
				return nil, fmt.Errorf("a string of %d bytes, at most %d can be read back", len(s), maxString)
			}
			b = appendString(b, s)
		}
		return b, err
	}
	kind, n, err := kindOf(v)
	if err != nil {
		return nil, err
	}
	if n < 0 {
		b = le.AppendUint32(b, uint32(kind))
	} else if b, err = appendArray(b, kind, n); err != nil {
		return nil, err
	}
	return binary.Append(b, le, v)
}

func appendArray(b []byte, elem Kind, n int) ([]byte, error) {
	if n > maxElems {
		return nil, fmt.Errorf("an array of %d values, at most %d can be read back", n, maxElems)
	}
	b = le.AppendUint32(b, uint32(KindArray))
	b = le.AppendUint32(b, uint32(elem))
	return le.AppendUint64(b, uint64(n)), nil
}

// kindOf returns the kind of a fixed-size value, or of a slice's elements and its length; n < 0: no slice.
func kindOf(v any) (k Kind, n int, err error) {
	switch v := v.(type) {
	case uint8:
		return KindUint8, -1, nil
	case int8:
		return KindInt8, -1, nil
	case uint16:
		return KindUint16, -1, nil
	case int16:
		return KindInt16, -1, nil
	case uint32:
		return KindUint32, -1, nil
	case int32:
		return KindInt32, -1, nil
	case float32:
		return KindFloat32, -1, nil
	case bool:
		return KindBool, -1, nil
	case uint64:
		return KindUint64, -1, nil
	case int64:
		return KindInt64, -1, nil
	case float64:
		return KindFloat64, -1, nil
	case []uint8:
		return KindUint8, len(v), nil
	case []int8:
		return KindInt8, len(v), nil
	case []uint16:
		return KindUint16, len(v), nil
	case []int16:
		return KindInt16, len(v), nil
	case []uint32:
		return KindUint32, len(v), nil
	case []int32:
		return KindInt32, len(v), nil
	case []float32:
		return KindFloat32, len(v), nil
	case []bool:
		return KindBool, len(v), nil
	case []uint64:
		return KindUint64, len(v), nil
	case []int64:
		return KindInt64, len(v), nil
	case []float64:
		return KindFloat64, len(v), nil
	}
	return 0, 0, fmt.Errorf("a Go %T has no GGUF kind", v)
}
