package app

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// times replaces what differs from run to run.
func times(s string) string {
	return regexp.MustCompile(` *[\d.]+ ± [\d.]+ \|`).ReplaceAllString(s, " T |")
}

func TestBenchTable(t *testing.T) {
	f := newFake(t)
	f.info.NumBatch, f.info.NumUbatch = 2048, 512
	r := run(t, f, "bench", "-p", "8,16", "-n", "4", "-pg", "8,2", "-d", "0,32", "-r", "2", "-t", "1,2")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	row := func(threads, test string) string {
		return "| qwen3next Q4_K - Medium        |  10.00 MiB |    17.00 M | CPU        | " + strings.Repeat(" ", 7-len(threads)) + threads +
			" | " + strings.Repeat(" ", 15-len(test)) + test + " | T |\n"
	}
	want := "| model                          |       size |     params | backend    | threads |            test |                  t/s |\n" +
		"| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: |\n"
	for _, threads := range []string{"1", "2"} {
		for _, test := range []string{"pp8", "pp16", "tg4", "pp8+tg2", "pp8 @ d32", "pp16 @ d32", "tg4 @ d32", "pp8+tg2 @ d32"} {
			want += row(threads, test)
		}
	}
	want += "\nbuild: qnc v1.2.3\n"
	if got := times(r.stdout); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBenchColumns(t *testing.T) {
	f := newFake(t)
	f.info.TypeK = "q8_0"
	r := run(t, f, "bench", "-p", "8", "-n", "0", "-r", "1", "-b", "64,128", "-ub", "32")
	head, _, _ := strings.Cut(r.stdout, "\n")
	if want := "| model                          |       size |     params | backend    | threads | n_batch | n_ubatch | type_k |            test |                  t/s |"; head != want {
		t.Errorf("got\n%s\nwant\n%s", head, want)
	}
	if !strings.Contains(r.stdout, "|      64 |       32 |   q8_0 |") || !strings.Contains(r.stdout, "|     128 |       32 |   q8_0 |") {
		t.Errorf("rows:\n%s", r.stdout)
	}
}

func TestBenchWork(t *testing.T) {
	f := newFake(t)
	var most int
	f.onDecode = func(n int) { most = max(most, n) }
	run(t, f, "bench", "-p", "0", "-n", "3", "-d", "200", "-r", "2", "--no-warmup", "-b", "100", "-t", "3")
	var sizes []int
	for _, p := range f.prompts {
		sizes = append(sizes, len(p))
	}
	// The context is evaluated once, in two batches, and taken up again for the second run.
	if f.resets != 1 || f.restores != 1 || most != 203 || !slices.Equal(sizes, []int{100, 100}) || f.threads != [2]int{3, 3} {
		t.Errorf("%d resets, %d restores, %d tokens at most, batches %v, threads %v", f.resets, f.restores, most, sizes, f.threads)
	}
}

// TestBenchDepth: tests at one depth share its context, also with their warmups;
// a test between them that is elsewhere does not.
func TestBenchDepth(t *testing.T) {
	for _, c := range []struct {
		depth string
		deep  int // prompts of 100 tokens, which fill the context
	}{{"100", 1}, {"100,0", 1}, {"100,0,100", 2}} {
		f := newFake(t)
		r := run(t, f, "bench", "-p", "8", "-n", "3", "-d", c.depth, "-r", "2", "-b", "128")
		deep := 0
		for _, p := range f.prompts {
			if len(p) == 100 {
				deep++
			}
		}
		if r.code != 0 || deep != c.deep {
			t.Errorf("-d %s: exit %d, the context was evaluated %d times, want %d: %s", c.depth, r.code, deep, c.deep, r.stderr)
		}
	}
}

func TestBenchFormats(t *testing.T) {
	args := []string{"bench", "-p", "8", "-n", "4", "-r", "3", "-o"}
	r := run(t, newFake(t), append(args, "json")...)
	var list []map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 2 {
		t.Fatalf("json: %v\n%s", err, r.stdout)
	}
	for i, want := range []map[string]any{{"n_prompt": 8.0, "n_gen": 0.0}, {"n_prompt": 0.0, "n_gen": 4.0}} {
		want["model_type"], want["backends"], want["n_threads"], want["model_n_params"] = "qwen3next Q4_K - Medium", "CPU", 2.0, 17e6
		for k, v := range want {
			if list[i][k] != v {
				t.Errorf("%s: %v, want %v", k, list[i][k], v)
			}
		}
		if ns := list[i]["samples_ns"].([]any); len(ns) != 3 {
			t.Errorf("samples %v", ns)
		}
		if list[i]["avg_ts"].(float64) <= 0 {
			t.Errorf("avg_ts %v", list[i]["avg_ts"])
		}
	}
	r = run(t, newFake(t), append(args, "jsonl")...)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	for _, l := range lines {
		var v map[string]any
		if err := json.Unmarshal([]byte(l), &v); err != nil || len(v) != len(benchFields)+2 {
			t.Errorf("jsonl: %v: %s", err, l)
		}
	}
	if len(lines) != 2 {
		t.Errorf("jsonl: %d lines", len(lines))
	}
	r = run(t, newFake(t), append(args, "csv")...)
	rows, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	if err != nil || len(rows) != 3 || len(rows[0]) != len(benchFields) || rows[0][0] != "build_commit" {
		t.Errorf("csv: %v\n%s", err, r.stdout)
	}
	r = run(t, newFake(t), append(args, "csv", "-oe", "md")...)
	if !strings.HasPrefix(r.stderr, "| model ") {
		t.Errorf("-oe md: %q", r.stderr)
	}
}

func TestBenchErrors(t *testing.T) {
	run(t, newFake(t), "bench", "-p", "0", "-n", "0").check(t, 2, "", "nothing to measure")
	run(t, newFake(t), "bench", "-p", "512").check(t, 2, "", "pp512 takes 512 tokens of context, this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher -c 512")
	run(t, newFake(t), "bench", "-t", "0").check(t, 2, "", "-t 0: not a list of numbers from 1 to 1024")

	f := newFake(t)
	w := newWorld(t, f, "bench", "-p", "8", "-n", "200", "-r", "1")
	f.onDecode = func(n int) {
		if n == 20 {
			w.signals <- os.Interrupt
		}
		if n > 20 { // time for the signal to arrive
			time.Sleep(time.Millisecond)
		}
	}
	if r := w.run(); r.code != 130 || strings.Contains(r.stdout, "tg200") {
		t.Errorf("interrupted: exit %d\n%s", r.code, r.stdout)
	}
}

func TestCell(t *testing.T) {
	for _, c := range []struct {
		width int
		in    string
		want  string
	}{{-5, "ab", "ab   "}, {5, "ab", "   ab"}, {5, "1 ± 2", "1 ± 2"}, {6, "1 ± 2", " 1 ± 2"}, {2, "long", "long"}} {
		if got := (&column{width: c.width}).cell(c.in); got != c.want {
			t.Errorf("%d %q: %q, want %q", c.width, c.in, got, c.want)
		}
	}
}

func TestMeanStd(t *testing.T) {
	if m, s := meanStd([]float64{2, 4, 4, 4, 5, 5, 7, 9}); m != 5 || s < 2.138 || s > 2.139 {
		t.Errorf("%v %v", m, s)
	}
	if m, s := meanStd([]float64{3}); m != 3 || s != 0 {
		t.Errorf("%v %v", m, s)
	}
}
