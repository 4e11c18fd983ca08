package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"

	"qnc/runtime/fault"
)

// A Device is one GPU with the memory of the plan, which is all it ever takes.
type Device struct {
	g       *GPU
	plan    *DevicePlan
	ordinal int
	name    string // of the hardware

	ctx    Context
	module Module
	queue  Queue

	free                                  uint64 // before anything was allocated
	weights, arena, recurrent, kv, inputs Ptr
	uploads                               []upload
	names                                 map[string]Ptr // of weights
	at                                    int64          // weights that are laid out
}

// align is that of every weight on a device.
const align = 256

// check asks whether there is code for the device under a version of the driver.
func (d *Device) check(version int) (err error) {
	drv := d.g.drv
	if d.name, err = drv.DeviceName(d.ordinal); err != nil {
		return err
	}
	major, err := drv.Attribute(d.ordinal, ComputeMajor)
	if err != nil {
		return err
	}
	minor, err := drv.Attribute(d.ordinal, ComputeMinor)
	if err != nil {
		return err
	}
	return d.g.plan.check(d, 10*major+minor, version)
}

func (d *Device) String() string { return fmt.Sprintf("%s (%s)", d.plan.Name, d.name) }

// planned is what d takes beside its context.
func (d *Device) planned() (bytes uint64, ok bool) {
	sum := uint64(0)
	for _, n := range [...]int64{d.plan.Weights, d.plan.Arena, d.plan.KV, d.g.inputBytes()} {
		if n < 0 || sum > math.MaxInt64-uint64(n) {
			return 0, false
		}
		sum += uint64(n)
	}
	seqs, one := uint64(d.g.mem.Info.NumSeq), uint64(d.plan.Recurrent)
	if d.plan.Recurrent < 0 || seqs != 0 && one > (math.MaxInt64-sum)/seqs {
		return 0, false
	}
	return sum + seqs*one, true
}

// open makes the context and refuses a plan that does not fit into what is free.
func (d *Device) open() (err error) {
	drv := d.g.drv
	if d.ctx, err = drv.Retain(d.ordinal); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	if err := d.use(); err != nil {
		return err
	}
	free, total, err := drv.MemoryInfo()
	if err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	d.free = free
	need, ok := d.planned()
	if !ok {
		return fault.New(fault.Fit, "%s: the plan needs more than there are addresses: compile again", d)
	}
	if need > free {
		return fault.New(fault.Fit, "%s: the plan needs %s, %s of %s are free: %s", d, mib(need), mib(free), mib(total), cureFit)
	}
	return nil
}

// allocate loads the kernels and takes the memory of the plan.
func (d *Device) allocate() (err error) {
	if err := d.use(); err != nil {
		return err
	}
	drv := d.g.drv
	if d.module, err = drv.LoadModule(d.g.plan.Image); err != nil {
		return fmt.Errorf("%s: kernels: %w", d, err)
	}
	stream, err := drv.NewStream()
	if err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	d.queue = Queue{d: d, stream: stream}
	d.names = map[string]Ptr{}
	for _, x := range []struct {
		p    *Ptr
		n    int64
		what string
	}{
		{&d.weights, d.plan.Weights, "weights"}, {&d.arena, d.plan.Arena, "activations"},
		{&d.recurrent, d.plan.Recurrent * int64(d.g.mem.Info.NumSeq), "recurrent state"},
		{&d.kv, d.plan.KV, "the KV cache"}, {&d.inputs, d.g.inputBytes(), "inputs"},
	} {
		if x.n == 0 {
			continue
		}
		if *x.p, err = drv.Alloc(uint64(x.n)); err != nil {
			return fmt.Errorf("%s: %s for %s: %w", d, mib(uint64(x.n)), x.what, err)
		}
	}
	for _, x := range []struct {
		p Ptr
		n int64
	}{{d.recurrent, d.plan.Recurrent * int64(d.g.mem.Info.NumSeq)}, {d.kv, d.plan.KV}} {
		if x.n > 0 {
			if err := drv.Fill(x.p, 0, uint64(x.n), d.queue.stream); err != nil {
				return fmt.Errorf("%s: %w", d, err)
			}
		}
	}
	return nil
}

// use makes the context of d current on this OS thread.
func (d *Device) use() error {
	if err := d.g.drv.Use(d.ctx); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	return nil
}

func (d *Device) close() error {
	if d.ctx == 0 {
		return nil
	}
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	drv := d.g.drv
	keep(d.use())
	if d.queue.stream != 0 {
		keep(drv.DestroyStream(d.queue.stream))
	}
	for _, p := range []Ptr{d.inputs, d.kv, d.recurrent, d.arena, d.weights} {
		if p != 0 {
			keep(drv.Free(p))
		}
	}
	if d.module != 0 {
		keep(drv.UnloadModule(d.module))
	}
	keep(drv.Release(d.ordinal))
	d.ctx = 0
	return first
}

// Weight is the place of a weight of size bytes as it is packed, the same each
// time; it is filled when all are known. The first fault is kept for GPU.Program.
func (d *Device) Weight(name string, size int) Ptr {
	if p, ok := d.names[name]; ok {
		return p
	}
	data := d.g.mem.Weight(name, size)
	p := d.weights + Ptr(d.at)
	d.names[name] = p
	d.uploads = append(d.uploads, upload{data, p})
	d.at += (int64(size) + align - 1) &^ (align - 1)
	return p
}

// Arena is the place of a value of the plan, Recurrent and KV those of a state
// symbol of sequence 0; the other sequences lie DevicePlan.Recurrent bytes, or the bytes
// of the symbol for one sequence, further on.
func (d *Device) Arena(off int64) Ptr     { return d.arena + Ptr(off) }
func (d *Device) Recurrent(off int64) Ptr { return d.recurrent + Ptr(off) }
func (d *Device) KV(off int64) Ptr        { return d.kv + Ptr(off) }

// Tok, Pos, Seq and Rows are the inputs of the step, int32 each.
func (d *Device) Tok() Ptr  { return d.input(0) }
func (d *Device) Pos() Ptr  { return d.input(1) }
func (d *Device) Seq() Ptr  { return d.input(2) }
func (d *Device) Rows() Ptr { return d.input(3) }

func (d *Device) input(i int) Ptr { return d.inputs + Ptr(4*i*d.g.mem.Info.NumUbatch) }

// inputBytes is the size of a step's inputs: four lists of int32.
func (g *GPU) inputBytes() int64 { return 16 * int64(g.mem.Info.NumUbatch) }

// fillInputs puts a step where the next copy to the devices takes it from.
func (g *GPU) fillInputs(lists ...[]int32) {
	for i, list := range lists {
		b := g.inputs[4*i*g.mem.Info.NumUbatch:]
		for j, x := range list {
			binary.LittleEndian.PutUint32(b[4*j:], uint32(x))
		}
	}
}

// A Kernel is a function of the image with its block.
type Kernel struct {
	name     string
	function Function
	block    [3]uint32
	shared   uint32
}

// staticShared is how much dynamic shared memory a kernel has without asking.
const staticShared = 48 << 10

// Kernel finds a kernel that runs with blocks of so many threads and so much
// dynamic shared memory. The first fault is kept for GPU.Program.
func (d *Device) Kernel(name string, threads, shared int) *Kernel {
	runtime.LockOSThread() // a context is that of a thread
	defer runtime.UnlockOSThread()
	k := &Kernel{name: name, block: [3]uint32{uint32(threads), 1, 1}, shared: uint32(shared)}
	err := d.use()
	if err == nil {
		k.function, err = d.g.drv.Function(d.module, name)
	}
	if err == nil && shared > staticShared {
		err = d.g.drv.SetFunctionAttribute(k.function, MaxDynamicShared, shared)
	}
	if err != nil {
		d.g.fail(fmt.Errorf("%s: kernel %s: %w", d, name, err))
	}
	return k
}

// mib prints a size as plans do.
func mib(n uint64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }
