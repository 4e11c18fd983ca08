package arch

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"qnc/ir"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
)

var update = flag.Bool("update", false, "rewrite the ir, notes and error sections of testdata")

// tiny is what the descriptions of tests start from: one delta-net layer, one
// attention layer.
const tiny = "layers = 2\ninterval = 2\nhidden = 24\nvocab = 261\nstate = 8\nhead_dim = 8\nexperts = 5\nexpert_ff = 12\nshared_ff = 20\nff = 40\n"

var testOptions = Options{Ctx: 80, Ubatch: 72, Seqs: 2, TypeK: ir.F32, TypeV: ir.F32}

var testMachine = ir.Machine{Devices: []ir.DeviceInfo{{Name: "cpu"}}}

// describe makes a model from tiny with the lines of descs: the last of a key counts.
func describe(t testing.TB, descs ...string) *gguf.File {
	t.Helper()
	var lines []string
	seen := map[string]bool{}
	for _, desc := range slices.Backward(append([]string{tiny}, descs...)) {
		for _, l := range strings.Split(desc, "\n") {
			if key, _, ok := strings.Cut(l, "="); ok && !seen[strings.TrimSpace(key)] {
				seen[strings.TrimSpace(key)] = true
				lines = append(lines, l)
			}
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
	return parse(t, b.Bytes())
}

func parse(t testing.TB, data []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(data, "model.gguf")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// edit copies f with keys replaced; a nil value removes a key.
func edit(t testing.TB, f *gguf.File, keys map[string]any) *gguf.File {
	t.Helper()
	var kvs []gguf.KV
	for _, k := range f.Keys() {
		if _, ok := keys[k]; !ok {
			kv, _ := f.Raw(k)
			kvs = append(kvs, kv)
		}
	}
	for k, v := range keys {
		if v != nil {
			kvs = append(kvs, gguf.KV{Key: k, Value: v})
		}
	}
	var list []gguf.TensorSource
	for _, x := range f.Tensors() {
		list = append(list, gguf.TensorSource{Name: x.Name, Type: x.Type, Dims: x.Dims, Write: func(w io.Writer) error {
			_, err := w.Write(x.Bytes())
			return err
		}})
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, kvs, list); err != nil {
		t.Fatal(err)
	}
	return parse(t, b.Bytes())
}

// TestGoldens lowers the model of every file in testdata: its IR, or the lines
// of it that match show, and its notes, or its error.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]string{}
			for _, f := range a.Files {
				in[f.Name] = string(f.Data)
			}
			want := map[string]string{}
			r, err := Import(describe(t, in["model"]), testMachine, testOptions)
			if err != nil {
				if fault.CodeOf(err) != fault.Model || strings.Contains(err.Error(), "\n") {
					t.Errorf("code %d, %q: want one line and %d", fault.CodeOf(err), err, fault.Model)
				}
				want["error"] = err.Error() + "\n"
			} else {
				text := r.Module.String()
				if back, err := ir.Parse(text); err != nil || back.String() != text {
					t.Errorf("the text does not read back: %v", err)
				}
				want["ir"] = matching(t, text, in["show"])
				if len(r.Notes) > 0 {
					want["notes"] = strings.Join(r.Notes, "\n") + "\n"
				}
			}
			for _, name := range []string{"ir", "notes", "error"} {
				if !*update && in[name] != want[name] {
					t.Errorf("%s differs; go test -update rewrites it. have\n%s\nwant\n%s", name, want[name], in[name])
				}
			}
			if *update {
				a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name != "model" && f.Name != "show" })
				for _, name := range []string{"ir", "notes", "error"} {
					if want[name] != "" {
						a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(want[name])})
					}
				}
				if err := os.WriteFile(path, txtar.Format(a), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// matching keeps the lines of text that match one of the patterns; all without patterns.
func matching(t *testing.T, text, patterns string) string {
	list := strings.Fields(patterns)
	if len(list) == 0 {
		return text
	}
	re, err := regexp.Compile(strings.Join(list, "|"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if re.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// refused imports f and wants one line of fault.Model that contains text.
func refused(t *testing.T, f *gguf.File, text string) {
	t.Helper()
	_, err := Import(f, testMachine, testOptions)
	switch {
	case err == nil:
		t.Errorf("accepted, want %q", text)
	case fault.CodeOf(err) != fault.Model || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), text):
		t.Errorf("code %d, %q: want one line with %q and code %d", fault.CodeOf(err), err, text, fault.Model)
	}
}

func accepted(t *testing.T, f *gguf.File) *ir.Module {
	t.Helper()
	r, err := Import(f, testMachine, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return r.Module
}

func TestUnknownArchitecture(t *testing.T) {
	f := describe(t, "")
	refused(t, edit(t, f, map[string]any{"general.architecture": "llama"}), `architecture "llama" is not known: qnc compiles qwen3next`)
	refused(t, edit(t, f, map[string]any{"general.architecture": nil}), "general.architecture is missing")
	refused(t, edit(t, f, map[string]any{"general.architecture": uint32(3)}), "general.architecture")
	refused(t, edit(t, f, map[string]any{"general.type": "adapter"}), `general.type is "adapter"`)
	refused(t, edit(t, f, map[string]any{"general.type": uint32(1)}), "general.type")
	accepted(t, edit(t, f, map[string]any{"general.type": nil}))
}

// TestManyBlocks: a small file that promises thousands of blocks is refused at the first.
func TestManyBlocks(t *testing.T) {
	f := edit(t, describe(t, ""), map[string]any{"qwen3next.block_count": uint32(4096)})
	refused(t, f, "tensor blk.2.attn_norm.weight is missing")
	if n := testing.AllocsPerRun(1, func() { Import(f, testMachine, testOptions) }); n > 20000 {
		t.Errorf("%v allocations before the first missing tensor", n)
	}
}

// TestState: recurrent state is f32 whatever the cache is made of; the cache
// has the types asked for, and refuses blocks that its heads do not fill.
func TestState(t *testing.T) {
	f := describe(t, "head_dim = 32")
	for _, c := range []struct{ k, v ir.DType }{{ir.F16, ir.F16}, {ir.Q8_0, ir.Q8_0}, {ir.F32, ir.F32}, {ir.Q8_0, ir.F16}} {
		opt := testOptions
		opt.TypeK, opt.TypeV = c.k, c.v
		r, err := Import(f, testMachine, opt)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, s := range r.Module.State {
			have[s.Name] = s.Type.String()
		}
		for name, want := range map[string]string{
			"blk.0.conv": "f32[S,3,64]", "blk.0.delta": "f32[S,4,8,8]",
			"blk.1.cache_k": fmt.Sprintf("%s[S,80,2,32]", c.k), "blk.1.cache_v": fmt.Sprintf("%s[S,80,2,32]", c.v),
		} {
			if have[name] != want {
				t.Errorf("-ctk %s -ctv %s: %s is %s, want %s", c.k, c.v, name, have[name], want)
			}
		}
		if len(have) != 4 {
			t.Errorf("state %v", have)
		}
	}
	opt := testOptions
	opt.TypeK = ir.Q8_0
	_, err := Import(describe(t, ""), testMachine, opt)
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "blocks of 32, but the heads of this model are 8 wide") {
		t.Errorf("q8_0 with heads of 8: code %d, %v", fault.CodeOf(err), err)
	}
}
