package cuda

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// A Plan is what the compiler decided for GPUs.
type Plan struct {
	Image     []byte // a fatbin, a cubin or PTX with all kernels
	MinDriver int    // the CUDA version that Image needs: 13000 is 13.0; 0: any
	Archs     []int  // chips that Image has machine code for: 80 is sm_80
	PTX       int    // the oldest chip that its PTX serves; 0: it holds none
	Devices   []DevicePlan
}

// A DevicePlan is what lies on one device, in bytes.
type DevicePlan struct {
	Name      string // "cuda:0", the driver's number
	Weights   int64
	Arena     int64
	Recurrent int64 // state of one sequence
	KV        int64 // of all sequences
}

// A GPU is the program's devices with all their memory.
type GPU struct {
	drv     Driver
	plan    *Plan
	mem     *engine.Memory
	devices []*Device
	inputs  []byte // pinned: tok, pos, seq, rows of a step, numUbatch int32 each
	pinned  [][]byte
	steps   Steps
	decode  []segment
	events  []Event // by hand-over, made once
	err     error   // the first; what comes after it does nothing
}

// Open finds the driver, checks it and the devices against the plan before
// anything is loaded, and allocates the memory of each device. Its error has
// code fault.Missing when there is no usable driver or device, fault.Fit when
// a device has too little memory left.
func Open(open Opener, plan *Plan, mem *engine.Memory) (*GPU, error) {
	drv, err := open()
	if err != nil {
		return nil, err
	}
	g := &GPU{drv: drv, plan: plan, mem: mem}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := g.open(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *GPU) open() error {
	have, err := g.drv.Version()
	if err != nil {
		return err
	}
	if have < g.plan.MinDriver {
		return fault.New(fault.Missing, "the NVIDIA driver supports CUDA %s, the program's kernels need CUDA %s (driver %s or newer): update the driver, or compile with an older nvcc, NVRTC or clang",
			cudaVersion(have), cudaVersion(g.plan.MinDriver), driverFor(g.plan.MinDriver))
	}
	n, err := g.drv.DeviceCount()
	if err != nil {
		return err
	}
	for i := range g.plan.Devices {
		p := &g.plan.Devices[i]
		var ordinal int
		if _, err := fmt.Sscanf(p.Name, "cuda:%d", &ordinal); err != nil || ordinal < 0 {
			return fault.New(fault.Failure, "BUG: device %q", p.Name)
		}
		if ordinal >= n {
			return fault.New(fault.Missing, "the program uses %s, of %d visible GPUs: look at nvidia-smi and at the variable CUDA_VISIBLE_DEVICES, or compile on this machine", p.Name, n)
		}
		d := &Device{g: g, plan: p, ordinal: ordinal}
		if err := d.check(); err != nil {
			return err
		}
		g.devices = append(g.devices, d)
	}
	for _, d := range g.devices { // all are known to fit before one is filled
		if err := d.open(); err != nil {
			return err
		}
	}
	if g.inputs, err = g.hostMemory(int(g.inputBytes())); err != nil {
		return err
	}
	for _, d := range g.devices {
		if err := d.allocate(); err != nil {
			return err
		}
	}
	return g.connect()
}

// connect lets devices read each other's memory where the hardware can;
// elsewhere the driver stages copies through the host.
func (g *GPU) connect() error {
	for _, a := range g.devices {
		for _, b := range g.devices {
			if a == b {
				continue
			}
			can, err := g.drv.CanAccessPeer(a.ordinal, b.ordinal)
			if err == nil && can {
				if err = a.use(); err == nil {
					err = g.drv.EnablePeer(b.ctx)
				}
			}
			if err != nil {
				return fmt.Errorf("%s and %s: %w", a.plan.Name, b.plan.Name, err)
			}
		}
	}
	return nil
}

// hostMemory allocates pinned memory that lives as long as g.
func (g *GPU) hostMemory(n int) ([]byte, error) {
	b, err := g.drv.AllocHost(n)
	if err != nil {
		return nil, fmt.Errorf("%d bytes of pinned memory: %w", n, err)
	}
	g.pinned = append(g.pinned, b)
	return b, nil
}

// Device is the i-th device of the plan.
func (g *GPU) Device(i int) *Device { return g.devices[i] }

// fail keeps the first error.
func (g *GPU) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// close gives everything back, newest first.
func (g *GPU) close() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, s := range g.decode {
		if s.exec != 0 {
			keep(g.devices[s.device].use())
			keep(g.drv.DestroyExec(s.exec))
		}
	}
	g.decode = nil
	if len(g.devices) > 0 && g.devices[0].ctx != 0 {
		keep(g.devices[0].use())
		for _, e := range g.events {
			keep(g.drv.DestroyEvent(e))
		}
		for _, b := range slices.Backward(g.pinned) {
			keep(g.drv.FreeHost(b))
		}
	}
	g.events, g.pinned = nil, nil
	for _, d := range slices.Backward(g.devices) {
		keep(d.close())
	}
	g.devices = nil
	return first
}

// cudaVersion prints 12040 as 12.4.
func cudaVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// drivers are the first drivers of Linux with each version of CUDA.
var drivers = []struct {
	cuda   int
	driver string
}{
	{11000, "450"}, {11010, "455"}, {11020, "460"}, {11030, "465"}, {11040, "470"}, {11050, "495"}, {11060, "510"}, {11070, "515"}, {11080, "520"},
	{12000, "525"}, {12010, "530"}, {12020, "535"}, {12030, "545"}, {12040, "550"}, {12050, "555"}, {12060, "560"}, {12080, "570"}, {12090, "575"},
	{13000, "580"}, {13010, "590"},
}

// driverFor is the first driver that knows a version of CUDA.
func driverFor(version int) string {
	for _, d := range drivers {
		if d.cuda >= version {
			return d.driver
		}
	}
	return "of CUDA " + cudaVersion(version)
}

// archNames lists chips for a message.
func (p *Plan) archNames() string {
	var names []string
	for _, a := range p.Archs {
		names = append(names, fmt.Sprintf("sm_%d", a))
	}
	if p.PTX != 0 {
		names = append(names, fmt.Sprintf("PTX from sm_%d on", p.PTX))
	}
	return strings.Join(names, ", ")
}

// serves reports whether the image has code for a chip: machine code of its
// family that is no newer, or PTX that is no newer.
func (p *Plan) serves(chip int) bool {
	return p.PTX != 0 && p.PTX <= chip ||
		slices.ContainsFunc(p.Archs, func(a int) bool { return a/10 == chip/10 && a <= chip })
}
