package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestComplete(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("a\\tb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		says string
		args []string
		want string
	}{
		{"to the end", " world", []string{"-p", "hello"}, "hello world\n"},
		{"line feed once", " world\n", []string{"-p", "hello"}, "hello world\n"},
		{"no prompt", " world", []string{"-p", "hello", "--no-display-prompt"}, " world\n"},
		{"escapes", "x", []string{"-p", `a\nb`}, "a\nbx\n"},
		{"no escapes", "x", []string{"-p", `a\nb`, "--no-escape"}, "a\\nbx\n"},
		{"file", "!", []string{"-f", file}, "a\tb!\n"},
		{"binary file", "!", []string{"-bf", file, "--no-escape"}, "a\\tb\n!\n"},
		{"stop", "one two three", []string{"-p", "n:", "-r", "two"}, "n:one two\n"},
		{"stop over pieces", "func main() {}", []string{"-p", "n:", "-r", `n() {`}, "n:func main() {\n"},
		{"no token", "abc", []string{"-p", "hello", "-n", "0"}, "hello\n"},
		{"control tokens hidden", "a<|im_start|>b", []string{"-p", "x"}, "xab\n"},
		{"control tokens shown", "a<|im_start|>b", []string{"-p", "x", "--special"}, "xa<|im_start|>b\n"},
		{"UTF-8", "täglich 世界", []string{"-p", "é"}, "étäglich 世界\n"},
	} {
		f := newFake(t)
		f.says(t, c.says)
		r := run(t, f, append([]string{"complete", "--temp", "0"}, c.args...)...)
		if t.Run(c.name, func(t *testing.T) { r.check(t, 0, c.want) }); t.Failed() {
			break
		}
	}
}

func TestCompleteStdin(t *testing.T) {
	f := newFake(t)
	f.says(t, "!")
	w := newWorld(t, f, "complete")
	w.Env.Stdin = strings.NewReader("from stdin\n")
	w.run().check(t, 0, "from stdin!\n")

	run(t, newFake(t), "complete").check(t, 2, "", "no text, and stdin is empty: complete -p TEXT or complete -f FILE")
	w = newWorld(t, newFake(t), "complete")
	w.Env.InTerm = true
	w.run().check(t, 2, "", "no text: complete -p TEXT")
	run(t, newFake(t), "complete", "-p", "").check(t, 2, "", "the text is empty")
	run(t, newFake(t), "complete", "-p", "x", "-f", "y").check(t, 2, "", "only one of -p, -f and -bf")
	run(t, newFake(t), "complete", "-f", "no/such").check(t, 1, "", "gopher: no/such: no such file or directory\n")
}

func TestCompleteLimits(t *testing.T) {
	f := newFake(t)
	f.says(t, strings.Repeat("a b ", 50))
	r := run(t, f, "complete", "-p", "x", "-n", "3", "--temp", "0")
	if got, want := len(f.seq), len(vocab(t).Encode("x", true))+2; got != want {
		t.Errorf("-n 3 left %d tokens in the sequence, want %d: the last is not evaluated", got, want)
	}
	r.check(t, 0, r.stdout)

	// The context ends the text with counts.
	f = newFake(t)
	f.says(t, strings.Repeat("a b ", 500))
	r = run(t, f, "complete", "-p", "x", "-c", "20", "--temp", "0")
	r.check(t, 0, r.stdout, "gopher: stopped: the context is full (20 of 20 tokens): for a longer one raise or drop -c (compiled for 256)\n")
	f = newFake(t)
	f.says(t, strings.Repeat("a b ", 500))
	r = run(t, f, "complete", "-p", "x", "--temp", "0")
	r.check(t, 0, r.stdout, "(256 of 256 tokens): for a longer one recompile: qnc compile gopher.gguf -o gopher -c 512\n")

	// A text that is longer is refused with counts.
	f = newFake(t)
	r = run(t, f, "complete", "-p", strings.Repeat("x ", 300))
	r.check(t, 4, "", "the text has 301 tokens, the context 256: shorten it, or recompile: qnc compile gopher.gguf -o gopher -c 1024\n")
	if len(f.prompts) != 0 {
		t.Error("part of it was evaluated")
	}
	// The cure is the one that helps: a larger -c only where it was compiled for that.
	for _, c := range []struct {
		words int
		cure  string
	}{{50, "raise or drop --ctx-size (compiled for 256)\n"}, {300, "recompile: qnc compile gopher.gguf -o gopher -c 1024\n"}} {
		run(t, newFake(t), "complete", "-p", strings.Repeat("x ", c.words), "--ctx-size", "32").check(t, 4, "", "shorten it, or "+c.cure)
	}
	run(t, newFake(t), "-p", strings.Repeat("x ", 50), "-c", "32").check(t, 4, "", "raise or drop -c (compiled for 256)\n")
}

func TestIgnoreEOS(t *testing.T) {
	f := newFake(t)
	f.says(t, "abc")
	r := run(t, f, "complete", "-p", "x", "--ignore-eos", "-c", "40", "--temp", "0")
	r.check(t, 0, r.stdout, "the context is full (40 of 40 tokens)")
	tok := vocab(t)
	for _, id := range f.seq {
		if tok.IsEOG(id) {
			t.Errorf("token %d ends generation", id)
		}
	}
}

func TestCompleteBatches(t *testing.T) {
	f := newFake(t)
	f.says(t, "")
	text := strings.Repeat("x ", 50)
	run(t, f, "complete", "-p", text, "-b", "32", "-n", "0").check(t, 0, text+"\n")
	var sizes []int
	for _, p := range f.prompts {
		sizes = append(sizes, len(p))
	}
	if n := len(sizes); n < 2 || sizes[0] != 32 || sizes[n-1] > 32 {
		t.Errorf("batches of %v tokens, want 32 each", sizes)
	}
}

func TestSeeds(t *testing.T) {
	out := func(seed string) string {
		return run(t, newFake(t), "complete", "-p", "x", "-n", "30", "--ignore-eos", "-s", seed, "--temp", "1").stdout
	}
	if a, b := out("5"), out("5"); a != b {
		t.Errorf("the same seed gave %q and %q", a, b)
	}
	if a, b := out("5"), out("6"); a == b {
		t.Errorf("another seed gave the same %q", a)
	}
	if a, b := out("-1"), out("-1"); a == b {
		t.Errorf("two random seeds gave the same %q", a)
	}
}

func TestCompleteInterrupted(t *testing.T) {
	f := newFake(t)
	f.says(t, strings.Repeat("word ", 100))
	w := newWorld(t, f, "complete", "-p", "x", "--temp", "0")
	f.onDecode = func(n int) {
		if n == 10 {
			w.signals <- os.Interrupt
		}
		if n > 10 { // time for the signal to arrive
			time.Sleep(time.Millisecond)
		}
	}
	r := w.run()
	if r.code != 130 || r.stderr != "" || !strings.HasPrefix(r.stdout, "xword word ") || len(f.seq) > 200 {
		t.Errorf("exit %d, %d tokens, stdout %q, stderr %q", r.code, len(f.seq), r.stdout, r.stderr)
	}
}

func TestTimings(t *testing.T) {
	for _, c := range []struct {
		term bool
		args string
		want bool
	}{{false, "", false}, {true, "", true}, {true, "--no-perf", false}, {false, "-v", true}} {
		f := newFake(t)
		f.says(t, "a b c")
		w := newWorld(t, f, append([]string{"complete", "-p", "x"}, strings.Fields(c.args)...)...)
		w.Env.ErrTerm = c.term
		if r := w.run(); strings.Contains(r.stderr, " t/s · eval: ") != c.want {
			t.Errorf("terminal %v %q: stderr %q", c.term, c.args, r.stderr)
		}
	}
}

func TestTokenize(t *testing.T) {
	tok := vocab(t)
	ids := tok.Encode("func <|im_end|>", true)
	if len(ids) < 2 || ids[len(ids)-1] != tok.EOS {
		t.Fatalf("unexpected tokens %v", ids)
	}
	r := run(t, newFake(t), "tokenize", "-p", "func <|im_end|>")
	if !strings.HasPrefix(r.stdout, "") || strings.Count(r.stdout, "\n") != len(ids) || !strings.HasSuffix(r.stdout, " -> '<|im_end|>'\n") {
		t.Errorf("stdout %q", r.stdout)
	}
	plain := tok.Encode("func <|im_end|>", false)
	r = run(t, newFake(t), "tokenize", "-p", "func <|im_end|>", "--no-parse-special", "--show-count")
	if got := strings.Count(r.stdout, " -> '"); got != len(plain) || !strings.Contains(r.stdout, "Total number of tokens: ") {
		t.Errorf("--no-parse-special: %q", r.stdout)
	}
	a := run(t, newFake(t), "tokenize", "-p", "a\\nb", "--ids").stdout
	w := newWorld(t, newFake(t), "tokenize", "--stdin", "--ids")
	w.Env.Stdin = strings.NewReader("a\nb")
	if b := w.run().stdout; a != b || !strings.HasPrefix(a, "[") || !strings.HasSuffix(a, "]\n") || !strings.Contains(a, ", ") {
		t.Errorf("--ids: %q, from stdin %q", a, b)
	}
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("a\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := run(t, newFake(t), "tokenize", "-p", `a\nb\n`, "--ids").stdout
	for _, f := range []string{"-f", "-bf"} { // the last line feed is part of the text
		if r := run(t, newFake(t), "tokenize", f, file, "--ids"); r.stdout != want {
			t.Errorf("%s %q, -p %q", f, r.stdout, want)
		}
	}
	if r := run(t, newFake(t), "tokenize", "-p", "", "--ids"); r.stdout != "[]\n" {
		t.Errorf("empty text: %q", r.stdout)
	}
	r = run(t, newFake(t), "tokenize", "-p", "€", "--no-escape")
	if r.code != 0 {
		t.Errorf("exit %d", r.code)
	}
}
