package compiler

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A floor says what the packages under a folder may import besides the
// standard library and each other.
type floor struct {
	dir   string
	ours  []string // folders of this project
	other []string // modules of others
}

// floors is the house from the roof down; the first row that holds a package
// is its floor. Nothing imports what stands above it.
var floors = []floor{
	{"cmd/qnc", []string{"compiler", "passes", "ir", "runtime"}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys"}},
	{"cmd/peers", []string{"runtime"}, nil},
	{"cmd/synth", []string{"runtime"}, nil},
	{"compiler/arch", []string{"ir", "runtime"}, nil},
	{"compiler", []string{"compiler/arch", "codegen", "passes", "ir", "runtime"}, []string{"golang.org/x/tools"}},
	{"codegen", []string{"cudatemplates", "ir", "runtime"}, []string{"github.com/dave/jennifer", "github.com/ebitengine/purego"}},
	{"passes", []string{"ir", "runtime"}, nil},
	{"ir", nil, nil},
	{"cudatemplates", nil, nil},
	{"generated", []string{"runtime"}, nil}, // as every emitted program
	{"runtime/cuda/libcuda", []string{"runtime"}, []string{"github.com/ebitengine/purego"}}, // of programs for GPUs only
	{"runtime/cuda/gorgonia", []string{"runtime"}, []string{"gorgonia.org/cu"}},             // of those with --cuda-driver gorgonia
	{"runtime", nil, nil}, // it travels in emitted programs
}

// inside reports whether the slash-separated path p is dir or lies under it.
func inside(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func floorOf(p string) *floor {
	i := slices.IndexFunc(floors, func(f floor) bool { return inside(p, f.dir) })
	if i < 0 {
		return nil
	}
	return &floors[i]
}

// fault says why a package of f may not import path, "" when it may.
func (f *floor) fault(imported string) string {
	if p, ok := strings.CutPrefix(imported, "qnc/"); ok {
		to := floorOf(p)
		switch {
		case to == nil:
			return "which stands on no floor"
		case to == f || slices.ContainsFunc(f.ours, func(d string) bool { return inside(to.dir, d) }):
			return ""
		}
		return "of " + to.dir
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") || slices.ContainsFunc(f.other, func(m string) bool { return inside(imported, m) }) {
		return ""
	}
	return "of another module"
}

// TestFloors parses every file that is no test and checks what it imports.
func TestFloors(t *testing.T) {
	eachFile(t, func(file string) {
		pkg := path.Dir(file)
		f := floorOf(pkg)
		if f == nil {
			t.Errorf("%s: its package stands on no floor: add a row", file)
			return
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", filepath.FromSlash(file)), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, spec := range tree.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			} else if why := f.fault(imported); why != "" {
				t.Errorf("%s: a package of %s imports %s %s", file, f.dir, imported, why)
			}
		}
	})
	for _, f := range floors {
		if st, err := os.Stat(filepath.Join("..", filepath.FromSlash(f.dir))); err != nil || !st.IsDir() {
			t.Errorf("%s is no folder", f.dir)
		}
	}
}

// TestFloorFaults: the rules that matter most are rules of the table.
func TestFloorFaults(t *testing.T) {
	for _, c := range []struct {
		from, imported string
		ok             bool
	}{
		{"runtime/quant", "fmt", true},
		{"runtime/app", "qnc/runtime/engine", true},
		{"runtime/quant", "qnc/ir", false},
		{"runtime/quant", "golang.org/x/sys/cpu", false},
		{"runtime/app", "qnc/runtime/cuda/libcuda", false},
		{"runtime/cuda", "qnc/runtime/cuda/libcuda", false},
		{"runtime/cuda", "github.com/ebitengine/purego", false},
		{"runtime/cuda/libcuda", "qnc/runtime/cuda", true},
		{"runtime/cuda/libcuda", "github.com/ebitengine/purego", true},
		{"runtime/cuda/libcuda", "gorgonia.org/cu", false},
		{"runtime/cuda/gorgonia", "gorgonia.org/cu", true},
		{"ir/eval", "qnc/ir", true},
		{"ir", "qnc/runtime/quant", false},
		{"passes", "qnc/ir/eval", true},
		{"passes", "qnc/codegen", false},
		{"codegen/cpu", "qnc/passes", false},
		{"codegen/cpu", "github.com/dave/jennifer/jen", true},
		{"compiler/arch", "qnc/passes", false},
		{"compiler/arch", "qnc/compiler", false},
		{"compiler", "qnc/compiler/arch", true},
		{"compiler", "github.com/dave/jennifer/jen", false},
		{"cmd/qnc", "qnc/compiler/arch", true},
		{"generated/tiny", "qnc/runtime/app", true},
		{"generated/tiny", "qnc/ir", false},
		{"passes", "qnc/nowhere", false},
	} {
		f := floorOf(c.from)
		if f == nil {
			t.Errorf("%s stands on no floor", c.from)
		} else if why := f.fault(c.imported); (why == "") != c.ok {
			t.Errorf("%s imports %s: fault %q", c.from, c.imported, why)
		}
	}
}

// TestNoModelNames: an architecture is a file of compiler/arch; nothing below
// knows a model's name. (A tokenizer does: pre-tokenizers are named for models.)
func TestNoModelNames(t *testing.T) {
	eachFile(t, func(file string) {
		if !inside(file, "ir") && !inside(file, "passes") && !inside(file, "codegen") && !inside(file, "runtime/engine") && !inside(file, "runtime/kernel") {
			return
		}
		src, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range []string{"qwen", "gemma"} {
			if strings.Contains(strings.ToLower(string(src)), name) {
				t.Errorf("%s knows the name %s", file, name)
			}
		}
	})
}

// eachFile calls fn with the slash-separated path of every Go file of the
// project that is no test.
func eachFile(t *testing.T, fn func(file string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, ".."+string(filepath.Separator)))
		if d.IsDir() {
			if rel == "bin" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(rel, ".go") && !strings.HasSuffix(rel, "_test.go") {
			fn(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
