package toolchain

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"qnc/codegen"
	"qnc/runtime/fault"
)

func TestParseArchs(t *testing.T) {
	for in, want := range map[string]string{
		"sm_80":                   "[sm_80]",
		"sm_120, sm_80,sm_90":     "[sm_80 sm_90 sm_120]",
		"sm_89,sm_89":             "[sm_89]",
		"":                        `"": not an architecture`,
		"80":                      `"80": not an architecture`,
		"sm_":                     `"sm_": not an architecture`,
		"sm_80,":                  `"": not an architecture`,
		"sm_99999999999999999999": "not an architecture",
		"sm_-80":                  "not an architecture",
		"sm_90a":                  "give sm_90",
		"sm_120f":                 "give sm_120",
		"sm_75":                   "need sm_80 or newer",
	} {
		archs, err := ParseArchs(in)
		if have := fmt.Sprint(archs); err == nil && have != want {
			t.Errorf("%q: %s, want %s", in, have, want)
		}
		if err != nil && (!strings.Contains(err.Error(), want) || fault.CodeOf(err) != fault.Usage) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestCUDAOfISA(t *testing.T) {
	for isa, want := range map[[2]int]int{{7, 0}: 11000, {7, 8}: 11080, {8, 0}: 12000, {8, 4}: 12040, {8, 5}: 12050, {8, 7}: 12080, {8, 8}: 12090, {9, 0}: 13000} {
		if have := cudaOfISA(isa[0], isa[1]); have != want {
			t.Errorf("PTX %d.%d: %d, want %d", isa[0], isa[1], have, want)
		}
	}
	for _, a := range Usual {
		if isa[a] == 0 {
			t.Errorf("%s has no PTX version", a)
		}
	}
}

const report = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'wide' for 'sm_90'
ptxas info    : Function properties for wide
    56 bytes stack frame, 52 bytes spill stores, 48 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 56 bytes cumulative stack size, 1024 bytes smem, 408 bytes cmem[0]
ptxas info    : Compile time = 58.252 ms
ptxas info    : Compiling entry function 'narrow' for 'sm_80'
ptxas info    : Function properties for narrow
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, 2080+16 bytes smem, 372 bytes cmem[0]
`

func TestUsage(t *testing.T) {
	list, err := ParseUsage(report)
	if err != nil {
		t.Fatal(err)
	}
	const want = `arch    kernel registers  stack spills  shared barriers
sm_80   narrow        16      0      0    2080        0
sm_90   wide         255     56    100    1024        1
`
	if have := string(Table(list)); have != want {
		t.Errorf("have\n%swant\n%s", have, want)
	}
	if err := Spills(list[:1]); err != nil {
		t.Error(err)
	}
	if err := Spills(list); err == nil || !strings.Contains(err.Error(), "wide on sm_90 (52 bytes stored, 48 loaded)") || strings.Contains(err.Error(), "narrow") {
		t.Errorf("spills: %v", err)
	}
	lines := strings.SplitAfter(report, "\n")
	for name, cut := range map[string]string{
		"end":       strings.Join(lines[:4], ""),
		"next":      strings.Join(slices.Concat(lines[:4], lines[6:]), ""),
		"no spills": strings.Join(slices.Concat(lines[:3], lines[4:]), ""),
	} {
		if _, err := ParseUsage(cut); err == nil {
			t.Errorf("%s: an incomplete report is taken", name)
		}
	}
}

// script writes a program of the shell into a folder.
func script(t *testing.T, dir, name, body string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the stand-ins are shell scripts")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
}

// alone makes a PATH of two folders, the test's own and that of a few system programs.
func alone(t *testing.T) string {
	t.Helper()
	dir, system := t.TempDir(), t.TempDir()
	for _, name := range []string{"sh", "cat", "sleep", "touch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("no %s", name)
		}
		if err := os.Symlink(path, filepath.Join(system, name)); err != nil {
			t.Skip(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+system)
	t.Setenv("CUDA_HOME", "")
	t.Setenv("CUDA_PATH", "")
	return dir
}

const fakeNVCC = `case $1 in
--version) echo "Cuda compilation tools, release 12.4, V12.4.131";;
--list-gpu-code) printf 'sm_50\nsm_80\nsm_86\nsm_90\nsm_90a\n';;
*) %s;;
esac
`

// programs leaves out what a library of this machine may be.
func programs(s *Search) *Search {
	s.Compilers = slices.DeleteFunc(s.Compilers, func(c *Compiler) bool { return c.Kind == NVRTC })
	return s
}

func TestFind(t *testing.T) {
	ctx := context.Background()
	dir := alone(t)
	if s := programs(Find(ctx)); len(s.Compilers) != 0 {
		t.Skipf("compilers beside the PATH: %v", s.Compilers)
	}
	_, err := (&Search{Broken: []string{"nvcc is ill"}}).Choose(Usual)
	if fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), "nvcc is ill") || !strings.Contains(err.Error(), Cure) {
		t.Errorf("nothing: %v", err)
	}

	home := t.TempDir()
	t.Setenv("CUDA_HOME", home)
	script(t, filepath.Join(home, "bin"), "nvcc", fmt.Sprintf(fakeNVCC, "exit 1"))
	s := programs(Find(ctx))
	if len(s.Compilers) != 0 || len(s.Broken) != 1 || !strings.Contains(s.Broken[0], "install g++") {
		t.Errorf("without a host compiler: %v %v", s.Compilers, s.Broken)
	}
	script(t, dir, "gcc", "")
	s = programs(Find(ctx))
	if have, want := fmt.Sprint(s.Compilers, s.Broken), fmt.Sprintf("[nvcc 12.4 at %s/bin/nvcc] []", home); have != want {
		t.Fatalf("%s, want %s", have, want)
	}
	if have := fmt.Sprint(s.Compilers[0].Archs); have != "[sm_80 sm_86 sm_90]" {
		t.Errorf("it knows %s", have)
	}
	if _, err := s.Choose([]Arch{80, 90}); err != nil {
		t.Error(err)
	}
	_, err = s.Choose([]Arch{80, 100, 120})
	if fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), "does not know sm_100 or sm_120: it knows sm_80, sm_86, sm_90") {
		t.Errorf("unknown architectures: %v", err)
	}

	// The PATH comes before CUDA_HOME; what is too old is told.
	script(t, dir, "nvcc", `echo "release 10.2, V10"`)
	script(t, dir, "clang++", `echo "Debian clang version 14.0.6"`)
	s = programs(Find(ctx))
	if said := strings.Join(s.Broken, "\n"); len(s.Compilers) != 0 || !strings.Contains(said, "CUDA 10.2 is too old") || !strings.Contains(said, "needs clang 16") {
		t.Errorf("old ones: %v %s", s.Compilers, said)
	}
	// Clang knows sm_80, whose PTX all newer ones run.
	script(t, dir, "clang++-19", `case $1 in --version) echo "clang version 19.1.7";; *) printf '  sm_80\n  sm_90a\n';; esac`)
	s = programs(Find(ctx))
	if len(s.Compilers) != 1 || s.Compilers[0].Kind != Clang {
		t.Fatalf("%v %v", s.Compilers, s.Broken)
	}
	if _, err := s.Choose([]Arch{80, 120}); err != nil {
		t.Error(err)
	}
	if _, err := s.Choose([]Arch{120}); err == nil {
		t.Error("clang is said to know sm_120")
	}
}

// TestProgram: what a compiler is given, what it says when it fails, what it leaves behind.
func TestProgram(t *testing.T) {
	dir := alone(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	log := filepath.Join(t.TempDir(), "ran")
	job := &Job{Files: []codegen.File{{Name: "kernels.cu", Data: []byte("source")}, {Name: "sub/h.cuh", Data: []byte("header")}}, Archs: []Arch{80, 86, 90}}
	c := &Compiler{Kind: NVCC, Path: filepath.Join(dir, "nvcc"), Major: 12, Minor: 4, Archs: []Arch{80, 86, 90}}
	run := func(ctx context.Context, body string) (*Output, error) {
		script(t, dir, "nvcc", "touch "+log+"\n"+body)
		out, err := c.Build(ctx, job)
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s is left behind", left)
		}
		return out, err
	}
	ctx := context.Background()

	out, err := run(ctx, `cat kernels.cu sub/h.cuh > kernels.fatbin; touch "$TMPDIR/scrap"; cat <<'END'`+"\n"+report+"END\n")
	if err != nil {
		t.Fatal(err)
	}
	if string(out.Image) != "sourceheader" {
		t.Errorf("image %q", out.Image)
	}
	if out.NativeCUDA != 12000 || out.PTXCUDA != 12040 || len(out.Usage) != 2 || fmt.Sprint(out.Native, out.PTX) != "[sm_80 sm_86 sm_90] [sm_80 sm_90]" {
		t.Errorf("output %+v", out)
	}

	_, err = run(ctx, "echo 'kernels.cu(3): error: identifier \"q\"'; echo ' is undefined'; exit 2")
	if fault.CodeOf(err) != fault.Missing || !strings.HasSuffix(err.Error(), `failed: kernels.cu(3): error: identifier "q" is undefined`) {
		t.Errorf("a failure: %v", err)
	}
	_, err = run(ctx, "exit 2")
	if err == nil || !strings.HasSuffix(err.Error(), "failed: exit status 2") {
		t.Errorf("a silent failure: %v", err)
	}
	_, err = run(ctx, "exit 0")
	if err == nil || !strings.Contains(err.Error(), "wrote nothing") {
		t.Errorf("no output: %v", err)
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err = run(soon, "exec sleep 60"); fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("interrupted: %v", err)
	}

	var steps []Step
	os.Remove(log)
	job.DryRun, job.Trace = true, func(s Step) { steps = append(steps, s) }
	if out, err := c.Build(ctx, job); out != nil || err != nil || len(steps) != 1 {
		t.Errorf("dry run: %v %v %v", out, err, steps)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("a dry run runs the compiler")
	}
	line := strings.Join(steps[0].Args, " ")
	for _, want := range []string{"-gencode arch=compute_80,code=sm_80 ", "code=sm_90 ", "code=compute_80 ", "code=compute_90 ", "-fmad=false"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is not in %s", want, line)
		}
	}
	if have := (Step{Args: []string{"-x", "a b"}, Library: "lib.so"}).String(); have != "# lib.so -x 'a b'" {
		t.Errorf("a step is printed as %s", have)
	}
	job.Archs = []Arch{80, 120}
	if _, err := c.Build(ctx, job); fault.CodeOf(err) != fault.Missing {
		t.Errorf("an unknown architecture: %v", err)
	}
	for _, name := range []string{"../kernels.cu", "/kernels.cu", "-o", ""} {
		if _, err := c.Build(ctx, &Job{Files: []codegen.File{{Name: name}}, Archs: []Arch{80}}); err == nil || !strings.HasPrefix(err.Error(), "BUG: ") {
			t.Errorf("source %q: %v", name, err)
		}
	}
}

// TestCompilers compiles a kernel with every compiler of this machine.
func TestCompilers(t *testing.T) {
	ctx := context.Background()
	s := Find(ctx)
	t.Logf("found %v; broken %v", s.Compilers, s.Broken)
	if len(s.Compilers) == 0 {
		t.Skip("no CUDA compiler: " + Cure)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range s.Compilers {
		t.Run(c.Kind.String(), func(t *testing.T) {
			job := &Job{Files: []codegen.File{{Name: "scale.cu", Data: read("scale.cu")}, {Name: "scale.h", Data: read("scale.h")}}, Archs: []Arch{80, 90}}
			out, err := c.Build(ctx, job)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Build(ctx, job)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Image, again.Image) {
				t.Error("two compiles differ")
			}
			if out.PTXCUDA < 11000 || len(out.Native) > 0 && out.NativeCUDA < 11000 {
				t.Errorf("CUDA versions %d and %d", out.NativeCUDA, out.PTXCUDA)
			}
			if len(out.Usage) != len(out.Native) {
				t.Errorf("%d reports for %d architectures", len(out.Usage), len(out.Native))
			}
			for _, u := range out.Usage {
				if u.Kernel != "scale" || u.Registers < 4 || u.Shared != 1024 {
					t.Errorf("usage %+v", u)
				}
			}
			if err := Spills(out.Usage); err != nil {
				t.Error(err)
			}
			text, err := c.PTX(ctx, job, 80)
			if err != nil || !bytes.Contains(text, []byte(".entry scale(")) || !bytes.Contains(text, []byte("\n.target sm_80")) {
				t.Errorf("PTX %.200s, %v", text, err)
			}
			job.Files[0].Data = []byte("#include \"scale.h\"\nint f() { return nothing; }\n")
			if _, err := c.Build(ctx, job); fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), "nothing") || strings.Contains(err.Error(), "\n") {
				t.Errorf("a faulty source: %v", err)
			}
		})
	}
}
