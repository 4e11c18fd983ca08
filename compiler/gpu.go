package compiler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"qnc/codegen"
	"qnc/codegen/cpu"
	"qnc/codegen/cuda"
	"qnc/codegen/cuda/toolchain"
	"qnc/codegen/host"
	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// usesGPU reports whether any part of the plan is not the CPU's.
func usesGPU(m *ir.Module) bool {
	return slices.ContainsFunc(m.Funcs, func(f *ir.Func) bool {
		return slices.ContainsFunc(f.Parts, func(p ir.Part) bool { return p.Device != "cpu" })
	})
}

// sameRecords refuses a plan in which 8-bit activations cross between a GPU and plain Go, which keep
// them in different forms.
func (j *job) sameRecords() error {
	if j.o.TargetCPU != "portable" {
		return nil
	}
	for _, f := range j.m.Funcs {
		for _, v := range f.Body {
			if v.Op == ir.OpTransfer && v.Type.DType == ir.A8 {
				return fault.New(fault.Usage, "--target-cpu portable: %s goes between a GPU and the CPU in 8 bits, whose form there is that of vector kernels: take another --target-cpu, or --precise", v)
			}
		}
	}
	return nil
}

// needsGPU is the error of an artifact that only a plan with a GPU has.
func (j *job) needsGPU() error {
	for _, a := range j.o.Emit {
		switch a.Kind {
		case "cu", "ptx", "fatbin":
			return fault.New(fault.Usage, "--emit %s: the whole plan is on the CPU: name a machine with a GPU (--machine) or leave it out", a.Kind)
		}
	}
	return nil
}

// copyForCPU keeps the module before it is placed, with the CPU alone: what the
// program falls back to on a machine without a GPU.
func (j *job) copyForCPU() error {
	i := slices.IndexFunc(j.m.Machine.Devices, func(d ir.DeviceInfo) bool { return d.Name == "cpu" })
	if i < 0 || len(j.m.Machine.Devices) == 1 {
		return nil
	}
	whole, err := ir.Parse(j.m.String())
	if err != nil {
		return fmt.Errorf("BUG: the module does not read back: %w", err)
	}
	whole.Machine = ir.Machine{Devices: whole.Machine.Devices[i : i+1]}
	j.whole = whole
	return nil
}

// planForCPU plans that copy, or drops it where no program needs it or could
// have it: its weights must lie as the GPUs read them, and the rest must fit.
func (j *job) planForCPU() error {
	if j.whole == nil || !usesGPU(j.m) || !cpu.Shareable(j.m) {
		j.whole = nil
		return nil
	}
	err := passes.Run(j.whole, &passes.Target{CanRun: CanRun, VerifyOnce: true}, slices.Concat(passes.Placement.Passes(j.o.Precise), passes.Planning.Passes(j.o.Precise)), nil)
	var fit *passes.FitError
	if errors.As(err, &fit) {
		j.whole, err = nil, nil
	}
	return err
}

// emitGPU writes a program for the plan's GPUs, with the CPU's parts and, where
// there can be one, the program for the CPU alone.
func (j *job) emitGPU(ctx context.Context) (*emitted, error) {
	if i := slices.IndexFunc(j.m.Funcs, func(f *ir.Func) bool { return f.From > 0 }); i >= 0 {
		return nil, fault.New(fault.Missing, "%s uploads experts, which the programs of this qnc do not: end with --stop-after plan, or leave out --op-offload", j.m.Funcs[i].Name)
	}
	driver, err := host.DriverByName(j.o.CUDADriver)
	if err != nil {
		return nil, err
	}
	if err := j.sameRecords(); err != nil {
		return nil, err
	}
	gpu, err := cuda.Emit(j.m, "main")
	if err != nil {
		return nil, fault.Wrap(fault.Model, err)
	}
	split, err := cpu.EmitSplit(j.m, j.whole, "main", j.o.TargetCPU)
	if err != nil {
		return nil, fault.Wrap(fault.Model, err)
	}
	bin, err := j.compileKernels(ctx, gpu.Sources)
	if err != nil {
		return nil, err
	}
	plan, err := host.GPU("main", j.m, gpu, &host.CPUParts{Parts: split.Parts, Logits: split.Logits}, bin)
	if err != nil {
		return nil, err
	}
	open, err := driver.File("main")
	if err != nil {
		return nil, err
	}
	out := &emitted{
		files:   slices.Concat(plan[:1], gpu.Files, split.Files, []codegen.File{open}, plan[1:]),
		program: host.Program{Plan: enginePlan(&split.Output), New: "newProgram"},
		kernels: gpu.Kernels + split.Kernels,
		driver:  driver,
	}
	if !slices.ContainsFunc(j.m.Weights, func(w *ir.Value) bool { return w.On == "cpu" && multiplied(j.m, w) }) {
		out.program.Plan.Threads = 1 // others would only wait
	}
	if split.Whole != nil {
		plan := enginePlan(split.Whole)
		out.program.CPU = &plan
	}
	seqs := int64(j.o.Seqs)
	j.info.ArenaBytes, j.info.RecurrentBytes, j.info.KVBytes = int64(split.ArenaBytes), 4*int64(split.RecurrentFloats)*seqs, int64(split.CacheBytes)
	var names []string
	for _, d := range gpu.Devices {
		names = append(names, string(d.Name))
		j.info.ArenaBytes += d.Arena
		j.info.RecurrentBytes += d.Recurrent * seqs
		j.info.KVBytes += d.KV
	}
	j.info.GPUs, j.info.GPULayers = strings.Join(names, ", "), gpuLayers(j.m, j.info.NumLayers)
	return out, nil
}

// gpuLayers counts the blocks with anything but experts on GPUs, and the head as one.
func gpuLayers(m *ir.Module, blocks int) int {
	on := func(prefix string) bool {
		return slices.ContainsFunc(m.Weights, func(w *ir.Value) bool {
			return w.On != "cpu" && strings.HasPrefix(source(w), prefix) && !experts.MatchString(source(w))
		})
	}
	n := 0
	for i := range blocks {
		if on(fmt.Sprintf("blk.%d.", i)) {
			n++
		}
	}
	if on("output") {
		n++
	}
	return n
}

// multiplied reports whether anything but a choice of rows reads a weight.
func multiplied(m *ir.Module, w *ir.Value) bool {
	return slices.ContainsFunc(m.Funcs, func(f *ir.Func) bool {
		return slices.ContainsFunc(f.Body, func(v *ir.Value) bool {
			return v.Op != ir.OpGetRows && v.Op != ir.OpTransfer && slices.Contains(v.Args, w)
		})
	})
}

// enginePlan is the memory of an emitted CPU program.
func enginePlan(out *cpu.Output) engine.Plan {
	return engine.Plan{ArenaBytes: out.ArenaBytes, ScratchFloats: out.ScratchFloats, SharedFloats: out.SharedFloats, RecurrentFloats: out.RecurrentFloats, KVBytes: out.CacheBytes}
}

// compileKernels compiles the text of all kernels for the chips of --target-gpu.
func (j *job) compileKernels(ctx context.Context, sources []codegen.File) (*host.Binary, error) {
	for _, a := range j.o.Emit {
		if a.Kind == "cu" {
			if err := writeFiles(a.Path, sources); err != nil {
				return nil, err
			}
		}
	}
	if j.o.emulate != nil {
		return j.o.emulate(sources[0].Data)
	}
	work := &toolchain.Job{Files: sources, Archs: j.o.archs, DryRun: j.o.DryRun}
	if j.o.Trace || j.o.DryRun {
		work.Trace = func(s toolchain.Step) { j.logf("%s", s) }
	}
	found := toolchain.Find(ctx)
	if work.Archs == nil && len(found.Compilers) > 0 {
		known := found.Compilers[0].Archs
		work.Archs = slices.DeleteFunc(slices.Clone(toolchain.Usual), func(a toolchain.Arch) bool { return !slices.Contains(known, a) })
	}
	compiler, err := found.Choose(work.Archs)
	if err != nil {
		return nil, err
	}
	j.bar.begin("compiling kernels")
	out, err := compiler.Build(ctx, work)
	if err != nil {
		return nil, err
	}
	if out == nil { // a dry run
		out = &toolchain.Output{}
	}
	if err := j.artifact("fatbin", func() ([]byte, error) { return out.Image, nil }); err != nil {
		return nil, err
	}
	if err := j.artifact("ptx", func() ([]byte, error) { return compiler.PTX(ctx, work, work.Archs[0]) }); err != nil {
		return nil, err
	}
	name := "kernels.fatbin"
	if compiler.Kind == toolchain.Clang {
		name = "kernels.ptx"
	}
	return &host.Binary{File: codegen.File{Name: name, Data: out.Image}, Archs: ints(out.Native), PTX: ints(out.PTX), NativeCUDA: out.NativeCUDA, PTXCUDA: out.PTXCUDA}, nil
}

func ints(archs []toolchain.Arch) []int {
	var out []int
	for _, a := range archs {
		out = append(out, int(a))
	}
	return out
}

// headers finds cuda.h of CUDA 12, which gorgonia.org/cu needs, in what CUDA_HOME
// and CUDA_PATH name and where toolkits are; "" leaves it to CGO_CFLAGS.
func headers() (string, error) {
	if os.Getenv("CGO_CFLAGS") != "" {
		return "", nil
	}
	found := ""
	for _, home := range []string{os.Getenv("CUDA_HOME"), os.Getenv("CUDA_PATH"), "/usr/local/cuda", "/usr"} {
		if home == "" {
			continue
		}
		for _, dir := range []string{filepath.Join(home, "include"), filepath.Join(home, "cuda12", "include")} {
			text, err := os.ReadFile(filepath.Join(dir, "cuda.h"))
			if err != nil {
				continue
			}
			if m := cudaVersion.FindSubmatch(text); m != nil && string(m[1]) == "12" {
				return dir, nil
			}
			found = fmt.Sprintf(" (those in %s are of another version)", dir)
		}
	}
	return "", fault.New(fault.Missing, "--cuda-driver gorgonia needs the headers of CUDA 12%s: name a toolkit in CUDA_HOME or give CGO_CFLAGS=-I…, or leave the flag out", found)
}

var cudaVersion = regexp.MustCompile(`(?m)^#define CUDA_VERSION (\d+)\d{3}\b`)
