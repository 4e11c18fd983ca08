package gguf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// writeSplit writes the sample tensors over n files and returns their paths.
func writeSplit(t *testing.T, n int, edit func(no int, kvs []KV) []KV) []string {
	t.Helper()
	dir := t.TempDir()
	tensors := sampleTensors()
	var paths []string
	for i := range n {
		kvs := []KV{{keySplitNo, uint16(i)}, {keySplitCount, uint16(n)}, {keySplitTensors, int32(len(tensors))}}
		if i == 0 {
			kvs = append(kvs, sampleKVs...)
		}
		if edit != nil {
			kvs = edit(i, kvs)
		}
		path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-%05d.gguf", i+1, n))
		// As llama-gguf-split may do: the first file holds metadata only.
		var own []TensorSource
		if i > 0 {
			own = tensors[(i-1)*len(tensors)/(n-1) : i*len(tensors)/(n-1)]
		}
		if err := WriteFile(path, kvs, own); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestSplit(t *testing.T) {
	paths := writeSplit(t, 3, nil)
	f, err := Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, src := range sampleTensors() {
		var want bytes.Buffer
		if err := src.Write(&want); err != nil {
			t.Fatal(err)
		}
		got, ok := f.Tensor(src.Name)
		if !ok || got.Name != f.Tensors()[i].Name || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("tensor %s: %+v", src.Name, got)
		}
	}
	if v, _, err := f.String("text"); v != "größer\nline" || err != nil {
		t.Errorf("metadata: %q, %v", v, err)
	}
	if len(f.Paths()) != 3 || f.Paths()[2] != paths[2] {
		t.Errorf("files: %v", f.Paths())
	}
	last, _ := f.Tensor("four")
	if last.Path() != paths[2] {
		t.Errorf("tensor four is in %s", last.Path())
	}
}

func TestSplitRefuses(t *testing.T) {
	set := func(no int, key string, v any) func(int, []KV) []KV {
		return func(i int, kvs []KV) []KV {
			for j := range kvs {
				if i == no && kvs[j].Key == key {
					kvs[j].Value = v
				}
			}
			return kvs
		}
	}
	move := func(from, to int) func([]string) string {
		return func(paths []string) string {
			to := filepath.Join(filepath.Dir(paths[0]), fmt.Sprintf("other-%d.gguf", to))
			if err := os.Rename(paths[from], to); err != nil {
				panic(err)
			}
			if from == 0 {
				return to
			}
			return paths[0]
		}
	}
	tests := []struct {
		name, want string
		edit       func(int, []KV) []KV
		open       func(paths []string) string
	}{
		{"second file", "is file 2 of a split of 3: give the first one, ", nil, func(p []string) string { return p[1] }},
		{"other name", "does not end in -00001-of-00003.gguf", nil, move(0, 0)},
		{"missing file", "file 3 of 3 of the split: ", nil, move(2, 2)},
		{"wrong number", "is file 3 of a split of 3 by its keys, file 2 of 3 by its name", set(1, keySplitNo, uint16(2)), nil},
		{"number past the count", "key split.no: 3 is not below split.count, 3", set(1, keySplitNo, uint16(3)), nil},
		{"wrong count", "by its keys, file 2 of 3 by its name", set(1, keySplitCount, uint16(4)), nil},
		{"wrong tensors", "key split.tensors.count says 6, the 3 files hold 5 tensors", set(0, keySplitTensors, int32(6)), nil},
		{"negative tensors", "key split.tensors.count: is -1, must not be negative", set(0, keySplitTensors, int32(-1)), nil},
		{"count's kind", "key split.count: is of kind string", set(0, keySplitCount, "3"), nil},
		{"many files", "is a split of 65535 files", set(0, keySplitCount, uint16(65535)), nil},
		{"tensor in two files", "tensor one: is in ", nil, func(p []string) string {
			kvs := []KV{{keySplitNo, uint16(2)}, {keySplitCount, uint16(3)}}
			if err := WriteFile(p[2], kvs, sampleTensors()); err != nil {
				panic(err)
			}
			return p[0]
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			paths := writeSplit(t, 3, tt.edit)
			path := paths[0]
			if tt.open != nil {
				path = tt.open(paths)
			}
			f, err := Open(path)
			checkFault(t, err, tt.want)
			if err == nil {
				f.Close()
			}
			mapped.Lock()
			defer mapped.Unlock()
			if len(mapped.list) != 0 {
				t.Errorf("%d files are still mapped", len(mapped.list))
			}
		})
	}
}
