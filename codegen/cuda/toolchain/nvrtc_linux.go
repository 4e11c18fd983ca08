//go:build amd64 || arm64

package toolchain

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/ebitengine/purego"

	"qnc/codegen"
	"qnc/runtime/fault"
)

// An nvrtc holds the entry points of a library of NVIDIA's run-time compiler.
type nvrtc struct {
	Version           func(major, minor *int32) int32                                         `sym:"nvrtcVersion"`
	NumSupportedArchs func(n *int32) int32                                                    `sym:"nvrtcGetNumSupportedArchs"`
	SupportedArchs    func(archs *int32) int32                                                `sym:"nvrtcGetSupportedArchs"`
	CreateProgram     func(p *uintptr, src, name *byte, n int32, headers, names **byte) int32 `sym:"nvrtcCreateProgram"`
	DestroyProgram    func(p *uintptr) int32                                                  `sym:"nvrtcDestroyProgram"`
	CompileProgram    func(p uintptr, n int32, options **byte) int32                          `sym:"nvrtcCompileProgram"`
	LogSize           func(p uintptr, n *uint64) int32                                        `sym:"nvrtcGetProgramLogSize"`
	Log               func(p uintptr, log *byte) int32                                        `sym:"nvrtcGetProgramLog"`
	PTXSize           func(p uintptr, n *uint64) int32                                        `sym:"nvrtcGetPTXSize"`
	PTX               func(p uintptr, data *byte) int32                                       `sym:"nvrtcGetPTX"`
	CUBINSize         func(p uintptr, n *uint64) int32                                        `sym:"nvrtcGetCUBINSize"`
	CUBIN             func(p uintptr, data *byte) int32                                       `sym:"nvrtcGetCUBIN"`
	ErrorString       func(code int32) string                                                 `sym:"nvrtcGetErrorString"`
}

// sonames are the names under which the loader may know NVRTC, the newest first.
var sonames = []string{"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"}

// loaded keeps one copy of each library: it cannot be unloaded.
var loaded = struct {
	sync.Mutex
	at map[string]*nvrtc
}{at: map[string]*nvrtc{}}

// openNVRTC loads the library at path.
func openNVRTC(path string) (*nvrtc, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if l := loaded.at[path]; l != nil {
		return l, nil
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	l := &nvrtc{}
	if err := bindAll(handle, l); err != nil {
		return nil, fmt.Errorf("%s: %w: CUDA 11.2 or newer is needed", path, err)
	}
	loaded.at[path] = l
	return l, nil
}

func findNVRTC(_ context.Context, homes []string) (*Compiler, error) {
	var paths []string
	for _, home := range homes {
		for _, lib := range []string{"lib64", "lib", "targets/x86_64-linux/lib"} {
			for _, name := range sonames {
				if found, _ := filepath.Glob(filepath.Join(home, lib, name)); found != nil {
					paths = append(paths, found[0])
				}
			}
		}
	}
	for _, path := range append(paths, sonames...) {
		l, err := openNVRTC(path)
		if err != nil {
			if filepath.IsAbs(path) { // a file that is there
				return nil, err
			}
			continue
		}
		c := &Compiler{Kind: NVRTC, Path: path}
		var major, minor, n int32
		if l.Version(&major, &minor) != 0 || l.NumSupportedArchs(&n) != 0 || n <= 0 || n > 1000 {
			return nil, fmt.Errorf("%s does not say what it can do", path)
		}
		archs := make([]int32, n)
		l.SupportedArchs(&archs[0])
		c.Major, c.Minor = int(major), int(minor)
		for _, a := range archs {
			if Arch(a) >= Oldest {
				c.Archs = append(c.Archs, Arch(a))
			}
		}
		return c, nil
	}
	return nil, nil
}

// standard are the C headers that NVRTC does not bring; size_t is built in.
var standard = []codegen.File{
	{Name: "stddef.h", Data: []byte("#pragma once\n")},
	{Name: "stdint.h", Data: []byte(`#pragma once
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t; typedef unsigned long long uint64_t;
typedef long long intptr_t; typedef unsigned long long uintptr_t;
`)},
}

// library compiles machine code for each architecture, PTX for the oldest and newest.
func (c *Compiler) library(ctx context.Context, j *Job) (*Output, error) {
	out := &Output{Native: j.Archs, PTX: virtual(j.Archs), NativeCUDA: c.Major * 1000}
	var pieces []piece
	for _, a := range out.Native {
		data, log, err := c.compile(ctx, j, "--gpu-architecture="+a.String(), "--ptxas-options=-v")
		if err != nil {
			return nil, err
		}
		u, err := ParseUsage(log)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece{a, data})
		out.Usage = append(out.Usage, u...)
	}
	for _, a := range out.PTX {
		data, err := c.libraryPTX(ctx, j, a)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece{a, data})
	}
	if j.DryRun {
		return nil, nil
	}
	major, minor, err := ptxVersion(pieces[len(pieces)-1].data)
	if err != nil {
		return nil, err
	}
	out.PTXCUDA = cudaOfISA(major, minor)
	out.Image, err = fatbin(pieces)
	return out, err
}

// libraryPTX compiles PTX for one architecture.
func (c *Compiler) libraryPTX(ctx context.Context, j *Job, a Arch) ([]byte, error) {
	data, _, err := c.compile(ctx, j, fmt.Sprintf("--gpu-architecture=compute_%d", a))
	return bytes.TrimRight(data, "\x00"), err
}

// compile runs the library once: a real architecture gives machine code, a virtual one PTX.
func (c *Compiler) compile(ctx context.Context, j *Job, options ...string) (data []byte, log string, err error) {
	options = append(options, "--std=c++17", "--fmad=false")
	if j.Trace != nil {
		j.Trace(Step{Args: append(options[:len(options):len(options)], j.Files[0].Name), Library: c.Path})
	}
	if err := ctx.Err(); err != nil {
		return nil, "", fault.New(fault.Interrupted, "interrupted: %w", err)
	}
	if j.DryRun {
		return nil, "", nil
	}
	l, err := openNVRTC(c.Path)
	if err != nil {
		return nil, "", err
	}
	check := func(code int32, what string) error {
		if code == 0 {
			return nil
		}
		return fault.New(fault.Missing, "%s: %s: %s", c, what, l.ErrorString(code))
	}
	var texts, headers [][]byte
	for _, f := range j.Files[1:] {
		texts, headers = append(texts, text(f.Data)), append(headers, text([]byte(f.Name)))
	}
	for _, f := range standard {
		if !j.header(f.Name) {
			texts, headers = append(texts, text(f.Data)), append(headers, text([]byte(f.Name)))
		}
	}
	var opts [][]byte
	for _, o := range options {
		opts = append(opts, text([]byte(o)))
	}
	var pin runtime.Pinner // C sees tables of pointers to Go memory
	defer pin.Unpin()
	table := func(list [][]byte) **byte {
		p := make([]*byte, len(list))
		for i, b := range list {
			p[i] = &b[0]
			pin.Pin(p[i])
		}
		pin.Pin(&p[0])
		return &p[0]
	}
	src, name := text(j.Files[0].Data), text([]byte(j.Files[0].Name))
	var p uintptr
	if err := check(l.CreateProgram(&p, &src[0], &name[0], int32(len(texts)), table(texts), table(headers)), "create program"); err != nil {
		return nil, "", err
	}
	defer l.DestroyProgram(&p)
	code := l.CompileProgram(p, int32(len(opts)), table(opts))
	said, err := take(l.LogSize, l.Log, p)
	if code != 0 {
		return nil, "", c.failure(strings.TrimRight(string(said), "\x00"), l.ErrorString(code))
	}
	if err != nil {
		return nil, "", err
	}
	size, get := l.CUBINSize, l.CUBIN
	if strings.Contains(options[0], "compute_") {
		size, get = l.PTXSize, l.PTX
	}
	data, err = take(size, get, p)
	if err == nil && len(data) == 0 {
		err = fault.New(fault.Missing, "%s made no code", c)
	}
	return data, string(said), err
}

// take asks for the size of a result, then for the result.
func take(size func(uintptr, *uint64) int32, get func(uintptr, *byte) int32, p uintptr) ([]byte, error) {
	const most = 1 << 30
	var n uint64
	if code := size(p, &n); code != 0 || n > most {
		return nil, fmt.Errorf("NVRTC: a result of %d bytes (code %d)", n, code)
	}
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	if code := get(p, &b[0]); code != 0 {
		return nil, fmt.Errorf("NVRTC: no result (code %d)", code)
	}
	return b, nil
}
