package cuda

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"qnc/cudatemplates/emu"
	"qnc/ir"
	"qnc/ir/eval"
	"qnc/runtime/quant"
)

// A world is a planned module with weights, for the emulator and for eval.
type world struct {
	m       *ir.Module
	p       *program
	weights map[string][]byte
	floats  map[string]eval.Tensor
}

func newWorld(m *ir.Module) *world {
	w := &world{m, newProgram(m, ""), map[string][]byte{}, map[string]eval.Tensor{}}
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range m.Weights {
		x := eval.New(v.Type.Shape(nil)...)
		width := float64(v.Type.Last().Add)
		for i := range x.Data {
			x.Data[i] = float32(r.NormFloat64() / math.Sqrt(width))
			if v.Type.Rank() == 1 {
				x.Data[i] = 1 + x.Data[i]
			}
			if strings.HasSuffix(v.Name, "ssm_a") { // the state decays
				x.Data[i] = -x.Data[i]
			}
		}
		kind, _ := quant.ByName(v.Type.DType.String())
		data := make([]byte, v.Type.Bytes(nil))
		kind.Quantize(data, x.Data)
		kind.Dequantize(x.Data, data)
		w.weights[v.Name], w.floats[v.Name] = data, x
	}
	return w
}

// A stepRun is one function on some tokens.
type stepRun struct {
	f              *ir.Func
	tok, pos, rows []int32
}

func (s *stepRun) sizes() ir.Sizes {
	return ir.Sizes{"T": len(s.tok), "R": len(s.rows), "S": 1, "C": int(s.pos[len(s.pos)-1]) + 1}
}

// job is the steps over one memory, with a copy of each one's logits.
func (w *world) job(t *testing.T, runs []stepRun) (j *emu.Job, logits []int) {
	j = &emu.Job{}
	buffer := func(data []byte) int {
		j.Buffers = append(j.Buffers, data)
		return len(j.Buffers) - 1
	}
	weights := map[string]int{}
	for _, v := range w.m.Weights {
		weights[v.Name] = buffer(w.weights[v.Name])
	}
	launches := map[*ir.Func][]launch{}
	arena := 0
	for _, f := range w.m.Funcs {
		stages, err := w.p.translate(f, f.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stages {
			launches[f] = append(launches[f], s.launches...)
		}
		for _, v := range f.Body {
			if v.Mem != ir.NoMem {
				arena = max(arena, int(v.Mem)+v.Type.Bytes(w.m.MaxSizes()))
			}
		}
	}
	places := map[place]int{inArena: buffer(garbage(arena)), inScratch: buffer(garbage(max(1, w.p.scratch))), inRoute: buffer(garbage(max(1, w.p.route)))}
	recurrent, cache := buffer(make([]byte, w.p.state)), buffer(garbage(w.p.cache))
	w.p.kernels = append(w.p.kernels, &kernel{name: "keep", threads: 256, text: keep})
	for _, s := range runs {
		inputs := map[string]int{"tok": buffer(int32s(s.tok)), "pos": buffer(int32s(s.pos)), "seq": buffer(int32s(make([]int32, len(s.tok)))), "rows": buffer(int32s(s.rows))}
		for _, l := range launches[s.f] {
			if !l.runs(s.sizes()) {
				continue
			}
			e := emu.Launch{Kernel: l.kernel.name, Block: [3]int{l.kernel.threads}, Shared: l.kernel.shared}
			for i, g := range l.grid {
				e.Grid[i] = g.at(s.sizes())
			}
			for _, a := range l.args {
				e.Args = append(e.Args, jobArg(a, w.p, s.sizes(), places, weights, inputs, recurrent, cache))
			}
			j.Launches = append(j.Launches, e)
		}
		r := s.f.Results[0]
		n := r.Type.Bytes(s.sizes())
		to := buffer(garbage(n))
		logits = append(logits, to)
		j.Launches = append(j.Launches, emu.Launch{Kernel: "keep", Grid: [3]int{1}, Block: [3]int{256}, Args: []emu.Arg{emu.Pointer(to, 0), emu.Pointer(places[inArena], int(r.Mem)), emu.Number(n)}})
	}
	return j, logits
}

// TestStep runs prompts and tokens of a whole model, its layers one over the
// other in the arena, and compares the logits with those of eval.
func TestStep(t *testing.T) {
	w := newWorld(tiny(t))
	seq := func(from, n int) (tok, pos []int32) {
		for i := range n {
			tok, pos = append(tok, int32((from+i)*37%300)), append(pos, int32(from+i))
		}
		return tok, pos
	}
	prefill, decode := w.m.Funcs[0], w.m.Funcs[1]
	var runs []stepRun
	at := 0
	for _, n := range []int{5, 64, 1, 1, 30, 1} {
		s := stepRun{f: prefill, rows: []int32{0, int32(n) - 1}}
		if n == 1 {
			s.f, s.rows = decode, []int32{0}
		}
		s.tok, s.pos = seq(at, n)
		at += n
		runs = append(runs, s)
	}
	j, logits := w.job(t, runs)
	lib := build(t, source(w.p.kernels), false)
	var first [][]byte
	for _, s := range emu.Schedules {
		out, err := lib.Run(j, s)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out
		}
		for i, b := range logits {
			if !bytes.Equal(out[b], first[b]) {
				t.Errorf("step %d: schedule %s gives other logits", i, s)
			}
		}
	}
	env := &eval.Env{State: map[string]eval.Tensor{}, Weight: func(v *ir.Value) (eval.Tensor, error) { return w.floats[v.Name], nil }}
	for i, s := range runs {
		env.Sizes = s.sizes()
		args := []eval.Tensor{floatsOf(s.tok), floatsOf(s.pos), eval.New(len(s.tok)), floatsOf(s.rows)}
		want, err := env.Run(s.f, args[:len(s.f.Params)])
		if err != nil {
			t.Fatal(err)
		}
		have := decodeF32(first[logits[i]])
		diff, size := 0.0, 0.0
		for k, x := range want[0].Data {
			d := float64(have[k] - x)
			diff += d * d
			size += float64(x) * float64(x)
		}
		// A block of activations that is rounded the other way is a hundredth of its size off.
		if e := math.Sqrt(diff / size); !(e < 2e-2) {
			t.Errorf("step %d of %s with %d tokens: logits are %.3g off", i, s.f.Name, len(s.tok), e)
		}
	}
}

func floatsOf(x []int32) eval.Tensor {
	out := eval.New(len(x))
	for i, v := range x {
		out.Data[i] = float32(v)
	}
	return out
}

func decodeF32(b []byte) []float32 { return decode(ir.Tensor(ir.F32, ir.Num(len(b)/4)), b, nil) }
