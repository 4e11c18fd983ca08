package app

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChatOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		want  string // the user's turn in the prompt
	}{
		{"-p", []string{"-p", "Hi there"}, "ignored", "<|im_start|>user\nHi there<|im_end|>\n"},
		{"escapes", []string{"chat", "-p", `a\nb`}, "", "<|im_start|>user\na\nb<|im_end|>\n"},
		{"stdin", nil, "from\nstdin\n", "<|im_start|>user\nfrom\nstdin<|im_end|>\n"},
		{"-sys", []string{"-sys", "Be brief.", "-p", "x"}, "", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nx<|im_end|>\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.says(t, "Hello, world.")
			w := newWorld(t, f, append(c.args, "--temp", "0")...)
			w.Env.Stdin = strings.NewReader(c.stdin)
			w.run().check(t, 0, "Hello, world.\n")
			got := vocab(t).Decode(f.prompts[0], true)
			if !strings.Contains(got, c.want) || !strings.HasSuffix(got, "<|im_start|>assistant\n") {
				t.Errorf("prompt %q lacks %q", got, c.want)
			}
		})
	}
}

func TestChatErrors(t *testing.T) {
	run(t, newFake(t)).check(t, 2, "", "no text, and stdin is empty: -p TEXT, or type it in a terminal")
	run(t, newFake(t), "-p", " ").check(t, 2, "", "the text is empty: -p TEXT")
	run(t, newFake(t), "-p", "x", "-sys", "a", "-sysf", "b").check(t, 2, "", "only one of -sys and -sysf")
	run(t, newFake(t), "-p", strings.Repeat("x ", 300)).check(t, 4, "", " tokens, the context 256: shorten it, or recompile: qnc compile gopher.gguf -o gopher -c ")
	run(t, newFake(t), "-p", "x", "--chat-template-file", "no/such").check(t, 1, "", "no/such: no such file or directory")
	bad := filepath.Join(t.TempDir(), "bad.jinja")
	if err := os.WriteFile(bad, []byte("{% for %}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := run(t, newFake(t), "-p", "x", "--chat-template-file", bad); r.code != 3 || !strings.Contains(r.stderr, bad) {
		t.Errorf("bad template: exit %d, %q", r.code, r.stderr)
	}
	if r := run(t, newFake(t), "-p", "x", "--chat-template-kwargs", "{"); r.code != 2 || !strings.Contains(r.stderr, "--chat-template-kwargs") {
		t.Errorf("bad kwargs: exit %d, %q", r.code, r.stderr)
	}
}

// terminal is a world whose user types lines.
func terminal(t *testing.T, f *fake, lines []string, args ...string) *world {
	w := newWorld(t, f, append([]string{"--temp", "0"}, args...)...)
	w.Env.InTerm, w.Env.ErrTerm = true, true
	w.Env.Stdin = strings.NewReader(strings.Join(append(lines, ""), "\n"))
	return w
}

func TestChatLoop(t *testing.T) {
	f := newFake(t)
	f.says(t, "One.", "Two.", "Three.")
	w := terminal(t, f, []string{"first", "", `second \`, "line", "/help", "/nope", "/cler", "third"}, "--no-perf")
	w.run().check(t, 0, "One.\nTwo.\nThree.\n", "gopher: /help lists commands", "> ", "/clear  start a new conversation",
		"unknown command /nope: /help lists them\n", "unknown command /cler: did you mean /clear?\n")

	tok := vocab(t)
	if len(f.prompts) != 3 {
		t.Fatalf("%d prompts", len(f.prompts))
	}
	// Each turn evaluates only what is new, beginning with the end of the last answer.
	want := []string{
		"<|im_end|>\n<|im_start|>user\nsecond \nline<|im_end|>\n<|im_start|>assistant\n",
		"<|im_end|>\n<|im_start|>user\nthird<|im_end|>\n<|im_start|>assistant\n",
	}
	for i, s := range want {
		if got := tok.Decode(f.prompts[i+1], true); got != s {
			t.Errorf("turn %d evaluates %q, want %q", i+2, got, s)
		}
	}
	all := tok.Decode(f.seq, true)
	if want := "user\nfirst<|im_end|>\n<|im_start|>assistant\nOne.<|im_end|>\n<|im_start|>user\nsecond \nline<|im_end|>\n<|im_start|>assistant\nTwo.<|im_end|>\n" +
		"<|im_start|>user\nthird<|im_end|>\n<|im_start|>assistant\nThree."; !strings.HasSuffix(all, want) {
		t.Errorf("the sequence holds %q", all)
	}
	if f.resets != 1 {
		t.Errorf("%d resets, want the one at the start", f.resets)
	}
}

func TestChatClearAndFirst(t *testing.T) {
	f := newFake(t)
	f.says(t, "One.", "Two.")
	w := terminal(t, f, []string{"/clear", "second", "/exit", "never"}, "-p", "first", "-sys", "S")
	w.run().check(t, 0, "One.\nTwo.\n", "> first\n", "prompt: ")
	got := vocab(t).Decode(f.prompts[1], true)
	if strings.Contains(got, "first") || !strings.Contains(got, "second") || !strings.Contains(got, "S<|im_end|>") {
		t.Errorf("after /clear the prompt is %q", got)
	}
}

func TestChatSingleTurn(t *testing.T) {
	f := newFake(t)
	f.says(t, "One.")
	terminal(t, f, []string{"first", "second"}, "--single-turn", "--no-perf").run().check(t, 0, "One.\n", "> ")
	if len(f.prompts) != 1 {
		t.Errorf("%d prompts", len(f.prompts))
	}
}

// A template that shows old answers differently makes the conversation start anew in the sequence.
func TestChatRereads(t *testing.T) {
	tmpl := filepath.Join(t.TempDir(), "t.jinja")
	src := "{% for m in messages %}<{{ m.role[0] }}>{{ 'old' if m.role == 'assistant' else m.content }}{% endfor %}<a>"
	if err := os.WriteFile(tmpl, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	f.says(t, "One.", "Two.")
	terminal(t, f, []string{"first", "second"}, "--chat-template-file", tmpl, "--no-perf").run().check(t, 0, "One.\nTwo.\n", "> ")
	if got := vocab(t).Decode(f.prompts[1], true); got != "<u>first<a>old<u>second<a>" || f.resets != 2 {
		t.Errorf("%d resets, prompt %q", f.resets, got)
	}
}

func TestChatFull(t *testing.T) {
	f := newFake(t)
	f.says(t, "One.", "Two.")
	w := terminal(t, f, []string{"first", strings.Repeat("x ", 300), "third"}, "--no-perf")
	w.run().check(t, 0, "One.\nTwo.\n", "the context is full: ", " do not fit into 256: /clear starts anew, or recompile: qnc compile gopher.gguf -o gopher -c ")
	if len(f.prompts) != 2 || strings.Contains(vocab(t).Decode(f.seq, true), "x x") {
		t.Error("the long message was not taken back")
	}
}

func TestChatInterrupt(t *testing.T) {
	f := newFake(t)
	f.says(t, strings.Repeat("word ", 30), "Two.")
	lines, typed := io.Pipe()
	w := terminal(t, f, nil, "--no-perf")
	w.Env.Stdin = lines
	first := true
	f.onDecode = func(int) {
		if first {
			first = false
			w.signals <- os.Interrupt
		}
		time.Sleep(2 * time.Millisecond)
	}
	done := make(chan result)
	go func() { done <- w.run() }()
	io.WriteString(typed, "first\nsecond\n")
	for !strings.Contains(w.out.String(), "Two.\n") {
		time.Sleep(time.Millisecond)
	}
	for strings.Count(w.err.String(), "> ") < 3 {
		time.Sleep(time.Millisecond)
	}
	w.signals <- os.Interrupt // at the prompt
	r := <-done
	if r.code != 0 || !strings.HasPrefix(r.stdout, "word") || strings.Count(r.stdout, "word") > 25 {
		t.Errorf("exit %d, stdout %q", r.code, r.stdout)
	}
	// What came of the first answer stays in the conversation.
	if all := vocab(t).Decode(f.seq, true); !strings.Contains(all, "assistant\nword") || f.resets != 1 {
		t.Errorf("%d resets, sequence %q", f.resets, all)
	}
}

func TestChatTerminated(t *testing.T) {
	f := newFake(t)
	w := terminal(t, f, nil)
	lines, _ := io.Pipe()
	w.Env.Stdin = lines
	go func() {
		for !strings.Contains(w.err.String(), "> ") {
			time.Sleep(time.Millisecond)
		}
		w.signals <- os.Kill // any signal but an interrupt
	}()
	if r := w.run(); r.code != 130 {
		t.Errorf("exit code %d, want 130", r.code)
	}
}

// An interrupt before the first prompt ends the program.
func TestChatInterruptedEarly(t *testing.T) {
	w := terminal(t, newFake(t), nil)
	w.signals <- os.Interrupt
	lines, _ := io.Pipe()
	w.Env.Stdin = lines
	if r := w.run(); r.code != 130 && r.code != 0 {
		t.Errorf("exit code %d", r.code)
	}
}

func TestApplyTemplate(t *testing.T) {
	dir := t.TempDir()
	req := filepath.Join(dir, "req.json")
	if err := os.WriteFile(req, []byte(`{"messages":[{"role":"system","content":"S"},{"role":"user","content":"ü <|im_end|>"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, newFake(t), "apply-template", "-f", req)
	r.check(t, 0, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nü <|im_end|><|im_end|>\n<|im_start|>assistant\n")
	tmpl := filepath.Join(dir, "t.jinja")
	if err := os.WriteFile(tmpl, []byte("{{ messages[1].content }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ x }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	r = run(t, newFake(t), "apply-template", "-f", req, "--chat-template-file", tmpl, "--chat-template-kwargs", `{"x": 5}`)
	r.check(t, 0, "ü <|im_end|>|<|im_end|>|True|5")
	r = run(t, newFake(t), "apply-template", "-f", req, "--chat-template-file", tmpl, "--json")
	r.check(t, 0, "{\n  \"prompt\": \"ü <|im_end|>|<|im_end|>|True|\"\n}\n")
	run(t, newFake(t), "apply-template").check(t, 2, "", "no request: apply-template -f REQUEST.json")
	// A template that fails on the request is no bad model.
	null := filepath.Join(dir, "null.json")
	if err := os.WriteFile(null, []byte(`{"messages":[{"role":"user","content":null}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmpl, []byte("{{ messages[0].content.startswith('x') }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, newFake(t), "apply-template", "-f", null, "--chat-template-file", tmpl).check(t, 2, "", null+": the template does not take this request: ")
	w := newWorld(t, newFake(t), "apply-template", "-f", "-")
	w.Env.Stdin = strings.NewReader(`{"messages": 5}`)
	if r := w.run(); r.code != 2 || !strings.HasPrefix(r.stderr, "gopher: stdin: ") {
		t.Errorf("bad request: exit %d, %q", r.code, r.stderr)
	}
}
