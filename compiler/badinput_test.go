package compiler

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
	"qnc/runtime/gguf/synth"
)

const badModel = "layers = 2\ninterval = 2\nhidden = 32\nvocab = 261\nstate = 8\nhead_dim = 8\nexperts = 4\nexpert_ff = 32\nshared_ff = 32"

// modelBytes is a small model with the lines of desc, which replace those of the same key.
func modelBytes(t testing.TB, desc string) []byte {
	t.Helper()
	lines := strings.Split(desc, "\n")
	for l := range strings.SplitSeq(badModel, "\n") {
		key, _, _ := strings.Cut(l, "=")
		if !slices.ContainsFunc(lines, func(x string) bool { return strings.HasPrefix(x, key+"=") }) {
			lines = append(lines, l)
		}
	}
	c, err := synth.Parse(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// retype gives a tensor another type, without a change of its data, which is
// large enough for any.
func retype(t testing.TB, file []byte, tensor string, typ uint32) []byte {
	t.Helper()
	i := bytes.Index(file, []byte(tensor))
	if i < 0 {
		t.Fatalf("no tensor %s", tensor)
	}
	i += len(tensor)
	dims := binary.LittleEndian.Uint32(file[i:])
	binary.LittleEndian.PutUint32(file[i+4+8*int(dims):], typ)
	return file
}

// snapshot is every file under dir with its content, and the folders.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all[path+"/"] = ""
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestBadInput: each fault gives one line that names the thing, the fault and
// the cure, with its exit code, and leaves what was there as it was.
func TestBadInput(t *testing.T) {
	machine := func(mem string) func(t *testing.T, dir string, o *Options) {
		return func(t *testing.T, dir string, o *Options) {
			o.Machine = filepath.Join(t.TempDir(), "machine.qir")
			if err := os.WriteFile(o.Machine, []byte("module m level=graph {\n\tdevice cpu mem="+mem+"\n}\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := func(t *testing.T) []byte { return modelBytes(t, "") }
	with := func(desc string) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return modelBytes(t, desc) }
	}
	// A matrix whose rows are whole blocks of every type, in f32.
	wide := func(typ uint32) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			return retype(t, modelBytes(t, "expert_ff = 256\nshared_ff = 256"), "blk.1.ffn_down_shexp.weight", typ)
		}
	}
	for _, c := range []struct {
		name  string
		file  func(t *testing.T) []byte
		setup func(t *testing.T, dir string, o *Options)
		code  fault.Code
		want  []string // all of them in the message
	}{
		{"no model", func(*testing.T) []byte { return []byte("PK\x03\x04 this is a zip file, not a model at all") }, nil, fault.Model, []string{"m.gguf", "GGUF"}},
		{"empty file", func(*testing.T) []byte { return nil }, nil, fault.Model, []string{"m.gguf"}},
		{"truncated data", func(t *testing.T) []byte { b := good(t); return b[:len(b)-4096] }, nil, fault.Model, []string{"m.gguf", "tensor ", "truncated"}},
		{"truncated header", func(t *testing.T) []byte { return good(t)[:3000] }, nil, fault.Model, []string{"m.gguf", "truncated"}},
		{"other version", func(t *testing.T) []byte { b := good(t); b[4] = 9; return b }, nil, fault.Model, []string{"m.gguf", "version 9"}},
		{"unknown architecture", with("meta.general.architecture = str mamba9"), nil, fault.Model, []string{"m.gguf", `architecture "mamba9"`, "qnc compiles qwen3next"}},
		{"unknown architecture with another tokenizer", with("meta.general.architecture = str mamba9\nmeta.tokenizer.ggml.model = str llama"), nil, fault.Model, []string{`architecture "mamba9"`}},
		{"missing tensor", with("omit = blk.0.ssm_a"), nil, fault.Model, []string{"m.gguf", "tensor blk.0.ssm_a is missing", "download"}},
		{"wrong shape", with("tensor.blk.1.attn_k.weight = f32 32 24"), nil, fault.Model, []string{"m.gguf", "tensor blk.1.attn_k.weight", "[24 32]", "[16 32]"}},
		{"tensor that nothing uses", with("tensor.blk.0.ssm_out.scale = f32 1"), nil, fault.Model, []string{"m.gguf", "tensor blk.0.ssm_out.scale", "without it"}},
		{"key that nothing knows", with("meta.qwen3next.rope.scaling.yarn_ext_factor = f32 1"), nil, fault.Model, []string{"m.gguf", "key qwen3next.rope.scaling.yarn_ext_factor"}},
		{"missing key", with("omit = qwen3next.ssm.state_size"), nil, fault.Model, []string{"m.gguf", "key qwen3next.ssm.state_size is missing"}},
		{"IQ4_XS", wide(23), nil, fault.Model, []string{"m.gguf", "blk.1.ffn_down_shexp.weight", "iq4_xs", "quantise"}},
		{"Q3_K", wide(11), nil, fault.Model, []string{"m.gguf", "blk.1.ffn_down_shexp.weight", "q3_K", "quantise"}},
		{"Q2_K", wide(10), nil, fault.Model, []string{"m.gguf", "blk.1.ffn_down_shexp.weight", "q2_K", "quantise"}},
		{"no type at all", wide(999), nil, fault.Model, []string{"m.gguf", "blk.1.ffn_down_shexp.weight", "999"}},
		{"vocabulary of another size", with("tensor.token_embd.weight = f32 32 300\ntensor.output.weight = f32 32 300"), nil, fault.Model, []string{"m.gguf", "261", "300"}},
		{"no tokens", with("omit = tokenizer.ggml.tokens"), nil, fault.Model, []string{"m.gguf", "tokenizer.ggml.tokens"}},
		{"no merges", with("omit = tokenizer.ggml.merges"), nil, fault.Model, []string{"m.gguf", "tokenizer.ggml.merges"}},
		{"no tokenizer", with("omit = tokenizer.ggml.model"), nil, fault.Model, []string{"m.gguf", "tokenizer.ggml.model"}},
		{"other tokenizer", with("meta.tokenizer.ggml.model = str llama"), nil, fault.Model, []string{"m.gguf", "llama", "gpt2"}},
		{"other pre-tokenizer", with("pre = tekken"), nil, fault.Model, []string{"m.gguf", "tekken", "qwen2", "qwen35"}},
		{"too little memory", good, machine("40KiB"), fault.Fit, []string{"m.gguf: needs 0.1 MiB", "cpu has 0.0 MiB", "smaller -c"}},
		{"no memory for the default context", good, func(t *testing.T, dir string, o *Options) { machine("1KiB")(t, dir, o); o.Ctx = 0 }, fault.Fit, []string{"m.gguf: needs", "cpu has"}},
		{"no machine", good, func(t *testing.T, dir string, o *Options) { o.Machine = filepath.Join(dir, "none.qir") }, fault.Usage, []string{"--machine", "none.qir: no such file", "leave the flag out"}},
		{"other machine", good, func(t *testing.T, dir string, o *Options) { o.Machine = o.Out }, fault.Usage, []string{"--machine", "line 1"}},
		{"no Go", good, func(t *testing.T, dir string, o *Options) { t.Setenv("PATH", "") }, fault.Missing, []string{"Go toolchain is missing", "install Go"}},
		{"out would be a folder", good, func(t *testing.T, dir string, o *Options) {
			o.Out = filepath.Join(dir, "folder")
			if err := os.MkdirAll(filepath.Join(o.Out, "m"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, fault.Usage, []string{"folder", "give the program a name"}},
		{"out in no folder", good, func(t *testing.T, dir string, o *Options) { o.Out = filepath.Join(dir, "none", "program") }, fault.Usage, []string{filepath.Join("none", "program"), "there is no folder", "mkdir -p"}},
		{"out in a file", good, func(t *testing.T, dir string, o *Options) { o.Out = filepath.Join(o.Out, "program") }, fault.Usage, []string{"program is no folder: choose another place"}},
		{"out is the model", good, func(t *testing.T, dir string, o *Options) { o.Out = filepath.Join(dir, "m.gguf") }, fault.Usage, []string{"m.gguf", "-o"}},
		{"cache blocks", good, func(t *testing.T, dir string, o *Options) { o.TypeK = "q8_0" }, fault.Usage, []string{"q8_0", "8 wide", "-ctk f16"}},
		{"cache type", good, func(t *testing.T, dir string, o *Options) { o.TypeV = "q4_0" }, fault.Usage, []string{"q4_0", "f16, q8_0 or f32"}},
		{"context for no sequence", good, func(t *testing.T, dir string, o *Options) { o.Ctx, o.Seqs = 3, 4 }, fault.Usage, []string{"-c 3", "-np 4"}},
		{"target", good, func(t *testing.T, dir string, o *Options) { o.TargetCPU = "z80" }, fault.Usage, []string{"--target-cpu z80"}},
		{"phase", good, func(t *testing.T, dir string, o *Options) { o.StopAfter = "lunch" }, fault.Usage, []string{"--stop-after lunch: want import, optimise, place, plan, emit or link"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			model := filepath.Join(dir, "m.gguf")
			o := Options{Out: filepath.Join(dir, "program"), Ctx: 64, Stderr: &bytes.Buffer{}}
			for path, data := range map[string][]byte{model: c.file(t), o.Out: []byte("an older program\n"), o.Out + ".weights": []byte("its weights\n")} {
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if c.setup != nil {
				c.setup(t, dir, &o)
			}
			before := snapshot(t, dir)
			r, err := Compile(context.Background(), model, &o)
			if err == nil {
				t.Fatalf("compiled: %s", r.Program)
			}
			msg := err.Error()
			if fault.CodeOf(err) != c.code || strings.ContainsAny(msg, "\n\r") || strings.Contains(msg, "BUG") || len(msg) > 400 {
				t.Errorf("code %d, want %d and one line: %s", fault.CodeOf(err), c.code, msg)
			}
			for _, w := range c.want {
				if !strings.Contains(msg, w) {
					t.Errorf("%q is not in: %s", w, msg)
				}
			}
			if !maps.Equal(snapshot(t, dir), before) {
				t.Errorf("files changed: have %v, had %v", slices.Sorted(maps.Keys(snapshot(t, dir))), slices.Sorted(maps.Keys(before)))
			}
			t.Log(msg)
		})
	}
}

// TestToolchain: a Go that is too old, or that does not run, is missing too.
func TestToolchain(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for go is a shell script")
	}
	for _, c := range []struct{ script, want string }{
		{"echo go1.22.3", "the Go toolchain is go1.22.3: too old; install Go 1.26"},
		{"echo go1.26rc1", "too old"},
		{"exit 3", "does not run: go env: exit status 3; install Go 1.26"},
		{"echo go1.26.0", ""},
		{"echo go1.31.2", ""},
		{"echo devel go1.28-abcdef", ""},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		err := needGo()
		if c.want == "" && err != nil || c.want != "" && (fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: code %d, %v, want %q", c.script, fault.CodeOf(err), err, c.want)
		}
	}
}

// TestNoModelFile: a path without a file, a folder.
func TestNoModelFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none.gguf"), dir} {
		_, err := Compile(context.Background(), path, &Options{Out: filepath.Join(dir, "program")})
		if fault.CodeOf(err) != fault.Model || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: code %d, %v", path, fault.CodeOf(err), err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("files %v are left", left)
	}
}

// TestUnwritable: a folder that nobody may write to.
func TestUnwritable(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("every folder is writable here")
	}
	dir, out := t.TempDir(), t.TempDir()
	model := filepath.Join(dir, "m.gguf")
	if err := os.WriteFile(model, modelBytes(t, ""), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := Compile(context.Background(), model, &Options{Out: filepath.Join(out, "program"), Ctx: 64})
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), out) || !strings.Contains(err.Error(), "choose another place with -o") || strings.Contains(err.Error(), "\n") {
		t.Errorf("code %d, %v", fault.CodeOf(err), err)
	}
}

// A cancelling writer cancels when the compile reports the phase.
type cancelling struct {
	phase  string
	cancel context.CancelFunc
}

func (c cancelling) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), c.phase) {
		c.cancel()
	}
	return len(p), nil
}

// TestInterrupted: Ctrl-C at any time ends with its code and leaves nothing.
func TestInterrupted(t *testing.T) {
	for _, phase := range []string{"", "import", "delta-net", "plan-memory", "emit", "type check", "cd "} { // the last is printed when the weights are staged
		t.Run(fmt.Sprintf("after %q", phase), func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", t.TempDir())
			model := filepath.Join(dir, "m.gguf")
			if err := os.WriteFile(model, modelBytes(t, ""), 0o644); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if phase == "" {
				cancel()
			}
			_, err := Compile(ctx, model, &Options{Out: filepath.Join(dir, "program"), Ctx: 64, Verbose: true, Trace: true, Stderr: cancelling{phase, cancel}})
			if fault.CodeOf(err) != fault.Interrupted || strings.Contains(err.Error(), "\n") {
				t.Errorf("code %d, %v", fault.CodeOf(err), err)
			}
			if !maps.Equal(snapshot(t, dir), before) {
				t.Error("files are left")
			}
			if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
				t.Errorf("temporary files are left: %v", left)
			}
		})
	}
}

// TestBrokenSource: code that does not type-check is our fault, said before anything is built.
func TestBrokenSource(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.gguf")
	if err := os.WriteFile(model, modelBytes(t, ""), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ src, want string }{
		{"package main\n\n// %x = mul %y, %z : f32[T]\nfunc broken() int { return spec }\n", "hook.go"},
		{"package main\n\n// %x-3 = mul %y-3, %z-3 : f32[T]\nfunc broken() {\n\tm := 1\n}\n", "in the code of %x-3 = mul %y-3, %z-3 : f32[T] (hook.go:5)"},
		{"package main\n\nfunc broken( {\n", "hook.go"},
	} {
		_, err := Compile(context.Background(), model, &Options{Out: filepath.Join(dir, "program"), Ctx: 64, hook: []byte(c.src)})
		if err == nil || !strings.Contains(err.Error(), "BUG: emitted code: ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", c.src, err)
		}
	}
}
