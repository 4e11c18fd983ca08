package main

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"qnc/compiler"
	"qnc/runtime/fault"
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

// compile checks what only the command line knows and runs the compiler.
func compile(c *cobra.Command, model string, o *compiler.Options, p placement) (*compiler.Result, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	o.Threads = max(o.Threads, 0) // -1 is the table's word for "not given"
	o.Stdout, o.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	o.Progress = isTerminal(o.Stderr)
	return compiler.Compile(c.Context(), model, o)
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
	layers, experts, split, mode, main, target, driver string
	cpuExperts                                         bool
	tensors                                            []string
}

func (p *placement) vars() map[string]any {
	return map[string]any{
		"n-gpu-layers": &p.layers, "cpu-moe": &p.cpuExperts, "n-cpu-moe": &p.experts, "override-tensor": &p.tensors,
		"tensor-split": &p.split, "split-mode": &p.mode, "main-gpu": &p.main, "target-gpu": &p.target, "cuda-driver": &p.driver,
	}
}

// check accepts what makes no difference without a GPU and refuses the rest.
func (p *placement) check() error {
	for _, f := range []struct {
		flag, value string
		harmless    []string
		cure        string
	}{
		{"-ngl", p.layers, []string{"auto", "0"}, "-ngl 0"},
		{"-ts", p.split, []string{""}, "no -ts"},
		{"-mg", p.main, []string{"0"}, "no -mg"},
		{"--target-gpu", p.target, []string{""}, "no --target-gpu"},
		{"--cuda-driver", p.driver, []string{""}, "no --cuda-driver"},
	} {
		if !slices.Contains(f.harmless, f.value) {
			return fault.New(fault.Usage, "%s %s: this version of qnc compiles for the CPU only: give %s", f.flag, f.value, f.cure)
		}
	}
	for _, list := range p.tensors {
		for rule := range strings.SplitSeq(list, ",") {
			re, device, ok := strings.Cut(rule, "=")
			if _, err := regexp.Compile(re); !ok || err != nil {
				return fault.New(fault.Usage, "-ot %s: not REGEXP=DEVICE", rule)
			}
			if !strings.EqualFold(device, "cpu") {
				return fault.New(fault.Usage, "-ot %s: this version of qnc compiles for the CPU only: name the device CPU", rule)
			}
		}
	}
	return nil
}
