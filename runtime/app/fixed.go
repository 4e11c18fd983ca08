package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

// fixed lists the flags that were decided at compile time: what they were
// decided to be, and whether a value asks for nothing else.
var fixed = []struct {
	flag string
	now  func(*engine.Info) string
	same func(val string, in *engine.Info) bool
}{
	{"ctx-size", func(in *engine.Info) string { return strconv.Itoa(in.NumCtx) },
		func(val string, in *engine.Info) bool { return atMost(val, in.NumCtx) }},
	{"batch-size", func(in *engine.Info) string { return strconv.Itoa(in.NumBatch) },
		func(val string, in *engine.Info) bool { return atMost(val, in.NumBatch) }},
	{"ubatch-size", func(in *engine.Info) string { return strconv.Itoa(in.NumUbatch) },
		func(val string, in *engine.Info) bool { return atMost(val, in.NumUbatch) }},
	{"parallel", func(in *engine.Info) string { return strconv.Itoa(in.NumSeq) },
		func(val string, in *engine.Info) bool { return val == strconv.Itoa(in.NumSeq) }},
	{"cache-type-k", func(in *engine.Info) string { return in.TypeK },
		func(val string, in *engine.Info) bool { return strings.EqualFold(val, in.TypeK) }},
	{"cache-type-v", func(in *engine.Info) string { return in.TypeV },
		func(val string, in *engine.Info) bool { return strings.EqualFold(val, in.TypeV) }},
	{"n-gpu-layers", onDevices, sameLayers},
	{"override-tensor", onDevices, func(val string, in *engine.Info) bool { return onCPU(val) && in.GPUs == "" || said(val, in) }},
	{"tensor-split", onDevices, said},
	{"main-gpu", onDevices, func(val string, in *engine.Info) bool { return val == "0" || said(val, in) }},
	// -cmoe, -ncmoe and -sm ask for nothing that a CPU binary does not do.
	{"cpu-moe", nil, func(string, *engine.Info) bool { return true }},
	{"n-cpu-moe", nil, func(string, *engine.Info) bool { return true }},
	{"split-mode", nil, func(string, *engine.Info) bool { return true }},
	{"model", func(in *engine.Info) string { return in.SourceFile },
		func(val string, in *engine.Info) bool { return filepath.Base(val) == in.SourceFile }},
}

// onDevices is where the program runs.
func onDevices(in *engine.Info) string {
	if in.GPUs == "" {
		return "the CPU alone"
	}
	return fmt.Sprintf("%d of %d layers on %s", in.GPULayers, in.NumLayers+1, in.GPUs)
}

// sameLayers reports whether -ngl asks for the layers that are on GPUs; more than there are is all.
func sameLayers(val string, in *engine.Info) bool {
	n, err := strconv.Atoi(val)
	switch {
	case val == "auto" || n < 0:
		return true
	case val == "all":
		n = in.NumLayers + 1
	case err != nil:
		return false
	}
	return min(n, in.NumLayers+1) == in.GPULayers
}

// said reports whether the compile's command had this value.
func said(val string, in *engine.Info) bool {
	return slices.ContainsFunc(strings.Fields(in.Recompile), func(w string) bool { return strings.Trim(w, "'") == val })
}

// atMost reports whether every number of a list is at most limit; 0 is the compiled size.
func atMost(val string, limit int) bool {
	n, err := strconv.Atoi(val)
	return err == nil && n <= limit
}

// onCPU reports whether every tensor override RE=DEV names the CPU.
func onCPU(val string) bool {
	for part := range strings.SplitSeq(val, ",") {
		_, dev, _ := strings.Cut(part, "=")
		if !strings.EqualFold(dev, "CPU") {
			return false
		}
	}
	return true
}

// checkFixed refuses flags that ask for another binary, with the command that makes it.
func checkFixed(set *flags.Set, cmd flags.Command, in *engine.Info) error {
	for _, f := range fixed {
		if !set.Has(f.flag) {
			continue
		}
		vals := set.Strings(f.flag)
		if cmd == flags.Bench && (f.flag == "batch-size" || f.flag == "ubatch-size") {
			vals = nil
			for _, n := range set.Ints(f.flag) {
				vals = append(vals, strconv.Itoa(n))
			}
		}
		for _, val := range vals {
			if f.same(val, in) {
				continue
			}
			said := set.Said(f.flag)
			if f.flag == "model" {
				return fault.New(fault.Usage, "%s %s: this binary was compiled from %s: compile the other: qnc compile %s", said, val, in.SourceFile, val)
			}
			flag := said
			if !strings.HasPrefix(said, "-") { // an environment variable
				flag = "--" + f.flag
			}
			return fault.New(fault.Usage, "%s %s: this binary was compiled for %s: recompile: %s %s %s", said, val, f.now(in), in.Recompile, flag, val)
		}
	}
	return nil
}
