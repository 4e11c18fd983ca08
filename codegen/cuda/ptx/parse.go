package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bounds of what a text may ask for.
const (
	maxDepth  = 64        // nested blocks of one kernel
	maxRegs   = 1 << 14   // registers that one kernel uses
	maxShared = 227 << 10 // bytes of shared memory of a block, as on sm_90 and sm_100
	maxLocal  = 512 << 10 // bytes of local memory of a thread
	maxGlobal = 256 << 20 // bytes of all variables of a module
)

// A scope is a block of a kernel: inline assembly declares names in blocks of its own.
type scope struct {
	up     *scope
	regs   map[string]int    // index of a register; of a predicate, -1 - index
	ranges map[string]rangeT // %r of %r<60>
	vars   map[string]*variable
	labels map[string]int
}

type rangeT struct{ n, bits int } // bits of a predicate: 1

func newScope(up *scope) *scope {
	return &scope{up, map[string]int{}, map[string]rangeT{}, map[string]*variable{}, map[string]int{}}
}

type fixup struct {
	at    int // statement
	name  string
	scope *scope
}

type parser struct {
	src    string
	toks   []token
	pos    int
	m      *Module
	top    *scope
	k      *Kernel
	sc     *scope
	depth  int
	fix    []fixup
	global uint64 // bytes of the variables so far
}

// Parse reads a module. Its instructions are decoded when a kernel is first launched.
func Parse(text []byte) (*Module, error) {
	src := strings.TrimRight(string(text), "\x00")
	toks, err := lex(src)
	if err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	p := &parser{src: src, toks: toks, m: &Module{}, top: newScope(nil)}
	p.sc = p.top
	if err := p.module(); err != nil {
		return nil, fmt.Errorf("ptx: line %d: %w", p.peek().line, err)
	}
	return p.m, nil
}

func (p *parser) peek() token { return p.toks[p.pos] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

// accept takes a token of a kind if it is next.
func (p *parser) accept(kind byte) bool {
	if p.peek().kind != kind {
		return false
	}
	p.next()
	return true
}

func (p *parser) want(kind byte) (token, error) {
	t := p.peek()
	if t.kind != kind {
		what := map[byte]string{tokWord: "a name", tokNumber: "a number"}[kind]
		if what == "" {
			what = strconv.Quote(string(kind))
		}
		have := strconv.Quote(t.text)
		if t.kind == tokEOF {
			have = "the end"
		}
		return t, fmt.Errorf("%s, want %s", have, what)
	}
	return p.next(), nil
}

// line skips the rest of a directive that ends with its line.
func (p *parser) skipLine() {
	for line := p.peek().line; p.peek().kind != tokEOF && p.peek().line == line; {
		p.next()
	}
}

// skipBlock skips { … } or, without a brace, up to a semicolon.
func (p *parser) skipBlock() error {
	depth := 0
	for {
		switch t := p.next(); t.kind {
		case tokEOF:
			return fmt.Errorf("a block has no end")
		case '{':
			depth++
		case '}':
			if depth--; depth <= 0 {
				return nil
			}
		case ';':
			if depth == 0 {
				return nil
			}
		}
	}
}

func (p *parser) module() error {
	for {
		t := p.peek()
		if t.kind == tokEOF {
			return nil
		}
		if t.kind != tokWord {
			return fmt.Errorf("%q begins no declaration", t.text)
		}
		switch t.text {
		case ".version":
			p.next()
			v, err := p.want(tokNumber)
			if err != nil {
				return err
			}
			if _, err := fmt.Sscanf(v.text, "%d.%d", &p.m.Major, &p.m.Minor); err != nil {
				return fmt.Errorf("version %q", v.text)
			}
		case ".target":
			p.next()
			w, err := p.want(tokWord)
			if err != nil {
				return err
			}
			p.m.Target = w.text
			for p.accept(',') {
				if _, err := p.want(tokWord); err != nil {
					return err
				}
			}
		case ".address_size":
			p.next()
			if n, err := p.integer(); err != nil || n != 64 {
				return fmt.Errorf("address_size %d: 64 is needed", n)
			}
		case ".file", ".loc", ".pragma":
			p.skipLine()
		case ".section":
			if err := p.skipBlock(); err != nil {
				return err
			}
		case ".visible", ".weak", ".extern", ".common":
			p.next()
			if p.peek().text == ".func" || p.peek().text == ".entry" || t.text != ".extern" {
				continue
			}
			if err := p.variable(true); err != nil {
				return err
			}
		case ".entry":
			p.next()
			if err := p.entry(); err != nil {
				return err
			}
		case ".func": // a call of it is refused where it stands
			if err := p.skipBlock(); err != nil {
				return err
			}
		case ".global", ".const", ".shared":
			if err := p.variable(false); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is not known", t.text)
		}
	}
}

// integer reads a number, perhaps negative.
func (p *parser) integer() (int64, error) {
	neg := p.accept('-')
	t, err := p.want(tokNumber)
	if err != nil {
		return 0, err
	}
	v, err := parseInt(t.text)
	if neg {
		v = -v
	}
	return int64(v), err
}

func parseInt(s string) (uint64, error) {
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "U"), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}

// size reads a number from 0 to most.
func (p *parser) size(what string, most int64) (int, error) {
	n, err := p.integer()
	if err == nil && (n < 0 || n > most) {
		err = fmt.Errorf("%s %d: want 0 to %d", what, n, most)
	}
	return int(n), err
}

// variable reads ".shared .align 4 .b8 name[128];" or, at module scope, one with values.
func (p *parser) variable(extern bool) error {
	v := &variable{space: strings.TrimPrefix(p.next().text, "."), extern: extern}
	align, elem := 0, 0
	for p.peek().kind == tokWord && p.peek().text[0] == '.' {
		w := p.next().text
		switch {
		case w == ".align":
			n, err := p.size("alignment", 1<<12)
			if err != nil {
				return err
			}
			align = n
		case w == ".v2" || w == ".v4" || strings.HasPrefix(w, ".attribute"):
			return fmt.Errorf("%s of a variable is not supported", w)
		default:
			t, ok := typeOf(w[1:])
			if !ok || t.bits < 8 {
				return fmt.Errorf("%s is no type of a variable", w)
			}
			elem = t.bits / 8
		}
	}
	name, err := p.want(tokWord)
	if err != nil {
		return err
	}
	v.name = name.text
	if elem == 0 {
		return fmt.Errorf("variable %s has no type", v.name)
	}
	if align == 0 {
		align = elem
	}
	if align&(align-1) != 0 {
		return fmt.Errorf("variable %s: alignment %d", v.name, align)
	}
	count := uint64(1)
	most := map[string]uint64{"shared": maxShared, "local": maxLocal}[v.space]
	if most == 0 {
		most = maxGlobal
	}
	for p.accept('[') {
		n := 0
		if p.peek().kind == tokNumber {
			if n, err = p.size("array", int64(most)); err != nil {
				return err
			}
		} else if v.space != "shared" || !extern {
			return fmt.Errorf("variable %s has no size", v.name)
		}
		if count *= uint64(n); count > most {
			return fmt.Errorf("variable %s is larger than %d bytes", v.name, most)
		}
		if _, err := p.want(']'); err != nil {
			return err
		}
	}
	if v.size = count * uint64(elem); v.size > most {
		return fmt.Errorf("variable %s is larger than %d bytes", v.name, most)
	}
	if p.accept('=') {
		if v.init, err = p.values(v, elem); err != nil {
			return err
		}
	}
	if _, err := p.want(';'); err != nil {
		return err
	}
	if p.sc.vars[v.name] != nil {
		return fmt.Errorf("variable %s is declared twice", v.name)
	}
	p.sc.vars[v.name] = v
	return p.place(v, uint64(align))
}

// place gives a variable its offset.
func (p *parser) place(v *variable, align uint64) error {
	up := func(n uint64, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	switch v.space {
	case "global", "const":
		if v.extern {
			return fmt.Errorf("variable %s is in another module", v.name)
		}
		if p.k != nil {
			return fmt.Errorf("variable %s: .%s within a kernel", v.name, v.space)
		}
		if p.global += v.size; p.global > maxGlobal {
			return fmt.Errorf("variable %s: all of them are more than %d bytes", v.name, maxGlobal)
		}
		p.m.globals = append(p.m.globals, v)
		v.offset = uint64(len(p.m.globals)) << bufferShift
	case "shared":
		if v.extern { // they all begin after the static ones
			return nil
		}
		size := &p.m.shared
		var kernel uint64
		if p.k != nil {
			kernel = uint64(p.k.Shared)
			size = &kernel
		}
		v.offset = up(*size, max(align, 16))
		if *size = v.offset + v.size; *size > maxShared {
			return fmt.Errorf("variable %s: more than %d bytes of shared memory", v.name, maxShared)
		}
		if p.k != nil {
			p.k.Shared = int(*size)
		}
	case "local":
		if p.k == nil {
			return fmt.Errorf("variable %s: .local without a kernel", v.name)
		}
		v.offset = up(uint64(p.k.local), max(align, 16))
		if p.k.local = int(v.offset + v.size); p.k.local > maxLocal {
			return fmt.Errorf("variable %s: more than %d bytes of local memory", v.name, maxLocal)
		}
	default:
		return fmt.Errorf("variable %s: .%s is not supported", v.name, v.space)
	}
	return nil
}

// values reads the initial values of a variable.
func (p *parser) values(v *variable, elem int) ([]byte, error) {
	out := []byte{}
	one := func() error {
		neg := p.accept('-')
		t, err := p.want(tokNumber)
		if err != nil {
			return err
		}
		o, err := number(t.text)
		if err != nil {
			return err
		}
		if neg {
			o.val = -o.val
		}
		if out = binary.LittleEndian.AppendUint64(out, o.val)[:len(out)+elem]; uint64(len(out)) > v.size {
			return fmt.Errorf("variable %s has too many values", v.name)
		}
		return nil
	}
	if !p.accept('{') {
		return out, one()
	}
	depth := 1
	for depth > 0 {
		switch {
		case p.accept('{'):
			depth++
		case p.accept('}'):
			depth--
		case p.accept(','):
		default:
			if err := one(); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// number reads an integer, 0f3F800000, 0d3FF0000000000000 or 1.5.
func number(s string) (operand, error) {
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'f', 'F':
			v, err := strconv.ParseUint(s[2:], 16, 32)
			if err != nil || len(s) != 10 {
				return operand{}, fmt.Errorf("%q is no float", s)
			}
			return operand{kind: kindFloat, val: v}, nil
		case 'd', 'D':
			v, err := strconv.ParseUint(s[2:], 16, 64)
			if err != nil || len(s) != 18 {
				return operand{}, fmt.Errorf("%q is no double", s)
			}
			return operand{kind: kindDouble, val: v}, nil
		}
	}
	if strings.Contains(s, ".") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return operand{}, fmt.Errorf("%q is no number", s)
		}
		return operand{kind: kindDouble, val: math.Float64bits(f)}, nil
	}
	v, err := parseInt(s)
	return operand{kind: kindInt, val: v}, err
}
