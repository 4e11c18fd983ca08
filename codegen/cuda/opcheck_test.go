package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"qnc/codegen/opcheck"
	"qnc/cudatemplates/emu"
	"qnc/ir"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// floatTolerance is allowed where eval has float64 and GPUs have not: sums and
// exponentials in float32.
const floatTolerance = opcheck.Tolerance(2e-6)

// A bank is the cases of some ops, their kernels and the memory they run in:
// one job, in which every step keeps what it wrote.
type bank struct {
	*opcheck.Lab
	p        *program
	launches [][]launch // by case

	job     emu.Job
	weights map[string]int       // buffers
	spans   []map[*ir.Value]span // by step
}

type span struct{ buffer, off, n int }

func newBank(lab *opcheck.Lab) (*bank, error) {
	b := &bank{Lab: lab, p: newProgram(lab.M, ""), weights: map[string]int{}}
	for _, c := range b.Cases {
		stages, err := b.p.translate(c.F, c.F.Body)
		if err != nil {
			return nil, err
		}
		var l []launch
		for _, s := range stages {
			l = append(l, s.launches...)
		}
		b.launches = append(b.launches, l)
	}
	for _, w := range b.M.Weights {
		b.weights[w.Name] = b.buffer(b.Weights[w.Name])
	}
	return b, nil
}

func (b *bank) buffer(data []byte) int {
	b.job.Buffers = append(b.job.Buffers, data)
	return len(b.job.Buffers) - 1
}

// garbage is memory in which every float is a NaN.
func garbage(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func int32s(x []int32) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// keep copies what a step leaves in memory that the next one uses.
const keep = `QNC_KERNEL(256) keep(uint8_t *to, const uint8_t *from, int n) { for (int i = threadIdx.x; i < n; i += 256) to[i] = from[i]; }
QNC_EXPORT(keep)
`

// jobArg is an argument of a launch in a job with these buffers.
func jobArg(a arg, p *program, sizes ir.Sizes, places map[place]int, weights, inputs map[string]int, recurrent, cache int) emu.Arg {
	switch a.in {
	case inArena:
		return emu.Pointer(places[inArena], int(a.v.Mem)+a.off)
	case inScratch, inRoute:
		return emu.Pointer(places[a.in], a.off)
	case inWeights:
		return emu.Pointer(weights[a.v.Name], a.off)
	case inState:
		if p.caches[a.v] {
			return emu.Pointer(cache, p.offset[a.v.Name])
		}
		return emu.Pointer(recurrent, p.offset[a.v.Name])
	case inInput:
		return emu.Pointer(inputs[a.v.Name], a.off)
	case isDim:
		return emu.Number(a.dim.At(sizes))
	}
	return emu.Arg{Buffer: -1}
}

// plan lays out the job: each case starts with fresh states, each step with a
// fresh arena. Copies of what a step leaves in the states are made by kernels.
func (b *bank) plan() {
	b.p.kernels = append(b.p.kernels, &kernel{name: "keep", threads: 256, text: keep})
	recurrent, cache := 0, 0
	for i := range b.Steps {
		s := &b.Steps[i]
		c := b.Cases[s.Case]
		if s.Fresh {
			recurrent, cache = b.buffer(make([]byte, max(1, b.p.state*opcheck.Slots))), b.buffer(garbage(max(1, b.p.cache)))
		}
		arena := b.buffer(garbage(max(1, c.Arena)))
		places := map[place]int{inArena: arena, inScratch: b.buffer(garbage(max(1, b.p.scratch))), inRoute: b.buffer(garbage(max(1, b.p.route)))}
		seq := make([]int32, len(s.Tok))
		for i := range seq {
			seq[i] = int32(s.Slot)
		}
		inputs := map[string]int{"tok": b.buffer(int32s(s.Tok)), "pos": b.buffer(int32s(s.Pos)), "seq": b.buffer(int32s(seq)), "rows": b.buffer(int32s(s.Rows))}
		for _, l := range b.launches[s.Case] {
			if !l.runs(s.Sizes()) {
				continue
			}
			e := emu.Launch{Kernel: l.kernel.name, Block: [3]int{l.kernel.threads}, Shared: l.kernel.shared}
			for j, g := range l.grid {
				e.Grid[j] = g.at(s.Sizes())
			}
			for _, a := range l.args {
				e.Args = append(e.Args, jobArg(a, b.p, s.Sizes(), places, b.weights, inputs, recurrent, cache))
			}
			b.job.Launches = append(b.job.Launches, e)
		}
		spans := map[*ir.Value]span{}
		for _, r := range c.F.Results {
			spans[r] = span{arena, int(r.Mem), r.Type.Bytes(s.Sizes())}
		}
		for _, v := range c.States {
			n := v.Type.Bytes(ir.Sizes{"S": 1})
			from := emu.Pointer(recurrent, b.p.offset[v.Name]+s.Slot*b.p.state)
			if b.p.caches[v] {
				from = emu.Pointer(cache, b.p.offset[v.Name]+s.Slot*n)
				cells, _ := v.Type.Dims[1].Static()
				n = n / cells * s.Used
			}
			to := b.buffer(garbage(n))
			b.job.Launches = append(b.job.Launches, emu.Launch{Kernel: "keep", Grid: [3]int{1}, Block: [3]int{256}, Args: []emu.Arg{emu.Pointer(to, 0), from, emu.Number(n)}})
			spans[v] = span{to, 0, n}
		}
		b.spans = append(b.spans, spans)
	}
}

// decode gives the numbers that memory of type t stands for.
func decode(t ir.Type, data []byte, sizes ir.Sizes) []float32 {
	switch t.DType {
	case ir.I32:
		out := make([]float32, len(data)/4)
		for i := range out {
			out[i] = float32(int32(binary.LittleEndian.Uint32(data[4*i:])))
		}
		return out
	case ir.A8:
		last := t.Last().At(sizes)
		size := panel.RowBytes(last)
		out := make([]float32, t.Elems(sizes))
		a := quant.ViewA8(make([]byte, quant.A8RowBytes(last)), last)
		for i := range len(out) / last {
			panel.Load(a, data[i*size:][:size])
			a.Dequantize(out[i*last:][:last])
		}
		return out
	}
	kind, _ := quant.ByName(t.DType.String())
	out := make([]float32, len(data)/kind.BlockBytes*kind.BlockElems)
	kind.Dequantize(out, data)
	return out
}

// families are the ops that share a library of the emulator.
var families = map[string][]ir.Op{
	"elementwise": {ir.OpCont, ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpDiv, ir.OpExp, ir.OpSigmoid, ir.OpSilu, ir.OpSoftplus, ir.OpScale, ir.OpClamp},
	"rows":        {ir.OpGetRows, ir.OpQuantize, ir.OpTopKMoE},
	"norm":        {ir.OpRMSNorm, ir.OpL2Norm, ir.OpNorm, ir.OpGatedNorm, ir.OpRope, ir.OpNormRope, ir.OpNormRopeStore, ir.OpStoreRows},
	"products":    {ir.OpMatMul, ir.OpGateUp},
	"experts":     {ir.OpMatMulID, ir.OpMoEGateUp, ir.OpMoEDown},
	"attention":   {ir.OpAttention},
	"delta":       {ir.OpConvSplit, ir.OpDeltaChunk, ir.OpDeltaStep},
}

func build(t *testing.T, kernels []byte, check bool) *emu.Library {
	t.Helper()
	l, err := emu.Build(kernels, check)
	if errors.Is(err, emu.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run builds the kernels of a lab and runs them under the schedules: the bits are equal.
func run(t *testing.T, lab *opcheck.Lab, check bool, schedules []string) (*bank, [][]byte) {
	t.Helper()
	b, err := newBank(lab)
	if err != nil {
		t.Fatal(err)
	}
	b.plan()
	lib := build(t, source(b.p.kernels), check)
	var first [][]byte
	for _, s := range schedules {
		out, err := lib.Run(&b.job, s)
		if err != nil {
			t.Fatalf("schedule %s: %v", s, err)
		}
		if first == nil {
			first = out
		}
		for i, spans := range b.spans {
			for v, x := range spans {
				if !slices.Equal(out[x.buffer][x.off:][:x.n], first[x.buffer][x.off:][:x.n]) {
					t.Fatalf("%s: %s: schedule %s gives other bits than schedule %s", b.Cases[b.Steps[i].Case].Name, v, s, schedules[0])
				}
			}
		}
	}
	t.Logf("%d cases, %d launches, %d kernels", len(b.Cases), len(b.job.Launches), len(b.p.kernels))
	return b, first
}

// compare compares the results of a run with ir/eval.
func (b *bank) compare(t *testing.T, out [][]byte) {
	tol := func(c *opcheck.Case, d ir.DType) opcheck.Tolerance {
		if d == ir.I32 {
			return c.Tol
		}
		return max(c.Tol, floatTolerance)
	}
	b.Compare(t, tol, func(step int, v *ir.Value) []float32 {
		x := b.spans[step][v]
		return decode(v.Type, out[x.buffer][x.off:][:x.n], b.Steps[step].Sizes())
	})
}

// TestOpcheck compares every kernel, in the emulator, with the meaning of its op
// in ir/eval. The bits are the same in every order of threads.
func TestOpcheck(t *testing.T) {
	for name, ops := range families {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab, err := opcheck.New(ops...)
			if err != nil {
				t.Fatal(err)
			}
			b, out := run(t, lab, false, emu.Schedules)
			b.compare(t, out)
		})
	}
}

// TestReal does the same at the shapes of a real model.
func TestReal(t *testing.T) {
	lab, err := opcheck.NewReal()
	if err != nil {
		t.Fatal(err)
	}
	b, out := run(t, lab, false, emu.Schedules)
	b.compare(t, out)
}

// TestRaces runs some cases of every op with each load and store checked:
// bounds, alignment, races.
func TestRaces(t *testing.T) {
	for name, ops := range families {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab, err := opcheck.New(ops...)
			if err != nil {
				t.Fatal(err)
			}
			lab.Sample(9)
			run(t, lab, true, emu.Schedules)
		})
	}
}

// TestEveryEmitterHasACase: an emitter without cases, or without a family that runs them, is not compared with anything.
func TestEveryEmitterHasACase(t *testing.T) {
	have := opcheck.Ops()
	for op := range emitters {
		in := false
		for _, ops := range families {
			in = in || slices.Contains(ops, op)
		}
		if !have[op] || !in {
			t.Errorf("op %s has an emitter, but no case in package opcheck or no family here: add one", op)
		}
	}
}

func TestTurns(t *testing.T) {
	if have, want := turns(4, 100), fmt.Sprintf("%.0f", math.Ldexp(1, 64)/(2*math.Pi)); have[:14] != want[:14] {
		t.Errorf("one radian is %s turns, want %s", have, want)
	}
}
