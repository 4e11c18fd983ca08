package gguf

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

const example = "../../examples/gopher-17m-q4_k_m.gguf"

var sampleKVs = []KV{
	{"general.architecture", "test"},
	{"u8", uint8(200)}, {"i8", int8(-100)},
	{"u16", uint16(60000)}, {"i16", int16(-30000)},
	{"u32", uint32(4e9)}, {"i32", int32(-2e9)},
	{"u64", uint64(1) << 63}, {"i64", int64(math.MinInt64)},
	{"f32", float32(0.1)}, {"f64", 1e-300},
	{"yes", true}, {"no", false},
	{"empty", ""}, {"text", "größer\nline"},
	{"a.u8", []uint8{1, 2}}, {"a.i8", []int8{-1, 2}},
	{"a.u16", []uint16{1, 65535}}, {"a.i16", []int16{-1, 2}},
	{"a.u32", []uint32{1, 1 << 31}}, {"a.i32", []int32{-1, 2}},
	{"a.u64", []uint64{1 << 63}}, {"a.i64", []int64{-1}},
	{"a.f32", []float32{0.5, -1}}, {"a.f64", []float64{1e300}},
	{"a.bool", []bool{true, false}}, {"a.str", []string{"", "x", "yz"}},
	{"a.none", []string{}},
}

func sampleTensors() []TensorSource {
	src := func(name string, t Type, dims ...uint64) TensorSource {
		size, _, err := TensorBytes(t, dims)
		if err != nil {
			panic(err)
		}
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i*7 + len(name))
		}
		return TensorSource{name, t, dims, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		}}
	}
	return []TensorSource{
		src("one", TypeF32, 1),
		src("row", TypeQ8_0, 64),
		src("matrix", TypeQ4_K, 256, 3),
		src("experts", TypeF16, 2, 3, 5),
		src("four", TypeI8, 1, 2, 3, 1),
	}
}

// encode writes a file into memory.
func encode(t testing.TB, kvs []KV, tensors []TensorSource) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, align := range []uint32{0, 1, 8, 32, 64, 4096} {
		kvs := slices.Clone(sampleKVs)
		if align > 0 {
			kvs = append(kvs, KV{keyAlignment, align})
		}
		data := encode(t, kvs, sampleTensors())
		f, err := Parse(data, "mem")
		if err != nil {
			t.Fatalf("alignment %d: %v", align, err)
		}
		if want := uint64(max(align, 1)); align > 0 && f.Alignment() != want {
			t.Errorf("alignment %d, want %d", f.Alignment(), want)
		}
		for i, src := range sampleTensors() {
			got := f.Tensors()[i]
			var want bytes.Buffer
			if err := src.Write(&want); err != nil {
				t.Fatal(err)
			}
			if got.Name != src.Name || got.Type != src.Type || !slices.Equal(got.Dims, src.Dims) || got.Offset%f.Alignment() != 0 {
				t.Errorf("alignment %d: tensor %d is %+v", align, i, got)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("alignment %d: tensor %s: other bytes", align, src.Name)
			}
		}
		// Copied as it is encoded, it is the same file.
		if again := encode(t, rawKVs(f), sampleTensors()); !bytes.Equal(again, data) {
			t.Errorf("alignment %d: raw copy differs", align)
		}
	}
}

func rawKVs(f *File) []KV {
	var kvs []KV
	for _, key := range f.Keys() {
		kv, _ := f.Raw(key)
		kvs = append(kvs, kv)
	}
	return kvs
}

func TestGetters(t *testing.T) {
	f, err := Parse(encode(t, sampleKVs, nil), "mem")
	if err != nil {
		t.Fatal(err)
	}
	wide := map[string]any{ // Value's Go type of each key
		"general.architecture": "test",
		"u8":                   uint64(200), "i8": int64(-100), "u16": uint64(60000), "i16": int64(-30000),
		"u32": uint64(4e9), "i32": int64(-2e9), "u64": uint64(1) << 63, "i64": int64(math.MinInt64),
		"f32": float64(float32(0.1)), "f64": 1e-300, "yes": true, "no": false, "empty": "", "text": "größer\nline",
		"a.u8": []int64{1, 2}, "a.i8": []int64{-1, 2}, "a.u16": []int64{1, 65535}, "a.i16": []int64{-1, 2},
		"a.u32": []int64{1, 1 << 31}, "a.i32": []int64{-1, 2}, "a.i64": []int64{-1},
		"a.f32": []float64{0.5, -1}, "a.f64": []float64{1e300},
		"a.bool": []bool{true, false}, "a.str": []string{"", "x", "yz"}, "a.none": []string{},
	}
	for _, key := range f.Keys() {
		if key == "a.u64" {
			continue // out of range, below
		}
		got, ok, err := f.Value(key)
		if !ok || err != nil || !reflect.DeepEqual(got, wide[key]) {
			t.Errorf("Value(%s) = %#v, %v, %v; want %#v", key, got, ok, err, wide[key])
		}
	}
	if n, ok, err := f.Len("a.str"); n != 3 || !ok || err != nil {
		t.Errorf("Len(a.str) = %d, %v, %v", n, ok, err)
	}
	if v, ok, err := f.Int("u32"); v != 4e9 || !ok || err != nil {
		t.Errorf("Int(u32) = %d, %v, %v", v, ok, err)
	}
	if v, ok, err := f.Uint("i8"); !ok || err == nil {
		t.Errorf("Uint(i8) = %d, %v, %v", v, ok, err)
	}
	if _, ok, err := f.Float("absent"); ok || err != nil {
		t.Errorf("Float(absent): %v, %v", ok, err)
	}

	wrong := map[string]func() error{
		`key i8: is -100, must not be negative`:                 func() error { _, _, err := f.Uint("i8"); return err },
		`key u64: 9223372036854775808 is out of range`:          func() error { _, _, err := f.Int("u64"); return err },
		`key a.u64: value 0: 9223372036854775808 is out of`:     func() error { _, _, err := f.Ints("a.u64"); return err },
		`key text: is of kind string, want an integer`:          func() error { _, _, err := f.Uint("text"); return err },
		`key u8: is of kind uint8, want a string`:               func() error { _, _, err := f.String("u8"); return err },
		`key u8: is of kind uint8, want a float`:                func() error { _, _, err := f.Float("u8"); return err },
		`key u8: is of kind uint8, want a bool`:                 func() error { _, _, err := f.Bool("u8"); return err },
		`key u8: is of kind uint8, want an array of strings`:    func() error { _, _, err := f.Strings("u8"); return err },
		`key a.u8: is an array of kind uint8, want strings`:     func() error { _, _, err := f.Strings("a.u8"); return err },
		`key a.str: is an array of kind string, want integers`:  func() error { _, _, err := f.Ints("a.str"); return err },
		`key a.str: is an array of kind string, want floats`:    func() error { _, _, err := f.Floats("a.str"); return err },
		`key a.u8: is an array of kind uint8, want bools`:       func() error { _, _, err := f.Bools("a.u8"); return err },
		`key text: is of kind string, want an array: convert`:   func() error { _, _, err := f.Len("text"); return err },
		`mem: key a.f32: is an array of kind float32, want int`: func() error { _, _, err := f.Ints("a.f32"); return err },
	}
	for want, get := range wrong {
		checkFault(t, get(), want)
	}

	f.Close()
	_, _, err = f.Strings("a.str")
	checkFault(t, err, "the file was closed")
}

// checkFault wants an error of code fault.Model, in one line, that holds want.
func checkFault(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want %q", want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want %q", err, want)
	case fault.CodeOf(err) != fault.Model:
		t.Errorf("error %q has code %d", err, fault.CodeOf(err))
	case strings.ContainsAny(err.Error(), "\n\r\x1b"):
		t.Errorf("error %q is not one clean line", err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := []TensorSource{{"t", TypeF32, []uint64{4}, func(w io.Writer) error { return fmt.Errorf("no data") }}}
	if err := WriteFile(path, nil, bad); err == nil || err.Error() != "tensor t: no data" {
		t.Fatalf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Fatalf("a failed write left %q", b)
	}
	if err := WriteFile(path, sampleKVs, sampleTensors()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(path + ".tmp-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors()) != 5 || f.Version() != 3 || f.Path() != path || !f.Has("yes") || f.Has("absent") {
		t.Errorf("read back: %d tensors, version %d", len(f.Tensors()), f.Version())
	}
	if tensor, ok := f.Tensor("matrix"); !ok || tensor.Path() != path || tensor.Elems != 768 || tensor.Size != 3*144 {
		t.Errorf("matrix: %+v", tensor)
	}
	if _, ok := f.Tensor("absent"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestWriteRefuses(t *testing.T) {
	nothing := func(io.Writer) error { return nil }
	tests := []struct {
		want    string
		kvs     []KV
		tensors []TensorSource
	}{
		{`key a is given twice`, []KV{{"a", true}, {"a", false}}, nil},
		{`key "": the name is empty`, []KV{{"", true}}, nil},
		{`key "a\nb": the name holds characters that do not print`, []KV{{"a\nb", true}}, nil},
		{`key a: a Go int has no GGUF kind`, []KV{{"a", 1}}, nil},
		{`key a: a Go <nil> has no GGUF kind`, []KV{{"a", nil}}, nil},
		{`power of two`, []KV{{keyAlignment, uint32(24)}}, nil},
		{`power of two`, []KV{{keyAlignment, int32(32)}}, nil},
		{`tensor t is given twice`, nil, []TensorSource{{"t", TypeI8, []uint64{32}, writeN(32)}, {"t", TypeI8, []uint64{32}, writeN(32)}}},
		{`tensor t: dimension 0 is 0`, nil, []TensorSource{{"t", TypeF32, []uint64{0}, nothing}}},
		{`tensor t: 0 dimensions`, nil, []TensorSource{{"t", TypeF32, nil, nothing}}},
		{`tensor t: rows of 33 elements are not whole blocks of 32 (q8_0)`, nil, []TensorSource{{"t", TypeQ8_0, []uint64{33}, nothing}}},
		{`tensor t: wrote 0 bytes, its shape needs 4`, nil, []TensorSource{{"t", TypeF32, []uint64{1}, nothing}}},
		{`tensor t: wrote 5 bytes, its shape needs 4`, nil, []TensorSource{{"t", TypeF32, []uint64{1}, writeN(5)}}},
	}
	for _, tt := range tests {
		if err := Write(io.Discard, tt.kvs, tt.tensors); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func writeN(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(make([]byte, n))
		return err
	}
}

// TestTypes compares the table with the structs of ggml-common.h, field by field.
func TestTypes(t *testing.T) {
	const half, k = 2, 256
	bytesOf := map[string]int{
		"f32": 4, "f16": 2, "bf16": 2, "f64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8,
		"q1_0": half + 128/8, "q2_0": half + 64/4,
		"q4_0": half + 32/2, "q4_1": 2*half + 32/2, "q5_0": half + 4 + 32/2, "q5_1": 2*half + 4 + 32/2,
		"q8_0": half + 32, "q8_1": 2*half + 32,
		"q2_K": 2*half + k/16 + k/4, "q3_K": half + k/4 + k/8 + 12, "q4_K": 2*half + 12 + k/2,
		"q5_K": 2*half + 12 + k/2 + k/8, "q6_K": half + k/16 + 3*k/4, "q8_K": 4 + k + k/16*2,
		"iq2_xxs": half + k/8*2, "iq2_xs": half + k/8*2 + k/32, "iq2_s": half + k/4 + k/16,
		"iq3_xxs": half + 3*k/8, "iq3_s": half + 13*k/32 + k/64,
		"iq1_s": half + k/8 + k/16, "iq1_m": k/8 + k/16 + k/32,
		"iq4_nl": half + 32/2, "iq4_xs": half + 2 + k/64 + k/2,
		"tq1_0": half + k/64 + (k-4*k/64)/5, "tq2_0": half + k/4,
		"mxfp4": 1 + 32/2, "nvfp4": 64/16 + 64/2,
	}
	known := 0
	for id := range uint32(100) {
		info, ok := Type(id).Info()
		if !ok {
			continue
		}
		known++
		if info.BlockBytes != bytesOf[info.Name] {
			t.Errorf("%s: blocks of %d bytes, want %d", info.Name, info.BlockBytes, bytesOf[info.Name])
		}
		if back, ok := TypeByName(info.Name); !ok || back != Type(id) {
			t.Errorf("%s: found as %d, want %d", info.Name, back, id)
		}
	}
	if known != len(bytesOf) {
		t.Errorf("%d types, want %d", known, len(bytesOf))
	}
	for _, name := range []string{"q4_2", "Q4_K", "", "iq4_nl_4_4"} {
		if _, ok := TypeByName(name); ok {
			t.Errorf("%q is no type, but was found", name)
		}
	}
	if s := Type(1 << 31).String(); s != "type(2147483648)" {
		t.Error(s)
	}
	for id, want := range map[uint64]string{15: "Q4_K - Medium", 0: "all F32", 4: "file type 4", 1 << 40: "file type 1099511627776"} {
		if got := FileTypeName(id); got != want {
			t.Errorf("FileTypeName(%d) = %q, want %q", id, got, want)
		}
	}
}

func TestExample(t *testing.T) {
	f, err := Open(example)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if arch, ok, err := f.String("general.architecture"); arch != "qwen3next" || !ok || err != nil {
		t.Errorf("architecture %q, %v, %v", arch, ok, err)
	}
	if len(f.Tensors()) != 73 {
		t.Errorf("%d tensors", len(f.Tensors()))
	}
	var elems uint64
	for _, tensor := range f.Tensors() {
		elems += tensor.Elems
		if uint64(len(tensor.Bytes())) != tensor.Size {
			t.Errorf("%s: %d bytes, want %d", tensor.Name, len(tensor.Bytes()), tensor.Size)
		}
	}
	if elems != 17346160 {
		t.Errorf("%d parameters", elems)
	}
}
