package gguf

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"testing"
)

// touch reads all that a file offers.
func touch(t *testing.T, f *File) {
	for _, key := range f.Keys() {
		f.Value(key)
		f.Uint(key)
		f.Int(key)
		f.Float(key)
		f.Bool(key)
		f.String(key)
		f.Len(key)
		f.Strings(key)
		f.Ints(key)
		f.Floats(key)
		f.Bools(key)
	}
	sum := byte(0)
	for i := range f.Tensors() {
		b := f.Tensors()[i].Bytes()
		if uint64(len(b)) != f.Tensors()[i].Size {
			t.Fatalf("tensor %d: %d bytes, want %d", i, len(b), f.Tensors()[i].Size)
		}
		for _, v := range b {
			sum ^= v
		}
	}
	if r, err := Inspect(f, InspectOptions{Tensors: true}); err == nil {
		if err := r.Text(io.Discard); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode(f, sampleKVs, sampleTensors()))
	f.Add(encode(f, tokenizerKVs(nil), nil))
	for _, tt := range hostile {
		if tt.data.Len() < 1<<12 {
			f.Add(tt.data.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data, "fuzz")
		if err != nil {
			checkFault(t, err, "fuzz: ")
			return
		}
		touch(t, file)

		// What was read can be written, and reads the same.
		var tensors []TensorSource
		for i := range file.Tensors() {
			s := &file.Tensors()[i]
			tensors = append(tensors, TensorSource{s.Name, s.Type, s.Dims, func(w io.Writer) error {
				_, err := w.Write(s.Bytes())
				return err
			}})
		}
		var b bytes.Buffer
		if err := Write(&b, rawKVs(file), tensors); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b.Bytes(), "again")
		if err != nil {
			t.Fatal(err)
		}
		for i := range file.Tensors() {
			if !bytes.Equal(again.Tensors()[i].Bytes(), file.Tensors()[i].Bytes()) {
				t.Fatalf("tensor %d changed", i)
			}
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("general.name", "value", int64(-1), 0.5, true, uint16(33), byte(5))
	f.Add("k", "", int64(1)<<62, math.Copysign(0, -1), false, uint16(1), byte(0))
	f.Fuzz(func(t *testing.T, key, text string, n int64, x float64, yes bool, width uint16, align byte) {
		kvs := []KV{
			{key, text}, {"an.int", n}, {"a.float", x}, {"a.bool", yes},
			{"an.array", []string{text, key, ""}}, {"ints", []int64{n, -n}},
			{keyAlignment, uint32(1) << (align % 16)},
		}
		row := bytes.Repeat([]byte{align}, int(width))
		var b bytes.Buffer
		err := Write(&b, kvs, []TensorSource{{"w", TypeI8, []uint64{uint64(width)}, func(w io.Writer) error {
			_, err := w.Write(row)
			return err
		}}})
		if err != nil {
			return // refused, such as an empty key or width
		}
		file, err := Parse(b.Bytes(), "m")
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := file.String(key); got != text || err != nil {
			t.Errorf("%q: %q, %v; want %q", key, got, err, text)
		}
		if got, _, err := file.Int("an.int"); got != n || err != nil {
			t.Errorf("%d, %v; want %d", got, err, n)
		}
		if got, _, err := file.Float("a.float"); got != x && x == x || err != nil {
			t.Errorf("%v, %v; want %v", got, err, x)
		}
		if got, _, err := file.Bool("a.bool"); got != yes || err != nil {
			t.Errorf("%v, %v; want %v", got, err, yes)
		}
		if got, _, err := file.Strings("an.array"); len(got) != 3 || got[0] != text || got[1] != key || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got, _, err := file.Ints("ints"); len(got) != 2 || got[0] != n || got[1] != -n || err != nil {
			t.Errorf("%v, %v; want %d and its negative", got, err, n)
		}
		if w, ok := file.Tensor("w"); !ok || !bytes.Equal(w.Bytes(), row) {
			t.Error("the tensor changed")
		}
	})
}
