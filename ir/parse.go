package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a module in the form that Module.String prints; // comments run
// to the end of a line. Errors carry the line number. A module that parses
// still needs Verify.
func Parse(src string) (*Module, error) {
	return parse(src, false)
}

// ParsePattern reads one function whose values may leave out their types and
// whose attributes may be variables ($name): the left side of a rewrite.
func ParsePattern(src string) (*Func, error) {
	m, err := parse("module pattern level=graph {\n}\n"+src, true)
	if err != nil {
		return nil, err
	}
	if len(m.Funcs) != 1 {
		return nil, fmt.Errorf("%d functions, want one", len(m.Funcs))
	}
	return m.Funcs[0], nil
}

func parse(src string, untyped bool) (*Module, error) {
	p := &parser{syms: map[string]*Value{}, untyped: untyped}
	n := 0
	for line := range strings.Lines(src) {
		n++
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	switch {
	case p.m == nil:
		return nil, fmt.Errorf("no module: want \"module NAME level=graph {\" first")
	case p.in != top:
		return nil, fmt.Errorf("line %d: the text ends before its }", n)
	}
	return p.m, nil
}

type scope uint8

const (
	top scope = iota
	inModule
	inFunc
)

type parser struct {
	m       *Module
	in      scope
	syms    map[string]*Value
	f       *Func
	vals    map[string]*Value
	done    bool // return seen
	untyped bool
}

func (p *parser) line(s string) error {
	word, rest, _ := strings.Cut(s, " ")
	switch {
	case p.in == top && word == "module":
		return p.module(rest)
	case p.in == top && word == "func" && p.m != nil:
		return p.header(rest)
	case p.in == top:
		return fmt.Errorf("want module or func, have %q", s)
	case s == "}":
		if p.in == inFunc && !p.done {
			return fmt.Errorf("func %s has no return", p.f.Name)
		}
		p.in = top
		return nil
	case p.in == inModule:
		return p.declaration(word, rest)
	case p.done:
		return fmt.Errorf("want } after return, have %q", s)
	case word == "return":
		p.done = true
		var err error
		p.f.Results, err = p.refs(rest)
		return err
	case strings.HasSuffix(s, ":"):
		return p.part(s)
	}
	return p.value(s)
}

func (p *parser) module(s string) error {
	f := strings.Fields(s)
	if len(f) == 2 { // the level may be left out
		f = []string{f[0], "level=" + LevelGraph.String(), f[1]}
	}
	if p.m != nil || len(f) != 3 || f[2] != "{" || !isName(f[0]) {
		return fmt.Errorf("want module NAME level=graph {, once, have %q", s)
	}
	lv, ok := strings.CutPrefix(f[1], "level=")
	i := slices.Index(levels, lv)
	if !ok || i < 0 {
		return fmt.Errorf("unknown level %q, want one of %q", f[1], levels)
	}
	p.m = &Module{Name: f[0], Level: Level(i)}
	p.in = inModule
	return nil
}

func (p *parser) declaration(word, s string) error {
	f := strings.Fields(s)
	switch {
	case word == "device" && len(f) >= 1:
		return p.device(f)
	case word == "link" && len(f) == 3 && isDevice(f[0]) && isDevice(f[1]):
		r, err := parseRate(f[2], byteRate)
		p.m.Machine.Links = append(p.m.Machine.Links, Link{Device(f[0]), Device(f[1]), r})
		return err
	case word == "bound" && len(f) == 2:
		n, err := strconv.Atoi(f[1])
		if err != nil || n < 1 || n > maxExtent || !slices.Contains(symbols, f[0]) {
			return fmt.Errorf("bad bound %q: want one of %q and a number", s, symbols)
		}
		p.m.Bounds = append(p.m.Bounds, Bound{f[0], n})
		return nil
	case word == "weight":
		return p.symbol(OpWeight, s)
	case word == "state":
		return p.symbol(OpState, s)
	}
	return fmt.Errorf("want device, link, bound, weight or state, have %q", word+" "+s)
}

func (p *parser) device(f []string) error {
	d := DeviceInfo{Name: Device(f[0])}
	if _, dup := p.m.Machine.Device(d.Name); dup || !isDevice(f[0]) {
		return fmt.Errorf("bad or repeated device %q", f[0])
	}
	for _, kv := range f[1:] {
		k, v, _ := strings.Cut(kv, "=")
		var err error
		switch k {
		case "mem":
			d.Mem, err = ParseBytes(v)
		case "bw":
			d.Bandwidth, err = parseRate(v, byteRate)
		case "reserve":
			d.Reserve, err = ParseBytes(v)
		case "mac":
			d.MACs, err = parseRate(v, macRate)
		default:
			err = fmt.Errorf("unknown word %q, want mem=, reserve=, bw= or mac=", kv)
		}
		if err != nil {
			return err
		}
	}
	p.m.Machine.Devices = append(p.m.Machine.Devices, d)
	return nil
}

func (p *parser) symbol(op Op, s string) error {
	name, rest, ok := strings.Cut(s, " : ")
	name, ok2 := strings.CutPrefix(name, "@")
	if !ok || !ok2 || !isName(name) {
		return fmt.Errorf("want @name : type, have %q", s)
	}
	if p.syms[name] != nil {
		return fmt.Errorf("@%s is declared twice", name)
	}
	v := &Value{Name: name, Op: op, Mem: NoMem}
	f := strings.Fields(rest)
	if len(f) == 0 {
		return fmt.Errorf("@%s has no type", name)
	}
	var err error
	if v.Type, err = parseType(f[0]); err != nil {
		return err
	}
	if v.Type.IsNone() || v.Type.IsTuple() {
		return fmt.Errorf("@%s is %s, want a tensor", name, v.Type)
	}
	for _, w := range f[1:] {
		if d, ok := strings.CutPrefix(w, "@"); ok && isDevice(d) {
			v.On = Device(d)
		} else if from, ok := strings.CutPrefix(w, "from="); ok && op == OpWeight && isName(from) {
			v.From = from
		} else if rows, ok := strings.CutPrefix(w, "rows="); ok && op == OpWeight {
			if v.Rows, err = parseRows(rows); err != nil {
				return err
			}
		} else {
			return fmt.Errorf("@%s: unknown word %q", name, w)
		}
	}
	p.syms[name] = v
	if op == OpWeight {
		p.m.Weights = append(p.m.Weights, v)
	} else {
		p.m.State = append(p.m.State, v)
	}
	return nil
}

func parseRows(s string) ([]Rows, error) {
	var out []Rows
	for _, run := range strings.Split(s, ",") {
		f := strings.Split(run, ":")
		var n [4]int
		ok := len(f) == 4
		for i := 0; ok && i < 4; i++ {
			var err error
			n[i], err = strconv.Atoi(f[i])
			ok = err == nil && n[i] >= 0 && n[i] <= maxExtent
		}
		if !ok {
			return nil, fmt.Errorf("bad rows %q: want start:len:groups:stride", run)
		}
		out = append(out, Rows{n[0], n[1], n[2], n[3]})
	}
	return out, nil
}

// fromText closes the parameters of a function that is meant for at least n tokens.
func fromText(n int) string {
	if n == 0 {
		return ")"
	}
	return fmt.Sprintf(") from T=%d", n)
}

func (p *parser) header(s string) error {
	name, rest, ok := strings.Cut(s, "(")
	end := strings.LastIndexByte(rest, ')')
	if !ok || end < 0 || !isName(name) {
		return fmt.Errorf("want func name(params) {, have %q", s)
	}
	from := 0
	if word, given := strings.CutPrefix(rest[end:], ") from T="); given {
		num, _ := strings.CutSuffix(word, " {")
		n, err := strconv.Atoi(num)
		if err != nil || n < 1 || n > maxExtent {
			return fmt.Errorf("want func name(params) from T=512 {, have %q", s)
		}
		from = n
	}
	if rest[end:] != fromText(from)+" {" {
		return fmt.Errorf("want func name(params) {, have %q", s)
	}
	rest = rest[:end]
	if p.m.Func(name) != nil {
		return fmt.Errorf("func %s is defined twice", name)
	}
	p.f = &Func{Name: name, From: from}
	p.m.Funcs = append(p.m.Funcs, p.f)
	p.vals, p.done, p.in = map[string]*Value{}, false, inFunc
	for _, q := range splitTop(rest) {
		n, t, ok := strings.Cut(q, ": ")
		v := &Value{Op: OpParam, Mem: NoMem}
		var err error
		if ok {
			v.Type, err = parseType(t)
		} else if !p.untyped {
			err = fmt.Errorf("want %%name: type, have %q", q)
		}
		if err == nil {
			err = p.define(v, n)
		}
		if err != nil {
			return err
		}
		p.f.Params = append(p.f.Params, v)
	}
	return nil
}

func (p *parser) part(s string) error {
	name, dev, _ := strings.Cut(strings.TrimSuffix(s, ":"), " @")
	if name != "p"+strconv.Itoa(len(p.f.Parts)) || !isDevice(dev) {
		return fmt.Errorf("want p%d @device:, have %q", len(p.f.Parts), s)
	}
	if len(p.f.Parts) == 0 && len(p.f.Body) > 0 {
		return fmt.Errorf("%s comes after values without a part", s)
	}
	p.f.Parts = append(p.f.Parts, Part{Device: Device(dev)})
	return nil
}

// value reads "%name = op %args {attrs} : type at N"; an op without a result
// has neither name nor type.
func (p *parser) value(s string) error {
	v := &Value{Mem: NoMem}
	name, rest, named := strings.Cut(s, " = ")
	if !named {
		rest = s
	}
	if named && !p.untyped || strings.Contains(rest, " : ") {
		var typ string
		var ok bool
		if rest, typ, ok = cutLast(rest, " : "); !ok {
			return fmt.Errorf("want %%name = op %%args {attrs} : type, have %q", s)
		}
		typ, at, hasAt := strings.Cut(typ, " at ")
		var err error
		if v.Type, err = parseType(typ); err != nil {
			return err
		}
		if v.Type.IsNone() {
			return fmt.Errorf("a value of type none has no name and no type, have %q", s)
		}
		if hasAt {
			n, err := strconv.ParseInt(at, 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("bad offset %q", at)
			}
			v.Mem = n
		}
		if !named {
			return fmt.Errorf("want %%name before the type in %q", s)
		}
	}
	rest, attrs, hasAttrs := strings.Cut(rest, " {")
	op, args, _ := strings.Cut(rest, " ")
	var ok bool
	if v.Op, ok = opByName[op]; !ok {
		return fmt.Errorf("unknown op %q%s", op, Nearest(op, opNames()))
	}
	if hasAttrs {
		if err := p.attrs(v, attrs); err != nil {
			return err
		}
	}
	var err error
	if v.Args, err = p.refs(args); err != nil {
		return err
	}
	p.f.Body = append(p.f.Body, v)
	if n := len(p.f.Parts); n > 0 {
		p.f.Parts[n-1].Len++
		v.On = p.f.Parts[n-1].Device
	}
	if named {
		return p.define(v, name)
	}
	return nil
}

func (p *parser) attrs(v *Value, s string) error {
	s, ok := strings.CutSuffix(s, "}")
	if !ok {
		return fmt.Errorf("attributes without }: %q", s)
	}
	for _, kv := range strings.Fields(s) {
		k, val, ok := strings.Cut(kv, "=")
		if !ok || !isName(k) || val == "" || strings.ContainsAny(val, "{}=") {
			return fmt.Errorf("bad attribute %q: want name=value", kv)
		}
		if v.Attr.Get(k) != "" {
			return fmt.Errorf("attribute %s is given twice", k)
		}
		v.Attr = append(v.Attr, Attr{k, val})
	}
	v.Attr = v.Attr.sorted(v.Op)
	return nil
}

func (p *parser) define(v *Value, name string) error {
	n, ok := strings.CutPrefix(name, "%")
	if !ok || !isName(n) {
		return fmt.Errorf("want %%name, have %q", name)
	}
	if p.vals[n] != nil {
		return fmt.Errorf("%%%s is defined twice", n)
	}
	v.Name, p.vals[n] = n, v
	return nil
}

func (p *parser) refs(s string) (vs []*Value, err error) {
	for _, r := range splitTop(s) {
		var v *Value
		if n, ok := strings.CutPrefix(r, "%"); ok {
			v = p.vals[n]
		} else if n, ok := strings.CutPrefix(r, "@"); ok {
			v = p.syms[n]
		}
		if v == nil {
			return nil, fmt.Errorf("%s is used before it is defined", r)
		}
		vs = append(vs, v)
	}
	return vs, nil
}

func opNames() []string {
	var out []string
	for _, o := range Ops() {
		out = append(out, o.String())
	}
	return out
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return s != ""
}

func isDevice(s string) bool { return isName(strings.Replace(s, ":", "", 1)) }

// splitTop splits s at commas outside brackets.
func splitTop(s string) (out []string) {
	depth, start := 0, 0
	for i, r := range s {
		switch r {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	if t := strings.TrimSpace(s[start:]); t != "" || start > 0 {
		out = append(out, t)
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Nearest returns `, did you mean "x"?` for the candidate closest to word, or "".
func Nearest(word string, candidates []string) string {
	best, dist := "", len(word)/2+1
	for _, c := range candidates {
		if d := distance(word, c); d < dist {
			best, dist = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is Levenshtein's, on bytes; long words do not resemble anything.
func distance(a, b string) int {
	if max(len(a), len(b)) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = 1 + min(prev, row[j], row[j+1])
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
