package arch

import (
	"fmt"
	"math"
	"testing"

	"qnc/ir"
	"qnc/ir/eval"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// model is a small hybrid whose eps is large enough to see where it stands.
const model = "key_heads = 3\nvalue_heads = 6\nheads = 6\nkv_heads = 3\nhead_dim = 8\nrope_dims = 4\nrope_base = 50\neps = 0.01\nexpert_scale = 1.5"

const (
	prompt = 67 // more than one chunk of the delta rule
	steps  = 2  // through decode behind it
)

// A run is what a lowering, or the reference, gives for each token: values by name.
type run []map[string][]float64

// lowered evaluates the lowered functions: the prompt with prefill, then decode.
func lowered(t testing.TB, f *gguf.File) run {
	t.Helper()
	opt := testOptions
	opt.Seqs = 1
	r, err := Import(f, testMachine, opt)
	if err != nil {
		t.Fatal(err)
	}
	h, err := paramsOf(f)
	if err != nil {
		t.Fatal(err)
	}
	out := make(run, prompt+steps)
	env := &eval.Env{Weight: weightsOf(f), State: map[string]eval.Tensor{}}
	call := func(fn string, from, n int) {
		sizes := ir.Sizes{"T": n, "R": n, "S": 1, "C": opt.Ctx}
		env.Sizes = sizes
		keep := func(name string, x eval.Tensor) {
			per := len(x.Data) / n
			for i := range n {
				if out[from+i] == nil {
					out[from+i] = map[string][]float64{}
				}
				for _, v := range x.Data[i*per:][:per] {
					out[from+i][name] = append(out[from+i][name], float64(v))
				}
			}
		}
		env.Trace = func(v *ir.Value, x eval.Tensor) {
			for i := range h.blocks {
				for from, to := range map[string]string{"attn_output_delta": "delta", "linear_attn_out": "mix", "attn_output": "mix", "l_out": "l_out"} {
					if v.Name == fmt.Sprintf("%s-%d", from, i) {
						keep(fmt.Sprintf("%s-%d", to, i), x)
					}
				}
			}
		}
		var params []eval.Tensor
		for _, p := range r.Module.Func(fn).Params {
			x := eval.New(n)
			for i := range x.Data {
				switch p.Name {
				case "tok":
					x.Data[i] = float32(tokenAt(from + i))
				case "pos":
					x.Data[i] = float32(from + i)
				case "rows":
					x.Data[i] = float32(i)
				}
			}
			params = append(params, x)
		}
		res, err := env.Run(r.Module.Func(fn), params)
		if err != nil {
			t.Fatal(err)
		}
		keep("logits", res[0])
	}
	call("prefill", 0, prompt)
	for i := range steps {
		call("decode", prompt+i, 1)
	}
	return out
}

func tokenAt(i int) int { return (i*i*7 + 31*i) % 259 }

// weightsOf decodes weights as float32, the rows of merged tensors sorted.
func weightsOf(f *gguf.File) func(*ir.Value) (eval.Tensor, error) {
	return func(v *ir.Value) (eval.Tensor, error) {
		name := v.Name
		if v.From != "" {
			name = v.From
		}
		t, _ := f.Tensor(name)
		kind, ok := quant.ByGGML(uint32(t.Type))
		if !ok {
			return eval.Tensor{}, fault.New(fault.Failure, "no kind %s", t.Type)
		}
		all := make([]float32, t.Elems)
		kind.Dequantize(all, t.Bytes())
		if v.Rows != nil {
			k := int(t.Dims[0])
			var part []float32
			for _, r := range v.Rows {
				for g := range r.Groups {
					part = append(part, all[(r.Start+g*r.Stride)*k:][:r.Len*k]...)
				}
			}
			all = part
		}
		return eval.Tensor{Shape: v.Type.Shape(nil), Data: all}, nil
	}
}

// expected is what the reference gives.
func expected(t testing.TB, f *gguf.File, wrong string, decoded map[string]mat) run {
	r := newReference(t, f, wrong, decoded)
	out := make(run, prompt+steps)
	for i := range out {
		logits := r.token(tokenAt(i), i)
		out[i] = map[string][]float64{"logits": logits}
		for name, x := range r.seen {
			out[i][name] = x
		}
	}
	return out
}

// apart is the largest difference of any value, relative to the largest of
// that name, and the name.
func apart(t testing.TB, a, b run) (worst float64, where string) {
	for name := range b[0] {
		var diff, most float64
		for i := range b {
			if len(a[i][name]) != len(b[i][name]) {
				t.Fatalf("token %d: %s has %d values, want %d", i, name, len(a[i][name]), len(b[i][name]))
			}
			for j, x := range b[i][name] {
				d := math.Abs(a[i][name][j] - x)
				if math.IsNaN(d) {
					d = math.Inf(1)
				}
				diff, most = max(diff, d), max(most, math.Abs(x))
			}
		}
		if d := diff / most; d > worst {
			worst, where = d, name
		}
	}
	return worst, where
}

const (
	same = 1e-4 // float32 against float64
	far  = 3e-3 // what a wrong reading must change at least
)

// wrongReadings are the plausible mistakes, each for a model in which it shows.
var wrongReadings = []struct{ model, wrong string }{
	{"", "ssm_ba holds alpha before beta"},
	{"", "ssm_ba holds all betas before all alphas"},
	{"", "ssm_ba holds beta, alpha pairs"},
	{"legacy = true", "ssm_ba holds all betas before all alphas"},
	{"legacy = true", "ssm_in holds q, k, v, z one after the other"},
	{"", "the first tap is of the newest token"},
	{"", "no SiLU behind the convolution"},
	{"", "SiLU on q and k alone"},
	{"", "L2 norm with the larger of norm and eps"},
	{"", "L2 norm of the mean"},
	{"", "L2 norm without eps"},
	{"", "no L2 norm"},
	{"", "k comes before q"},
	{"", "value head h uses key head h mod n"},
	{"", "q is not scaled"},
	{"", "q is scaled by 1/d"},
	{"", "k is scaled too"},
	{"", "g = -exp(ssm_a) · softplus"},
	{"", "dt is added behind softplus"},
	{"", "no dt"},
	{"", "beta without sigmoid"},
	{"", "beta up to 2"},
	{"", "v is corrected by the state before its decay"},
	{"", "no delta rule, plain linear attention"},
	{"", "the output is of the state before the token"},
	{"", "the gate comes before the norm"},
	{"", "the gate is a sigmoid"},
	{"", "the gated norm adds 1"},
	{"", "norms add 1 to their weight"},
	{"", "all q before all gates"},
	{"", "the gate before q"},
	{"", "RoPE comes before the norm"},
	{"", "no norm of q and k"},
	{"", "RoPE on all dimensions"},
	{"", "frequencies of the whole head"},
	{"", "RoPE of neighbours"},
	{"", "RoPE turns back"},
	{"", "no RoPE"},
	{"", "head h uses key-value head h mod n"},
	{"", "attention is not scaled"},
	{"", "attention is scaled by 1/d"},
	{"", "attention without its gate"},
	{"", "attention gated by SiLU"},
	{"", "the experts' weights are not renormalised"},
	{"", "no expert_weights_scale"},
	{"", "sigmoid instead of softmax"},
	{"", "the experts all weigh the same"},
	{"merged = true", "ffn_gate_up_exps holds all gates before all ups"},
	{"", "SiLU on up instead of gate"},
	{"", "the shared expert is not gated"},
	{"", "the shared expert's gate is no sigmoid"},
	{"", "the shared expert is scaled too"},
	{"", "no shared expert"},
}

// TestSemantics: what was lowered, evaluated as prefill and as decode, equals
// the formulas, and none of the wrong readings of them.
func TestSemantics(t *testing.T) {
	type lowering struct {
		f       *gguf.File
		got     run
		decoded map[string]mat
	}
	done := map[string]lowering{}
	have := func(t *testing.T, desc string) lowering {
		if _, ok := done[desc]; !ok {
			f := describe(t, model, desc)
			done[desc] = lowering{f, lowered(t, f), map[string]mat{}}
		}
		return done[desc]
	}
	for _, desc := range []string{"", "legacy = true", "merged = true", "tied = true", "key_heads = 2\nvalue_heads = 2\nkv_heads = 1\nheads = 3",
		"key_heads = 1\nvalue_heads = 3\nkv_heads = 2\nheads = 2", "layers = 3\ninterval = 3", "layers = 3\nrecurrent = 0 1 1", "conv = 2\nstate = 16\nhead_dim = 12\nrope_dims = 6", "mtp_layers = 1", "ff = 30\nomit = qwen3next.expert_shared_feed_forward_length\nshared_ff = 30"} {
		t.Run("right/"+desc, func(t *testing.T) {
			l := have(t, desc)
			if d, where := apart(t, l.got, expected(t, l.f, "", l.decoded)); !(d <= same) {
				t.Errorf("%s is %g away from the formulas, want at most %g", where, d, same)
			}
		})
	}
	for _, c := range wrongReadings {
		t.Run(c.wrong, func(t *testing.T) {
			l := have(t, c.model)
			if d, where := apart(t, l.got, expected(t, l.f, c.wrong, l.decoded)); d < far {
				t.Errorf("the lowering is as close as %g (%s) to a wrong reading: want %g", d, where, far)
			}
		})
	}
}

// TestLayouts: the other layouts of the same weights give the same bits.
func TestLayouts(t *testing.T) {
	want := lowered(t, describe(t, model))
	for _, desc := range []string{"legacy = true", "merged = true", "legacy = true\nmerged = true"} {
		if d, where := apart(t, lowered(t, describe(t, model, desc)), want); d != 0 {
			t.Errorf("%s: %s differs by %g", desc, where, d)
		}
	}
}

// TestExpertWeights: the softmax is over all experts before the best are
// chosen, ties go to the lower index, and the sum of the chosen is clamped from
// below: with 20000 equal experts one weighs 5e-5 / 6.1e-5, not 1.
func TestExpertWeights(t *testing.T) {
	const n, d = 20000, 2
	im := &Importer{M: &ir.Module{}}
	f := &ir.Func{Name: "experts"}
	b := newBlocks(im, f, ir.Num(1))
	x := b.Param("x", ir.Tensor(ir.F32, ir.Num(1), ir.Num(d)))
	weight := func(name string, dims ...int) *ir.Value {
		v := &ir.Value{Name: name, Op: ir.OpWeight, Mem: ir.NoMem, Type: ir.Type{Dims: nums(dims)}}
		im.M.Weights = append(im.M.Weights, v)
		return v
	}
	f.Results = []*ir.Value{b.experts(x, expertWeights{
		router: weight("router", n, d), gate: weight("gate", n, 1, d), up: weight("up", n, 1, d), down: weight("down", n, d, 1), used: 1, scale: 1,
	})}
	im.M.Funcs = []*ir.Func{f}
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	env := &eval.Env{Weight: func(v *ir.Value) (eval.Tensor, error) {
		w := eval.New(v.Type.Shape(nil)...)
		for i := range w.Data {
			switch v.Name {
			case "gate", "up":
				w.Data[i] = 1
			case "down": // expert e gives e + 1
				w.Data[i] = float32(i/d + 1)
			}
		}
		return w, nil
	}}
	out, err := env.Run(f, []eval.Tensor{{Shape: []int{1, d}, Data: []float32{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	want := silu(3) * 3 * (1.0 / n) / 6.103515625e-05
	if have := float64(out[0].Data[0]); math.Abs(have-want) > 1e-5*want {
		t.Errorf("%g, want %g: expert 0 with a clamped weight", have, want)
	}
}
