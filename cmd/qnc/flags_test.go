package main

import (
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func TestNormalise(t *testing.T) {
	t.Setenv("LLAMA_ARG_UBATCH", "64")
	for _, c := range []struct{ args, want string }{
		{"compile m.gguf -ngl 0 -c 512 --cpu_moe", "compile --ctx-size=512 --ubatch-size=64 --n-gpu-layers=0 --cpu-moe=true -- m.gguf"},
		{"opt -passes=cse,dce f.qir", "opt --passes=cse,dce -- f.qir"},
		{"run -np 2 m.gguf -p hi -c 99 -temp 0", "run --ctx-size=99 --ubatch-size=64 --parallel=2 -- m.gguf -p hi -temp 0"},
		{"run m.gguf -h", "run --ubatch-size=64 -- m.gguf -h"},
		{"compile m.gguf -h", "help compile"},
		{"-help", "help"},
		{"", ""},
	} {
		have, err := normalise(newRoot(), strings.Fields(c.args))
		if err != nil || !slices.Equal(have, strings.Fields(c.want)) {
			t.Errorf("%s: have %q, %v; want %s", c.args, have, err, c.want)
		}
	}
}

func TestPlacement(t *testing.T) {
	plain := placement{layers: "auto", experts: "0", mode: "layer", main: "0"}
	for _, c := range []struct {
		change func(*placement)
		ok     bool
	}{
		{func(*placement) {}, true},
		{func(p *placement) { p.layers = "0" }, true},
		{func(p *placement) { p.layers = "all" }, false},
		{func(p *placement) { p.cpuExperts, p.experts = true, "40" }, true},
		{func(p *placement) { p.tensors = []string{"exps=CPU,shexp=cpu"} }, true},
		{func(p *placement) { p.tensors = []string{"exps=CPU,shexp=cuda:0"} }, false},
		{func(p *placement) { p.tensors = []string{"exps"} }, false},
		{func(p *placement) { p.tensors = []string{"(=CPU"} }, false},
		{func(p *placement) { p.split = "3,1" }, false},
		{func(p *placement) { p.mode = "none" }, true},
		{func(p *placement) { p.main = "1" }, false},
		{func(p *placement) { p.target = "sm_90" }, false},
		{func(p *placement) { p.driver = "purego" }, false},
	} {
		p := plain
		c.change(&p)
		err := p.check()
		if (err == nil) != c.ok || err != nil && fault.CodeOf(err) != fault.Usage {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestTables: every row of the tables is documented in both forms.
func TestTables(t *testing.T) {
	for _, command := range []string{"ops", "passes"} {
		text, _ := qnc(t, 0, command)
		asJSON, _ := qnc(t, 0, command, "--json")
		var names []string
		for _, r := range opRows() {
			names = append(names, r.Name)
		}
		if command == "passes" {
			names = nil
			for _, r := range passRows() {
				names = append(names, r.Name)
			}
		}
		for _, n := range names {
			if !strings.Contains("\n"+text, "\n"+n) || !strings.Contains(asJSON, `"name": "`+n+`"`) {
				t.Errorf("qnc %s does not show %s", command, n)
			}
		}
	}
}
