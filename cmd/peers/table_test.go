package main

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

var nan = math.NaN()

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1}, 2.5}, {[]float64{nan, 7}, 7}, {[]float64{5}, 5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
	if got := median([]float64{nan}); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

// TestRatio: each round by itself, so a slow round of both does not count.
func TestRatio(t *testing.T) {
	fast, low := row{form: "%.1f"}, row{form: "%.1f", low: true}
	for _, c := range []struct {
		row          *row
		mine, theirs []float64
		want         string
	}{
		{&fast, []float64{100, 40, 120}, []float64{50, 20, 40}, "2.00 (2.00 to 3.00)"},
		{&low, []float64{0.5, 1}, []float64{2, 2}, "3.00 (2.00 to 4.00)"},
		{&fast, []float64{100, 40}, []float64{nan, 20}, "2.00"},
		{&fast, []float64{100}, []float64{nan}, "–"},
		{&row{plain: true}, []float64{1}, []float64{2}, ""},
	} {
		if got := c.row.ratio(c.mine, c.theirs); got != c.want {
			t.Errorf("%v over %v: %q, want %q", c.mine, c.theirs, got, c.want)
		}
	}
}

func TestBetter(t *testing.T) {
	get := func(name string) func(values) float64 { return func(v values) float64 { return v.get(name) } }
	fast, low := row{of: get("x"), scale: 1}, row{of: get("x"), scale: 1, low: true}
	share := row{of: func(v values) float64 { return v.get("x") / v.get("y") }, rank: get("x"), scale: 1}
	for _, c := range []struct {
		what string
		row  *row
		a, b values
		want bool
	}{
		{"faster", &fast, values{"x": 2}, values{"x": 1}, true},
		{"slower", &fast, values{"x": 1}, values{"x": 2}, false},
		{"less", &low, values{"x": 1}, values{"x": 2}, true},
		{"more", &low, values{"x": 2}, values{"x": 1}, false},
		{"the only one", &fast, values{"x": 1}, values{}, true},
		{"none", &fast, values{}, values{"x": 1}, false},
		{"a larger share of less", &share, values{"x": 1, "y": 1}, values{"x": 2, "y": 4}, false},
	} {
		if got := c.row.better([]values{c.a}, []values{c.b}); got != c.want {
			t.Errorf("%s is better: %v", c.what, got)
		}
	}
}

// TestTable is a whole table of two rounds.
func TestTable(t *testing.T) {
	o := &options{model: "dir/m.gguf", llama: "l", ik: "i", rounds: 2, reps: 3, threads: 2, more: 4, prompt: 512, gen: 128, depths: []int{8192}, deepGen: 32, kvs: []string{"f16", "q8_0"}}
	round := func(pp, tg, deep, pp4, start, memory float64) values {
		return values{"pp512 ub512 t2": pp, "tg128 t2": tg, "tg32 d8192 t2": deep, "pp512 ub512 t4": pp4, startKey: start, memoryKey: memory * (1 << 30)}
	}
	r := &race{o: o, values: map[string][]values{
		ours:     {round(800, 60, 54, 720, 0.1, 4), round(1000, 62, 58.9, 950, 0.2, 4)},
		llama:    {round(200, 50, 40, 190, 20, 8), round(250, 50, 40, 190, 22, 8)},
		ik:       {round(500, 60, 51, 250, 1, 4.5), round(400, 61, 50, 250, 1.2, 4.5)},
		ikRepack: {round(600, 50, 40, 300, 9, 4.75), round(700, 52, 40, 300, 8, 4.75)},
	}, packBytes: 3e9, packSecond: 2, compileSeconds: 5, plan: plan{Weights: 1 << 30, Arena: 1 << 20, Recurrent: 2 << 20, KV: 3 << 20}, commands: []string{"qnc compile m.gguf"}}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n\n")
	const want = `| what | qnc | llama.cpp | ratio | ik_llama.cpp | with | ratio |
|---|---|---|---|---|---|---|
| prompt, pp512 at ub 512, t/s | 900.0 (800.0 to 1000.0) | 225.0 (200.0 to 250.0) | 4.00 (4.00 to 4.00) | 650.0 (600.0 to 700.0) | -fa 1 -fmoe 1 -rtr 1 | 1.38 (1.33 to 1.43) |
| decode, tg128, t/s | 61.0 (60.0 to 62.0) | 50.0 (50.0 to 50.0) | 1.22 (1.20 to 1.24) | 60.5 (60.0 to 61.0) | -fa 1 -fmoe 1 | 1.01 (1.00 to 1.02) |
| decode, tg32 at 8192, f16, t/s | 56.5 (54.0 to 58.9) | 40.0 (40.0 to 40.0) | 1.41 (1.35 to 1.47) | 50.5 (50.0 to 51.0) | -fa 1 -fmoe 1 | 1.12 (1.06 to 1.18) |
| … of depth 0, 8192, f16 | 0.93 (0.90 to 0.95) | 0.80 (0.80 to 0.80) |  | 0.83 (0.82 to 0.85) | -fa 1 -fmoe 1 |  |
| decode, tg32 at 8192, q8_0, t/s | – | – | – | – | – | – |
| … of depth 0, 8192, q8_0 | – | – |  | – | – |  |
| pp512 with -t 4 of -t 2 | 0.93 (0.90 to 0.95) | 0.85 (0.76 to 0.95) |  | 0.46 (0.43 to 0.50) | -fa 1 -fmoe 1 -rtr 1 |  |
| tg128 with -t 4 of -t 2 | – | – |  | – | – |  |
| start to the first token, s | 0.15 (0.10 to 0.20) | 21.00 (20.00 to 22.00) | 155.00 (110.00 to 200.00) | 1.10 (1.00 to 1.20) | -fa 1 -fmoe 1 | 8.00 (6.00 to 10.00) |
| resident memory at most, GiB | 4.00 (4.00 to 4.00) | 8.00 (8.00 to 8.00) | 2.00 (2.00 to 2.00) | 4.50 (4.50 to 4.50) | -fa 1 -fmoe 1 | 1.12 (1.12 to 1.12) |

Packing: 3.00 GB in 2.0 s, 1.50 GB/s, beside the build of the program; the whole compile 5.0 s.
Planned memory: weights 1024.0 MiB, arena 1.0, recurrent state 2.0, KV cache 3.0.
Start of ik_llama.cpp without repacking 1.10 (1.00 to 1.20) s, with it (-rtr 1) 8.50 (8.00 to 9.00) s.

    qnc compile m.gguf
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestJobs: every number that a row asks for is one that a job brings.
func TestJobs(t *testing.T) {
	o := &options{threads: 2, more: 4, prompt: 512, big: 2048, gen: 128, depths: []int{8192, 65536}, deepGen: 32, kvs: []string{"f16", "q8_0"}, reps: 3}
	all := values{startKey: 1, memoryKey: 1}
	for _, j := range o.jobs() {
		for _, n := range j.threads {
			for _, d := range depthsOf(&j) {
				suffix := ""
				if j.kv != plainKV {
					suffix = " " + j.kv
				}
				if j.prompt > 0 {
					all[testName(j.prompt, 0, d, j.ubatch, n)+suffix] = 1
				}
				if j.gen > 0 {
					all[testName(0, j.gen, d, 0, n)+suffix] = 1
				}
			}
		}
	}
	for _, w := range o.rows() {
		if x := w.of(all); math.IsNaN(x) {
			t.Errorf("row %q has no job", w.what)
		}
	}
	if n := o.ctx(); n != 65792 {
		t.Errorf("context %d, want 65792", n)
	}
}

func depthsOf(j *job) []int {
	if len(j.depths) == 0 {
		return []int{0}
	}
	return j.depths
}

func TestArguments(t *testing.T) {
	o := &options{model: "m.gguf"}
	j := &job{gen: 32, depths: []int{8192}, ubatch: 512, threads: []int{2}, reps: 1, kv: "q8_0"}
	start := &job{prompt: 1, ubatch: 512, threads: []int{2, 4}, reps: 1, kv: "f16", start: true}
	for _, c := range []struct {
		got  []string
		want string
	}{
		{oursArgs(o, j), "bench -o json -r 1 -b 2048 -ub 512 -t 2 -p 0 -n 32 -d 8192"},
		{llamaArgs(o, j), "-m m.gguf -o json -r 1 -b 2048 -ub 512 -t 2 -p 0 -n 32 -d 8192 -ctk q8_0 -ctv q8_0 -fa 1"},
		{ikArgs(o, j, "1"), "-m m.gguf -fa 1 -fmoe 1 -rtr 1 -o json -r 1 -b 2048 -ub 512 -t 2 -p 0 -n 0 -gp 8192,32 -ctk q8_0 -ctv q8_0"},
		{oursArgs(o, start), "bench -o json -r 1 -b 2048 -ub 512 -t 2,4 -p 1 -n 0 --no-warmup"},
		{llamaArgs(o, start), "-m m.gguf -o json -r 1 -b 2048 -ub 512 -t 2,4 -p 1 -n 0 --no-warmup"},
		{ikArgs(o, start, "0"), "-m m.gguf -fa 1 -fmoe 1 -rtr 0 -o json -r 1 -b 2048 -ub 512 -t 2,4 -p 1 -n 0 -w 0"},
	} {
		if !reflect.DeepEqual(c.got, strings.Fields(c.want)) {
			t.Errorf("got  %v\nwant %s", c.got, c.want)
		}
	}
}
