package cuda_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"qnc/runtime/cuda"
	"qnc/runtime/cuda/drivertest"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// addKernels gives the fake driver those of kernels.cu.
func addKernels(f *fake) {
	// sum: state[slot] += each token; out[t] = state
	f.kernels["sum"] = func(f *fake, _ [3]uint32, a []uint64) {
		state, out, tok, seq, n := a[0], a[1], a[2], a[3], int(a[4])
		s := state + 256*uint64(f.word(seq))
		for t := range n {
			f.setWord(s, f.word(s)+f.word(tok+4*uint64(t)))
			f.setWord(out+4*uint64(t), f.word(s))
		}
	}
	f.kernels["twice"] = func(f *fake, _ [3]uint32, a []uint64) {
		for t := range a[2] {
			f.setWord(a[0]+4*t, 2*f.word(a[1]+4*t))
		}
	}
	// logits: rows of float32
	f.kernels["logits"] = func(f *fake, grid [3]uint32, a []uint64) {
		out, sum, twice, rows, bias := a[0], a[1], a[2], a[3], a[4]
		for r := range uint64(grid[0]) {
			t := 4 * uint64(f.word(rows+4*r))
			for i, x := range []float32{float32(f.word(sum + t)), float32(f.word(twice + t)), math.Float32frombits(f.word(bias))} {
				f.setWord(out+4*(drivertest.Vocab*r+uint64(i)), math.Float32bits(x))
			}
		}
	}
}

// open opens the test's program on the fake driver.
func open(t *testing.T, l drivertest.Layout, f *fake, plan *cuda.Plan, notes *[]string, edit func(*engine.Model)) (*engine.Session, error) {
	t.Helper()
	addKernels(f)
	return drivertest.Session(t, l, f.open, plan, notes, edit)
}

// TestSteps: prompts and tokens of two sequences give the right logits on
// every layout, a token is one launch for each run of parts on devices, and
// everything is given back.
func TestSteps(t *testing.T) {
	for _, l := range drivertest.Layouts {
		for round := range 6 {
			f := newFake()
			f.random.Uint64N(uint64(round + 1))
			var notes []string
			s, err := open(t, l, f, drivertest.Plan(l.Devices()), &notes, nil)
			if err != nil {
				t.Fatalf("%s: %v", l.Name, err)
			}
			f.launches = 0
			l.Run(t, s)
			if f.launches != 5*l.Graphs {
				t.Errorf("%s: 5 tokens launched %d graphs, want %d each", l.Name, f.launches, l.Graphs)
			}
			if len(notes) != l.Devices() || !strings.Contains(notes[0], "cuda:0 (Fake): planned 1 MiB, used 1 MiB") {
				t.Errorf("%s: notes %q", l.Name, notes)
			}
			if f.live != 0 {
				t.Errorf("%s: %d handles are left", l.Name, f.live)
			}
		}
	}
}

// TestMissingEvent: the test's driver finds a hand-over without its event.
func TestMissingEvent(t *testing.T) {
	wrong := false
	for range 20 {
		f := newFake()
		s, err := open(t, drivertest.Layouts[1], f, drivertest.Plan(2), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ops := range f.graphs { // all waits are gone
			for i := range ops {
				ops[i].wait = nil
			}
		}
		for range 10 {
			if got, err := s.Decode(0, 1); err != nil || got[1] != 2*got[0] {
				wrong = true
			}
		}
	}
	if !wrong {
		t.Error("steps without events gave right results every time")
	}
}

// TestOpenRefuses: what is wrong with a machine is one line with the cure and
// the right code, and nothing is left behind.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*fake, *cuda.Plan)
		code fault.Code
		want string
	}{
		{"an old driver", func(f *fake, _ *cuda.Plan) { f.version = 11080 }, fault.Missing, "supports CUDA 11.8, the program's kernels need CUDA 12.0 (driver 525 or newer): update the driver"},
		{"no device", func(f *fake, _ *cuda.Plan) { f.devices = 0 }, fault.Missing, "uses cuda:0, of 0 visible GPUs: look at nvidia-smi and at the variable CUDA_VISIBLE_DEVICES"},
		{"too few devices", func(f *fake, p *cuda.Plan) { f.devices, p.Devices[0].Name = 1, "cuda:3" }, fault.Missing, "uses cuda:3, of 1 visible"},
		{"an older chip", func(f *fake, _ *cuda.Plan) { f.chip = 75 }, fault.Missing, "is of chip sm_75, the program has kernels for sm_80, sm_90, PTX from sm_90 on: compile with --target-gpu sm_75"},
		{"a chip of another family without PTX", func(f *fake, p *cuda.Plan) { f.chip, p.PTX = 120, nil }, fault.Missing, "--target-gpu sm_120"},
		{"too little memory", func(f *fake, p *cuda.Plan) { p.Devices[0].KV = 3 << 30 }, fault.Fit, "cuda:0 (Fake): the plan needs 3073 MiB, 1024 MiB of 1024 MiB are free"},
		{"a plan without end", func(f *fake, p *cuda.Plan) { p.Devices[0].Recurrent = math.MaxInt64 }, fault.Fit, "the plan needs more than there are addresses"},
		{"a plan without end", func(f *fake, p *cuda.Plan) { p.Devices[0].Arena, p.Devices[0].KV = math.MaxInt64, math.MaxInt64 }, fault.Fit, "the plan needs more than there are addresses"},
		{"an allocation fails", func(f *fake, p *cuda.Plan) { f.failAlloc = 3 }, fault.Fit, "1 MiB for recurrent state: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: free memory of the GPU"},
		{"a missing kernel", func(f *fake, p *cuda.Plan) { delete(f.kernels, "twice") }, fault.Failure, "kernel twice: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND"},
		{"more weights than planned", func(f *fake, p *cuda.Plan) { p.Devices[0].Weights = 0 }, fault.Failure, "256 bytes of weights, 0 planned"},
		{"no such device", func(f *fake, p *cuda.Plan) { p.Devices[0].Name = "gpu" }, fault.Failure, "BUG"},
	} {
		f, plan := newFake(), drivertest.Plan(1)
		addKernels(f)
		_, err := open(t, drivertest.Layouts[0], f, plan, nil, func(m *engine.Model) { c.edit(f, plan) })
		if fault.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v (code %d), want %q and code %d", c.name, err, fault.CodeOf(err), c.want, c.code)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is more than a line", c.name, err)
		}
		if f.live != 0 {
			t.Errorf("%s: %d handles are left", c.name, f.live)
		}
	}
	none := func() (cuda.Driver, error) { return nil, fault.New(fault.Missing, "no NVIDIA driver") }
	if _, err := cuda.Open(none, drivertest.Plan(1), &engine.Memory{Info: &engine.Info{}}); fault.CodeOf(err) != fault.Missing {
		t.Errorf("no driver: %v", err)
	}
}

// TestKernelFault: a kernel that faults ends the step with one line, and every later one.
func TestKernelFault(t *testing.T) {
	for _, l := range drivertest.Layouts {
		f := newFake()
		s, err := open(t, l, f, drivertest.Plan(l.Devices()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Decode(0, 1); err != nil {
			t.Fatal(err)
		}
		f.faulty = "sum"
		for range 2 {
			_, err = s.Decode(0, 1)
			if fault.CodeOf(err) != fault.Failure || err == nil || !strings.Contains(err.Error(), "cuda:0 (Fake): decode: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS: this is a bug") {
				t.Errorf("%s: %v", l.Name, err)
			}
		}
		if perr := s.Prompt(context.Background(), 0, []int32{1}, nil, nil); perr == nil || perr.Error() != err.Error() {
			t.Errorf("%s: a prompt afterwards: %v", l.Name, perr)
		}
		if s.Len(0) != 1 {
			t.Errorf("%s: %d tokens are in the sequence, one was evaluated", l.Name, s.Len(0))
		}
		s.Close()
	}
}

// TestFallback: without a usable GPU the CPU's variant runs where there is one and
// says why; what no driver can cure is not fallen back from.
func TestFallback(t *testing.T) {
	cpu := &engine.Variant{Plan: engine.Plan{ArenaBytes: 64}, New: func(mem *engine.Memory) (*engine.Program, error) {
		step := func(*engine.Thread, *engine.Step) {}
		logits := mem.Floats(0, drivertest.Vocab)
		return &engine.Program{Prefill: step, Decode: step, PrefillLogits: logits, DecodeLogits: logits}, mem.Err()
	}}
	for _, c := range []struct {
		edit func(*fake, *cuda.Plan)
		note string
		code fault.Code
	}{
		{func(f *fake, _ *cuda.Plan) { f.version = 11000 }, "no GPU is used, the CPU runs the whole model: the NVIDIA driver supports CUDA 11.0", fault.OK},
		{func(f *fake, _ *cuda.Plan) { f.devices = 0 }, "of 0 visible GPUs", fault.OK},
		{func(f *fake, p *cuda.Plan) { f.memory = 100 }, "", fault.Fit},
	} {
		f, plan := newFake(), drivertest.Plan(1)
		c.edit(f, plan)
		var notes []string
		s, err := open(t, drivertest.Layouts[0], f, plan, &notes, func(m *engine.Model) { m.CPU = cpu })
		if fault.CodeOf(err) != c.code {
			t.Errorf("%v, want code %d", err, c.code)
		}
		if err != nil {
			continue
		}
		if len(notes) != 1 || !strings.Contains(notes[0], c.note) {
			t.Errorf("notes %q, want %q", notes, c.note)
		}
		if _, err := s.Decode(0, 1); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
