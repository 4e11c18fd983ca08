package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"qnc/codegen"
	"qnc/codegen/host"
	"qnc/cudatemplates/emu"
	"qnc/runtime/fault"
)

// emulated stands in for the compiler of kernels: they are built into an
// emulated libcuda, which the program loads in place of the driver's.
func emulated(t *testing.T, lib **emu.Library) func([]byte) (*host.Binary, error) {
	return func(source []byte) (*host.Binary, error) {
		var err error
		if *lib, err = emu.Build(source, false); errors.Is(err, emu.ErrMissing) {
			t.Skip(err)
		} else if err != nil {
			return nil, err
		}
		return &host.Binary{File: codegen.File{Name: "kernels.fatbin", Data: []byte("emulated")}, Archs: []int{80}, NativeCUDA: 12000}, nil
	}
}

// A gpuRun is a run of a program on an emulated machine.
type gpuRun struct {
	env    string
	code   fault.Code
	stderr []string // each must be in it
}

// greedy runs a program's greedy continuation of a text that is longer than a ubatch.
func greedy(program string, env ...string) (stdout, stderr string, code fault.Code) {
	cmd := exec.Command(program, "complete", "-p", strings.Repeat("abc", 30), "-n", "12", "--temp", "0", "--ignore-eos")
	cmd.Env = append(os.Environ(), env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	code = fault.OK
	if err := cmd.Run(); err != nil {
		code = fault.Code(cmd.ProcessState.ExitCode())
	}
	return o.String(), e.String(), code
}

// TestGPU: programs with GPUs write what the program for the CPU writes,
// whatever order their streams run in, and say in one line what is wrong with a machine.
func TestGPU(t *testing.T) {
	model, dir := tinyModel(t), t.TempDir()
	compile := func(name string, o *Options) string {
		o.Out = filepath.Join(dir, name)
		if _, err := Compile(context.Background(), model, o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return o.Out
	}
	cpuOptions := tinyOptions("")
	cpuOptions.TargetCPU = "x86-64-v3"
	want, _, code := greedy(compile("cpu", cpuOptions))
	if code != fault.OK || len(want) < 12 {
		t.Fatalf("the program for the CPU ends with %d after %q", code, want)
	}
	one, two := []string{hostLine, gpu80, links}, []string{hostLine, gpu16, gpu12, links}
	lazy := []gpuRun{{env: ""}, {env: "QNC_EMU_LAZY=1"}, {env: "QNC_EMU_LAZY=2 QNC_EMU_SCHEDULE=2"}}
	for _, c := range []struct {
		name      string
		machine   []string
		placement Placement
		runs      []gpuRun
	}{
		{"all", one, Placement{Layers: "all"}, append([]gpuRun{
			{"QNC_LIBCUDA=/nowhere/libcuda.so.1", fault.OK, []string{"no GPU is used, the CPU runs the whole model: no NVIDIA driver: ", "/nowhere/libcuda.so.1"}},
			{"QNC_EMU_DRIVER=11040", fault.OK, []string{"the CPU runs the whole model: the NVIDIA driver supports CUDA 11.4"}},
			{"CUDA_VISIBLE_DEVICES=", fault.OK, []string{"the CPU runs the whole model", "CUDA_ERROR_NO_DEVICE"}},
			{"QNC_EMU_MEMORY=300000", fault.Fit, []string{"cuda:0 (emulated device 0): the plan needs 1 MiB"}},
			{"QNC_EMU_FAIL=cuMemAlloc:2=2", fault.Fit, []string{"cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY"}},
			{"QNC_EMU_FAIL=cuGraphLaunch:3=719", fault.Failure, []string{"decode: cuGraphLaunch: CUDA_ERROR_LAUNCH_FAILED"}},
		}, lazy...)},
		{"cpu-moe", one, Placement{Layers: "all", Overrides: []Override{CPUExperts(-1)}}, append([]gpuRun{
			{"QNC_LIBCUDA=/nowhere/libcuda.so.1", fault.Missing, []string{"no NVIDIA driver: "}},
			{"QNC_EMU_DRIVER=11040", fault.Missing, []string{"need CUDA 12.0 (driver 525 or newer)"}},
		}, lazy...)},
		{"two", two, Placement{Layers: "all", Split: "1,1", Overrides: []Override{CPUExperts(1)}}, append([]gpuRun{
			{"QNC_EMU_DEVICES=1", fault.Missing, []string{"uses cuda:1, of 1 visible GPUs"}},
		}, lazy...)},
		{"head", one, Placement{Layers: "1"}, lazy},
		{"automatic", []string{hostLine, gpu80}, Placement{}, lazy[:1]}, // with the embedding: the CPU has no part
	} {
		var lib *emu.Library
		o := tinyOptions("")
		o.Machine, o.TargetCPU, o.Placement, o.emulate = machineFile(t, c.machine...), "x86-64-v3", c.placement, emulated(t, &lib)
		program := compile(c.name, o)
		for _, r := range c.runs {
			env := append([]string{"QNC_LIBCUDA=" + lib.Path, "QNC_EMU_DEVICES=2", "QNC_EMU_ARCH=80"}, strings.Fields(r.env)...)
			got, stderr, code := greedy(program, env...)
			if code != r.code || r.code == fault.OK && got != want {
				t.Errorf("%s, %s: exit code %d, want %d; %q, want %q\n%s", c.name, r.env, code, r.code, got, want, stderr)
			}
			if r.stderr == nil && !strings.Contains(stderr, "cuda:0 (emulated device 0): planned 1 MiB, used 1 MiB") {
				t.Errorf("%s, %s: says %q", c.name, r.env, stderr)
			}
			for _, w := range r.stderr {
				if !strings.Contains(stderr, w) {
					t.Errorf("%s, %s: says %q, want %q", c.name, r.env, stderr, w)
				}
			}
		}
	}
}

// TestGPUPortable: plain Go has other 8-bit activations than GPUs, so none may go between them.
func TestGPUPortable(t *testing.T) {
	for _, c := range []struct {
		name      string
		precise   bool
		placement Placement
		refused   bool
	}{
		{"experts on the CPU", false, Placement{Layers: "all", Overrides: []Override{CPUExperts(-1)}}, true},
		{"experts on the CPU, precise", true, Placement{Layers: "all", Overrides: []Override{CPUExperts(-1)}}, false},
		{"all on the GPU", false, Placement{Layers: "all"}, false},
	} {
		var lib *emu.Library
		o := tinyOptions(filepath.Join(t.TempDir(), "portable"))
		o.Machine, o.TargetCPU, o.Placement, o.emulate = machineFile(t, hostLine, gpu80, links), "portable", c.placement, emulated(t, &lib)
		o.Precise, o.StopAfter = c.precise, Emit
		_, err := Compile(context.Background(), tinyModel(t), o)
		if refused := fault.CodeOf(err) == fault.Usage && strings.HasPrefix(fmt.Sprint(err), "--target-cpu portable: "); refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestGPUGorgonia: the other driver is built into a program offline, and runs
// the same graph; needed are a C compiler and the headers of CUDA 12, which
// CUDA_HOME or CGO_CFLAGS name.
func TestGPUGorgonia(t *testing.T) {
	if _, err := headers(); err != nil {
		t.Skip(err)
	}
	var lib *emu.Library
	o := tinyOptions(filepath.Join(t.TempDir(), "gorgonia"))
	o.Machine, o.TargetCPU, o.Placement, o.CUDADriver, o.emulate = machineFile(t, hostLine, gpu80, links), "x86-64-v3", Placement{Layers: "all"}, "gorgonia", emulated(t, &lib)
	if _, err := Compile(context.Background(), tinyModel(t), o); err != nil {
		t.Fatal(err)
	}
	want, stderr, code := greedy(o.Out, "QNC_LIBCUDA=/nowhere/libcuda.so.1")
	if code != fault.OK || !strings.Contains(stderr, "the CPU runs the whole model: no NVIDIA driver: /nowhere/libcuda.so.1") {
		t.Errorf("without a driver: exit code %d, %q", code, stderr)
	}
	got, stderr, code := greedy(o.Out, "QNC_LIBCUDA="+lib.Path, "QNC_EMU_ARCH=80", "QNC_EMU_LAZY=1")
	if code != fault.OK || got != want || !strings.Contains(stderr, "planned 1 MiB, used 1 MiB") {
		t.Errorf("exit code %d, %q, want %q\n%s", code, got, want, stderr)
	}
}

// TestGorgoniaHeaders: headers of another version are named, with the cure.
func TestGorgoniaHeaders(t *testing.T) {
	home := t.TempDir()
	t.Setenv("CGO_CFLAGS", "")
	t.Setenv("CUDA_HOME", home)
	t.Setenv("CUDA_PATH", "")
	write := func(dir, version string) {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, dir, "cuda.h"), []byte("// text\n#define CUDA_VERSION "+version+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("include", "13000")
	if _, err := os.Stat("/usr/local/cuda/include/cuda.h"); err != nil {
		if _, err := headers(); fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), "(those in "+filepath.Join(home, "include")+" are of another version)") {
			t.Errorf("headers of CUDA 13: %v", err)
		}
	}
	write(filepath.Join("cuda12", "include"), "12090")
	if dir, err := headers(); err != nil || dir != filepath.Join(home, "cuda12", "include") {
		t.Errorf("headers of CUDA 12: %q, %v", dir, err)
	}
}
