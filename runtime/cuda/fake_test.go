package cuda_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"qnc/runtime/cuda"
)

type (
	Context           = cuda.Context
	Module            = cuda.Module
	Function          = cuda.Function
	Stream            = cuda.Stream
	Event             = cuda.Event
	Graph             = cuda.Graph
	Exec              = cuda.Exec
	Ptr               = cuda.Ptr
	Attribute         = cuda.Attribute
	FunctionAttribute = cuda.FunctionAttribute
)

// fake is a driver over Go memory. Its streams are lazy: what is queued runs
// when somebody waits, streams in random order, each as far as its events
// let it; a missing event shows as a wrong result.
type fake struct {
	version, chip, devices int
	memory                 uint64 // of each device
	failAlloc              int    // the n-th call of Alloc fails; 0: none
	faulty                 string // a kernel that faults
	noPeer                 bool
	kernels                map[string]func(f *fake, grid [3]uint32, args []uint64)
	random                 *rand.Rand

	current   Context
	next      uint64
	blocks    []*block // by address
	names     []string
	streams   map[Stream]*fakeStream
	events    map[Event]*fakeEvent
	graphs    map[uintptr][]op
	capturing map[Stream]Stream // to the stream whose capture it joined
	sticky    int32
	allocs    int
	launches  int // of graphs
	live      int // handles, blocks and contexts that were not given back
}

type block struct {
	p      Ptr
	data   []byte
	device Context // 0: the host
}

// An op runs on a stream when no event holds it up.
type op struct {
	stream Stream
	wait   *fakeEvent // nil, or what must have happened
	at     int        // how often
	mark   *fakeEvent
	run    func()
}

type fakeStream struct{ queue []op }

type fakeEvent struct{ recorded, happened int }

func newFake() *fake {
	return &fake{version: 13000, chip: 90, devices: 2, memory: 1 << 30, random: rand.New(rand.NewPCG(1, 2)), next: 1 << 20,
		kernels: map[string]func(*fake, [3]uint32, []uint64){}, streams: map[Stream]*fakeStream{}, events: map[Event]*fakeEvent{},
		graphs: map[uintptr][]op{}, capturing: map[Stream]Stream{}}
}

func (f *fake) open() (cuda.Driver, error) { return f, nil }

// at is n bytes of device or pinned memory.
func (f *fake) at(p Ptr, n int) []byte {
	for _, b := range f.blocks {
		if p >= b.p && p+Ptr(n) <= b.p+Ptr(len(b.data)) {
			return b.data[p-b.p:][:n]
		}
	}
	f.sticky = 700
	return make([]byte, n)
}

func (f *fake) word(p uint64) uint32       { return binary.LittleEndian.Uint32(f.at(Ptr(p), 4)) }
func (f *fake) setWord(p uint64, v uint32) { binary.LittleEndian.PutUint32(f.at(Ptr(p), 4), v) }

func (f *fake) push(s Stream, o op) error {
	if f.sticky != 0 {
		return cuda.Check("fake", f.sticky)
	}
	o.stream = s
	if o.wait != nil { // waiting for an event of a capture joins it
		for origin, ops := range f.graphs {
			if slices.ContainsFunc(ops, func(x op) bool { return x.mark == o.wait }) && f.capturing[Stream(origin)] != 0 {
				f.capturing[s] = Stream(origin)
			}
		}
	}
	if origin := f.capturing[s]; origin != 0 {
		f.graphs[uintptr(origin)] = append(f.graphs[uintptr(origin)], o)
		return nil
	}
	if o.mark != nil {
		o.mark.recorded++
	}
	if o.wait != nil {
		o.at = o.wait.recorded
	}
	f.streams[s].queue = append(f.streams[s].queue, o)
	return nil
}

// drain runs all streams in a random order that the events allow.
func (f *fake) drain() error {
	for {
		var ready []*fakeStream
		ids := make([]Stream, 0, len(f.streams))
		for id := range f.streams {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		left := 0
		for _, id := range ids {
			s := f.streams[id]
			left += len(s.queue)
			if len(s.queue) > 0 && (s.queue[0].wait == nil || s.queue[0].wait.happened >= s.queue[0].at) {
				ready = append(ready, s)
			}
		}
		if left == 0 || f.sticky != 0 {
			return cuda.Check("cuStreamSynchronize", f.sticky)
		}
		if len(ready) == 0 {
			return fmt.Errorf("the streams wait for each other")
		}
		s := ready[f.random.IntN(len(ready))]
		o := s.queue[0]
		s.queue = s.queue[1:]
		if o.run != nil {
			o.run()
		}
		if o.mark != nil {
			o.mark.happened++
		}
	}
}

func (f *fake) id() uintptr { f.next += 16; f.live++; return uintptr(f.next) }

func (f *fake) Version() (int, error)                { return f.version, nil }
func (f *fake) DeviceCount() (int, error)            { return f.devices, nil }
func (f *fake) DeviceName(int) (string, error)       { return "Fake", nil }
func (f *fake) TotalMemory(int) (uint64, error)      { return f.memory, nil }
func (f *fake) CanAccessPeer(a, b int) (bool, error) { return !f.noPeer, nil }
func (f *fake) Attribute(_ int, a Attribute) (int, error) {
	return map[Attribute]int{cuda.ComputeMajor: f.chip / 10, cuda.ComputeMinor: f.chip % 10}[a], nil
}
func (f *fake) Retain(d int) (Context, error)     { f.live++; return Context(d + 1), nil }
func (f *fake) Release(int) error                 { f.live--; return nil }
func (f *fake) Use(c Context) error               { f.current = c; return cuda.Check("cuCtxSetCurrent", f.sticky) }
func (f *fake) EnablePeer(Context) error          { return nil }
func (f *fake) LoadModule([]byte) (Module, error) { return Module(f.id()), nil }
func (f *fake) UnloadModule(Module) error         { f.live--; return nil }
func (f *fake) MemoryInfo() (free, total uint64, err error) {
	free = f.memory
	for _, b := range f.blocks {
		if b.device == f.current {
			free -= uint64(len(b.data))
		}
	}
	return free, f.memory, nil
}
func (f *fake) Function(_ Module, name string) (Function, error) {
	if f.kernels[name] == nil {
		return 0, cuda.Check("cuModuleGetFunction", 500)
	}
	f.names = append(f.names, name)
	return Function(len(f.names)), nil
}
func (f *fake) FunctionAttribute(Function, FunctionAttribute) (int, error)  { return 0, nil }
func (f *fake) SetFunctionAttribute(Function, FunctionAttribute, int) error { return nil }

func (f *fake) add(n uint64, device Context) *block {
	f.next = (f.next + 4096) &^ 255
	b := &block{Ptr(f.next), make([]byte, n), device}
	for i := range b.data {
		b.data[i] = 0xff
	}
	f.next += n
	f.live++
	f.blocks = append(f.blocks, b)
	return b
}
func (f *fake) Alloc(n uint64) (Ptr, error) {
	if free, _, _ := f.MemoryInfo(); n > free || f.allocs+1 == f.failAlloc {
		return 0, cuda.Check("cuMemAlloc", 2)
	}
	f.allocs++
	return f.add(n, f.current).p, nil
}
func (f *fake) remove(found func(*block) bool) error {
	i := slices.IndexFunc(f.blocks, found)
	if i < 0 {
		return cuda.Check("cuMemFree", 1)
	}
	f.blocks = slices.Delete(f.blocks, i, i+1)
	f.live--
	return nil
}
func (f *fake) Free(p Ptr) error                { return f.remove(func(b *block) bool { return b.p == p }) }
func (f *fake) AllocHost(n int) ([]byte, error) { return f.add(uint64(n), 0).data, nil }
func (f *fake) FreeHost(x []byte) error {
	return f.remove(func(b *block) bool { return &b.data[0] == &x[0] })
}
func (f *fake) RegisterHost([]byte) error     { return nil }
func (f *fake) UnregisterHost([]byte) error   { return nil }
func (f *fake) HostPtr(x []byte) (Ptr, error) { return 0, cuda.Check("cuMemHostGetDevicePointer", 1) }
func (f *fake) CopyToDevice(dst Ptr, src []byte, s Stream) error {
	return f.push(s, op{run: func() { copy(f.at(dst, len(src)), src) }})
}
func (f *fake) CopyToHost(dst []byte, src Ptr, s Stream) error {
	return f.push(s, op{run: func() { copy(dst, f.at(src, len(dst))) }})
}
func (f *fake) CopyOnDevice(dst, src Ptr, n uint64, s Stream) error {
	return f.push(s, op{run: func() { copy(f.at(dst, int(n)), f.at(src, int(n))) }})
}
func (f *fake) CopyPeer(dst Ptr, _ Context, src Ptr, _ Context, n uint64, s Stream) error {
	return f.CopyOnDevice(dst, src, n, s)
}
func (f *fake) Fill(dst Ptr, v byte, n uint64, s Stream) error {
	return f.push(s, op{run: func() {
		b := f.at(dst, int(n))
		for i := range b {
			b[i] = v
		}
	}})
}
func (f *fake) NewStream() (Stream, error) {
	s := Stream(f.id())
	f.streams[s] = &fakeStream{}
	return s, nil
}
func (f *fake) DestroyStream(s Stream) error { f.live--; delete(f.streams, s); return nil }
func (f *fake) Synchronize(s Stream) error {
	if f.capturing[s] != 0 {
		return cuda.Check("cuStreamSynchronize", 900)
	}
	return f.drain()
}
func (f *fake) NewEvent() (Event, error) {
	e := Event(f.id())
	f.events[e] = &fakeEvent{}
	return e, nil
}
func (f *fake) DestroyEvent(e Event) error            { f.live--; delete(f.events, e); return nil }
func (f *fake) Record(e Event, s Stream) error        { return f.push(s, op{mark: f.events[e]}) }
func (f *fake) Wait(s Stream, e Event) error          { return f.push(s, op{wait: f.events[e]}) }
func (f *fake) SynchronizeEvent(Event) error          { return f.drain() }
func (f *fake) Elapsed(Event, Event) (float32, error) { return 0, nil }
func (f *fake) Launch(l *cuda.Launch, s Stream) error {
	name, grid, args := f.names[l.Function-1], l.Grid, slices.Clone(l.Args)
	return f.push(s, op{run: func() {
		if name == f.faulty {
			f.sticky = 700
			return
		}
		f.kernels[name](f, grid, args)
	}})
}
func (f *fake) BeginCapture(s Stream) error {
	f.capturing[s] = s
	f.graphs[uintptr(s)] = nil
	return nil
}
func (f *fake) EndCapture(s Stream) (Graph, error) {
	g := f.id()
	f.graphs[g] = f.graphs[uintptr(s)]
	last := map[Stream]op{}
	for _, o := range f.graphs[g] {
		last[o.stream] = o
	}
	for at, origin := range f.capturing {
		if origin != s {
			continue
		}
		delete(f.capturing, at)
		if at != s && last[at].mark == nil {
			return 0, cuda.Check("cuStreamEndCapture", 901) // a stream that was not joined again
		}
	}
	delete(f.graphs, uintptr(s))
	return Graph(g), nil
}
func (f *fake) Instantiate(g Graph) (Exec, error) {
	x := f.id()
	f.graphs[x] = f.graphs[uintptr(g)]
	return Exec(x), nil
}
func (f *fake) LaunchGraph(x Exec, s Stream) error {
	f.launches++
	for _, o := range f.graphs[uintptr(x)] {
		if err := f.push(o.stream, o); err != nil {
			return err
		}
	}
	return nil
}
func (f *fake) DestroyGraph(Graph) error { f.live--; return nil }
func (f *fake) DestroyExec(Exec) error   { f.live--; return nil }
