package passes

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/ir/eval"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
)

// small is a model of one delta-net layer and one attention layer.
const small = "layers = 2\ninterval = 2\nhidden = 32\nvocab = 259\nstate = 8\nhead_dim = 8\nexperts = 5\nexpert_ff = 32\nshared_ff = 32\n"

// importModel lowers a synthetic model.
func importModel(t testing.TB, desc string) (*gguf.File, *ir.Module) {
	t.Helper()
	c, err := synth.Parse(desc)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse(b.Bytes(), "synthetic")
	if err != nil {
		t.Fatal(err)
	}
	machine := ir.Machine{Devices: []ir.DeviceInfo{{Name: "cpu"}}}
	r, err := arch.Import(f, machine, arch.Options{Ctx: 256, Ubatch: 130, Seqs: 2, TypeK: ir.F16, TypeV: ir.F16})
	if err != nil {
		t.Fatal(err)
	}
	return f, r.Module
}

// count returns how many of each op a function has.
func count(f *ir.Func) map[ir.Op]int {
	n := map[ir.Op]int{}
	for _, v := range f.Body {
		n[v.Op]++
	}
	return n
}

// TestArchitecture lowers models of several shapes, runs the whole pipeline
// and demands that everything that should be fused is, that no repeat and no
// copy is left, and that results and states are those of the imported graph.
func TestArchitecture(t *testing.T) {
	for _, c := range []struct{ name, desc string }{
		{"ratio-1", "key_heads = 2\nvalue_heads = 2"},
		{"ratio-2", "key_heads = 2\nvalue_heads = 4\nexpert_scale = 2.5"},
		{"ratio-3", "key_heads = 2\nvalue_heads = 6\nkv_heads = 1"},
		{"odd-heads", "key_heads = 3\nvalue_heads = 3\nheads = 3\nkv_heads = 3"},
		{"one-key-head", "key_heads = 1\nvalue_heads = 3\nconv = 2"},
		{"one-head", "key_heads = 1\nvalue_heads = 1\nheads = 1\nkv_heads = 1"},
		{"legacy", "legacy = true\nmerged = true\ntied = true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, m := importModel(t, small+c.desc+"\n")
			before := m.Clone()
			if err := Run(m, nil, Default(true), nil); err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Funcs {
				delta := ir.OpDeltaChunk
				if f.Name == "decode" {
					delta = ir.OpDeltaStep
				}
				n := count(f)
				for op, want := range map[ir.Op]int{
					delta: 1, ir.OpConvSplit: 1, ir.OpGatedNorm: 1,
					ir.OpNormRope: 1, ir.OpNormRopeStore: 1, ir.OpAttention: 1,
					ir.OpTopKMoE: 2, ir.OpMoEGateUp: 2, ir.OpMoEDown: 2, ir.OpGateUp: 2, ir.OpNorm: 5,
					ir.OpRepeat: 0, ir.OpCont: 0, ir.OpPad: 0, ir.OpConcat: 0, ir.OpRMSNorm: 0, ir.OpSilu: 0, ir.OpPermute: 0,
				} {
					if n[op] != want {
						t.Errorf("%s has %d %s, want %d", f.Name, n[op], op, want)
					}
				}
			}
			if t.Failed() {
				t.Fatalf("%s", m)
			}
			weights := fileWeights(t, file)
			for i, f := range before.Funcs {
				for _, tokens := range []int{1, 65} {
					sizes := ir.Sizes{"T": tokens, "R": min(tokens, 3), "S": 2, "C": firstPos + tokens}
					params := inputs(f, sizes)
					x, err := runWith(before, f, sizes, params, weights)
					if err != nil {
						t.Fatal(err)
					}
					y, err := runWith(m, m.Funcs[i], sizes, params, weights)
					if err != nil {
						t.Fatal(err)
					}
					for j := range x {
						if err := near(&Pass{Lossy: true, Bound: 1e-3}, x[j], y[j]); err != nil { // the cache is f16
							t.Errorf("%s at T=%d: result or state %d: %v", f.Name, tokens, j, err)
						}
					}
				}
			}
		})
	}
}

// TestQuantised: in a quantised model every activation is quantised once, and
// by the norm that makes it where there is one.
func TestQuantised(t *testing.T) {
	_, m := importModel(t, small+"type = q8_0\n")
	if err := Run(m, nil, Default(false), nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Funcs {
		seen := map[*ir.Value]bool{}
		for _, v := range f.Body {
			if v.Op != ir.OpQuantize {
				continue
			}
			x := v.Args[0]
			for x.Op == ir.OpReshape || x.Op == ir.OpPart {
				x = x.Args[0]
			}
			if seen[x] || x.Op == ir.OpNorm {
				t.Errorf("%s: %s: quantised twice, or apart from its norm", f.Name, v.LongString())
			}
			seen[x] = true
		}
		for _, v := range f.Body {
			if args := weightArgs[v.Op]; args != nil && v.Args[args[0]].Type.DType == ir.Q8_0 && v.Args[0].Type.DType != ir.A8 {
				t.Errorf("%s: %s reads an activation in f32", f.Name, v.LongString())
			}
		}
	}
}

// TestNormalForm: what elim-repeat, elim-copy and cse leave of the lowered
// delta rule is one fixed point: a second run changes nothing.
func TestNormalForm(t *testing.T) {
	for _, heads := range []string{"key_heads = 2\nvalue_heads = 2\n", "key_heads = 2\nvalue_heads = 6\n", "key_heads = 1\nvalue_heads = 2\n"} {
		_, m := importModel(t, small+heads)
		var list []*Pass
		for _, name := range []string{"elim-repeat", "elim-copy", "cse", "dce"} {
			p, err := ByName(name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, p)
		}
		if err := Run(m, nil, list, nil); err != nil {
			t.Fatal(err)
		}
		once := m.String()
		if strings.Contains(once, "= repeat ") || strings.Contains(once, "= cont ") {
			t.Errorf("repeats or copies are left:\n%s", once)
		}
		if err := Run(m, nil, list, nil); err != nil {
			t.Fatal(err)
		}
		if m.String() != once {
			t.Errorf("a second run changes\n%s\nto\n%s", once, m)
		}
	}
}

// TestCanRun: what no device runs is not made.
func TestCanRun(t *testing.T) {
	_, m := importModel(t, small)
	target := &Target{CanRun: func(d ir.Device, v *ir.Value) bool { return v.Op != ir.OpDeltaChunk && v.Op != ir.OpNorm }}
	if err := Run(m, target, Default(true), nil); err != nil {
		t.Fatal(err)
	}
	n := count(m.Func("prefill"))
	if n[ir.OpDeltaChunk] != 0 || n[ir.OpNorm] != 0 || n[ir.OpAffineScan] == 0 || n[ir.OpRMSNorm] == 0 || n[ir.OpTopKMoE] == 0 {
		t.Errorf("have %v", n)
	}
}

// TestRunnerCatches: the golden runner refuses passes that change the meaning.
func TestRunnerCatches(t *testing.T) {
	src := "module m level=graph {\n\tstate @s : f32[S,6,8]\n}\n\nfunc f(%k: f32[T,2,8], %v: f32[T,6,8], %x: f32[6,8], %seq: i32[1]) {\n\t%z = mul %k, %v {map=interleaved} : f32[T,6,8]\n\tstore @s, %x, %seq\n\treturn %z\n}\n"
	for name, spoil := range map[string]func(f *ir.Func){
		"map":    func(f *ir.Func) { f.Body[0].Attr = f.Body[0].Attr.With("map", "tiled") },
		"state":  func(f *ir.Func) { f.Body = f.Body[:1] },
		"result": func(f *ir.Func) { f.Results = nil },
		"operand": func(f *ir.Func) {
			f.Body[0].Op = ir.OpAdd
		},
	} {
		m, err := ir.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		before := m.Clone()
		if err := sameMeaning(&Pass{}, before, m); err != nil {
			t.Errorf("nothing changed, but %v", err)
		}
		spoil(m.Funcs[0])
		if err := sameMeaning(&Pass{Reassociates: true}, before, m); err == nil {
			t.Errorf("%s: a changed meaning passes", name)
		}
	}
}

// TestQuantizeBound checks the error of one product against what the rounding
// of its activations allows: half a step for each element of a block.
func TestQuantizeBound(t *testing.T) {
	const k, n = 256, 64
	m, err := ir.Parse(fmt.Sprintf("module m level=graph {\n\tweight @w : q8_0[%d,%d]\n}\n\nfunc f(%%x: f32[T,%d]) {\n\t%%y = matmul %%x, @w : f32[T,%d]\n\treturn %%y\n}\n", n, k, k, n))
	if err != nil {
		t.Fatal(err)
	}
	f := m.Funcs[0]
	sizes := ir.Sizes{"T": 16}
	params := inputs(f, sizes)
	exact, err := runModule(m, f, sizes, params)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := ByName("quantize-acts")
	if err := Run(m, nil, []*Pass{p}, nil); err != nil {
		t.Fatal(err)
	}
	have, err := runModule(m, f, sizes, params)
	if err != nil {
		t.Fatal(err)
	}
	x, w := params[0].Data, normal("w", []int{n, k}).Data
	differ := false
	for i := range exact[0].Data {
		row, col := x[i/n*k:], w[i%n*k:]
		allowed := 0.0
		for b := 0; b < k; b += 32 {
			most, sum := 0.0, 0.0
			for j := b; j < b+32; j++ {
				most = max(most, math.Abs(float64(row[j])))
				sum += math.Abs(float64(col[j]))
			}
			allowed += most / 254 * sum
		}
		d := math.Abs(float64(exact[0].Data[i]) - float64(have[0].Data[i]))
		differ = differ || d > 0
		if d > allowed*1.0001 {
			t.Errorf("element %d is off by %g, allowed %g", i, d, allowed)
		}
	}
	if !differ {
		t.Error("nothing was quantised")
	}
}

// fileWeights reads f32 weights of a model file.
func fileWeights(t testing.TB, file *gguf.File) func(*ir.Value) (eval.Tensor, error) {
	cache := map[string]eval.Tensor{}
	return func(v *ir.Value) (eval.Tensor, error) {
		if x, ok := cache[v.Name]; ok {
			return x, nil
		}
		from := v.From
		if from == "" {
			from = v.Name
		}
		g, ok := file.Tensor(from)
		if !ok {
			return eval.Tensor{}, fmt.Errorf("no tensor %s", from)
		}
		x := eval.New(v.Type.Shape(nil)...)
		last := x.Shape[len(x.Shape)-1]
		data := g.Bytes()
		rows := v.Rows
		if rows == nil {
			rows = []ir.Rows{{Len: len(x.Data) / last, Groups: 1}}
		}
		out := x.Data[:0]
		for _, r := range rows {
			for i := range r.Groups {
				at := (r.Start + i*r.Stride) * last * 4
				for j := range r.Len * last {
					out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(data[at+4*j:])))
				}
			}
		}
		cache[v.Name] = x
		return x, nil
	}
}
