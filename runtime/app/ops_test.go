package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/engine"
)

// peakFake is a machine that reads 4 GB/s and multiplies 1 G int8 a second.
func peakFake(t testing.TB) *fake {
	f := newFake(t)
	f.peak = engine.Peaks{Threads: 2, Read: 4e9, ReadBytes: 1 << 30, Ahead: 8192, Products: []engine.ProductPeak{{Format: "q4_K", Int: true, Rate: 1e9}}}
	return f
}

// TestBenchOps: the table by op, by layer and, with -v, by call: of a step, with waits apart.
func TestBenchOps(t *testing.T) {
	r := run(t, peakFake(t), "bench", "--ops", "-p", "0", "-n", "4", "-r", "2", "-t", "2")
	const want = `tg4: decode, 8 steps of 4.000 ms, 250.00 t/s, 2 threads
machine: 4.0 GB/s read from 1.00 GiB of weights, 8 KiB ahead; q4_K int8 1.0 G/s
a step: 3.81 MiB of weights, 0.00 MiB of state, 0.00 MiB of KV cache, 0.00 MiB of activations, 1.0 M int8 and 0.0 M f32 multiply-adds
at the machine's best: 1.000 ms a step, 1000.00 t/s; measured 25.0 % of that

| op (a step) | calls |       ms |  best ms | share | wait ms |   GB/s |    G/s | roofline |
|-------------|------:|---------:|---------:|------:|--------:|-------:|-------:|---------:|
| matmulQ4K   |     1 |    2.000 |    1.000 | 50.0% |   0.500 |   2.00 |    0.5 |    50.0% |
| norm        |     1 |    1.000 |    1.000 | 25.0% |   0.000 |   0.00 |    0.0 |     0.0% |
| total       |     2 |    3.000 |    2.000 | 75.0% |   1.000 |   1.33 |    0.3 |    33.3% |

| layer (a step) | calls |       ms |  best ms | share | wait ms |   GB/s |    G/s | roofline |
|----------------|------:|---------:|---------:|------:|--------:|-------:|-------:|---------:|
| delta moe      |     1 |    2.000 |    1.000 | 50.0% |   0.500 |   2.00 |    0.5 |    50.0% |
| head           |     1 |    1.000 |    1.000 | 25.0% |   0.000 |   0.00 |    0.0 |     0.0% |
| total          |     2 |    3.000 |    2.000 | 75.0% |   1.000 |   1.33 |    0.3 |    33.3% |

`
	r.check(t, 0, want)
	v := run(t, peakFake(t), "bench", "--ops", "-p", "0", "-n", "4", "-r", "1", "-v")
	if !strings.Contains(v.stdout, "| matmulQ4K_8x8 out-0 ") || !strings.Contains(v.stdout, "| norm_Tx8 result_norm ") {
		t.Errorf("-v lacks the calls:\n%s", v.stdout)
	}
}

// TestBenchOpsJSON: the same for programs, one phase an object; warmup and depth are not traced.
func TestBenchOpsJSON(t *testing.T) {
	args := []string{"bench", "--ops", "-p", "0", "-n", "0", "-pg", "8,3", "-d", "16", "-r", "2", "-o"}
	r := run(t, peakFake(t), append(args, "json")...)
	var all []opsReport
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || len(all) != 2 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	p, d := all[0], all[1]
	if p.Phase != "prompt" || p.Test != "pp8+tg3 @ d16" || p.Steps != 2 || p.Tokens != 16 || d.Phase != "decode" || d.Steps != 6 || d.Tokens != 6 {
		t.Errorf("%+v\n%+v", p, d)
	}
	if len(p.Lines) != 2 || p.Lines[0].Kernel != "matmulQ4K_8x8" || p.Lines[0].Class != "delta moe" || p.Lines[0].Calls != 2 || p.Lines[0].Work.Int != 16e6 || p.Lines[0].Work.Weights != 8e6 {
		t.Errorf("lines %+v", p.Lines)
	}
	if p.Machine.Read != 4e9 || p.Total.Calls != 4 || p.Total.Wait != 2*0.001 {
		t.Errorf("%+v", p.Total)
	}
	lines := run(t, peakFake(t), append(args, "jsonl")...)
	if n := strings.Count(lines.stdout, "\n"); n != 2 {
		t.Errorf("jsonl has %d lines", n)
	}
	for l := range strings.Lines(lines.stdout) {
		var one opsReport
		if err := json.Unmarshal([]byte(l), &one); err != nil || !slices.Contains([]string{"prompt", "decode"}, one.Phase) {
			t.Errorf("%v: %s", err, l)
		}
	}
	run(t, peakFake(t), append(args, "csv")...).check(t, 2, "", "--ops has no csv")
}
