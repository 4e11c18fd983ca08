//go:build linux && (amd64 || arm64)

package libcuda

import (
	"unsafe"

	"qnc/runtime/cuda"
)

func (d *driver) Alloc(n uint64) (cuda.Ptr, error) {
	var p uint64
	err := d.check("cuMemAlloc", d.MemAlloc(&p, n))
	return cuda.Ptr(p), err
}

func (d *driver) Free(p cuda.Ptr) error { return d.check("cuMemFree", d.MemFree(uint64(p))) }

func (d *driver) AllocHost(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := d.check("cuMemHostAlloc", d.MemHostAlloc(&p, uint64(n), cuda.HostPortable|cuda.HostMapped)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (d *driver) FreeHost(b []byte) error {
	return d.check("cuMemFreeHost", d.MemFreeHost(start(b)))
}

func (d *driver) RegisterHost(b []byte) error {
	return d.check("cuMemHostRegister", d.MemHostRegister(start(b), uint64(len(b)), cuda.HostPortable|cuda.HostMapped))
}

func (d *driver) UnregisterHost(b []byte) error {
	return d.check("cuMemHostUnregister", d.MemHostUnreg(start(b)))
}

func (d *driver) HostPtr(b []byte) (cuda.Ptr, error) {
	var p uint64
	err := d.check("cuMemHostGetDevicePointer", d.MemHostPtr(&p, start(b), 0))
	return cuda.Ptr(p), err
}

func start(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func (d *driver) CopyToDevice(dst cuda.Ptr, src []byte, s cuda.Stream) error {
	return d.check("cuMemcpyHtoDAsync", d.CopyHtoD(uint64(dst), start(src), uint64(len(src)), uintptr(s)))
}

func (d *driver) CopyToHost(dst []byte, src cuda.Ptr, s cuda.Stream) error {
	return d.check("cuMemcpyDtoHAsync", d.CopyDtoH(start(dst), uint64(src), uint64(len(dst)), uintptr(s)))
}

func (d *driver) CopyOnDevice(dst, src cuda.Ptr, n uint64, s cuda.Stream) error {
	return d.check("cuMemcpyDtoDAsync", d.CopyDtoD(uint64(dst), uint64(src), n, uintptr(s)))
}

func (d *driver) CopyPeer(dst cuda.Ptr, to cuda.Context, src cuda.Ptr, from cuda.Context, n uint64, s cuda.Stream) error {
	return d.check("cuMemcpyPeerAsync", d.entries.CopyPeer(uint64(dst), uintptr(to), uint64(src), uintptr(from), n, uintptr(s)))
}

func (d *driver) Fill(dst cuda.Ptr, value byte, n uint64, s cuda.Stream) error {
	return d.check("cuMemsetD8Async", d.MemsetD8(uint64(dst), value, n, uintptr(s)))
}
