package cuda

import (
	"fmt"
	"runtime"

	"qnc/runtime/engine"
	"qnc/runtime/kernel"
)

// A Part is a maximal run of a step on one device: Launch queues it on Device,
// or Host runs it on the threads of the CPU.
type Part struct {
	Device int
	Launch func(q *Queue, in *engine.Step)
	Host   func(th *engine.Thread, in *engine.Step)
}

// Logits say where a step leaves rows of NumVocab float32: in memory of a
// device, or in Host.
type Logits struct {
	Device int
	At     Ptr
	Host   []float32
}

// Steps are the two functions of a model. Launch of a decode part is called
// once, with one token and one row, and what it queues is recorded.
type Steps struct {
	Prefill, Decode             []Part
	PrefillLogits, DecodeLogits Logits
}

// A part is a Part and the event behind it.
type part struct {
	Part
	done Event
}

// A segment of a step is a run of parts on devices, a graph when they were
// captured, or one part on the CPU.
type segment struct {
	parts  []part
	device int // of the first part: the graph is launched there
	exec   Exec
	host   func(th *engine.Thread, in *engine.Step)
}

// Program uploads the weights, records the decode graphs and returns the
// steps for the engine. It ends the setting-up that Open began: after an
// error everything has been given back.
func (g *GPU) Program(s Steps) (*engine.Program, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := g.program(s)
	if err != nil {
		g.close()
		return nil, err
	}
	return p, nil
}

func (g *GPU) program(s Steps) (*engine.Program, error) {
	if err := g.mem.Err(); err != nil {
		return nil, err
	}
	if g.err != nil {
		return nil, g.err
	}
	if err := g.upload(g.mem.Progress); err != nil {
		return nil, err
	}
	vocab := g.mem.Info.NumVocab
	p := &engine.Program{Err: func() error { return g.err }, Reset: g.reset, Close: g.close}

	prefill, err := g.segments(s.Prefill)
	if err != nil {
		return nil, err
	}
	if p.PrefillLogits = s.PrefillLogits.Host; p.PrefillLogits == nil {
		p.PrefillLogits = make([]float32, g.mem.Info.NumUbatch*vocab) // pages that are not written cost nothing
		g.fetch(prefill, s.PrefillLogits, p.PrefillLogits, vocab)
	}

	decode, err := g.segments(s.Decode)
	if err != nil {
		return nil, err
	}
	if p.DecodeLogits = s.DecodeLogits.Host; p.DecodeLogits == nil {
		b, err := g.hostMemory(4 * vocab)
		if err != nil {
			return nil, err
		}
		p.DecodeLogits = kernel.Floats(b)
		g.fetch(decode, s.DecodeLogits, p.DecodeLogits, vocab)
	}
	g.decode = decode
	for i := range decode {
		if decode[i].host == nil {
			if err := g.capture(&decode[i]); err != nil {
				return nil, err
			}
		}
	}
	p.Prefill = func(th *engine.Thread, in *engine.Step) { g.run(th, in, prefill, "prompt") }
	p.Decode = func(th *engine.Thread, in *engine.Step) { g.run(th, in, decode, "decode") }
	p.Notes, err = g.report()
	return p, err
}

// segments joins parts that follow each other on devices.
func (g *GPU) segments(parts []Part) ([]segment, error) {
	var out []segment
	seen := make([]bool, len(g.devices))
	for _, x := range parts {
		if x.Host != nil {
			out = append(out, segment{host: x.Host})
			continue
		}
		d := g.devices[x.Device]
		if err := d.use(); err != nil {
			return nil, err
		}
		done, err := g.drv.NewEvent()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		g.events = append(g.events, done)
		if !seen[x.Device] { // the inputs come before the first part on a device
			seen[x.Device] = true
			launch := x.Launch
			x.Launch = func(q *Queue, in *engine.Step) {
				q.Upload(q.d.inputs, g.inputs)
				launch(q, in)
			}
		}
		if len(out) == 0 || out[len(out)-1].host != nil {
			out = append(out, segment{device: x.Device})
		}
		s := &out[len(out)-1]
		s.parts = append(s.parts, part{x, done})
	}
	return out, nil
}

// fetch appends the way of the logits to the host to the last part on their device.
func (g *GPU) fetch(list []segment, from Logits, to []float32, vocab int) {
	for i := len(list) - 1; i >= 0; i-- {
		for j := len(list[i].parts) - 1; j >= 0; j-- {
			p := &list[i].parts[j]
			if p.Device != from.Device {
				continue
			}
			launch := p.Launch
			p.Launch = func(q *Queue, in *engine.Step) {
				launch(q, in)
				q.Download(kernel.Bytes(to[:in.R*vocab]), from.At)
			}
			return
		}
	}
	g.fail(fmt.Errorf("BUG: no part on device %d leaves logits there", from.Device))
}

// capture records a segment of the decode step as one graph.
func (g *GPU) capture(s *segment) error {
	d := g.devices[s.device]
	if err := d.use(); err != nil {
		return err
	}
	one := []int32{0}
	in := &engine.Step{Tok: one, Pos: one, Seq: one, Rows: one, T: 1, R: 1}
	if err := g.drv.BeginCapture(d.queue.stream); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	g.issue(s, in)
	if err := d.use(); err != nil {
		return err
	}
	graph, err := g.drv.EndCapture(d.queue.stream)
	if g.err != nil { // the first cause, of which the end may only say that it was one
		return g.err
	}
	if err == nil {
		s.exec, err = g.drv.Instantiate(graph)
	}
	if graph != 0 {
		g.drv.DestroyGraph(graph)
	}
	if err != nil {
		return fmt.Errorf("%s: record the step: %w", d, err)
	}
	return nil
}

// issue queues the parts of a segment. Each waits for the one before; in the
// end the first one's stream waits for all.
func (g *GPU) issue(s *segment, in *engine.Step) {
	do := func(d *Device, err error) {
		if err != nil {
			g.fail(fmt.Errorf("%s: %w", d, err))
		}
	}
	last := -1 // the part before, when it is on another device
	for i := range s.parts {
		if g.err != nil {
			return
		}
		p := &s.parts[i]
		d := g.devices[p.Device]
		do(d, g.drv.Use(d.ctx))
		if last >= 0 && s.parts[last].Device != p.Device {
			do(d, g.drv.Wait(d.queue.stream, s.parts[last].done))
		}
		p.Launch(&d.queue, in)
		next := s.device
		if i+1 < len(s.parts) {
			next = s.parts[i+1].Device
		}
		if next != p.Device && g.err == nil {
			do(d, g.drv.Record(p.done, d.queue.stream))
		}
		last = i
	}
	if first := g.devices[s.device]; s.parts[last].Device != s.device && g.err == nil {
		do(first, g.drv.Use(first.ctx))
		do(first, g.drv.Wait(first.queue.stream, s.parts[last].done))
	}
}

// run runs a step on the threads of the engine; the first of them drives the devices.
func (g *GPU) run(th *engine.Thread, in *engine.Step, list []segment, name string) {
	if th.Ith == 0 {
		g.fillInputs(in.Tok, in.Pos, in.Seq, in.Rows)
	}
	for i := range list {
		if i > 0 {
			th.Barrier()
			if g.err != nil { // the same for all: written before the barrier
				return
			}
		}
		switch s := &list[i]; {
		case s.host != nil:
			s.host(th, in)
		case th.Ith == 0:
			g.drive(s, in, name)
		}
	}
}

// drive runs a segment to its end.
func (g *GPU) drive(s *segment, in *engine.Step, name string) {
	if g.err != nil {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := g.devices[s.device]
	err := g.drv.Use(d.ctx)
	if err == nil && s.exec != 0 {
		err = g.drv.LaunchGraph(s.exec, d.queue.stream)
	} else if err == nil {
		g.issue(s, in)
		err = g.drv.Use(d.ctx)
	}
	if err == nil && g.err == nil {
		err = g.drv.Synchronize(d.queue.stream)
	}
	if err != nil {
		g.fail(fmt.Errorf("%s: %s: %w", d, name, err))
	}
}

// reset makes the recurrent state of a sequence zero.
func (g *GPU) reset(seq int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, d := range g.devices {
		n := d.plan.Recurrent
		if n == 0 || g.err != nil {
			continue
		}
		err := g.drv.Use(d.ctx)
		if err == nil {
			err = g.drv.Fill(d.recurrent+Ptr(int64(seq)*n), 0, uint64(n), d.queue.stream)
		}
		if err == nil {
			err = g.drv.Synchronize(d.queue.stream)
		}
		if err != nil {
			g.fail(fmt.Errorf("%s: empty sequence %d: %w", d, seq, err))
		}
	}
}

// report compares what each device lost with what was planned.
func (g *GPU) report() ([]string, error) {
	var notes []string
	for _, d := range g.devices {
		if err := d.use(); err != nil {
			return nil, err
		}
		if err := g.drv.Synchronize(d.queue.stream); err != nil { // what is behind the first steps
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		free, _, err := g.drv.MemoryInfo()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		planned, _ := d.planned()
		notes = append(notes, fmt.Sprintf("%s: planned %s, used %s", d, mib(planned), mib(d.free-min(free, d.free))))
	}
	return notes, nil
}
