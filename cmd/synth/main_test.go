package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"qnc/runtime/fault"
	"qnc/runtime/gguf/synth"
)

const small = "layers = 2\ninterval = 2\nexperts = 16\nrouter_spread = 0.2\n"

// routed is what small's routers do with 100 tokens.
const routed = `experts of 100 random tokens, tokens per expert

| block | min | p10 | p25 | median | p75 | p90 | max | mean | unused | Gini |
|---|---|---|---|---|---|---|---|---|---|---|
| 0 | 3 | 7 | 8 | 10 | 16 | 23 | 26 | 12.5 | 0 | 0.28 |
| 1 | 4 | 7 | 9 | 12 | 15 | 23 | 23 | 12.5 | 0 | 0.24 |
| all | 3 | 6 | 8 | 11 | 16 | 23 | 26 | 12.5 | 0 | 0.26 |

| tokens | experts |
|---|---|
| 2 to 3 | 1 |
| 4 to 7 | 5 |
| 8 to 15 | 17 |
| 16 to 31 | 9 |
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDeterministic: file and histogram depend on the description alone.
func TestDeterministic(t *testing.T) {
	text := write(t, "small.txt", small)
	out := filepath.Join(filepath.Dir(text), "small.gguf")
	var files [2][]byte
	for i := range files {
		var stdout, stderr bytes.Buffer
		if err := run(context.Background(), []string{"-tokens", "100", text, out}, &stdout, &stderr); err != nil {
			t.Fatal(err)
		}
		if stdout.String() != routed {
			t.Errorf("got\n%s\nwant\n%s", stdout.String(), routed)
		}
		if !strings.HasPrefix(stderr.String(), out+": ") || strings.Contains(stderr.String(), "\r") {
			t.Errorf("stderr %q", stderr.String())
		}
		var err error
		if files[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files of one description differ")
	}
}

func TestPrint(t *testing.T) {
	var stdout bytes.Buffer
	if err := run(context.Background(), []string{"-print", "80b-4layers"}, &stdout, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	got, err := synth.Parse(stdout.String())
	want, _ := synth.PresetByName("80b-4layers")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%s", err, stdout.String())
	}
}

func TestErrors(t *testing.T) {
	bad, out := write(t, "bad.txt", "layers = 0"), filepath.Join(t.TempDir(), "x.gguf")
	for _, c := range []struct {
		args []string
		code fault.Code
		want string
	}{
		{nil, fault.Usage, "0 operands"},
		{[]string{"-print", "70b"}, fault.Usage, "70b: no preset and no file: want default, 80b-4layers or 80b"},
		{[]string{"70b", out}, fault.Usage, "70b: no preset"},
		{[]string{"-tokens", "-1", "default", out}, fault.Usage, "-tokens -1"},
		{[]string{bad, out}, fault.Usage, "layers: 0 is outside"},
		{[]string{"-routing", bad}, fault.Model, "bad.txt"},
		{[]string{"-routing", write(t, "none.gguf", "")}, fault.Model, "none.gguf"},
		{[]string{"-x"}, fault.Usage, "-x"},
	} {
		err := run(context.Background(), c.args, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v (code %d), want %q (code %d)", c.args, err, fault.CodeOf(err), c.want, c.code)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("an error left a file")
	}
}

// TestHostile: a file whose tensors contradict each other is an error.
func TestHostile(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"tensor.blk.1.ffn_gate_inp.weight = f32 32 16", "blk.1.ffn_gate_inp.weight: rows of 32, want 64"},
		{"tensor.blk.0.post_attention_norm.weight = f32 64 2", "block 0: 2 experts of 16, 2 norms"},
		{"meta.qwen3next.expert_used_count = u32 17", "block 0: 17 experts of 16"},
		{"meta.qwen3next.expert_used_count = u32 0", "block 0: 0 experts"},
		{"omit = token_embd.weight", "no experts"},
		{"omit = blk.0.ffn_gate_inp.weight", "no router"},
	} {
		text := write(t, "m.txt", small+c.line)
		out := filepath.Join(filepath.Dir(text), "m.gguf")
		err := run(context.Background(), []string{text, out}, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
}

// TestInterrupt: an interrupted run leaves nothing.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	err := run(ctx, []string{"default", filepath.Join(dir, "x.gguf")}, &bytes.Buffer{}, &bytes.Buffer{})
	left, _ := os.ReadDir(dir)
	if !errors.Is(err, context.Canceled) || len(left) != 0 {
		t.Errorf("%v, left %v", err, left)
	}
}

func TestStatistics(t *testing.T) {
	for _, c := range []struct {
		sorted []int
		want   float64
	}{{[]int{3, 3, 3, 3}, 0}, {[]int{0, 0, 0, 8}, 0.75}, {[]int{1, 2, 3, 4}, 0.25}, {[]int{0, 0}, 0}} {
		if got := gini(c.sorted); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("gini(%v) = %v, want %v", c.sorted, got, c.want)
		}
	}
	for _, c := range []struct {
		counts []int
		want   []bin
	}{
		{[]int{0, 1, 2, 3, 4, 8}, []bin{{0, 0, 1}, {1, 1, 1}, {2, 3, 2}, {4, 7, 1}, {8, 15, 1}}},
		{[]int{5, 17}, []bin{{4, 7, 1}, {8, 15, 0}, {16, 31, 1}}},
		{[]int{0}, []bin{{0, 0, 1}}},
	} {
		if got := histogram(c.counts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("histogram(%v) = %v, want %v", c.counts, got, c.want)
		}
	}
	if got := top([]float32{1, 5, 5, 2}, 3); !reflect.DeepEqual(got, []int{1, 2, 3}) {
		t.Errorf("top %v", got)
	}
}
