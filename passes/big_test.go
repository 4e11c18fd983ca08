package passes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
)

// open80B makes a sparse file with the tensors of the 80B model: 48 layers,
// 512 experts, Q4_K with Q6_K where llama.cpp's Q4_K_M has it.
func open80B(t testing.TB) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "80b.gguf")
	var full *fs.PathError
	if err := synth.Qwen3Next80B().WriteSparse(path); errors.As(err, &full) {
		t.Skipf("no sparse file of 48 GB here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func import80B(t testing.TB, opt arch.Options) *ir.Module {
	t.Helper()
	r, err := arch.Import(open80B(t), ir.Machine{Devices: []ir.DeviceInfo{{Name: "cpu"}}}, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r.Module
}

// Test80B is the golden of the whole pipeline on the full graph: what it costs
// before, and after each pass.
func Test80B(t *testing.T) {
	m := import80B(t, arch.Options{Ctx: 65536, Ubatch: 512, Seqs: 1, TypeK: ir.F16, TypeV: ir.F16})
	var b strings.Builder
	fmt.Fprintf(&b, "import\n%s", Measure(m))
	err := Run(m, &Target{VerifyOnce: true}, Default(false), func(p *Pass) error {
		fmt.Fprintf(&b, "\n%s\n%s", p.Name, Measure(m))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/80b.stats"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs; go test -update rewrites it. have\n%s", file, b.String())
	}
	for _, f := range Measure(m).Funcs {
		if f.RepeatBytes != 0 || f.CopyBytes != 0 || f.Splits != 1 {
			t.Errorf("%+v: repeats, copies or splits are left", f)
		}
	}
}

// BenchmarkPipeline80B runs all passes on both functions of the 80B graph.
func BenchmarkPipeline80B(b *testing.B) {
	m := import80B(b, arch.Options{Ctx: 65536, Ubatch: 1024, Seqs: 1, TypeK: ir.F16, TypeV: ir.F16})
	for b.Loop() {
		if err := Run(m.Clone(), &Target{VerifyOnce: true}, Default(false), nil); err != nil {
			b.Fatal(err)
		}
	}
}
