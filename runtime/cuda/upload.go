package cuda

import (
	"fmt"

	"qnc/runtime/gguf"
)

// An upload is a weight on its way from the mapped file to its device.
type upload struct {
	data []byte
	to   Ptr
}

// stageBytes is the most that each of the two pinned buffers holds that uploads
// pass through: while the one is copied to the device the other is filled.
const stageBytes = 16 << 20

// upload fills the weights of all devices and waits for the last.
func (g *GPU) upload(progress func(done, total int64)) error {
	total, done := int64(0), int64(0)
	for _, d := range g.devices {
		if d.at > d.plan.Weights {
			return fmt.Errorf("BUG: %s: %d bytes of weights, %d planned", d, d.at, d.plan.Weights)
		}
		for _, u := range d.uploads {
			total += int64(len(u.data))
		}
	}
	for _, d := range g.devices {
		if err := d.upload(func(n int) {
			done += int64(n)
			if progress != nil {
				progress(done, total)
			}
		}); err != nil {
			return fmt.Errorf("%s: weights: %w", d, err)
		}
		d.uploads = nil
	}
	return nil
}

// upload copies in pieces. Only Go touches the mapping: a file that shrinks
// under it is an error and not a fault inside of the driver.
func (d *Device) upload(progress func(n int)) error {
	drv := d.g.drv
	if err := d.use(); err != nil || len(d.uploads) == 0 {
		return err
	}
	size := 0
	for _, u := range d.uploads {
		size = max(size, min(len(u.data), stageBytes))
	}
	if size == 0 {
		return nil
	}
	var stage [2]struct {
		buf  []byte
		free Event // recorded behind the copy from buf
		busy bool
	}
	for i := range stage {
		s := &stage[i]
		var err error
		if s.buf, err = drv.AllocHost(size); err != nil {
			return err
		}
		defer drv.FreeHost(s.buf)
		if s.free, err = drv.NewEvent(); err != nil {
			return err
		}
		defer drv.DestroyEvent(s.free)
	}
	defer drv.Synchronize(d.queue.stream) // before the buffers go
	turn := 0
	for _, u := range d.uploads {
		for off := 0; off < len(u.data); turn++ {
			s := &stage[turn%len(stage)]
			if s.busy {
				if err := drv.SynchronizeEvent(s.free); err != nil {
					return err
				}
			}
			n := 0
			if err := gguf.Guard(func() error { n = copy(s.buf, u.data[off:]); return nil }); err != nil {
				return err
			}
			if err := drv.CopyToDevice(u.to+Ptr(off), s.buf[:n], d.queue.stream); err != nil {
				return err
			}
			if err := drv.Record(s.free, d.queue.stream); err != nil {
				return err
			}
			s.busy = true
			off += n
			progress(n)
		}
	}
	return drv.Synchronize(d.queue.stream)
}
