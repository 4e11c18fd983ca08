package gguf

import (
	"fmt"
	"math"
)

// Getters return ok == false when there is no such key, and an error when its
// value is of another kind or out of range.

// Kind returns the kind of a value and, for an array, of its elements.
func (f *File) Kind(key string) (kind, elem Kind, ok bool) {
	i, ok := f.meta.index[key]
	if !ok {
		return 0, 0, false
	}
	e := &f.meta.entries[i]
	return e.kind, e.elem, true
}

// Uint returns an integer of any kind that is not negative.
func (f *File) Uint(key string) (v uint64, ok bool, err error) {
	e, err := f.scalar(key, "an integer", unsigned, signed)
	if e == nil {
		return 0, false, err
	}
	if kinds[e.kind].class == signed && int64(e.word) < 0 {
		return 0, true, f.errorf("key %s: is %d, must not be negative: %s", key, int64(e.word), damaged)
	}
	return e.word, true, nil
}

// Int returns an integer of any kind that fits int64.
func (f *File) Int(key string) (v int64, ok bool, err error) {
	e, err := f.scalar(key, "an integer", unsigned, signed)
	if e == nil {
		return 0, false, err
	}
	if kinds[e.kind].class == unsigned && e.word > math.MaxInt64 {
		return 0, true, f.errorf("key %s: %d is out of range: %s", key, e.word, damaged)
	}
	return int64(e.word), true, nil
}

// Float returns a float32 or float64.
func (f *File) Float(key string) (v float64, ok bool, err error) {
	e, err := f.scalar(key, "a float", floating)
	if e == nil {
		return 0, false, err
	}
	return float(e.kind, e.word), true, nil
}

// Bool returns a bool.
func (f *File) Bool(key string) (v, ok bool, err error) {
	e, err := f.scalar(key, "a bool", boolean)
	if e == nil {
		return false, false, err
	}
	return e.word != 0, true, nil
}

// String returns a copy of a string.
func (f *File) String(key string) (v string, ok bool, err error) {
	e, err := f.scalar(key, "a string", text)
	if e == nil {
		return "", false, err
	}
	err = f.read(e, func(b []byte) error {
		v = string(b)
		return nil
	})
	return v, true, err
}

// Len returns the number of values in an array.
func (f *File) Len(key string) (n int, ok bool, err error) {
	e, err := f.scalar(key, "an array", array)
	if e == nil {
		return 0, false, err
	}
	return int(e.n), true, nil
}

// Strings returns a copy of an array of strings; all of them share one allocation.
func (f *File) Strings(key string) (v []string, ok bool, err error) {
	e, err := f.array(key, "strings", text)
	if e == nil {
		return nil, false, err
	}
	err = f.read(e, func(b []byte) error {
		all := string(b)
		v = make([]string, e.n)
		for i := range v {
			n := len(all)
			if len(b) >= 8 {
				n = int(min(le.Uint64(b), math.MaxInt32))
			}
			// The lengths were checked at Open; the file may have been rewritten since.
			if len(b) < 8 || n > len(b)-8 {
				return f.errorf("key %s: changed while it was read: open the file again", key)
			}
			v[i] = all[8 : 8+n]
			b, all = b[8+n:], all[8+n:]
		}
		return nil
	})
	if err != nil {
		return nil, true, err
	}
	return v, true, nil
}

// Ints returns an array of integers of any kind that fit int64.
func (f *File) Ints(key string) ([]int64, bool, error) {
	return decode(f, key, "integers", func(k Kind, w uint64) (int64, error) {
		if kinds[k].class == unsigned && w > math.MaxInt64 {
			return 0, fmt.Errorf("%d is out of range", w)
		}
		return int64(w), nil
	}, unsigned, signed)
}

// Floats returns an array of float32 or float64 values.
func (f *File) Floats(key string) ([]float64, bool, error) {
	return decode(f, key, "floats", func(k Kind, w uint64) (float64, error) { return float(k, w), nil }, floating)
}

// Bools returns an array of bools.
func (f *File) Bools(key string) ([]bool, bool, error) {
	return decode(f, key, "bools", func(_ Kind, w uint64) (bool, error) {
		if w > 1 {
			return false, fmt.Errorf("%d is not a bool", w)
		}
		return w == 1, nil
	}, boolean)
}

// Value returns a value as uint64, int64, float64, bool, string, or a slice of one of them.
func (f *File) Value(key string) (v any, ok bool, err error) {
	kind, elem, ok := f.Kind(key)
	if !ok {
		return nil, false, nil
	}
	switch kinds[kind].class {
	case unsigned:
		return first(f.Uint(key))
	case signed:
		return first(f.Int(key))
	case floating:
		return first(f.Float(key))
	case boolean:
		return first(f.Bool(key))
	case text:
		return first(f.String(key))
	}
	switch kinds[elem].class {
	case unsigned, signed:
		return first(f.Ints(key))
	case floating:
		return first(f.Floats(key))
	case boolean:
		return first(f.Bools(key))
	case text:
		return first(f.Strings(key))
	}
	return nil, true, f.errorf("key %s: is an array of arrays: no model needs that", key)
}

func first[T any](v T, ok bool, err error) (any, bool, error) { return v, ok, err }

// Raw returns a key with its value as it is encoded, to be written to another file.
func (f *File) Raw(key string) (kv KV, ok bool) {
	i, ok := f.meta.index[key]
	if !ok || f.meta.data == nil {
		return KV{}, false
	}
	e := &f.meta.entries[i]
	off := e.off
	switch e.kind {
	case KindString:
		off -= 8 // length
	case KindArray:
		off -= 4 + 8 // kind and count
	}
	return KV{key, Raw{e.kind, f.meta.data[off:e.end]}}, true
}

// scalar finds a key whose value is of one of the classes; nil and no error when there is none.
func (f *File) scalar(key, want string, classes ...class) (*entry, error) {
	i, ok := f.meta.index[key]
	if !ok {
		return nil, nil
	}
	e := &f.meta.entries[i]
	for _, c := range classes {
		if kinds[e.kind].class == c {
			return e, nil
		}
	}
	return nil, f.errorf("key %s: is of kind %s, want %s: convert the model again", key, e.kind, want)
}

// array finds an array whose elements are of one of the classes.
func (f *File) array(key, want string, classes ...class) (*entry, error) {
	e, err := f.scalar(key, "an array of "+want, array)
	if e == nil {
		return nil, err
	}
	for _, c := range classes {
		if kinds[e.elem].class == c {
			return e, nil
		}
	}
	return nil, f.errorf("key %s: is an array of kind %s, want %s: convert the model again", key, e.elem, want)
}

// decode converts an array of fixed-size values one by one.
func decode[T any](f *File, key, want string, conv func(Kind, uint64) (T, error), classes ...class) (v []T, ok bool, err error) {
	e, err := f.array(key, want, classes...)
	if e == nil {
		return nil, false, err
	}
	err = f.read(e, func(b []byte) error {
		v = make([]T, e.n)
		size := kinds[e.elem].size
		for i := range v {
			var err error
			if v[i], err = conv(e.elem, word(e.elem, b[i*size:])); err != nil {
				return f.errorf("key %s: value %d: %w: %s", key, i, err, damaged)
			}
		}
		return nil
	})
	if err != nil {
		return nil, true, err
	}
	return v, true, nil
}

// read hands fn the encoded bytes of a string or of an array's elements.
func (f *File) read(e *entry, fn func([]byte) error) error {
	data := f.meta.data
	if data == nil {
		return f.errorf("key %s: the file was closed: open it again", e.key)
	}
	return Guard(func() error { return fn(data[e.off:e.end]) })
}

func float(k Kind, w uint64) float64 {
	if k == KindFloat32 {
		return float64(math.Float32frombits(uint32(w)))
	}
	return math.Float64frombits(w)
}
