// Package compiler turns a GGUF file into a standalone program.
package compiler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"qnc/codegen"
	"qnc/codegen/cpu"
	"qnc/codegen/cuda"
	"qnc/codegen/host"
	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
)

// A Result is what a compile has made by the phase it stopped after.
type Result struct {
	Module  *ir.Module
	Program string // path of the program, after Link
	Weights string // path of the weights; "" when they are embedded
	BuildID string
}

// A job carries one compile through its phases.
type job struct {
	o      *Options
	path   string
	file   *gguf.File
	m      *ir.Module
	whole  *ir.Module // the same with the CPU alone, while a program could fall back to it
	info   engine.Info
	stats  []passStat
	files  []codegen.File // the emitted module
	driver *host.Driver   // of the emitted module; nil: it uses no GPU
	own    int            // how many of them are the program's own, the rest is runtime
	bar    *bar
	fit    bool   // plan what does not fit as well
	dir    string // where the emitted module has been written
	temp   string // the same, when it is to be removed
	res    Result
}

// Compile opens, imports, optimises, places, plans, emits and links the model
// at path. Nothing that existed is replaced until the new program is complete.
func Compile(ctx context.Context, path string, o *Options) (*Result, error) {
	if err := o.normalise(); err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j := &job{o: o, path: path, file: f, bar: newBar(o)}
	defer j.cleanup()
	defer j.bar.end()
	o.Out = outPath(o.Out, path)
	if o.StopAfter == Link && !o.DryRun {
		if err := j.checkOut(); err != nil {
			return nil, err
		}
	}
	for _, step := range []struct {
		phase Phase
		run   func(context.Context) error
	}{{Import, j.load}, {Optimise, j.optimise}, {Place, j.place}, {Plan, j.plan}, {Emit, j.emit}, {Link, j.link}} {
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Interrupted, "interrupted: %w", err)
		}
		if step.phase.after(o.StopAfter) {
			break
		}
		if err := step.run(ctx); err != nil {
			return nil, err
		}
	}
	j.res.Module = j.m
	return &j.res, j.artifact("stats", func() ([]byte, error) { return json.MarshalIndent(j.stats, "", "  ") })
}

// load imports the model.
func (j *job) load(ctx context.Context) error {
	start := time.Now()
	machine, err := j.machine(ctx)
	if err != nil {
		return err
	}
	var notes []string
	if err := gguf.Guard(func() error {
		j.m, notes, err = j.lower(machine)
		return err
	}); err != nil {
		return err
	}
	for _, n := range append(notes, j.slow(machine)...) {
		j.logf("qnc: %s: %s", j.path, n)
	}
	j.measure("import", time.Since(start))
	if err := j.dump("import"); err != nil {
		return err
	}
	return j.artifact("graph", func() ([]byte, error) { return []byte(j.m.String()), nil })
}

// lower chooses the sizes and lowers the architecture.
func (j *job) lower(machine ir.Machine) (*ir.Module, []string, error) {
	opt := arch.Options{Ubatch: j.o.Ubatch, Seqs: j.o.Seqs}
	opt.TypeK, _ = ir.DTypeByName(j.o.TypeK)
	opt.TypeV, _ = ir.DTypeByName(j.o.TypeV)
	if j.o.Ctx == 0 {
		n, err := defaultCtx(j.file, machine, opt)
		if err != nil {
			return nil, nil, err
		}
		j.o.Ctx = n * j.o.Seqs
	}
	opt.Ctx = j.o.Ctx / j.o.Seqs
	if opt.Ctx == 0 {
		return nil, nil, fault.New(fault.Usage, "-c %d is less than a token for each of -np %d sequences", j.o.Ctx, j.o.Seqs)
	}
	opt.Ubatch = min(opt.Ubatch, opt.Ctx)
	r, err := arch.Import(j.file, machine, opt)
	if err == nil {
		err = checkTokenizer(j.file)
	}
	if err != nil {
		return nil, nil, err
	}
	j.info, err = describe(j.file, j.o, opt, r.Layers)
	return r.Module, r.Notes, err
}

// target is what the passes may know of the backends.
func (j *job) target() *passes.Target {
	return &passes.Target{CanRun: CanRun, VerifyOnce: true, Uploads: j.o.Placement.Uploads, Overfull: j.fit}
}

// canRun says why a kind of device, the name up to the colon, has no kernel for a value.
var canRun = map[string]func(v *ir.Value) error{"cpu": cpu.CanRun, "cuda": cuda.CanRun}

// CanRun reports whether a device has a kernel for v.
func CanRun(d ir.Device, v *ir.Value) bool {
	kind, _, _ := strings.Cut(string(d), ":")
	can := canRun[kind]
	return can != nil && can(v) == nil
}

// optimise runs the passes that rewrite the graph.
func (j *job) optimise(context.Context) error {
	return j.run(passes.Rewrites)
}

// place chooses devices and cuts the functions into parts.
func (j *job) place(context.Context) error {
	if err := j.copyForCPU(); err != nil {
		return err
	}
	if err := j.o.Placement.pin(j.m); err != nil {
		return err
	}
	if err := j.run(passes.Placement); err != nil {
		return err
	}
	return j.artifact("placed", func() ([]byte, error) { return []byte(j.m.String()), nil })
}

// plan gives every value its place in the arena.
func (j *job) plan(context.Context) error {
	if err := j.run(passes.Planning); err != nil {
		return err
	}
	cpu.AssignLayouts(j.m, j.o.TargetCPU)
	if err := j.planForCPU(); err != nil {
		return err
	}
	if err := j.predict(); err != nil {
		return err
	}
	return j.artifact("plan", func() ([]byte, error) { return []byte(j.m.String()), nil })
}

// run applies the passes of one stage.
func (j *job) run(stage passes.Stage) error {
	start := time.Now()
	err := passes.Run(j.m, j.target(), stage.Passes(j.o.Precise), func(p *passes.Pass) error {
		j.measure(p.Name, time.Since(start))
		err := j.dump(p.Name)
		start = time.Now()
		return err
	})
	return errFit(j.path, err)
}

// emit writes the program's source and type-checks it.
func (j *job) emit(ctx context.Context) error {
	start := time.Now()
	emit := j.emitGPU
	if !usesGPU(j.m) {
		if err := j.needsGPU(); err != nil {
			return err
		}
		emit = j.emitCPU
	}
	out, err := emit(ctx)
	if err != nil {
		return err
	}
	main, err := host.Main("main", j.info, &out.program)
	if err != nil {
		return err
	}
	module, err := host.Module(out.driver)
	if err != nil {
		return err
	}
	j.driver = out.driver
	j.files = append([]codegen.File{main}, out.files...)
	if j.o.hook != nil {
		j.files = append(j.files, codegen.File{Name: "hook.go", Data: j.o.hook})
	}
	j.own = len(j.files)
	j.files = append(j.files, module...)
	if j.o.Verbose {
		j.logf("%-14s %8s  %d kernels, %d files", "emit", ms(time.Since(start)), out.kernels, len(j.files))
	}
	for _, a := range j.o.Emit {
		n := map[string]int{"go": j.own, "src": len(j.files)}[a.Kind]
		if n > 0 {
			if err := writeFiles(a.Path, j.files[:n]); err != nil {
				return err
			}
		}
	}
	if j.o.DryRun {
		return nil
	}
	start = time.Now()
	if err := j.check(ctx); err != nil {
		return err
	}
	if j.o.Verbose {
		j.logf("%-14s %8s", "type check", ms(time.Since(start)))
	}
	return nil
}

// An emitted program, without main.go and the runtime.
type emitted struct {
	files   []codegen.File
	program host.Program
	kernels int
	driver  *host.Driver // nil: it uses no GPU
}

// emitCPU writes a program for the CPU alone.
func (j *job) emitCPU(context.Context) (*emitted, error) {
	out, err := cpu.Emit(j.m, "main", j.o.TargetCPU)
	if err != nil {
		return nil, fault.Wrap(fault.Model, err)
	}
	j.info.ArenaBytes, j.info.RecurrentBytes, j.info.KVBytes = int64(out.ArenaBytes), int64(4*out.RecurrentFloats*j.o.Seqs), int64(out.CacheBytes)
	return &emitted{out.Files, host.Program{Plan: enginePlan(out), New: "newModel"}, out.Kernels, nil}, nil
}

// artifact writes a file that --emit asked for.
func (j *job) artifact(kind string, data func() ([]byte, error)) error {
	for _, a := range j.o.Emit {
		if a.Kind != kind {
			continue
		}
		b, err := data()
		if err != nil {
			return err
		}
		if a.Path == "-" && j.o.Stdout != nil {
			_, err = j.o.Stdout.Write(b)
		} else {
			err = os.WriteFile(a.Path, b, 0o666)
		}
		if err != nil {
			return fmt.Errorf("--emit %s: %w", kind, err)
		}
	}
	return nil
}

// dump writes the module after a pass into the --dump folder.
func (j *job) dump(pass string) error {
	if j.o.Dump == "" {
		return nil
	}
	if err := os.MkdirAll(j.o.Dump, 0o777); err != nil {
		return fmt.Errorf("--dump: %w", err)
	}
	var b bytes.Buffer
	j.m.WriteTo(&b)
	name := fmt.Sprintf("%02d-%s.qir", len(j.stats), pass)
	if err := os.WriteFile(filepath.Join(j.o.Dump, name), b.Bytes(), 0o666); err != nil {
		return fmt.Errorf("--dump: %w", err)
	}
	return nil
}

func writeFiles(dir string, files []codegen.File) error {
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o666); err != nil {
			return err
		}
	}
	return nil
}
