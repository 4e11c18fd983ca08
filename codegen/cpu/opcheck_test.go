package cpu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/ir"
	"qnc/ir/eval"
	"qnc/runtime/cpu"
	"qnc/runtime/pack"
	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// TestOpcheck compares every emitter with the meaning of its op in ir/eval:
// for every target that this machine can run, all cases become one program,
// which runs with 1, 2 and 3 threads.
//
// Policy for what is not finite: an element is NaN or infinite exactly where
// eval has one that is; which of the two is not compared.
func TestOpcheck(t *testing.T) {
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) != nil {
			continue
		}
		t.Run(target.Name, func(t *testing.T) {
			lab, err := newLab(opCases(), target.Name)
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
			t.Logf("%d cases, %d steps, %d kernels", len(lab.cases), len(lab.steps), len(lab.p.kernels))
		})
	}
}

// TestEveryEmitterHasACase: an emitter without a row in opCases is not compared with anything.
func TestEveryEmitterHasACase(t *testing.T) {
	have := map[ir.Op]bool{}
	for _, c := range opCases() {
		have[c.op] = true
	}
	for op := range emitters {
		if !have[op] {
			t.Errorf("op %s has an emitter, but no case in opCases: add one", op)
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

// A laboratory is all cases as one module, planned, and the steps to run.
type laboratory struct {
	cases   []*bench
	m       *ir.Module
	p       *program
	weights map[string][]byte
	floats  map[string]eval.Tensor
	steps   []labStep
	target  string
	vector  bool // the target has vector kernels
}

// These are the plan that testdata/opcheck reads.
type labStep struct {
	Case           int
	Tok, Pos, Rows []int32
	Slot           int
	Arena          int
	Spans          []labSpan
	Fresh          bool `json:"-"` // the first step of the case
}

type labSpan struct {
	In       string
	Off, Len int
}

// maxTokens and slots are the bounds of T and S.
const (
	maxTokens = 65
	slots     = 2
	maxCells  = 80
)

// newLab builds every case twice: for T tokens, and for the one of a decode.
func newLab(cases []opCase, target string) (*laboratory, error) {
	_, vector := vectorTarget(target)
	l := &laboratory{target: target, vector: vector, weights: map[string][]byte{}, floats: map[string]eval.Tensor{}, m: &ir.Module{Name: "opcheck",
		Bounds: []ir.Bound{{Sym: "T", Max: maxTokens}, {Sym: "R", Max: 3}, {Sym: "S", Max: slots}, {Sym: "C", Max: maxCells}}}}
	for i, c := range cases {
		for j, n := range []ir.Dim{ir.Sym("T"), ir.Num(1)} {
			b := newBench(l, c, fmt.Sprintf("c%d_%d", i, j), n)
			if b.b.Err != nil {
				return nil, fmt.Errorf("case %s: %w", c.name, b.b.Err)
			}
			if !slices.ContainsFunc(b.f.Body, func(v *ir.Value) bool { return v.Op == c.op }) {
				return nil, fmt.Errorf("case %s does not use %s", c.name, c.op)
			}
			l.cases = append(l.cases, b)
		}
	}
	if err := l.m.Verify(); err != nil {
		return nil, err
	}
	AssignLayouts(l.m, target)
	for _, b := range l.cases { // every value has a place of its own
		for _, v := range b.f.Body {
			if ir.NeedsMem(v) {
				v.Mem = int64(b.arena)
				b.arena += (v.Type.Bytes(l.m.MaxSizes()) + 63) &^ 63
			}
		}
	}
	return l, nil
}

// build emits the module beside testdata/opcheck and compiles the two together.
func (l *laboratory) build(dir string) (exe string, err error) {
	p, steps, err := translate(l.m, l.vector)
	if err != nil {
		return "", err
	}
	l.p = p
	table := Func().Id("steps").Params(Id("m").Op("*").Id("model")).Index().Func().Params(Op("*").Qual(pkgEngine, "Thread"), Op("*").Qual(pkgEngine, "Step")).
		Block(Return(Index().Func().Params(Op("*").Qual(pkgEngine, "Thread"), Op("*").Qual(pkgEngine, "Step")).ValuesFunc(func(g *Group) {
			for _, f := range l.m.Funcs {
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
	for _, w := range l.m.Weights {
		var packed bytes.Buffer
		pw, err := NewPacker(&packed, w)
		if err != nil {
			return "", err
		}
		if _, err := pw.Write(l.weights[w.Name]); err != nil {
			return "", err
		}
		data := packed.Bytes()
		sections = append(sections, pack.Section{Name: w.Name, Kind: pack.Weight, Size: int64(len(data)), Write: writer(data)})
	}
	l.plan()
	return exe, pack.Create(exe+".weights", [32]byte{}, sections, nil)
}

// plan makes the steps of each case: on one sequence the first token, a few,
// more than a chunk, one more; on the other rows of NaN, infinities, zeros,
// huge and tiny numbers; then the first sequence again, which must not have
// seen any of that.
func (l *laboratory) plan() {
	for i, b := range l.cases {
		used := [slots]int{}
		for j, run := range []struct{ slot, n, wild int }{{0, 1, 0}, {0, 3, 0}, {0, maxTokens, 0}, {0, 1, 0}, {1, 1, 0}, {1, 3, 1}, {1, maxTokens, 2}, {0, 3, 0}} {
			n := run.n
			if b.n.Is(1) {
				n = 1
			}
			s := labStep{Case: i, Slot: run.slot, Arena: b.arena, Fresh: j == 0}
			for t := range n {
				tok := (i*31 + j*7 + t*13) % plainRows
				if run.wild > 0 && t%5 == 1%n {
					tok = plainRows + (run.wild*3+t/5)%len(wildRows)
				}
				s.Tok = append(s.Tok, int32(tok))
				s.Pos = append(s.Pos, int32(used[run.slot]+t))
			}
			for _, r := range []int{0, n / 2, n - 1} {
				if !slices.Contains(s.Rows, int32(r)) {
					s.Rows = append(s.Rows, int32(r))
				}
			}
			used[run.slot] += n
			s.Spans = b.spans(l.p, s, used[run.slot])
			l.steps = append(l.steps, s)
		}
	}
}

func (s *labStep) sizes() ir.Sizes {
	return ir.Sizes{"T": len(s.Tok), "R": len(s.Rows), "S": slots, "C": int(s.Pos[len(s.Pos)-1]) + 1}
}

// spans are the results of the case, then its states of the step's sequence.
func (b *bench) spans(p *program, s labStep, used int) []labSpan {
	var out []labSpan
	for _, r := range b.f.Results {
		out = append(out, labSpan{"arena", int(r.Mem), r.Type.Bytes(s.sizes())})
	}
	for _, v := range b.states {
		n := v.Type.Bytes(ir.Sizes{"S": 1})
		if p.caches[v] {
			cells, _ := v.Type.Dims[1].Static()
			out = append(out, labSpan{"kv", p.offset[v.Name] + s.Slot*n, n / cells * used})
		} else {
			out = append(out, labSpan{"recurrent", 4 * (s.Slot*p.recurrent + p.offset[v.Name]), n})
		}
	}
	return out
}

// arena is what the largest case uses.
func (l *laboratory) arena() (n int) {
	for _, b := range l.cases {
		n = max(n, b.arena)
	}
	return n
}

func (l *laboratory) run(exe, target string, threads int) ([]byte, error) {
	in, err := json.Marshal(map[string]any{"Weights": exe + ".weights", "Target": target, "Arena": l.arena(), "Scratch": l.p.scratch,
		"Recurrent": l.p.recurrent, "KV": l.p.cache, "Slots": slots, "Threads": threads, "Steps": l.steps})
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
		for _, b := range l.cases {
			if b.f.Name == m[1] {
				return b.name
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
				return l.cases[s.Case].name
			}
		}
	}
	return "the end"
}

// vectorTolerance is allowed to vector kernels where plain Go has eval's bits:
// exponentials within 2 ulp, fused multiply-adds.
const vectorTolerance = tolerance(5e-7)

// compare evaluates the steps and looks for differences.
func (l *laboratory) compare(t *testing.T, out []byte) {
	var env *eval.Env
	failed := map[int]bool{}
	for _, s := range l.steps {
		b := l.cases[s.Case]
		tol := func(d ir.DType) tolerance {
			if l.vector && d == ir.F32 {
				return max(b.tol, vectorTolerance)
			}
			return b.tol
		}
		if s.Fresh {
			env = &eval.Env{State: map[string]eval.Tensor{}, Weight: func(v *ir.Value) (eval.Tensor, error) { return l.floats[v.Name], nil }}
		}
		env.Sizes = s.sizes()
		want, err := env.Run(b.f, []eval.Tensor{ints(s.Tok), ints(s.Pos), ints(make([]int32, len(s.Tok)), int32(s.Slot)), ints(s.Rows)})
		if err != nil {
			t.Fatalf("%s: %v", b.name, err)
		}
		for i, r := range b.f.Results {
			last := r.Type.Last().At(env.Sizes)
			var data []byte
			data, out = out[:s.Spans[i].Len], out[s.Spans[i].Len:]
			if err := tol(r.Type.DType).near(r.Type.DType, l.decode(r.Type, data, env.Sizes), want[i].Data, last); err != nil && !failed[s.Case] {
				failed[s.Case] = true
				t.Errorf("%s: T=%d at %d: result %d: %v", b.name, len(s.Tok), s.Pos[0], i, err)
			}
		}
		for i, v := range b.states {
			x := s.Spans[len(b.f.Results)+i]
			var data []byte
			data, out = out[:x.Len], out[x.Len:]
			last := v.Type.Last().At(env.Sizes)
			got := l.decode(v.Type, data, env.Sizes)
			n := len(env.State[v.Name].Data) / slots
			if err := tol(v.Type.DType).near(v.Type.DType, got, env.State[v.Name].Data[s.Slot*n:][:len(got)], last); err != nil && !failed[s.Case] {
				failed[s.Case] = true
				t.Errorf("%s: T=%d at %d: state %s: %v", b.name, len(s.Tok), s.Pos[0], v, err)
			}
		}
	}
	if len(out) > 0 {
		t.Errorf("%d bytes of output are left", len(out))
	}
}

// ints is a vector of ids; add is added to each.
func ints(x []int32, add ...int32) eval.Tensor {
	out := eval.New(len(x))
	for i, v := range x {
		for _, a := range add {
			v += a
		}
		out.Data[i] = float32(v)
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

// A tolerance bounds |kernel - eval| by the row's largest number; the zero
// value asks for equal numbers. Where a number is rounded to a type of few
// steps after arithmetic in another order, one element in fifty may be a step off.
type tolerance float64

// stepOf is one step of a narrow type, in units of a row's largest number.
var stepOf = map[ir.DType]float64{ir.F16: 1.0 / 1024, ir.Q8_0: 1.01 / 127, ir.A8: 1.01 / 127}

func (tol tolerance) near(d ir.DType, got, want []float32, last int) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(got), len(want))
	}
	off := 0
	for r := 0; r < len(want); r += last {
		most := 0.0
		for _, x := range want[r : r+last] {
			if a := math.Abs(float64(x)); a > most && !math.IsInf(a, 0) {
				most = a
			}
		}
		for i := r; i < r+last; i++ {
			g, w := float64(got[i]), float64(want[i])
			if finite(g) != finite(w) {
				return fmt.Errorf("row %d element %d is %v, want %v", r/last, i-r, g, w)
			}
			switch e := math.Abs(g - w); {
			case !finite(w) || e <= float64(tol)*most || tol > 0 && e < 1e-40:
			case tol > 0 && e <= stepOf[d]*most:
				off++
			default:
				return fmt.Errorf("row %d element %d is %v, want %v: off by %.3g of the row's largest, allowed %g", r/last, i-r, g, w, e/most, float64(tol))
			}
		}
	}
	if off > 1+len(want)/50 {
		return fmt.Errorf("%d of %d elements are a step off", off, len(want))
	}
	return nil
}

func finite(x float64) bool { return x-x == 0 }

// raceDetector builds the program with the race detector, which finds a
// missing barrier: QNC_RACE=1 go test -run Opcheck.
var raceDetector = strings.TrimSpace(os.Getenv("QNC_RACE")) != ""
