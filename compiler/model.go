package compiler

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/tokenizer"
)

// checkTokenizer refuses a vocabulary that the program could not load.
func checkTokenizer(f *gguf.File) error {
	if _, err := tokenizer.New(f); err != nil {
		return fault.New(fault.CodeOf(err), "%s: %w", f.Path(), err)
	}
	return nil
}

// gpuReserve is the memory of a GPU that is counted for the driver's context
// and the kernels where the machine's text does not say it.
const gpuReserve = 400 << 20

// machine is the machine of --machine, or this one, with the GPUs that the flags leave.
func (j *job) machine(ctx context.Context) (m ir.Machine, err error) {
	if j.o.Machine == "" {
		var note string
		if m, note = ThisMachine(ctx, &j.o.Placement); note != "" {
			j.logf("qnc: %s", note)
		}
	} else {
		src, err := os.ReadFile(j.o.Machine)
		if err != nil {
			return m, fault.New(fault.Usage, "--machine: %w", err)
		}
		parsed, err := ir.Parse(string(src))
		if err != nil {
			return m, fault.New(fault.Usage, "--machine %s: %w", j.o.Machine, err)
		}
		if m = parsed.Machine; len(m.Devices) == 0 {
			return m, fault.New(fault.Usage, "--machine %s: no device line", j.o.Machine)
		}
	}
	for i := range m.Devices {
		if d := &m.Devices[i]; d.Name != "cpu" && d.Reserve == 0 {
			d.Reserve = gpuReserve
		}
	}
	return m, j.o.Placement.check(&m)
}

// TotalMemory is this machine's memory in bytes; 0 when it is not known.
func TotalMemory() int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil && n < math.MaxInt64/1024 {
				return n * 1024
			}
		}
	}
	return 0
}

// ctxStep is what a default context is a multiple of.
const ctxStep = 256

// defaultCtx is the cells of one sequence: the model's context, or what a
// quarter of its memory, or of the smallest GPU's, holds of KV cache.
func defaultCtx(f *gguf.File, machine ir.Machine, opt arch.Options) (int, error) {
	name, _, err := f.String("general.architecture")
	if err != nil {
		return 0, err
	}
	n, ok, err := f.Uint(name + ".context_length")
	if err != nil {
		return 0, err
	}
	if !ok || n == 0 {
		n = 4096
	}
	ctx := int(min(n, maxSize))
	mem := machine.Devices[0].Mem
	for _, d := range gpus(&machine) { // the caches lie there
		if d.Mem > d.Reserve && (mem == 0 || d.Mem-d.Reserve < mem) {
			mem = d.Mem - d.Reserve
		}
	}
	if mem == 0 {
		return ctx, nil
	}
	opt.Ctx, opt.Ubatch = ctxStep, ctxStep
	r, err := arch.Import(f, machine, opt)
	if err != nil {
		return 0, err
	}
	cell := cellBytes(r.Module, opt.Seqs)
	if cell > 0 && int64(ctx)*cell > mem/4 {
		ctx = max(ctxStep, int(mem/4/cell)/ctxStep*ctxStep)
	}
	return ctx, nil
}

// cellBytes is what one cell of all KV caches takes, of all sequences.
func cellBytes(m *ir.Module, seqs int) int64 {
	n := int64(0)
	for s := range passes.Caches(m) {
		t := s.Type.Clone()
		t.Dims[1] = ir.Num(1)
		n += int64(t.Bytes(ir.Sizes{"S": seqs}))
	}
	return n
}

// describe fills what the program knows of itself.
func describe(f *gguf.File, o *Options, opt arch.Options, layers int) (engine.Info, error) {
	base := filepath.Base(f.Path())
	in := engine.Info{
		SourceFile: base, Compiler: Version, TargetCPU: o.TargetCPU,
		Recompile: fmt.Sprintf("qnc compile %s -o %s", base, filepath.Base(o.Out)) + o.placementFlags(),
		NumLayers: layers, NumCtx: opt.Ctx, NumBatch: o.Batch, NumUbatch: opt.Ubatch, NumSeq: o.Seqs,
		TypeK: o.TypeK, TypeV: o.TypeV, Precise: o.Precise, DefaultThreads: o.Threads,
	}
	var err error
	if in.Arch, _, err = f.String("general.architecture"); err != nil {
		return in, err
	}
	var ok bool
	if in.Name, ok, err = f.String("general.name"); err != nil {
		return in, err
	} else if !ok {
		in.Name = strings.TrimSuffix(base, ".gguf")
	}
	ft, ok, err := f.Uint("general.file_type")
	if err != nil {
		return in, err
	}
	in.FileType = "unknown type"
	if ok {
		in.FileType = gguf.FileTypeName(ft)
	}
	for _, t := range f.Tensors() {
		n := uint64(1)
		for _, d := range t.Dims {
			n *= d
		}
		in.Params += n
		in.WeightBytes += t.Size
	}
	if t, ok := f.Tensor("token_embd.weight"); ok && len(t.Dims) == 2 {
		in.NumVocab = int(t.Dims[1])
	}
	return in, nil
}
