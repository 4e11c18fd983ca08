package drivertest

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

// Kernels is the text of the kernels, for the emulator's builder.
//
//go:embed kernels.cu
var Kernels []byte

// A scene is a machine with its faults, and what a driver must make of it.
type scene struct {
	name string
	env  []string
	run  func(t *testing.T, open cuda.Opener)
}

var scenes = []scene{
	{"a driver", nil, driver},
	{"a lazy driver", []string{"QNC_EMU_LAZY=3"}, driver},
	{"programs", nil, programs},
	{"programs on lazy streams", []string{"QNC_EMU_LAZY=1"}, programs},
	{"programs on lazy streams in another order", []string{"QNC_EMU_LAZY=2", "QNC_EMU_SCHEDULE=2"}, programs},
	{"programs without peer access", []string{"QNC_EMU_PEER=0"}, programs},
	{"no driver", []string{"QNC_LIBCUDA=" + filepath.Join(string(filepath.Separator), "nowhere", "libcuda.so.1")},
		refuses(fault.Missing, "no NVIDIA driver: ", "libcuda.so.1")},
	{"no device", []string{"CUDA_VISIBLE_DEVICES="}, refuses(fault.Missing, "CUDA_ERROR_NO_DEVICE: no GPU is visible", "CUDA_VISIBLE_DEVICES")},
	{"one device of two", []string{"QNC_EMU_DEVICES=1"}, refuses(fault.Missing, "uses cuda:1, of 1 visible GPUs")},
	{"a broken installation", []string{"QNC_EMU_FAIL=cuInit:1=803"}, refuses(fault.Missing, "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "restart the machine")},
	{"an old driver", []string{"QNC_EMU_DRIVER=11040"}, refuses(fault.Missing, "supports CUDA 11.4, the program's kernels need CUDA 12.0 (driver 525 or newer)")},
	{"another chip", []string{"QNC_EMU_ARCH=75"}, refuses(fault.Missing, "of chip sm_75", "--target-gpu sm_75")},
	{"too little memory", []string{"QNC_EMU_MEMORY=8388608,2000"}, refuses(fault.Fit, "cuda:1", "the plan needs 1 MiB, 1 MiB of 1 MiB are free")},
	{"memory runs out", []string{"QNC_EMU_FAIL=cuMemAlloc:4=2"}, refuses(fault.Fit, "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: free memory of the GPU")},
	{"pinned memory runs out", []string{"QNC_EMU_FAIL=cuMemHostAlloc:1=2"}, refuses(fault.Fit, "pinned memory: cuMemHostAlloc: CUDA_ERROR_OUT_OF_MEMORY")},
	{"code that the driver refuses", []string{"QNC_EMU_FAIL=cuModuleLoadDataEx:1=222,cuModuleLoadData:1=222"}, refuses(fault.Missing, "kernels: ", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION")},
	{"an error without a name", []string{"QNC_EMU_FAIL=cuStreamCreate:1=4242"}, refuses(fault.Failure, "CUDA error 4242")},
	{"a kernel that faults", []string{"QNC_EMU_FAIL=kernel twice:3=700"}, faults},
}

// Run passes every scene, each in a process of its own: a driver is loaded
// once, and after a fault nothing of it is good. library is an emulated libcuda
// with Kernels; test is the name of the calling test, which is the first thing
// that the process runs.
func Run(t *testing.T, library string, open cuda.Opener) {
	if name := os.Getenv("QNC_SCENE"); name != "" {
		scenes[slices.IndexFunc(scenes, func(s scene) bool { return s.name == name })].run(t, open)
		return
	}
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$", "-test.v", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), "QNC_LIBCUDA="+library, "QNC_EMU_DEVICES=2", "QNC_EMU_WORKERS=1", "QNC_SCENE="+s.name)
			cmd.Env = append(cmd.Env, s.env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			} else if !bytes.Contains(out, []byte("--- PASS")) {
				t.Errorf("nothing ran:\n%s", out)
			}
		})
	}
}

// programs runs the test's program in every layout.
func programs(t *testing.T, open cuda.Opener) {
	for _, l := range Layouts {
		var notes []string
		s, err := Session(t, l, open, Plan(l.Devices()), &notes, nil)
		if err != nil {
			t.Fatalf("%s: %v", l.Name, err)
		}
		if len(notes) != l.Devices() || !strings.Contains(notes[0], "planned 1 MiB, used 1 MiB") {
			t.Errorf("%s: notes %q", l.Name, notes)
		}
		l.Run(t, s)
	}
}

// refuses wants an error with a code and these words when a program for two devices starts.
func refuses(code fault.Code, words ...string) func(*testing.T, cuda.Opener) {
	return func(t *testing.T, open cuda.Opener) {
		_, err := Session(t, Layouts[1], open, Plan(2), nil, nil)
		if fault.CodeOf(err) != code {
			t.Errorf("code %d, want %d: %v", fault.CodeOf(err), code, err)
		}
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v: want one line with %q", err, w)
			}
		}
	}
}

// faults wants a kernel's fault as the error of the step, and of every later one.
func faults(t *testing.T, open cuda.Opener) {
	s, err := Session(t, Layouts[0], open, Plan(1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		_, err := s.Decode(0, 1)
		switch {
		case i < 2 && err != nil:
			t.Fatal(err)
		case i >= 2 && (fault.CodeOf(err) != fault.Failure || err == nil || !strings.Contains(err.Error(), "decode: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS: ")):
			t.Errorf("token %d: %v", i, err)
		}
	}
	if s.Len(0) != 2 {
		t.Errorf("%d tokens are in the sequence, 2 were evaluated", s.Len(0))
	}
	s.Close()
}

// driver passes each method that the programs do not.
func driver(t *testing.T, open cuda.Opener) {
	runtime.LockOSThread()
	drv, err := open()
	if err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	total, err := drv.TotalMemory(1)
	ok(err)
	name, err := drv.DeviceName(1)
	ok(err)
	sms, err := drv.Attribute(1, cuda.Multiprocessors)
	ok(err)
	can, err := drv.CanAccessPeer(0, 1)
	ok(err)
	if total != 8<<30 || name != "emulated device 1" || sms != 4 || !can {
		t.Errorf("device 1: %q, %d bytes, %d multiprocessors, peer %v", name, total, sms, can)
	}
	ctx, err := drv.Retain(0)
	ok(err)
	ok(drv.Use(ctx))
	other, err := drv.Retain(1)
	ok(err)
	ok(drv.EnablePeer(other))
	s, err := drv.NewStream()
	ok(err)
	m, err := drv.LoadModule([]byte("image"))
	ok(err)

	// pinned memory, ours and the driver's, there and back through every copy
	const n = 1 << 12
	mine, pinned := make([]byte, n), []byte(nil)
	ok(drv.RegisterHost(mine))
	pinned, err = drv.AllocHost(n)
	ok(err)
	if _, err := drv.HostPtr(pinned); err != nil {
		t.Error(err)
	}
	for i := range mine {
		mine[i] = byte(i * i >> 3)
	}
	a, err := drv.Alloc(n)
	ok(err)
	b, err := drv.Alloc(n)
	ok(err)
	ok(drv.CopyToDevice(a, mine, s))
	ok(drv.CopyOnDevice(b, a, n, s))
	ok(drv.Fill(a, 7, n, s))
	ok(drv.CopyPeer(a+16, ctx, b+16, ctx, n-32, s))
	ok(drv.CopyToHost(pinned, a, s))
	ok(drv.Synchronize(s))
	if !bytes.Equal(pinned[16:n-16], mine[16:n-16]) || pinned[15] != 7 || pinned[n-16] != 7 {
		t.Error("copies lost bytes")
	}
	free, total, err := drv.MemoryInfo()
	ok(err)
	if total-free != 2*n {
		t.Errorf("%d bytes are in use, want %d", total-free, 2*n)
	}

	// events: a second stream waits for the first
	other2, err := drv.NewStream()
	ok(err)
	start, err := drv.NewEvent()
	ok(err)
	done, err := drv.NewEvent()
	ok(err)
	ok(drv.Record(start, s))
	ok(drv.Fill(a, 9, n, s))
	ok(drv.Record(done, s))
	ok(drv.Wait(other2, done))
	ok(drv.CopyToHost(pinned, a, other2))
	ok(drv.Synchronize(other2))
	if pinned[0] != 9 || pinned[n-1] != 9 {
		t.Error("a stream did not wait for an event")
	}
	ok(drv.SynchronizeEvent(done))
	if ms, err := drv.Elapsed(start, done); err != nil || ms < 0 {
		t.Errorf("%v ms between events: %v", ms, err)
	}

	// a co-operative kernel, captured and launched twice
	f, err := drv.Function(m, "meet")
	ok(err)
	if _, err := drv.FunctionAttribute(f, cuda.Registers); err != nil {
		t.Error(err)
	}
	ok(drv.SetFunctionAttribute(f, cuda.MaxDynamicShared, 64<<10))
	ok(drv.BeginCapture(s))
	ok(drv.Fill(a, 0, 4, s))
	ok(drv.Launch(&cuda.Launch{Function: f, Grid: [3]uint32{6, 1, 1}, Block: [3]uint32{32, 1, 1}, Shared: 60 << 10, Args: []uint64{uint64(a), uint64(b)}, Cooperative: true}, s))
	ok(drv.CopyToHost(pinned[:24], b, s))
	g, err := drv.EndCapture(s)
	ok(err)
	x, err := drv.Instantiate(g)
	ok(err)
	ok(drv.DestroyGraph(g))
	for range 2 {
		clear(pinned)
		ok(drv.LaunchGraph(x, s))
		ok(drv.Synchronize(s))
		for i := range 6 {
			if got := binary.LittleEndian.Uint32(pinned[4*i:]); got != 6 {
				t.Errorf("block %d met %d, want 6", i, got)
			}
		}
	}

	// what is wrong is an error with the call's name
	if _, err := drv.Function(m, "nothing"); err == nil || !strings.Contains(err.Error(), "kernel nothing: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND") {
		t.Errorf("a kernel that is not there: %v", err)
	}
	if err := drv.CopyToDevice(a, make([]byte, n+1), s); err == nil || !strings.Contains(err.Error(), "cuMemcpyHtoDAsync: CUDA_ERROR_INVALID_VALUE") {
		t.Errorf("a copy beyond its memory: %v", err)
	}
	if _, err := drv.Alloc(1 << 40); fault.CodeOf(err) != fault.Fit {
		t.Errorf("a terabyte: %v", err)
	}
	if _, err := drv.DeviceName(5); fault.CodeOf(err) != fault.Missing {
		t.Errorf("device 5: %v", err)
	}
	for _, err := range []error{drv.DestroyExec(x), drv.DestroyEvent(start), drv.DestroyEvent(done), drv.DestroyStream(other2), drv.DestroyStream(s),
		drv.UnregisterHost(mine), drv.FreeHost(pinned), drv.Free(b), drv.Free(a), drv.UnloadModule(m), drv.Release(1), drv.Release(0)} {
		ok(err)
	}
}
