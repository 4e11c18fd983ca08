package asm

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"qnc/runtime/quant"
)

var le = binary.LittleEndian

// A machine runs the text of a kernel, instruction by instruction: kernels for vector units that
// this computer lacks are compared too, and every access to memory is checked.
type machine struct {
	lines  []string
	marks  map[string]int
	consts map[string][]byte
	bytes  int // of a vector register

	regs  map[string]int64
	v     [32][64]byte
	zero  bool
	less  bool
	areas []area
	frame [frameBytes]byte
	steps int
}

// An area is memory that a kernel may use.
type area struct {
	base  int64
	data  []byte
	write bool
}

// load finds function name in the text that Emit wrote for t.
func load(t Target, text []byte, name string) (*machine, error) {
	m := &machine{bytes: t.Bytes, marks: map[string]int{}, consts: map[string][]byte{}, regs: map[string]int64{}}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "GLOBL"):
		case strings.HasPrefix(line, "DATA "):
			var at int
			var value uint64
			c, rest, _ := strings.Cut(line[5:], "<>+")
			if _, err := fmt.Sscanf(rest, "%d(SB)/8, $0x%x", &at, &value); err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			m.consts[c] = le.AppendUint64(m.consts[c], value)
		case strings.HasPrefix(line, "TEXT "):
			inside = strings.HasPrefix(line, "TEXT ·"+name+"(SB)")
		case inside && strings.HasSuffix(line, ":"):
			m.marks[strings.TrimSuffix(line, ":")] = len(m.lines)
		case inside:
			m.lines = append(m.lines, line)
		}
	}
	if len(m.lines) == 0 {
		return nil, fmt.Errorf("no function %s", name)
	}
	return m, nil
}

// call runs the kernel with these arguments.
func (m *machine) call(panel, x []byte, offset []int64, dst []byte, n, blocks int) (err error) {
	off := make([]byte, 0, 8*len(offset))
	for _, o := range offset {
		off = le.AppendUint64(off, uint64(o))
	}
	m.areas = []area{{1 << 20, panel, false}, {1 << 32, x, false}, {1 << 40, off, false}, {1 << 44, dst, true}, {1 << 50, m.frame[:], true}}
	m.regs["SP"] = 1 << 50
	args := map[string]int64{"panel+0(FP)": 1 << 20, "x+8(FP)": 1 << 32, "offset+16(FP)": 1 << 40, "dst+24(FP)": 1 << 44, "n+32(FP)": int64(n), "blocks+40(FP)": int64(blocks)}
	pc := 0
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("instruction %d, %s: %v", pc, m.lines[pc], r)
		}
	}()
	for m.steps = 0; m.steps < 1<<26; m.steps++ {
		op, rest, _ := strings.Cut(m.lines[pc], " ")
		var a []string
		if rest != "" {
			a = strings.Split(rest, ", ")
		}
		jump := false
		switch op {
		case "RET":
			return nil
		case "VZEROUPPER", "PREFETCHT0":
		case "JMP":
			jump = true
		case "JNZ":
			jump = !m.zero
		case "JZ", "JEQ":
			jump = m.zero
		case "CMPQ":
			m.zero = m.integer(a[0]) == m.integer(a[1])
			m.less = m.integer(a[0]) < m.integer(a[1])
		case "JLT":
			jump = m.less
		case "MOVQ":
			if v, ok := args[a[0]]; ok {
				m.regs[a[1]] = v
			} else {
				m.regs[a[1]] = m.integer(a[0])
			}
		case "ADDQ":
			m.regs[a[1]] += m.integer(a[0])
		case "SUBQ":
			m.regs[a[1]] -= m.integer(a[0])
		case "IMULQ":
			m.regs[a[1]] *= m.integer(a[0])
		case "SHLQ":
			m.regs[a[1]] <<= m.integer(a[0])
		case "DECQ":
			m.regs[a[0]]--
			m.zero = m.regs[a[0]] == 0
		default:
			m.vector(op, a)
		}
		if jump {
			at, ok := m.marks[a[0]]
			if !ok {
				panic("no such label")
			}
			pc = at
		} else {
			pc++
		}
	}
	return fmt.Errorf("does not end")
}

// at gives n bytes of memory at an operand.
func (m *machine) at(s string, n int, write bool) []byte {
	if c, ok := strings.CutSuffix(s, "<>(SB)"); ok {
		return m.consts[c][:n]
	}
	disp, rest, _ := strings.Cut(s, "(")
	var addr int64
	if disp != "" {
		addr, _ = strconv.ParseInt(disp, 10, 64)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(rest, ")"), ")(") {
		reg, scale, ok := strings.Cut(part, "*")
		by := int64(1)
		if ok {
			by, _ = strconv.ParseInt(scale, 10, 64)
		}
		v, known := m.regs[reg]
		if !known {
			panic("register " + reg + " was never set")
		}
		addr += by * v
	}
	for _, r := range m.areas {
		if addr >= r.base && addr+int64(n) <= r.base+int64(len(r.data)) && (r.write || !write) {
			return r.data[addr-r.base:][:n]
		}
	}
	panic(fmt.Sprintf("%d bytes at %#x are outside of every area", n, addr))
}

func (m *machine) integer(s string) int64 {
	if v, ok := strings.CutPrefix(s, "$"); ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	if strings.Contains(s, "(") {
		return int64(le.Uint64(m.at(s, 8, false)))
	}
	v, ok := m.regs[s]
	if !ok {
		panic("register " + s + " was never set")
	}
	return v
}

// register is the number of a vector register, -1 for another operand.
func (m *machine) register(s string) int {
	want := byte('Y')
	if m.bytes == 64 {
		want = 'Z'
	}
	if len(s) < 2 || s[0] != want {
		return -1
	}
	n, err := strconv.Atoi(s[1:])
	if err != nil || n >= m.bytes/2 { // 16 registers of 32 bytes, 32 of 64
		return -1
	}
	return n
}

// source is n bytes of a register or of memory.
func (m *machine) source(s string, n int) (b [64]byte) {
	if r := m.register(s); r >= 0 {
		return m.v[r]
	}
	copy(b[:], m.at(s, n, false))
	return b
}

// vector runs one vector instruction; operands are in the order of Go's assembler, last one written.
func (m *machine) vector(op string, a []string) {
	n := m.bytes
	to := a[len(a)-1]
	if op == "VMOVUPS" && m.register(to) < 0 {
		b := m.source(a[0], n)
		copy(m.at(to, n, true), b[:n])
		return
	}
	if low, ok := strings.CutPrefix(to, "X"); ok { // the VEX form: the bytes above are cleared
		dst, err := strconv.Atoi(low)
		if op != "VPXOR" || a[0] != to || a[1] != to || err != nil || dst > 15 {
			panic("unknown instruction")
		}
		m.v[dst] = [64]byte{}
		return
	}
	dst := m.register(to)
	if dst < 0 {
		panic("writes no register")
	}
	var out [64]byte
	name, bcst := strings.CutSuffix(op, ".BCST")
	switch name {
	case "VPBROADCASTD", "VBROADCASTSS":
		w := m.at(a[0], 4, false)
		for i := 0; i < n; i += 4 {
			copy(out[i:], w)
		}
		m.v[dst] = out
		return
	case "VMOVUPS", "VMOVDQU", "VMOVDQU32":
		m.v[dst] = m.source(a[0], n)
		return
	case "VCVTPH2PS":
		b := m.source(a[0], n/2)
		for i := range n / 4 {
			le.PutUint32(out[4*i:], math.Float32bits(quant.F16ToF32(le.Uint16(b[2*i:]))))
		}
		m.v[dst] = out
		return
	case "VPSHUFB": // no index reaches out of its 16 bytes
		x, by := m.v[m.register(a[1])], m.source(a[0], n)
		for i := range n {
			out[i] = x[i&^15+int(by[i]&15)]
		}
		m.v[dst] = out
		return
	case "VPMOVSXBW":
		b := m.source(a[0], n/2)
		for i := range n / 2 {
			le.PutUint16(out[2*i:], uint16(int16(int8(b[i]))))
		}
		m.v[dst] = out
		return
	}
	if count, ok := strings.CutPrefix(a[0], "$"); ok {
		by, _ := strconv.Atoi(count)
		f, ok := shifts[name]
		if !ok {
			panic("unknown instruction")
		}
		m.v[dst] = f(m.source(a[1], n), by)
		return
	}
	var y [64]byte
	if bcst {
		w := m.at(a[0], 4, false)
		for i := 0; i < n; i += 4 {
			copy(y[i:], w)
		}
	} else {
		y = m.source(a[0], n)
	}
	x := y
	if len(a) == 3 {
		if m.register(a[1]) < 0 {
			panic("the second operand is no register")
		}
		x = m.v[m.register(a[1])]
	}
	f, ok := lanes[name]
	if !ok {
		panic("unknown instruction")
	}
	for i := 0; i < n; i += 4 {
		le.PutUint32(out[i:], f(le.Uint32(x[i:]), le.Uint32(y[i:]), le.Uint32(m.v[dst][i:])))
	}
	m.v[dst] = out
}

var shifts = map[string]func(x [64]byte, by int) [64]byte{
	"VPSRLD": each32(func(v uint32, by int) uint32 { return v >> by }),
	"VPSLLD": each32(func(v uint32, by int) uint32 { return v << by }),
	"VPSRAD": each32(func(v uint32, by int) uint32 { return uint32(int32(v) >> by) }),
	"VPSRLW": each32(func(v uint32, by int) uint32 { return v>>16>>by<<16 | v&0xffff>>by }),
	"VPSLLW": each32(func(v uint32, by int) uint32 { return v>>16<<by<<16 | v<<by&0xffff }),
}

func each32(f func(v uint32, by int) uint32) func(x [64]byte, by int) [64]byte {
	return func(x [64]byte, by int) [64]byte {
		for i := 0; i < 64; i += 4 {
			le.PutUint32(x[i:], f(le.Uint32(x[i:]), by))
		}
		return x
	}
}

// lanes are the instructions that work on each lane of 32 bits alone. x is the first source of the
// manuals (the second operand here), y the second one, which may be memory, d the old destination.
var lanes = map[string]func(x, y, d uint32) uint32{
	"VPXORD": func(x, y, _ uint32) uint32 { return x ^ y },
	"VPAND":  func(x, y, _ uint32) uint32 { return x & y },
	"VPANDD": func(x, y, _ uint32) uint32 { return x & y },
	"VPOR":   func(x, y, _ uint32) uint32 { return x | y },
	"VPORD":  func(x, y, _ uint32) uint32 { return x | y },
	"VPADDD": func(x, y, _ uint32) uint32 { return x + y },
	"VPSUBD": func(x, y, _ uint32) uint32 { return x - y },
	"VPADDW": func(x, y, _ uint32) uint32 { return (x>>16+y>>16)<<16 | (x+y)&0xffff },
	"VPABSB": func(_, y, _ uint32) (out uint32) {
		for i := 0; i < 32; i += 8 {
			v := int8(y >> i)
			out |= uint32(uint8(max(v, -v))) << i
			if v == -128 {
				out |= 128 << i
			}
		}
		return out
	},
	"VPSIGNB": func(x, y, _ uint32) (out uint32) { // x with the signs of y
		for i := 0; i < 32; i += 8 {
			v := int8(x >> i)
			switch s := int8(y >> i); {
			case s < 0:
				v = -v
			case s == 0:
				v = 0
			}
			out |= uint32(uint8(v)) << i
		}
		return out
	},
	"VPMULLD": func(x, y, _ uint32) uint32 {
		return uint32(int32(x) * int32(y))
	},
	"VPMADDWD": func(x, y, _ uint32) uint32 {
		return uint32(int32(int16(x))*int32(int16(y)) + int32(x)>>16*(int32(y)>>16))
	},
	"VPMADDUBSW": func(x, y, _ uint32) (out uint32) { // bytes of x without sign
		for i := 0; i < 32; i += 16 {
			s := int32(uint8(x>>i))*int32(int8(y>>i)) + int32(uint8(x>>(i+8)))*int32(int8(y>>(i+8)))
			out |= uint32(uint16(int16(min(max(s, math.MinInt16), math.MaxInt16)))) << i
		}
		return out
	},
	"VPDPWSSD": func(x, y, d uint32) uint32 {
		return d + uint32(int32(int16(x))*int32(int16(y))+int32(x)>>16*(int32(y)>>16))
	},
	"VPDPBUSD": func(x, y, d uint32) uint32 { // bytes of x without sign
		for i := 0; i < 32; i += 8 {
			d += uint32(int32(uint8(x>>i)) * int32(int8(y>>i)))
		}
		return d
	},
	"VCVTDQ2PS": func(_, y, _ uint32) uint32 { return math.Float32bits(float32(int32(y))) },
	"VMULPS":    floats(func(x, y float32) float32 { return x * y }),
	"VADDPS":    floats(func(x, y float32) float32 { return x + y }),
	"VSUBPS":    floats(func(x, y float32) float32 { return x - y }),
}

func floats(f func(x, y float32) float32) func(x, y, _ uint32) uint32 {
	return func(x, y, _ uint32) uint32 {
		return math.Float32bits(f(math.Float32frombits(x), math.Float32frombits(y)))
	}
}
