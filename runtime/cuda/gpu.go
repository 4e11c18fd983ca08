package cuda

import (
	"fmt"
	"runtime"
	"slices"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// A Plan is what the compiler decided for GPUs.
type Plan struct {
	Image      []byte // a fatbin, or PTX, with all kernels
	Archs, PTX []int  // chips whose machine code and PTX it holds: 80 is sm_80
	// The CUDA version that a driver must support, 13000 for 13.0, to run the
	// machine code and to compile the PTX.
	NativeCUDA, PTXCUDA int
	Devices             []DevicePlan
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
	version, err := g.drv.Version()
	if err != nil {
		return err
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
		if err := d.check(version); err != nil {
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
