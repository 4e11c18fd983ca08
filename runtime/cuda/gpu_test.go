package cuda

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/pack"
)

// The program of these tests keeps the sum of a sequence's tokens as its
// recurrent state. Its logits for a row are that sum after the row, twice as
// much, and a weight: computed on the devices that a case says.
const (
	testVocab  = 3
	testUbatch = 4
	testBias   = 7
)

func testKernels(f *fake) {
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
				f.setWord(out+4*(testVocab*r+uint64(i)), math.Float32bits(x))
			}
		}
	}
}

// A layout says where the middle of the test's program runs.
type layout struct {
	name   string
	middle int // device, or -1 for the CPU
	head   int
	graphs int // launches of graphs a token
}

var layouts = []layout{{"one device", 0, 0, 1}, {"two devices", 1, 0, 1}, {"two devices, the head on the second", 1, 1, 1}, {"the CPU in the middle", -1, 0, 2}, {"the head elsewhere", 0, 1, 1}}

// arena offsets on every device
const sumAt, twiceAt, logitsAt = 0, 256, 512

func (l layout) build(f *fake, plan *Plan) func(*engine.Memory) (*engine.Program, error) {
	return func(mem *engine.Memory) (*engine.Program, error) {
		g, err := Open(f.open, plan, mem)
		if err != nil {
			return nil, err
		}
		d := []*Device{g.Device(0)}
		if len(plan.Devices) > 1 {
			d = append(d, g.Device(1))
		}
		sum, twice, logits := d[0].Kernel("sum", 32, 0), d[0].Kernel("twice", 32, 60<<10), d[l.head].Kernel("logits", 32, 0)
		bias := d[l.head].Weight("bias", 4)
		host := func(off, n int) []byte { return mem.Bytes(off, 4*n) }
		first := Part{Device: 0, Launch: func(q *Queue, in *engine.Step) {
			q.Launch(sum, 1, 1, 1, uint64(d[0].Recurrent(0)), uint64(d[0].Arena(sumAt)), uint64(d[0].Tok()), uint64(d[0].Seq()), I32(in.T))
			if l.middle < 0 {
				q.Download(host(sumAt, in.T), d[0].Arena(sumAt))
			}
		}}
		middle := Part{Device: max(l.middle, 0), Launch: func(q *Queue, in *engine.Step) {
			m := d[l.middle]
			if l.middle != 0 {
				q.Peer(m.Arena(sumAt), d[0], d[0].Arena(sumAt), 4*in.T)
			}
			q.Launch(twice, 1, 1, 1, uint64(m.Arena(twiceAt)), uint64(m.Arena(sumAt)), uint64(in.T))
		}}
		if l.middle < 0 {
			middle = Part{Host: func(th *engine.Thread, in *engine.Step) {
				lo, hi := th.Cut(in.T, 1)
				for t := lo; t < hi; t++ {
					binary.LittleEndian.PutUint32(host(twiceAt+4*t, 1), 2*binary.LittleEndian.Uint32(host(sumAt+4*t, 1)))
				}
			}}
		}
		last := Part{Device: l.head, Launch: func(q *Queue, in *engine.Step) {
			h := d[l.head]
			if l.head != 0 {
				q.Peer(h.Arena(sumAt), d[0], d[0].Arena(sumAt), 4*in.T)
			}
			switch {
			case l.middle < 0:
				q.Upload(h.Arena(twiceAt), host(twiceAt, in.T))
			case l.middle != l.head:
				q.Peer(h.Arena(twiceAt), d[l.middle], d[l.middle].Arena(twiceAt), 4*in.T)
			}
			q.Launch(logits, in.R, 1, 1, uint64(h.Arena(logitsAt)), uint64(h.Arena(sumAt)), uint64(h.Arena(twiceAt)), uint64(h.Rows()), uint64(bias))
		}}
		parts := []Part{first, middle, last}
		at := Logits{Device: l.head, At: d[l.head].Arena(logitsAt)}
		return g.Program(Steps{Prefill: parts, Decode: parts, PrefillLogits: at, DecodeLogits: at})
	}
}

func testPlan(devices int) *Plan {
	p := &Plan{Image: []byte("image"), MinDriver: 12000, Archs: []int{80, 90}, PTX: 90}
	for i := range devices {
		p.Devices = append(p.Devices, DevicePlan{Name: fmt.Sprintf("cuda:%d", i), Weights: 256, Arena: 1024, Recurrent: 256, KV: 512})
	}
	return p
}

// session opens the program of a layout; notes collects what it says.
func session(t *testing.T, l layout, f *fake, plan *Plan, notes *[]string, edit func(*engine.Model)) (*engine.Session, error) {
	t.Helper()
	testKernels(f)
	id := [32]byte{9}
	m := &engine.Model{
		Info: engine.Info{BuildID: hex.EncodeToString(id[:]), NumVocab: testVocab, NumCtx: 100, NumUbatch: testUbatch, NumBatch: testUbatch, NumSeq: 2, DefaultThreads: 2, TargetCPU: "portable"},
		Plan: engine.Plan{ArenaBytes: 1024},
		New:  l.build(f, plan),
	}
	if edit != nil {
		edit(m)
	}
	var meta bytes.Buffer
	if err := gguf.Write(&meta, []gguf.KV{{Key: "general.name", Value: "sum"}}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sum.weights")
	var sections []pack.Section
	for _, x := range []struct {
		name string
		data []byte
	}{{"meta", meta.Bytes()}, {"bias", binary.LittleEndian.AppendUint32(nil, math.Float32bits(testBias))}} {
		sections = append(sections, pack.Section{Name: x.name, Size: int64(len(x.data)), Write: func(w io.Writer) error {
			_, err := w.Write(x.data)
			return err
		}})
	}
	if err := pack.Create(path, id, sections, nil); err != nil {
		t.Fatal(err)
	}
	return engine.Open(m, engine.Options{Weights: path, Note: func(s string) {
		if notes != nil {
			*notes = append(*notes, s)
		}
	}})
}

// TestSteps: prompts and tokens of two sequences give the right logits on
// every layout, a token is one launch for each run of parts on devices, and
// everything is given back.
func TestSteps(t *testing.T) {
	for _, l := range layouts {
		for round := range 20 {
			f := newFake()
			f.random.Uint64N(uint64(round + 1))
			var notes []string
			s, err := session(t, l, f, testPlan(1+max(l.middle, l.head, 0)), &notes, nil)
			if err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			want := func(what string, got []float32, sum float32) {
				t.Helper()
				if !slices.Equal(got, []float32{sum, 2 * sum, testBias}) {
					t.Errorf("%s, %s: %v, want the sum %v", l.name, what, got, sum)
				}
			}
			out := make([]float32, 3*testVocab)
			if err := s.Prompt(context.Background(), 1, []int32{1, 2, 1, 2, 1, 2}, []int{0, 3, 5}, out); err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			want("row 0", out[:3], 1)
			want("row 3", out[3:6], 6)
			want("row 5", out[6:], 9)
			f.launches = 0
			for i := range 3 {
				got, err := s.Decode(i%2, 2)
				if err != nil {
					t.Fatalf("%s: %v", l.name, err)
				}
				want("decode", got, []float32{2, 11, 4}[i])
			}
			if f.launches != 3*l.graphs {
				t.Errorf("%s: 3 tokens launched %d graphs, want %d each", l.name, f.launches, l.graphs)
			}
			s.Reset(1)
			got, err := s.Decode(1, 1)
			if err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			want("after a reset", got, 1)
			if len(notes) != 1+max(l.middle, l.head, 0) || !strings.Contains(notes[0], "cuda:0 (Fake): planned 1 MiB, used 1 MiB") {
				t.Errorf("%s: notes %q", l.name, notes)
			}
			if err := s.Close(); err != nil || f.live != 0 {
				t.Errorf("%s: close: %v, %d handles are left", l.name, err, f.live)
			}
		}
	}
}

// TestMissingEvent: the test's driver finds a hand-over without its event.
func TestMissingEvent(t *testing.T) {
	wrong := false
	for range 20 {
		f := newFake()
		s, err := session(t, layouts[1], f, testPlan(2), nil, nil)
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
		edit func(*fake, *Plan)
		code fault.Code
		want string
	}{
		{"an old driver", func(f *fake, _ *Plan) { f.version = 11080 }, fault.Missing, "supports CUDA 11.8, the program's kernels need CUDA 12.0 (driver 525 or newer): update the driver"},
		{"no device", func(f *fake, _ *Plan) { f.devices = 0 }, fault.Missing, "uses cuda:0, of 0 visible GPUs: look at nvidia-smi and at the variable CUDA_VISIBLE_DEVICES"},
		{"too few devices", func(f *fake, p *Plan) { f.devices, p.Devices[0].Name = 1, "cuda:3" }, fault.Missing, "uses cuda:3, of 1 visible"},
		{"an older chip", func(f *fake, _ *Plan) { f.chip = 75 }, fault.Missing, "is of chip sm_75, the program has kernels for sm_80, sm_90, PTX from sm_90 on: compile with --target-gpu sm_75"},
		{"a chip of another family without PTX", func(f *fake, p *Plan) { f.chip, p.PTX = 120, 0 }, fault.Missing, "--target-gpu sm_120"},
		{"too little memory", func(f *fake, p *Plan) { p.Devices[0].KV = 3 << 30 }, fault.Fit, "cuda:0 (Fake): the plan needs 3073 MiB, 1024 MiB of 1024 MiB are free"},
		{"a plan without end", func(f *fake, p *Plan) { p.Devices[0].Recurrent = math.MaxInt64 }, fault.Fit, "the plan needs more than there are addresses"},
		{"a plan without end", func(f *fake, p *Plan) { p.Devices[0].Arena, p.Devices[0].KV = math.MaxInt64, math.MaxInt64 }, fault.Fit, "the plan needs more than there are addresses"},
		{"an allocation fails", func(f *fake, p *Plan) { f.failAlloc = 3 }, fault.Fit, "1 MiB for recurrent state: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: free memory of the GPU"},
		{"a missing kernel", func(f *fake, p *Plan) { delete(f.kernels, "twice") }, fault.Failure, "kernel twice: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND"},
		{"more weights than planned", func(f *fake, p *Plan) { p.Devices[0].Weights = 0 }, fault.Failure, "256 bytes of weights, 0 planned"},
		{"no such device", func(f *fake, p *Plan) { p.Devices[0].Name = "gpu" }, fault.Failure, "BUG"},
	} {
		f, plan := newFake(), testPlan(1)
		testKernels(f)
		_, err := session(t, layouts[0], f, plan, nil, func(m *engine.Model) { c.edit(f, plan) })
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
	none := func() (Driver, error) { return nil, fault.New(fault.Missing, "no NVIDIA driver") }
	if _, err := Open(none, testPlan(1), &engine.Memory{Info: &engine.Info{}}); fault.CodeOf(err) != fault.Missing {
		t.Errorf("no driver: %v", err)
	}
}

// TestChips: machine code serves its family from its chip on, PTX every later chip.
func TestChips(t *testing.T) {
	for _, c := range []struct {
		plan Plan
		chip int
		want bool
	}{
		{Plan{Archs: []int{80}}, 80, true}, {Plan{Archs: []int{80}}, 86, true}, {Plan{Archs: []int{86}}, 80, false}, {Plan{Archs: []int{80}}, 90, false},
		{Plan{PTX: 80}, 120, true}, {Plan{PTX: 80}, 75, false}, {Plan{Archs: []int{100}}, 103, true}, {Plan{Archs: []int{120}}, 121, true}, {Plan{}, 90, false},
	} {
		if got := c.plan.serves(c.chip); got != c.want {
			t.Errorf("%+v on sm_%d: %v", c.plan, c.chip, got)
		}
	}
}

// TestKernelFault: a kernel that faults ends the step with one line, and every later one.
func TestKernelFault(t *testing.T) {
	for _, l := range layouts {
		f := newFake()
		s, err := session(t, l, f, testPlan(1+max(l.middle, l.head, 0)), nil, nil)
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
				t.Errorf("%s: %v", l.name, err)
			}
		}
		if perr := s.Prompt(context.Background(), 0, []int32{1}, nil, nil); perr == nil || perr.Error() != err.Error() {
			t.Errorf("%s: a prompt afterwards: %v", l.name, perr)
		}
		if s.Len(0) != 1 {
			t.Errorf("%s: %d tokens are in the sequence, one was evaluated", l.name, s.Len(0))
		}
		s.Close()
	}
}

// TestFallback: without a usable GPU the CPU's variant runs where there is one and
// says why; what no driver can cure is not fallen back from.
func TestFallback(t *testing.T) {
	cpu := &engine.Variant{Plan: engine.Plan{ArenaBytes: 64}, New: func(mem *engine.Memory) (*engine.Program, error) {
		step := func(*engine.Thread, *engine.Step) {}
		logits := mem.Floats(0, testVocab)
		return &engine.Program{Prefill: step, Decode: step, PrefillLogits: logits, DecodeLogits: logits}, mem.Err()
	}}
	for _, c := range []struct {
		edit func(*fake, *Plan)
		note string
		code fault.Code
	}{
		{func(f *fake, _ *Plan) { f.version = 11000 }, "no GPU is used, the CPU runs the whole model: the NVIDIA driver supports CUDA 11.0", fault.OK},
		{func(f *fake, _ *Plan) { f.devices = 0 }, "of 0 visible GPUs", fault.OK},
		{func(f *fake, p *Plan) { f.memory = 100 }, "", fault.Fit},
	} {
		f, plan := newFake(), testPlan(1)
		c.edit(f, plan)
		var notes []string
		s, err := session(t, layouts[0], f, plan, &notes, func(m *engine.Model) { m.CPU = cpu })
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

// TestResults: every row of the table is whole.
func TestResults(t *testing.T) {
	for code, r := range results {
		err := Check("cuCall", code)
		if !strings.HasPrefix(r.name, "CUDA_ERROR_") || r.cure == "" || fault.CodeOf(err) != r.code || !strings.Contains(err.Error(), r.cure) {
			t.Errorf("%d: %+v, %v", code, r, err)
		}
	}
	if err := Check("cuCall", 12345); !strings.Contains(err.Error(), "CUDA error 12345") || fault.CodeOf(err) != fault.Failure {
		t.Errorf("an unknown number: %v", err)
	}
	if Check("cuCall", 0) != nil {
		t.Error("success is an error")
	}
}
