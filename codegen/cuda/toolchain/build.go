package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"qnc/codegen"
	"qnc/codegen/tool"
	"qnc/runtime/fault"
)

// Build compiles a source for all architectures of a job. Of a dry run the output is nil.
func (c *Compiler) Build(ctx context.Context, j *Job) (*Output, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if err := c.knows(j.Archs); err != nil {
		return nil, err
	}
	switch c.Kind {
	case NVCC:
		return c.fatbin(ctx, j)
	case NVRTC:
		return c.library(ctx, j)
	}
	a := j.Archs[0]
	text, err := c.PTX(ctx, j, a)
	if err != nil || j.DryRun {
		return nil, err
	}
	return clangOutput(text, a)
}

// clangOutput is PTX alone.
func clangOutput(text []byte, a Arch) (*Output, error) {
	major, minor, err := ptxVersion(text)
	return &Output{Image: text, PTX: []Arch{a}, PTXCUDA: cudaOfISA(major, minor)}, err
}

// PTX compiles a source into the text of PTX for one architecture; nil in a dry run.
func (c *Compiler) PTX(ctx context.Context, j *Job, a Arch) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if err := c.knows([]Arch{a}); err != nil {
		return nil, err
	}
	const out = "kernels.ptx"
	switch c.Kind {
	case NVCC:
		data, _, err := c.program(ctx, j, append(c.nvccArgs(j), "-ptx", fmt.Sprintf("-arch=compute_%d", a)), out)
		return data, err
	case NVRTC:
		return c.libraryPTX(ctx, j, a)
	}
	data, _, err := c.program(ctx, j, []string{
		c.Path, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + a.String(), fmt.Sprintf("--cuda-feature=+ptx%d", isa[a]),
		"-nocudainc", "-nocudalib", "-std=c++17", "-O3", "-ffp-contract=off", "-I.", "-S", j.Files[0].Name,
	}, out)
	return data, err
}

// check refuses a job without a source or an architecture, and names that leave the folder.
func (j *Job) check() error {
	if len(j.Files) == 0 || len(j.Archs) == 0 {
		return errors.New("BUG: a CUDA compile without a source or an architecture")
	}
	for _, f := range j.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || strings.HasPrefix(f.Name, "-") {
			return fmt.Errorf("BUG: %q is no name of a CUDA source", f.Name)
		}
	}
	return nil
}

// nvccArgs are what every nvcc command begins with. Floats are contracted nowhere: what a
// kernel writes is what it computes. A host compiler that is newer than nvcc expects only preprocesses.
func (c *Compiler) nvccArgs(j *Job) []string {
	return []string{c.Path, "-std=c++17", "-O3", "-fmad=false", "-allow-unsupported-compiler", "-I.", j.Files[0].Name}
}

// fatbin compiles with nvcc: machine code of each architecture, PTX of the oldest and newest.
func (c *Compiler) fatbin(ctx context.Context, j *Job) (*Output, error) {
	args := append(c.nvccArgs(j), "-fatbin", "-Xptxas", "-v", "--threads", "0") // architectures in parallel
	out := &Output{Native: j.Archs, PTX: virtual(j.Archs), NativeCUDA: c.Major * 1000, PTXCUDA: c.Major*1000 + c.Minor*10}
	for _, a := range out.Native {
		args = append(args, "-gencode", fmt.Sprintf("arch=compute_%d,code=sm_%d", a, a))
	}
	for _, a := range out.PTX {
		args = append(args, "-gencode", fmt.Sprintf("arch=compute_%d,code=compute_%d", a, a))
	}
	data, said, err := c.program(ctx, j, args, "kernels.fatbin")
	if err != nil || j.DryRun {
		return nil, err
	}
	out.Image = data
	out.Usage, err = ParseUsage(said)
	return out, err
}

// program runs a compiler in a temporary folder that holds the job's files,
// and gives the file that it writes and what it said.
func (c *Compiler) program(ctx context.Context, j *Job, args []string, out string) (data []byte, said string, err error) {
	args = append(args, "-o", out)
	if j.Trace != nil {
		j.Trace(Step{Args: args})
	}
	if j.DryRun {
		return nil, "", nil
	}
	dir, err := os.MkdirTemp("", "qnc-cuda-")
	if err != nil {
		return nil, "", fmt.Errorf("temporary folder of %s: %w", c.Kind, err)
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, j.Files); err != nil {
		return nil, "", fmt.Errorf("write the CUDA source: %w", err)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	// Compilers leave temporary files behind when they are interrupted.
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	b, err := tool.Output(ctx, cmd)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return nil, "", c.failure(string(b), exit.String())
	case err != nil:
		return nil, "", err
	}
	data, err = os.ReadFile(filepath.Join(dir, out))
	if err != nil || len(data) == 0 {
		return nil, "", fault.New(fault.Missing, "%s ended without an error and wrote nothing", c)
	}
	return data, string(b), nil
}

// failure is what a compiler that failed said, on one line and not without end.
func (c *Compiler) failure(said, how string) error {
	const most = 2000
	said = strings.Join(strings.Fields(said), " ")
	if said == "" {
		said = how
	}
	if len(said) > most {
		said = strings.ToValidUTF8(said[:most], "") + " …"
	}
	return fault.New(fault.Missing, "%s failed: %s", c, said)
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

// header finds a file of a job by the name that a source includes.
func (j *Job) header(name string) bool {
	for _, f := range j.Files[1:] {
		if f.Name == name {
			return true
		}
	}
	return false
}

// text ends a source as C has it.
func text(b []byte) []byte { return append(bytes.Clone(b), 0) }
