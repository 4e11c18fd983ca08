package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

func build(t testing.TB, text string) *gguf.File {
	t.Helper()
	c, err := Parse(text)
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
	return f
}

// rows decodes a tensor.
func rows(t testing.TB, f *gguf.File, name string) [][]float32 {
	t.Helper()
	x, ok := f.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	k, ok := quant.ByGGML(uint32(x.Type))
	if !ok {
		t.Fatalf("%s: type %v", name, x.Type)
	}
	n, data := int(x.Dims[0]), x.Bytes()
	var out [][]float32
	for size := k.RowBytes(n); len(data) > 0; data = data[size:] {
		row := make([]float32, n)
		k.Dequantize(row, data[:size])
		out = append(out, row)
	}
	return out
}

// TestDigest holds the generator to one file for ever: reference numbers of
// other programs belong to these bytes.
func TestDigest(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"default", "", "c872e7317cfd983c84bed14fbad9d98bea00074054e60cb1a53b47792812445f"},
		{"mixed", "type = q8_0\ntype.output = f16\ntype.blk.2.attn_qkv = bf16\nmtp_layers = 1\nrecurrent = 1 0 1 0\nexpert_scale = 2", "b22d43eab9cf2a0e80a4b0c7d2537d83c8b1ad8e44f9434ec421d7bfdc16f94c"},
		{"pooled", "layers = 1\ntensor.big = q4_K 1024 5000", "534bf3b1c00c5eff2b6d95114c663c44bbe3961643bd4447c347483200c3b63c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := Parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			var first, second bytes.Buffer
			if err := config.Write(&first); err != nil {
				t.Fatal(err)
			}
			if err := config.Write(&second); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Fatal("two writes of one description differ")
			}
			sum := sha256.Sum256(first.Bytes())
			if got := hex.EncodeToString(sum[:]); got != c.want {
				t.Errorf("digest %s, want %s", got, c.want)
			}
		})
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	c := Default()
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := c.Write(&want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("WriteFile and Write differ")
	}
	c.KeyHeads = 3
	if err := c.WriteFile(path); err == nil || !strings.Contains(err.Error(), "multiple of key_heads") {
		t.Errorf("error %v", err)
	}
}

// TestRoundTrip reads back what the description asked for.
func TestRoundTrip(t *testing.T) {
	f := build(t, `
		layers = 3        # and one more that readers skip
		mtp_layers = 1
		hidden = 96
		vocab = 401
		key_heads = 3
		value_heads = 9
		state = 32
		recurrent = 0 1 1
		tied = true
		expert_scale = 2.5
		type = q8_0
		type.ffn_gate_inp = bf16
		type.blk.2.ssm_out = q4_0
		tensor.odd = q5_1 64 3
		meta.qwen3next.rope.scaling.type = str yarn
		meta.qwen3next.context_length = u32 77
		omit = general.name blk.1.ssm_a`)
	for key, want := range map[string]uint64{
		"qwen3next.block_count": 4, "qwen3next.nextn_predict_layers": 1, "qwen3next.context_length": 77,
		"qwen3next.ssm.group_count": 3, "qwen3next.ssm.time_step_rank": 9, "qwen3next.ssm.inner_size": 288,
	} {
		if got, ok, err := f.Uint(key); err != nil || !ok || got != want {
			t.Errorf("%s = %d %v %v, want %d", key, got, ok, err, want)
		}
	}
	if got, ok, err := f.Bools("qwen3next.attention.recurrent_layers"); err != nil || !ok || !reflect.DeepEqual(got, []bool{false, true, true, false}) {
		t.Errorf("recurrent layers %v %v %v", got, ok, err)
	}
	if got, _, _ := f.String("qwen3next.rope.scaling.type"); got != "yarn" {
		t.Errorf("added key %q", got)
	}
	for _, key := range []string{"general.name"} {
		if f.Has(key) {
			t.Errorf("%s is there", key)
		}
	}
	for _, c := range []struct {
		name, typ string
		dims      []uint64
	}{
		{"token_embd.weight", "q8_0", []uint64{96, 401}},
		{"output.weight", "", nil},
		{"blk.0.attn_q.weight", "q8_0", []uint64{96, 128}},
		{"blk.0.ffn_gate_inp.weight", "bf16", []uint64{96, 8}},
		{"blk.1.attn_qkv.weight", "q8_0", []uint64{96, 480}},
		{"blk.1.ssm_a", "", nil},
		{"blk.2.ssm_a", "f32", []uint64{9}},
		{"blk.2.ssm_out.weight", "q4_0", []uint64{288, 96}},
		{"blk.2.ssm_conv1d.weight", "f32", []uint64{4, 480}},
		{"blk.3.nextn.eh_proj.weight", "q8_0", []uint64{192, 96}},
		{"odd", "q5_1", []uint64{64, 3}},
	} {
		x, ok := f.Tensor(c.name)
		if !ok {
			if c.typ != "" {
				t.Errorf("%s is missing", c.name)
			}
			continue
		}
		if x.Type.String() != c.typ || !reflect.DeepEqual(x.Dims, c.dims) {
			t.Errorf("%s: %v %v, want %s %v", c.name, x.Type, x.Dims, c.typ, c.dims)
		}
	}
}

// TestLayouts: the two old and new layouts hold the same weights.
func TestLayouts(t *testing.T) {
	const text = "layers = 2\ninterval = 2\nkey_heads = 3\nvalue_heads = 6\nstate = 8\n"
	plain, other := build(t, text), build(t, text+"legacy = true\nmerged = true\n")
	qkv, gate := rows(t, plain, "blk.0.attn_qkv.weight"), rows(t, plain, "blk.0.attn_gate.weight")
	var want [][]float32
	for h := range 3 {
		want = append(want, qkv[h*8:h*8+8]...)          // q
		want = append(want, qkv[24+h*8:24+h*8+8]...)    // k
		want = append(want, qkv[48+h*16:48+h*16+16]...) // two value heads
		want = append(want, gate[h*16:h*16+16]...)      // their z
	}
	if !reflect.DeepEqual(rows(t, other, "blk.0.ssm_in.weight"), want) {
		t.Error("ssm_in does not hold attn_qkv and attn_gate per key head")
	}
	g, u := rows(t, plain, "blk.1.ffn_gate_exps.weight"), rows(t, plain, "blk.1.ffn_up_exps.weight")
	want = nil
	for e := range 8 {
		want = append(append(want, g[e*32:e*32+32]...), u[e*32:e*32+32]...)
	}
	if !reflect.DeepEqual(rows(t, other, "blk.1.ffn_gate_up_exps.weight"), want) {
		t.Error("ffn_gate_up_exps does not hold gate and up per expert")
	}
	if !reflect.DeepEqual(rows(t, plain, "blk.1.ffn_down_exps.weight"), rows(t, other, "blk.1.ffn_down_exps.weight")) {
		t.Error("ffn_down_exps differs between the layouts")
	}
}

// TestScales: weights have the statistics that the table of classes promises,
// drawn one by one as well as laid out of the pool.
func TestScales(t *testing.T) {
	f := build(t, "layers = 1\nhidden = 256\ntensor.blk.0.attn_qkv.weight = q8_0 256 20000")
	for _, c := range []struct {
		name      string
		mean, std float64
	}{
		{"blk.0.attn_qkv.weight", 0, 1.2 / 16}, // more than directElems
		{"blk.0.attn_gate.weight", 0, 1.2 / 16},
		{"token_embd.weight", 0, 0.5},
		{"output_norm.weight", 1, 0.15},
	} {
		var sum, sq, n float64
		for _, row := range rows(t, f, c.name) {
			for _, v := range row {
				sum, sq, n = sum+float64(v), sq+float64(v)*float64(v), n+1
			}
		}
		mean := sum / n
		std := math.Sqrt(sq/n - mean*mean)
		if math.Abs(mean-c.mean) > 4*c.std/math.Sqrt(n) || math.Abs(std/c.std-1) > 4/math.Sqrt(n)+0.005 {
			t.Errorf("%s: mean %.5f std %.5f over %.0f, want %.5f and %.5f", c.name, mean, std, n, c.mean, c.std)
		}
	}
	big := rows(t, f, "blk.0.attn_qkv.weight")
	seen := map[[4]float32]int{}
	for _, row := range big {
		seen[[4]float32(row)]++
	}
	if len(seen) < 3000 {
		t.Errorf("%d kinds of rows of %d: the pool has %d pieces", len(seen), len(big), poolUnits)
	}
	for _, row := range rows(t, f, "blk.0.ssm_a") {
		for _, v := range row {
			if v >= 0 {
				t.Errorf("ssm_a has %g: decays must be negative", v)
			}
		}
	}
}

func TestVocabulary(t *testing.T) {
	for _, n := range []int{259, 260, 300, 5000} {
		tokens, merges := vocabulary(n)
		if len(tokens) != n || len(merges) != n-259 {
			t.Fatalf("vocabulary(%d): %d tokens, %d merges", n, len(tokens), len(merges))
		}
		known := map[string]bool{}
		for i, token := range tokens {
			if known[token] {
				t.Fatalf("token %q is there twice", token)
			}
			if i >= 256 && i < n-3 {
				a, b, _ := strings.Cut(merges[i-256], " ")
				if a+b != token || !known[a] || !known[b] {
					t.Fatalf("merge %q gives token %q of unknown parts", merges[i-256], token)
				}
			}
			known[token] = true
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"hidden", "line 1: \"hidden\" is not key = value"},
		{"\n\nhiden = 3", "line 3: hiden: unknown key"},
		{"hidden = 64\nhidden = 64", "line 2: hidden is given twice"},
		{"hidden = x", "is not an integer"},
		{"hidden = 99999999999999999999", "is not an integer"},
		{"hidden = 0", "outside 1 to 65536"},
		{"vocab = 258", "outside 259"},
		{"seed = -1", "non-negative"},
		{"eps = NaN", "outside"},
		{"eps = many", "not a number"},
		{"tied = yes", "neither true nor false"},
		{"recurrent = 1 2", "neither 0"},
		{"recurrent = 1 0", "one 0 or 1 per layer"},
		{"key_heads = 3", "multiple of key_heads"},
		{"heads = 3", "multiple of kv_heads"},
		{"experts_used = 9", "must not exceed experts"},
		{"rope_dims = 18", "must not exceed head_dim"},
		{"rope_dims = 3", "must be even"},
		{"type = q3", "known are f32"},
		{"type = q4_K", "rows of 64 are not whole blocks of q4_K (256)"},
		{"type.attn_q = q3", "known are f32"},
		{"type.attn_r = f16", "no tensor or class"},
		{"meta.x = u8 3", "known are u32"},
		{"meta.x = u32 -3", "meta.x"},
		{"meta.x = f32 inf", "not a finite"},
		{"tensor.x = f32", "1 to 4 dimensions"},
		{"tensor.x = f32 1 2 3 4 5", "1 to 4 dimensions"},
		{"tensor.x = f32 0", "dimensions [0]"},
		{"tensor.x = f32 1099511627775 1099511627775", "the most is"},
		{"tensor. = f32 1", "unknown key"},
		{strings.Repeat("#", maxText+1), "the most is"},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%.40q) = %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzParse: no text makes Parse panic, and what it accepts prints as a
// description of the same model.
func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add("layers = 3\ntype = q8_0 # c\ntype.output = f16\nmeta.a.b = str x  y\ntensor.t = f32 3 4\nomit = a b\nrecurrent = 0 1 1")
	f.Add("tensor.x = q4_K 256 18446744073709551615")
	f.Add("eps = 1e-5\nname = \x00\xff=\nmeta.x = f32 1e39")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(c.String())
		if err != nil {
			t.Fatalf("String gives %q: %v", c.String(), err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%q reads back as another model", c.String())
		}
	})
}

// TestPresets: a preset has a name of its own and a description that reads back;
// that of the measurements has the sizes and types of Q4_K_M.
func TestPresets(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Presets {
		c := p.Config()
		again, err := Parse(c.String())
		if err != nil || !reflect.DeepEqual(c, again) || seen[p.Name] || p.Help == "" {
			t.Errorf("preset %s: %v", p.Name, err)
		}
		seen[p.Name] = true
	}
	if _, ok := PresetByName("no such"); ok {
		t.Error("a preset that does not exist")
	}
	for _, c := range []struct {
		name  string
		types map[string]int
	}{ // as llama-quantize made the published file
		{"80b", map[string]int{"f32": 361, "q4_K": 409, "q6_K": 73}},
		{"80b-4layers", map[string]int{"f32": 31, "q4_K": 35, "q6_K": 7}},
	} {
		config, _ := PresetByName(c.name)
		specs, err := config.specs()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, s := range specs {
			got[s.kind.Name]++
		}
		if !reflect.DeepEqual(got, c.types) {
			t.Errorf("%s: types %v, want %v", c.name, got, c.types)
		}
	}
}

// TestRouterSpread: rows of the router differ in length as asked, on average they are as long as without.
func TestRouterSpread(t *testing.T) {
	length := func(spread string) (mean, std float64) {
		f := build(t, "layers = 1\nexperts = 400\nhidden = 256\nrouter_spread = "+spread)
		all := rows(t, f, "blk.0.ffn_gate_inp.weight")
		var sum, sq float64
		for _, row := range all {
			l := math.Sqrt(float64(quant.Dot(row, row)))
			sum, sq = sum+l, sq+l*l
		}
		n := float64(len(all))
		return sum / n, math.Sqrt(sq/n - sum/n*sum/n)
	}
	for _, c := range []struct {
		spread    string
		low, high float64
	}{{"0", 0.03, 0.06}, {"0.16", 0.15, 0.19}} { // the lengths of random rows of 256 differ by 0.044
		mean, std := length(c.spread)
		if math.Abs(mean/routerGain-1) > 0.03 || std/mean < c.low || std/mean > c.high {
			t.Errorf("spread %s: lengths %.3f ± %.3f", c.spread, mean, std)
		}
	}
}

// TestProgress: the last call tells that all is written, and an error ends the writing.
func TestProgress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	var last, total uint64
	if err := Default().WriteFileProgress(path, func(d, n uint64) error { last, total = d, n; return nil }); err != nil || last != total || last == 0 {
		t.Errorf("%v, %d of %d", err, last, total)
	}
	if err := Default().WriteFileProgress(path+"2", func(uint64, uint64) error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(path + "2*"); left != nil {
		t.Errorf("left %v", left)
	}
}
