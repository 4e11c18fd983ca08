package passes

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"qnc/ir"
	"qnc/ir/eval"
)

var update = flag.Bool("update", false, "rewrite the after and stats sections of testdata; refuses a pass that changes the meaning")

// TestGolden runs the pass that a folder of testdata names on each of its
// files: -- before -- becomes -- after -- or fails with -- error --; before
// and after compute the same results and leave the same state; -- stats -- are
// those of both; -- machine -- replaces the devices and links.
func TestGolden(t *testing.T) {
	for i := range Pipeline {
		p := &Pipeline[i]
		t.Run(p.Name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join("testdata", p.Name, "*.txtar"))
			if err != nil || len(files) < 2 {
				t.Fatalf("%d goldens in testdata/%s, want at least 2: one that changes and one that must not", len(files), p.Name)
			}
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, p, file) })
			}
		})
	}
}

// TestFolders: every folder of goldens is that of a pass.
func TestFolders(t *testing.T) {
	dirs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, err := ByName(d.Name()); d.IsDir() && err != nil {
			t.Error(err)
		}
	}
}

func golden(t *testing.T, p *Pass, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := map[string]string{}
	for _, f := range a.Files {
		section[f.Name] = string(f.Data)
	}
	m, err := ir.Parse(section["before"])
	if err != nil {
		t.Fatal(err)
	}
	if text := section["machine"]; text != "" {
		x, err := ir.Parse("module machine level=graph {\n" + text + "}\n")
		if err != nil {
			t.Fatal(err)
		}
		m.Machine = x.Machine
	}
	if err := m.Verify(); err != nil {
		t.Fatal(err)
	}
	before := m.Clone()
	err = Run(m, nil, []*Pass{p}, nil)
	if want, ok := section["error"]; ok {
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("have error %v, want %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := sameMeaning(p, before, m); err != nil {
		t.Fatalf("the meaning changed: %v\nafter:\n%s", err, m)
	}
	have := map[string]string{
		"after": m.String(),
		"stats": "before\n" + Measure(before).String() + "after\n" + Measure(m).String(),
	}
	if !*update {
		for name, text := range have {
			if section[name] != text {
				t.Errorf("%s differs; go test -update rewrites it. have\n%s\nwant\n%s", name, text, section[name])
			}
		}
		return
	}
	for _, name := range []string{"after", "stats"} {
		i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			i = len(a.Files)
			a.Files = append(a.Files, txtar.File{Name: name})
		}
		a.Files[i].Data = []byte(have[name])
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// firstPos is the position of the first token of a step: what stands before is in the state.
const firstPos = 3

// sameMeaning evaluates both modules on the same inputs, states and weights.
func sameMeaning(p *Pass, before, after *ir.Module) error {
	for i, f := range before.Funcs {
		for _, tokens := range []int{1, 2, 63, 64, 65, 130} {
			sizes := ir.Sizes{"T": tokens, "R": min(tokens, 3), "S": 2, "C": firstPos + tokens}
			if err := sameAt(p, before, after, i, sizes); err != nil {
				return fmt.Errorf("%s at T=%d: %w", f.Name, tokens, err)
			}
		}
	}
	return nil
}

// sameAt compares one function under one set of sizes.
func sameAt(p *Pass, before, after *ir.Module, i int, sizes ir.Sizes) error {
	params := inputs(before.Funcs[i], sizes)
	x, err := runModule(before, before.Funcs[i], sizes, params)
	if err != nil {
		return fmt.Errorf("before: %w", err)
	}
	y, err := runModule(after, after.Funcs[i], sizes, params)
	if err != nil {
		return fmt.Errorf("after: %w", err)
	}
	if len(x) != len(y) {
		return fmt.Errorf("%d results and states, had %d", len(y), len(x))
	}
	for j := range x {
		if err := near(p, x[j], y[j]); err != nil {
			return fmt.Errorf("result or state %d: %w", j, err)
		}
	}
	return nil
}

// near compares bit by bit, or within what the pass declares.
func near(p *Pass, x, y eval.Tensor) error {
	if !slices.Equal(x.Shape, y.Shape) {
		return fmt.Errorf("shape %v, was %v", y.Shape, x.Shape)
	}
	bound, largest, worst := 0.0, 0.0, 0.0
	if p.Reassociates {
		bound = 1e-5
	}
	if p.Lossy {
		bound = p.Bound
	}
	for i, a := range x.Data {
		b := y.Data[i]
		if a == b || a != a && b != b {
			if a-a == 0 { // finite
				largest = max(largest, math.Abs(float64(a)))
			}
			continue
		}
		if math.IsInf(float64(a), 0) || math.IsInf(float64(b), 0) { // no bound covers them
			return fmt.Errorf("element %d is %g, was %g", i, b, a)
		}
		largest = max(largest, math.Abs(float64(a)))
		if d := math.Abs(float64(a) - float64(b)); !(d <= worst) {
			worst = d
		}
	}
	if worst != 0 && !(worst <= bound*largest) {
		return fmt.Errorf("off by %g of %g, allowed %g", worst, largest, bound*largest)
	}
	return nil
}

// TestNear: a bound is that of the finite values; infinities and NaN agree.
func TestNear(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	p := &Pass{Reassociates: true}
	for _, c := range []struct {
		x, y []float32
		ok   bool
	}{
		{[]float32{1, inf, nan}, []float32{1 + 1e-6, inf, nan}, true},
		{[]float32{1, inf}, []float32{2, inf}, false},
		{[]float32{1, inf}, []float32{1, -inf}, false},
		{[]float32{1, inf}, []float32{1, 3e38}, false},
		{[]float32{1, 3e38}, []float32{1, inf}, false},
		{[]float32{1, nan}, []float32{1, 2}, false},
		{[]float32{1, 2}, []float32{1, nan}, false},
	} {
		shape := []int{len(c.x)}
		if err := near(p, eval.Tensor{Shape: shape, Data: c.x}, eval.Tensor{Shape: shape, Data: c.y}); (err == nil) != c.ok {
			t.Errorf("%v and %v: %v", c.x, c.y, err)
		}
	}
}

// runModule returns the results of f and the state that it leaves.
func runModule(m *ir.Module, f *ir.Func, sizes ir.Sizes, params []eval.Tensor) ([]eval.Tensor, error) {
	return runWith(m, f, sizes, params, func(v *ir.Value) (eval.Tensor, error) { return normal(v.Name, v.Type.Shape(sizes)), nil })
}

func runWith(m *ir.Module, f *ir.Func, sizes ir.Sizes, params []eval.Tensor, weight func(*ir.Value) (eval.Tensor, error)) ([]eval.Tensor, error) {
	env := &eval.Env{Sizes: sizes, State: map[string]eval.Tensor{}, Weight: weight}
	for _, s := range m.State {
		env.State[s.Name] = normal(s.Name, s.Type.Shape(sizes))
	}
	out, err := env.Run(f, params)
	for _, s := range m.State {
		out = append(out, env.State[s.Name])
	}
	return out, err
}

// normal is a tensor of normal numbers that depends on nothing but name and shape.
func normal(name string, shape []int) eval.Tensor {
	h := fnv.New64a()
	fmt.Fprint(h, name, shape)
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	x := eval.New(shape...)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

// inputs makes arguments for f: normal numbers; positions and one sequence
// where an i32 parameter is read as such; else indices that every reader accepts.
func inputs(f *ir.Func, sizes ir.Sizes) []eval.Tensor {
	var out []eval.Tensor
	for _, p := range f.Params {
		x := normal(p.Name, p.Type.Shape(sizes))
		if p.Type.DType == ir.I32 {
			role, limit := idRole(f, p, sizes)
			for i, v := range x.Data {
				switch role {
				case "pos":
					x.Data[i] = float32(firstPos + i)
				case "seq":
					x.Data[i] = 1
				default:
					x.Data[i] = float32(int(math.Abs(float64(v))*1000) % limit)
				}
			}
		}
		out = append(out, x)
	}
	return out
}

// idRole finds out how p is read, and below which number its indices stay.
func idRole(f *ir.Func, p *ir.Value, sizes ir.Sizes) (string, int) {
	limit := 1 << 20
	for _, v := range f.Body {
		args := strings.Fields(v.Op.Info().Args)
		for i, a := range v.Args {
			if a != p || i >= len(args) {
				continue
			}
			switch args[i] {
			case "pos", "seq":
				return args[i], 0
			case "rows":
				limit = min(limit, v.Args[0].Type.Dims[0].At(sizes))
			case "ids":
				x := v.Args[1].Type.Dims[0]
				if v.Op == ir.OpGather {
					x = v.Args[0].Type.Last()
				}
				limit = min(limit, x.At(sizes))
			}
		}
	}
	return "", limit
}

// TestOrder: the pipeline respects every declared order, and every pass is documented.
func TestOrder(t *testing.T) {
	at := map[string]int{}
	for i, p := range Pipeline {
		if _, dup := at[p.Name]; dup || p.Doc == "" || p.Run == nil {
			t.Errorf("pass %q: repeated, without doc or without Run", p.Name)
		}
		if p.Lossy != (p.Bound > 0) {
			t.Errorf("pass %q: a lossy pass states its bound, no other does", p.Name)
		}
		at[p.Name] = i
		if _, err := os.Stat(strings.ReplaceAll(p.Name, "-", "_") + ".go"); err != nil {
			t.Errorf("pass %q: %v", p.Name, err)
		}
	}
	ordered, pairs := map[string]bool{}, map[[2]string]bool{}
	for _, o := range Order {
		i, ok := at[o.Before]
		j, ok2 := at[o.After]
		if !ok || !ok2 || i >= j || o.Why == "" {
			t.Errorf("%s must come before %s: %s", o.Before, o.After, o.Why)
		}
		ordered[o.Before], ordered[o.After] = true, true
		if pair := [2]string{o.Before, o.After}; pairs[pair] {
			t.Errorf("%s before %s stands there twice: join the reasons", o.Before, o.After)
		} else {
			pairs[pair] = true
		}
	}
	for i, p := range Pipeline {
		if i > 0 && p.Stage < Pipeline[i-1].Stage {
			t.Errorf("pass %q of stage %s comes after one of stage %s", p.Name, p.Stage, Pipeline[i-1].Stage)
		}
		if !ordered[p.Name] {
			t.Errorf("pass %q: no order is declared: say what it must precede or follow, and why", p.Name)
		}
	}
}

// TestStages: each stage leaves the level that it says, so that the passes of the next can count on it.
func TestStages(t *testing.T) {
	m := parse(t, "module m level=graph {\ndevice cpu\nbound T 4\n}\n\nfunc f(%x: f32[T,8]) {\n%y = exp %x : f32[T,8]\nreturn %y\n}\n")
	for _, s := range []Stage{Rewrites, Placement, Planning} {
		if err := Run(m, nil, s.Passes(false), nil); err != nil {
			t.Fatal(err)
		}
		if m.Level != s.Level() {
			t.Errorf("stage %s leaves a module of level %s, want %s", s, m.Level, s.Level())
		}
	}
}

func TestByName(t *testing.T) {
	if p, err := ByName("cse"); err != nil || p.Name != "cse" {
		t.Errorf("have %v, %v", p, err)
	}
	if _, err := ByName("elim-repeats"); err == nil || !strings.Contains(err.Error(), `did you mean "elim-repeat"?`) {
		t.Errorf("have %v", err)
	}
	for _, p := range Default(true) {
		if p.Lossy {
			t.Errorf("a precise compile runs %s", p.Name)
		}
	}
	if len(Default(false)) != len(Pipeline) {
		t.Error("a plain compile leaves out passes")
	}
}
