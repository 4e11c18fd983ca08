package engine

import (
	"testing"
	"time"

	"qnc/runtime/cost"
)

// traced is the counter with two kernels and a barrier between them.
func traced(c *counter) func(*Thread, *Step) {
	return func(th *Thread, in *Step) {
		th.Enter()
		time.Sleep(time.Millisecond)
		th.Barrier()
		th.Enter()
		if th.Ith == 0 { // the others wait for it
			time.Sleep(4 * time.Millisecond)
			c.threads = th.Nth
		}
	}
}

// TestTrace: the time of a step is all accounted for, by line, and the sizes are those of the steps.
func TestTrace(t *testing.T) {
	lines := []cost.Line{{Kernel: "a", Rows: cost.Tokens, Cost: cost.Cost{MACs: 3}}, {Kernel: "b", Rows: cost.One, Cost: cost.Cost{Cell: 5}}}
	s, c, err := open(t, func(m *Model) {
		build := m.New
		m.New = func(mem *Memory) (*Program, error) {
			p, err := build(mem)
			p.PrefillLines, p.DecodeLines = lines, lines
			return p, err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.prog.Prefill, s.prog.Decode = traced(c), traced(c)
	for _, threads := range []int{1, 2, 3} {
		s.Reset(0)
		s.SetThreads(threads, threads)
		var x Trace
		s.SetTrace(&x)
		prompt(t, s, 0, []int32{1, 2, 3, 0, 1, 2, 3, 3}, 7) // two steps
		if _, err := s.Decode(0, 1); err != nil {
			t.Fatal(err)
		}
		s.SetTrace(nil)
		if _, err := s.Decode(0, 1); err != nil {
			t.Fatal(err)
		}
		if len(x.Decode.Sizes) != 1 || x.Decode.Sizes[0] != (cost.Size{Tokens: 1, Logits: 1, Cells: 9}) {
			t.Errorf("%d threads: decode's steps are %+v", threads, x.Decode.Sizes)
		}
		if p := x.Prompt.Sizes; len(p) != 2 || p[0] != (cost.Size{Tokens: 6, Logits: 0, Cells: 6}) || p[1] != (cost.Size{Tokens: 2, Logits: 1, Cells: 8}) {
			t.Errorf("%d threads: the prompt's steps are %+v", threads, p)
		}
		if a, b := x.Prompt.Work(0), x.Prompt.Work(1); a.Float != 3*8 || b.KV != 5*(6+8) {
			t.Errorf("%d threads: work %+v and %+v", threads, a, b)
		}
		p := &x.Prompt
		a, b := p.Times[0], p.Times[1]
		if a.Best < time.Millisecond || a.Best > a.Busy/2 || b.Best > b.Busy/2 {
			t.Errorf("%d threads: best %v and %v of two steps, times %+v", threads, a.Best, b.Best, p.Times)
		}
		if a.Busy < 2*time.Millisecond || b.Busy+b.Wait < 8*time.Millisecond || threads > 1 && b.Wait < time.Millisecond {
			t.Errorf("%d threads: times %+v", threads, p.Times)
		}
		sum := p.Start + a.Busy + a.Wait + b.Busy + b.Wait
		if d := p.Wall - sum; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("%d threads: %v of %v is accounted for", threads, sum, p.Wall)
		}
	}
}

// TestPeak: what the machine can do is found for each kind of product, and more than nothing.
func TestPeak(t *testing.T) {
	s, _ := mustOpen(t)
	s.prog.Products = []Product{
		{Format: "q4_K", Int: true, Out: 4, X: 8, W: 16, MACs: 32, Product: func(th *Thread, out []float32, x, w []byte) {
			if lo, hi := th.Cut(4, 1); lo != 0 || hi != 4 || len(out) != 4 || len(x) != 8 || len(w) != 16 {
				panic("a product gets part of its operands")
			}
		}},
		{Format: "f32", MACs: 1, Product: func(*Thread, []float32, []byte, []byte) {}},
	}
	p := s.Peak()
	if len(p.Products) != 2 || p.Products[0].Format != "q4_K" || p.Products[0].Rate <= 0 || p.Threads != 2 {
		t.Fatalf("%+v", p)
	}
	b := p.Best()
	if b.Int != p.Products[0].Rate || b.Float != p.Products[1].Rate || b.Read != p.Read {
		t.Errorf("best %+v of %+v", b, p)
	}
	q := p
	q.Read, q.Ahead = p.Read+1, 77
	q.Products = []ProductPeak{{"q4_K", true, p.Products[0].Rate + 1}, {"f32", false, 0}}
	if m := p.Max(q); m.Read != q.Read || m.Ahead != 77 || m.Products[0].Rate != q.Products[0].Rate || m.Products[1].Rate != b.Float {
		t.Errorf("the better of two: %+v", m)
	}
}
