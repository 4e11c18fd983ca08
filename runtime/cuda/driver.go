// Package cuda runs the GPU half of a program: devices and their memory, the
// steps as graphs, and the hand-over to the CPU and between devices.
//
// It reaches the hardware through a [Driver] alone, of which there are two:
// package libcuda, which finds the driver when the program runs, and package
// gorgonia, which is linked with it.
package cuda

// Handles of the driver. They are valid for the driver that gave them.
type (
	Context  uintptr // the primary context of a device
	Module   uintptr
	Function uintptr // a kernel
	Stream   uintptr
	Event    uintptr
	Graph    uintptr // what a capture recorded
	Exec     uintptr // a graph that can be launched
)

// A Ptr is an address in device memory, or in pinned host memory as a device sees it.
type Ptr uint64

// An Attribute of a device, by the driver's number.
type Attribute int32

const (
	Multiprocessors        Attribute = 16
	Integrated             Attribute = 18
	CanMapHost             Attribute = 19
	ComputeMajor           Attribute = 75
	ComputeMinor           Attribute = 76
	CooperativeLaunch      Attribute = 95
	MaxSharedPerBlockOptin Attribute = 97
)

// A FunctionAttribute of a kernel, by the driver's number.
type FunctionAttribute int32

const (
	MaxThreads       FunctionAttribute = 0
	SharedBytes      FunctionAttribute = 1 // static
	LocalBytes       FunctionAttribute = 3 // of each thread: a spill shows here
	Registers        FunctionAttribute = 4
	MaxDynamicShared FunctionAttribute = 8 // can be set
)

// A Launch is one kernel with its grid.
type Launch struct {
	Function    Function
	Grid, Block [3]uint32
	Shared      uint32   // dynamic shared memory, bytes
	Args        []uint64 // 8 bytes each; a kernel reads the low 4 of an int or float
	Cooperative bool     // all blocks are resident at once
}

// A Driver is what programs use of libcuda. Every error is an [*Error], or says
// why there is no driver. Calls that take neither a device's number nor nothing
// at all act in the context that Use made current on the calling OS thread:
// callers lock theirs (runtime.LockOSThread). Copies, fills and launches are queued on
// their stream; their host memory must stay until the stream got there.
type Driver interface {
	// Version is the newest CUDA that the driver knows: 13020 is 13.2.
	Version() (int, error)
	DeviceCount() (int, error)
	DeviceName(device int) (string, error)
	Attribute(device int, a Attribute) (int, error)
	TotalMemory(device int) (bytes uint64, err error)
	CanAccessPeer(device, peer int) (bool, error)

	// Retain opens the primary context of a device; Release takes it back.
	Retain(device int) (Context, error)
	Release(device int) error
	Use(Context) error
	EnablePeer(Context) error // lets the current context read and write that of another device
	MemoryInfo() (free, total uint64, err error)

	// LoadModule takes a fatbin, a cubin or PTX. What the driver's own compiler
	// says of PTX that it refuses is part of the error.
	LoadModule(image []byte) (Module, error)
	UnloadModule(Module) error
	Function(m Module, name string) (Function, error)
	FunctionAttribute(Function, FunctionAttribute) (int, error)
	SetFunctionAttribute(Function, FunctionAttribute, int) error

	Alloc(bytes uint64) (Ptr, error)
	Free(Ptr) error
	// AllocHost returns pinned memory that every device can read and write.
	AllocHost(bytes int) ([]byte, error)
	FreeHost([]byte) error
	// RegisterHost pins memory that exists; UnregisterHost undoes it.
	RegisterHost([]byte) error
	UnregisterHost([]byte) error
	// HostPtr is where the current context sees pinned memory.
	HostPtr([]byte) (Ptr, error)

	CopyToDevice(dst Ptr, src []byte, s Stream) error
	CopyToHost(dst []byte, src Ptr, s Stream) error
	CopyOnDevice(dst, src Ptr, bytes uint64, s Stream) error
	CopyPeer(dst Ptr, to Context, src Ptr, from Context, bytes uint64, s Stream) error
	Fill(dst Ptr, value byte, bytes uint64, s Stream) error

	NewStream() (Stream, error) // it does not wait for the default stream
	DestroyStream(Stream) error
	Synchronize(Stream) error
	NewEvent() (Event, error)
	DestroyEvent(Event) error
	Record(Event, Stream) error
	Wait(Stream, Event) error // what comes later on the stream waits for the event
	SynchronizeEvent(Event) error
	Elapsed(from, to Event) (ms float32, err error)

	Launch(*Launch, Stream) error

	// BeginCapture makes calls on the stream record instead of run, until EndCapture.
	BeginCapture(Stream) error
	EndCapture(Stream) (Graph, error)
	Instantiate(Graph) (Exec, error)
	LaunchGraph(Exec, Stream) error
	DestroyGraph(Graph) error
	DestroyExec(Exec) error
}

// An Opener finds a driver. Where there is none its error has code fault.Missing.
type Opener func() (Driver, error)
