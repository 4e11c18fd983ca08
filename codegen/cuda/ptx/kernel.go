package ptx

import (
	"fmt"
	"strconv"
	"strings"
)

// entry reads a kernel from its name on.
func (p *parser) entry() error {
	name, err := p.want(tokWord)
	if err != nil {
		return err
	}
	for _, k := range p.m.Kernels {
		if k.Name == name.text {
			return fmt.Errorf("kernel %s is there twice", k.Name)
		}
	}
	k := &Kernel{Name: name.text, Shared: int(p.m.shared)}
	p.k, p.sc, p.fix = k, newScope(p.top), nil
	defer func() { p.k, p.sc = nil, p.top }()
	if p.accept('(') {
		if err := p.params(); err != nil {
			return err
		}
	}
	for p.peek().kind == tokWord {
		if err := p.property(); err != nil {
			return err
		}
	}
	if p.accept(';') { // a declaration
		return nil
	}
	if _, err := p.want('{'); err != nil {
		return err
	}
	if err := p.block(); err != nil {
		return err
	}
	for _, f := range p.fix {
		at, ok := f.scope.label(f.name)
		if !ok {
			return fmt.Errorf("kernel %s: there is no label %s", k.Name, f.name)
		}
		k.body[f.at].target = at
	}
	p.m.Kernels = append(p.m.Kernels, k)
	return nil
}

func (s *scope) label(name string) (int, bool) {
	for ; s != nil; s = s.up {
		if at, ok := s.labels[name]; ok {
			return at, true
		}
	}
	return 0, false
}

// maxParams bounds a parameter block, as sm_70 and newer have it.
const maxParams = 32764

func (p *parser) params() error {
	for !p.accept(')') {
		if t := p.next(); t.text != ".param" {
			return fmt.Errorf("%q begins no parameter", t.text)
		}
		align, elem := 0, 0
		for p.peek().kind == tokWord && p.peek().text[0] == '.' {
			w := p.next().text
			switch w {
			case ".align":
				n, err := p.size("alignment", 128)
				if err != nil {
					return err
				}
				if elem == 0 { // after .ptr it is that of what is pointed at
					align = n
				}
			case ".ptr", ".global", ".shared", ".const", ".local":
			default:
				t, ok := typeOf(w[1:])
				if !ok || t.bits < 8 {
					return fmt.Errorf("%s is no type of a parameter", w)
				}
				elem = t.bits / 8
			}
		}
		name, err := p.want(tokWord)
		if err != nil {
			return err
		}
		count := 1
		if p.accept('[') {
			if count, err = p.size("parameter", maxParams); err != nil {
				return err
			}
			if _, err := p.want(']'); err != nil {
				return err
			}
		}
		if align == 0 {
			align = elem
		}
		if elem == 0 || align&(align-1) != 0 {
			return fmt.Errorf("parameter %s has no type or a bad alignment", name.text)
		}
		if p.sc.vars[name.text] != nil {
			return fmt.Errorf("parameter %s is there twice", name.text)
		}
		off := (p.k.paramBytes + align - 1) &^ (align - 1)
		p.k.paramBytes = off + elem*count
		if p.k.paramBytes > maxParams {
			return fmt.Errorf("more than %d bytes of parameters", maxParams)
		}
		p.k.Params = append(p.k.Params, Param{name.text, elem * count, off})
		p.sc.vars[name.text] = &variable{name: name.text, space: "param", offset: uint64(off), size: uint64(elem * count)}
		if !p.accept(',') && p.peek().kind != ')' {
			_, err := p.want(')')
			return err
		}
	}
	return nil
}

// property reads what stands between parameters and body.
func (p *parser) property() error {
	t := p.next()
	switch t.text {
	case ".maxntid", ".reqntid":
		n := 1
		for {
			k, err := p.size("threads", 1024)
			if err != nil {
				return err
			}
			if n *= k; n > 1024 {
				return fmt.Errorf("%s of more than 1024 threads", t.text)
			}
			if !p.accept(',') {
				break
			}
		}
		if p.k.MaxThreads = n; t.text == ".reqntid" {
			p.k.reqThreads = n
		}
	case ".minnctapersm", ".maxnctapersm", ".maxnreg":
		_, err := p.size(t.text, 1<<16)
		return err
	case ".noreturn":
	case ".pragma":
		p.skipLine()
	default:
		return fmt.Errorf("%s of a kernel is not supported", t.text)
	}
	return nil
}

// block reads statements up to the closing brace, whose opening one has been read.
func (p *parser) block() error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("blocks are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	for {
		t := p.peek()
		switch {
		case t.kind == '}':
			p.next()
			return nil
		case t.kind == '{':
			p.next()
			p.sc = newScope(p.sc)
			if err := p.block(); err != nil {
				return err
			}
			p.sc = p.sc.up
		case t.kind == ';':
			p.next()
		case t.kind == '@':
			if err := p.instruction(); err != nil {
				return err
			}
		case t.kind != tokWord:
			if t.kind == tokEOF {
				return fmt.Errorf("kernel %s has no end", p.k.Name)
			}
			return fmt.Errorf("%q begins no statement", t.text)
		case t.text == ".reg":
			if err := p.registers(); err != nil {
				return err
			}
		case t.text == ".shared" || t.text == ".local":
			if err := p.variable(false); err != nil {
				return err
			}
		case t.text == ".loc" || t.text == ".file" || t.text == ".pragma":
			p.skipLine()
		case t.text[0] == '.':
			return fmt.Errorf("%s in a kernel is not supported", t.text)
		case p.toks[p.pos+1].kind == ':':
			p.pos += 2
			if _, ok := p.sc.labels[t.text]; ok {
				return fmt.Errorf("label %s is there twice", t.text)
			}
			p.sc.labels[t.text] = len(p.k.body)
		default:
			if err := p.instruction(); err != nil {
				return err
			}
		}
	}
}

// registers reads ".reg .b32 %r<60>, t;".
func (p *parser) registers() error {
	p.next()
	w, err := p.want(tokWord)
	if err != nil {
		return err
	}
	t, ok := typeOf(strings.TrimPrefix(w.text, "."))
	if !ok {
		return fmt.Errorf("%s is no type of a register", w.text)
	}
	for {
		name, err := p.want(tokWord)
		if err != nil {
			return err
		}
		if p.accept('<') {
			n, err := p.size("registers", 1<<20)
			if err != nil {
				return err
			}
			if _, err := p.want('>'); err != nil {
				return err
			}
			p.sc.ranges[name.text] = rangeT{n, t.bits}
		} else if _, err := p.register(p.sc, name.text, t.bits); err != nil {
			return err
		}
		if !p.accept(',') {
			break
		}
	}
	_, err = p.want(';')
	return err
}

// register makes a register; a predicate is a type of one bit.
func (p *parser) register(sc *scope, name string, bits int) (operand, error) {
	if len(p.k.regs)+p.k.preds >= maxRegs {
		return operand{}, fmt.Errorf("kernel %s uses more than %d registers", p.k.Name, maxRegs)
	}
	if bits == 1 {
		p.k.preds++
		sc.regs[name] = -p.k.preds
		return operand{kind: kindPred, reg: p.k.preds - 1}, nil
	}
	p.k.regs = append(p.k.regs, register{name, bits})
	sc.regs[name] = len(p.k.regs) - 1
	return operand{kind: kindReg, reg: len(p.k.regs) - 1}, nil
}

// lookup resolves a name: a register, declared alone or in a range, or a variable.
func (p *parser) lookup(name string) (operand, error) {
	stem := strings.TrimRight(name, "0123456789")
	for s := p.sc; s != nil; s = s.up {
		if i, ok := s.regs[name]; ok {
			if i < 0 {
				return operand{kind: kindPred, reg: -1 - i}, nil
			}
			return operand{kind: kindReg, reg: i}, nil
		}
		if v := s.vars[name]; v != nil {
			return operand{kind: kindVar, v: v}, nil
		}
		if r, ok := s.ranges[stem]; ok && stem != name {
			if n, err := strconv.Atoi(name[len(stem):]); err != nil || n >= r.n {
				return operand{}, fmt.Errorf("register %s is outside %s<%d>", name, stem, r.n)
			}
			return p.register(s, name, r.bits)
		}
	}
	if name[0] == '%' || name == "WARP_SZ" {
		return operand{kind: kindSpecial, name: name}, nil
	}
	return operand{}, fmt.Errorf("%s is not declared", name)
}

// instruction reads a statement that is executed.
func (p *parser) instruction() error {
	first := p.peek()
	s := stmt{line: first.line, guard: -1, target: -1}
	if p.accept('@') {
		s.not = p.accept('!')
		t, err := p.want(tokWord)
		if err != nil {
			return err
		}
		o, err := p.lookup(t.text)
		if err != nil {
			return err
		}
		if o.kind != kindPred {
			return fmt.Errorf("%s guards an instruction and is no predicate", t.text)
		}
		s.guard = o.reg
	}
	op, err := p.want(tokWord)
	if err != nil {
		return err
	}
	s.op = op.text
	for !p.accept(';') {
		o, err := p.operand(s.op, 0)
		if err != nil {
			return err
		}
		s.args = append(s.args, o)
		if p.peek().kind != ';' {
			if _, err := p.want(','); err != nil {
				return err
			}
		}
	}
	s.text = strings.Join(strings.Fields(p.src[first.pos:p.toks[p.pos-1].pos]), " ")
	p.k.body = append(p.k.body, s)
	return nil
}

// operand reads one operand of an instruction.
func (p *parser) operand(op string, depth int) (operand, error) {
	if depth > 3 {
		return operand{}, fmt.Errorf("operands of %s are nested too deep", op)
	}
	switch t := p.peek(); t.kind {
	case '{':
		p.next()
		o := operand{kind: kindList}
		for {
			e, err := p.operand(op, depth+1)
			if err != nil {
				return o, err
			}
			if o.list = append(o.list, e); len(o.list) > 8 {
				return o, fmt.Errorf("a list of %s has more than 8 elements", op)
			}
			if !p.accept(',') {
				_, err := p.want('}')
				return o, err
			}
		}
	case '[':
		p.next()
		base, err := p.operand(op, depth+1)
		if err != nil {
			return base, err
		}
		o := operand{kind: kindAddr, list: []operand{base}}
		for p.peek().kind == '+' || p.peek().kind == '-' {
			neg := p.next().kind == '-'
			n, err := p.integer()
			if err != nil {
				return o, err
			}
			if neg {
				n = -n
			}
			o.off += n
		}
		_, err = p.want(']')
		return o, err
	case '!':
		p.next()
		o, err := p.operand(op, depth+1)
		if err == nil && o.kind != kindPred {
			err = fmt.Errorf("! stands before what is no predicate")
		}
		o.not = !o.not
		return o, err
	case '-':
		p.next()
		t, err := p.want(tokNumber)
		if err != nil {
			return operand{}, err
		}
		o, err := number(t.text)
		switch o.kind {
		case kindInt:
			o.val = -o.val
		case kindFloat:
			o.val ^= 1 << 31
		case kindDouble:
			o.val ^= 1 << 63
		}
		return o, err
	case tokNumber:
		p.next()
		return number(t.text)
	case tokWord:
		p.next()
		if t.text == "_" {
			return operand{kind: kindSink}, nil
		}
		if strings.HasPrefix(op, "bra") {
			p.fix = append(p.fix, fixup{len(p.k.body), t.text, p.sc})
			return operand{kind: kindLabel}, nil
		}
		if op == "call" || strings.HasPrefix(op, "call.") {
			return operand{}, fmt.Errorf("call of a function: not supported; inline it")
		}
		o, err := p.lookup(t.text)
		if err != nil || p.peek().kind != '|' {
			return o, err
		}
		p.next()
		q, err := p.operand(op, depth+1)
		return operand{kind: kindPair, list: []operand{o, q}}, err
	case '(':
		return operand{}, fmt.Errorf("%s of a list of parameters: not supported", op)
	default:
		return operand{}, fmt.Errorf("%q is no operand", t.text)
	}
}
