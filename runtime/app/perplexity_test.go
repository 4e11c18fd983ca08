package app

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"qnc/runtime/kld"
)

// prose is a text of many tokens without structure.
func prose(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d %x;", i*i, i*7919)
	}
	return b.String()
}

// losses are -log p of the scored tokens of a text, worked out from the fake's
// logits in float64 without any of the code under test.
func losses(t *testing.T, f *fake, tokens []int32, c, chunk int) []float64 {
	t.Helper()
	var all []float64
	row := make([]float32, f.info.NumVocab)
	for i := range chunk {
		win := tokens[i*c : (i+1)*c]
		for r := c / 2; r < c-1; r++ {
			f.row(row, win[:r+1])
			sum := 0.0
			for _, x := range row {
				sum += math.Exp(float64(x))
			}
			all = append(all, math.Log(sum)-float64(row[win[r+1]]))
		}
	}
	return all
}

// pplText is what llama-perplexity prints for these losses.
func pplText(all []float64, c int) string {
	var b strings.Builder
	var sum, sum2 float64
	rows := c - 1 - c/2
	for i, l := range all {
		sum += l
		sum2 += l * l
		if (i+1)%rows == 0 {
			fmt.Fprintf(&b, "[%d]%.4f,", (i+1)/rows, math.Exp(sum/float64(i+1)))
		}
	}
	n := float64(len(all))
	mean := sum / n
	ppl := math.Exp(mean)
	fmt.Fprintf(&b, "\nFinal estimate: PPL = %.4f +/- %.5f\n", ppl, ppl*math.Sqrt((sum2/n-mean*mean)/(n-1)))
	return b.String()
}

var number = regexp.MustCompile(`\d+\.\d+`)

// sameNumbers compares two texts whose numbers may differ by tol, relatively.
func sameNumbers(t *testing.T, got, want string, tol float64) {
	t.Helper()
	if g, w := number.ReplaceAllString(got, "N"), number.ReplaceAllString(want, "N"); g != w {
		t.Errorf("got\n%s\nwant\n%s", got, want)
		return
	}
	all := number.FindAllString(want, -1)
	for i, g := range number.FindAllString(got, -1) {
		x, _ := strconv.ParseFloat(g, 64)
		y, _ := strconv.ParseFloat(all[i], 64)
		if math.Abs(x-y) > tol*math.Abs(y)+1e-4 {
			t.Errorf("number %d is %s, want %s", i, g, all[i])
		}
	}
}

func TestPerplexity(t *testing.T) {
	text := prose(120)
	tokens := vocab(t).Encode(text, false)
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args      string
		ctx       int
		maxChunks int
	}{
		{"-c 64", 64, 1 << 20},
		{"-c 64 --chunks 2", 64, 2},
		{"-c 33 -b 16 -ub 16", 33, 1 << 20},
		{"-c 100 -b 48 -ub 32", 100, 1 << 20}, // steps of 32 and 16
		{"", 256, 1 << 20},                    // at most what was compiled
	} {
		f := newFake(t)
		want := pplText(losses(t, f, tokens, c.ctx, min(c.maxChunks, len(tokens)/c.ctx)), c.ctx)
		r := run(t, f, append([]string{"perplexity", "-f", file}, strings.Fields(c.args)...)...)
		r.check(t, 0, r.stdout)
		sameNumbers(t, r.stdout, want, 1e-6)
		if c.args == "-c 100 -b 48 -ub 32" {
			var sizes []int
			for _, p := range f.prompts[:5] {
				sizes = append(sizes, len(p))
			}
			if !slices.Equal(sizes, []int{32, 16, 32, 16, 4}) {
				t.Errorf("steps of %v tokens", sizes)
			}
		}
	}
	r := run(t, newFake(t), "perplexity", "-f", file, "-c", "64", "--json")
	var v struct{ PPL float64 }
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || !strings.HasPrefix(r.stderr, "[1]") {
		t.Errorf("--json: %v, stdout %q, stderr %q", err, r.stdout, r.stderr)
	}
}

func TestPerplexityErrors(t *testing.T) {
	run(t, newFake(t), "perplexity", "-p", "x").check(t, 1, "",
		fmt.Sprintf("the text has %d tokens, but a window of 256 needs at least 512: use a longer text or a smaller -c", len(vocab(t).Encode("x", false))))
	run(t, newFake(t), "perplexity", "-p", "x", "-c", "2").check(t, 2, "", "-c 2: a window has at least 4 tokens")
	run(t, newFake(t), "perplexity", "-p", prose(100), "-c", "64", "--chunks", "0").check(t, 2, "", "--chunks 0: nothing to evaluate")
	run(t, newFake(t), "perplexity", "--kl-divergence").check(t, 2, "", "--kl-divergence: needs the logits file")
	run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", "no/such").check(t, 1, "", "gopher: no/such: no such file or directory\n")
	run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", "app.go").check(t, 3, "", "app.go: not a file of log-probabilities")
	// A text is not escaped and its special tokens are plain text.
	f := newFake(t)
	run(t, f, "perplexity", "-p", strings.Repeat(`<|im_end|>\n`, 100), "-c", "16", "--chunks", "1")
	if got, want := f.prompts[0], vocab(t).Encode(strings.Repeat(`<|im_end|>\n`, 100), false)[:16]; !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
}

func TestKLDivergence(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.kld")
	text := prose(120)
	f := newFake(t)
	plain := run(t, f, "perplexity", "-p", text, "-c", "64")
	r := run(t, newFake(t), "perplexity", "-p", text, "-c", "64", "--kl-divergence-base", base)
	r.check(t, 0, r.stdout)
	sameNumbers(t, r.stdout, plain.stdout, 1e-5)
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files: %v", left)
	}
	k, err := kld.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	k.Close()
	tokens := vocab(t).Encode(text, false)
	if k.NumCtx != 64 || k.NumChunk != len(tokens)/64 || k.NumVocab != 4096 || !slices.Equal(k.Tokens, tokens[:64*k.NumChunk]) {
		t.Errorf("header %d %d %d", k.NumCtx, k.NumChunk, k.NumVocab)
	}

	// The same model: no divergence. The text comes from the file.
	r = run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", base)
	for _, want := range []string{
		"\n" + kld.ChunkHead + "\n   1    ", "\n   2    ",
		"\n====== Perplexity statistics ======\nMean PPL(Q)                   : ",
		"\nMean    KLD:   0.0000", "\nSame top p: 100.000 ± 0.000 %\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, r.stdout)
		}
	}
	if r.code != 0 || r.stderr != "" {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}

	// Another model differs, and in steps of any size by the same.
	other := func(args ...string) string {
		f := newFake(t)
		f.next = func(seq []int32) int32 { return seq[len(seq)-1] }
		return run(t, f, append([]string{"perplexity", "--kl-divergence", "--kl-divergence-base", base, "--json"}, args...)...).stdout
	}
	a, b := other(), other("-b", "24", "-ub", "8")
	var v map[string]float64
	if err := json.Unmarshal([]byte(a), &v); err != nil || v["kld_mean"] < 1 || v["same_top"] > 0.1 || v["n_chunk"] != float64(k.NumChunk) {
		t.Errorf("%v: %s", err, a)
	}
	if a != b {
		t.Errorf("other steps, other numbers:\n%s%s", a, b)
	}
	// Few rows are told apart from statistics.
	r = run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", base, "--chunks", "1")
	if r.code != 0 || strings.Contains(r.stdout, "=====") || !strings.Contains(r.stderr, "31 rows are too few for statistics") {
		t.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestKLDivergenceRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.kld")
	write := func(ctx, vocab int) {
		h := &kld.Header{NumCtx: ctx, NumVocab: vocab, NumChunk: 1, Tokens: make([]int32, ctx)}
		w, err := kld.Create(path, h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Rows()*h.RowBytes())); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	write(512, 4096)
	run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", path).check(t, 2, "",
		"its window is 512 tokens, this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher -c 512")
	write(16, 100)
	run(t, newFake(t), "perplexity", "--kl-divergence", "--kl-divergence-base", path).check(t, 3, "",
		"its vocabulary has 100 tokens, this model's 4096: it is of another model")
}

func TestPerplexityInterrupted(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "base.kld")
	if err := os.WriteFile(base, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	w := newWorld(t, f, "perplexity", "-p", prose(120), "-c", "64", "--kl-divergence-base", base)
	n := 0
	f.onPrompt = func() error {
		if n++; n == 3 {
			w.signals <- os.Interrupt
		}
		if n > 3 { // time for the signal to arrive
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	}
	r := w.run()
	if r.code != 130 || r.stderr != "" {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	if b, _ := os.ReadFile(base); string(b) != "old" {
		t.Errorf("the old file has %d bytes now", len(b))
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A second interrupt ends the program at once, and still nothing is left.
func TestPerplexityInterruptedTwice(t *testing.T) {
	dir := t.TempDir()
	f := newFake(t)
	w := newWorld(t, f, "perplexity", "-p", prose(120), "-c", "64", "--kl-divergence-base", filepath.Join(dir, "x"))
	hold := make(chan struct{})
	defer close(hold)
	f.onPrompt = func() error {
		w.signals <- os.Interrupt
		w.signals <- os.Interrupt
		<-hold
		return nil
	}
	go w.run()
	if code := <-w.exited; code != 130 {
		t.Errorf("exit code %d", code)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
