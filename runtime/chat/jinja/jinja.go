// Package jinja renders the chat templates of language models: a bounded subset of Jinja with the
// semantics of Python's jinja2 as Hugging Face sets it up (ImmutableSandboxedEnvironment,
// trim_blocks and lstrip_blocks, loop controls, the generation tag, json.dumps as tojson).
//
// Text, numbers, containers and their printed forms follow Python: a template sees code points, not
// bytes, dictionaries keep the order of insertion, and {{ 1e16 }} prints 1e+16.
// Inheritance, includes and imports are left out; a chat template is one text.
//
// A template is hostile until proven otherwise. Parse bounds its size and nesting; Render counts
// steps, nesting, bytes produced and bytes made on the way, and everything that could grow (range,
// multiplication, joins, padding, tojson) is counted before it is built.
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// Limits bound one rendering. A zero field takes its default.
type Limits struct {
	Steps  int   // evaluated nodes, with long scans counted by length; default 20 million
	Depth  int   // nested evaluations, macro calls included; default 3000
	Output int64 // bytes of the result; default 64 MiB
	Memory int64 // bytes of all values made on the way, dead ones included; default 256 MiB
}

// What a zero field of Limits means.
const (
	DefaultSteps  = 20_000_000
	DefaultDepth  = 3000
	DefaultOutput = 64 << 20
	DefaultMemory = 256 << 20
)

// MaxSource is the longest template that Parse takes, in bytes. Real ones stay below 64 KiB.
const MaxSource = 1 << 20

// maxNesting bounds the nesting of statements and brackets in the source.
const maxNesting = 200

// An Error tells what a template did wrong and in which of its lines, on one line.
type Error struct {
	Line int // 1-based; 0 when no line is to blame
	Msg  string
	// Raised is set when the template itself refused its input with raise_exception.
	Raised bool
}

func (e *Error) Error() string {
	msg := brief(strings.Join(strings.Fields(e.Msg), " "), 1000)
	if e.Line == 0 {
		return "chat template: " + msg
	}
	return fmt.Sprintf("chat template: line %d: %s", e.Line, msg)
}

// brief cuts text for an error after about n bytes.
func brief(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// A Template is a parsed template; it is immutable and may be rendered from several goroutines.
type Template struct {
	body []stmt
}

// Parse reads a template. The error is an *Error.
func Parse(src string) (t *Template, err error) {
	if len(src) > MaxSource {
		return nil, &Error{Msg: fmt.Sprintf("%d bytes long, more than the %d allowed", len(src), MaxSource)}
	}
	defer catch(&err)
	p := &parser{toks: lex(strings.ToValidUTF8(src, "\uFFFD"))}
	return &Template{body: p.template()}, nil
}

// Render runs the template with vars as its global variables. now is the time that strftime_now
// tells; with the zero time that function is an error. The error is an *Error.
func (t *Template) Render(vars *Map, now time.Time, lim Limits) (out string, err error) {
	defer catch(&err)
	r := newRun(vars, now, lim)
	w := &buffer{run: r, limit: r.lim.Output, what: "output"}
	r.exec(t.body, w, r.top)
	return w.String(), nil
}

// catch turns the panic by which the package reports a template's fault into an error.
func catch(err *error) {
	switch e := recover().(type) {
	case nil:
	case *Error:
		*err = e
	default:
		panic(e)
	}
}

// run is the state of one rendering.
type run struct {
	lim   Limits
	now   time.Time
	top   *scope
	line  int
	steps int
	depth int
	made  int64
}

func newRun(vars *Map, now time.Time, lim Limits) *run {
	or := func(n, def int64) int64 {
		if n <= 0 {
			return def
		}
		return n
	}
	lim.Steps = int(or(int64(lim.Steps), DefaultSteps))
	lim.Depth = int(or(int64(lim.Depth), DefaultDepth))
	lim.Output = or(lim.Output, DefaultOutput)
	lim.Memory = or(lim.Memory, DefaultMemory)
	r := &run{lim: lim, now: now}
	r.top = &scope{vars: map[string]Value{}, parent: globals}
	if vars != nil {
		for i := range vars.ents {
			if name, ok := vars.ents[i].key.(string); ok {
				r.top.vars[name] = vars.ents[i].val
			}
		}
	}
	return r
}

func (r *run) fail(format string, args ...any) {
	panic(&Error{Line: r.line, Msg: fmt.Sprintf(format, args...)})
}

// step counts n units of work.
func (r *run) step(n int) {
	r.steps += n
	if r.steps > r.lim.Steps {
		r.fail("the template needs more than %d steps", r.lim.Steps)
	}
}

// scan counts the reading of n bytes.
func (r *run) scan(n int) { r.step(n >> 8) }

// grow counts n bytes that are about to be made.
func (r *run) grow(n int64) {
	if n > r.lim.Memory-r.made {
		r.fail("the template makes more than %d bytes of values", r.lim.Memory)
	}
	r.made += n
}

// enter and leave count nesting; a fault ends the run, so leave needs no defer.
func (r *run) enter() {
	if r.depth++; r.depth > r.lim.Depth {
		r.fail("nested or recursing deeper than %d levels", r.lim.Depth)
	}
}

func (r *run) leave() { r.depth-- }

// buffer collects output and counts it.
type buffer struct {
	strings.Builder
	run   *run
	limit int64
	what  string
}

func (b *buffer) put(s string) {
	if b.limit > 0 && int64(b.Len())+int64(len(s)) > b.limit {
		b.run.fail("more than %d bytes of %s", b.limit, b.what)
	}
	b.run.grow(int64(len(s)))
	b.WriteString(s)
}

// scope is one level of variables: the template's, a loop turn's, a macro call's.
type scope struct {
	vars   map[string]Value
	parent *scope
}

func (s *scope) inner() *scope { return &scope{parent: s} }

func (s *scope) set(name string, v Value) {
	if s.vars == nil {
		s.vars = map[string]Value{}
	}
	s.vars[name] = v
}

func (s *scope) get(name string) (Value, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}
