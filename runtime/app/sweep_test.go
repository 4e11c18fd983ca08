package app

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// numbers replaces times and rates.
func numbers(s string) string {
	return regexp.MustCompile(` *\d+\.\d+`).ReplaceAllString(s, " X")
}

func TestSweepTable(t *testing.T) {
	f := newFake(t)
	r := run(t, f, "sweep-bench", "-c", "48", "-ub", "16", "-t", "1,2")
	const table = `
sweep-bench: n_kv_max = 48, n_batch = 128, n_ubatch = 16, flash_attn = 1, n_gpu_layers = 0, n_threads = N, n_threads_batch = N

|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |
|-------|--------|--------|----------|----------|----------|----------|
|    16 |      4 |      0 | X | X | X | X |
|    16 |      4 |     16 | X | X | X | X |
|    16 |      4 |     32 | X | X | X | X |
`
	want := strings.ReplaceAll(table, "= N", "= 1") + strings.ReplaceAll(table, "= N", "= 2")
	if got := numbers(r.stdout); r.code != 0 || r.stderr != "" || got != want {
		t.Errorf("exit %d %s\n%s\nwant\n%s", r.code, r.stderr, got, want)
	}
	if f.threads != [2]int{2, 2} || f.ubatch != 16 {
		t.Errorf("threads %v, ubatch %d", f.threads, f.ubatch)
	}
	r = run(t, newFake(t), "sweep-bench", "-c", "16", "-ub", "16", "-r", "2")
	const spread = `
|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |   ± PP |   ± TG |
|-------|--------|--------|----------|----------|----------|----------|--------|--------|
|    16 |      4 |      0 | X | X | X | X | X | X |
`
	if got := numbers(r.stdout); !strings.HasSuffix(got, spread) {
		t.Errorf("with -r 2:\n%s", got)
	}
}

// TestSweepWork: every measurement starts at its row's length, and what was
// generated is taken back before the prompt.
func TestSweepWork(t *testing.T) {
	f := newFake(t)
	var decoded, prompted []int // lengths before each step
	f.onDecode = func(n int) { decoded = append(decoded, n-1) }
	f.onPrompt = func() error { prompted = append(prompted, len(f.seq)); return nil }
	r := run(t, f, "sweep-bench", "-c", "70", "-ub", "16", "-n", "2", "-r", "2", "--sweep-stride", "2", "--no-warmup")
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	if want := []int{0, 1, 0, 1, 32, 33, 32, 33}; !slices.Equal(decoded, want) {
		t.Errorf("tokens generated at %v, want %v", decoded, want)
	}
	if want := []int{0, 0, 16, 32, 32, 48}; !slices.Equal(prompted, want) {
		t.Errorf("prompts at %v, want %v", prompted, want)
	}
	if n := strings.Count(r.stdout, "|    16 |      2 |"); n != 2 {
		t.Errorf("%d rows\n%s", n, r.stdout)
	}
}

func TestSweepJSON(t *testing.T) {
	keys := []string{"flash_attn", "n_batch", "n_gpu_layers", "n_kv", "n_kv_max", "n_threads", "n_threads_batch", "n_ubatch", "pp", "speed_pp", "speed_tg", "t_pp", "t_tg", "tg"}
	for _, c := range []struct {
		reps string
		keys []string
	}{{"1", keys}, {"3", append([]string{"n_rep", "stddev_pp", "stddev_tg"}, keys...)}} {
		r := run(t, newFake(t), "sweep-bench", "-c", "40", "-ub", "16", "-o", "jsonl", "-r", c.reps, "-t", "1")
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines\n%s", len(lines), r.stdout)
		}
		for i, l := range lines {
			var v map[string]float64
			if err := json.Unmarshal([]byte(l), &v); err != nil {
				t.Fatalf("%v: %s", err, l)
			}
			var got []string
			for k := range v {
				got = append(got, k)
			}
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(c.keys)); !slices.Equal(got, want) {
				t.Errorf("keys %v, want %v", got, want)
			}
			if v["n_kv"] != float64(16*i) || v["pp"] != 16 || v["tg"] != 4 || v["n_threads"] != 1 {
				t.Errorf("line %d: %s", i, l)
			}
			if rate := v["pp"] / v["t_pp"]; v["t_pp"] > 1e-4 && (rate/v["speed_pp"] < 0.98 || rate/v["speed_pp"] > 1.02) {
				t.Errorf("speed_pp is not pp/t_pp: %s", l)
			}
		}
	}
}

func TestSweepStats(t *testing.T) {
	seconds, rate, spread := sweepStats(12, []time.Duration{time.Second, 3 * time.Second})
	if seconds != 2 || rate != 6 || spread < 5.656 || spread > 5.657 { // rates 12 and 4
		t.Errorf("%v s, %v ± %v t/s", seconds, rate, spread)
	}
}

func TestSweepErrors(t *testing.T) {
	run(t, newFake(t), "sweep-bench", "-c", "32").check(t, 2, "", "a row takes 64 tokens, the context has 32: lower -ub and -n, or raise or drop -c (compiled for 256)")
	run(t, newFake(t), "sweep-bench", "-n", "300").check(t, 2, "", "a row takes 300 tokens, the context has 256: lower -ub and -n, or recompile: qnc compile gopher.gguf -o gopher -c 300")
	run(t, newFake(t), "sweep-bench", "-c", "512").check(t, 2, "", "-c 512: this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher -c 512")
	run(t, newFake(t), "sweep-bench", "-ub", "65").check(t, 2, "", "-ub 65: this binary was compiled for 64")
	run(t, newFake(t), "sweep-bench", "-t", "0").check(t, 2, "", "-t 0: not a list of numbers from 1 to 1024")
	run(t, newFake(t), "sweep-bench", "-o", "csv").check(t, 2, "", "-o csv: not md or jsonl")

	f := newFake(t)
	w := newWorld(t, f, "sweep-bench", "-n", "60", "-ub", "16")
	f.onDecode = func(n int) {
		if n == 40 {
			w.signals <- os.Interrupt
		}
		if n > 40 { // time for the signal to arrive
			time.Sleep(time.Millisecond)
		}
	}
	if r := w.run(); r.code != 130 || strings.Contains(r.stdout, "|     60 |      0 |") {
		t.Errorf("interrupted: exit %d\n%s", r.code, r.stdout)
	}
}
