package compiler

import (
	"bytes"
	"context"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"qnc/runtime/gguf/synth"
)

var update = flag.Bool("update", false, "rewrite generated/ from its description")

// tiny is the checked-in example of the compiler's output.
const tiny = "../generated/tiny"

// sources are the files of it that people write.
var sources = []string{"model.txt", "machine.qir"}

// tinyModel makes the GGUF of the example in a new folder.
func tinyModel(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tiny, "model.txt"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := synth.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := config.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func tinyOptions(out string) *Options {
	return &Options{Out: out, Ctx: 256, Ubatch: 64, Machine: filepath.Join(tiny, "machine.qir"), TargetCPU: "portable"}
}

// emitTiny returns the files that a compile into a new folder writes.
func emitTiny(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	o := tinyOptions("tiny")
	o.StopAfter, o.DryRun = Emit, true // go build checks the types below
	for kind, file := range map[string]string{"graph": "graph.qir", "plan": "plan.qir", "stats": "stats.json", "go": ""} {
		o.Emit = append(o.Emit, Artifact{kind, filepath.Join(dir, file)})
	}
	if _, err := Compile(context.Background(), tinyModel(t), o); err != nil {
		t.Fatal(err)
	}
	return readTree(t, dir)
}

func readTree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// TestGeneratedIsFresh: generated/tiny is what the compiler writes today, the
// same twice, and it builds.
func TestGeneratedIsFresh(t *testing.T) {
	want := emitTiny(t)
	for name, data := range emitTiny(t) {
		if !bytes.Equal(data, want[name]) {
			t.Errorf("%s differs between two compiles", name)
		}
	}
	if len(want) < 6 {
		t.Errorf("%d files are emitted, want the program, graph, plan and statistics", len(want))
	}
	have := readTree(t, tiny)
	for name, data := range want {
		switch {
		case bytes.Equal(have[name], data):
		case *update:
			if err := os.WriteFile(filepath.Join(tiny, filepath.FromSlash(name)), data, 0o666); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("generated/tiny/%s is not what the compiler writes: make generate", name)
		}
	}
	for name := range have {
		switch {
		case want[name] != nil || slices.Contains(sources, name):
		case *update:
			if err := os.Remove(filepath.Join(tiny, filepath.FromSlash(name))); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("generated/tiny/%s: nothing writes this file: make generate", name)
		}
	}
	if out, err := exec.Command("go", "build", "-o", os.DevNull, tiny).CombinedOutput(); err != nil {
		t.Errorf("go build %s: %v\n%s", tiny, err, out)
	}
}

// TestCompileIsDeterministic: two compiles in two folders give the same
// program and the same weights, byte for byte.
func TestCompileIsDeterministic(t *testing.T) {
	var first map[string][]byte
	for range 2 {
		dir := t.TempDir()
		if _, err := Compile(context.Background(), tinyModel(t), tinyOptions(filepath.Join(dir, "tiny"))); err != nil {
			t.Fatal(err)
		}
		files := readTree(t, dir)
		if first == nil {
			first = files
			if len(files) != 2 || len(files["tiny.weights"]) == 0 {
				t.Fatalf("a compile leaves %d files, want the program and its weights", len(files))
			}
			continue
		}
		for name, data := range files {
			if !bytes.Equal(data, first[name]) {
				t.Errorf("%s: %d and %d bytes that differ at %d", name, len(first[name]), len(data), mismatch(first[name], data))
			}
		}
	}
}

func mismatch(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
