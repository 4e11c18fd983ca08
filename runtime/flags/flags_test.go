package flags

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func noEnv(string) (string, bool) { return "", false }

func parse(t *testing.T, cmd Command, args ...string) *Set {
	t.Helper()
	s, err := Parse(cmd, args, noEnv)
	if err != nil {
		t.Fatalf("Parse(%q): %v", args, err)
	}
	return s
}

// No command may know two rows by one name, and every row must be usable.
func TestTable(t *testing.T) {
	for bit := range 32 {
		cmd := Command(1) << bit
		seen := map[string]string{}
		vars := map[string]string{}
		for i := range table {
			f := &table[i]
			if f.In&cmd == 0 {
				continue
			}
			for _, n := range f.names() {
				if strings.ContainsAny(n, "_= ") || strings.HasPrefix(n, "-") {
					t.Errorf("%s: bad name %q", f.Name, n)
				}
				if other := seen[n]; other != "" {
					t.Errorf("command %#x: %s and %s are both called %q", cmd, other, f.Name, n)
				}
				seen[n] = f.Name
			}
			if other := vars[f.Var()]; other != "" && f.Var() != "" {
				t.Errorf("command %#x: %s and %s share %s", cmd, other, f.Name, f.Var())
			}
			vars[f.Var()] = f.Name
		}
	}
	for i := range table {
		f := &table[i]
		if f.In == 0 {
			t.Errorf("%s: belongs to no command", f.Name)
		}
		if f.Default != "" && f.Kind != Bool {
			if err := f.check(f.Name, f.Default); err != nil {
				t.Errorf("%s: bad default: %v", f.Name, err)
			}
		}
		if f.Kind != Bool && f.Kind != Maybe && f.Arg == "" {
			t.Errorf("%s: no name for its value", f.Name)
		}
		if f.Fate < Silent && f.Help == "" {
			t.Errorf("%s: no help", f.Name)
		}
	}
}

func TestParse(t *testing.T) {
	s := parse(t, Complete, "-p", "-x y", "-n", "-1", "--top_k=7", "-temp", "0", "-r", "a", "-r", "b",
		"--no-display-prompt", "-ub", "64", "-fa", "--no_warmup", "rest", "--", "-n")
	for _, c := range []struct{ got, want any }{
		{s.String("prompt"), "-x y"},
		{s.Int("n-predict"), -1},
		{s.Has("n-predict"), true},
		{s.Int("top-k"), 7},
		{s.Float("temp"), 0.0},
		{fmt.Sprint(s.Strings("reverse-prompt")), "[a b]"},
		{s.Bool("display-prompt"), false},
		{s.Bool("ignore-eos"), false},
		{s.Int("ubatch-size"), 64},
		{s.Said("ubatch-size"), "-ub"},
		{s.Float("top-p"), 0.95},
		{s.Has("top-p"), false},
		{fmt.Sprint(s.Args), "[rest -n]"},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

// TestOff: values that turn off what is not here make no difference.
func TestOff(t *testing.T) {
	s := parse(t, Complete, strings.Fields("--typical 1.0 --mirostat 0 --mirostat-lr 0.1 --mirostat-ent 5 --dry-multiplier 0.0 --dry-base 1.75 --xtc-probability 0 --xtc-threshold 0.1 "+
		"--dynatemp-range 0 --top-nsigma -1 --keep 4 --samplers penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature --sampling-seq edskypmxt -n 3")...)
	if s.Int("n-predict") != 3 || len(s.Args) > 0 {
		t.Errorf("-n %d, arguments %q", s.Int("n-predict"), s.Args)
	}
}

func TestParseBench(t *testing.T) {
	s := parse(t, Bench, "-p", "8-32*2", "-p", "5", "-n", "0", "-pg", "4,2", "-pg", "1,1", "-t", "1,2", "-fa", "0,1", "-r", "2", "-d", "1-4+2")
	for _, c := range []struct{ got, want any }{
		{fmt.Sprint(s.Ints("n-prompt")), "[8 16 32 5]"},
		{fmt.Sprint(s.Ints("n-gen")), "[0]"},
		{fmt.Sprint(s.Pairs("pg")), "[[4 2] [1 1]]"},
		{fmt.Sprint(s.Ints("threads")), "[1 2]"},
		{fmt.Sprint(s.Ints("n-depth")), "[1 3]"},
		{s.Int("repetitions"), 2},
		{len(s.Args), 0},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		cmd  Command
		args string
		want string
	}{
		{Chat, "-t 0", "-t 0: not a whole number from 1 to 1024 or -1"},
		{Chat, "-t 100000", "-t 100000: not a whole number from 1 to 1024 or -1"},
		{Chat, "-t x", "-t x: not a whole number from 1 to 1024 or -1"},
		{Bench, "-t 1,0", "-t 1,0: not a list of numbers from 1 to 1024"},
		{Bench, "-p 5-1", "-p 5-1: not a list such as 1,2 or 1-8*2: the range is empty"},
		{Bench, "-p 1-9*1", "-p 1-9*1: not a list such as 1,2 or 1-8*2: the range does not grow"},
		{Bench, "-p 0-2147483647", "-p 0-2147483647: not a list such as 1,2 or 1-8*2: the list is too long"},
		{Bench, "-pg 5", "-pg 5: not two numbers such as 512,128"},
		{Bench, "-o xml", "-o xml: not md, csv, json or jsonl"},
		{Chat, "--temprature 1", "unknown flag --temprature: did you mean --temperature? (--help lists all)"},
		{Chat, "--tempp 1", "unknown flag --tempp: did you mean --temp? (--help lists all)"},
		{Chat, "--zzzzzzz", "unknown flag --zzzzzzz: --help lists all"},
		{Chat, "--typical 0.7", "--typical 0.7: this program has no such sampling: only 1 is taken: leave the flag out"},
		{Complete, "--mirostat 2", "--mirostat 2: this program has no such sampling: only 0 is taken: leave the flag out"},
		{Complete, "--dry-multiplier 0.8", "--dry-multiplier 0.8: this program has no such sampling: only 0 is taken: leave the flag out"},
		{Complete, "--samplers top_k", "--samplers top_k: this program has no such sampling: only penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature is taken: leave the flag out"},
		{Chat, "-t -4", "-t -4: not a whole number from 1 to 1024 or -1"},
		{Chat, "-n", "-n: needs a value: -n N"},
		{Chat, "--ignore-eos=maybe", "--ignore-eos=maybe: takes no value"},
		{Chat, "--temp nan", "--temp nan: not a number from -1 to 1000000"},
		{Compile, "--ouput x", "unknown flag --ouput: did you mean --output? (--help lists all)"},
	} {
		_, err := Parse(c.cmd, strings.Fields(c.args), noEnv)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.args, err, c.want)
		}
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: exit code %d", c.args, fault.CodeOf(err))
		}
	}
}

func TestEnv(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"LLAMA_ARG_TEMPERATURE": "0.5", "LLAMA_ARG_TOP_K": "9", "LLAMA_ARG_IGNORE_EOS": "on"}[name]
		return v, ok
	}
	s, err := Parse(Chat, []string{"--top-k", "3"}, env)
	if err != nil {
		t.Fatal(err)
	}
	if s.Float("temp") != 0.5 || s.Int("top-k") != 3 || !s.Bool("ignore-eos") {
		t.Errorf("temp %v top-k %v ignore-eos %v", s.Float("temp"), s.Int("top-k"), s.Bool("ignore-eos"))
	}
	bad := func(name string) (string, bool) { return "0", name == "LLAMA_ARG_THREADS" }
	if _, err = Parse(Chat, nil, bad); err == nil || !strings.HasPrefix(err.Error(), "LLAMA_ARG_THREADS 0: not ") {
		t.Errorf("error %v", err)
	}
}

func TestNormalize(t *testing.T) {
	got, err := Normalize(Compile, strings.Fields("-ngl 99 m.gguf -c 4096 -np=2 -fa on -ot a=CPU -ot b=CPU -v -o out"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := "--n-gpu-layers=99 --ctx-size=4096 --parallel=2 --override-tensor=a=CPU --override-tensor=b=CPU --verbose=true --output=out -- m.gguf"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestSplitRun(t *testing.T) {
	compile, model, rest, err := SplitRun(strings.Fields("-v --embed m.gguf complete -p hi -c 64 -n 5 --temp 0"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(compile, model, rest)
	if want := "[-v --embed -c 64]m.gguf[complete -p hi -n 5 --temp 0]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, _, _, err := SplitRun([]string{"-v"}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("no model: %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"threads", "temp", "top-k"}
	for word, want := range map[string]string{"thread": "threads", "thraeds": "threads", "tmep": "temp", "topk": "top-k", "xyz": ""} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestUsageNamesEveryFlag(t *testing.T) {
	for _, c := range Commands {
		var b bytes.Buffer
		Usage(&b, "model", c.Command)
		for _, f := range Rows(c.Command) {
			if !strings.Contains(b.String(), f.Spelling()) {
				t.Errorf("%s --help lacks %s", c.Name, f.Spelling())
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var b bytes.Buffer
		if err := WriteCompletion(&b, shell, "my-model"); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"perplexity", "kl-divergence-base", "my-model"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s script lacks %s", shell, want)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = &b
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
	if err := WriteCompletion(&bytes.Buffer{}, "csh", "m"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("csh: %v", err)
	}
}

func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	var b bytes.Buffer
	if err := WriteCompletion(&b, "bash", "model"); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\nCOMP_WORDS=(model bench --n-d); COMP_CWORD=2; _model_complete; echo \"${COMPREPLY[@]}\"\n")
	cmd := exec.Command(bash, "--norc")
	cmd.Stdin = &b
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "--n-depth" {
		t.Errorf("completions %q, %v", out, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-t 1 -p x --top-k=3 -r a -- b")
	f.Add("-pg 1,2 -p 1-8*2,3 -fa 0")
	f.Fuzz(func(t *testing.T, line string) {
		for _, cmd := range []Command{Chat, Bench, Compile, Run} {
			args := strings.Split(line, " ")
			s, err := Parse(cmd, args, noEnv)
			if err != nil {
				if fault.CodeOf(err) != fault.Usage {
					t.Errorf("%v: code %d", err, fault.CodeOf(err))
				}
				continue
			}
			norm, err := Normalize(cmd, args, noEnv)
			if err != nil {
				t.Fatal(err)
			}
			// What was rewritten means the same.
			s2, err := Parse(cmd, norm, noEnv)
			if err != nil {
				t.Fatalf("%q: %v", norm, err)
			}
			if !slices.Equal(s.Args, s2.Args) {
				t.Errorf("%q and %q: %q, %q", args, norm, s.Args, s2.Args)
			}
			for _, row := range Rows(cmd) {
				if a, b := s.vals[row.Name], s2.vals[row.Name]; !slices.Equal(a, b) {
					t.Errorf("%s: %q, rewritten %q", row.Name, a, b)
				}
			}
		}
	})
}
