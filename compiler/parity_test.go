package compiler

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"qnc/compiler/parity"
	"qnc/runtime/cpu"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
	"qnc/runtime/tokenizer"
)

// gopher is the model that ships with the project.
const gopher = "../examples/gopher-17m-q4_k_m.gguf"

// preciseTol bounds --precise against exact float32 arithmetic, relative to the largest logit.
const preciseTol = 1e-4

// defaultKLD stands for models whose llama.cpp figure is not known.
const defaultKLD = 0.0008

// llamaKLD is llama.cpp's own mean KL divergence to exact arithmetic (b11434,
// CPU with AVX-512, -c 256 -b 64 -ub 64, 3 chunks), by the file's ending.
var llamaKLD = map[string]float64{
	"f16": 0.000007, "q8_0": 0.000348, "q5_k_m": 0.000806, "q4_k_m": 0.000754, "legacy-q4_0": 0.000801, "merged-q4_0": 0.000801,
}

// someTokens is a fixed sequence within the vocabulary.
func someTokens(n, vocab int) []int32 {
	out := make([]int32, n)
	x := uint32(12345)
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = int32(x>>8) % int32(vocab)
	}
	return out
}

// sourceTokens is the start of this file in the model's own tokens.
func sourceTokens(t *testing.T, model string, n int) []int32 {
	t.Helper()
	f, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.New(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("parity_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return tok.Encode(string(text), false)[:n]
}

// divergence is the mean KL divergence of rows a from rows b, in nats.
func divergence(a, b [][]float32) float64 {
	total := 0.0
	for i := range b {
		p, q := logSoftmax(b[i]), logSoftmax(a[i])
		for j := range p {
			total += math.Exp(p[j]) * (p[j] - q[j])
		}
	}
	return total / float64(len(b))
}

func logSoftmax(x []float32) []float64 {
	top, sum := float64(slices.Max(x)), 0.0
	out := make([]float64, len(x))
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	for i, v := range x {
		out[i] = float64(v) - top - math.Log(sum)
	}
	return out
}

// checkInvariants: threads do not change a bit, nor do cuts at multiples of
// 64; with other cuts and decode the measure stays below tol.
func checkInvariants(t *testing.T, p *probe, tokens []int32, measure func(a, b [][]float32) float64, tol float64) {
	t.Helper()
	rows := all(len(tokens))
	whole := p.ask(request{Tokens: tokens, Rows: rows, Reset: true, Ubatch: 512, Threads: 1})
	for _, threads := range []int{2, 3, 5} {
		if err := sameBits(p.ask(request{Tokens: tokens, Rows: rows, Reset: true, Threads: threads}), whole); err != nil {
			t.Errorf("-t %d: %v", threads, err)
		}
	}
	for _, ub := range []int{64, 128, 192} {
		if err := sameBits(p.ask(request{Tokens: tokens, Rows: rows, Reset: true, Ubatch: ub, Threads: 2}), whole); err != nil {
			t.Errorf("-ub %d: %v", ub, err)
		}
	}
	for _, ub := range []int{1, 17, 100} {
		if d := measure(p.ask(request{Tokens: tokens, Rows: rows, Reset: true, Ubatch: ub}), whole); !(d <= tol) {
			t.Errorf("-ub %d: distance %g, want at most %g", ub, d, tol)
		}
	}
	one := p.ask(request{Tokens: tokens, Decode: true, Reset: true, Threads: 1})
	if d := measure(one, whole); !(d <= tol) {
		t.Errorf("decode: distance %g, want at most %g", d, tol)
	}
	if err := sameBits(p.ask(request{Tokens: tokens, Decode: true, Reset: true, Threads: 3}), one); err != nil {
		t.Errorf("decode with -t 3: %v", err)
	}
	// A prompt in two calls, then decode, as a chat does.
	p.ask(request{Tokens: tokens[:64], Reset: true, Ubatch: 512})
	p.ask(request{Tokens: tokens[64:128]})
	tail := p.ask(request{Tokens: tokens[128:140], Decode: true})
	if d := measure(tail, whole[128:140]); !(d <= tol) {
		t.Errorf("prompt, prompt, decode: distance %g, want at most %g", d, tol)
	}
}

// TestGopher checks the shipped model: precise against the evaluator, the
// quantised build against the exact logits of the same file.
func TestGopher(t *testing.T) {
	checkModel(t, gopher, "testdata/gopher-17m-q4_k_m.exact.kld")
}

// TestTargets checks the kernels of every target CPU that this machine can run
// but its best, which the other tests use.
func TestTargets(t *testing.T) {
	here := cpu.Detect()
	for _, target := range cpu.Targets {
		if here.Check(target) != nil || target.Name == here.Best().Name {
			continue
		}
		t.Run(target.Name, func(t *testing.T) {
			p := compileProbe(t, gopher, Options{Ctx: 512, TargetCPU: target.Name})
			limit := 1.2 * llamaKLD["q4_k_m"]
			checkInvariants(t, p, sourceTokens(t, gopher, 200), divergence, 2*limit)
			if got := meanKLD(t, p.path, "testdata/gopher-17m-q4_k_m.exact.kld", "64"); !(got <= limit) {
				t.Errorf("mean KLD %g, want at most %g", got, limit)
			}
		})
	}
}

func checkModel(t *testing.T, model, base string) {
	t.Run("precise", func(t *testing.T) {
		p := compileProbe(t, model, Options{Ctx: 512, Precise: true})
		tokens := someTokens(150, p.vocab)
		want := oracle(t, model, tokens)
		d := distance(p.ask(request{Tokens: tokens, Rows: all(len(tokens))}), want)
		t.Logf("prefill: max |Δlogit| / max |logit| = %.2g", d)
		if !(d <= preciseTol) {
			t.Errorf("prefill: distance %g from exact arithmetic, want at most %g", d, preciseTol)
		}
		d = distance(p.ask(request{Tokens: tokens, Decode: true, Reset: true}), want)
		t.Logf("decode: max |Δlogit| / max |logit| = %.2g", d)
		if !(d <= preciseTol) {
			t.Errorf("decode: distance %g from exact arithmetic, want at most %g", d, preciseTol)
		}
		checkInvariants(t, p, someTokens(200, p.vocab), distance, preciseTol)
	})
	t.Run("quantised", func(t *testing.T) {
		p := compileProbe(t, model, Options{Ctx: 512})
		name := strings.TrimSuffix(filepath.Base(base), ".exact.kld")
		limit := 1.2 * defaultKLD
		for end, kld := range llamaKLD {
			if strings.HasSuffix(name, end) {
				limit = 1.2 * kld
			}
		}
		// Two cuts may both be as far from exact as the limit, on opposite sides.
		checkInvariants(t, p, sourceTokens(t, model, 200), divergence, max(2*limit, 1e-6))
		if base == "" {
			return
		}
		for _, ub := range []string{"64", "17"} {
			got := meanKLD(t, p.path, base, ub)
			t.Logf("-ub %s: mean KLD %.6f, limit %.6f", ub, got, limit)
			if !(got <= limit) {
				t.Errorf("-ub %s: mean KLD %g, want at most %g", ub, got, limit)
			}
		}
	})
	t.Run("q8_0 cache", func(t *testing.T) {
		p := compileProbe(t, model, Options{Ctx: 512, TypeK: "q8_0", TypeV: "q8_0"})
		tokens := sourceTokens(t, model, 200)
		d := divergence(p.ask(request{Tokens: tokens, Rows: all(len(tokens))}), oracle(t, model, tokens))
		t.Logf("mean KLD %.6f", d)
		if !(d <= 4*defaultKLD) {
			t.Errorf("mean KLD %g from exact arithmetic, want at most %g", d, 4*defaultKLD)
		}
	})
}

var meanLine = regexp.MustCompile(`Mean +KLD: +([0-9.eE+-]+)`)

// meanKLD runs the program's perplexity command against a logits file.
func meanKLD(t *testing.T, program, base, ubatch string) float64 {
	t.Helper()
	out := runProgram(t, program, "perplexity", "-c", "256", "-b", "64", "-ub", ubatch, "--kl-divergence-base", base, "--kl-divergence")
	m := meanLine.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no mean KLD in\n%s", out)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func runProgram(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// TestSynthetic compares models of other shapes with the logits that another
// implementation computed for them; each file says which and how.
func TestSynthetic(t *testing.T) {
	cases, err := parity.Load("testdata/parity")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			cfg, err := synth.Parse(c.Description)
			if err != nil {
				t.Fatal(err)
			}
			model := filepath.Join(t.TempDir(), "model.gguf")
			if err := cfg.WriteFile(model); err != nil {
				t.Fatal(err)
			}
			p := compileProbe(t, model, Options{Ctx: 256, Precise: true})
			n := len(c.Tokens)
			for _, r := range []request{{Tokens: c.Tokens, Rows: all(n), Reset: true, Threads: 2}, {Tokens: c.Tokens, Decode: true, Reset: true}} {
				got := p.ask(r)
				for i, row := range c.Rows {
					if d := c.Diff(i, got[row]); !(d <= preciseTol) {
						t.Errorf("decode %v: row %d: distance %g from the reference, want at most %g", r.Decode, row, d, preciseTol)
					}
				}
			}
			checkInvariants(t, p, someTokens(200, p.vocab), distance, preciseTol)
		})
	}
}

// TestModels checks every model of the folder MODELS, with the reference
// files in its folder ref: make parity MODELS=DIR.
func TestModels(t *testing.T) {
	dir := os.Getenv("MODELS")
	if dir == "" {
		t.Skip("MODELS is not set: make parity MODELS=DIR checks a folder of models")
	}
	models, _ := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if len(models) == 0 {
		t.Fatalf("no *.gguf in %s", dir)
	}
	for _, m := range models {
		name := strings.TrimSuffix(filepath.Base(m), ".gguf")
		t.Run(name, func(t *testing.T) {
			base := ""
			files, _ := filepath.Glob(filepath.Join(dir, "ref", "*.exact.kld"))
			for _, f := range files {
				if strings.HasSuffix(name, strings.TrimSuffix(filepath.Base(f), ".exact.kld")) {
					base = f
				}
			}
			checkModel(t, m, base)
			checkReference(t, dir, m, name)
			checkPattern(t, dir, m, name)
		})
	}
}

// checkReference compares with exact logits and greedy continuations: files
// ref/<type>-*.logits.f32 (with .tokens.json) and ref/<type>-greedy.jsonl.
func checkReference(t *testing.T, dir, model, name string) {
	files, _ := filepath.Glob(filepath.Join(dir, "ref", "*.logits.f32"))
	for _, f := range files {
		typ, _, _ := strings.Cut(filepath.Base(f), "-")
		if !strings.HasSuffix(name, "-"+typ) {
			continue
		}
		p := compileProbe(t, model, Options{Ctx: 512, Precise: true})
		var tokens []int32
		readJSON(t, f+".tokens.json", &tokens)
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want := make([][]float32, len(tokens))
		for i := range want {
			want[i] = make([]float32, p.vocab)
			for j := range want[i] {
				want[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*(i*p.vocab+j):]))
			}
		}
		d := distance(p.ask(request{Tokens: tokens, Rows: all(len(tokens))}), want)
		t.Logf("%s: max |Δlogit| / max |logit| = %.2g", filepath.Base(f), d)
		if !(d <= preciseTol) {
			t.Errorf("%s: distance %g, want at most %g", f, d, preciseTol)
		}
		checkGreedy(t, p, filepath.Join(dir, "ref", typ+"-greedy.jsonl"))
	}
}

// checkGreedy follows the reference's continuations: where its two best
// logits are more than 1e-2 apart, the best token must be the same.
func checkGreedy(t *testing.T, p *probe, path string) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	agreed := 0
	for line := range strings.Lines(string(data)) {
		var c struct {
			Prompt []int32   `json:"prompt_tokens"`
			Tokens []int32   `json:"tokens"`
			Gaps   []float64 `json:"top_two_gap"`
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(c.Prompt) == 0 || len(c.Tokens) == 0 || len(c.Gaps) != len(c.Tokens) {
			t.Fatalf("%s: a line has %d prompt tokens, %d tokens, %d gaps", path, len(c.Prompt), len(c.Tokens), len(c.Gaps))
		}
		last := p.ask(request{Tokens: c.Prompt, Rows: []int{len(c.Prompt) - 1}, Reset: true})[0]
		for i, want := range c.Tokens {
			if c.Gaps[i] > 1e-2 {
				if got := argmax(last); got != want {
					t.Errorf("%s: step %d: token %d, want %d (gap %g)", path, i, got, want, c.Gaps[i])
					break
				}
				agreed++
			}
			last = p.ask(request{Tokens: []int32{want}, Decode: true})[0]
		}
	}
	t.Logf("%s: %d greedy tokens agree", filepath.Base(path), agreed)
}

func argmax(x []float32) int32 {
	return int32(slices.Index(x, slices.Max(x)))
}

// patternPPL holds, by the file's ending, the exact perplexity of pattern.txt
// for 1 and 2 chunks and llama.cpp's (b11434, -c 256 -b 64 -ub 64).
var patternPPL = map[string][4]float64{
	"f16": {1.52071, 1.51345, 1.5207, 1.5134}, "q8_0": {1.52257, 1.51399, 1.5187, 1.5116}, "q5_k_m": {1.51302, 1.50376, 1.5096, 1.5004},
	"q4_k_m": {1.51439, 1.50562, 1.5075, 1.4989}, "legacy-q4_0": {1.51584, 1.50725, 1.5090, 1.5002}, "merged-q4_0": {1.51584, 1.50725, 1.5090, 1.5002},
}

var finalLine = regexp.MustCompile(`Final estimate: PPL = ([0-9.]+)`)

// checkPattern follows the protocol of the seed report on pattern.txt.
func checkPattern(t *testing.T, dir, model, name string) {
	text := filepath.Join(dir, "pattern.txt")
	for end, ref := range patternPPL {
		if !strings.HasSuffix(name, "gopher-17m-"+end) {
			continue
		}
		p := compileProbe(t, model, Options{Ctx: 512})
		for i := range 2 {
			m := finalLine.FindStringSubmatch(runProgram(t, p.path, "perplexity", "-f", text, "-c", "256", "-b", "64", "-ub", "64", "--chunks", strconv.Itoa(i+1)))
			if m == nil {
				t.Fatal("no final estimate")
			}
			got, _ := strconv.ParseFloat(m[1], 64)
			limit := 1.2*math.Abs(ref[2+i]-ref[i]) + 5e-4
			off := math.Abs(got - ref[i])
			if end == "f16" {
				limit, off = 5e-4, math.Abs(got-ref[2+i])
			}
			t.Logf("pattern.txt, %d chunk(s): PPL %.4f, exact %.4f, llama.cpp %.4f", i+1, got, ref[i], ref[2+i])
			if !(off <= limit+1e-9) {
				t.Errorf("pattern.txt, %d chunk(s): PPL %g is %g off, want at most %g", i+1, got, off, limit)
			}
		}
	}
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// targetShapes are models on which the panels of vector targets are not full:
// odd vocabularies, experts of 24 to 96 rows, formats in one or three blocks a row.
var targetShapes = map[string]string{
	"q8_0": "hidden = 64\nvocab = 263\nexperts = 7\nexperts_used = 3\nexpert_ff = 32\nshared_ff = 96\ntype = q8_0\n",
	"q4_0": "hidden = 96\nvocab = 271\nexperts = 9\nexperts_used = 4\nexpert_ff = 40\nshared_ff = 24\ntype = q4_0\ntype.ffn_down_exps = bf16\n" +
		"type.ffn_down_shexp = f32\nmerged = true\nkey_heads = 3\nvalue_heads = 9\nstate = 32\n",
	"q4_K tied": "hidden = 512\nvocab = 1041\nexperts = 6\nexperts_used = 2\nexpert_ff = 40\nshared_ff = 72\ntype = q4_K\ntied = true\n" +
		"type.token_embd = q6_K\ntype.attn_v = q6_K\ntype.ffn_down_exps = f16\ntype.ffn_down_shexp = bf16\nkey_heads = 4\nvalue_heads = 8\nstate = 32\n" +
		"heads = 8\nkv_heads = 2\nhead_dim = 32\nrope_dims = 8\n",
}

// TestTargetShapes compares the machine's best target with plain Go on shapes
// of their own, and keeps sequences apart.
func TestTargetShapes(t *testing.T) {
	for name, text := range targetShapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := synth.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			model := filepath.Join(t.TempDir(), "model.gguf")
			if err := cfg.WriteFile(model); err != nil {
				t.Fatal(err)
			}
			best := compileProbe(t, model, Options{Ctx: 768, Seqs: 3})
			plain := compileProbe(t, model, Options{Ctx: 256, TargetCPU: "portable"})
			tokens := someTokens(200, best.vocab)
			exact := oracle(t, model, tokens)
			whole := request{Tokens: tokens, Rows: all(200), Reset: true, Threads: 2}
			v, p := divergence(best.ask(whole), exact), divergence(plain.ask(whole), exact)
			t.Logf("mean KLD to exact: %.6f, plain Go %.6f", v, p)
			if !(v <= 2*p+1e-4) {
				t.Errorf("mean KLD to exact %g, plain Go has %g", v, p)
			}
			checkInvariants(t, best, tokens, divergence, 10*p+1e-4)

			other := someTokens(230, best.vocab)[100:]
			want := best.ask(request{Tokens: other, Rows: all(130), Seq: 2, Reset: true, Threads: 3})
			best.ask(request{Tokens: tokens[:70], Reset: true})
			best.ask(request{Tokens: other[:64], Seq: 2, Reset: true})
			best.ask(request{Tokens: tokens[:5], Seq: 1, Reset: true})
			if err := sameBits(best.ask(request{Tokens: other[64:], Rows: all(66), Seq: 2}), want[64:]); err != nil {
				t.Errorf("sequence 2 beside others: %v", err)
			}
		})
	}
}

// TestTargetArch: a program for another architecture gets no kernels of this one.
func TestTargetArch(t *testing.T) {
	t.Setenv("GOARCH", "riscv64")
	o := &Options{}
	if err := o.normalise(); err != nil || o.TargetCPU != "portable" {
		t.Errorf("native for another architecture is %q, %v", o.TargetCPU, err)
	}
	err := (&Options{TargetCPU: "x86-64-v3"}).normalise()
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "portable") {
		t.Errorf("x86-64-v3 for another architecture: %v", err)
	}
}
