package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"qnc/compiler"
	"qnc/runtime/fault"
)

// The oldest Go that builds emitted programs.
const needGoMajor, needGoMinor = 1, 26

// A diagnosis is what doctor finds; text and JSON share it.
type diagnosis struct {
	Qnc         string   `json:"qnc"`
	CPU         string   `json:"cpu"`
	Cores       int      `json:"cores,omitempty"` // physical; 0 is unknown
	Threads     int      `json:"threads"`
	Features    []string `json:"features"`
	Memory      int64    `json:"memory_bytes,omitempty"`
	Bandwidth   float64  `json:"read_bytes_per_second"`
	HugePages   string   `json:"transparent_huge_pages,omitempty"`
	LockedBytes string   `json:"memlock_limit,omitempty"`
	Go          string   `json:"go,omitempty"`
	GoPath      string   `json:"go_path,omitempty"`
	GoOK        bool     `json:"go_ok"`
	Cache       string   `json:"cache"`

	CUDA *compiler.CUDA `json:"cuda"`
}

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "show what this machine offers a compiled model",
		Args:  noOperand,
		RunE: func(c *cobra.Command, _ []string) error {
			d := diagnose(c.Context())
			if asJSON {
				if err := printJSON(c.OutOrStdout(), d); err != nil {
					return err
				}
			} else {
				d.text(c.OutOrStdout())
			}
			if !d.GoOK {
				return fault.New(fault.Missing, "no Go toolchain of version %d.%d or newer: install one (https://go.dev/dl)", needGoMajor, needGoMinor)
			}
			return nil
		},
	}
	bind(c, map[string]any{"json": &asJSON})
	return c
}

func diagnose(ctx context.Context) *diagnosis {
	d := &diagnosis{
		Qnc: compiler.Version, Threads: runtime.NumCPU(), Features: cpuFeatures(),
		Memory: compiler.TotalMemory(), Bandwidth: compiler.ReadBandwidth(),
	}
	d.CPU, d.Cores = cpuModel()
	d.HugePages = chosen(readFirst("/sys/kernel/mm/transparent_hugepage/enabled"))
	d.LockedBytes = memlock()
	d.Go, d.GoPath = goVersion()
	d.GoOK = newEnough(d.Go)
	d.Cache, _ = cacheDir()
	d.CUDA = compiler.DetectCUDA(ctx)
	return d
}

func (d *diagnosis) text(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("qnc", "%s", d.Qnc)
	if d.Cores > 0 {
		row("cpu", "%s, %d cores, %d threads", d.CPU, d.Cores, d.Threads)
	} else {
		row("cpu", "%s, %d threads", d.CPU, d.Threads)
	}
	row("features", "%s", strings.Join(d.Features, " "))
	if d.Memory > 0 {
		row("memory", "%.1f GiB", float64(d.Memory)/(1<<30))
	}
	row("bandwidth", "%.1f GB/s read by %d threads", d.Bandwidth/1e9, d.Threads)
	if d.HugePages != "" {
		row("huge pages", "%s", d.HugePages)
	}
	if d.LockedBytes != "" {
		row("memlock", "%s", d.LockedBytes)
	}
	switch {
	case d.Go == "":
		row("go", "not found")
	case !d.GoOK:
		row("go", "%s at %s: too old, %d.%d is needed", d.Go, d.GoPath, needGoMajor, needGoMinor)
	default:
		row("go", "%s at %s", d.Go, d.GoPath)
	}
	row("cache", "%s", d.Cache)
	for _, x := range d.CUDA.Compilers {
		row("cuda", "%s %s at %s: %s", x.Name, x.Version, x.Path, strings.Join(x.Archs, " "))
	}
	for _, why := range d.CUDA.Unusable {
		row("cuda", "unusable: %s", why)
	}
	if len(d.CUDA.Compilers) == 0 {
		row("cuda", "no compiler: %s", compiler.CUDACure)
	}
	if d.CUDA.Driver != "" {
		row("driver", "CUDA %s", d.CUDA.Driver)
	} else {
		row("driver", "%s", d.CUDA.NoDriver)
	}
	for _, g := range d.CUDA.GPUs {
		speed := ""
		if g.Bandwidth > 0 {
			speed = fmt.Sprintf(", %.0f GB/s", g.Bandwidth/1e9)
		}
		row("gpu", "%s, %s, %s, %.1f GiB%s", g.Device, g.Name, g.Arch, float64(g.Memory)/(1<<30), speed)
	}
}

// cpuFeatures lists the features that kernels may use, those that are there.
func cpuFeatures() []string {
	out := []string{}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA}, {"f16c", cpu.X86.HasF16C}, {"avx-vnni", cpu.X86.HasAVXVNNI},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512bw", cpu.X86.HasAVX512BW}, {"avx512vl", cpu.X86.HasAVX512VL},
		{"avx512-vnni", cpu.X86.HasAVX512VNNI}, {"avx512-vbmi", cpu.X86.HasAVX512VBMI}, {"avx512-bf16", cpu.X86.HasAVX512BF16},
		{"asimd", cpu.ARM64.HasASIMD}, {"dotprod", cpu.ARM64.HasASIMDDP}, {"i8mm", cpu.ARM64.HasI8MM}, {"sve", cpu.ARM64.HasSVE},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// cpuModel is the processor's name and its physical cores, 0 where they are not known.
func cpuModel() (name string, cores int) {
	name = runtime.GOARCH
	seen := map[string]bool{}
	var pkg string
	for line := range strings.Lines(readFirst("/proc/cpuinfo")) {
		key, val, _ := strings.Cut(line, ":")
		val = strings.TrimSpace(val)
		switch strings.TrimSpace(key) {
		case "model name":
			name = val
		case "physical id":
			pkg = val
		case "core id":
			seen[pkg+" "+val] = true
		}
	}
	return name, len(seen)
}

// readFirst returns a small file of the system, "" where there is none.
func readFirst(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// chosen is the bracketed word of "always [madvise] never".
func chosen(s string) string {
	_, s, _ = strings.Cut(s, "[")
	s, _, _ = strings.Cut(s, "]")
	return s
}

// memlock is the limit of locked memory as the system words it.
func memlock() string {
	for line := range strings.Lines(readFirst("/proc/self/limits")) {
		if rest, ok := strings.CutPrefix(line, "Max locked memory"); ok {
			if f := strings.Fields(rest); len(f) == 3 {
				if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
					return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
				}
				return f[0]
			}
		}
	}
	return ""
}

// goVersion asks the toolchain on the PATH.
func goVersion() (version, path string) {
	path, err := exec.LookPath("go")
	if err != nil {
		return "", ""
	}
	out, err := exec.Command(path, "env", "GOVERSION").Output()
	if err != nil {
		return "", path
	}
	return string(bytes.TrimSpace(out)), path
}

// newEnough reads "go1.26.3"; a development version counts as new.
func newEnough(v string) bool {
	if strings.HasPrefix(v, "devel") {
		return true
	}
	var major, minor int
	if _, err := fmt.Sscanf(v, "go%d.%d", &major, &minor); err != nil {
		return false
	}
	return slices.Compare([]int{major, minor}, []int{needGoMajor, needGoMinor}) >= 0
}
