package vec

import (
	"fmt"
	"math"
	"unsafe"

	"qnc/runtime/quant"
)

type vector [16]uint32

// A machine is the registers while a function runs.
type machine struct {
	r                 [16]uint64
	z                 [32]vector
	k                 [8]uint16
	zero, less, below bool
	frame             []uint64
}

func (m *machine) address(o operand) unsafe.Pointer {
	switch o.kind {
	case 'f':
		return unsafe.Add(unsafe.Pointer(&m.frame[0]), o.n)
	case 'c':
		return unsafe.Pointer(&o.data[0])
	}
	a := uint64(o.n)
	if o.base >= 0 {
		a += m.r[o.base]
	}
	if o.index >= 0 {
		a += m.r[o.index] * uint64(o.scale)
	}
	return *(*unsafe.Pointer)(unsafe.Pointer(&a))
}

func lanes(kind byte) int {
	return map[byte]int{'x': 4, 'y': 8, 'z': 16}[kind]
}

// vec reads n lanes.
func (m *machine) vec(o operand, n int) (v vector) {
	if o.kind == 'x' || o.kind == 'y' || o.kind == 'z' {
		copy(v[:n], m.z[o.n][:])
		return v
	}
	copy(v[:n], unsafe.Slice((*uint32)(m.address(o)), n))
	return v
}

func (m *machine) set(in *instr, v vector) {
	o := in.arg[len(in.arg)-1]
	n := lanes(o.kind)
	if n == 0 {
		panic(in.text)
	}
	old := m.z[o.n]
	var out vector
	for i := range n {
		switch {
		case in.mask < 0 || m.k[in.mask]>>i&1 != 0:
			out[i] = v[i]
		case !in.zero:
			out[i] = old[i]
		}
	}
	m.z[o.n] = out
}

func f(x uint32) float32 { return math.Float32frombits(x) }
func u(x float32) uint32 { return math.Float32bits(x) }

// fma rounds once: the sum in float64 is made odd where it is not exact.
func fma(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	t := s - p
	if e := (p - (s - t)) + (d - t); e != 0 && e == e && !math.IsInf(s, 0) {
		if bits := math.Float64bits(s); bits&1 == 0 {
			if (e > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
}

// binary are the lane by lane operations; x is the first source in Intel's order.
var binaryOps = map[string]func(x, y uint32) uint32{
	"VADDPS": func(x, y uint32) uint32 { return u(f(x) + f(y)) },
	"VSUBPS": func(x, y uint32) uint32 { return u(f(x) - f(y)) },
	"VMULPS": func(x, y uint32) uint32 { return u(f(x) * f(y)) },
	"VDIVPS": func(x, y uint32) uint32 { return u(f(x) / f(y)) },
	"VMAXPS": func(x, y uint32) uint32 {
		if f(x) > f(y) {
			return x
		}
		return y
	},
	"VMINPS": func(x, y uint32) uint32 {
		if f(x) < f(y) {
			return x
		}
		return y
	},
	"VXORPS": func(x, y uint32) uint32 { return x ^ y }, "VPXOR": func(x, y uint32) uint32 { return x ^ y },
	"VPANDD": func(x, y uint32) uint32 { return x & y },
	"VPADDD": func(x, y uint32) uint32 { return x + y }, "VPSUBD": func(x, y uint32) uint32 { return x - y },
	"VPMAXUD": func(x, y uint32) uint32 { return max(x, y) },
	"VPMINSD": func(x, y uint32) uint32 { return uint32(min(int32(x), int32(y))) },
	"VSCALEFPS": func(x, y uint32) uint32 {
		e := math.Floor(float64(f(y)))
		if e != e || f(x) != f(x) {
			return u(float32(math.NaN()))
		}
		return u(float32(math.Ldexp(float64(f(x)), int(e))))
	},
}

func (c *code) run(frame []uint64) {
	m := &machine{frame: frame}
	for at := 0; ; at++ {
		in := &c.steps[at]
		jump := false
		switch in.op {
		case "RET":
			return
		case "VZEROUPPER":
		case "JMP":
			jump = true
		case "JZ":
			jump = m.zero
		case "JNZ", "JNE":
			jump = !m.zero
		case "JLT":
			jump = m.less
		case "JGE":
			jump = !m.less
		case "JB":
			jump = m.below
		case "JAE":
			jump = !m.below
		default:
			if in.op[0] == 'V' {
				m.vectorStep(in)
			} else {
				m.scalarStep(in)
			}
		}
		if jump {
			at = in.to - 1
		}
	}
}

func (m *machine) get(o operand) uint64 {
	switch o.kind {
	case 'r':
		return m.r[o.n]
	case 'i':
		return uint64(o.n)
	}
	return *(*uint64)(m.address(o))
}

func (m *machine) scalarStep(in *instr) {
	dst := in.arg[len(in.arg)-1]
	put := func(x uint64) {
		if dst.kind == 'r' {
			m.r[dst.n] = x
		} else {
			*(*uint64)(m.address(dst)) = x
		}
		m.zero, m.less = x == 0, int64(x) < 0
	}
	switch in.op {
	case "MOVQ":
		if dst.kind == 'r' {
			m.r[dst.n] = m.get(in.arg[0])
		} else {
			*(*uint64)(m.address(dst)) = m.get(in.arg[0])
		}
	case "MOVL":
		if dst.kind == 'r' {
			m.r[dst.n] = uint64(uint32(m.get(in.arg[0])))
		} else {
			*(*uint32)(m.address(dst)) = uint32(m.get(in.arg[0]))
		}
	case "MOVW":
		*(*uint16)(m.address(dst)) = uint16(m.get(in.arg[0]))
	case "MOVWLZX":
		m.r[dst.n] = uint64(*(*uint16)(m.address(in.arg[0])))
	case "LEAQ":
		m.r[dst.n] = uint64(uintptr(m.address(in.arg[0])))
	case "PREFETCHT0":
	case "ADDQ":
		put(m.get(dst) + m.get(in.arg[0]))
	case "SUBQ":
		put(m.r[dst.n] - m.get(in.arg[0]))
	case "XORQ":
		put(m.r[dst.n] ^ m.get(in.arg[0]))
	case "INCQ":
		put(m.r[dst.n] + 1)
	case "DECQ":
		put(m.r[dst.n] - 1)
	case "SHRQ":
		put(m.r[dst.n] >> in.arg[0].n)
	case "SHLQ":
		put(m.r[dst.n] << in.arg[0].n)
	case "SHLXQ":
		m.r[dst.n] = m.get(in.arg[1]) << (m.get(in.arg[0]) & 63)
	case "TESTQ":
		m.zero = m.get(in.arg[0])&m.get(dst) == 0
	case "CMPQ":
		a, b := m.get(in.arg[0]), m.get(dst)
		m.zero, m.less, m.below = a == b, int64(a) < int64(b), a < b
	case "CMPL":
		a, b := uint32(m.get(in.arg[0])), uint32(m.get(dst))
		m.zero, m.less, m.below = a == b, int32(a) < int32(b), a < b
	case "CMOVLCC":
		if !m.below {
			m.r[dst.n] = uint64(uint32(m.get(in.arg[0])))
		}
	case "KMOVW":
		m.k[dst.n] = uint16(m.get(in.arg[0]))
	default:
		panic(fmt.Sprintf("no meaning for %s", in.text))
	}
}

func (m *machine) vectorStep(in *instr) {
	last := len(in.arg) - 1
	dst := in.arg[last]
	n := lanes(dst.kind)
	src := func(i int) vector { return m.vec(in.arg[i], n) }
	if op := binaryOps[in.op]; op != nil {
		y, x := src(0), src(1)
		for i := range n {
			x[i] = op(x[i], y[i])
		}
		m.set(in, x)
		return
	}
	var out vector
	imm := in.arg[0].n
	switch in.op {
	case "VMOVUPS", "VMOVAPS", "VMOVDQU", "VMOVDQA32":
		if n > 0 {
			if in.arg[0].kind == 'm' && in.mask >= 0 { // lanes that are off are not read
				for i := range n {
					if m.k[in.mask]>>i&1 != 0 {
						out[i] = *(*uint32)(unsafe.Add(m.address(in.arg[0]), 4*i))
					}
				}
				m.set(in, out)
				return
			}
			m.set(in, src(0))
			return
		}
		w := lanes(in.arg[0].kind)
		v, to := m.vec(in.arg[0], w), unsafe.Slice((*uint32)(m.address(dst)), w)
		for i := range w {
			if in.mask < 0 || m.k[in.mask]>>i&1 != 0 {
				to[i] = v[i]
			}
		}
		return
	case "VFMADD213PS":
		c, b, a := src(0), src(1), src(2)
		for i := range n {
			out[i] = u(fma(f(b[i]), f(a[i]), f(c[i])))
		}
	case "VFMADD231PS", "VFNMADD231PS":
		c, b, a := src(0), src(1), src(2)
		for i := range n {
			x := f(b[i])
			if in.op == "VFNMADD231PS" {
				x = -x
			}
			out[i] = u(fma(x, f(c[i]), f(a[i])))
		}
	case "VFMADD231PS.BCST":
		c, b, a := f(m.vec(in.arg[0], 1)[0]), src(1), src(2)
		for i := range n {
			out[i] = u(fma(f(b[i]), c, f(a[i])))
		}
	case "VBROADCASTSS":
		x := m.vec(in.arg[0], 1)[0]
		for i := range n {
			out[i] = x
		}
	case "VRNDSCALEPS":
		for i, x := range src(1) {
			out[i] = u(float32(math.RoundToEven(float64(f(x)))))
		}
	case "VEXTRACTF64X4":
		v := m.vec(in.arg[1], 16)
		copy(out[:8], v[8*imm:])
	case "VEXTRACTF128", "VEXTRACTF32X4":
		v := m.vec(in.arg[1], 16)
		copy(out[:4], v[4*imm:4*imm+4])
	case "VPERM2F128":
		b, a := src(1), src(2)
		both := append(a[:8:8], b[:8]...)
		copy(out[:4], both[imm&3*4:][:4])
		copy(out[4:8], both[imm>>4&3*4:][:4])
	case "VHADDPS":
		b, a := src(0), src(1)
		for l := 0; l < n; l += 4 {
			for i := range 2 {
				out[l+i], out[l+2+i] = u(f(a[l+2*i])+f(a[l+2*i+1])), u(f(b[l+2*i])+f(b[l+2*i+1]))
			}
		}
	case "VPERMILPS":
		v := src(1)
		for i := range n {
			out[i] = v[i&^3+imm>>(2*(i&3))&3]
		}
	case "VPERMILPD":
		v := src(1)
		for i := range n / 2 {
			j := i&^1 + imm>>i&1
			out[2*i], out[2*i+1] = v[2*j], v[2*j+1]
		}
	case "VSHUFPS":
		b, a := src(1), src(2)
		for l := 0; l < n; l += 4 {
			out[l], out[l+1], out[l+2], out[l+3] = a[l+imm&3], a[l+imm>>2&3], b[l+imm>>4&3], b[l+imm>>6&3]
		}
	case "VUNPCKLPS", "VUNPCKHPS":
		b, a := src(0), src(1)
		h := 0
		if in.op == "VUNPCKHPS" {
			h = 2
		}
		for l := 0; l < n; l += 4 {
			out[l], out[l+1], out[l+2], out[l+3] = a[l+h], b[l+h], a[l+h+1], b[l+h+1]
		}
	case "VPERMPS":
		v, index := src(0), src(1)
		for i := range n {
			out[i] = v[int(index[i])%n]
		}
	case "VCMPPS":
		b, a := m.vec(in.arg[1], 16), m.vec(in.arg[2], 16)
		var k uint16
		for i := range 16 {
			if imm == 0x1e && f(a[i]) > f(b[i]) || imm == 0 && f(a[i]) == f(b[i]) {
				k |= 1 << i
			}
		}
		m.k[dst.n] = k
		return
	case "VPSRAD", "VPSLLD":
		for i, x := range src(1) {
			if out[i] = x << imm; in.op == "VPSRAD" {
				out[i] = uint32(int32(x) >> imm)
			}
		}
	case "VPMADDWD":
		b, a := src(0), src(1)
		for i := range n {
			out[i] = uint32(int32(int16(a[i]))*int32(int16(b[i])) + int32(a[i])>>16*(int32(b[i])>>16))
		}
	case "VCVTDQ2PS":
		for i, x := range src(0) {
			out[i] = u(float32(int32(x)))
		}
	case "VCVTPS2DQ":
		for i, x := range src(0) {
			if r := math.RoundToEven(float64(f(x))); r >= -1<<31 && r < 1<<31 {
				out[i] = uint32(int32(r))
			} else {
				out[i] = 1 << 31
			}
		}
	default:
		m.movesAndDoubles(in)
		return
	}
	m.set(in, out)
}

// movesAndDoubles are the instructions with one lane, other widths or float64.
func (m *machine) movesAndDoubles(in *instr) {
	last := len(in.arg) - 1
	dst := in.arg[last]
	var out vector
	double := func(v vector, i int) float64 {
		return math.Float64frombits(uint64(v[2*i]) | uint64(v[2*i+1])<<32)
	}
	put := func(i int, x float64) {
		b := math.Float64bits(x)
		out[2*i], out[2*i+1] = uint32(b), uint32(b>>32)
	}
	n := lanes(dst.kind)
	switch in.op {
	case "VMOVSS", "VMOVD":
		switch {
		case dst.kind == 'r':
			m.r[dst.n] = uint64(m.z[in.arg[0].n][0])
			return
		case n == 0:
			*(*uint32)(m.address(dst)) = m.z[in.arg[0].n][0]
			return
		case in.arg[0].kind == 'r':
			out[0] = uint32(m.r[in.arg[0].n])
		default:
			out[0] = m.vec(in.arg[0], 1)[0]
		}
	case "VMOVSD":
		*(*uint64)(m.address(dst)) = math.Float64bits(double(m.z[in.arg[0].n], 0))
		return
	case "VMULSS", "VSUBSS", "VDIVSS":
		b, a := m.vec(in.arg[0], 1), m.vec(in.arg[1], 4)
		out = a
		out[0] = binaryOps[in.op[:4]+"PS"](a[0], b[0])
	case "VADDSD":
		b, a := m.vec(in.arg[0], 4), m.vec(in.arg[1], 4)
		out = a
		put(0, double(a, 0)+double(b, 0))
	case "VADDPD":
		b, a := m.vec(in.arg[0], n), m.vec(in.arg[1], n)
		for i := range n / 2 {
			put(i, double(a, i)+double(b, i))
		}
	case "VFMADD231PD":
		c, b, a := m.vec(in.arg[0], n), m.vec(in.arg[1], n), m.vec(dst, n)
		for i := range n / 2 {
			put(i, math.FMA(double(b, i), double(c, i), double(a, i)))
		}
	case "VCVTPS2PD":
		v := m.vec(in.arg[0], n/2)
		for i := range n / 2 {
			put(i, float64(f(v[i])))
		}
	case "VCVTPH2PS":
		var src [16]uint16
		if in.arg[0].kind == 'm' {
			copy(src[:n], unsafe.Slice((*uint16)(m.address(in.arg[0])), n))
		} else {
			for i := range n {
				src[i] = uint16(m.z[in.arg[0].n][i/2] >> (16 * (i % 2)))
			}
		}
		for i := range n {
			out[i] = u(quant.F16ToF32(src[i]))
		}
	case "VCVTPS2PH":
		w := lanes(in.arg[1].kind)
		v := m.vec(in.arg[1], w)
		for i := range w {
			h := quant.F32ToF16(f(v[i]))
			if n == 0 {
				*(*uint16)(unsafe.Add(m.address(dst), 2*i)) = h
			} else {
				out[i/2] |= uint32(h) << (16 * (i % 2))
			}
		}
		if n == 0 {
			return
		}
	case "VPMOVSXBD":
		for i, b := range unsafe.Slice((*int8)(m.address(in.arg[0])), n) {
			out[i] = uint32(int32(b))
		}
	case "VPMOVSXBW":
		for i, b := range unsafe.Slice((*int8)(m.address(in.arg[0])), 2*n) {
			out[i/2] |= uint32(uint16(int16(b))) << (16 * (i % 2))
		}
	case "VMOVLPS":
		copy(unsafe.Slice((*uint32)(m.address(dst)), 2), m.z[in.arg[0].n][:])
		return
	case "VPMOVDW":
		for i, x := range m.z[in.arg[0].n] {
			*(*uint16)(unsafe.Add(m.address(dst), 2*i)) = uint16(x)
		}
		return
	case "VPMOVDB":
		for i, x := range m.z[in.arg[0].n] {
			*(*byte)(unsafe.Add(m.address(dst), i)) = byte(x)
		}
		return
	default:
		panic(fmt.Sprintf("no meaning for %s", in.text))
	}
	m.set(in, out)
}
