package cuda

import (
	"fmt"

	"qnc/runtime/fault"
)

// An Error is a call that the driver refused, or the fault of a kernel that it
// reports with a later call.
type Error struct {
	Call string // "cuMemAlloc"
	Code int32  // CUresult
	Log  string // of the driver's compiler, one line
}

// A result is a row of the table of CUresult.
type result struct {
	name string
	code fault.Code
	cure string
}

const (
	cureDriver = "install or update NVIDIA's driver (nvidia-smi shows it)"
	cureFit    = "free memory of the GPU (nvidia-smi lists who uses it), or compile with less on it: a smaller -c or -ub, -ngl, --n-cpu-moe"
	cureArch   = "compile for this GPU with --target-gpu"
	cureBug    = "this is a bug of the program: report it with the output of its info command"
	cureCard   = "restart the machine; when it happens again the GPU or its power is at fault (dmesg shows Xid errors)"
)

// results names what programs meet. Numbers are the driver's.
var results = map[int32]result{
	1:   {"CUDA_ERROR_INVALID_VALUE", fault.Failure, cureBug},
	2:   {"CUDA_ERROR_OUT_OF_MEMORY", fault.Fit, cureFit},
	3:   {"CUDA_ERROR_NOT_INITIALIZED", fault.Missing, cureDriver},
	4:   {"CUDA_ERROR_DEINITIALIZED", fault.Failure, "the program was ending"},
	34:  {"CUDA_ERROR_STUB_LIBRARY", fault.Missing, "libcuda is the toolkit's stub: " + cureDriver},
	46:  {"CUDA_ERROR_DEVICE_UNAVAILABLE", fault.Missing, "another process has the GPU for itself: end it"},
	100: {"CUDA_ERROR_NO_DEVICE", fault.Missing, "no GPU is visible: look at nvidia-smi and at the variable CUDA_VISIBLE_DEVICES"},
	101: {"CUDA_ERROR_INVALID_DEVICE", fault.Missing, "the program was compiled for more GPUs than are visible: look at CUDA_VISIBLE_DEVICES, or compile again on this machine"},
	200: {"CUDA_ERROR_INVALID_IMAGE", fault.Missing, cureArch},
	201: {"CUDA_ERROR_INVALID_CONTEXT", fault.Failure, cureBug},
	209: {"CUDA_ERROR_NO_BINARY_FOR_GPU", fault.Missing, cureArch},
	214: {"CUDA_ERROR_ECC_UNCORRECTABLE", fault.Failure, cureCard},
	217: {"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", fault.Failure, cureBug},
	218: {"CUDA_ERROR_INVALID_PTX", fault.Missing, cureDriver},
	221: {"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", fault.Missing, "the driver has no PTX compiler (libnvidia-ptxjitcompiler): " + cureArch},
	222: {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", fault.Missing, cureDriver},
	223: {"CUDA_ERROR_JIT_COMPILATION_DISABLED", fault.Missing, "unset CUDA_DISABLE_PTX_JIT, or " + cureArch},
	304: {"CUDA_ERROR_OPERATING_SYSTEM", fault.Missing, cureDriver},
	400: {"CUDA_ERROR_INVALID_HANDLE", fault.Failure, cureBug},
	500: {"CUDA_ERROR_NOT_FOUND", fault.Failure, cureBug},
	600: {"CUDA_ERROR_NOT_READY", fault.Failure, cureBug},
	700: {"CUDA_ERROR_ILLEGAL_ADDRESS", fault.Failure, cureBug},
	701: {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", fault.Failure, cureBug},
	702: {"CUDA_ERROR_LAUNCH_TIMEOUT", fault.Failure, "the GPU also drives a display, whose watchdog ended the kernel: use one that does not"},
	710: {"CUDA_ERROR_ASSERT", fault.Failure, cureBug},
	714: {"CUDA_ERROR_HARDWARE_STACK_ERROR", fault.Failure, cureCard},
	715: {"CUDA_ERROR_ILLEGAL_INSTRUCTION", fault.Failure, cureBug},
	716: {"CUDA_ERROR_MISALIGNED_ADDRESS", fault.Failure, cureBug},
	717: {"CUDA_ERROR_INVALID_ADDRESS_SPACE", fault.Failure, cureBug},
	718: {"CUDA_ERROR_INVALID_PC", fault.Failure, cureBug},
	719: {"CUDA_ERROR_LAUNCH_FAILED", fault.Failure, cureBug},
	720: {"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", fault.Failure, cureBug},
	801: {"CUDA_ERROR_NOT_SUPPORTED", fault.Missing, cureDriver},
	802: {"CUDA_ERROR_SYSTEM_NOT_READY", fault.Missing, "a service of the driver is not running (nvidia-fabricmanager): start it"},
	803: {"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", fault.Missing, "libcuda and the kernel's module are of different versions, as after an update: restart the machine"},
	804: {"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", fault.Missing, "the compatibility library does not serve this GPU: " + cureDriver},
	900: {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", fault.Failure, cureBug},
	901: {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", fault.Failure, cureBug},
	906: {"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", fault.Failure, cureBug},
	999: {"CUDA_ERROR_UNKNOWN", fault.Missing, cureCard},
}

// Check makes an error of what a call returned; nil for success.
func Check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	return Failed(&Error{Call: call, Code: code})
}

// Failed gives e the exit code of its row.
func Failed(e *Error) error { return fault.Wrap(e.row().code, e) }

func (e *Error) row() result {
	if r, ok := results[e.Code]; ok {
		return r
	}
	return result{fmt.Sprintf("CUDA error %d", e.Code), fault.Failure, cureBug}
}

func (e *Error) Error() string {
	r := e.row()
	if e.Log != "" {
		return fmt.Sprintf("%s: %s (%s): %s", e.Call, r.name, e.Log, r.cure)
	}
	return fmt.Sprintf("%s: %s: %s", e.Call, r.name, r.cure)
}

// Known reports whether the error's number has a name here.
func (e *Error) Known() bool { _, ok := results[e.Code]; return ok }
