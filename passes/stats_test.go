package passes

import (
	"encoding/json"
	"testing"

	"qnc/ir"
)

// TestMeasure counts a function by hand, T = 4.
func TestMeasure(t *testing.T) {
	m := parse(t, `module m level=placed {
	device cpu
	bound T 4
	bound S 2
	bound C 8
	weight @tab : q8_0[100,32] @cpu
	weight @w : f32[32,32] @cpu
	weight @e : f32[16,32,32] @cpu
	state @s : f32[S,32] @cpu
	state @c : f16[S,8,32] @cpu
}

func f(%tok: i32[T], %pos: i32[T], %seq: i32[T], %id: i32[T,2]) {
p0 @cpu:
	%h = get_rows @tab, %tok : f32[T,32]
	%a = matmul %h, @w : f32[T,32]
	%b = matmul %a, @w : f32[T,32]
	%v = reshape %b {shape=T,1,32} : f32[T,1,32]
	%x = matmul_id %v, @e, %id : f32[T,2,32]
	%r = repeat %v {axis=1 n=2} : f32[T,2,32]
	%p = pad %x {axis=1 len=3} : f32[T,3,32]
	%o = load @s, %seq : f32[32]
	store @s, %o, %seq
	store_rows @c, %b, %pos, %seq
	%k = load_rows @c, %seq : f16[C,32]
	return %r, %p, %k
}
`)
	const row = 4 * 32 * 4         // bytes of f32[T,32]
	moved := int64(4*34+4*4+row) + // 4 rows of the table, the ids, the result
		(row + 32*32*4 + row) + (row + row) + // the weight once
		(row + 8*32*32*4 + 4*2*4 + 2*row) + // at most 8 of 16 experts
		(row + 2*row) + (2*row + 3*row) +
		(128 + 4*4 + 128) + (128 + 4*4 + 128) + // state of one sequence
		(row + 2*4*4 + row/2) // cells of this step, half as wide; load_rows is free
	want := FuncStats{Func: "f", Values: 11, Launches: 9, Repeats: 1, RepeatBytes: 2 * row, Copies: 1, CopyBytes: 3 * row,
		Moved: moved, Splits: 1, MinSplits: 1}
	s := Measure(m)
	if s.Funcs[0] != want {
		t.Errorf("have %+v\nwant %+v", s.Funcs[0], want)
	}
	if err := planMemory(m, nil); err != nil {
		t.Fatal(err)
	}
	s = Measure(m)
	d := DeviceStats{"cpu", 100*34 + 32*32*4 + 16*32*32*4, 2*32*4 + 2*8*32*2, s.Funcs[0].Peak}
	if len(s.Devices) != 1 || s.Devices[0] != d || d.Arena == 0 {
		t.Errorf("have %+v\nwant %+v", s.Devices, d)
	}
	two := Stats{Funcs: []FuncStats{s.Funcs[0], s.Funcs[0]}}
	if x := two.Total(); x.Values != 22 || x.Moved != 2*moved || x.Peak != d.Arena {
		t.Errorf("total %+v", x)
	}
	var back Stats
	if err := json.Unmarshal(s.JSON(), &back); err != nil || back.String() != s.String() {
		t.Errorf("JSON does not read back: %v", err)
	}
}

// TestBytesSaturate: sizes that no memory holds stay positive and ordered.
func TestBytesSaturate(t *testing.T) {
	big := ir.Num(1 << 40)
	for _, c := range []struct {
		t    ir.Type
		want int64
	}{
		{ir.Tensor(ir.F32, big, big, big), ir.MaxBytes},
		{ir.Tensor(ir.F32, big, big, ir.Num(0)), 0},
		{ir.Tensor(ir.Q4_K, ir.Num(3), ir.Num(300)), 3 * 2 * 144},
		{ir.Type{DType: ir.F32, Dims: []ir.Dim{}}, 4},
		{ir.None, 0},
		{ir.Type{Tuple: []ir.Type{ir.Tensor(ir.F32, big, big), ir.Tensor(ir.F32, big, big)}}, ir.MaxBytes},
	} {
		if have := bytesOf(c.t, nil); have != c.want {
			t.Errorf("%s: %d, want %d", c.t, have, c.want)
		}
	}
}
