package vec

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// A code is a function's text, parsed; steps run on a machine.
type code struct {
	name  string
	steps []instr
}

type instr struct {
	op   string
	arg  []operand
	mask int // of K1…, -1 for none
	zero bool
	to   int // of a jump
	text string
}

type operand struct {
	kind  byte // x y z: vector, r: general, k: mask, i: immediate, m: memory, f: frame, c: constant
	n     int  // register, immediate or offset
	index int  // register of memory's index, -1 for none
	scale int
	base  int
	data  []byte
}

var general = map[string]int{"AX": 0, "BX": 1, "CX": 2, "DX": 3, "SI": 4, "DI": 5, "R8": 8, "R9": 9, "R10": 10, "R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15}

// parse finds a function in the text of an assembly file.
func parse(text, name string) *code {
	data, c := map[string][]byte{}, &code{name: name}
	marks, jumps, inside := map[string]int{}, map[int]string{}, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		op, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '/' || line[0] == '#' || op == "GLOBL":
		case op == "DATA":
			sym, rest, _ := strings.Cut(rest, "<>+")
			_, value, _ := strings.Cut(rest, "$0x")
			n, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				panic(line)
			}
			data[sym] = binary.LittleEndian.AppendUint64(data[sym], n)
		case op == "TEXT":
			inside = strings.HasPrefix(rest, "·"+name+"(SB)")
		case !inside:
		case strings.HasSuffix(line, ":"):
			marks[line[:len(line)-1]] = len(c.steps)
		default:
			in := instr{op: op, mask: -1, text: line}
			if o, z := strings.CutSuffix(op, ".Z"); z {
				in.op, in.zero = o, true
			}
			if op[0] == 'J' {
				jumps[len(c.steps)] = rest
			} else if rest != "" {
				for _, a := range strings.Split(rest, ", ") {
					in.arg = append(in.arg, parseOperand(a, data))
				}
				if n := len(in.arg); n > 1 && in.op[0] == 'V' && in.op != "VCMPPS" && in.arg[n-2].kind == 'k' {
					in.mask = in.arg[n-2].n
					in.arg = append(in.arg[:n-2:n-2], in.arg[n-1])
				}
			}
			c.steps = append(c.steps, in)
		}
	}
	for i, mark := range jumps {
		to, ok := marks[mark]
		if !ok {
			panic("no label " + mark)
		}
		c.steps[i].to = to
	}
	if len(c.steps) == 0 {
		panic("no function " + name)
	}
	return c
}

func parseOperand(s string, data map[string][]byte) operand {
	number := func(s string) int {
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			panic(s)
		}
		return int(n)
	}
	if r, ok := general[s]; ok {
		return operand{kind: 'r', n: r}
	}
	switch {
	case s[0] == '$':
		return operand{kind: 'i', n: number(s[1:])}
	case strings.HasSuffix(s, "<>(SB)"):
		d, ok := data[strings.TrimSuffix(s, "<>(SB)")]
		if !ok {
			panic("no data " + s)
		}
		return operand{kind: 'c', data: d}
	case strings.HasSuffix(s, "(FP)"):
		_, off, _ := strings.Cut(strings.TrimSuffix(s, "(FP)"), "+")
		return operand{kind: 'f', n: number(off)}
	case strings.Contains(s, "("):
		disp, rest, _ := strings.Cut(s, "(")
		m := operand{kind: 'm', index: -1}
		if disp != "" {
			m.n = number(disp)
		}
		b, rest, _ := strings.Cut(rest, ")")
		if i, scale, ok := strings.Cut(b, "*"); ok { // an index alone
			m.base, m.index, m.scale = -1, general[i], number(scale)
			return m
		}
		m.base = general[b]
		if rest != "" {
			i, scale, _ := strings.Cut(strings.Trim(rest, "()"), "*")
			m.index, m.scale = general[i], number(scale)
		}
		return m
	}
	return operand{kind: s[0] | 0x20, n: number(s[1:])}
}
