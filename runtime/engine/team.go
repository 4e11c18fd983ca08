package engine

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"qnc/runtime/gguf"
)

// A Team is a fixed number of goroutines that run a step together. Between
// steps and at barriers they spin for a bounded time and then park, so that
// more threads than cores do not collapse.
type Team struct {
	threads []Thread
	bar     barrier
	start   gate // released once a step, and once more to end
	fn      func(*Thread)
	shared  []float32
	quit    bool
	fault   func(error) // a mapping failed under a thread; must not return

	abort   atomic.Bool // asks for the end of the step
	aborted bool        // whether the step ended so; thread 0's
}

// A Thread is one member: Ith of Nth.
type Thread struct {
	Ith, Nth int
	scratch  []float32
	team     *Team
	trace    *tracer
	guarded  func() error // runs the team's fn
}

// NewTeam starts nth threads, each with room for scratch floats, and all with
// room for shared ones. The caller of Run is thread 0.
// fault is told when the weights' file was truncated under a thread: the others
// wait for it at a barrier for ever, so it must end the process.
func NewTeam(nth, scratch, shared int, fault func(error)) *Team {
	t := &Team{threads: make([]Thread, nth), shared: make([]float32, shared), fault: fault}
	t.bar.init(nth)
	t.start.init(nth)
	for i := range t.threads {
		th := &t.threads[i]
		*th = Thread{Ith: i, Nth: nth, scratch: make([]float32, scratch), team: t}
		th.guarded = func() error {
			defer th.unwound()
			t.fn(th)
			return nil
		}
		if i > 0 {
			go t.work(th)
		}
	}
	return t
}

func (t *Team) work(th *Thread) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for seen := uint32(0); ; {
		seen = t.start.wait(seen)
		if t.quit {
			return
		}
		th.run()
	}
}

func (th *Thread) run() {
	if err := gguf.Guard(th.guarded); err != nil {
		th.team.fault(err)
	}
	if th.trace != nil {
		th.trace.busy()
	}
	th.team.bar.wait(&th.team.abort)
}

// errAborted unwinds a thread's step.
var errAborted = errors.New("BUG: a barrier outside of a step was aborted")

// unwound ends the panic of a step that was aborted.
func (th *Thread) unwound() {
	r := recover()
	switch {
	case r == nil:
	case r != any(errAborted):
		panic(r)
	case th.Ith == 0:
		th.team.aborted = true
	}
}

// Run runs fn on every thread and returns when all are done. It reports
// whether they came to the end of fn: false after Abort.
func (t *Team) Run(fn func(*Thread)) bool {
	t.fn, t.aborted = fn, false
	t.start.open()
	t.threads[0].run()
	return !t.aborted
}

// Abort makes the step that runs, or else the next one, end at one of its
// barriers. It may be called from any goroutine and holds until Resume.
func (t *Team) Abort() { t.abort.Store(true) }

// Resume takes Abort back, between steps.
func (t *Team) Resume() { t.abort.Store(false) }

// abortWith aborts steps from when ctx ends until the function that it returns is called.
func (t *Team) abortWith(ctx context.Context) (end func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		t.Abort()
		close(done)
	})
	return func() {
		if !stop() {
			<-done
		}
		t.Resume()
	}
}

// Close ends the threads.
func (t *Team) Close() {
	t.quit = true
	t.start.open()
}

// Barrier returns when every thread of the team has called it. After Abort no
// thread returns from it: the step is unwound to Run, on all threads from the same barrier.
func (th *Thread) Barrier() {
	if th.trace != nil {
		th.trace.busy()
	}
	stop := th.team.bar.wait(&th.team.abort)
	if th.trace != nil {
		th.trace.waited()
	}
	if stop {
		panic(errAborted)
	}
}

// Cut returns this thread's share of n items, whole multiples of grain but for the last.
func (th *Thread) Cut(n, grain int) (lo, hi int) {
	units := (n + grain - 1) / grain
	lo = units * th.Ith / th.Nth * grain
	hi = units * (th.Ith + 1) / th.Nth * grain
	return min(lo, n), min(hi, n)
}

// Scratch returns n floats of this thread's own; their content is undefined.
func (th *Thread) Scratch(n int) []float32 { return th.scratch[:n] }

// Shared returns n floats that are the same for all threads; their content is undefined.
func (th *Thread) Shared(n int) []float32 { return th.team.shared[:n] }

// Looks before a waiting thread parks. Waking a parked thread takes some fifty
// microseconds, as long as several kernels of a decode: where every thread has
// a core it looks for that long, otherwise the core is wanted by another.
const (
	spinsOwnCore = 400_000
	spinsShared  = 1_000
)

// A gate lets waiters through each time it is opened.
type gate struct {
	_      [64]byte // what waiters look at has a cache line of its own
	gen    atomic.Uint32
	_      [60]byte
	mu     sync.Mutex
	cond   sync.Cond
	parked int
	spins  int
}

func (g *gate) init(threads int) {
	g.cond.L = &g.mu
	g.spins = spinsOwnCore
	if threads > runtime.GOMAXPROCS(0) {
		g.spins = spinsShared
	}
}

func (g *gate) open() {
	g.mu.Lock()
	g.gen.Add(1)
	if g.parked > 0 {
		g.cond.Broadcast()
	}
	g.mu.Unlock()
}

// wait returns the generation after seen, once there is one.
func (g *gate) wait(seen uint32) uint32 {
	for range g.spins {
		if n := g.gen.Load(); n != seen {
			return n
		}
	}
	g.mu.Lock()
	g.parked++
	for g.gen.Load() == seen {
		g.cond.Wait()
	}
	g.parked--
	g.mu.Unlock()
	return g.gen.Load()
}

// A barrier holds n threads until all have arrived.
type barrier struct {
	gate
	n       int32
	arrived atomic.Int32
	stop    bool // what the last to arrive read; written before the gate opens
}

func (b *barrier) init(n int) {
	b.gate.init(n)
	b.n = int32(n)
}

// wait reports, to all threads alike, whether abort was set when the last of them arrived.
func (b *barrier) wait(abort *atomic.Bool) bool {
	if b.n == 1 {
		return abort.Load()
	}
	seen := b.gen.Load()
	if b.arrived.Add(1) == b.n {
		b.arrived.Store(0)
		b.stop = abort.Load()
		stop := b.stop
		b.open()
		return stop
	}
	b.gate.wait(seen)
	return b.stop
}
