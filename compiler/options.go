package compiler

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"qnc/codegen/cuda/toolchain"
	"qnc/codegen/host"
	"qnc/runtime/cpu"
	"qnc/runtime/fault"
)

// Version is what --version prints and what emitted programs carry.
const Version = "0.1.0"

// A Phase is a point at which a compile can stop.
type Phase string

const (
	Import   Phase = "import"
	Optimise Phase = "optimise"
	Place    Phase = "place"
	Plan     Phase = "plan"
	Emit     Phase = "emit"
	Link     Phase = "link"
)

// Phases lists the phases in order.
var Phases = []Phase{Import, Optimise, Place, Plan, Emit, Link}

// after reports whether p comes after q.
func (p Phase) after(q Phase) bool { return slices.Index(Phases, p) > slices.Index(Phases, q) }

// An Artifact is something a compile can write beside the program.
type Artifact struct {
	Kind string // see Artifacts
	Path string // "-" is standard output
}

// Artifacts are the kinds that --emit knows, each with its default file and
// the phase that makes it.
var Artifacts = []struct {
	Kind, File string
	Phase      Phase
	Doc        string
}{
	{"graph", "graph.qir", Import, "the module as imported"},
	{"placed", "placed.qir", Place, "the module after the passes, placed on devices"},
	{"plan", "plan.qir", Plan, "the module with its memory plan"},
	{"go", "go", Emit, "the emitted Go of the steps and kernels, a folder"},
	{"cu", "cu", Emit, "the kernels for GPUs and their headers, a folder"},
	{"ptx", "kernels.ptx", Emit, "their PTX for the oldest chip of --target-gpu"},
	{"fatbin", "kernels.fatbin", Emit, "what the program carries of them"},
	{"src", "src", Emit, "the whole emitted module, a folder"},
	{"stats", "stats.json", Import, "what each pass changed"},
}

// artifactAt returns the index of a kind in Artifacts, or -1.
func artifactAt(kind string) int {
	for i, a := range Artifacts {
		if a.Kind == kind {
			return i
		}
	}
	return -1
}

// ParseArtifacts reads "graph,plan=p.qir".
func ParseArtifacts(s string) ([]Artifact, error) {
	var out []Artifact
	for _, x := range strings.Split(s, ",") {
		kind, path, _ := strings.Cut(x, "=")
		i := artifactAt(kind)
		if i < 0 {
			var known []string
			for _, a := range Artifacts {
				known = append(known, a.Kind)
			}
			return nil, fault.New(fault.Usage, "--emit %s: unknown kind: want %s", kind, fault.Either(known...))
		}
		if path == "" {
			path = Artifacts[i].File
		}
		out = append(out, Artifact{kind, path})
	}
	return out, nil
}

// Options are the choices of a compile; the zero value is a plain one.
type Options struct {
	Out     string // the program; "": the model's base name
	Ctx     int    // -c, cells of all sequences; 0: from the model and this machine's memory
	Batch   int    // -b
	Ubatch  int    // -ub
	Seqs    int    // -np
	TypeK   string // -ctk
	TypeV   string // -ctv
	Threads int    // default of the program's own -t

	Placement Placement
	Machine   string // --machine FILE.qir; "": this machine
	TargetCPU string // native or a name of package cpu; the latter once checked
	Embed     bool
	Precise   bool

	Emit      []Artifact
	StopAfter Phase  // "": link
	Dump      string // folder for the module after every pass

	Verbose bool   // -v
	Trace   bool   // -x: print commands
	DryRun  bool   // -n: print commands, run none
	Work    string // --work: keep the emitted module here

	Stdout   io.Writer
	Stderr   io.Writer
	Progress bool // standard error is a terminal

	TargetGPU  string // --target-gpu, "sm_80,sm_90"; "": the usual ones that the compiler knows
	CUDADriver string // --cuda-driver; "": the default
	archs      []toolchain.Arch

	hook    []byte                                    // tests: one more file of the emitted package
	emulate func(source []byte) (*host.Binary, error) // tests: stands in for the compiler of kernels
}

// limits of sizes; relations are checked in normalise.
const maxSize = 1 << 24

// normalise sets defaults and refuses what no program could have.
func (o *Options) normalise() error {
	for _, d := range []struct {
		v         *int
		def, max  int
		flag, doc string
	}{
		{&o.Batch, 2048, maxSize, "-b", "tokens"}, {&o.Ubatch, 512, 1 << 16, "-ub", "tokens"}, {&o.Seqs, 1, 1024, "-np", "sequences"},
		{&o.Threads, 0, 1024, "-t", "threads"}, {&o.Ctx, 0, maxSize, "-c", "tokens"},
	} {
		if *d.v < 0 || *d.v > d.max {
			return fault.New(fault.Usage, "%s %d: want 1 … %d %s", d.flag, *d.v, d.max, d.doc)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	o.Ubatch = min(o.Ubatch, o.Batch) // as llama.cpp does
	for _, t := range []*string{&o.TypeK, &o.TypeV} {
		if *t == "" {
			*t = "f16"
		}
		if !slices.Contains(CacheTypes, *t) {
			return fault.New(fault.Usage, "a KV cache of %s: want %s", *t, fault.Either(CacheTypes...))
		}
	}
	if o.Precise {
		o.TypeK, o.TypeV = "f32", "f32"
	}
	goarch := os.Getenv("GOARCH") // what the program is built for
	if goarch == "" {
		goarch = runtime.GOARCH
	}
	if o.TargetCPU == "" || o.TargetCPU == "native" {
		o.TargetCPU = cpu.Targets[0].Name
		if goarch == runtime.GOARCH {
			o.TargetCPU = cpu.Detect().Best().Name
		}
	}
	target, ok := cpu.ByName(o.TargetCPU)
	if !ok {
		return fault.New(fault.Usage, "--target-cpu %s: want native or one of %s", o.TargetCPU, strings.Join(cpu.Names(), ", "))
	}
	if target.Arch != "" && target.Arch != goarch {
		return fault.New(fault.Usage, "--target-cpu %s is for %s, the program is built for %s: use --target-cpu portable", o.TargetCPU, target.Arch, goarch)
	}
	if o.TargetGPU != "" {
		archs, err := toolchain.ParseArchs(o.TargetGPU)
		if err != nil {
			return err
		}
		o.archs = archs
	}
	if _, err := host.DriverByName(o.CUDADriver); err != nil {
		return err
	}
	if o.StopAfter == "" {
		o.StopAfter = Link
	}
	if !slices.Contains(Phases, o.StopAfter) {
		var names []string
		for _, p := range Phases {
			names = append(names, string(p))
		}
		return fault.New(fault.Usage, "--stop-after %s: want %s", o.StopAfter, fault.Either(names...))
	}
	if o.Machine != "" {
		if _, err := os.Stat(o.Machine); err != nil {
			return fault.New(fault.Usage, "--machine %s: %w: give a file of device lines, or leave the flag out for this machine", o.Machine, reason(err))
		}
	}
	for _, a := range o.Emit {
		if p := Artifacts[artifactAt(a.Kind)].Phase; p.after(o.StopAfter) {
			return fault.New(fault.Usage, "--emit %s is made in phase %s, after --stop-after %s: stop later", a.Kind, p, o.StopAfter)
		}
	}
	return nil
}

// reason is what a file error says beside the operation and the path.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// CacheTypes are the formats of a KV cache.
var CacheTypes = []string{"f16", "q8_0", "f32"}
