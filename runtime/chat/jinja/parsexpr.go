package jinja

import (
	"math/big"
	"strconv"
	"strings"
)

// expr reads an expression; cond allows "a if b else c".
func (p *parser) expr(cond bool) expr {
	p.enter()
	defer p.leave()
	e := p.or()
	for cond && p.cur().is(tName, "if") {
		n := &condExpr{at: at(p.next().line), yes: e}
		soft := p.soft
		p.soft = true
		n.test = p.or()
		if p.word("else") {
			n.no = p.expr(true)
		}
		p.soft = soft
		e = n
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.cur().is(tName, "or") {
		e = &logicExpr{at(p.next().line), true, e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.cur().is(tName, "and") {
		e = &logicExpr{at(p.next().line), false, e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if !p.cur().is(tName, "not") {
		return p.compare()
	}
	p.enter()
	defer p.leave()
	return &notExpr{at(p.next().line), p.not()}
}

func (p *parser) compare() expr {
	e := p.sum()
	n := &compareExpr{at: at(p.cur().line), first: e}
	for {
		t := p.cur()
		op := t.text
		switch {
		case t.kind == tOp && comparisons[op] != nil, t.is(tName, "in"):
		case t.is(tName, "not") && p.look().is(tName, "in"):
			p.next()
			op = "not in"
		case len(n.ops) == 0:
			return e
		default:
			return n
		}
		p.next()
		n.ops = append(n.ops, op)
		n.args = append(n.args, p.sum())
	}
}

// chain reads operands of one precedence, grouped from the left.
func (p *parser) chain(operand func() expr, ops ...string) expr {
	e := operand()
	for {
		t := p.cur()
		found := false
		for _, op := range ops {
			found = found || t.is(tOp, op)
		}
		if !found {
			return e
		}
		p.next()
		e = &binaryExpr{at(t.line), t.text, e, operand()}
	}
}

func (p *parser) sum() expr     { return p.chain(p.concat, "+", "-") }
func (p *parser) product() expr { return p.chain(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.chain(func() expr { return p.unary(true) }, "**") }

func (p *parser) concat() expr {
	e := p.product()
	if !p.cur().is(tOp, "~") {
		return e
	}
	n := &concatExpr{at(p.cur().line), []expr{e}}
	for p.op("~") {
		n.parts = append(n.parts, p.product())
	}
	return n
}

func (p *parser) unary(filters bool) expr {
	p.enter()
	defer p.leave()
	t := p.cur()
	var e expr
	if t.is(tOp, "-") || t.is(tOp, "+") {
		p.next()
		e = &signExpr{at(t.line), t.text == "-", p.unary(false)}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	for filters {
		switch {
		case p.op("|"):
			e = &filterExpr{e, p.filter()}
		case p.cur().is(tName, "is"):
			e = p.test(e)
		case p.cur().is(tOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	line := at(t.line)
	switch t.kind {
	case tName:
		if v, ok := constants[t.text]; ok {
			return &literal{line, v}
		}
		p.names(t.text)
		return &nameExpr{line, t.text}
	case tString:
		text := []string{t.text}
		for p.cur().kind == tString {
			text = append(text, p.next().text)
		}
		return &literal{line, strings.Join(text, "")}
	case tInt:
		b, ok := new(big.Int).SetString(strings.ReplaceAll(t.text, "_", ""), 0)
		if t.text[0] == '0' && strings.Trim(t.text, "0_") == "" {
			b, ok = new(big.Int), true
		}
		if !ok || b.BitLen() > maxBits || isDecimal(t.text[len(t.text)-1]) && len(t.text) > 1 && t.text[0] == '0' && isDecimal(t.text[1]) && b.Sign() != 0 {
			syntax(t.line, "bad integer '%.40s'", t.text)
		}
		if b.IsInt64() {
			return &literal{line, b.Int64()}
		}
		return &literal{line, b}
	case tFloat:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64)
		return &literal{line, f}
	case tOp:
		switch t.text {
		case "(":
			return p.parens(line)
		case "[":
			return &listExpr{line, p.list("]"), false}
		case "{":
			return p.dict(line)
		}
	}
	if t.kind != tEOF {
		p.pos--
	}
	p.fail("unexpected %s", t)
	return nil
}

func (p *parser) parens(line at) expr {
	if p.op(")") {
		return &listExpr{line, nil, true}
	}
	e := p.tuple(true)
	p.expect(tOp, ")")
	return e
}

// list reads expressions with commas between them up to an end mark; a last comma may be there.
func (p *parser) list(end string) []expr {
	var out []expr
	for !p.op(end) {
		if len(out) > 0 {
			p.expect(tOp, ",")
			if p.op(end) {
				break
			}
		}
		out = append(out, p.expr(true))
	}
	return out
}

func (p *parser) dict(line at) expr {
	n := &dictExpr{at: line}
	for !p.op("}") {
		if len(n.keys) > 0 {
			p.expect(tOp, ",")
			if p.op("}") {
				break
			}
		}
		n.keys = append(n.keys, p.expr(true))
		p.expect(tOp, ":")
		n.values = append(n.values, p.expr(true))
	}
	return n
}

func (p *parser) postfix(e expr) expr {
	for {
		t := p.cur()
		switch {
		case p.op("."):
			name := p.next()
			switch name.kind {
			case tName:
				e = &attrExpr{at(t.line), e, name.text}
			case tInt:
				i, err := strconv.ParseInt(name.text, 10, 64)
				if err != nil {
					syntax(name.line, "bad index '%.40s'", name.text)
				}
				e = &itemExpr{at(t.line), e, &literal{at(t.line), i}}
			default:
				syntax(name.line, "expected a name or number after '.', got %s", name)
			}
		case p.op("["):
			e = p.subscript(at(t.line), e)
		case t.is(tOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(line at, e expr) expr {
	var items []expr
	for !p.op("]") {
		if len(items) > 0 {
			p.expect(tOp, ",")
		}
		var first expr
		if !p.cur().is(tOp, ":") {
			first = p.expr(true)
		}
		if !p.op(":") {
			items = append(items, first)
			continue
		}
		s := &sliceExpr{at: line, obj: e, start: first}
		s.stop = p.bound()
		if p.op(":") {
			s.step = p.bound()
		}
		p.expect(tOp, "]")
		return s
	}
	switch len(items) {
	case 0:
		p.fail("expected an index in the brackets")
	case 1:
		return &itemExpr{line, e, items[0]}
	}
	return &itemExpr{line, e, &listExpr{line, items, true}}
}

// bound reads a slice bound that may be left out.
func (p *parser) bound() expr {
	if t := p.cur(); t.is(tOp, ":") || t.is(tOp, "]") {
		return nil
	}
	return p.expr(true)
}

func (p *parser) call(e expr) expr {
	return &callExpr{at(p.cur().line), e, p.args()}
}

func (p *parser) args() argList {
	var a argList
	p.expect(tOp, "(")
	for n := 0; !p.op(")"); n++ {
		if n > 0 {
			p.expect(tOp, ",")
			if p.op(")") {
				break
			}
		}
		switch {
		case p.op("*"):
			a.star = p.expr(true)
		case p.op("**"):
			a.stars = p.expr(true)
		case p.cur().kind == tName && p.look().is(tOp, "="):
			a.names = append(a.names, p.next().text)
			p.next()
			a.named = append(a.named, p.expr(true))
		case len(a.names) > 0 || a.star != nil || a.stars != nil:
			p.fail("a positional argument follows a named one")
		default:
			a.pos = append(a.pos, p.expr(true))
		}
	}
	return a
}

// filter reads a filter's name and arguments, after the bar.
func (p *parser) filter() *filterCall {
	f := &filterCall{at: at(p.cur().line)}
	f.name = p.dotted()
	if _, ok := filters[f.name]; !ok && !p.soft {
		syntax(int(f.at), "no filter named '%s'", f.name)
	}
	if p.cur().is(tOp, "(") {
		f.args = p.args()
	}
	return f
}

func (p *parser) test(e expr) expr {
	p.next()
	negated := p.word("not")
	n := &testExpr{at: at(p.cur().line), arg: e}
	n.name = p.dotted()
	if _, ok := tests[n.name]; !ok && !p.soft {
		syntax(int(n.at), "no test named '%s'", n.name)
	}
	t := p.cur()
	switch {
	case t.is(tOp, "("):
		n.args = p.args()
	case t.kind == tString, t.kind == tInt, t.kind == tFloat, t.is(tOp, "["), t.is(tOp, "{"),
		t.kind == tName && t.text != "else" && t.text != "or" && t.text != "and":
		if t.is(tName, "is") {
			p.fail("tests cannot be chained with 'is'")
		}
		n.args.pos = []expr{p.postfix(p.primary())}
	}
	if negated {
		return &notExpr{n.at, n}
	}
	return n
}
