package codegen

import (
	"strings"
	"testing"

	"qnc/ir"
	"qnc/runtime/cost"
)

// costHead declares what the values below take. Bytes of a row of 64: 256 as
// f32, 88 as a8, 68 as q8_0.
const costHead = `module costs level=graph {
	bound T 4
	bound R 4
	bound S 2
	bound C 16
	weight @table : q8_0[100,64]
	weight @w : q8_0[128,64]
	weight @w2 : q8_0[128,64]
	weight @f : f32[8,64]
	weight @norm : f32[64]
	weight @head : f32[16]
	weight @gate : q8_0[6,32,64]
	weight @up : q8_0[6,32,64]
	weight @down : q8_0[6,64,32]
	weight @conv : f32[128,4]
	state @k : f16[S,16,2,16]
	state @v : q8_0[S,16,2,32]
	state @c : f32[S,3,128]
	state @d : f32[S,4,16,16]
}

func prefill(%tok: i32[T], %pos: i32[T], %seq: i32[T], %rows: i32[R]) {
	%x = get_rows @table, %tok : f32[T,64]
	%y = silu %x : f32[T,64]
	%a = quantize %x : a8[T,64]
	%heads = reshape %x {shape=T,4,16} : f32[T,4,16]
	%half = slice %x {axis=1 start=0 len=32} : f32[T,32]
	%keys = reshape %half {shape=T,2,16} : f32[T,2,16]
	%wide = reshape %x {shape=T,2,32} : f32[T,2,32]
	%one = reshape %a {shape=T,1,64} : a8[T,1,64]
	%mixed = concat %x, %y {axis=1} : f32[T,128]
	%g = slice %x {axis=1 start=0 len=4} : f32[T,4]
	%logits = slice %x {axis=1 start=0 len=6} : f32[T,6]
	%t = topk_moe %logits {k=3 norm=1 min=1 scale=1} : (f32[T,3], i32[T,3])
	%weights = part %t {i=0} : f32[T,3]
	%ids = part %t {i=1} : i32[T,3]
	%e = moe_gate_up %one, @gate, @up, %ids : f32[T,3,32]
	%e8 = quantize %e : a8[T,3,32]
	%lk = load_rows @k, %seq : f16[C,2,16]
	%lv = load_rows @v, %seq : q8_0[C,2,32]
	%bias = reshape @norm {shape=4,16} : f32[4,16]
`

// TestCost: the cost of every op, worked out by hand for one case each; of a
// tuple nobody reads a member here.
func TestCost(t *testing.T) {
	seen := map[ir.Op]bool{}
	for _, c := range []struct {
		value string
		want  cost.Cost
	}{
		{"get_rows @table, %tok : f32[T,64]", cost.Cost{Pick: 68, Picks: 1, Of: 100, Acts: 256}},
		{"get_rows %x, %rows : f32[R,64]", cost.Cost{Acts: 256 + 256}},
		{"cont %x : f32[T,64]", cost.Cost{Acts: 512}},
		{"add %x, %y : f32[T,64]", cost.Cost{Acts: 768, MACs: 64}},
		{"add %heads, %bias : f32[T,4,16]", cost.Cost{Weights: 256, Acts: 512, MACs: 64}},
		{"sub %x, %y : f32[T,64]", cost.Cost{Acts: 768, MACs: 64}},
		{"mul %x, @norm : f32[T,64]", cost.Cost{Weights: 256, Acts: 512, MACs: 64}},
		{"div %x, %y : f32[T,64]", cost.Cost{Acts: 768, MACs: 64}},
		{"exp %x : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"sigmoid %x : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"silu %x : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"softplus %x : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"scale %x {by=2} : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"clamp %x {min=0} : f32[T,64]", cost.Cost{Acts: 512, MACs: 64}},
		{"quantize %x : a8[T,64]", cost.Cost{Acts: 256 + 88, MACs: 64}},

		{"matmul %a, @w : f32[T,128]", cost.Cost{Weights: 128 * 68, Acts: 88 + 512, MACs: 128 * 64, Int: true}},
		{"matmul %x, @f : f32[T,8]", cost.Cost{Weights: 2048, Acts: 256 + 32, MACs: 512}},
		{"gate_up %a, @w, @w2 : f32[T,128]", cost.Cost{Weights: 2 * 128 * 68, Acts: 88 + 512, MACs: 2 * 128 * 64, Int: true}},
		{"matmul_id %one, @gate, %ids : f32[T,3,32]", cost.Cost{Pick: 32 * 68, Picks: 3, Of: 6, Acts: 88 + 12 + 384, MACs: 3 * 32 * 64, Int: true}},
		{"moe_gate_up %one, @gate, @up, %ids : f32[T,3,32]", cost.Cost{Pick: 2 * 32 * 68, Picks: 3, Of: 6, Acts: 88 + 12 + 384, MACs: 2 * 3 * 32 * 64, Int: true}},
		{"moe_down %e8, @down, %ids, %weights : f32[T,64]", cost.Cost{Pick: 64 * 34, Picks: 3, Of: 6, Acts: 3*44 + 12 + 12 + 256, MACs: 3 * 64 * 32, Int: true}},
		{"topk_moe %logits {k=3 norm=1 min=1 scale=1} : (f32[T,3], i32[T,3])", cost.Cost{Acts: 24, MACs: 6}},

		{"rms_norm %x {eps=1} : f32[T,64]", cost.Cost{Acts: 512, MACs: 128}},
		{"l2_norm %heads {eps=1} : f32[T,4,16]", cost.Cost{Acts: 512, MACs: 128}},
		{"norm %x, @norm {eps=1 out=f32} : f32[T,64]", cost.Cost{Weights: 256, Acts: 512, MACs: 128}},
		{"norm %x, @norm, %y {eps=1 out=a8} : a8[T,64]", cost.Cost{Weights: 256, Acts: 512 + 88, MACs: 192}},
		{"gated_norm %heads, @head, %heads {eps=1 out=a8} : a8[T,64]", cost.Cost{Weights: 64, Acts: 512 + 88, MACs: 192}},
		{"rope %heads, %pos {dims=8 base=10000} : f32[T,4,16]", cost.Cost{Acts: 512, MACs: 2 * 8 * 4}},
		{"norm_rope %heads, @head, %pos {eps=1 dims=8 base=10000} : f32[T,4,16]", cost.Cost{Weights: 64, Acts: 512, MACs: 128 + 64}},
		{"norm_rope_store @k, %keys, @head, %pos, %seq {eps=1 dims=8 base=10000}", cost.Cost{Weights: 64, Store: 2 * 16 * 2, Acts: 128, MACs: 64 + 32}},
		{"store_rows @v, %wide, %pos, %seq", cost.Cost{Store: 2 * 34, Acts: 256}},
		{"attention %heads, %lk, %lv, %pos {scale=1 map=tiled} : f32[T,4,32]", cost.Cost{Cell: 64 + 68, Acts: 256 + 512, CellMACs: 4*16 + 4*32}},

		{"conv_split @c, %mixed, @conv, %seq {heads=2 kdim=16 vheads=4 vdim=16 eps=1} : (f32[T,2,16], f32[T,2,16], f32[T,4,16])",
			cost.Cost{Weights: 2048, State: 2 * 3 * 128 * 4, Acts: 512, MACs: 128*4 + 2*2*32}},
		{"delta_step @d, %keys, %keys, %heads, %g, %g, %seq {scale=1 map=tiled} : f32[T,4,16]",
			cost.Cost{State: 2 * 4096, Acts: 128 + 128 + 256 + 16 + 16 + 256, MACs: 4 * 4 * 256}},
		{"delta_chunk @d, %keys, %keys, %heads, %g, %g, %seq {scale=1 map=tiled} : f32[T,4,16]",
			cost.Cost{State: 2 * 4096, Acts: 128 + 128 + 256 + 16 + 16 + 256, MACs: 4 * (3*256 + 64*32)}},
	} {
		m, err := ir.Parse(costHead + "\t" + assign(c.value) + "\n\treturn %x\n}\n")
		if err != nil {
			t.Fatalf("%s: %v", c.value, err)
		}
		body := m.Funcs[0].Body
		v := body[len(body)-1]
		seen[v.Op] = true
		got, err := Cost(v, func(w *ir.Value) int { return w.Type.Bytes(nil) }, nil)
		if err != nil {
			t.Error(err)
		}
		if got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.value, got, c.want)
		}
	}
	for op := range costs {
		if !seen[op] {
			t.Errorf("op %s has a row, but no case", op)
		}
	}
	m, err := ir.Parse(costHead + "\t%z = softmax %x : f32[T,64]\n\treturn %z\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	body := m.Funcs[0].Body
	if _, err := Cost(body[len(body)-1], nil, nil); err == nil {
		t.Error("an op without a row has a cost")
	}
}

// assign gives a value a name; writes have none.
func assign(value string) string {
	if op, _, _ := strings.Cut(value, " "); strings.HasSuffix(op, "_store") || op == "store_rows" {
		return value
	}
	return "%z = " + value
}
