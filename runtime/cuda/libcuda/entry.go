//go:build linux && (amd64 || arm64)

package libcuda

import "unsafe"

// entries are libcuda's functions under their own names. Handles are uintptr,
// device addresses uint64, results int32.
type entries struct {
	Init             func(flags uint32) int32                                                                             `cu:"cuInit"`
	DriverGetVersion func(version *int32) int32                                                                           `cu:"cuDriverGetVersion"`
	GetErrorName     func(code int32, name **byte) int32                                                                  `cu:"cuGetErrorName"`
	DeviceGetCount   func(n *int32) int32                                                                                 `cu:"cuDeviceGetCount"`
	DeviceGet        func(device *int32, ordinal int32) int32                                                             `cu:"cuDeviceGet"`
	DeviceGetName    func(name *byte, size, device int32) int32                                                           `cu:"cuDeviceGetName"`
	DeviceGetAttr    func(value *int32, attribute, device int32) int32                                                    `cu:"cuDeviceGetAttribute"`
	DeviceTotalMem   func(bytes *uint64, device int32) int32                                                              `cu:"cuDeviceTotalMem_v2"`
	DeviceCanAccess  func(can *int32, device, peer int32) int32                                                           `cu:"cuDeviceCanAccessPeer"`
	CtxRetain        func(ctx *uintptr, device int32) int32                                                               `cu:"cuDevicePrimaryCtxRetain"`
	CtxRelease       func(device int32) int32                                                                             `cu:"cuDevicePrimaryCtxRelease_v2"`
	CtxSetCurrent    func(ctx uintptr) int32                                                                              `cu:"cuCtxSetCurrent"`
	CtxEnablePeer    func(ctx uintptr, flags uint32) int32                                                                `cu:"cuCtxEnablePeerAccess"`
	MemGetInfo       func(free, total *uint64) int32                                                                      `cu:"cuMemGetInfo_v2"`
	ModuleLoad       func(m *uintptr, image *byte, n uint32, options *int32, values *uintptr) int32                       `cu:"cuModuleLoadDataEx"`
	ModuleUnload     func(m uintptr) int32                                                                                `cu:"cuModuleUnload"`
	ModuleFunction   func(f *uintptr, m uintptr, name *byte) int32                                                        `cu:"cuModuleGetFunction"`
	FuncGetAttr      func(value *int32, attribute int32, f uintptr) int32                                                 `cu:"cuFuncGetAttribute"`
	FuncSetAttr      func(f uintptr, attribute, value int32) int32                                                        `cu:"cuFuncSetAttribute"`
	MemAlloc         func(p *uint64, bytes uint64) int32                                                                  `cu:"cuMemAlloc_v2"`
	MemFree          func(p uint64) int32                                                                                 `cu:"cuMemFree_v2"`
	MemHostAlloc     func(p *unsafe.Pointer, bytes uint64, flags uint32) int32                                            `cu:"cuMemHostAlloc"`
	MemFreeHost      func(p unsafe.Pointer) int32                                                                         `cu:"cuMemFreeHost"`
	MemHostRegister  func(p unsafe.Pointer, bytes uint64, flags uint32) int32                                             `cu:"cuMemHostRegister_v2"`
	MemHostUnreg     func(p unsafe.Pointer) int32                                                                         `cu:"cuMemHostUnregister"`
	MemHostPtr       func(d *uint64, p unsafe.Pointer, flags uint32) int32                                                `cu:"cuMemHostGetDevicePointer_v2"`
	CopyHtoD         func(dst uint64, src unsafe.Pointer, bytes uint64, stream uintptr) int32                             `cu:"cuMemcpyHtoDAsync_v2"`
	CopyDtoH         func(dst unsafe.Pointer, src uint64, bytes uint64, stream uintptr) int32                             `cu:"cuMemcpyDtoHAsync_v2"`
	CopyDtoD         func(dst, src uint64, bytes uint64, stream uintptr) int32                                            `cu:"cuMemcpyDtoDAsync_v2"`
	CopyPeer         func(dst uint64, to uintptr, src uint64, from uintptr, n uint64, s uintptr) int32                    `cu:"cuMemcpyPeerAsync"`
	MemsetD8         func(dst uint64, value uint8, bytes uint64, stream uintptr) int32                                    `cu:"cuMemsetD8Async"`
	StreamCreate     func(s *uintptr, flags uint32) int32                                                                 `cu:"cuStreamCreate"`
	StreamDestroy    func(s uintptr) int32                                                                                `cu:"cuStreamDestroy_v2"`
	StreamSync       func(s uintptr) int32                                                                                `cu:"cuStreamSynchronize"`
	StreamWaitEvent  func(s, event uintptr, flags uint32) int32                                                           `cu:"cuStreamWaitEvent"`
	EventCreate      func(e *uintptr, flags uint32) int32                                                                 `cu:"cuEventCreate"`
	EventDestroy     func(e uintptr) int32                                                                                `cu:"cuEventDestroy_v2"`
	EventRecord      func(e, stream uintptr) int32                                                                        `cu:"cuEventRecord"`
	EventSync        func(e uintptr) int32                                                                                `cu:"cuEventSynchronize"`
	EventElapsed     func(ms *float32, from, to uintptr) int32                                                            `cu:"cuEventElapsedTime"`
	LaunchKernel     func(f uintptr, gx, gy, gz, bx, by, bz, shared uint32, s uintptr, args, extra *unsafe.Pointer) int32 `cu:"cuLaunchKernel"`
	LaunchCoop       func(f uintptr, gx, gy, gz, bx, by, bz, shared uint32, s uintptr, args *unsafe.Pointer) int32        `cu:"cuLaunchCooperativeKernel"`
	BeginCapture     func(s uintptr, mode int32) int32                                                                    `cu:"cuStreamBeginCapture_v2"`
	EndCapture       func(s uintptr, g *uintptr) int32                                                                    `cu:"cuStreamEndCapture"`
	GraphInstantiate func(x *uintptr, g uintptr, flags uint64) int32                                                      `cu:"cuGraphInstantiateWithFlags"`
	GraphLaunch      func(x, stream uintptr) int32                                                                        `cu:"cuGraphLaunch"`
	GraphDestroy     func(g uintptr) int32                                                                                `cu:"cuGraphDestroy"`
	ExecDestroy      func(x uintptr) int32                                                                                `cu:"cuGraphExecDestroy"`
}
