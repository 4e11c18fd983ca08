package jinja

import (
	"fmt"
	"slices"
	"strings"
)

type parser struct {
	toks  []token
	pos   int
	depth int
	loops int      // enclosing loops within the current macro
	soft  bool     // directly in a condition: an unknown filter is a fault only when it is reached
	macro []*macro // enclosing macros
}

func (p *parser) cur() token  { return p.toks[p.pos] }
func (p *parser) look() token { return p.toks[min(p.pos+1, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tEOF {
		p.pos++
	}
	return t
}

func (p *parser) fail(format string, args ...any) { syntax(p.cur().line, format, args...) }

func (p *parser) accept(k kind, text string) bool {
	if !p.cur().is(k, text) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) op(text string) bool   { return p.accept(tOp, text) }
func (p *parser) word(text string) bool { return p.accept(tName, text) }

func (p *parser) expect(k kind, text string) token {
	if t := p.cur(); t.kind != k || text != "" && t.text != text {
		want := kindNames[k]
		if text != "" {
			want = fmt.Sprintf("'%s'", text)
		}
		p.fail("expected %s, got %s", want, t)
	}
	return p.next()
}

func (p *parser) enter() {
	if p.depth++; p.depth > maxNesting {
		p.fail("nested deeper than %d levels", maxNesting)
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) template() []stmt {
	body := p.body("")
	if p.cur().kind != tEOF {
		p.fail("unexpected %s", p.cur())
	}
	return body
}

// body reads statements up to a block that starts with one of the words in ends, and stops at that
// word; with ends empty it reads to the end of the template.
func (p *parser) body(ends ...string) []stmt {
	p.enter()
	defer p.leave()
	var out []stmt
	for {
		t := p.next()
		switch t.kind {
		case tEOF:
			if ends[0] != "" {
				p.fail("the template ends inside a block; '%s' is missing", ends[len(ends)-1])
			}
			return out
		case tData:
			out = append(out, &textStmt{at(t.line), t.text})
		case tVarBegin:
			e := p.tuple(true)
			p.expect(tVarEnd, "")
			out = append(out, &printStmt{at(t.line), e})
		default: // tBlockBegin; the lexer makes nothing else here
			name := p.cur()
			if name.kind != tName {
				p.fail("a tag name is missing after '{%%'")
			}
			if slices.Contains(ends, name.text) {
				return out
			}
			parse, ok := statements[name.text]
			if !ok {
				p.fail("unknown tag '%s'", name.text)
			}
			p.next()
			out = append(out, parse(p, at(name.line)))
			p.expect(tBlockEnd, "")
		}
	}
}

// block reads the end of a tag, then a body and the word that ends it.
func (p *parser) block(ends ...string) []stmt {
	p.op(":")
	p.expect(tBlockEnd, "")
	return p.body(ends...)
}

// hard reads something in which an unknown filter is a fault at once.
func (p *parser) hard(read func()) {
	soft := p.soft
	p.soft = false
	read()
	p.soft = soft
}

// statements is the table of tags.
var statements map[string]func(p *parser, line at) stmt

func init() {
	statements = map[string]func(p *parser, line at) stmt{
		"for":        (*parser).forStmt,
		"if":         (*parser).ifStmt,
		"set":        (*parser).setStmt,
		"macro":      (*parser).macroStmt,
		"call":       (*parser).callStmt,
		"filter":     (*parser).filterStmt,
		"with":       (*parser).withStmt,
		"generation": (*parser).generationStmt,
		"break":      func(p *parser, line at) stmt { return p.jump(line, stop, "break") },
		"continue":   func(p *parser, line at) stmt { return p.jump(line, again, "continue") },
	}
}

func (p *parser) jump(line at, s signal, name string) stmt {
	if p.loops == 0 {
		syntax(int(line), "'%s' outside of a loop", name)
	}
	return &jumpStmt{line, s}
}

func (p *parser) forStmt(line at) stmt {
	f := &forStmt{at: line}
	p.hard(func() {
		f.target = p.target("in", false)
		p.expect(tName, "in")
		f.iter = p.tuple(false, "recursive")
		if p.word("if") {
			f.test = p.expr(true)
		}
		f.recursive = p.word("recursive")
		p.loops++
		f.body = p.block("endfor", "else")
		p.loops--
		if p.next().text == "else" {
			f.other = p.block("endfor")
			p.next()
		}
	})
	return f
}

// target reads what an assignment or loop sets, up to a word: a name, or several to take the value
// apart; with spaces, also an attribute of a namespace.
func (p *parser) target(end string, spaces bool) *target {
	p.enter()
	defer p.leave()
	var items []*target
	for {
		if p.op("(") {
			items = append(items, p.target("", spaces))
			p.expect(tOp, ")")
		} else {
			items = append(items, p.targetName(spaces))
		}
		if !p.op(",") {
			if len(items) == 1 {
				return items[0]
			}
			break
		}
		if t := p.cur(); t.kind != tName && !t.is(tOp, "(") || t.text == end {
			break
		}
	}
	return &target{items: items}
}

func (p *parser) targetName(spaces bool) *target {
	t := p.expect(tName, "")
	if _, ok := constants[t.text]; ok {
		syntax(t.line, "cannot assign to '%s'", t.text)
	}
	if spaces && p.op(".") {
		return &target{name: t.text, attr: p.expect(tName, "").text}
	}
	return &target{name: t.text}
}

func (p *parser) ifStmt(line at) stmt {
	soft := p.soft
	p.soft = true
	n := &ifStmt{at: line}
	for {
		n.tests = append(n.tests, p.tuple(false))
		n.bodies = append(n.bodies, p.block("elif", "else", "endif"))
		end := p.next().text
		if end == "else" {
			n.other = p.block("endif")
			p.next()
		}
		if end != "elif" {
			p.soft = soft
			return n
		}
	}
}

func (p *parser) setStmt(line at) stmt {
	n := &setStmt{at: line, target: p.target("", true)}
	if n.value = p.assigned(); n.value == nil {
		n.block = p.setBlock()
	}
	return n
}

// assigned reads "= value"; nil when there is none.
func (p *parser) assigned() expr {
	if !p.op("=") {
		return nil
	}
	return p.tuple(true)
}

func (p *parser) setBlock() *capture {
	c := &capture{}
	p.hard(func() {
		for p.op("|") {
			c.filters = append(c.filters, p.filter())
		}
		c.body = p.block("endset")
	})
	p.next()
	return c
}

// nested reads a macro's parameters and body.
func (p *parser) nested(m *macro, end string, signature bool) {
	loops := p.loops
	p.loops = 0
	p.macro = append(p.macro, m)
	p.hard(func() {
		if signature {
			p.expect(tOp, "(")
			for !p.op(")") {
				if len(m.params) > 0 {
					p.expect(tOp, ",")
				}
				name := p.expect(tName, "").text
				var def expr
				if p.op("=") {
					def = p.expr(true)
				} else if n := len(m.defaults); n > 0 && m.defaults[n-1] != nil {
					p.fail("parameter '%s' without a default follows one with a default", name)
				}
				m.params = append(m.params, name)
				m.defaults = append(m.defaults, def)
			}
		}
	})
	if end != "" {
		p.hard(func() { m.body = p.block(end) })
		p.next()
	}
	p.macro = p.macro[:len(p.macro)-1]
	p.loops = loops
}

func (p *parser) macroStmt(line at) stmt {
	m := &macro{name: p.expect(tName, "").text}
	p.nested(m, "endmacro", true)
	return &macroStmt{line, m}
}

func (p *parser) callStmt(line at) stmt {
	n := &callStmt{at: line, caller: &macro{}}
	p.nested(n.caller, "", p.cur().is(tOp, "("))
	call, ok := p.expr(true).(*callExpr)
	if !ok {
		syntax(int(line), "expected a call after 'call'")
	}
	n.call = call
	p.nested(n.caller, "endcall", false)
	return n
}

func (p *parser) filterStmt(line at) stmt {
	n := &filterStmt{at: line}
	p.hard(func() {
		n.filters = append(n.filters, p.filter())
		for p.op("|") {
			n.filters = append(n.filters, p.filter())
		}
		n.body = p.block("endfilter")
	})
	p.next()
	return n
}

func (p *parser) withStmt(line at) stmt {
	n := &withStmt{at: line}
	p.hard(func() {
		for p.cur().kind != tBlockEnd {
			if len(n.names) > 0 {
				p.expect(tOp, ",")
			}
			n.names = append(n.names, p.expect(tName, "").text)
			p.expect(tOp, "=")
			n.values = append(n.values, p.expr(true))
		}
		n.body = p.block("endwith")
	})
	p.next()
	return n
}

// generationStmt marks what the assistant said; like a call block it has a scope of its own.
func (p *parser) generationStmt(line at) stmt {
	loops := p.loops
	p.loops = 0
	n := &withStmt{at: line}
	p.hard(func() { n.body = p.block("endgeneration") })
	p.next()
	p.loops = loops
	return n
}

// tupleEnd tells whether the next token ends a list without brackets.
func (p *parser) tupleEnd(words []string) bool {
	t := p.cur()
	switch t.kind {
	case tVarEnd, tBlockEnd, tEOF:
		return true
	case tOp:
		return t.text == ")"
	}
	return t.kind == tName && slices.Contains(words, t.text)
}

// tuple reads an expression or several with commas between them.
func (p *parser) tuple(cond bool, ends ...string) expr {
	line := at(p.cur().line)
	if p.tupleEnd(ends) {
		p.fail("expected an expression, got %s", p.cur())
	}
	items := []expr{p.expr(cond)}
	if !p.cur().is(tOp, ",") {
		return items[0]
	}
	for p.op(",") && !p.tupleEnd(ends) {
		items = append(items, p.expr(cond))
	}
	return &listExpr{line, items, true}
}

// names says what the variables of an expression are to the macro around it.
func (p *parser) names(name string) {
	for _, m := range p.macro {
		m.caller = m.caller || name == "caller"
		m.varargs = m.varargs || name == "varargs"
		m.kwargs = m.kwargs || name == "kwargs"
	}
}

// constants are the names that stand for a value.
var constants = map[string]Value{
	"true": true, "True": true, "false": false, "False": false, "none": None{}, "None": None{},
}

// dotted reads a name that may have dots in it, as filters and tests have.
func (p *parser) dotted() string {
	parts := []string{p.expect(tName, "").text}
	for p.op(".") {
		parts = append(parts, p.expect(tName, "").text)
	}
	return strings.Join(parts, ".")
}
