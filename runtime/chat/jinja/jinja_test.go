package jinja

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// noon is the time that testdata/python.json was made with.
var noon = time.Date(2025, 3, 7, 9, 5, 3, 0, time.UTC)

var testJSON = JSONLimits{Bytes: 1 << 20, Depth: 100, Values: 1 << 16}

func decodeVars(t testing.TB, data []byte) *Map {
	t.Helper()
	v, err := DecodeJSON(data, testJSON)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := v.(*Map)
	if !ok {
		t.Fatalf("not an object: %s", data)
	}
	return m
}

func render(t testing.TB, src, vars string, lim Limits) (string, error) {
	t.Helper()
	tmpl, err := Parse(src)
	if err != nil {
		return "", err
	}
	return tmpl.Render(decodeVars(t, []byte(vars)), noon, lim)
}

// TestPython compares with Python: the templates in testdata/python.json were written for this
// project, and what each gives, or that it fails, came from Python 3.11's jinja2 3.1.6 under the
// settings of Hugging Face's transformers (ImmutableSandboxedEnvironment, trim_blocks,
// lstrip_blocks, loopcontrols and the generation tag, json.dumps as tojson, raise_exception and
// strftime_now).
func TestPython(t *testing.T) {
	data, err := os.ReadFile("testdata/python.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vars json.RawMessage
		Rows []struct {
			Template, Want string
			Fails          bool
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Rows) < 150 {
		t.Fatalf("only %d rows", len(file.Rows))
	}
	for _, row := range file.Rows {
		got, err := render(t, row.Template, string(file.Vars), Limits{})
		switch {
		case row.Fails && err == nil:
			t.Errorf("%q: gives %q, Python fails", row.Template, got)
		case !row.Fails && err != nil:
			t.Errorf("%q: %v", row.Template, err)
		case got != row.Want:
			t.Errorf("%q:\n got %q\nwant %q", row.Template, got, row.Want)
		}
	}
}

// TestErrors checks that errors name the line and fit on one.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"a\n{{ nope.x }}", "chat template: line 2: 'nope' is undefined"},
		{"{% if x %}\n\n{{ 1 + 'a' }}{% endif %}", "chat template: line 3: unsupported operand type(s) for +: 'int' and 'str'"},
		{"{% macro m() %}\n{{ raise_exception('no\nway') }}\n{% endmacro %}\n{{ m() }}", "chat template: line 2: no way"},
		{"\n\n{% if x %}", "chat template: line 3: the template ends inside a block; 'endif' is missing"},
		{"\n{% include 'x' %}", "chat template: line 2: unknown tag 'include'"},
		{"{{ 'a'|twist }}", "chat template: line 1: no filter named 'twist'"},
		{"{{ (1 }}", "chat template: line 1: unexpected '}'"},
		{"x\n{{ 'abc", "chat template: line 2: a string is opened here and never closed; add '"},
		{strings.Repeat("a", MaxSource+1), "chat template: 1048577 bytes long, more than the 1048576 allowed"},
	} {
		_, err := render(t, c.src, `{"x": 1}`, Limits{})
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60q: %v, want %s", c.src, err, c.want)
		}
	}
	_, err := render(t, "{{ raise_exception('x') }}", `{}`, Limits{})
	var e *Error
	if !errors.As(err, &e) || !e.Raised {
		t.Errorf("raise_exception is not told apart: %v", err)
	}
	tmpl, err := Parse("{{ strftime_now('%Y') }}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Render(nil, time.Time{}, Limits{}); err == nil {
		t.Error("strftime_now tells a time that nobody gave")
	}
}

// hostile are templates that would take all time or memory if nothing stopped them.
var hostile = []string{
	"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
	"{% for i in range(100000) %}{% for j in range(100000) %}xxxxxxxxxx{% endfor %}{% endfor %}",
	"{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
	"{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	"{% set ns = namespace(s=[0]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	"{% set ns = namespace(s=[0]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
	"{% set ns = namespace(s=[0]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
	"{% set ns = namespace(s=[0], t=[0]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
	"{% set ns = namespace(s=[0], t=[0]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s < ns.t }}",
	"{% set ns = namespace(s=(0,)) %}{% for i in range(100) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
	"{% set ns = namespace(s=[0]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
	"{% set ns = namespace(s=[0]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson(indent=1000) }}",
	"{% set ns = namespace(s=0) %}{% set ns.s = ns %}{{ ns }}",
	"{{ 'x' * 99999999999 }}", "{{ [0] * 99999999999 }}", "{{ 9 ** (9 ** 9) }}", "{{ range(99999999999) }}",
	"{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
	"{{ '%99999999999d' % 1 }}", "{{ '{:>99999999999}'.format(1) }}", "{{ '%.99999999f' % 1 }}", "{{ 'x'.center(99999999999) }}", "{{ 'x'|indent(99999999999, true) }}",
	"{{ [1]|tojson(indent=99999999999) }}", "{{ [1]|batch(99999999999, 0)|list }}", "{{ [1]|slice(99999999999)|list }}",
	"{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}", "{{ ('y' * 1000000).join(range(100000)|map('string')) }}",
	"{{ 'a'.ljust(9999999, 'b').split('b')|join('c' * 999) }}",
	"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
	"{% macro m(x) %}{{ m(x + 1) }}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}",
	"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"{% call m() %}{% endcall %}{% macro m() %}{{ caller() }}{% endmacro %}{% macro w() %}{% call w() %}{% endcall %}{% endmacro %}{{ w() }}",
	"{% set s = ('ab' * 1000000) %}{% for i in range(99999) %}{{ s in s ~ 'c' }}{% endfor %}",
	"{% set s = 'é' * 1000000 %}{% for i in range(99999) %}{{ s[i] }}{% endfor %}",
	"{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{% if s == s ~ 'b' %}{% endif %}{% endfor %}",
	"{{ " + strings.Repeat("(", 5000), "{{ " + strings.Repeat("[", 300) + strings.Repeat("]", 300) + " }}",
	"{{ " + strings.Repeat("-", 5000) + "1 }}", "{{ " + strings.Repeat("not ", 5000) + "1 }}",
	"{{ 1" + strings.Repeat(" + 1", 20000) + " }}", "{{ x" + strings.Repeat("|list", 20000) + " }}", "{{ x" + strings.Repeat(".a", 20000) + " }}",
	"{{ 1" + strings.Repeat(" if 1", 20000) + " }}", "{{ 1" + strings.Repeat(" if 1 else 1", 20000) + " }}", strings.Repeat("{% if 1 %}", 5000), "{{ 1" + strings.Repeat("9", 20000) + " }}",
}

// TestHostile checks that every hostile template ends with one line of error within small limits.
func TestHostile(t *testing.T) {
	lim := Limits{Steps: 300_000, Memory: 16 << 20, Output: 1 << 20}
	for _, src := range hostile {
		_, err := render(t, src, `{"x": [1]}`, lim)
		if err == nil {
			t.Errorf("%.80q: nothing stopped it", src)
		} else if msg := err.Error(); strings.Contains(msg, "\n") || len(msg) > 200 {
			t.Errorf("%.80q: error of %d bytes: %.200q", src, len(msg), msg)
		}
	}
}

func TestOutputLimit(t *testing.T) {
	src := "{% for i in range(100) %}0123456789{% endfor %}"
	if out, err := render(t, src, `{}`, Limits{Output: 1000}); err != nil || len(out) != 1000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if _, err := render(t, src, `{}`, Limits{Output: 999}); err == nil {
		t.Error("1000 bytes pass a limit of 999")
	}
}

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":1.0,"c":1e2,"b":2}`, `{'b': 2, 'a': 1.0, 'c': 100.0}`},
		{`[123456789012345678901234567890, -0, -0.0, 1E400]`, `[123456789012345678901234567890, 0, -0.0, inf]`},
		{`[true, null, "\u00e9\ud83d\ude42\n"]`, `[True, None, 'é🙂\n']`},
	} {
		v, err := DecodeJSON([]byte(c.in), testJSON)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := newRun(nil, noon, Limits{}).text(v); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
	for _, in := range []string{"", "{", "[1,]", `{"a"}`, `{"a":1,}`, "1 2", "nul", strings.Repeat("[", 101) + strings.Repeat("]", 101), `[` + strings.Repeat("1,", 1<<16) + `1]`, strings.Repeat(" ", 1<<20) + "1"} {
		if v, err := DecodeJSON([]byte(in), testJSON); err == nil {
			t.Errorf("%.20q gives %v", in, v)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: error of several lines", in)
		}
	}
}

// FuzzRender feeds any template and any variables: no panic, one line of error, and an end soon.
func FuzzRender(f *testing.F) {
	data, err := os.ReadFile("testdata/python.json")
	if err != nil {
		f.Fatal(err)
	}
	var file struct {
		Vars json.RawMessage
		Rows []struct{ Template string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		f.Fatal(err)
	}
	for _, row := range file.Rows {
		f.Add(row.Template, string(file.Vars))
	}
	for _, src := range hostile {
		f.Add(src[:min(len(src), 2000)], `{"x": [1]}`)
	}
	f.Fuzz(func(t *testing.T, src, vars string) {
		v, err := DecodeJSON([]byte(vars), testJSON)
		m, ok := v.(*Map)
		if err != nil || !ok {
			m = NewMap()
		}
		tmpl, err := Parse(src)
		if err == nil {
			_, err = tmpl.Render(m, noon, Limits{Steps: 20_000, Memory: 4 << 20, Output: 1 << 20})
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("error of several lines: %q", err)
		}
	})
}
