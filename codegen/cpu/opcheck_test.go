package cpu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/codegen/opcheck"
	"qnc/ir"
	"qnc/runtime/cpu"
	"qnc/runtime/kernel"
	"qnc/runtime/pack"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

// TestOpcheck compares every emitter with the meaning of its op in ir/eval:
// for every target that this machine can run, all cases become one program,
// which runs with 1, 2 and 3 threads.
func TestOpcheck(t *testing.T) {
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) != nil {
			continue
		}
		t.Run(target.Name, func(t *testing.T) {
			lab, err := newLab(target.Name)
			if err != nil {
				t.Fatal(err)
			}
			exe, err := lab.build(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for threads := 1; threads <= 3; threads++ {
				out, err := lab.run(exe, target.Name, threads)
				if err != nil {
					t.Fatalf("%d threads: %v", threads, err)
				}
				if threads == 1 {
					first = out
				} else if !bytes.Equal(first, out) {
					t.Errorf("%s: %d threads give other bits than one", lab.owner(diffAt(first, out)), threads)
				}
			}
			lab.compare(t, first)
			t.Logf("%d cases, %d steps, %d kernels", len(lab.Cases), len(lab.Steps), len(lab.p.kernels))
		})
	}
}

// TestEveryEmitterHasACase: an emitter without a row in opCases is not compared with anything.
func TestEveryEmitterHasACase(t *testing.T) {
	have := opcheck.Ops()
	for op := range emitters {
		if !have[op] {
			t.Errorf("op %s has an emitter, but no case in package opcheck: add one", op)
		}
	}
	for op := range emitters {
		if !codegen.HasCost(op) {
			t.Errorf("op %s has an emitter, but no row in codegen's table of costs: add one", op)
		}
	}
	for op := range have {
		if emitters[op] == nil {
			t.Errorf("op %s has a case, but no emitter", op)
		}
	}
}

func diffAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// A laboratory is all cases, and the program of their kernels.
type laboratory struct {
	*opcheck.Lab
	p      *program
	steps  []labStep
	target string
	vector bool // the target has vector kernels
}

// These are the plan that testdata/opcheck reads.
type labStep struct {
	Case           int
	Tok, Pos, Rows []int32
	Slot           int
	Arena          int
	Spans          []labSpan
}

type labSpan struct {
	In       string
	Off, Len int
}

func newLab(target string) (*laboratory, error) {
	lab, err := opcheck.New()
	if err != nil {
		return nil, err
	}
	AssignLayouts(lab.M, target)
	_, vector := vectorTarget(target)
	return &laboratory{Lab: lab, target: target, vector: vector}, nil
}

// build emits the module beside testdata/opcheck and compiles the two together.
func (l *laboratory) build(dir string) (exe string, err error) {
	p, steps, err := translate(l.M, l.vector)
	if err != nil {
		return "", err
	}
	l.p = p
	table := Func().Id("steps").Params(Id("m").Op("*").Id("model")).Index().Func().Params(Op("*").Qual(pkgEngine, "Thread"), Op("*").Qual(pkgEngine, "Step")).
		Block(Return(Index().Func().Params(Op("*").Qual(pkgEngine, "Thread"), Op("*").Qual(pkgEngine, "Step")).ValuesFunc(func(g *Group) {
			for _, f := range l.M.Funcs {
				g.Id("m").Dot(f.Name)
			}
		})))
	home, err := filepath.Abs(filepath.Join("testdata", "opcheck"))
	if err != nil {
		return "", err
	}
	overlay := map[string]string{}
	model := Func().Id("newModel").Params(Id("mem").Op("*").Qual(pkgEngine, "Memory")).Params(Op("*").Id("model"), Error()).
		Block(Return(Op("&").Id("model").Values(p.inits()), Id("mem").Dot("Err").Call()))
	for name, code := range map[string][]Code{
		"step.go":    slices.Concat(p.declarations(), []Code{model}, steps),
		"kernels.go": p.funcs,
		"table.go":   {table},
	} {
		data, err := render("main", code)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o666); err != nil {
			return "", err
		}
		overlay[filepath.Join(home, name)] = file
	}
	for _, f := range p.assembly("main", l.target) {
		file := filepath.Join(dir, f.Name)
		if err := os.WriteFile(file, f.Data, 0o666); err != nil {
			return "", err
		}
		overlay[filepath.Join(home, f.Name)] = file
	}
	js, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, js, 0o666); err != nil {
		return "", err
	}
	exe = filepath.Join(dir, "opcheck.exe")
	args := []string{"build", "-overlay", list, "-o", exe}
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, home)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	var sections []pack.Section
	for _, w := range l.M.Weights {
		var packed bytes.Buffer
		pw, err := NewPacker(&packed, w)
		if err != nil {
			return "", err
		}
		if _, err := pw.Write(l.Weights[w.Name]); err != nil {
			return "", err
		}
		data := packed.Bytes()
		sections = append(sections, pack.Section{Name: w.Name, Kind: pack.Weight, Size: int64(len(data)), Write: writer(data)})
	}
	l.plan()
	return exe, pack.Create(exe+".weights", [32]byte{}, sections, nil)
}

func writer(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// plan says for each step where its results and states lie.
func (l *laboratory) plan() {
	for i := range l.Steps {
		s := &l.Steps[i]
		b := l.Cases[s.Case]
		l.steps = append(l.steps, labStep{s.Case, s.Tok, s.Pos, s.Rows, s.Slot, b.Arena, spans(b, l.p, s)})
	}
}

// spans are the results of the case, then its states of the step's sequence.
func spans(b *opcheck.Case, p *program, s *opcheck.Step) []labSpan {
	var out []labSpan
	for _, r := range b.F.Results {
		out = append(out, labSpan{"arena", int(r.Mem), r.Type.Bytes(s.Sizes())})
	}
	for _, v := range b.States {
		n := v.Type.Bytes(ir.Sizes{"S": 1})
		if p.caches[v] {
			out = append(out, labSpan{"kv", p.offset[v.Name] + s.Slot*n, n})
		} else {
			out = append(out, labSpan{"recurrent", 4 * (s.Slot*p.recurrent + p.offset[v.Name]), n})
		}
	}
	return out
}

func (l *laboratory) run(exe, target string, threads int) ([]byte, error) {
	in, err := json.Marshal(map[string]any{"Weights": exe + ".weights", "Target": target, "Arena": l.Arena(), "Scratch": l.p.scratch, "Shared": l.p.shared,
		"Recurrent": l.p.recurrent, "KV": l.p.cache, "Slots": opcheck.Slots, "Threads": threads, "Steps": l.steps})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Stdin = bytes.NewReader(in)
	var fault bytes.Buffer
	cmd.Stderr = &fault
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", l.running(fault.String()), err, fault.String())
	}
	return out, err
}

var stepFrame = regexp.MustCompile(`\(\*model\)\.(c[0-9]+_[01])\(`)

// running names the case in which a stack trace ends.
func (l *laboratory) running(trace string) string {
	if m := stepFrame.FindStringSubmatch(trace); m != nil {
		for _, b := range l.Cases {
			if b.F.Name == m[1] {
				return b.Name
			}
		}
	}
	return "between cases"
}

// owner names the step whose output byte at is part of.
func (l *laboratory) owner(at int) string {
	for _, s := range l.steps {
		for _, x := range s.Spans {
			if at -= x.Len; at < 0 {
				return l.Cases[s.Case].Name
			}
		}
	}
	return "the end"
}

// vectorTolerance is allowed to vector kernels where plain Go has eval's bits:
// exponentials within 2 ulp, fused multiply-adds.
const vectorTolerance = opcheck.Tolerance(5e-7)

// roundedQueries is allowed to attention over q8_0 keys, which vector kernels
// multiply with queries rounded to 16 bits: some 1e-5 of a score.
const roundedQueries = opcheck.Tolerance(1e-4)

// compare compares what the steps wrote, one after the other, with eval.
func (l *laboratory) compare(t *testing.T, out []byte) {
	tol := func(c *opcheck.Case, d ir.DType) opcheck.Tolerance {
		if l.vector && c.Op == ir.OpAttention && c.States[0].Type.DType == ir.Q8_0 {
			return roundedQueries
		}
		if l.vector && d == ir.F32 {
			return max(c.Tol, vectorTolerance)
		}
		return c.Tol
	}
	next := 0
	l.Compare(t, tol, func(step int, v *ir.Value) []float32 {
		if c := l.Cases[l.Steps[step].Case]; len(c.F.Results) > 0 && v == c.F.Results[0] || len(c.F.Results) == 0 && v == c.States[0] {
			next = 0
		}
		n := l.steps[step].Spans[next].Len
		next++
		data := out[:n]
		out = out[n:]
		if l.p.caches[v] {
			return cells(v.Type, data, l.Steps[step].Used)
		}
		return l.decode(v.Type, data, l.Steps[step].Sizes())
	})
	if len(out) > 0 {
		t.Errorf("%d bytes of output are left", len(out))
	}
}

// cells gives the first cells of a cache of type t, all groups of a cell together.
func cells(t ir.Type, data []byte, used int) (out []float32) {
	dim := func(i int) int {
		n, _ := t.Dims[i].Static()
		return n
	}
	c := kernel.Cache{Bytes: data, Cells: dim(1), Dim: dim(3), Format: map[ir.DType]vec.Format{ir.F32: kernel.F32, ir.F16: kernel.F16, ir.Q8_0: kernel.Q80}[t.DType]}
	x := make([]float32, dim(3))
	for i := range used {
		for g := range dim(2) {
			c.Load(x, g, i)
			out = append(out, x...)
		}
	}
	return out
}

// decode gives the numbers that memory of type t stands for.
func (l *laboratory) decode(t ir.Type, data []byte, sizes ir.Sizes) []float32 {
	switch t.DType {
	case ir.I32:
		out := make([]float32, len(data)/4)
		for i := range out {
			out[i] = float32(int32(le32(data[4*i:])))
		}
		return out
	case ir.A8:
		last := t.Last().At(sizes)
		size := l.p.a8Bytes(last)
		out := make([]float32, t.Elems(sizes))
		row := make([]byte, quant.A8RowBytes(last))
		for i := range len(out) / last {
			copy(row, data[i*size:])
			a := quant.ViewA8(row, last)
			if l.vector {
				panel.Load(a, data[i*size:][:size])
			}
			a.Dequantize(out[i*last:][:last])
		}
		return out
	}
	kind, _ := quant.ByName(t.DType.String())
	out := make([]float32, len(data)/kind.BlockBytes*kind.BlockElems)
	kind.Dequantize(out, data)
	return out
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// raceDetector builds the program with the race detector, which finds a
// missing barrier: QNC_RACE=1 go test -run Opcheck.
var raceDetector = strings.TrimSpace(os.Getenv("QNC_RACE")) != ""
