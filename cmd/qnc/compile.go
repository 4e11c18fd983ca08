package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"qnc/compiler"
)

func newCompile() *cobra.Command {
	var o compiler.Options
	var p placement
	var emit []string
	c := &cobra.Command{
		Use:               "compile MODEL.gguf [-o OUT] [flags]",
		Short:             "compile a GGUF file into a standalone program",
		Long:              "compile turns MODEL.gguf (of a split: its first file) into the program OUT and its\nweights OUT.weights. Neither is there before both are complete.",
		Args:              operand("model"),
		ValidArgsFunction: files("gguf"),
	}
	vars := variables(&o, &p)
	vars["output"] = &o.Out
	vars["emit"] = &emit
	vars["stop-after"] = (*string)(&o.StopAfter)
	vars["dump"] = &o.Dump
	vars["trace"] = &o.Trace
	vars["dry-run"] = &o.DryRun
	bind(c, vars)
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, list := range emit {
			a, err := compiler.ParseArtifacts(list)
			if err != nil {
				return err
			}
			o.Emit = append(o.Emit, a...)
		}
		_, err := compile(c, args[0], &o, p)
		return err
	}
	return c
}

// variables are the targets of the flags that compile and run share.
func variables(o *compiler.Options, p *placement) map[string]any {
	vars := map[string]any{
		"ctx-size": &o.Ctx, "batch-size": &o.Batch, "ubatch-size": &o.Ubatch, "parallel": &o.Seqs,
		"cache-type-k": &o.TypeK, "cache-type-v": &o.TypeV, "threads": &o.Threads,
		"machine": &o.Machine, "target-cpu": &o.TargetCPU, "embed": &o.Embed, "precise": &o.Precise,
		"verbose": &o.Verbose, "work": &o.Work,
	}
	for name, v := range p.vars() {
		vars[name] = v
	}
	return vars
}

// compile runs the compiler with what only the command line knows.
func compile(c *cobra.Command, model string, o *compiler.Options, p placement) (*compiler.Result, error) {
	if err := settle(c, o, p); err != nil {
		return nil, err
	}
	return compiler.Compile(c.Context(), model, o)
}

// settle completes the options.
func settle(c *cobra.Command, o *compiler.Options, p placement) (err error) {
	o.Placement = p.flags
	o.TargetGPU, o.CUDADriver = p.target, p.driver
	if o.Placement.Overrides, err = p.rules.all(); err != nil {
		return err
	}
	o.Threads = max(o.Threads, 0) // -1 is the table's word for "not given"
	o.Stdout, o.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	o.Progress = isTerminal(o.Stderr)
	return nil
}

// isTerminal reports whether w is a terminal, or the null device, which is as patient.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// A placement holds the flags that place a model on GPUs.
type placement struct {
	flags          compiler.Placement
	rules          overrides
	target, driver string
}

func (p *placement) vars() map[string]any {
	return map[string]any{
		"n-gpu-layers": &p.flags.Layers, "tensor-split": &p.flags.Split, "split-mode": &p.flags.Mode, "main-gpu": &p.flags.Main, "op-offload": &p.flags.Uploads,
		"cpu-moe": rule{&p.rules, cpuMoE}, "n-cpu-moe": rule{&p.rules, cpuMoEBlocks}, "override-tensor": rule{&p.rules, compiler.ParseOverrides},
		"target-gpu": &p.target, "cuda-driver": &p.driver,
	}
}

// overrides collects what -ot, -cmoe and -ncmoe say, in the order given.
type overrides []override

type override struct {
	text  string
	parse func(string) ([]compiler.Override, error)
}

func (l overrides) all() ([]compiler.Override, error) {
	var out []compiler.Override
	for _, o := range l {
		more, err := o.parse(o.text)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// A rule is one of these flags.
type rule struct {
	list  *overrides
	parse func(string) ([]compiler.Override, error)
}

func (r rule) Set(s string) error {
	*r.list = append(*r.list, override{s, r.parse})
	return nil
}

// String is part of the key of the cache of qnc run: the rules in their order.
func (r rule) String() string {
	var words []string
	if r.list != nil {
		list, _ := r.list.all()
		for _, o := range list {
			words = append(words, o.Flag)
		}
	}
	return strings.Join(words, " ")
}

func (r rule) Type() string { return "rule" }

func cpuMoE(s string) ([]compiler.Override, error) {
	if s != "true" {
		return nil, nil
	}
	return []compiler.Override{compiler.CPUExperts(-1)}, nil
}

func cpuMoEBlocks(s string) ([]compiler.Override, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n == 0 {
		return nil, err
	}
	return []compiler.Override{compiler.CPUExperts(n)}, nil
}
