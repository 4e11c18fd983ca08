package cuda

import (
	"fmt"
	"math"
)

// A Queue takes what a part of a step does on its device, to run in this
// order: at once, or recorded into a graph. The first error is kept.
type Queue struct {
	d      *Device
	stream Stream
	launch Launch
}

// F32 and I32 are arguments of a launch.
func F32(x float32) uint64 { return uint64(math.Float32bits(x)) }
func I32(x int) uint64     { return uint64(uint32(int32(x))) }

// Launch runs a kernel on a grid; one without blocks is left out.
func (q *Queue) Launch(k *Kernel, x, y, z int, args ...uint64) { q.run(k, x, y, z, false, args) }

// Cooperative is Launch with all blocks resident at once, so that they may wait for each other.
func (q *Queue) Cooperative(k *Kernel, x, y, z int, args ...uint64) {
	q.run(k, x, y, z, true, args)
}

func (q *Queue) run(k *Kernel, x, y, z int, cooperative bool, args []uint64) {
	if q.d.g.err != nil || x == 0 || y == 0 || z == 0 {
		return
	}
	q.launch.Function, q.launch.Block, q.launch.Shared = k.function, k.block, k.shared
	q.launch.Grid = [3]uint32{uint32(x), uint32(y), uint32(z)}
	q.launch.Args = append(q.launch.Args[:0], args...)
	q.launch.Cooperative = cooperative
	if err := q.d.g.drv.Launch(&q.launch, q.stream); err != nil {
		q.d.g.fail(fmt.Errorf("%s: kernel %s, grid %d×%d×%d: %w", q.d, k.name, x, y, z, err))
	}
}

// Fill sets n bytes.
func (q *Queue) Fill(dst Ptr, value byte, n int) {
	if n > 0 && q.d.g.err == nil {
		q.check(q.d.g.drv.Fill(dst, value, uint64(n), q.stream))
	}
}

// Upload copies host memory, which must stay until the queue got there.
func (q *Queue) Upload(dst Ptr, src []byte) {
	if len(src) > 0 && q.d.g.err == nil {
		q.check(q.d.g.drv.CopyToDevice(dst, src, q.stream))
	}
}

// Download copies to host memory.
func (q *Queue) Download(dst []byte, src Ptr) {
	if len(dst) > 0 && q.d.g.err == nil {
		q.check(q.d.g.drv.CopyToHost(dst, src, q.stream))
	}
}

// Copy copies on the device.
func (q *Queue) Copy(dst, src Ptr, n int) {
	if n > 0 && q.d.g.err == nil {
		q.check(q.d.g.drv.CopyOnDevice(dst, src, uint64(n), q.stream))
	}
}

// Peer copies n bytes from another device of the plan, over their link or else through the host.
func (q *Queue) Peer(dst Ptr, from *Device, src Ptr, n int) {
	if n > 0 && q.d.g.err == nil {
		q.check(q.d.g.drv.CopyPeer(dst, q.d.ctx, src, from.ctx, uint64(n), q.stream))
	}
}

func (q *Queue) check(err error) {
	if err != nil {
		q.d.g.fail(fmt.Errorf("%s: %w", q.d, err))
	}
}
