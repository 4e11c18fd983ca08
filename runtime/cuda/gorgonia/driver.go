//go:build gorgonia && linux && amd64

package gorgonia

/*
#cgo LDFLAGS: -L${SRCDIR}/stub -Wl,--as-needed -ldl
#include <cuda.h>
#include "trampoline.h"

static CUresult load(CUmodule *m, const void *image, char *log, size_t size) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)size};
	return cuModuleLoadDataEx(m, image, 2, options, values);
}
*/
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"

	"gorgonia.org/cu"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

type driver struct {
	args []unsafe.Pointer // of a launch
}

// Open initialises the driver that the program found when it started.
func Open() (cuda.Driver, error) {
	if why := C.GoString(C.qnc_cuda_missing()); why != "" {
		return nil, fault.New(fault.Missing, "no NVIDIA driver: %s: install it, or compile for the CPU (-ngl 0)", why)
	}
	return &driver{}, code("cuInit", C.CUresult(C.qnc_cuda_result()))
}

// code makes an error of a result; one without a row in package cuda gets the driver's name for it.
func code(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	e := &cuda.Error{Call: call, Code: int32(r)}
	if !e.Known() {
		var name *C.char
		if C.cuGetErrorName(r, &name) == C.CUDA_SUCCESS && name != nil {
			e.Log = C.GoString(name)
		}
	}
	return cuda.Failed(e)
}

// check gives an error of gorgonia.org/cu its number back: its type is a kind of int that has no name outside.
func check(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.Kind() == reflect.Int {
		return code(call, C.CUresult(v.Int()))
	}
	return fault.New(fault.Failure, "%s: %w", call, err)
}

// as views a handle as gorgonia.org/cu's type for it, or back: each is a struct of one pointer.
func as[To, From any](h From) To {
	var to To
	if unsafe.Sizeof(to) != unsafe.Sizeof(h) {
		panic("BUG: a handle of gorgonia.org/cu is no pointer")
	}
	return *(*To)(unsafe.Pointer(&h))
}

func (d *driver) Version() (int, error) {
	v := cu.Version()
	if v < 0 {
		return 0, cuda.Check("cuDriverGetVersion", 999)
	}
	return v, nil
}

func (d *driver) DeviceCount() (int, error) {
	n, err := cu.NumDevices()
	return n, check("cuDeviceGetCount", err)
}

func (d *driver) DeviceName(ordinal int) (string, error) {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return "", check("cuDeviceGet", err)
	}
	name, err := dev.Name()
	return name, check("cuDeviceGetName", err)
}

func (d *driver) Attribute(ordinal int, a cuda.Attribute) (int, error) {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return 0, check("cuDeviceGet", err)
	}
	v, err := dev.Attribute(cu.DeviceAttribute(a))
	return v, check("cuDeviceGetAttribute", err)
}

func (d *driver) TotalMemory(ordinal int) (uint64, error) {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return 0, check("cuDeviceGet", err)
	}
	n, err := dev.TotalMem()
	return uint64(n), check("cuDeviceTotalMem", err)
}

func (d *driver) CanAccessPeer(ordinal, peer int) (bool, error) {
	a, err := cu.GetDevice(ordinal)
	if err != nil {
		return false, check("cuDeviceGet", err)
	}
	b, err := cu.GetDevice(peer)
	if err != nil {
		return false, check("cuDeviceGet", err)
	}
	can, err := a.CanAccessPeer(b)
	return can != 0, check("cuDeviceCanAccessPeer", err)
}

func (d *driver) Retain(ordinal int) (cuda.Context, error) {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return 0, check("cuDeviceGet", err)
	}
	ctx, err := dev.RetainPrimaryCtx()
	return as[cuda.Context](ctx), check("cuDevicePrimaryCtxRetain", err)
}

func (d *driver) Release(ordinal int) error {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return check("cuDeviceGet", err)
	}
	return check("cuDevicePrimaryCtxRelease", dev.ReleasePrimaryCtx())
}

func (d *driver) Use(c cuda.Context) error {
	return check("cuCtxSetCurrent", cu.SetCurrentContext(as[cu.CUContext](c)))
}

func (d *driver) EnablePeer(c cuda.Context) error {
	err := as[cu.CUContext](c).EnablePeerAccess(0)
	if v := reflect.ValueOf(err); err != nil && v.Kind() == reflect.Int && v.Int() == cuda.PeerAlreadyEnabled {
		return nil
	}
	return check("cuCtxEnablePeerAccess", err)
}

func (d *driver) MemoryInfo() (free, total uint64, err error) {
	f, t, err := cu.MemInfo()
	return uint64(f), uint64(t), check("cuMemGetInfo", err)
}

func (d *driver) LoadModule(image []byte) (cuda.Module, error) {
	var log [4096]C.char
	b := cuda.Terminated(image)
	var m C.CUmodule
	if r := C.load(&m, unsafe.Pointer(&b[0]), &log[0], C.size_t(len(log))); r != C.CUDA_SUCCESS {
		return 0, cuda.Failed(&cuda.Error{Call: "cuModuleLoadDataEx", Code: int32(r), Log: cuda.Text(C.GoBytes(unsafe.Pointer(&log[0]), C.int(len(log))))})
	}
	return as[cuda.Module](m), nil
}

func (d *driver) UnloadModule(m cuda.Module) error {
	return check("cuModuleUnload", as[cu.Module](m).Unload())
}

func (d *driver) Function(m cuda.Module, name string) (cuda.Function, error) {
	f, err := as[cu.Module](m).Function(name)
	if err != nil {
		return 0, fmt.Errorf("kernel %s: %w", name, check("cuModuleGetFunction", err))
	}
	return as[cuda.Function](f), nil
}

func (d *driver) FunctionAttribute(f cuda.Function, a cuda.FunctionAttribute) (int, error) {
	v, err := as[cu.Function](f).Attribute(cu.FunctionAttribute(a))
	return v, check("cuFuncGetAttribute", err)
}

func (d *driver) SetFunctionAttribute(f cuda.Function, a cuda.FunctionAttribute, v int) error {
	return code("cuFuncSetAttribute", C.cuFuncSetAttribute(as[C.CUfunction](f), C.CUfunction_attribute(a), C.int(v)))
}
