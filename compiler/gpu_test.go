package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"qnc/codegen"
	"qnc/codegen/host"
	"qnc/cudatemplates/emu"
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
		return &host.Binary{File: codegen.File{Name: "kernels.fatbin", Data: []byte("emulated")}, Archs: []int{80}}, nil
	}
}

// complete runs a program's greedy continuation.
func complete(t *testing.T, program string, env ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(program, "complete", "-p", "abc", "-n", "12", "--temp", "0", "--ignore-eos")
	cmd.Env = append(os.Environ(), env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, &e)
	}
	return o.String(), e.String()
}

func TestGPU(t *testing.T) {
	model := tinyModel(t)
	dir := t.TempDir()
	cpuOptions := tinyOptions(filepath.Join(dir, "cpu"))
	cpuOptions.TargetCPU = "x86-64-v3"
	if _, err := Compile(context.Background(), model, cpuOptions); err != nil {
		t.Fatal(err)
	}
	want, _ := complete(t, filepath.Join(dir, "cpu"))
	var lib *emu.Library
	o := tinyOptions(filepath.Join(dir, "gpu"))
	o.Machine, o.TargetCPU, o.emulate = machineFile(t, hostLine, gpu80, links), "x86-64-v3", emulated(t, &lib)
	o.Placement.Layers = "all"
	o.Emit = []Artifact{{"src", filepath.Join(dir, "src")}, {"plan", filepath.Join(dir, "plan.qir")}}
	_, err := Compile(context.Background(), model, o)
	if os.Getenv("KEEP") != "" {
		exec.Command("cp", "-r", dir, os.Getenv("KEEP")).Run()
	}
	if err != nil {
		t.Fatal(err)
	}
	got, notes := complete(t, filepath.Join(dir, "gpu"), "QNC_LIBCUDA="+lib.Path)
	fmt.Println(notes)
	if got != want {
		t.Errorf("%q\n%s, want %q", got, notes, want)
	}
}
