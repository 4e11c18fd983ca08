package compiler

import (
	"context"
	"fmt"

	"qnc/codegen/cuda/toolchain"
	"qnc/ir"
	"qnc/runtime/cuda"
	"qnc/runtime/cuda/libcuda"
)

// CUDA is what this machine has for GPUs.
type CUDA struct {
	Compilers []CUDACompiler `json:"compilers"` // the preferred first
	Unusable  []string       `json:"unusable_compilers,omitempty"`
	Driver    string         `json:"driver_cuda,omitempty"` // the newest CUDA that it supports: "12.4"
	NoDriver  string         `json:"no_driver,omitempty"`   // why there is none
	GPUs      []GPU          `json:"gpus"`
}

// A CUDACompiler is one that qnc can drive.
type CUDACompiler struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Path    string   `json:"path"`
	Archs   []string `json:"architectures"`
}

// A GPU is one that the driver shows.
type GPU struct {
	Device    string  `json:"device"` // cuda:0
	Name      string  `json:"name"`
	Arch      string  `json:"architecture"`
	Memory    int64   `json:"memory_bytes"`
	Bandwidth float64 `json:"bytes_per_second,omitempty"` // of its memory; 0 is unknown
}

// CUDACure says how to get a compiler for GPUs.
const CUDACure = toolchain.Cure

// DetectCUDA looks for compilers, a driver and GPUs.
func DetectCUDA(ctx context.Context) *CUDA {
	out := &CUDA{Compilers: []CUDACompiler{}, GPUs: []GPU{}}
	s := toolchain.Find(ctx)
	out.Unusable = s.Broken
	for _, c := range s.Compilers {
		x := CUDACompiler{Name: c.Kind.String(), Version: fmt.Sprintf("%d.%d", c.Major, c.Minor), Path: c.Path}
		for _, a := range c.Archs {
			x.Archs = append(x.Archs, a.String())
		}
		out.Compilers = append(out.Compilers, x)
	}
	version, gpus, err := detectGPUs(libcuda.Open)
	if err != nil {
		out.NoDriver = err.Error()
		return out
	}
	out.Driver = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	out.GPUs = append(out.GPUs, gpus...)
	return out
}

// Attributes of a GPU's memory.
const (
	memoryClock cuda.Attribute = 36 // kHz
	busWidth    cuda.Attribute = 37 // bits
)

// detectGPUs asks a driver for its CUDA version and its GPUs.
func detectGPUs(open cuda.Opener) (version int, gpus []GPU, err error) {
	drv, err := open()
	if err != nil {
		return 0, nil, err
	}
	if version, err = drv.Version(); err != nil {
		return 0, nil, err
	}
	n, err := drv.DeviceCount()
	for i := 0; err == nil && i < n; i++ {
		g := GPU{Device: fmt.Sprintf("cuda:%d", i)}
		var memory uint64
		var major, minor int
		if g.Name, err = drv.DeviceName(i); err != nil {
			break
		}
		if memory, err = drv.TotalMemory(i); err != nil {
			break
		}
		if major, err = drv.Attribute(i, cuda.ComputeMajor); err != nil {
			break
		}
		if minor, err = drv.Attribute(i, cuda.ComputeMinor); err != nil {
			break
		}
		g.Memory, g.Arch = int64(memory), toolchain.Arch(major*10+minor).String()
		clock, cerr := drv.Attribute(i, memoryClock)
		width, werr := drv.Attribute(i, busWidth)
		if cerr == nil && werr == nil { // two transfers a clock
			g.Bandwidth = 2 * float64(clock) * 1000 * float64(width) / 8
		}
		gpus = append(gpus, g)
	}
	return version, gpus, err
}

// devices are GPUs as the module's text has them.
func devices(gpus []GPU) []ir.DeviceInfo {
	var out []ir.DeviceInfo
	for _, g := range gpus {
		out = append(out, ir.DeviceInfo{Name: ir.Device(g.Device), Mem: g.Memory, Bandwidth: g.Bandwidth})
	}
	return out
}

// ThisMachine describes the machine that compiles: its CPU, and its GPUs unless
// -ngl 0 leaves them out. Without flags that ask for them they count only where
// kernels can be compiled; the note says so.
func ThisMachine(ctx context.Context, p *Placement) (m ir.Machine, note string) {
	m.Devices = []ir.DeviceInfo{{Name: "cpu", Mem: TotalMemory()}}
	if p.Layers == "0" && !p.asks() {
		return m, ""
	}
	_, gpus, err := detectGPUs(libcuda.Open)
	switch {
	case err != nil || len(gpus) == 0: // without a driver there are none
	case !p.asks() && len(toolchain.Find(ctx).Compilers) == 0:
		note = fmt.Sprintf("%s (%s) is left out, since nothing here compiles kernels for it: %s", gpus[0].Device, gpus[0].Name, CUDACure)
	default:
		m.Devices = append(m.Devices, devices(gpus)...)
	}
	return m, note
}
