package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/gguf/synth"
)

// big80B writes a sparse file with the tensors of the 80B model as Q4_K_M: 48
// layers, 512 experts, 151936 tokens.
func big80B(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "80b.gguf")
	var full *fs.PathError
	if err := synth.Qwen3Next80B().WriteSparse(path); errors.As(err, &full) {
		t.Skipf("no sparse file of 48 GB here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// fusedOps is what the 48 layers of the 80B graph become: 36 with a delta net,
// 12 with attention, all with experts.
var fusedOps = map[ir.Op]int{
	ir.OpTopKMoE: 48, ir.OpMoEGateUp: 48, ir.OpMoEDown: 48, ir.OpGateUp: 48, ir.OpConvSplit: 36, ir.OpGatedNorm: 36,
	ir.OpAttention: 12, ir.OpNormRope: 12, ir.OpNormRopeStore: 12,
	// Nothing is left of what they are made of.
	ir.OpRepeat: 0, ir.OpCont: 0, ir.OpPermute: 0, ir.OpPad: 0, ir.OpConcat: 0, ir.OpSoftmax: 0, ir.OpTopK: 0, ir.OpGather: 0, ir.OpMatMulID: 0,
	ir.OpConv: 0, ir.OpL2Norm: 0, ir.OpRope: 0, ir.OpRMSNorm: 0, ir.OpSolveTri: 0, ir.OpAffineScan: 0, ir.OpTri: 0, ir.OpCumsum: 0, ir.OpExp: 0,
}

// Test80B compiles the 80B shapes up to the type-checked source, which the
// header alone decides: everything is fused, nothing repeats, on one device
// there is one split, and the source is small because kernels are shared. The
// settings after the first have ended in faults elsewhere.
func Test80B(t *testing.T) {
	model := big80B(t)
	machine := filepath.Join(t.TempDir(), "machine.qir")
	if err := os.WriteFile(machine, []byte("module m level=graph {\n\tdevice cpu mem=64GiB\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Ctx: 4096},
		{Ctx: 65536, Batch: 1024, Ubatch: 128},
		{Ctx: 65536, Batch: 4096, Ubatch: 1024},
	} {
		t.Run(fmt.Sprintf("-c %d -b %d -ub %d", o.Ctx, o.Batch, o.Ubatch), func(t *testing.T) {
			var log bytes.Buffer
			src := t.TempDir()
			o.Machine, o.StopAfter, o.Verbose, o.Stderr, o.Emit = machine, Emit, true, &log, []Artifact{{"go", src}}
			o.Out = filepath.Join(t.TempDir(), "80b")
			r, err := Compile(context.Background(), model, &o)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Module.Funcs {
				have := map[ir.Op]int{}
				for _, v := range f.Body {
					have[v.Op]++
				}
				want := map[ir.Op]int{ir.OpDeltaChunk: 36, ir.OpDeltaStep: 0}
				if f.Name == "decode" {
					want = map[ir.Op]int{ir.OpDeltaChunk: 0, ir.OpDeltaStep: 36}
				}
				for op, n := range fusedOps {
					want[op] = n
				}
				for op, n := range want {
					if have[op] != n {
						t.Errorf("%s has %d %s, want %d", f.Name, have[op], op, n)
					}
				}
			}
			for _, f := range passes.Measure(r.Module).Funcs {
				if f.Repeats != 0 || f.RepeatBytes != 0 || f.CopyBytes != 0 || f.Splits != 1 || f.Transfers != 0 || f.Peak == 0 {
					t.Errorf("%+v: want no repeat, no copy and one split", f)
				}
			}
			// The graph as imported had real work for the passes.
			fields := strings.Fields(strings.Split(log.String(), "\n")[1])
			if len(fields) < 5 || fields[0] != "import" || fields[3] == "0" || fields[4] == "0" {
				t.Errorf("repeats of the imported graph: %v", fields)
			}
			kernels, err := os.ReadFile(filepath.Join(src, "kernels.go"))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(kernels, []byte("\nfunc ")); n < 20 || n > 120 {
				t.Errorf("%d kernels for 96 layers of two functions", n)
			}
			if left, _ := filepath.Glob(o.Out + "*"); len(left) > 0 {
				t.Errorf("files %v before anything was linked", left)
			}
		})
	}
}
