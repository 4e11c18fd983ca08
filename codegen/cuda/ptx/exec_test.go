package ptx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// text makes a kernel k(out, in) whose lanes find their number in t, their
// word of in in v and the address of their word of out in o.
func text(body string) string {
	return `.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 dyn[];
.global .align 4 .u32 counter;
.const .align 4 .u32 table[4] = {10, 20, 30, 40};
.visible .entry k(.param .u64 out, .param .u64 in)
.maxntid 256, 1, 1
{
	.reg .pred %p<8>;
	.reg .b32 t, v, n, %r<32>;
	.reg .b64 o, i, w, %rd<8>;
	.shared .align 4 .b8 s[1024];
	mov.u32 t, %tid.x;
	mov.u32 n, %ntid.x;
	mad.lo.u32 %r0, n, %ctaid.x, t;
	ld.param.u64 o, [out];
	ld.param.u64 i, [in];
	mul.wide.u32 w, %r0, 4;
	add.u64 o, o, w;
	add.u64 i, i, w;
	ld.global.u32 v, [i];
` + body + "\nst.global.u32 [o], v;\nret;\n}\n"
}

// launch runs k over words of input under a schedule.
func launch(body string, threads, blocks, schedule int, cooperative bool) (words, error) {
	m, err := Parse([]byte(text(body)))
	if err != nil {
		return nil, err
	}
	x := NewMachine(m)
	in, out := make([]byte, 4*threads*blocks), make([]byte, 4*threads*blocks)
	for i := range threads * blocks {
		binary.LittleEndian.PutUint32(in[4*i:], uint32(i*i+3))
	}
	_, err = x.Launch(&Launch{
		Kernel: "k", Grid: [3]int{blocks}, Block: [3]int{threads}, Shared: 256, Cooperative: cooperative, Schedule: schedule, Steps: 1e6,
		Args: []any{x.Map(out), x.Map(in)},
	})
	return out, err
}

func TestWarps(t *testing.T) {
	in := func(i int) uint32 { return uint32(i*i + 3) }
	for _, c := range []struct {
		name, body      string
		threads, blocks int
		cooperative     bool
		want            func(i int) uint32
	}{
		{"bfly", "shfl.sync.bfly.b32 v, v, 1, 31, 0xffffffff;", 64, 1, false, func(i int) uint32 { return in(i ^ 1) }},
		{"up", "shfl.sync.up.b32 v|%p1, v, 3, 0, 0xffffffff; @!%p1 mov.u32 v, 7;", 32, 1, false, func(i int) uint32 {
			if i < 3 {
				return 7
			}
			return in(i - 3)
		}},
		{"down in eights", "shfl.sync.down.b32 v, v, 1, 0x1807, 0xffffffff;", 32, 1, false, func(i int) uint32 {
			if i&7 == 7 {
				return in(i)
			}
			return in(i + 1)
		}},
		{"idx in eights", "shfl.sync.idx.b32 v, v, 2, 0x181f, 0xffffffff;", 32, 1, false, func(i int) uint32 { return in(i&^7 | 2) }},
		{"ballot", "and.b32 %r1, t, 3; setp.eq.u32 %p1, %r1, 0; vote.sync.ballot.b32 v, %p1, 0xffffffff;", 32, 1, false, func(int) uint32 { return 0x11111111 }},
		{"any and all", "setp.lt.u32 %p1, t, 5; vote.sync.any.pred %p2, %p1, -1; vote.sync.all.pred %p3, %p1, -1; selp.b32 v, 1, 0, %p2; @%p3 mov.u32 v, 9;", 32, 1, false, func(int) uint32 { return 1 }},
		{"redux", "redux.sync.max.s32 v, v, -1;", 32, 1, false, func(int) uint32 { return in(31) }},
		{"match", "shr.u32 %r1, t, 3; match.any.sync.b32 v, %r1, -1;", 32, 1, false, func(i int) uint32 { return 0xff << (i &^ 7) }},
		{"elect", "elect.sync %r1|%p1, -1; selp.b32 v, 1, 0, %p1; add.u32 v, v, %r1;", 32, 1, false, func(i int) uint32 { return uint32(truth(i == 0)) }},
		{"half warps", "setp.lt.u32 %p1, t, 16; selp.b32 %r1, 0xffff, 0xffff0000, %p1; redux.sync.add.u32 v, t, %r1;", 32, 1, false, func(i int) uint32 {
			if i < 16 {
				return 120
			}
			return 120 + 256
		}},
		// The branches lie so that the smallest instruction alone does not make lanes meet.
		{"diverged", `and.b32 %r1, t, 1; setp.eq.u32 %p1, %r1, 0; @%p1 bra EVEN; add.u32 v, t, 100; bra JOIN;
			BACK: shfl.sync.bfly.b32 v, v, 1, 31, -1; bra END;
			JOIN: bra BACK;
			EVEN: add.u32 v, t, 200; bra BACK; END:`, 32, 1, false, func(i int) uint32 {
			if i&1 == 0 {
				return uint32(i + 1 + 100)
			}
			return uint32(i - 1 + 200)
		}},
		{"loop of different lengths", "mov.u32 %r1, 0; mov.u32 v, 0; L: setp.ge.u32 %p1, %r1, t; @%p1 bra E; add.u32 v, v, %r1; add.u32 %r1, %r1, 1; bra L; E: redux.sync.add.u32 %r2, v, -1; add.u32 v, v, %r2;", 32, 1, false,
			func(i int) uint32 { return uint32(i*(i-1)/2 + 4960) }},
		{"barrier", "mul.lo.u32 %r1, t, 4; mov.u32 %r2, s; add.u32 %r1, %r1, %r2; st.shared.u32 [%r1], v; bar.sync 0; xor.b32 %r3, t, 255; mul.lo.u32 %r3, %r3, 4; add.u32 %r3, %r3, %r2; ld.shared.u32 v, [%r3];",
			256, 2, false, func(i int) uint32 { return in(i ^ 255) }},
		{"reduction at a barrier", "setp.lt.u32 %p1, t, 77; bar.red.popc.u32 v, 0, %p1; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1; selp.b32 %r1, 1000, 0, %p2; selp.b32 %r2, 500, 0, %p3; add.u32 v, v, %r1; add.u32 v, v, %r2;",
			96, 1, false, func(int) uint32 { return 577 }},
		{"two barriers for some warps", "setp.ge.u32 %p1, t, 64; @%p1 bra L; bar.sync 1, 64; L: bar.sync 0;", 96, 1, false, in},
		{"arrive", "shr.u32 %r1, t, 5; setp.eq.u32 %p1, %r1, 0; @%p1 bra L; bar.arrive 1, 64; bra E; L: bar.sync 1, 64; E:", 64, 1, false, in},
		{"some warps leave", "setp.ge.u32 %p1, t, 64; @%p1 bra E; bar.sync 0; add.u32 v, v, 1; E:", 96, 1, false, func(i int) uint32 { return in(i) + uint32(truth(i < 64)) }},
		{"atomics", "atom.global.add.u32 %r1, [counter], 1; bar.sync 0; ld.global.u32 %r2, [counter]; mov.u32 v, %r2;", 96, 1, false, func(int) uint32 { return 96 }},
		{"more atomics", `mov.u32 %r1, s; setp.eq.u32 %p1, t, 0; @%p1 st.shared.v2.u32 [s], {0, 100}; bar.sync 0;
			atom.shared.max.s32 %r2, [s], t; atom.shared.cas.b32 %r3, [s+4], 100, 7; red.shared.xor.b32 [s+4], 0; atom.shared.inc.u32 %r4, [s+4], 50;
			bar.sync 0; ld.shared.v2.u32 {%r5, %r6}, [s]; mad.lo.u32 v, %r6, 1000, %r5;`, 32, 1, false, func(int) uint32 { return 39*1000 + 31 }},
		{"constants", "and.b32 %r1, t, 3; mul.wide.u32 %rd1, %r1, 4; mov.u64 %rd2, table; add.u64 %rd1, %rd1, %rd2; ld.const.u32 v, [%rd1];", 32, 1, false, func(i int) uint32 { return uint32(i&3+1) * 10 }},
		{"dynamic shared memory", "mov.u32 %r1, dyn; mad.lo.u32 %r1, t, 4, %r1; st.shared.u32 [%r1+0], t; mov.u64 %rd1, dyn; cvta.shared.u64 %rd1, %rd1; mul.wide.u32 %rd2, t, 4; add.u64 %rd1, %rd1, %rd2; ld.u32 v, [%rd1];", 64, 1, false,
			func(i int) uint32 { return uint32(i) }},
		{"grid barrier", `bar.sync 0; setp.ne.u32 %p1, t, 0; @%p1 bra E; red.release.gpu.global.add.u32 [counter], 1; mov.u64 %rd1, counter; mov.u32 %r2, %nctaid.x;
			L: ld.acquire.gpu.global.u32 %r1, [%rd1]; setp.lt.u32 %p2, %r1, %r2; @%p2 bra L; E: bar.sync 0; ld.global.u32 v, [counter];`, 64, 5, true, func(int) uint32 { return 5 }},
		{"asynchronous copy", `mov.u32 %r1, s; mad.lo.u32 %r1, t, 4, %r1; cp.async.ca.shared.global [%r1], [i], 4; cp.async.commit_group;
			ld.shared.u32 %r2, [%r1]; cp.async.ca.shared.global [%r1+512], [i], 4, 0; cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r3, [%r1]; ld.shared.u32 %r5, [%r1+512];
			cp.async.wait_all; ld.shared.u32 %r4, [%r1+512]; add.u32 v, %r2, 1; add.u32 v, v, %r3; add.u32 v, v, %r4; add.u32 %r5, %r5, 1; add.u32 v, v, %r5;`, 32, 1, false, in},
		{"activemask", "setp.lt.u32 %p1, t, 5; @!%p1 bra E; activemask.b32 v; E:", 32, 1, false, func(i int) uint32 {
			if i < 5 {
				return 31
			}
			return in(i)
		}},
		{"lane masks", "mov.u32 v, %lanemask_le; mov.u32 %r1, %lanemask_gt; add.u32 v, v, %r1;", 64, 1, false, func(int) uint32 { return 0xffffffff }},
		{"guarded collective", "setp.lt.u32 %p1, t, 16; @%p1 redux.sync.add.u32 v, t, 0xffff;", 32, 1, false, func(i int) uint32 {
			if i < 16 {
				return 120
			}
			return in(i)
		}},
	} {
		for schedule := range 4 {
			out, err := launch(c.body, c.threads, c.blocks, schedule, c.cooperative)
			if err != nil {
				t.Errorf("%s, schedule %d: %v", c.name, schedule, err)
				continue
			}
			for i := range c.threads * c.blocks {
				want := c.want(i)
				if c.name == "barrier" && i >= 256 {
					want = in(256 + (i&255 ^ 255))
				}
				if have := out.at(i); have != want {
					t.Errorf("%s, schedule %d: thread %d has %d, want %d", c.name, schedule, i, have, want)
					break
				}
			}
		}
	}
}

// TestFaults: each fault is told with the instruction and the thread.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"beyond the end":        {"ld.global.u32 v, [i+4];", "thread (63,0,0) of block (0,0,0): 4 bytes at offset 256 of 256 bytes of buffer 1"},
		"before the begin":      {"ld.global.u32 v, [i-4];", "thread (0,0,0) of block (0,0,0): 4 bytes at offset -4 of 256 bytes of buffer 1"},
		"null":                  {"mov.u64 %rd1, 8; ld.global.u32 v, [%rd1];", "address 0x8, near null"},
		"nowhere":               {"mov.u64 %rd1, 0x990000000000; ld.u32 v, [%rd1];", "where no buffer is"},
		"misaligned":            {"ld.global.v2.u32 {v, %r1}, [i];", "thread (1,0,0) of block (0,0,0): 8 bytes at offset 4 of 256 bytes of buffer 1: not a multiple of 8"},
		"shared memory":         {"mov.u32 %r1, dyn; mad.lo.u32 %r1, t, 8, %r1; st.shared.u32 [%r1], v;", "thread (32,0,0) of block (0,0,0): 4 bytes at offset 1280 of 1280 bytes of shared memory"},
		"a constant":            {"st.global.u32 [table], v;", "a write to the constant table"},
		"a parameter":           {"st.param.u32 [in], v;", "a write to a parameter"},
		"beyond a parameter":    {"ld.param.u64 %rd1, [in+8];", "offset 16 of 16 bytes of parameters"},
		"ended lanes":           {"setp.lt.u32 %p1, t, 4; @%p1 exit; shfl.sync.bfly.b32 v, v, 1, 31, -1;", "names lanes 0x0000000f, which have ended or never were"},
		"not in its mask":       {"shfl.sync.bfly.b32 v, v, 1, 31, 0xfffffffe;", "does not name the lane itself"},
		"different masks":       {"setp.eq.u32 %p1, t, 3; selp.b32 %r1, 0xf, -1, %p1; redux.sync.add.u32 v, v, %r1;", "its mask is 0x0000000f, that of lane 0 0xffffffff"},
		"a lane outside":        {"shfl.sync.idx.b32 v, v, 20, 31, -1; setp.lt.u32 %p1, t, 8; @%p1 shfl.sync.idx.b32 v, v, 20, 31, 0xff;", "reads lane 20, which does not take part"},
		"different collectives": {"and.b32 %r1, t, 1; setp.eq.u32 %p1, %r1, 0; @%p1 bra L; shfl.sync.idx.b32 v, v, 0, 31, -1; bra E; L: redux.sync.add.u32 v, v, -1; E:", "wait here for lanes 0x55555555, which wait at line"},
		"half a barrier":        {"setp.lt.u32 %p1, t, 32; @%p1 bra L; bar.sync 1; L: bar.sync 0;", "nothing can go on: warps of block (0,0,0) stand at a barrier before line"},
		"barrier number":        {"bar.sync 16;", "barrier 16: they have numbers below 16"},
		"barrier count":         {"bar.sync 1, 33;", "not a multiple of a warp"},
		"mma of some lanes":     {"setp.lt.u32 %p1, t, 4; @%p1 exit; mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r1,%r2,%r3,%r4},{%r1,%r2,%r3,%r4},{%r5,%r6},{%r1,%r2,%r3,%r4};", "it needs all 32 lanes; these are 0xfffffff0"},
		"no wait for a copy":    {"mov.u32 %r1, s; mad.lo.u32 %r1, t, 4, %r1; cp.async.ca.shared.global [%r1], [i], 4;", "ends before its asynchronous copies have arrived"},
		"a copy's source":       {"mov.u32 %r1, s; mad.lo.u32 %r1, t, 16, %r1; cp.async.cg.shared.global [%r1], [i], 16; cp.async.wait_all;", "a copy of 16 bytes from offset 4 of 256 bytes of buffer 1, which is no multiple of it"},
		"trap":                  {"setp.eq.u32 %p1, t, 40; @%p1 trap;", "thread (40,0,0) of block (0,0,0): the kernel gives up"},
		"no end":                {"L: bra L;", "has not ended after"},
	} {
		_, err := launch(c.body, 64, 1, 0, false)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kernel k") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestLaunches(t *testing.T) {
	m, err := Parse([]byte(text("")))
	if err != nil {
		t.Fatal(err)
	}
	p := uint64(1) << bufferShift
	for want, l := range map[string]*Launch{
		"no kernel x: the module has [k]":                    {Kernel: "x"},
		"2 parameters: 1 were given":                         {Kernel: "k", Args: []any{p}},
		"parameter 1 has 8 bytes: a int32 was given":         {Kernel: "k", Args: []any{p, int32(1)}},
		"parameter 0 has 8 bytes: 3 were given":              {Kernel: "k", Args: []any{[]byte{1, 2, 3}, p}},
		"a string is no argument":                            {Kernel: "k", Args: []any{"x", p}},
		"compiled for blocks of 256 threads: these have 288": {Kernel: "k", Block: [3]int{288}, Args: []any{p, p}},
		"a block of [1025 1 1]":                              {Kernel: "k", Block: [3]int{1025}, Args: []any{p, p}},
		"a block of [64 64 64]":                              {Kernel: "k", Block: [3]int{64, 64, 64}, Args: []any{p, p}},
		"a grid of [-1 1 1]":                                 {Kernel: "k", Grid: [3]int{-1}, Args: []any{p, p}},
		"a grid of [2147483647 2 1]":                         {Kernel: "k", Grid: [3]int{math.MaxInt32, 2}, Args: []any{p, p}},
		"too many to run together":                           {Kernel: "k", Grid: [3]int{1 << 20}, Block: [3]int{32}, Cooperative: true, Args: []any{p, p}},
		"bytes of dynamic and 1024 of static shared memory":  {Kernel: "k", Shared: maxShared, Args: []any{p, p}},
	} {
		if _, err := NewMachine(m).Launch(l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if v, ok := NewMachine(m).Variable("table"); !ok || !bytes.Equal(v, []byte{10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40, 0, 0, 0}) {
		t.Errorf("table %v", v)
	}
}

// TestMatrix compares the fragments of mma with a product of matrices.
func TestMatrix(t *testing.T) {
	for _, c := range []struct {
		shape string
		a, b  int // registers
		k     int
		elem  typ
	}{
		{"m16n8k32.row.col.s32.s8.s8.s32", 4, 2, 32, typ{'s', 8}},
		{"m16n8k32.row.col.s32.u8.u8.s32", 4, 2, 32, typ{'u', 8}},
		{"m16n8k16.row.col.s32.s8.s8.s32", 2, 1, 16, typ{'s', 8}},
		{"m16n8k64.row.col.s32.s4.s4.s32", 4, 2, 64, typ{'s', 4}},
		{"m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 16, typ{'g', 16}},
		{"m16n8k8.row.col.f32.f16.f16.f32", 2, 1, 8, typ{'f', 16}},
	} {
		// A, B and C are rows of words in one buffer; D comes out of another.
		rowA, wordsA := c.k*c.elem.bits/32, 16*c.k*c.elem.bits/32
		var b strings.Builder
		fmt.Fprint(&b, ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 in) {\n.reg .b32 t, g, x, %r<16>; .reg .b64 o, i, w;\n")
		fmt.Fprint(&b, "mov.u32 t, %laneid; shr.u32 g, t, 2; and.b32 t, t, 3; ld.param.u64 o, [out]; ld.param.u64 i, [in];\n")
		load := func(reg, row, first, stride, word int) {
			fmt.Fprintf(&b, "mad.lo.u32 x, g, %d, t; mul.wide.u32 w, x, 4; add.u64 w, w, i; ld.global.u32 %%r%d, [w+%d];\n", stride, reg, 4*(first+row*stride+word))
		}
		for j := range c.a {
			load(j, j&1*8, 0, rowA, j>>1*4)
		}
		for j := range c.b {
			load(4+j, 0, wordsA, rowA, j*4)
		}
		fmt.Fprintf(&b, "mad.lo.u32 x, g, 8, t; add.u32 x, x, t; mul.wide.u32 w, x, 4; add.u64 i, i, w; add.u64 o, o, w;\n")
		first := 4 * (wordsA + 8*rowA)
		fmt.Fprintf(&b, "ld.global.v2.u32 {%%r8, %%r9}, [i+%d]; ld.global.v2.u32 {%%r10, %%r11}, [i+%d];\n", first, first+256)
		regs := func(from, n int) string {
			var out []string
			for j := range n {
				out = append(out, fmt.Sprintf("%%r%d", from+j))
			}
			return "{" + strings.Join(out, ",") + "}"
		}
		fmt.Fprintf(&b, "mma.sync.aligned.%s %s, %s, %s, %s;\n", c.shape, regs(8, 4), regs(0, c.a), regs(4, c.b), regs(8, 4))
		fmt.Fprint(&b, "st.global.v2.u32 [o], {%r8, %r9}; st.global.v2.u32 [o+256], {%r10, %r11};\n}\n")
		m, err := Parse([]byte(b.String()))
		if err != nil {
			t.Errorf("%s: %v", c.shape, err)
			continue
		}
		x := NewMachine(m)
		in, out := make([]byte, first+4*128), make([]byte, 4*128)
		value := func(i int) uint64 { return uint64(i*7+i/5) & c.elem.mask() }
		n := c.elem.bits
		for i := range 24 * c.k {
			v := value(i)
			if c.elem.float() {
				v = c.elem.round(float64(i*7%13)-6, false)
			}
			in[i*n/8] |= byte(v << (i * n % 8))
			if n == 16 {
				in[i*2+1] = byte(v >> 8)
			}
		}
		for i := range 128 {
			v := uint32(i - 60)
			if c.elem.float() {
				v = math.Float32bits(float32(i - 60))
			}
			binary.LittleEndian.PutUint32(in[first+4*i:], v)
		}
		if _, err := x.Launch(&Launch{Kernel: "k", Block: [3]int{32}, Args: []any{x.Map(out), x.Map(in)}}); err != nil {
			t.Errorf("%s: %v", c.shape, err)
			continue
		}
		at := func(row, k int) float64 { // of A, and below it of B
			i := row*c.k + k
			v := uint64(in[i*n/8]) >> (i * n % 8) & c.elem.mask()
			if n == 16 {
				v = uint64(binary.LittleEndian.Uint16(in[2*i:]))
			}
			if c.elem.float() {
				return c.elem.value(v)
			}
			return float64(int64(c.elem.widen(v)))
		}
		for row := range 16 {
			for col := range 8 {
				want := float64(row*8 + col - 60)
				for k := range c.k {
					want += at(row, k) * at(16+col, k)
				}
				have := float64(int32(words(out).at(row*8 + col)))
				if c.elem.float() {
					have = float64(math.Float32frombits(words(out).at(row*8 + col)))
				}
				if have != want {
					t.Fatalf("%s: D[%d][%d] is %v, want %v", c.shape, row, col, have, want)
				}
			}
		}
	}
}

func TestLdmatrix(t *testing.T) {
	const body = `mov.u32 %%r1, s; mad.lo.u32 %%r2, t, 4, %%r1; st.shared.u32 [%%r2], v; bar.sync 0; and.b32 %%r3, t, 7; mad.lo.u32 %%r3, %%r3, 16, %%r1;
		ldmatrix.sync.aligned.m8n8.x1%s.shared.b16 {%%r4}, [%%r3]; mov.u32 v, %%r4; %s`
	at := func(r, c int) uint32 { // element of the matrix whose words are i*i+3
		i := 4*r + c/2
		return uint32(i*i+3) >> (16 * (c & 1)) & 0xffff
	}
	for _, x := range []struct{ trans, more string }{{"", ""}, {".trans", ""}, {".trans", "movmatrix.sync.aligned.m8n8.trans.b16 v, v;"}} {
		out, err := launch(fmt.Sprintf(body, x.trans, x.more), 32, 1, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		for l := range 32 {
			r, c := l/4, l%4*2
			want := at(r, c) | at(r, c+1)<<16
			if x.trans != "" && x.more == "" {
				want = at(c, r) | at(c+1, r)<<16
			}
			if have := out.at(l); have != want {
				t.Errorf("%q %q lane %d: %#x, want %#x", x.trans, x.more, l, have, want)
			}
		}
	}
	// stmatrix is the inverse.
	out, err := launch(fmt.Sprintf(body, "", "st.shared.u32 [%r2], 0; bar.sync 0; stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {%r4}; bar.sync 0; ld.shared.u32 v, [%r2];"), 32, 1, 0, false)
	for l := range 32 {
		if err != nil || out.at(l) != uint32(l*l+3) {
			t.Fatalf("stmatrix: lane %d, %v", l, err)
		}
	}
}

// TestCompiled runs the same kernel as two compilers made it.
func TestCompiled(t *testing.T) {
	files, err := filepath.Glob("testdata/scale.*.ptx")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if k, err := m.Kernel("scale"); err != nil || m.Target != "sm_80" || m.Major < 7 || k.Shared != 1024 || k.MaxThreads != 256 {
			t.Errorf("%s: %+v %v", name, m, err)
		}
		x := NewMachine(m)
		const n = 100
		in, out := make([]byte, 4*n), make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(in[4*i:], math.Float32bits(float32(i)/3))
		}
		if _, err := x.Launch(&Launch{Kernel: "scale", Block: [3]int{128}, Args: []any{x.Map(out), x.Map(in), float32(2.5), uint32(n)}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range n {
			if have, want := math.Float32frombits(words(out).at(i)), float32(n-1-i)/3*2.5; have != want {
				t.Errorf("%s: y[%d] = %v, want %v", name, i, have, want)
			}
		}
	}
}
