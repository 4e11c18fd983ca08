//go:build linux && (amd64 || arm64)

// Package libcuda finds NVIDIA's driver when the program runs, without cgo: a
// program starts on a machine that has none and can say so.
package libcuda

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

// Variable names another library in place of the driver's.
const Variable = "QNC_LIBCUDA"

// oldest is the CUDA version of the first driver with all entries.
const oldest = "CUDA 11.4 (driver 470)"

type driver struct {
	entries
	args []unsafe.Pointer // of a launch
}

// Open loads the driver and initialises it.
func Open() (cuda.Driver, error) {
	path := os.Getenv(Variable)
	if path == "" {
		path = "libcuda.so.1"
	}
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fault.New(fault.Missing, "no NVIDIA driver: %s: install it, or compile for the CPU (-ngl 0)", strings.TrimSpace(strings.ReplaceAll(err.Error(), "\n", " ")))
	}
	d := &driver{}
	v := reflect.ValueOf(&d.entries).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("cu")
		sym, err := purego.Dlsym(lib, name)
		if err != nil {
			return nil, fault.New(fault.Missing, "the NVIDIA driver %s has no %s: it is older than %s: update it", path, name, oldest)
		}
		purego.RegisterFunc(v.Field(i).Addr().Interface(), sym)
	}
	return d, d.check("cuInit", d.Init(0))
}

// check makes an error of a result; one without a row in package cuda gets the driver's name for it.
func (d *driver) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	e := &cuda.Error{Call: call, Code: code}
	if !e.Known() {
		var name *byte
		if d.GetErrorName(code, &name) == 0 && name != nil {
			e.Log = cuda.Text(unsafe.Slice(name, 256))
		}
	}
	return cuda.Failed(e)
}

func (d *driver) Version() (int, error) {
	var v int32
	err := d.check("cuDriverGetVersion", d.DriverGetVersion(&v))
	return int(v), err
}

func (d *driver) DeviceCount() (int, error) {
	var n int32
	err := d.check("cuDeviceGetCount", d.DeviceGetCount(&n))
	return int(n), err
}

// device is the handle of a device's number; libcuda gives them in that order.
func (d *driver) device(ordinal int) (dev int32, err error) {
	return dev, d.check("cuDeviceGet", d.DeviceGet(&dev, int32(ordinal)))
}

func (d *driver) DeviceName(ordinal int) (string, error) {
	dev, err := d.device(ordinal)
	if err != nil {
		return "", err
	}
	var b [256]byte
	err = d.check("cuDeviceGetName", d.DeviceGetName(&b[0], int32(len(b)), dev))
	return cuda.Text(b[:]), err
}

func (d *driver) Attribute(ordinal int, a cuda.Attribute) (int, error) {
	dev, err := d.device(ordinal)
	if err != nil {
		return 0, err
	}
	var v int32
	err = d.check("cuDeviceGetAttribute", d.DeviceGetAttr(&v, int32(a), dev))
	return int(v), err
}

func (d *driver) TotalMemory(ordinal int) (uint64, error) {
	dev, err := d.device(ordinal)
	if err != nil {
		return 0, err
	}
	var n uint64
	err = d.check("cuDeviceTotalMem", d.DeviceTotalMem(&n, dev))
	return n, err
}

func (d *driver) CanAccessPeer(ordinal, peer int) (bool, error) {
	a, err := d.device(ordinal)
	if err != nil {
		return false, err
	}
	b, err := d.device(peer)
	if err != nil {
		return false, err
	}
	var can int32
	err = d.check("cuDeviceCanAccessPeer", d.DeviceCanAccess(&can, a, b))
	return can != 0, err
}

func (d *driver) Retain(ordinal int) (cuda.Context, error) {
	dev, err := d.device(ordinal)
	if err != nil {
		return 0, err
	}
	var ctx uintptr
	err = d.check("cuDevicePrimaryCtxRetain", d.CtxRetain(&ctx, dev))
	return cuda.Context(ctx), err
}

func (d *driver) Release(ordinal int) error {
	dev, err := d.device(ordinal)
	if err != nil {
		return err
	}
	return d.check("cuDevicePrimaryCtxRelease", d.CtxRelease(dev))
}

func (d *driver) Use(c cuda.Context) error {
	return d.check("cuCtxSetCurrent", d.CtxSetCurrent(uintptr(c)))
}

func (d *driver) EnablePeer(c cuda.Context) error {
	code := d.CtxEnablePeer(uintptr(c), 0)
	if code == cuda.PeerAlreadyEnabled {
		return nil
	}
	return d.check("cuCtxEnablePeerAccess", code)
}

func (d *driver) MemoryInfo() (free, total uint64, err error) {
	err = d.check("cuMemGetInfo", d.MemGetInfo(&free, &total))
	return free, total, err
}

func (d *driver) LoadModule(image []byte) (cuda.Module, error) {
	var log [4096]byte
	options := [...]int32{cuda.JITErrorLog, cuda.JITErrorLogBytes}
	values := [...]uintptr{uintptr(unsafe.Pointer(&log[0])), uintptr(len(log))}
	var pin runtime.Pinner
	pin.Pin(&log[0]) // the driver finds it through values
	defer pin.Unpin()
	b := cuda.Terminated(image)
	var m uintptr
	code := d.ModuleLoad(&m, &b[0], uint32(len(options)), &options[0], &values[0])
	if code != 0 {
		return 0, cuda.Failed(&cuda.Error{Call: "cuModuleLoadDataEx", Code: code, Log: cuda.Text(log[:])})
	}
	return cuda.Module(m), nil
}

func (d *driver) UnloadModule(m cuda.Module) error {
	return d.check("cuModuleUnload", d.ModuleUnload(uintptr(m)))
}

func (d *driver) Function(m cuda.Module, name string) (cuda.Function, error) {
	b := append([]byte(name), 0)
	var f uintptr
	if code := d.ModuleFunction(&f, uintptr(m), &b[0]); code != 0 {
		return 0, fmt.Errorf("kernel %s: %w", name, d.check("cuModuleGetFunction", code))
	}
	return cuda.Function(f), nil
}

func (d *driver) FunctionAttribute(f cuda.Function, a cuda.FunctionAttribute) (int, error) {
	var v int32
	err := d.check("cuFuncGetAttribute", d.FuncGetAttr(&v, int32(a), uintptr(f)))
	return int(v), err
}

func (d *driver) SetFunctionAttribute(f cuda.Function, a cuda.FunctionAttribute, v int) error {
	return d.check("cuFuncSetAttribute", d.FuncSetAttr(uintptr(f), int32(a), int32(v)))
}
