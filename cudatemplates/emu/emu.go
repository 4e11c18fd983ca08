// Package emu builds the CPU emulator of CUDA for a set of kernels, for tests:
// a shared library with the entry points of libcuda, and a runner that passes a
// Job through any such library. It needs g++ on Linux, x86-64.
package emu

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"qnc/cudatemplates"
)

//go:embed cxx
var sources embed.FS

// ErrMissing says why there can be no emulator here.
var ErrMissing = errors.New("no CUDA emulator")

// Schedules are the orders in which lanes, warps and blocks may run: results
// must not depend on them.
var Schedules = []string{"0", "1", "2"}

// A Library is a built emulator.
type Library struct {
	Path   string // of the shared library, to be loaded in place of libcuda.so.1
	runner string
}

var flags = []string{"-O2", "-std=c++17", "-march=x86-64-v3", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-ftls-model=initial-exec", "-fvisibility=hidden"}

// Build compiles kernels, the text of a .cu file, with the emulator. With check
// set, each load and store is checked: slower, on one thread. Results are kept in
// the user's cache by content. The error wraps ErrMissing where nothing can be built.
func Build(kernels []byte, check bool) (*Library, error) {
	gxx, err := exec.LookPath("g++")
	if err != nil || runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
		return nil, fmt.Errorf("%w: it needs g++ on linux/amd64; here is %s/%s, %v", ErrMissing, runtime.GOOS, runtime.GOARCH, err)
	}
	version, err := exec.Command(gxx, "--version").Output()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %q\n", version, flags)
	for _, dir := range []fs.FS{sources, cudatemplates.Files} {
		if err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(dir, path)
			fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
			return err
		}); err != nil {
			return nil, err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	base := filepath.Join(cache, "qnc-emu", fmt.Sprintf("%x", h.Sum(nil)[:12]))
	if err := once(base, func(dir string) error { return buildBase(gxx, dir) }); err != nil {
		return nil, err
	}
	fmt.Fprintf(h, "%v\n%s", check, kernels)
	out := filepath.Join(base, fmt.Sprintf("%x", h.Sum(nil)[:12]))
	err = once(out, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "kernels.cu"), kernels, 0o666); err != nil {
			return err
		}
		args := append([]string{"-I" + base, "-DQNC_EMU"}, flags...)
		if check {
			args = append(args, "-fsanitize=thread")
		}
		if err := compile(gxx, dir, append(args, "-c", "-x", "c++", "kernels.cu", "-o", "kernels.o")...); err != nil {
			return err
		}
		return compile(gxx, dir, "-shared", "-o", "libcuda_emu.so", "kernels.o", base+"/fiber.o", base+"/check.o", base+"/driver.o", "-lpthread", "-ldl")
	})
	if err != nil {
		return nil, err
	}
	return &Library{Path: filepath.Join(out, "libcuda_emu.so"), runner: filepath.Join(base, "runner")}, nil
}

// once fills a folder that is named by its content.
func once(dir string, fill func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, err2 := os.Stat(dir); err2 != nil {
			return err
		}
	}
	return nil
}

func buildBase(gxx, dir string) error {
	if err := os.CopyFS(filepath.Join(dir, "emu"), sources); err != nil {
		return err
	}
	if err := os.CopyFS(dir, cudatemplates.Files); err != nil {
		return err
	}
	for _, name := range []string{"fiber", "check", "driver"} {
		if err := compile(gxx, dir, append(append([]string{}, flags...), "-c", "emu/cxx/"+name+".cc", "-o", name+".o")...); err != nil {
			return err
		}
	}
	return compile(gxx, dir, "-O1", "-std=c++17", "emu/cxx/runner.cc", "-o", "runner", "-ldl")
}

func compile(gxx, dir string, args ...string) error {
	cmd := exec.Command(gxx, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("g++ %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// A Job is kernels over buffers.
type Job struct {
	Buffers  [][]byte
	Launches []Launch
}

// A Launch is one call of a kernel; grid and block are x, y, z.
type Launch struct {
	Kernel      string
	Grid, Block [3]int
	Shared      int // bytes of dynamic shared memory
	Cooperative bool
	Args        []Arg
}

// An Arg is the address of a byte of a buffer, or a number.
type Arg struct {
	Buffer int // -1: Value is the argument itself
	Value  uint64
}

// Pointer is the address of byte off of a buffer.
func Pointer(buffer, off int) Arg { return Arg{buffer, uint64(off)} }

// Number is a 4-byte argument.
func Number(v int) Arg { return Arg{-1, uint64(uint32(v))} }

// Run passes j through the library under a schedule and returns its buffers
// afterwards. More variables of the driver follow as "NAME=value".
func (l *Library) Run(j *Job, schedule string, env ...string) ([][]byte, error) {
	return run(l.runner, l.Path, "", j, append(env, "QNC_EMU_SCHEDULE="+schedule))
}

// RunOn passes j through another driver, say libcuda.so.1, with the kernels of image.
func (l *Library) RunOn(driver, image string, j *Job) ([][]byte, error) {
	return run(l.runner, driver, image, j, nil)
}

func run(runner, driver, image string, j *Job, env []string) ([][]byte, error) {
	cmd := exec.Command(runner, driver, image)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(j.bytes())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	out := make([][]byte, len(j.Buffers))
	data := stdout.Bytes()
	for i, b := range j.Buffers {
		if len(data) < len(b) {
			return nil, fmt.Errorf("the runner's output ends in buffer %d of %d", i, len(out))
		}
		out[i], data = data[:len(b):len(b)], data[len(b):]
	}
	return out, nil
}

// bytes is j as runner.cc reads it.
func (j *Job) bytes() []byte {
	var b []byte
	u32 := func(v int) { b = binary.LittleEndian.AppendUint32(b, uint32(v)) }
	u64 := func(v uint64) { b = binary.LittleEndian.AppendUint64(b, v) }
	u32(len(j.Buffers))
	for _, x := range j.Buffers {
		u64(uint64(len(x)))
		b = append(b, x...)
	}
	u32(len(j.Launches))
	for _, l := range j.Launches {
		u64(uint64(len(l.Kernel)))
		b = append(b, l.Kernel...)
		for i := range 3 {
			u32(max(l.Grid[i], 1))
		}
		for i := range 3 {
			u32(max(l.Block[i], 1))
		}
		u32(l.Shared)
		if l.Cooperative {
			u32(1)
		} else {
			u32(0)
		}
		u32(len(l.Args))
		for _, a := range l.Args {
			u32(a.Buffer)
			u64(a.Value)
		}
	}
	return b
}
