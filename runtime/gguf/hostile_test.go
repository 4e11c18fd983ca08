package gguf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A header builds headers that Write would refuse.
type header struct{ bytes.Buffer }

func newHeader(version uint32, nTensors, nKeys uint64) *header {
	h := new(header)
	h.WriteString(magic)
	return h.u32(version).u64(nTensors).u64(nKeys)
}

func (h *header) u32(v uint32) *header { h.Write(le.AppendUint32(nil, v)); return h }
func (h *header) u64(v uint64) *header { h.Write(le.AppendUint64(nil, v)); return h }
func (h *header) str(s string) *header { h.u64(uint64(len(s))).WriteString(s); return h }
func (h *header) raw(b ...byte) *header {
	h.Write(b)
	return h
}

func (h *header) kv(key string, k Kind) *header { return h.str(key).u32(uint32(k)) }

func (h *header) tensor(name string, t Type, offset uint64, dims ...uint64) *header {
	h.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		h.u64(d)
	}
	return h.u32(uint32(t)).u64(offset)
}

// pad appends n zero bytes.
func (h *header) pad(n int) *header { h.Write(make([]byte, n)); return h }

func (h *header) nested(depth int) *header {
	h.kv("a", KindArray)
	for range depth {
		h.u32(uint32(KindArray)).u64(1)
	}
	return h.u32(uint32(KindUint8)).u64(0)
}

const huge = 1 << 62

var hostile = []struct {
	name, want string
	data       *header
}{
	{"empty", "is empty", new(header)},
	{"short magic", `not a GGUF file: starts with "GG"`, new(header).raw('G', 'G')},
	{"other magic", `not a GGUF file: starts with "\x7fELF"`, new(header).raw(0x7f, 'E', 'L', 'F', 2)},
	{"lfs", "Git LFS pointer", new(header).raw([]byte("version https://git-lfs.github.com/spec/v1\n")...)},
	{"html", "is a web page", new(header).raw([]byte("<!DOCTYPE html>")...)},
	{"ggml", "is an old GGML file", new(header).raw([]byte("tjgg")...).u32(3)},
	{"safetensors", "is a safetensors file", new(header).u64(2).raw([]byte("{} ")...)},
	{"only magic", "has only 4 bytes: the file is truncated", new(header).raw([]byte(magic)...)},
	{"no counts", "has only 16 bytes", new(header).raw([]byte(magic)...).u32(3).u64(0)},
	{"big endian", "is a big-endian GGUF", newHeader(3<<24, 0, 0)},
	{"version 0", "big-endian", newHeader(0, 0, 0)},
	{"version 1", "is GGUF version 1,", newHeader(1, 0, 0)},
	{"version 4", "is GGUF version 4,", newHeader(4, 0, 0)},

	{"many keys", "claims 4611686018427387904 keys", newHeader(3, 0, huge).pad(100)},
	{"many tensors", "claims 4611686018427387904 tensors", newHeader(3, huge, 0).pad(100)},
	{"all ones", "claims 18446744073709551615 keys", newHeader(3, 1<<64-1, 1<<64-1).pad(100)},
	{"keys past the end", "need 56000 bytes or more, 100 remain: the file is truncated", newHeader(3, 0, 4000).pad(100)},
	{"tensors past the end", "need 528000 bytes or more, 100 remain", newHeader(3, 16000, 0).pad(100)},

	{"key too long", "key 1 of 1: needs 4611686018427387904 bytes at byte 32", newHeader(3, 0, 1).u64(huge).pad(100)},
	{"key long", "key 1 of 1: a string of 256 bytes, at most 255", newHeader(3, 0, 1).str(strings.Repeat("k", 256)).pad(100)},
	{"key empty", "key 1 of 1: the name is empty", newHeader(3, 0, 1).str("").pad(100)},
	{"key not UTF-8", "key 1 of 1: the name is not UTF-8", newHeader(3, 0, 1).str("\xff").pad(100)},
	{"key with newline", "key 1 of 1: the name holds characters", newHeader(3, 0, 1).str("a\x1b[2J").pad(100)},
	{"key twice", "key a: is there twice", newHeader(3, 0, 2).kv("a", KindUint8).raw(1).kv("a", KindUint8).raw(2).pad(100)},
	{"unknown kind", "key a: kind(13) is no kind", newHeader(3, 0, 1).kv("a", 13).pad(100)},
	{"huge kind", "key a: kind(4294967295) is no kind", newHeader(3, 0, 1).kv("a", 1<<32-1).pad(100)},
	{"odd bool", "key a: 2 is not a bool", newHeader(3, 0, 1).kv("a", KindBool).raw(2).pad(100)},
	{"value cut", "key a: needs 8 bytes at byte 37, the file has 40", newHeader(3, 0, 1).kv("a", KindUint64).pad(3)},
	{"string past the end", "key a: needs 4611686018427387904 bytes", newHeader(3, 0, 1).kv("a", KindString).u64(huge).pad(100)},
	{"string wraps", "key a: needs 18446744073709551615 bytes", newHeader(3, 0, 1).kv("a", KindString).u64(1<<64 - 1).pad(100)},

	{"array past the end", "key a: an array of 1000 uint32 values: needs 4000 bytes", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindUint32)).u64(1000).pad(100)},
	{"array of strings overflows", "an array of 2305843009213693952 string values, which no file can hold: ", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindString)).u64(1 << 61).pad(100)},
	{"array overflows", "an array of 4611686018427387904 uint64 values, which no file can hold: ", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindUint64)).u64(huge).pad(100)},
	{"array of strings", "an array of 4611686018427387904 string values", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindString)).u64(huge).pad(100)},
	{"array of arrays", "an array of 4611686018427387904 array values", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindArray)).u64(huge).pad(100)},
	{"array kind", "key a: kind(99) is no kind", newHeader(3, 0, 1).kv("a", KindArray).u32(99).u64(1).pad(100)},
	{"array string cut", "key a: needs 50 bytes", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindString)).u64(1).u64(50).pad(10)},
	{"array nested", "key a: arrays nest deeper than 4", newHeader(3, 0, 1).nested(5).pad(100)},
	{"array nested deep", "key a: arrays nest deeper than 4", newHeader(3, 0, 1).nested(5000)},
	{"array too many", "an array of 4194305 values, at most 4194304", newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindUint8)).u64(maxElems + 1).pad(maxElems + 1)},
	{"string too long", "a string of 16777217 bytes, at most 16777216", newHeader(3, 0, 1).kv("a", KindString).u64(maxString + 1).pad(maxString + 1)},

	{"alignment kind", "general.alignment: is not a uint32", newHeader(3, 0, 1).kv(keyAlignment, KindUint64).u64(32)},
	{"alignment 0", "general.alignment: is not a uint32 power of two", newHeader(3, 0, 1).kv(keyAlignment, KindUint32).u32(0)},
	{"alignment 24", "general.alignment: is not a uint32 power of two", newHeader(3, 0, 1).kv(keyAlignment, KindUint32).u32(24)},
	{"alignment 2^31", "general.alignment: is not a uint32 power of two", newHeader(3, 0, 1).kv(keyAlignment, KindUint32).u32(1 << 31)},

	{"tensor name", "tensor 1 of 1: the name is empty", newHeader(3, 1, 0).tensor("", TypeF32, 0, 1).pad(100)},
	{"tensor twice", "tensor t: is there twice", newHeader(3, 2, 0).tensor("t", TypeF32, 0, 1).tensor("t", TypeF32, 32, 1).pad(100)},
	{"no dims", "tensor t: 0 dimensions, want 1 to 4", newHeader(3, 1, 0).tensor("t", TypeF32, 0).pad(100)},
	{"5 dims", "tensor t: 5 dimensions, want 1 to 4", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1, 1, 1, 1, 1).pad(100)},
	{"many dims", "tensor t: 4294967295 dimensions", newHeader(3, 1, 0).str("t").u32(1<<32 - 1).pad(100)},
	{"dim 0", "tensor t: dimension 1 is 0", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 4, 0).pad(100)},
	{"elements overflow", "tensor t: shape [4294967296 4294967296] overflows", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1<<32, 1<<32).pad(100)},
	{"elements wrap to 0", "overflows 63 bits", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1<<32, 1<<32, 1).pad(100)},
	{"bytes overflow", "tensor t: shape [4611686018427387904] of type f32 overflows", newHeader(3, 1, 0).tensor("t", TypeF32, 0, huge).pad(100)},
	{"negative dim", "overflows 63 bits", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1<<64-1).pad(100)},
	{"half a block", "tensor t: rows of 255 elements are not whole blocks of 256 (q4_K)", newHeader(3, 1, 0).tensor("t", TypeQ4_K, 0, 255, 256).pad(100)},
	{"removed type", "tensor t: type q4_2 (4) is no longer part of ggml", newHeader(3, 1, 0).tensor("t", 4, 0, 32).pad(100)},
	{"unknown type", "tensor t: type 4294967295 is unknown: convert", newHeader(3, 1, 0).tensor("t", 1<<32-1, 0, 32).pad(100)},
	{"misaligned", "tensor t: offset 16 is not a multiple of 32", newHeader(3, 1, 0).tensor("t", TypeF32, 16, 1).pad(100)},
	{"offset wraps", "tensor t: offset 18446744073709551584 overflows", newHeader(3, 1, 0).tensor("t", TypeF32, 1<<64-32, 1).pad(100)},
	{"offset past the end", "tensor t: offset 1088 + 4 bytes exceeds the file (157 bytes): the file is truncated; download it again", newHeader(3, 1, 0).tensor("t", TypeF32, 1024, 1).pad(100)},
	{"data cut", "tensor t: offset 64 + 400 bytes exceeds the file", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 100).pad(99)},
	{"no data", "tensor data starts at byte 64, the file has 57: the file is truncated", newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1)},
	{"overlap", "tensor b: shares bytes with tensor a", newHeader(3, 2, 0).tensor("a", TypeF32, 0, 9).tensor("b", TypeF32, 32, 1).pad(200)},
	{"overlap backwards", "tensor a: shares bytes with tensor b", newHeader(3, 2, 0).tensor("a", TypeF32, 32, 1).tensor("b", TypeF32, 0, 9).pad(200)},
	{"same bytes", "shares bytes with tensor", newHeader(3, 2, 0).tensor("a", TypeF32, 0, 1).tensor("b", TypeF32, 0, 1).pad(200)},
}

func TestHostile(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.data.Bytes(), "m.gguf")
			checkFault(t, err, tt.want)
			if err != nil && !strings.HasPrefix(err.Error(), "m.gguf: ") {
				t.Errorf("error %q does not name the file", err)
			}
		})
	}
}

// Sound headers that look odd must be read.
func TestOdd(t *testing.T) {
	for name, h := range map[string]*header{
		"version 2":       newHeader(2, 1, 0).tensor("t", TypeF32, 0, 1).pad(100),
		"nothing":         newHeader(3, 0, 0),
		"nested arrays":   newHeader(3, 0, 1).nested(3),
		"out of order":    newHeader(3, 2, 0).tensor("a", TypeF32, 32, 1).tensor("b", TypeF32, 0, 8).pad(200),
		"a gap":           newHeader(3, 2, 0).tensor("a", TypeF32, 0, 1).tensor("b", TypeF32, 64, 1).pad(200),
		"exactly the end": newHeader(3, 1, 0).tensor("t", TypeF32, 0, 1).pad(7 + 4),
		"bytes after":     newHeader(3, 0, 0).pad(1000),
	} {
		f, err := Parse(h.Bytes(), name)
		if err != nil {
			t.Error(err)
			continue
		}
		touch(t, f)
	}
}

// Each prefix of a sound file is an error, never a panic.
func TestEveryTruncation(t *testing.T) {
	data := encode(t, sampleKVs, sampleTensors())
	last := sampleTensors()[4]
	size, _, _ := TensorBytes(last.Type, last.Dims)
	f, err := Parse(data, "m")
	if err != nil {
		t.Fatal(err)
	}
	end := int(f.Tensors()[4].Offset + size)
	for n := range end {
		if _, err := Parse(data[:n:n], "m"); err == nil {
			t.Fatalf("%d of %d bytes were taken for a whole file", n, end)
		}
	}
}

// What a header claims costs nothing before it is checked.
func TestAllocation(t *testing.T) {
	const bound = 8 << 20
	big := newHeader(3, maxTensors, 0)
	for i := range maxTensors {
		big.tensor(fmt.Sprintf("%0*d", maxName, i), TypeF32, uint64(i)*32, 1)
	}
	keys := newHeader(3, 0, maxKeys)
	for i := range maxKeys {
		keys.kv(fmt.Sprintf("%0*d", maxName, i), KindUint8).raw(0)
	}
	long := newHeader(3, 0, 1).kv("a", KindArray).u32(uint32(KindString)).u64(maxElems)
	long.pad(8 * maxElems)
	cases := append(hostile[:len(hostile):len(hostile)], []struct {
		name, want string
		data       *header
	}{
		{"all tensors", "exceeds the file", big},
		{"all keys", "", keys},
		{"long array", "", long},
	}...)
	for _, tt := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Parse(tt.data.Bytes(), "m")
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > bound {
			t.Errorf("%s: %d bytes allocated", tt.name, n)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.gguf")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                             "is a folder: give the .gguf file in it",
		empty:                           "is empty",
		filepath.Join(dir, "none.gguf"): "there is no such file",
	} {
		_, err := Open(path)
		checkFault(t, err, path+": "+want)
	}
}
