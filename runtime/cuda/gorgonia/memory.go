//go:build gorgonia && linux && amd64

package gorgonia

// #include <cuda.h>
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"

	"qnc/runtime/cuda"
)

func (d *driver) Alloc(n uint64) (cuda.Ptr, error) {
	p, err := cu.MemAlloc(int64(n))
	return cuda.Ptr(p), check("cuMemAlloc", err)
}

func (d *driver) Free(p cuda.Ptr) error { return check("cuMemFree", cu.MemFree(cu.DevicePtr(p))) }

func (d *driver) AllocHost(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := code("cuMemHostAlloc", C.cuMemHostAlloc(&p, C.size_t(n), cuda.HostPortable|cuda.HostMapped)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (d *driver) FreeHost(b []byte) error { return check("cuMemFreeHost", cu.MemFreeHost(start(b))) }

func (d *driver) RegisterHost(b []byte) error {
	return code("cuMemHostRegister", C.cuMemHostRegister(start(b), C.size_t(len(b)), cuda.HostPortable|cuda.HostMapped))
}

func (d *driver) UnregisterHost(b []byte) error {
	return code("cuMemHostUnregister", C.cuMemHostUnregister(start(b)))
}

func (d *driver) HostPtr(b []byte) (cuda.Ptr, error) {
	var p C.CUdeviceptr
	err := code("cuMemHostGetDevicePointer", C.cuMemHostGetDevicePointer(&p, start(b), 0))
	return cuda.Ptr(p), err
}

func start(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func (d *driver) CopyToDevice(dst cuda.Ptr, src []byte, s cuda.Stream) error {
	return check("cuMemcpyHtoDAsync", cu.MemcpyHtoDAsync(cu.DevicePtr(dst), start(src), int64(len(src)), as[cu.Stream](s)))
}

func (d *driver) CopyToHost(dst []byte, src cuda.Ptr, s cuda.Stream) error {
	return check("cuMemcpyDtoHAsync", cu.MemcpyDtoHAsync(start(dst), cu.DevicePtr(src), int64(len(dst)), as[cu.Stream](s)))
}

func (d *driver) CopyOnDevice(dst, src cuda.Ptr, n uint64, s cuda.Stream) error {
	return check("cuMemcpyDtoDAsync", cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(n), as[cu.Stream](s)))
}

func (d *driver) CopyPeer(dst cuda.Ptr, to cuda.Context, src cuda.Ptr, from cuda.Context, n uint64, s cuda.Stream) error {
	return check("cuMemcpyPeerAsync", cu.MemcpyPeerAsync(cu.DevicePtr(dst), as[cu.CUContext](to), cu.DevicePtr(src), as[cu.CUContext](from), int64(n), as[cu.Stream](s)))
}

func (d *driver) Fill(dst cuda.Ptr, value byte, n uint64, s cuda.Stream) error {
	return check("cuMemsetD8Async", cu.MemsetD8Async(cu.DevicePtr(dst), value, int64(n), as[cu.Stream](s)))
}
