package engine

import (
	"math"
	"slices"
	"time"

	"qnc/runtime/cost"
)

// A Trace takes the time of steps while SetTrace has set it.
type Trace struct {
	Prompt, Decode Phase
}

// A Phase is the steps of one emitted function.
type Phase struct {
	Lines []cost.Line
	Times []LineTime // of Lines, summed over the steps
	Sizes []cost.Size
	Wall  time.Duration // of the steps
	Start time.Duration // until a thread came to its first kernel

	threads []tracer
}

// A LineTime is the mean over the threads.
type LineTime struct {
	Busy time.Duration // inside the kernel
	Wait time.Duration // at the barrier behind it
	Best time.Duration // of Busy, in a step: the mean of each thread's least
}

// A tracer is one thread's clock. It is nil in a thread that nobody traces.
type tracer struct {
	began time.Time
	last  time.Duration // since began
	line  int           // -1 before the first kernel
	start time.Duration
	lines []LineTime      // of this step
	best  []time.Duration // by line, over the steps
}

// lap returns the time since the last call.
func (t *tracer) lap() time.Duration {
	now := time.Since(t.began)
	d := now - t.last
	t.last = now
	return d
}

// busy ends the line that runs, or the time before the first.
func (t *tracer) busy() {
	d := t.lap()
	if t.line < 0 {
		t.start += d
	} else {
		t.lines[t.line].Busy += d
	}
}

// waited ends the wait behind a line.
func (t *tracer) waited() {
	d := t.lap()
	if t.line < 0 {
		t.start += d
	} else {
		t.lines[t.line].Wait += d
	}
}

// next begins the next line.
func (t *tracer) next() {
	t.busy()
	t.line = min(t.line+1, len(t.lines)-1)
}

// end makes the rest of the step a wait: for the slowest thread.
func (t *tracer) end(wall time.Duration) {
	if d := wall - t.last; t.line < 0 {
		t.start += d
	} else {
		t.lines[t.line].Wait += d
	}
}

// Enter is the first call of every kernel. It costs a comparison where no trace is taken.
func (th *Thread) Enter() {
	if th.trace != nil {
		th.trace.next()
	}
}

// run runs fn as a step of the phase and takes its time.
func (p *Phase) run(t *Team, fn func(*Thread), size cost.Size) bool {
	if len(p.threads) < len(t.threads) {
		p.threads = make([]tracer, len(t.threads))
		for i := range p.threads {
			p.threads[i].lines = make([]LineTime, len(p.Lines))
			p.threads[i].best = slices.Repeat([]time.Duration{math.MaxInt64}, len(p.Lines))
		}
	}
	began := time.Now()
	for i := range t.threads {
		x := &p.threads[i]
		clear(x.lines)
		*x = tracer{began: began, line: -1, lines: x.lines, best: x.best}
		t.threads[i].trace = x
	}
	ok := t.Run(fn)
	wall := time.Since(began)
	if !ok {
		for i := range t.threads {
			t.threads[i].trace = nil
		}
		return false
	}
	p.Wall += wall
	n := time.Duration(len(t.threads))
	for j := range p.Times {
		p.Times[j].Best = 0 // made again from the threads'
	}
	for i := range t.threads {
		t.threads[i].trace = nil
		x := &p.threads[i]
		x.end(wall)
		p.Start += x.start / n
		for j, l := range x.lines {
			p.Times[j].Busy += l.Busy / n
			p.Times[j].Wait += l.Wait / n
			x.best[j] = min(x.best[j], l.Busy)
			p.Times[j].Best += x.best[j] / n
		}
	}
	p.Sizes = append(p.Sizes, size)
	return true
}

// Work is what line i had to do in all steps.
func (p *Phase) Work(i int) cost.Work {
	var w cost.Work
	for _, s := range p.Sizes {
		w = w.Add(p.Lines[i].At(s))
	}
	return w
}

// SetTrace implements Runner.
func (s *Session) SetTrace(t *Trace) {
	s.trace = t
	if t == nil {
		return
	}
	for _, x := range []struct {
		p     *Phase
		lines []cost.Line
	}{{&t.Prompt, s.prog.PrefillLines}, {&t.Decode, s.prog.DecodeLines}} {
		if x.p.Times == nil {
			x.p.Lines, x.p.Times = x.lines, make([]LineTime, len(x.lines))
		}
	}
}

// runPrefill and runDecode run the step that fill has set.
func (s *Session) runPrefill() bool {
	if s.trace != nil {
		return s.trace.Prompt.run(s.prefill, s.stepPrefill, s.size())
	}
	return s.prefill.Run(s.stepPrefill)
}

func (s *Session) runDecode() bool {
	if s.trace != nil {
		return s.trace.Decode.run(s.decode, s.stepDecode, s.size())
	}
	return s.decode.Run(s.stepDecode)
}

func (s *Session) size() cost.Size {
	return cost.Size{Tokens: s.step.T, Logits: s.step.R, Cells: s.used[s.step.Slot] + s.step.T}
}
