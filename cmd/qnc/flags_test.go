package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"qnc/compiler"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

func TestNormalise(t *testing.T) {
	t.Setenv("LLAMA_ARG_UBATCH", "64")
	for _, c := range []struct{ args, want string }{
		{"compile m.gguf -ngl 0 -c 512 --cpu_moe", "compile --ubatch-size=64 --n-gpu-layers=0 --ctx-size=512 --cpu-moe=true -- m.gguf"},
		{"opt -passes=cse,dce f.qir", "opt --passes=cse,dce -- f.qir"},
		{"run -np 2 m.gguf -p hi -c 99 -temp 0", "run --ubatch-size=64 --parallel=2 --ctx-size=99 -- m.gguf -p hi -temp 0"},
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

// TestRules: -ot, -cmoe and -ncmoe keep the order in which they were given.
func TestRules(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"-cmoe -ot a=CUDA0,b=CPU -ncmoe 3", "-cmoe -ot a=CUDA0 -ot b=CPU -ncmoe 3"},
		{"-ot a=cuda:0 --n-cpu-moe 2 -ot c=CPU --cpu-moe", "-ot a=cuda:0 -ncmoe 2 -ot c=CPU -cmoe"},
		{"-ncmoe 0 --cpu-moe=false", ""},
	} {
		var p placement
		cmd := &cobra.Command{Use: "run"}
		bind(cmd, variables(&compiler.Options{}, &p))
		args, err := flags.Normalize(flags.Run, strings.Fields(c.args), nil)
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if have := (rule{list: &p.rules}).String(); err != nil || have != c.want {
			t.Errorf("%s: have %q, %v, want %q", c.args, have, err, c.want)
		}
	}
	for _, bad := range []string{"exps", "(=CPU", "=CPU", "a="} {
		if _, err := compiler.ParseOverrides(bad); fault.CodeOf(err) != fault.Usage {
			t.Errorf("-ot %s: %v", bad, err)
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
