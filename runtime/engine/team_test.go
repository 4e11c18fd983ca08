package engine

import (
	"context"
	"sync/atomic"
	"testing"
)

// TestBarrier: after a barrier every thread sees what all wrote before it.
func TestBarrier(t *testing.T) {
	for _, nth := range []int{1, 2, 3, 8} {
		team := NewTeam(nth, 0, 0, nil)
		var sum atomic.Int64
		bad := make([]int, nth)
		const rounds = 200
		for range 5 {
			sum.Store(0)
			team.Run(func(th *Thread) {
				for r := range rounds {
					sum.Add(1)
					th.Barrier()
					if sum.Load() < int64((r+1)*nth) {
						bad[th.Ith]++
					}
					th.Barrier()
				}
			})
			if got := sum.Load(); got != int64(rounds*nth) {
				t.Errorf("%d threads: sum %d", nth, got)
			}
		}
		for i, n := range bad {
			if n > 0 {
				t.Errorf("thread %d of %d went ahead %d times", i, nth, n)
			}
		}
		team.Close()
	}
}

// TestCut: the shares cover every item once, in whole grains.
func TestCut(t *testing.T) {
	for _, n := range []int{0, 1, 5, 16, 100, 1001} {
		for _, grain := range []int{1, 4, 16} {
			for _, nth := range []int{1, 2, 3, 7} {
				next := 0
				for i := range nth {
					lo, hi := (&Thread{Ith: i, Nth: nth}).Cut(n, grain)
					if lo != next && lo < n || lo%grain != 0 && lo != n || hi < lo {
						t.Errorf("n=%d grain=%d thread %d of %d: %d:%d after %d", n, grain, i, nth, lo, hi, next)
					}
					next = max(next, hi)
				}
				if next != n {
					t.Errorf("n=%d grain=%d nth=%d: only %d items", n, grain, nth, next)
				}
			}
		}
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	team := NewTeam(2, 16, 0, nil)
	defer team.Close()
	fn := func(th *Thread) { th.Scratch(16)[0] = 1; th.Barrier() }
	if n := testing.AllocsPerRun(100, func() { team.Run(fn) }); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// TestAbort: a step that is aborted ends on every thread at the same barrier,
// and the team goes on afterwards.
func TestAbort(t *testing.T) {
	for _, nth := range []int{1, 2, 5} {
		team := NewTeam(nth, 0, 0, nil)
		for round := range 20 {
			passed := make([]int, nth)
			if team.Run(func(th *Thread) {
				for range 1 << 30 {
					if th.Ith == nth-1 && passed[th.Ith] == round {
						go team.Abort()
					}
					th.Barrier()
					passed[th.Ith]++
				}
			}) {
				t.Fatalf("%d threads: the step came to its end", nth)
			}
			for i, n := range passed {
				if n != passed[0] || n < round {
					t.Errorf("thread %d of %d passed %d barriers, thread 0 %d, aborted after %d", i, nth, n, passed[0], round)
				}
			}
			team.Resume()
			var ends atomic.Int32
			if !team.Run(func(th *Thread) { th.Barrier(); ends.Add(1) }) || int(ends.Load()) != nth {
				t.Errorf("%d threads: after Resume %d came to the end", nth, ends.Load())
			}
		}
		team.Close()
	}
}

// TestAbortWith: a context that ends late aborts nothing that comes after.
func TestAbortWith(t *testing.T) {
	team := NewTeam(2, 0, 0, nil)
	defer team.Close()
	for range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		end := team.abortWith(ctx)
		go cancel()
		end()
		if !team.Run(func(th *Thread) { th.Barrier(); th.Barrier() }) {
			t.Fatal("the next step was aborted")
		}
		cancel()
	}
}

// TestPanicPasses: a fault of a step is not taken for an abort.
func TestPanicPasses(t *testing.T) {
	team := NewTeam(1, 0, 0, nil)
	defer team.Close()
	defer func() {
		if recover() != "fault" {
			t.Error("the panic was lost")
		}
	}()
	team.Run(func(*Thread) { panic("fault") })
}
