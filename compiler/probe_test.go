package compiler

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/ir/eval"
	"qnc/passes"
	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// probeHook makes an emitted program answer logits when PROBE is set: a JSON
// object a line on stdin, float32 on stdout.
const probeHook = `package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	"qnc/runtime/engine"
)

func init() {
	if os.Getenv("PROBE") == "" {
		return
	}
	spec.Info.BuildID = buildID
	s, err := engine.Open(&spec, engine.Options{})
	check(err)
	in, out := json.NewDecoder(os.Stdin), bufio.NewWriter(os.Stdout)
	for in.More() {
		var r struct {
			Tokens                       []int32
			Rows                         []int
			Decode, Reset                bool
			Seq, Ubatch, Threads         int
		}
		check(in.Decode(&r))
		if r.Threads > 0 {
			s.SetThreads(r.Threads, r.Threads)
		}
		if r.Ubatch > 0 {
			s.SetUbatch(r.Ubatch)
		}
		if r.Reset {
			s.Reset(r.Seq)
		}
		if r.Decode {
			for _, t := range r.Tokens {
				l, err := s.Decode(r.Seq, t)
				check(err)
				check(binary.Write(out, binary.LittleEndian, l))
			}
		} else {
			logits := make([]float32, len(r.Rows)*spec.Info.NumVocab)
			check(s.Prompt(context.Background(), r.Seq, r.Tokens, r.Rows, logits))
			check(binary.Write(out, binary.LittleEndian, logits))
		}
		check(out.Flush())
	}
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

// A probe is a compiled model that answers logits.
type probe struct {
	t     testing.TB
	vocab int
	path  string
	in    *json.Encoder
	out   *bufio.Reader
}

// A request runs tokens through a probe: as a prompt with the logits of Rows,
// or one by one through decode with the logits of all.
type request struct {
	Tokens               []int32
	Rows                 []int
	Decode, Reset        bool
	Seq, Ubatch, Threads int
}

// compileProbe compiles the model and starts it.
func compileProbe(t testing.TB, model string, o Options) *probe {
	t.Helper()
	o.hook = []byte(probeHook)
	o.Out = filepath.Join(t.TempDir(), "probe")
	res, err := Compile(context.Background(), model, &o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(res.Program)
	cmd.Env = append(os.Environ(), "PROBE=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	f, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	embd, _ := f.Tensor("token_embd.weight")
	return &probe{t, int(embd.Dims[1]), res.Program, json.NewEncoder(in), bufio.NewReaderSize(out, 1<<20)}
}

// ask returns the logits, a row each.
func (p *probe) ask(r request) [][]float32 {
	p.t.Helper()
	if err := p.in.Encode(r); err != nil {
		p.t.Fatal(err)
	}
	n := len(r.Rows)
	if r.Decode {
		n = len(r.Tokens)
	}
	out := make([][]float32, n)
	for i := range out {
		b := make([]byte, 4*p.vocab)
		if _, err := io.ReadFull(p.out, b); err != nil {
			p.t.Fatalf("row %d of %d: %v", i, n, err)
		}
		out[i] = make([]float32, p.vocab)
		for j := range out[i] {
			out[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
		}
	}
	return out
}

// all returns 0 … n-1.
func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// distance is max |a-b| over max |b| of whole rows.
func distance(a, b [][]float32) float64 {
	var diff, most float64
	for i := range b {
		for j := range b[i] {
			d := math.Abs(float64(a[i][j]) - float64(b[i][j]))
			if d > diff || math.IsNaN(d) {
				diff = d
			}
			most = max(most, math.Abs(float64(b[i][j])))
		}
	}
	return diff / most
}

// sameBits reports the first logit that differs.
func sameBits(a, b [][]float32) error {
	for i := range b {
		for j := range b[i] {
			if math.Float32bits(a[i][j]) != math.Float32bits(b[i][j]) {
				return fmt.Errorf("row %d logit %d: %g and %g", i, j, a[i][j], b[i][j])
			}
		}
	}
	return nil
}

// oracle evaluates the model as imported in plain float32: the exact logits of
// a GGUF's own numbers, by the evaluator and not by any kernel.
func oracle(t testing.TB, model string, tokens []int32) [][]float32 {
	t.Helper()
	f, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := len(tokens)
	r, err := arch.Import(f, ir.Machine{}, arch.Options{Ctx: n, Ubatch: n, Seqs: 1, TypeK: ir.F32, TypeV: ir.F32})
	if err != nil {
		t.Fatal(err)
	}
	var list []*passes.Pass
	for _, name := range []string{"elim-repeat", "elim-copy"} {
		p, err := passes.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := passes.Run(r.Module, &passes.Target{}, list, nil); err != nil {
		t.Fatal(err)
	}
	env := &eval.Env{Sizes: ir.Sizes{"T": n, "R": n, "S": 1, "C": n}, Weight: weightsOf(f), State: map[string]eval.Tensor{}}
	var params []eval.Tensor
	for _, fill := range []func(i int) float32{
		func(i int) float32 { return float32(tokens[i]) }, func(i int) float32 { return float32(i) },
		func(int) float32 { return 0 }, func(i int) float32 { return float32(i) },
	} {
		x := eval.New(n)
		for i := range x.Data {
			x.Data[i] = fill(i)
		}
		params = append(params, x)
	}
	out, err := env.Run(r.Module.Func("prefill"), params)
	if err != nil {
		t.Fatal(err)
	}
	vocab := out[0].Shape[1]
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = out[0].Data[i*vocab:][:vocab]
	}
	return rows
}

// weightsOf decodes weights as float32 for the evaluator.
func weightsOf(f *gguf.File) func(*ir.Value) (eval.Tensor, error) {
	return func(v *ir.Value) (eval.Tensor, error) {
		t, ok := f.Tensor(source(v))
		if !ok {
			return eval.Tensor{}, fmt.Errorf("no tensor %s", source(v))
		}
		kind, ok := quant.ByGGML(uint32(t.Type))
		if !ok {
			return eval.Tensor{}, fmt.Errorf("tensor %s has type %s", t.Name, t.Type)
		}
		all := make([]float32, t.Elems)
		kind.Dequantize(all, t.Bytes())
		if v.Rows == nil {
			return eval.Tensor{Shape: v.Type.Shape(nil), Data: all}, nil
		}
		k := v.Type.Last().At(nil)
		out := eval.New(v.Type.Shape(nil)...)
		at := 0
		for _, r := range v.Rows {
			for g := range r.Groups {
				at += copy(out.Data[at:], all[(r.Start+g*r.Stride)*k:][:r.Len*k])
			}
		}
		return out, nil
	}
}
