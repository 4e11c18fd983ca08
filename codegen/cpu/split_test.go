package cpu

import (
	"strings"
	"testing"

	"qnc/ir"
)

// TestSplit: of a module over two devices the CPU's parts are methods without
// what other devices do, and the whole on the CPU shares their kernels.
func TestSplit(t *testing.T) {
	const text = `module split level=planned {
	device cpu
	device cuda:0
	bound T 4
	bound R 4
	bound S 1
	bound C 8
	weight @table : f32[9,8] @cpu
	weight @w : f32[8] @cuda:0
	state @far : f32[S,3,8] @cuda:0
	state @near : f32[S,3,8] @cpu
}

func prefill(%tok: i32[T], %pos: i32[T], %seq: i32[T], %rows: i32[R]) {
p0 @cpu:
	%a = get_rows @table, %tok : f32[T,8] at 0
p1 @cuda:0:
	%a.cuda0 = transfer %a {to=cuda:0} : f32[T,8] at 0
	%b = rms_norm %a.cuda0 {eps=1} : f32[T,8] at 128
p2 @cpu:
	%b.cpu = transfer %b {to=cpu} : f32[T,8] at 128
	%c = silu %b.cpu : f32[T,8] at 256
	return %c
}
`
	m, err := ir.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := ir.Parse(`module split level=graph {
	bound T 4
	weight @table : f32[9,8]
}

func prefill(%tok: i32[T], %pos: i32[T], %seq: i32[T], %rows: i32[R]) {
	%a = get_rows @table, %tok : f32[T,8] at 0
	%c = silu %a : f32[T,8] at 256
	return %c
}
`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := EmitSplit(m, whole, "main", "portable")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(out.Parts["prefill"], ","); got != "prefill0,,prefill2" {
		t.Errorf("parts %q", got)
	}
	if out.Logits["prefill"] != "c" || out.ArenaBytes != 384 || out.RecurrentFloats != 32 || out.Whole == nil {
		t.Errorf("logits %q, arena %d, recurrent %d, whole %v", out.Logits["prefill"], out.ArenaBytes, out.RecurrentFloats, out.Whole)
	}
	texts := map[string]string{}
	for _, f := range out.Files {
		texts[f.Name] = string(f.Data)
	}
	for name, wants := range map[string][]string{
		"host.go":    {"type hostModel struct", "func newHost(mem *engine.Memory) *hostModel", "func (m *hostModel) prefill0(", "func (m *hostModel) prefill2(", "bCpu "},
		"step.go":    {"type model struct", "func newModel(", "func (m *model) prefill("},
		"kernels.go": {"func silu_Tx8("},
	} {
		for _, want := range wants {
			if !strings.Contains(texts[name], want) {
				t.Errorf("%s lacks %q:\n%s", name, want, texts[name])
			}
		}
	}
	if n := strings.Count(texts["kernels.go"], "\nfunc "); n != 2 {
		t.Errorf("%d kernels, want 2 that both programs share:\n%s", n, texts["kernels.go"])
	}
	if strings.Contains(texts["host.go"], "rmsNorm") || strings.Contains(texts["host.go"], "transfer") {
		t.Errorf("the CPU does what another device does:\n%s", texts["host.go"])
	}
	m.Weights[0].Type.Layout = Panel
	if Shareable(m) {
		t.Error("weights in panels serve a program that reads them in the order of the file")
	}
}
