package app

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		out  string // prefix of stdout
		err  string
	}{
		{"--version", 0, "gopher: gopher, compiled by qnc v1.2.3 for portable, build 0011223344\n", ""},
		{"version", 0, "gopher: gopher, compiled by", ""},
		{"bench --version", 0, "gopher: gopher, compiled by", ""},
		{"--help", 0, "chat in the terminal (the default command)\n\nusage: gopher chat ", ""},
		{"help", 0, "chat in the terminal", ""},
		{"help bench", 0, "tokens per second, as llama-bench prints them\n\nusage: gopher bench ", ""},
		{"perplexity -h", 0, "perplexity of a text, or KL divergence to a base\n", ""},
		{"perplexty", 2, "", "gopher: unknown command perplexty: did you mean perplexity? (help lists all)\n"},
		{"xyzzy", 2, "", "gopher: unknown command xyzzy: want chat, complete, "},
		{"info extra", 2, "", `gopher: "extra": this command takes flags only: a text goes with -p` + "\n"},
		{"complete --top-kk 3", 2, "", "gopher: unknown flag --top-kk: did you mean --top-k? (--help lists all)\n"},
		{"complete -t 0 -p x", 2, "", "gopher: -t 0: not a whole number from 1 to 1024 or -1\n"},
		{"complete -t 100000 -p x", 2, "", "gopher: -t 100000: not a whole number from 1 to 1024 or -1\n"},
		{"completion", 2, "", "gopher: completion: needs a shell: completion bash, zsh or fish\n"},
		{"completion csh", 2, "", "gopher: completion csh: not bash, zsh or fish\n"},
		{"completion bash", 0, "# bash completion: source <(gopher completion bash)\n", ""},
	} {
		f := newFake(t)
		w := newWorld(t, f, strings.Fields(c.args)...)
		w.Env.Open = func(engine.Options) (engine.Runner, error) { t.Errorf("%s: opened the model", c.args); return f, nil }
		r := w.run()
		if r.code != c.code || !strings.HasPrefix(r.stdout, c.out) || c.out == "" && r.stdout != "" || !strings.HasPrefix(r.stderr, c.err) || c.err == "" && r.stderr != "" {
			t.Errorf("%s: exit %d\nstdout %q\nstderr %q", c.args, r.code, r.stdout, r.stderr)
		}
	}
}

func TestEveryCommandHasAFunction(t *testing.T) {
	for _, c := range flags.Commands {
		if commands[c.Command] == nil {
			t.Errorf("%s does nothing", c.Name)
		}
	}
}

func TestFixedFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // "" when it is taken
	}{
		{"-c 256 -b 128 -ub 64 -np 1 -ctk f16 -ctv f16", ""},
		{"-c 100 -b 32 -ub 16", ""},
		{"-c 0 -ctk F16", ""},
		{"-ngl 0", ""},
		{"-ngl auto -cmoe -ncmoe 3 -sm layer -mg 0 -ot exps=CPU", ""},
		{"-fa -fa on --mmap --no-mmap --no-warmup -no-ooae -fmoe -rtr 1 --mlock --numa distribute -nkvo --jinja -lv 3", ""},
		{"-m some/where/gopher.gguf", ""},
		{"-c 512", "-c 512: this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher -c 512"},
		{"--ctx_size 512", "--ctx_size 512: this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher --ctx_size 512"},
		{"-b 256", "-b 256: this binary was compiled for 128: recompile: qnc compile gopher.gguf -o gopher -b 256"},
		{"-ub 65", "-ub 65: this binary was compiled for 64: recompile: qnc compile gopher.gguf -o gopher -ub 65"},
		{"-np 2", "-np 2: this binary was compiled for 1: recompile: qnc compile gopher.gguf -o gopher -np 2"},
		{"-ctk q8_0", "-ctk q8_0: this binary was compiled for f16: recompile: qnc compile gopher.gguf -o gopher -ctk q8_0"},
		{"-ngl 99", "-ngl 99: this binary was compiled for the CPU alone: recompile: qnc compile gopher.gguf -o gopher -ngl 99"},
		{"-ot a=CPU,b=CUDA0", "-ot a=CPU,b=CUDA0: this binary was compiled for the CPU alone: recompile: qnc compile gopher.gguf -o gopher -ot a=CPU,b=CUDA0"},
		{"-m other.gguf", "-m other.gguf: this binary was compiled from gopher.gguf: compile the other: qnc compile other.gguf"},
	} {
		f := newFake(t)
		f.says(t, "")
		r := run(t, f, append([]string{"complete", "-p", "x", "-n", "1"}, strings.Fields(c.args)...)...)
		if c.want == "" {
			r.check(t, 0, "x\n")
		} else {
			r.check(t, 2, "", "gopher: "+c.want+"\n")
		}
	}
	r := run(t, newFake(t), "bench", "-b", "64,256")
	r.check(t, 2, "", "-b 256: this binary was compiled for 128")

	f := newFake(t)
	w := newWorld(t, f, "complete", "-p", "x")
	w.Env.LookupEnv = func(s string) (string, bool) { return "512", s == "LLAMA_ARG_CTX_SIZE" }
	w.run().check(t, 2, "", "LLAMA_ARG_CTX_SIZE 512: this binary was compiled for 256: recompile: qnc compile gopher.gguf -o gopher --ctx-size 512")
}

// TestMoreThreadsThanCPUs: threads that no CPU is left for are not started, which is said once.
func TestMoreThreadsThanCPUs(t *testing.T) {
	defer func(n int) { cpus = n }(cpus)
	cpus = 2
	for _, c := range []struct {
		args     string
		compiled int // default of the program
		threads  [2]int
		note     string
	}{
		{"complete -p x -t 4 -tb 8", 0, [2]int{2, 2}, "gopher: 4 threads on 2 CPUs: 2 run\n"},
		{"complete -p x -t 2", 0, [2]int{2, 0}, ""},
		{"complete -p x", 16, [2]int{2, 0}, ""},
		{"bench -p 8 -n 1 -r 1 -t 2,3,4", 0, [2]int{2, 2}, "gopher: 3 threads on 2 CPUs: 2 run\n"},
		{"sweep-bench -c 48 -ub 16 -t 4", 0, [2]int{2, 2}, "gopher: 4 threads on 2 CPUs: 2 run\n"},
	} {
		f := newFake(t)
		if strings.HasPrefix(c.args, "complete") {
			f.says(t, "")
		}
		f.info.DefaultThreads = c.compiled
		r := run(t, f, strings.Fields(c.args)...)
		if r.code != 0 || f.threads != c.threads || !strings.HasSuffix(r.stderr, c.note) || strings.Count(r.stderr, "CPUs") > 1 {
			t.Errorf("%s: exit %d, threads %v, want %v; %q", c.args, r.code, f.threads, c.threads, r.stderr)
		}
	}
}

func TestThreadsAndSizes(t *testing.T) {
	for _, c := range []struct {
		args    string
		threads [2]int
		ubatch  int
	}{
		{"", [2]int{0, 0}, 64},
		{"-t 3", [2]int{3, 0}, 64},
		{"-tb 4", [2]int{0, 4}, 64},
		{"-t 3 -tb 5 -ub 16", [2]int{3, 5}, 16},
		{"-b 32", [2]int{0, 0}, 32},
		{"-t -1", [2]int{0, 0}, 64},
	} {
		f := newFake(t)
		f.says(t, "")
		run(t, f, append([]string{"complete", "-p", "x"}, strings.Fields(c.args)...)...).check(t, 0, "x\n")
		if f.threads != c.threads || f.ubatch != c.ubatch || !f.closed {
			t.Errorf("%q: threads %v, ubatch %d, closed %v", c.args, f.threads, f.ubatch, f.closed)
		}
	}
}

func TestOpenFails(t *testing.T) {
	w := newWorld(t, newFake(t), "verify")
	w.Env.Open = func(engine.Options) (engine.Runner, error) {
		return nil, fault.New(fault.Model, "gopher.weights: of another compile: run qnc compile again")
	}
	w.run().check(t, 3, "", "gopher: gopher.weights: of another compile: run qnc compile again\n")
}

func TestInfo(t *testing.T) {
	r := run(t, newFake(t), "info")
	counted := regexp.MustCompile(`(?m)^allocations   [0-9]+ in the steps of [1-8] tokens and [1-8] prompts, counted on one thread\n`)
	if !counted.MatchString(r.stdout) {
		t.Errorf("info does not count allocations:\n%s", r.stdout)
	}
	r.stdout = counted.ReplaceAllString(r.stdout, "")
	r.check(t, 0, `model         gopher
architecture  qwen3next, 4 layers, vocabulary of 4096
weights       Q4_K - Medium, 17.00 M parameters, 10.00 MiB
source        gopher.gguf
compiled      by qnc v1.2.3 for portable, build 0011223344
context       1 sequence of 256 tokens, batch 128, ubatch 64
KV cache      K f16, V f16
threads       2
memory        17.00 MiB in all
  weights     10.00 MiB, mapped
  arena       1.00 MiB
  recurrent   2.00 MiB
  KV cache    4.00 MiB
recompile     qnc compile gopher.gguf -o gopher
`)
	r = run(t, newFake(t), "info", "--json")
	var in engine.Info
	if err := json.Unmarshal([]byte(r.stdout), &in); err != nil || in != *newFake(t).info {
		t.Errorf("info --json: %v: %s", err, r.stdout)
	}
	var counts struct {
		C allocCount `json:"allocations_of_steps"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &counts); err != nil || counts.C.Tokens == 0 || counts.C.Allocations == 0 { // the fake copies its prompts
		t.Errorf("info --json: %v: %+v", err, counts)
	}
	w := newWorld(t, newFake(t), "info")
	w.Env.Open = func(engine.Options) (engine.Runner, error) { return nil, errors.New("gopher.weights: not found") }
	if r := w.run(); r.code != 0 || !strings.Contains(r.stdout, "allocations   not measured: gopher.weights: not found\n") {
		t.Errorf("info without weights: exit %d: %s", r.code, r.stdout)
	}
}

func TestVerify(t *testing.T) {
	run(t, newFake(t), "verify").check(t, 0, "gopher: 1.00 MiB of weights, every digest is the compile's\n")
	f := newFake(t)
	f.bad = fault.New(fault.Model, "gopher.weights: section x: digest differs: compile again")
	run(t, f, "verify").check(t, 3, "", "gopher: gopher.weights: section x: digest differs: compile again\n")

	f = newFake(t)
	w := newWorld(t, f, "verify")
	hold := make(chan struct{})
	f.verifying = func(int64) { w.signals <- os.Interrupt; <-hold }
	w.run().check(t, 130, "")
	close(hold)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestStdoutFails(t *testing.T) {
	for _, args := range []string{"info", "complete -p x -n 3", "tokenize -p x", "bench -p 1 -n 0 -r 1"} {
		w := newWorld(t, newFake(t), strings.Fields(args)...)
		w.Env.Stdout = fullDisk{}
		if r := w.run(); r.code != 1 || !strings.HasSuffix(r.stderr, "no space left on device\n") {
			t.Errorf("%s: exit %d, stderr %q", args, r.code, r.stderr)
		}
	}
}

// The second interrupt ends the program even when the model does not react.
func TestSecondInterrupt(t *testing.T) {
	f := newFake(t)
	w := newWorld(t, f, "complete", "-p", "x")
	hold := make(chan struct{})
	defer close(hold)
	f.onPrompt = func() error {
		w.signals <- os.Interrupt
		w.signals <- os.Interrupt
		<-hold
		return errors.New("held")
	}
	go w.run()
	if code := <-w.exited; code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`plain`: "plain", `a\nb\tc\rd`: "a\nb\tc\rd", `\"\'\\`: `"'\`, `\x41\x0a.`: "A\n.", `\xzz`: `\xzz`, `\x4`: `\x4`, `\q\`: `\q\`, `\\n`: `\n`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}
