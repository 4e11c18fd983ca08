package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

// one is a kernel of one instruction over registers that hold three arguments.
const one = `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out, .param .u64 xa, .param .u64 xb, .param .u64 xc) {
	.reg .pred p, q, r;
	.reg .b16 ha, hb, hc, h;
	.reg .b32 a, b, c, d;
	.reg .b64 wa, wb, wc, w, o;
	ld.param.u64 o, [out];
	ld.param.u64 wa, [xa];
	ld.param.u64 wb, [xb];
	ld.param.u64 wc, [xc];
	cvt.u32.u64 a, wa;
	cvt.u32.u64 b, wb;
	cvt.u32.u64 c, wc;
	cvt.u16.u64 ha, wa;
	cvt.u16.u64 hb, wb;
	cvt.u16.u64 hc, wc;
	setp.ne.u64 r, wc, 0;
	%s
	%s
	st.global.u64 [o], w;
	ret;
}
`

// result moves a register into w.
var result = map[byte]string{'h': "cvt.u64.u16 w, h;", 'd': "cvt.u64.u32 w, d;", 'w': "", 'p': "selp.b64 w, 1, 0, p;", 'q': "selp.b64 w, 1, 0, q;"}

// words is memory of n words that a test reads.
type words []byte

func (b words) at(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

func f(x float32) uint64 { return uint64(math.Float32bits(x)) }

func TestInstructions(t *testing.T) {
	const minus = 1<<64 - 1
	for _, c := range []struct {
		text    string
		to      byte
		a, b, c uint64
		want    uint64
	}{
		// integers
		{"add.s32 d, a, b;", 'd', 0xffffffff, 2, 0, 1},
		{"add.u16 h, ha, hb;", 'h', 0xffff, 2, 0, 1},
		{"add.s64 w, wa, -2;", 'w', 1, 0, 0, minus},
		{"add.sat.s32 d, a, b;", 'd', 0x7fffffff, 1, 0, 0x7fffffff},
		{"sub.sat.s32 d, a, b;", 'd', 0x80000000, 1, 0, 0x80000000},
		{"sub.s32 d, a, b;", 'd', 1, 2, 0, 0xffffffff},
		{"mul.lo.s32 d, a, b;", 'd', 0x10001, 0x10001, 0, 0x20001},
		{"mul.hi.s32 d, a, b;", 'd', 0xffffffff, 2, 0, 0xffffffff},
		{"mul.hi.u32 d, a, b;", 'd', 0xffffffff, 2, 0, 1},
		{"mul.hi.u64 w, wa, wb;", 'w', minus, 3, 0, 2},
		{"mul.hi.s64 w, wa, wb;", 'w', minus, 3, 0, minus},
		{"mul.wide.s32 w, a, b;", 'w', 0xffffffff, 3, 0, minus - 2},
		{"mul.wide.u32 w, a, b;", 'w', 0xffffffff, 3, 0, 0x2fffffffd},
		{"mul.wide.s16 d, ha, hb;", 'd', 0xffff, 3, 0, 0xfffffffd},
		{"mad.lo.s32 d, a, b, c;", 'd', 7, 6, 0xfffffffe, 40},
		{"mad.wide.u32 w, a, b, wc;", 'w', 0xffffffff, 2, 5, 0x200000003},
		{"mul24.lo.u32 d, a, b;", 'd', 0xff000003, 5, 0, 15},
		{"mad24.lo.s32 d, a, b, c;", 'd', 0x00ffffff, 5, 7, 2},
		{"div.s32 d, a, b;", 'd', 0xfffffff9, 2, 0, 0xfffffffd},
		{"rem.s32 d, a, b;", 'd', 0xfffffff9, 2, 0, 0xffffffff},
		{"div.s32 d, a, b;", 'd', 0x80000000, 0xffffffff, 0, 0x80000000},
		{"div.u64 w, wa, wb;", 'w', minus, 16, 0, minus >> 4},
		{"div.u32 d, a, b;", 'd', 5, 0, 0, 0xffffffff},
		{"rem.u32 d, a, b;", 'd', 5, 0, 0, 5},
		{"min.s32 d, a, b;", 'd', 0xffffffff, 1, 0, 0xffffffff},
		{"min.u32 d, a, b;", 'd', 0xffffffff, 1, 0, 1},
		{"max.s16 h, ha, hb;", 'h', 0xffff, 1, 0, 1},
		{"abs.s32 d, a;", 'd', 0xfffffffb, 0, 0, 5},
		{"neg.s16 h, ha;", 'h', 1, 0, 0, 0xffff},
		{"sad.s32 d, a, b, c;", 'd', 0xffffffff, 4, 10, 15},
		{"sad.u32 d, a, b, c;", 'd', 9, 4, 10, 15},
		{"dp4a.s32.s32 d, a, b, c;", 'd', 0xff02fe01, 0x01020304, 10, 10 - 1 + 4 - 6 + 4},
		{"dp4a.u32.s32 d, a, b, c;", 'd', 0x000000ff, 0x000000ff, 0, 0xffffff01},
		{"dp2a.lo.s32.s32 d, a, b, c;", 'd', 0xffff0002, 0x00000304, 1, 1 + 8 - 3},
		{"dp2a.hi.s32.s32 d, a, b, c;", 'd', 0xffff0002, 0x03040000, 1, 1 + 8 - 3},
		// bits
		{"and.b32 d, a, b;", 'd', 0b1100, 0b1010, 0, 0b1000},
		{"or.b16 h, ha, hb;", 'h', 0b1100, 0b1010, 0, 0b1110},
		{"xor.b64 w, wa, wb;", 'w', minus, 1, 0, minus - 1},
		{"not.b32 d, a;", 'd', 0, 0, 0, 0xffffffff},
		{"cnot.b32 d, a;", 'd', 0, 0, 0, 1},
		{"lop3.b32 d, a, b, c, 0xca;", 'd', 0xff00ff00, 0x12345678, 0x9abcdef0, 0x12bc56f0},
		{"lop3.b32 d, a, b, c, 0x96;", 'd', 0b11110000, 0b11001100, 0b10101010, 0b10010110},
		{"shl.b32 d, a, b;", 'd', 0x81, 31, 0, 0x80000000},
		{"shl.b32 d, a, b;", 'd', 1, 32, 0, 0},
		{"shl.b64 w, wa, b;", 'w', 1, 0xffffffff, 0, 0},
		{"shr.s32 d, a, b;", 'd', 0x80000000, 100, 0, 0xffffffff},
		{"shr.u32 d, a, b;", 'd', 0x80000000, 31, 0, 1},
		{"shr.u64 w, wa, b;", 'w', minus, 64, 0, 0},
		{"shr.s16 h, ha, b;", 'h', 0x8000, 1, 0, 0xc000},
		{"shf.l.wrap.b32 d, a, b, c;", 'd', 0x80000001, 0x12345678, 36, 0x23456788},
		{"shf.l.clamp.b32 d, a, b, c;", 'd', 0x80000001, 0x12345678, 36, 0x80000001},
		{"shf.r.clamp.b32 d, a, b, c;", 'd', 0x80000001, 0x12345678, 4, 0x88000000},
		{"shf.r.wrap.b32 d, a, b, c;", 'd', 0x80000001, 0x12345678, 32, 0x80000001},
		{"prmt.b32 d, a, b, c;", 'd', 0x33221100, 0x77665584, 0x7c40, 0x77ff8400},
		{"popc.b32 d, a;", 'd', 0xf0f, 0, 0, 8},
		{"popc.b64 d, wa;", 'd', minus, 0, 0, 64},
		{"clz.b32 d, a;", 'd', 1, 0, 0, 31},
		{"clz.b32 d, a;", 'd', 0, 0, 0, 32},
		{"clz.b64 d, wa;", 'd', 1, 0, 0, 63},
		{"brev.b32 d, a;", 'd', 1, 0, 0, 0x80000000},
		{"bfind.u32 d, a;", 'd', 0x100, 0, 0, 8},
		{"bfind.s32 d, a;", 'd', 0xfffffffe, 0, 0, 0},
		{"bfind.u32 d, a;", 'd', 0, 0, 0, 0xffffffff},
		{"bfind.shiftamt.u32 d, a;", 'd', 0x100, 0, 0, 23},
		{"bfe.u32 d, a, b, c;", 'd', 0x12345678, 8, 12, 0x456},
		{"bfe.s32 d, a, b, c;", 'd', 0x00000f00, 8, 4, 0xffffffff},
		{"bfe.s32 d, a, b, c;", 'd', 0x80000000, 40, 4, 0xffffffff},
		{"bfe.s32 d, a, b, c;", 'd', 0xf0000000, 28, 8, 0xffffffff},
		{"bfe.u32 d, a, b, c;", 'd', 0xf0000000, 28, 40, 0xf},
		{"bfe.u64 w, wa, b, c;", 'w', minus, 0, 64, minus},
		{"bfe.u32 d, a, b, c;", 'd', 0xffffffff, 3, 0, 0},
		{"bfi.b32 d, a, b, 8, 12;", 'd', 0xabc, 0xffffffff, 0, 0xfffabcff},
		{"bfi.b32 d, a, b, 28, 12;", 'd', 0xabc, 0, 0, 0xc0000000},
		{"bmsk.clamp.b32 d, a, b;", 'd', 4, 8, 0, 0xff0},
		{"bmsk.clamp.b32 d, a, b;", 'd', 28, 40, 0, 0xf0000000},
		{"bmsk.wrap.b32 d, a, b;", 'd', 36, 40, 0, 0xff0},
		// floats
		{"add.f32 d, a, b;", 'd', f(1), f(0x1p-24), 0, f(1)},
		{"add.rn.f32 d, a, b;", 'd', f(float32(math.Inf(1))), f(float32(math.Inf(-1))), 0, 0x7fffffff},
		{"add.ftz.f32 d, a, b;", 'd', 1, f(2), 0, f(2)},
		{"mul.ftz.f32 d, a, b;", 'd', f(0x1p-100), f(-0x1p-40), 0, 0x80000000},
		{"mul.f32 d, a, b;", 'd', f(0x1p-100), f(0x1p-40), 0, f(0x1p-140)},
		{"sub.f64 w, wa, wb;", 'w', math.Float64bits(3), math.Float64bits(0.5), 0, math.Float64bits(2.5)},
		{"add.sat.f32 d, a, b;", 'd', f(0.75), f(0.5), 0, f(1)},
		{"add.sat.f32 d, a, b;", 'd', f(-0.75), f(0.5), 0, 0},
		{"add.f16 h, ha, hb;", 'h', 0x3c00, 0x3800, 0, 0x3e00},
		{"mul.f16x2 d, a, b;", 'd', 0x3c004000, 0x38003c00, 0, 0x38004000},
		{"fma.rn.bf16x2 d, a, b, c;", 'd', 0x3f804000, 0x3f803f80, 0x3f803f80, 0x40004040},
		{"fma.rn.f32 d, a, b, c;", 'd', f(1 + 0x1p-23), f(1 + 0x1p-23), f(-1), f(0x1p-22 + 0x1p-46)},
		// a product just above half-way: rounding it to float64 first would lose that
		{"fma.rn.f32 d, a, b, c;", 'd', f(0x1p-30), f(0x1p-30), f(1 + 0x1p-23), f(1 + 0x1p-23)},
		{"fma.rn.f32 d, a, b, c;", 'd', f(1 + 0x1p-12), f(0x1p-24 - 0x1p-36), f(1), f(1)},
		{"fma.rn.f32 d, a, b, c;", 'd', f(0x1p-24 + 0x1p-47), f(1 + 0x1p-23), f(1), f(1 + 0x1p-23)},
		{"mad.rn.f32 d, a, b, c;", 'd', f(2), f(3), f(4), f(10)},
		{"fma.rn.f64 w, wa, wb, wc;", 'w', math.Float64bits(2), math.Float64bits(3), math.Float64bits(4), math.Float64bits(10)},
		{"div.rn.f32 d, a, b;", 'd', f(1), f(3), 0, f(1.0 / 3)},
		{"div.rn.f32 d, a, b;", 'd', f(0), f(0), 0, 0x7fffffff},
		{"sqrt.rn.f32 d, a;", 'd', f(2), 0, 0, f(math.Sqrt2)},
		{"rcp.rn.f32 d, a;", 'd', f(4), 0, 0, f(0.25)},
		{"ex2.approx.ftz.f32 d, a;", 'd', f(3), 0, 0, f(8)},
		{"lg2.approx.f32 d, a;", 'd', f(8), 0, 0, f(3)},
		{"rsqrt.approx.f32 d, a;", 'd', f(4), 0, 0, f(0.5)},
		{"min.f32 d, a, b;", 'd', 0x7fc00000, f(2), 0, f(2)},
		{"min.NaN.f32 d, a, b;", 'd', 0x7fc00000, f(2), 0, 0x7fffffff},
		{"max.f32 d, a, b;", 'd', 0x80000000, 0, 0, 0},
		{"min.f32 d, a, b;", 'd', 0, 0x80000000, 0, 0x80000000},
		{"abs.f32 d, a;", 'd', f(-2), 0, 0, f(2)},
		{"neg.f16x2 d, a;", 'd', 0x3c00bc00, 0, 0, 0xbc003c00},
		{"copysign.f32 d, a, b;", 'd', f(-1), f(3), 0, f(-3)},
		{"testp.subnormal.f32 p, a;", 'p', 1, 0, 0, 1},
		{"testp.normal.f32 p, a;", 'p', f(1), 0, 0, 1},
		// conversions
		{"cvt.rn.f32.s32 d, a;", 'd', 0xffffffff, 0, 0, f(-1)},
		{"cvt.rn.f32.u32 d, a;", 'd', 0xffffffff, 0, 0, f(0x1p32)},
		{"cvt.rn.f32.u64 d, wa;", 'd', 1<<40 + 1<<16 + 1, 0, 0, f(1<<40 + 1<<17)},
		{"cvt.rn.f32.s64 d, wa;", 'd', 0xc000000000000000, 0, 0, f(-0x1p62)},
		{"cvt.rzi.s32.f32 d, a;", 'd', f(-2.7), 0, 0, 0xfffffffe},
		{"cvt.rni.s32.f32 d, a;", 'd', f(2.5), 0, 0, 2},
		{"cvt.rzi.s32.f32 d, a;", 'd', f(1e20), 0, 0, 0x7fffffff},
		{"cvt.rzi.u32.f32 d, a;", 'd', f(-5), 0, 0, 0},
		{"cvt.rzi.s32.f32 d, a;", 'd', 0x7fc00000, 0, 0, 0},
		{"cvt.rpi.s32.f32 d, a;", 'd', f(2.1), 0, 0, 3},
		{"cvt.rmi.f32.f32 d, a;", 'd', f(-2.1), 0, 0, f(-3)},
		{"cvt.rni.f32.f32 d, a;", 'd', f(3.5), 0, 0, f(4)},
		{"cvt.sat.f32.f32 d, a;", 'd', f(3.5), 0, 0, f(1)},
		{"cvt.f32.f16 d, ha;", 'd', 0x0001, 0, 0, f(0x1p-24)},
		{"cvt.f32.f16 d, ha;", 'd', 0xfbff, 0, 0, f(-65504)},
		{"cvt.rn.f16.f32 h, a;", 'h', f(65520), 0, 0, 0x7c00},
		{"cvt.rn.f16.f32 h, a;", 'h', f(65519), 0, 0, 0x7bff},
		{"cvt.rz.f16.f32 h, a;", 'h', f(65535), 0, 0, 0x7bff},
		{"cvt.rn.f16.f32 h, a;", 'h', f(0x1p-25), 0, 0, 0},
		{"cvt.rn.f16.f32 h, a;", 'h', f(0x1.8p-25), 0, 0, 1},
		{"cvt.rn.bf16.f32 h, a;", 'h', 0x3f808000, 0, 0, 0x3f80},
		{"cvt.rn.bf16.f32 h, a;", 'h', 0x3f818000, 0, 0, 0x3f82},
		{"cvt.rn.bf16x2.f32 d, a, b;", 'd', f(1), f(2), 0, 0x3f804000},
		{"cvt.rn.f16x2.f32 d, a, b;", 'd', f(1), f(2), 0, 0x3c004000},
		{"cvt.f64.f32 w, a;", 'w', f(1.5), 0, 0, math.Float64bits(1.5)},
		{"cvt.rn.f32.f64 d, wa;", 'd', math.Float64bits(1 + 0x1p-24 + 0x1p-40), 0, 0, f(1 + 0x1p-23)},
		{"cvt.s32.s8 d, a;", 'd', 0x180, 0, 0, 0xffffff80},
		{"cvt.u32.u8 d, a;", 'd', 0x180, 0, 0, 0x80},
		{"cvt.s64.s32 w, a;", 'w', 0x80000000, 0, 0, 0xffffffff80000000},
		{"cvt.s8.s32 d, a;", 'd', 0x1ff, 0, 0, 0xffffffff},
		{"cvt.sat.s8.s32 d, a;", 'd', 200, 0, 0, 127},
		{"cvt.sat.u8.s32 d, a;", 'd', 0xfffffff0, 0, 0, 0},
		{"cvt.sat.u32.s64 d, wa;", 'd', minus, 0, 0, 0},
		// moves and comparisons
		{"mov.b64 w, {a, b};", 'w', 1, 2, 0, 2<<32 | 1},
		{"mov.b64 {d, a}, wa;", 'd', 7<<32 | 9, 0, 0, 9},
		{"mov.b64 {_, d}, wa;", 'd', 7<<32 | 9, 0, 0, 7},
		{"mov.b32 d, {ha, hb};", 'd', 1, 2, 0, 2<<16 | 1},
		{"mov.u32 d, %ntid.x;", 'd', 0, 0, 0, 1},
		{"mov.u32 d, WARP_SZ;", 'd', 0, 0, 0, 32},
		{"mov.f32 d, 0f3F800000;", 'd', 0, 0, 0, f(1)},
		{"mov.f64 w, 0d3FF0000000000000;", 'w', 0, 0, 0, math.Float64bits(1)},
		{"mov.pred p, 1;", 'p', 0, 0, 0, 1},
		{"not.pred p, r;", 'p', 0, 0, 0, 1},
		{"and.pred p, r, r;", 'p', 0, 0, 1, 1},
		{"setp.lt.s32 p, a, b;", 'p', 0xffffffff, 0, 0, 1},
		{"setp.lt.u32 p, a, b;", 'p', 0xffffffff, 0, 0, 0},
		{"setp.ge.s32 p|q, a, b;", 'q', 1, 0, 0, 0},
		{"setp.lt.f32 p, a, b;", 'p', 0x7fc00000, f(1), 0, 0},
		{"setp.ltu.f32 p, a, b;", 'p', 0x7fc00000, f(1), 0, 1},
		{"setp.neu.f32 p, a, b;", 'p', 0x7fc00000, 0x7fc00000, 0, 1},
		{"setp.ne.f32 p, a, b;", 'p', 0x7fc00000, 0x7fc00000, 0, 0},
		{"setp.num.f32 p, a, b;", 'p', f(1), f(2), 0, 1},
		{"setp.nan.f32 p, a, b;", 'p', f(1), 0x7fc00000, 0, 1},
		{"setp.eq.and.s32 p, a, b, !r;", 'p', 1, 1, 0, 1},
		{"setp.eq.or.s32 p|q, a, b, r;", 'q', 1, 1, 1, 1},
		{"set.gt.u32.s32 d, a, b;", 'd', 2, 1, 0, 0xffffffff},
		{"set.gt.f32.s32 d, a, b;", 'd', 2, 1, 0, f(1)},
		{"selp.b32 d, a, b, r;", 'd', 1, 2, 1, 1},
		{"selp.b32 d, a, b, !r;", 'd', 1, 2, 1, 2},
		{"slct.b32.s32 d, a, b, c;", 'd', 1, 2, 0x80000000, 2},
		// statements
		{"{ .reg .b32 d2; mov.u32 d2, 5; mov.u32 d, d2; }", 'd', 0, 0, 0, 5},
		{"{ .reg .u32 d; mov.u32 d, 5; } mov.u32 d, 6; { bra L; mov.u32 d, 7; L: }", 'd', 0, 0, 0, 6},
		{"mov.u32 d, 1; @r bra L; mov.u32 d, 2; L:", 'd', 0, 0, 1, 1},
		{"mov.u32 d, 1; @!r bra L; mov.u32 d, 2; L:", 'd', 0, 0, 1, 2},
		{"mov.u32 d, 0; L: add.u32 d, d, a; setp.lt.u32 p, d, 100; @p bra L;", 'd', 7, 0, 0, 105},
		{".local .align 8 .b8 l[16]; mov.u64 w, l; cvta.local.u64 w, w; st.u32 [w+4], a; ld.local.u32 d, [l+4];", 'd', 9, 0, 0, 9},
		{".shared .b32 s[4]; st.shared.v2.u32 [s+8], {a, b}; ld.shared.u32 d, [s+12];", 'd', 9, 5, 0, 5},
		{"ld.param.s8 d, [xa];", 'd', 0x80, 0, 0, 0xffffff80},
		{"ld.param.u8 h, [xa+1];", 'h', 0x8000, 0, 0, 0x80},
		{"isspacep.global p, o;", 'p', 0, 0, 0, 1},
	} {
		name := fmt.Sprintf("%s a=%#x b=%#x c=%#x", c.text, c.a, c.b, c.c)
		m, err := Parse(fmt.Appendf(nil, one, c.text, result[c.to]))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x := NewMachine(m)
		out := make([]byte, 8)
		if _, err := x.Launch(&Launch{Kernel: "k", Args: []any{x.Map(out), c.a, c.b, c.c}}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if have := binary.LittleEndian.Uint64(out); have != c.want {
			t.Errorf("%s gives %#x, want %#x", name, have, c.want)
		}
	}
}

// TestRefused: what is not supported is told by name, wherever it stands.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"frob.u32 d, a;":                         "the instruction frob is not supported",
		"add.rz.f32 d, a, b;":                    "the modifier .rz is not supported",
		"add.u32 d, a;":                          "2 operands: want 3 to 3",
		"add.u32 d, a, wb;":                      "register wb has 64 bits, want 32",
		"add.u32 w, a, b;":                       "register w has 64 bits, want 32",
		"add d, a, b;":                           "it has no type",
		"mul.u32 d, a, b;":                       "it is neither .lo nor .hi nor .wide",
		"mul.wide.u64 w, wa, wb;":                "a product of 128 bits",
		"cvt.f16.f32 h, a;":                      "the rounding is missing",
		"cvt.s32.f32 d, a;":                      "the rounding is missing",
		"sqrt.rz.f32 d, a;":                      "the rounding is not supported",
		"mov.u32 d, %envreg3;":                   "the register %envreg3 is not supported",
		"setp.foo.s32 p, a, b;":                  "the comparison is not supported",
		"ld.global.u32 {d, a}, [o];":             "2 registers: want 1",
		"ld.global.u32 d, o;":                    "operand 2 is no address",
		"shfl.down.b32 d, a, 1, 31;":             "supported with .sync only",
		"atom.global.add.u32 d, [o];":            "2 operands: want 3",
		"atom.global.sub.u32 d, [o], a;":         "the operation is not supported",
		"cp.async.bulk.commit_group;":            "the modifier .bulk is not supported",
		"cp.async.ca.shared.global [a], [o], 5;": "a copy of 5 bytes",
		"mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {d,d,d,d},{a,b},{a},{a,b,c,d};": "the shape or the types are not supported",
	} {
		m, err := Parse(fmt.Appendf(nil, one, text, ""))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		_, err = NewMachine(m).Launch(&Launch{Kernel: "k", Args: []any{uint64(0), uint64(0), uint64(0), uint64(0)}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "kernel k, line 20") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
