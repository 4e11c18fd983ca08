package cuda

import (
	"os"
	"strings"
	"testing"

	"qnc/ir"
)

// tiny is the planned module of the example program, placed on GPUs: layers of
// the second device, when there is one, are those from 1 on.
func tiny(t *testing.T) *ir.Module {
	t.Helper()
	text, err := os.ReadFile("../../generated/tiny/plan.qir")
	if err != nil {
		t.Fatal(err)
	}
	s := strings.ReplaceAll(string(text), "@cpu", "@cuda:0")
	s = strings.Replace(s, "\tdevice cpu", "\tdevice cuda:0 mem=1GiB\n\tdevice cpu", 1)
	m, err := ir.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCanRunAll: every op of a planned module has its kernels.
func TestCanRunAll(t *testing.T) {
	for _, f := range tiny(t).Funcs {
		for _, v := range f.Body {
			if err := CanRun(v); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
}

// TestEmit: a module on one GPU is a part a function, its state and logits are there.
func TestEmit(t *testing.T) {
	out, err := Emit(tiny(t), "main")
	if err != nil {
		t.Fatal(err)
	}
	text := string(out.Files[0].Data)
	for _, want := range []string{
		"func (m *gpu0) prefill0(q *cuda.Queue, in *engine.Step)", "func (m *gpu0) decode0(",
		"q.Launch(m.get_rows_q8_0_64, in.T, 1, 1, m.modelEmbedTokens, m.tokenEmbd, m.tok)",
		`uint64(d.Weight("blk.0.attn_qkv.weight", 8704))`, "d.KV(", "d.Recurrent(",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("gpu.go has no %q", want)
		}
	}
	if out.Parts["decode"][0] != "gpu0.decode0" || out.Logits["decode"].Device != 0 {
		t.Errorf("decode is %v with logits at %v", out.Parts["decode"], out.Logits["decode"])
	}
	d := out.Devices[0]
	if d.Name != "cuda:0" || d.Weights == 0 || d.KV == 0 || d.Recurrent == 0 || d.Arena == 0 {
		t.Errorf("plan of the device: %+v", d)
	}
	again, err := Emit(tiny(t), "main")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range out.Sources {
		if string(again.Sources[i].Data) != string(f.Data) {
			t.Errorf("%s differs between two compiles", f.Name)
		}
	}
	if os.Getenv("QNC_EMIT") != "" {
		for _, f := range append(out.Files, out.Sources...) {
			os.WriteFile(os.Getenv("QNC_EMIT")+"/"+f.Name, f.Data, 0o666)
		}
	}
}
