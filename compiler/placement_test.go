package compiler

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/fault"
	"qnc/runtime/gguf/synth"
)

// devices of a test machine, as text.
const (
	hostLine = "\tdevice cpu mem=64GiB bw=60GB/s\n"
	gpu16    = "\tdevice cuda:0 mem=16GiB bw=448GB/s\n"
	gpu12    = "\tdevice cuda:1 mem=12GiB bw=360GB/s\n"
	gpu80    = "\tdevice cuda:0 mem=80GiB bw=2000GB/s\n"
	links    = "\tlink cpu cuda:0 25GB/s\n"
)

func machineFile(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "machine.qir")
	if err := os.WriteFile(path, []byte("module m level=graph {\n"+strings.Join(lines, "")+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func synthFile(t testing.TB, desc string) string {
	t.Helper()
	c, err := synth.Parse(desc)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// ot reads rules, which must be good.
func ot(t testing.TB, s string) []Override {
	t.Helper()
	list, err := ParseOverrides(s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// where writes the devices of a model of four blocks: a letter for the
// embedding, each block, the head: c for the cpu, 0 and 1 for the GPUs; what of
// a block's symbols lies elsewhere follows in brackets.
func where(m *ir.Module) string {
	layer, n := passes.Blocks(m)
	letter := func(d ir.Device) string {
		if d == "cpu" {
			return "c"
		}
		return string(d[len(d)-1:])
	}
	var b strings.Builder
	for i := -1; i <= n; i++ {
		dense, apart := "", ""
		for _, list := range [][]*ir.Value{m.Weights, m.State} {
			for _, s := range list {
				x := letter(s.On)
				switch {
				case layer[s] != i:
				case strings.Contains(s.Name, "_exps"):
					if apart != "" && apart != x {
						x = "?"
					}
					apart = x
				case dense != "" && dense != x:
					dense = "?"
				default:
					dense = x
				}
			}
		}
		b.WriteString(dense)
		if apart != "" && apart != dense {
			b.WriteString("(" + apart + ")")
		}
	}
	return b.String()
}

// TestPlacementFlags: each flag as llama.cpp means it, on a small model.
func TestPlacementFlags(t *testing.T) {
	model, tied := synthFile(t, "type = q8_0\n"), synthFile(t, "tied = true\n")
	one, two := machineFile(t, hostLine, gpu16), machineFile(t, hostLine, gpu16, gpu12)
	for _, c := range []struct {
		name, machine string
		p             Placement
		want          string
	}{
		{"all", one, Placement{Layers: "all"}, "c00000"},
		{"99", one, Placement{Layers: "99"}, "c00000"},
		{"-2 is all", one, Placement{Layers: "-2"}, "c00000"},
		{"the head alone", one, Placement{Layers: "1"}, "ccccc0"},
		{"the head and a layer", one, Placement{Layers: "2"}, "cccc00"},
		{"none", one, Placement{Layers: "0"}, "cccccc"},
		{"-ncmoe", one, Placement{Layers: "all", Overrides: []Override{CPUExperts(2)}}, "c0(c)0(c)000"},
		{"-cmoe", one, Placement{Layers: "all", Overrides: []Override{CPUExperts(-1)}}, "c0(c)0(c)0(c)0(c)0"},
		{"-cmoe does not move what is on the cpu", one, Placement{Layers: "3", Overrides: []Override{CPUExperts(-1)}}, "ccc0(c)0(c)0"},
		{"the first match decides", one, Placement{Layers: "all", Overrides: append(ot(t, `blk\.1\..*exps=CUDA0`), CPUExperts(-1))}, "c0(c)00(c)0(c)0"},
		{"in the other order", one, Placement{Layers: "all", Overrides: append([]Override{CPUExperts(-1)}, ot(t, `blk\.1\..*exps=CUDA0`)...)}, "c0(c)0(c)0(c)0(c)0"},
		{"-ot to the GPU", one, Placement{Layers: "0", Overrides: ot(t, "token_embd=cuda:0,^output=CUDA0")}, "0cccc0"},
		{"automatic", one, Placement{}, "000000"},
		{"automatic around a rule", one, Placement{Overrides: []Override{CPUExperts(1)}}, "00(c)0000"},
		{"-ts", two, Placement{Split: "0.75,0.25"}, "c00001"},
		{"-ts of blocks alone", two, Placement{Split: "3/1", Layers: "4"}, "cc0001"},
		{"-ts that skips one", two, Placement{Split: "0,1"}, "c11111"},
		{"shares of the memory", two, Placement{Layers: "all"}, "c00011"},
		{"-sm none", two, Placement{Layers: "all", Mode: "none"}, "c00000"},
		{"-sm none -mg", two, Placement{Layers: "all", Mode: "none", Main: 1}, "c11111"},
		{"two, automatic", two, Placement{}, "000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Compile(context.Background(), model, &Options{Ctx: 64, Machine: c.machine, Placement: c.p, StopAfter: Plan})
			if err != nil {
				t.Fatal(err)
			}
			if have := where(r.Module); have != c.want {
				t.Errorf("have %s, want %s", have, c.want)
			}
		})
	}
	r, err := Compile(context.Background(), tied, &Options{Ctx: 64, Machine: one, Placement: Placement{Layers: "1"}, StopAfter: Plan})
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Module.Symbol("token_embd.weight").On; d != "cuda:0" {
		t.Errorf("a tied embedding is on %s, its head on the GPU", d)
	}
}

// TestPlacement80B: splits of the 80B shapes, the certificate's bound beside
// each, are those of the table in docs/placement.md; no setting ends in a limit.
func TestPlacement80B(t *testing.T) {
	model := big80B(t)
	page, err := os.ReadFile("../docs/placement.md")
	if err != nil {
		t.Fatal(err)
	}
	cpuMoE := []Override{CPUExperts(-1)}
	for _, c := range []struct {
		flags, gpus, machine string
		o                    Options
	}{
		{"", "80 GiB", gpu80, Options{}},
		{"`-ngl 99`", "80 GiB", gpu80, Options{Placement: Placement{Layers: "99"}}},
		{"`-ngl 99 -ncmoe 24`", "80 GiB", gpu80, Options{Placement: Placement{Layers: "99", Overrides: []Override{CPUExperts(24)}}}},
		{"", "16 GiB", gpu16, Options{}},
		{"`--cpu-moe`", "16 GiB", gpu16, Options{Placement: Placement{Overrides: cpuMoE}}},
		{"`-ngl 99 --cpu-moe`", "16 GiB", gpu16, Options{Placement: Placement{Layers: "99", Overrides: cpuMoE}}},
		{"`--cpu-moe -c 65536 -b 4096 -ub 1024`", "16 GiB", gpu16, Options{Ctx: 65536, Batch: 4096, Ubatch: 1024, Placement: Placement{Overrides: cpuMoE}}},
		{"`--cpu-moe -ts 0.85,0.15`", "16 + 12 GiB", gpu16 + gpu12, Options{Placement: Placement{Split: "0.85,0.15", Overrides: cpuMoE}}},
		{"", "16 + 12 GiB", gpu16 + gpu12, Options{}},
	} {
		t.Run(c.flags+" "+c.gpus, func(t *testing.T) {
			o := c.o
			if o.Ctx == 0 {
				o.Ctx = 4096
			}
			o.Machine, o.StopAfter = machineFile(t, hostLine+c.machine+links), Plan
			r, err := Compile(context.Background(), model, &o)
			if err != nil {
				t.Fatal(err)
			}
			funcs := passes.Measure(r.Module).Funcs
			if funcs[0].Splits != funcs[1].Splits || funcs[0].MinSplits != funcs[1].MinSplits {
				t.Errorf("prompts and tokens are cut differently: %+v", funcs)
			}
			row := fmt.Sprintf("| %s | %s | %d | %d | %s |", cmp.Or(c.flags, "none"), c.gpus, funcs[1].Splits, funcs[1].MinSplits, r.Module.Symbol("token_embd.weight").On)
			if !strings.Contains(string(page), row) {
				t.Errorf("not in docs/placement.md: %s", row)
			}
			for _, u := range passes.Use(r.Module) {
				if u.Free() < 0 || u.Device != "cpu" && u.Reserve != gpuReserve {
					t.Errorf("%+v", u)
				}
			}
		})
	}
}

// TestImpossible: a budget that nothing fits ends with exit code 4 and the sums.
func TestImpossible(t *testing.T) {
	model := synthFile(t, "type = q8_0\n")
	machine := machineFile(t, hostLine, "\tdevice cuda:0 mem=401MiB\n")
	_, err := Compile(context.Background(), model, &Options{Ctx: 1 << 20, Machine: machine, Placement: Placement{Layers: "all"}, StopAfter: Plan})
	if fault.CodeOf(err) != fault.Fit || !strings.Contains(fmt.Sprint(err), "cuda:0 has 401.0 MiB") {
		t.Errorf("have %v", err)
	}
}
