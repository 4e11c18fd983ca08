package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
)

// example is the model that ships with the project.
const example = "../../examples/gopher-17m-q4_k_m.gguf"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qnc": main})
}

// TestScripts runs testdata/script: qnc as users run it. The example model is
// compiled once for all of them: $GOPHER is the program, $EXAMPLE the GGUF file,
// $QNC this qnc for scripts that empty the PATH.
func TestScripts(t *testing.T) {
	gopher := filepath.Join(t.TempDir(), "gopher")
	qnc(t, 0, "compile", example, "-o", gopher, "-c", "512")
	model, err := filepath.Abs(example)
	if err != nil {
		t.Fatal(err)
	}
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("qnc") // testscript puts this binary there
	if err != nil {
		t.Fatal(err)
	}
	t.Run("README", func(t *testing.T) { checkReadme(t, filepath.Dir(gopher)) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOPHER", gopher)
			e.Setenv("EXAMPLE", model)
			e.Setenv("QNC", path)
			e.Setenv("GOCACHE", strings.TrimSpace(string(goCache)))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"synth": synthCmd, "retype": retypeCmd, "cut": cutCmd, "exits": exitsCmd,
		},
	})
}

// checkReadme runs the commands of the README's transcript that follow the
// compile, in the folder of the program: they print what stands there.
func checkReadme(t *testing.T, dir string) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "\n````\n$ bin/qnc compile ")
	text, _, ok := strings.Cut(text, "\n````\n")
	steps := strings.Split(text, "\n$ ")[1:]
	if !ok || len(steps) < 3 {
		t.Fatalf("the transcript has %d commands after the compile", len(steps))
	}
	for _, s := range steps {
		command, want, _ := strings.Cut(s, "\n")
		c := exec.Command("sh", "-c", command)
		c.Dir = dir
		have, err := c.Output()
		if err != nil || strings.TrimRight(string(have), "\n") != want {
			t.Errorf("%s: %v, prints\n%s\nthe README says\n%s", command, err, have, want)
		}
	}
}

// qnc runs a command line in this process and returns what it printed.
func qnc(t *testing.T, want fault.Code, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := execute(context.Background(), args, strings.NewReader(""), &out, &errs); code != int(want) {
		t.Fatalf("qnc %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, errs.String())
	}
	return out.String(), errs.String()
}

// exits CODE PROGRAM [ARGUMENT...] runs a program that ends with CODE.
func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	have := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		have = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if have != args[0] {
		ts.Fatalf("ended with %s, want %s", have, args[0])
	}
}

// synth DESCRIPTION OUT.gguf writes a synthetic model.
func synthCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: synth DESCRIPTION OUT.gguf")
	}
	c, err := synth.Parse(ts.ReadFile(args[0]))
	ts.Check(err)
	ts.Check(c.WriteFile(ts.MkAbs(args[1])))
}

// retype IN.gguf OUT.gguf TENSOR TYPE copies a model; the tensor becomes zeros of another type.
func retypeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: retype IN.gguf OUT.gguf TENSOR TYPE")
	}
	f, err := gguf.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	typ, ok := gguf.TypeByName(args[3])
	if !ok {
		ts.Fatalf("unknown type %s", args[3])
	}
	var kvs []gguf.KV
	for _, k := range f.Keys() {
		if kv, ok := f.Raw(k); ok {
			kvs = append(kvs, kv)
		}
	}
	var tensors []gguf.TensorSource
	found := false
	for _, t := range f.Tensors() {
		src := gguf.TensorSource{Name: t.Name, Type: t.Type, Dims: t.Dims, Write: func(w io.Writer) error {
			_, err := w.Write(t.Bytes())
			return err
		}}
		if t.Name == args[2] {
			found = true
			info, _ := typ.Info()
			src.Type = typ
			src.Write = func(w io.Writer) error {
				_, err := w.Write(make([]byte, int(t.Elems)/info.BlockElems*info.BlockBytes))
				return err
			}
		}
		tensors = append(tensors, src)
	}
	if !found {
		ts.Fatalf("no tensor %s", args[2])
	}
	ts.Check(gguf.WriteFile(ts.MkAbs(args[1]), kvs, tensors))
}

// cut IN OUT BYTES copies the first bytes of a file.
func cutCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut IN OUT BYTES")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	data := ts.ReadFile(args[0])
	if n > len(data) {
		ts.Fatalf("%s has only %d bytes", args[0], len(data))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:n]), 0o666))
}

// A watcher acts when the compiler reports a word on stderr.
type watcher struct {
	bytes.Buffer
	word string
	act  func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.act != nil && bytes.Contains(p, []byte(w.word)) {
		w.act()
		w.act = nil
	}
	return w.Buffer.Write(p)
}

// TestDisturbed: what goes wrong in the middle of a compile has its exit code,
// leaves nothing half-written and keeps what was there before.
func TestDisturbed(t *testing.T) {
	for _, c := range []struct {
		name string
		word string // of the line of -v at which it happens
		act  func(model string, cancel func())
		code fault.Code
		want string
	}{
		{"truncated while mapped", "type check", func(model string, _ func()) {
			if err := os.Truncate(model, 1<<14); err != nil {
				t.Error(err)
			}
		}, fault.Model, "truncated"},
		{"interrupted in the passes", "quantize-acts", func(_ string, cancel func()) { cancel() }, fault.Interrupted, ""},
		{"interrupted in the link", "type check", func(_ string, cancel func()) { cancel() }, fault.Interrupted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			model, out := filepath.Join(dir, "model.gguf"), filepath.Join(dir, "out")
			if err := synth.Default().WriteFile(model); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{out, out + ".weights"} {
				if err := os.WriteFile(f, []byte("before"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			w := &watcher{word: c.word, act: func() { c.act(model, cancel) }}
			code := execute(ctx, []string{"compile", "-v", model, "-o", out}, strings.NewReader(""), io.Discard, w)
			if code != int(c.code) || w.act != nil {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, w)
			}
			last := strings.TrimSpace(w.String())
			last = last[strings.LastIndex(last, "\n")+1:]
			if !strings.Contains(last, c.want) {
				t.Errorf("the last line is %q, want %q in it", last, c.want)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 3 {
				t.Errorf("files left: %v, %v", files, err)
			}
			for _, f := range []string{out, out + ".weights"} {
				if b, err := os.ReadFile(f); err != nil || string(b) != "before" {
					t.Errorf("%s has changed", f)
				}
			}
		})
	}
}
