package chat

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func load(t testing.TB, name string) *Template {
	t.Helper()
	src, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Parse(string(src))
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// TestRequests compares whole prompts with Python: templates and requests in testdata were written
// for this project with the constructs that templates of tool-calling and reasoning models use; the
// wanted prompts came from Python 3.11's jinja2 3.1.6 under the settings of Hugging Face's
// transformers. Where the name says "text arguments", Python was given objects for the two templates
// that do not take text.
func TestRequests(t *testing.T) {
	data, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Template, Name, Want string
		Request              json.RawMessage
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 30 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		req, err := ParseRequest(row.Request)
		if err != nil {
			t.Errorf("%s, %s: %v", row.Template, row.Name, err)
			continue
		}
		req.BOS, req.EOS = "<s>", "</s>"
		got, err := load(t, row.Template).Render(req, Limits{})
		if err != nil || got != row.Want {
			t.Errorf("%s, %s: %v\n got %q\nwant %q", row.Template, row.Name, err, got, row.Want)
		}
	}
}

// TestFit checks what is made of what a template cannot take.
func TestFit(t *testing.T) {
	call := `{"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": ARGS}}]}], "add_generation_prompt": false}`
	for _, c := range []struct{ name, tmpl, req, want string }{
		{"text stays text", "calls-json.jinja", strings.Replace(call, "ARGS", `"{\"a\":1}"`, 1), `"arguments": {"a":1}}`},
		{"text becomes an object", "calls-wrapped.jinja", strings.Replace(call, "ARGS", `"{\"a\":1}"`, 1), `"arguments": {"a": 1}}`},
		{"text where an object would fail", "calls-plain.jinja", strings.Replace(call, "ARGS", `"{\"a\":1}"`, 1), `f({"a":1})`},
		{"object stays", "calls-wrapped.jinja", strings.Replace(call, "ARGS", `{"a":1}`, 1), `"arguments": {"a": 1}}`},
		{"empty text", "calls-wrapped.jinja", strings.Replace(call, "ARGS", `""`, 1), `"arguments": {}}`},
		{"text that is no JSON", "calls-wrapped.jinja", strings.Replace(call, "ARGS", `"{a"`, 1), `"arguments": "{a"}`},
		{"parts joined", "calls-wrapped.jinja", `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}`, "<user>a\nb\n"},
		{"parts joined, not printed as a list", "calls-plain.jinja", `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}`, "[user] a\n"},
		{"parts kept", "calls-fields.jinja", `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}`, "@user\na<picture 1>\n@end"},
		{"developer", "calls-wrapped.jinja", `{"messages": [{"role": "developer", "content": "d"}]}`, "<system>d\n"},
		{"effort none", "calls-json.jinja", `{"messages": [{"role": "user", "content": "u"}], "reasoning_effort": "none"}`, "<mind>\n\n</mind>"},
	} {
		req, err := ParseRequest([]byte(c.req))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		tmpl := load(t, c.tmpl)
		for range 2 { // rendering leaves the request as it is
			got, err := tmpl.Render(req, Limits{})
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%s: %v, %q lacks %q", c.name, err, got, c.want)
			}
		}
	}
	req, err := ParseRequest([]byte(`{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "calls-wrapped.jinja").Render(req, Limits{}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a picture for a template of text: %v", err)
	}
}

func TestPlainRequest(t *testing.T) {
	tmpl := load(t, "calls-wrapped.jinja")
	req := NewRequest(Message{"system", "s"})
	req.Add(Message{"user", "bad \xff byte"})
	got, err := tmpl.Render(req, Limits{})
	if want := "<system>s\n<user>bad \uFFFD byte\n<assistant>"; err != nil || got != want {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	req.Truncate(1)
	req.AddGenerationPrompt = false
	if got, err := tmpl.Render(req, Limits{}); err != nil || got != "<system>s\n" || req.Len() != 1 {
		t.Errorf("%v, %q", err, got)
	}
	if err := req.SetKwargs([]byte(`{"enable_thinking": false}`)); err != nil {
		t.Error(err)
	}
	if err := req.SetKwargs([]byte(`{"messages": []}`)); fault.CodeOf(err) != fault.Usage {
		t.Errorf("messages among the variables: %v", err)
	}
}

func TestBadInput(t *testing.T) {
	for _, in := range []string{
		``, `[]`, `{}`, `{"messages": {}}`, `{"messages": [1]}`, `{"messages": [{"content": "x"}]}`,
		`{"messages": [{"role": 1, "content": "x"}]}`, `{"messages": [{"role": "user"}]}`,
		`{"messages": [{"role": "user", "content": 5}]}`, `{"messages": [{"role": "user", "content": ["x"]}]}`,
		`{"messages": [{"role": "user", "content": [{"text": "x"}]}]}`, `{"messages": [{"role": "assistant", "tool_calls": 1}]}`,
		`{"messages": [{"role": "assistant", "tool_calls": [1]}]}`, `{"messages": [], "tools": {}}`, `{"messages": [], "tools": [1]}`,
		`{"messages": [], "add_generation_prompt": "yes"}`, `{"messages": [], "enable_thinking": "no"}`,
		`{"messages": [], "chat_template_kwargs": []}`, `{"messages": [], "chat_template_kwargs": {"tools": []}}`,
		`{"messages": [` + strings.Repeat("[", 200),
	} {
		_, err := ParseRequest([]byte(in))
		if fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: %v", in, err)
		}
	}
	if _, err := Parse("{% if %}"); fault.CodeOf(err) != fault.Model {
		t.Errorf("a broken template: %v", err)
	}
}

// FuzzRequest feeds any request to the templates of testdata: no panic and one line of error.
func FuzzRequest(f *testing.F) {
	data, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		f.Fatal(err)
	}
	var rows []struct{ Request json.RawMessage }
	if err := json.Unmarshal(data, &rows); err != nil {
		f.Fatal(err)
	}
	for _, row := range rows {
		f.Add([]byte(row.Request))
	}
	f.Add([]byte(`{"messages": [{"role": "assistant", "tool_calls": [{"arguments": "[1]"}, {"function": {"arguments": "{}"}}]}]}`))
	templates := []*Template{load(f, "calls-json.jinja"), load(f, "calls-fields.jinja"), load(f, "calls-plain.jinja"), load(f, "calls-wrapped.jinja")}
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := ParseRequest(data)
		for _, tmpl := range templates {
			if err == nil {
				_, err = tmpl.Render(req, Limits{Steps: 20_000, Memory: 4 << 20, Output: 1 << 20})
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of several lines: %q", err)
			}
		}
	})
}
