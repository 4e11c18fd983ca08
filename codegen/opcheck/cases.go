package opcheck

import (
	"fmt"

	"qnc/ir"
	"qnc/runtime/quant"
)

// Tolerances: exact where kernel and eval do the same arithmetic; rounded where
// a few float32 roundings differ; summed where float32 sums stand against
// float64 ones.
const (
	exact   Tolerance = 0
	rounded Tolerance = 1e-6
	summed  Tolerance = 4e-5
)

// cases are the rows of TestOpcheck; every emitter has at least one.
func cases() []row {
	var out []row
	for _, part := range [][]row{
		elemwiseCases(), rowCases(), normCases(), productCases(), expertCases(), ropeCases(), cacheCases(), attentionCases(), deltaCases(),
	} {
		out = append(out, part...)
	}
	return out
}

type values = []*ir.Value

// A look is a way in which an operand [tokens, heads, dim] lies in memory.
type look struct {
	name string
	of   func(b *Case, heads, dim int) *ir.Value
}

// looks are those with rows that follow each other: what most kernels read.
var looks = []look{
	{"dense", func(b *Case, h, d int) *ir.Value { return b.x(h, d) }},
	{"slice of a row", func(b *Case, h, d int) *ir.Value {
		return b.reshape(b.slice(b.x(h*d+24), 1, 16, h*d), h, d)
	}},
	{"half of each head", func(b *Case, h, d int) *ir.Value { return b.slice(b.x(h, 2*d), 2, d, d) }},
	{"some heads", func(b *Case, h, d int) *ir.Value { return b.slice(b.x(h+3, d), 1, 2, h) }},
}

// strided are looks that only elementwise kernels read.
var strided = []look{
	{"transposed", func(b *Case, h, d int) *ir.Value {
		return b.op(ir.OpPermute, values{b.x(d, h)}, "perm", "0,2,1")
	}},
	{"every second", func(b *Case, h, d int) *ir.Value {
		return b.reshape(b.slice(b.x(h, d, 2), 3, 1, 1), h, d)
	}},
	{"heads of a slice of heads", func(b *Case, h, d int) *ir.Value {
		return b.reshape(b.slice(b.x(3, h, d), 1, 1, 1), h, d)
	}},
	{"joined halves", func(b *Case, h, d int) *ir.Value {
		x := b.slice(b.x(h, 2, d), 3, 0, d/2) // [T,h,2,d/2]: a row of two pieces
		return b.reshape(x, h, d)
	}},
	{"halves of transposed heads", func(b *Case, h, d int) *ir.Value {
		x := b.op(ir.OpPermute, values{b.x(2, h, d/2)}, "perm", "0,2,1,3")
		return b.reshape(x, h, d)
	}},
}

func elemwiseCases() []row {
	var out []row
	for _, op := range []ir.Op{ir.OpExp, ir.OpSigmoid, ir.OpSilu, ir.OpSoftplus, ir.OpCont} {
		out = append(out, row{op.String(), op, exact, func(b *Case) values { return values{b.op(op, values{b.x(6, 10)})} }})
	}
	out = append(out,
		row{"scale", ir.OpScale, exact, func(b *Case) values { return values{b.op(ir.OpScale, values{b.x(33)}, "by", -0.3)} }},
		row{"clamp", ir.OpClamp, exact, func(b *Case) values { return values{b.op(ir.OpClamp, values{b.x(33)}, "min", 0.25)} }},
		row{"a chain", ir.OpMul, exact, func(b *Case) values {
			x := b.op(ir.OpSilu, values{b.x(6, 10)})
			y := b.op(ir.OpAdd, values{x, b.op(ir.OpSigmoid, values{x})})
			return values{x, b.op(ir.OpMul, values{y, x})}
		}})
	for _, op := range []ir.Op{ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpDiv} {
		two := func(name, mapping string, x, y func(b *Case) *ir.Value) {
			out = append(out, row{op.String() + " " + name, op, exact, func(b *Case) values {
				return values{b.op(op, values{x(b), y(b)}, "map", mapping)}
			}})
		}
		full := func(b *Case) *ir.Value { return b.x(6, 10) }
		two("of equal shapes", "", full, full)
		two("by a vector", "", full, func(b *Case) *ir.Value { return b.matrix(ir.F32, 10) })
		two("of a vector", "", func(b *Case) *ir.Value { return b.matrix(ir.F32, 6, 10) }, full)
		two("by one number a head", "", full, func(b *Case) *ir.Value { return b.x(6, 1) })
		two("by one number a token", "", full, func(b *Case) *ir.Value { return b.x(1, 1) })
		two("of one head", "", func(b *Case) *ir.Value { return b.x(1, 10) }, full)
		for _, n := range []int{2, 3} {
			for _, mapping := range []string{"interleaved", "tiled"} {
				two(fmt.Sprintf("by %d groups %s", n, mapping), mapping, full, func(b *Case) *ir.Value { return b.x(n, 10) })
				two(fmt.Sprintf("of %d groups that are a slice, %s", n, mapping), mapping,
					func(b *Case) *ir.Value { return b.slice(b.x(n+1, 20), 1, 1, n) },
					func(b *Case) *ir.Value { return b.x(6, 20) })
			}
		}
	}
	for _, lk := range append(looks, strided...) {
		out = append(out,
			row{"cont " + lk.name, ir.OpCont, exact, func(b *Case) values { return values{b.op(ir.OpCont, values{lk.of(b, 6, 10)})} }},
			row{"mul with " + lk.name, ir.OpMul, exact, func(b *Case) values {
				return values{b.op(ir.OpMul, values{b.x(6, 10), lk.of(b, 6, 10)})}
			}})
	}
	return out
}

func rowCases() []row {
	var out []row
	for _, k := range quant.Kinds {
		d, _ := ir.DTypeByName(k.Name)
		out = append(out, row{"get_rows " + k.Name, ir.OpGetRows, exact, func(b *Case) values {
			return values{b.op(ir.OpGetRows, values{b.matrix(d, plainRows+len(wildRows), 256), b.tok})}
		}})
	}
	for _, lk := range looks[:2] {
		out = append(out, row{"get_rows of activations, " + lk.name, ir.OpGetRows, exact, func(b *Case) values {
			return values{b.op(ir.OpGetRows, values{b.reshape(lk.of(b, 3, 8), 24), b.rows})}
		}})
	}
	out = append(out, row{"get_rows of a tied table", ir.OpGetRows, summed, func(b *Case) values {
		w := b.matrix(ir.Q8_0, plainRows+len(wildRows), 64)
		x := b.op(ir.OpGetRows, values{w, b.tok})
		return values{x, b.op(ir.OpMatMul, values{b.op(ir.OpGetRows, values{x, b.rows}), w})}
	}})
	for _, lk := range looks {
		out = append(out, row{"quantize " + lk.name, ir.OpQuantize, exact, func(b *Case) values {
			return values{b.op(ir.OpQuantize, values{lk.of(b, 3, 64)})}
		}})
	}
	out = append(out, row{"quantize rows", ir.OpQuantize, exact, func(b *Case) values {
		return values{b.op(ir.OpQuantize, values{b.x(96)})}
	}})
	for _, c := range []struct{ experts, k, norm int }{{8, 2, 1}, {7, 3, 1}, {13, 13, 0}, {5, 1, 1}} {
		out = append(out, row{fmt.Sprintf("topk_moe %d of %d", c.k, c.experts), ir.OpTopKMoE, rounded, func(b *Case) values {
			return b.results(b.op(ir.OpTopKMoE, values{b.input(2, c.experts)}, "k", c.k, "norm", c.norm, "min", 6.1e-5, "scale", 2.5))
		}})
	}
	out = append(out, row{"topk_moe with NaN", ir.OpTopKMoE, rounded, func(b *Case) values {
		// Which experts a NaN chooses is not defined: the weights say NaN.
		t := b.op(ir.OpTopKMoE, values{b.x(9)}, "k", 3, "norm", 1, "min", 6.1e-5, "scale", 1.0)
		b.part(t, 1)
		return values{b.part(t, 0)}
	}}, row{"topk_moe among equals", ir.OpTopKMoE, rounded, func(b *Case) values {
		// Every number occurs four times.
		x := b.op(ir.OpAdd, values{b.op(ir.OpScale, values{b.input(2, 12)}, "by", 0.0), b.input(2, 3)}, "map", "tiled")
		return b.results(b.op(ir.OpTopKMoE, values{x}, "k", 5, "norm", 1, "min", 6.1e-5, "scale", 1.0))
	}})
	return out
}

func normCases() []row {
	var out []row
	for _, lk := range looks {
		for _, op := range []ir.Op{ir.OpRMSNorm, ir.OpL2Norm} {
			out = append(out, row{op.String() + " " + lk.name, op, rounded, func(b *Case) values {
				return values{b.op(op, values{lk.of(b, 3, 10)}, "eps", 1e-6)}
			}})
		}
		for _, words := range []string{"f32", "a8", "f32,a8", "sum,f32", "sum,f32,a8", "sum,a8"} {
			out = append(out, row{"norm " + words + " " + lk.name, ir.OpNorm, rounded, func(b *Case) values {
				args := values{lk.of(b, 2, 64), b.matrix(ir.F32, 64)}
				if words != "f32" {
					args = append(args, b.x(2, 64))
				}
				return b.results(b.op(ir.OpNorm, args, "eps", 1e-6, "out", words))
			}})
		}
		for _, words := range []string{"f32", "a8", "f32,a8"} {
			for _, c := range []struct{ heads, dim int }{{3, 32}, {4, 16}, {1, 64}} { // heads are quantised as one row
				out = append(out, row{fmt.Sprintf("gated_norm %s of %d heads, %s", words, c.heads, lk.name), ir.OpGatedNorm, rounded, func(b *Case) values {
					return b.results(b.op(ir.OpGatedNorm, values{b.x(c.heads, c.dim), b.matrix(ir.F32, c.dim), lk.of(b, c.heads, c.dim)}, "eps", 1e-6, "out", words))
				}})
			}
		}
	}
	for _, op := range []ir.Op{ir.OpRMSNorm, ir.OpL2Norm} {
		out = append(out, row{op.String() + " of rows", op, rounded, func(b *Case) values {
			return values{b.op(op, values{b.x(37)}, "eps", 1e-5)}
		}})
	}
	for _, words := range []string{"f32", "a8", "sum,a8", "sum,f32,a8"} {
		out = append(out, row{"norm " + words + " of rows", ir.OpNorm, rounded, func(b *Case) values {
			args := values{b.x(96), b.matrix(ir.F32, 96)}
			if words != "f32" && words != "a8" {
				args = append(args, b.x(96))
			}
			return b.results(b.op(ir.OpNorm, args, "eps", 1e-6, "out", words))
		}})
	}
	out = append(out, row{"norm whose sum alone is read", ir.OpNorm, rounded, func(b *Case) values {
		t := b.op(ir.OpNorm, values{b.x(96), b.matrix(ir.F32, 96), b.x(96)}, "eps", 1e-6, "out", "sum,f32")
		return values{b.part(t, 0)}
	}})
	return out
}

// results are the members of a tuple, or the one value.
func (b *Case) results(v *ir.Value) values {
	if !v.Type.IsTuple() {
		return values{v}
	}
	var out values
	for i := range v.Type.Tuple {
		out = append(out, b.part(v, i))
	}
	return out
}

// eachProduct calls f for every type of weight with every type of activation.
func eachProduct(f func(name string, d ir.DType, width int, act func(b *Case, x *ir.Value) *ir.Value)) {
	for _, k := range quant.Kinds {
		d, _ := ir.DTypeByName(k.Name)
		width := map[int]int{1: 40, 32: 96, 256: 512}[k.BlockElems]
		f(k.Name+" by f32", d, width, func(_ *Case, x *ir.Value) *ir.Value { return x })
		if k.DotA8 != nil {
			f(k.Name+" by a8", d, width, func(b *Case, x *ir.Value) *ir.Value { return b.op(ir.OpQuantize, values{x}) })
		}
	}
}

func productCases() []row {
	var out []row
	eachProduct(func(name string, d ir.DType, width int, act func(*Case, *ir.Value) *ir.Value) {
		out = append(out, row{"matmul " + name, ir.OpMatMul, summed, func(b *Case) values {
			x := act(b, b.x(width))
			return values{b.op(ir.OpMatMul, values{x, b.matrix(d, 19, width)})}
		}}, row{"gate_up " + name, ir.OpGateUp, summed, func(b *Case) values {
			x := act(b, b.x(width))
			return values{b.op(ir.OpGateUp, values{x, b.matrix(d, 19, width), b.matrix(d, 19, width)})}
		}})
	})
	for _, d := range []ir.DType{ir.F32, ir.Q8_0} {
		// One row may cancel: its own size is no measure of the terms.
		out = append(out, row{"matmul to one row of " + d.String(), ir.OpMatMul, 1e-3, func(b *Case) values {
			return values{b.op(ir.OpMatMul, values{b.x(64), b.matrix(d, 1, 64)})}
		}})
	}
	return append(out, row{"matmul of a slice", ir.OpMatMul, summed, func(b *Case) values {
		return values{b.op(ir.OpMatMul, values{b.slice(b.x(100), 1, 7, 64), b.matrix(ir.F16, 33, 64)})}
	}}, row{"matmul of rows", ir.OpMatMul, summed, func(b *Case) values {
		return values{b.op(ir.OpMatMul, values{b.op(ir.OpGetRows, values{b.x(64), b.rows}), b.matrix(ir.Q8_0, 33, 64)})}
	}}, row{"gate_up of two types", ir.OpGateUp, summed, func(b *Case) values {
		return values{b.op(ir.OpGateUp, values{b.op(ir.OpQuantize, values{b.x(256)}), b.matrix(ir.Q4_K, 17, 256), b.matrix(ir.Q6_K, 17, 256)})}
	}})
}

// router chooses k of n experts.
func (b *Case) router(n, k int) (weights, ids *ir.Value) {
	t := b.op(ir.OpTopKMoE, values{b.input(2, n)}, "k", k, "norm", 1, "min", 6.1e-5, "scale", 1.0)
	return b.part(t, 0), b.part(t, 1)
}

func expertCases() []row {
	var out []row
	eachProduct(func(name string, d ir.DType, width int, act func(*Case, *ir.Value) *ir.Value) {
		for _, per := range []int{1, 3} {
			out = append(out, row{fmt.Sprintf("matmul_id %s, %d rows a token", name, per), ir.OpMatMulID, summed, func(b *Case) values {
				_, ids := b.router(5, 3)
				return values{b.op(ir.OpMatMulID, values{act(b, b.x(per, width)), b.matrix(d, 5, 18, width), ids})}
			}})
		}
		out = append(out, row{"moe_gate_up " + name, ir.OpMoEGateUp, summed, func(b *Case) values {
			_, ids := b.router(5, 3)
			return values{b.op(ir.OpMoEGateUp, values{act(b, b.x(1, width)), b.matrix(d, 5, 18, width), b.matrix(d, 5, 18, width), ids})}
		}}, row{"moe_down " + name, ir.OpMoEDown, summed, func(b *Case) values {
			weights, ids := b.router(5, 3)
			return values{b.op(ir.OpMoEDown, values{act(b, b.x(3, width)), b.matrix(d, 5, 18, width), ids, weights})}
		}})
	})
	const whole, wide = 96, 256 // rows that fill panels
	a8 := func(b *Case, x *ir.Value) *ir.Value { return b.op(ir.OpQuantize, values{x}) }
	out = append(out, row{"moe_gate_up of whole panels", ir.OpMoEGateUp, summed, func(b *Case) values {
		_, ids := b.router(5, 3)
		return values{b.op(ir.OpMoEGateUp, values{a8(b, b.x(1, wide)), b.matrix(ir.Q4_K, 5, whole, wide), b.matrix(ir.Q5_K, 5, whole, wide), ids})}
	}}, row{"moe_down of whole panels", ir.OpMoEDown, summed, func(b *Case) values {
		weights, ids := b.router(5, 3)
		return values{b.op(ir.OpMoEDown, values{a8(b, b.x(3, wide)), b.matrix(ir.Q6_K, 5, whole, wide), ids, weights})}
	}})
	return append(out, row{"moe_down of a slice by one expert", ir.OpMoEDown, summed, func(b *Case) values {
		weights, ids := b.router(3, 1)
		return values{b.op(ir.OpMoEDown, values{looks[1].of(b, 1, 64), b.matrix(ir.Q4_0, 3, 18, 64), ids, weights})}
	}})
}

func ropeCases() []row {
	var out []row
	for _, lk := range looks {
		for _, dims := range []int{2, 6, 12} {
			attrs := []any{"dims", dims, "base", 1e4}
			out = append(out, row{fmt.Sprintf("rope of %d, %s", dims, lk.name), ir.OpRope, rounded, func(b *Case) values {
				return values{b.op(ir.OpRope, values{lk.of(b, 3, 12), b.pos}, attrs...)}
			}}, row{fmt.Sprintf("norm_rope of %d, %s", dims, lk.name), ir.OpNormRope, rounded, func(b *Case) values {
				return values{b.op(ir.OpNormRope, values{lk.of(b, 3, 12), b.matrix(ir.F32, 12), b.pos}, append(attrs, "eps", 1e-6)...)}
			}})
		}
	}
	return append(out, row{"rope of one head", ir.OpRope, rounded, func(b *Case) values {
		return values{b.op(ir.OpRope, values{b.x(1, 16), b.pos}, "dims", 4, "base", 5e6)}
	}})
}

// caches are the types of a KV cache.
var caches = []ir.DType{ir.F32, ir.F16, ir.Q8_0}

func cacheCases() []row {
	var out []row
	for _, d := range caches {
		for _, lk := range looks {
			out = append(out, row{fmt.Sprintf("store_rows to %s, %s", d, lk.name), ir.OpStoreRows, exact, func(b *Case) values {
				b.op(ir.OpStoreRows, values{b.state(d, MaxCells, 3, 32), lk.of(b, 3, 32), b.pos, b.seq})
				return nil
			}}, row{fmt.Sprintf("norm_rope_store to %s, %s", d, lk.name), ir.OpNormRopeStore, rounded, func(b *Case) values {
				b.op(ir.OpNormRopeStore, values{b.state(d, MaxCells, 2, 64), lk.of(b, 2, 64), b.matrix(ir.F32, 64), b.pos, b.seq},
					"eps", 1e-6, "dims", 16, "base", 1e4)
				return nil
			}})
		}
	}
	return out
}

func attentionCases() []row {
	var out []row
	add := func(name string, k, v ir.DType, heads, groups, vdim int, mapping string, q look) {
		out = append(out, row{fmt.Sprintf("attention of %s and %s, %d heads of %d %s, %s", k, v, heads, groups, mapping, name), ir.OpAttention, summed, func(b *Case) values {
			keys, vals := b.state(k, MaxCells, groups, 32), b.state(v, MaxCells, groups, vdim)
			b.op(ir.OpStoreRows, values{keys, b.tame(groups, 32), b.pos, b.seq})
			b.op(ir.OpStoreRows, values{vals, b.tame(groups, vdim), b.pos, b.seq})
			lk, lv := b.op(ir.OpLoadRows, values{keys, b.seq}), b.op(ir.OpLoadRows, values{vals, b.seq})
			return values{b.op(ir.OpAttention, values{q.of(b, heads, 32), lk, lv, b.pos}, "scale", 0.17, "map", mapping)}
		}})
	}
	tame := look{"dense", func(b *Case, h, d int) *ir.Value { return b.tame(h, d) }}
	half := look{"half of each head", func(b *Case, h, d int) *ir.Value { return b.slice(b.tame(h, 2*d), 2, 0, d) }}
	for _, k := range caches {
		for _, v := range caches {
			add("half of each head", k, v, 4, 2, 64, "interleaved", half)
		}
	}
	for ratio := 1; ratio <= 4; ratio++ {
		for _, groups := range []int{1, 3} {
			for _, mapping := range []string{"interleaved", "tiled"} {
				add("dense", ir.F16, ir.F16, groups*ratio, groups, 32, mapping, tame)
			}
		}
	}
	return out
}

func deltaCases() []row {
	var out []row
	for _, c := range []struct{ heads, kdim, vheads, vdim, taps int }{{2, 8, 4, 8, 4}, {3, 5, 3, 7, 4}, {1, 16, 4, 12, 2}, {2, 4, 6, 4, 7}} {
		for _, cut := range []bool{false, true} {
			name := fmt.Sprintf("conv_split of %d and %d heads, %d taps", c.heads, c.vheads, c.taps)
			if cut {
				name += ", a slice"
			}
			out = append(out, row{name, ir.OpConvSplit, rounded * 4, func(b *Case) values {
				d := 2*c.heads*c.kdim + c.vheads*c.vdim
				var x *ir.Value
				if cut {
					x = b.slice(b.tame(d+9), 1, 4, d)
				} else {
					x = b.tame(d)
				}
				return b.results(b.op(ir.OpConvSplit, values{b.state(ir.F32, c.taps-1, d), x, b.matrix(ir.F32, d, c.taps), b.seq},
					"heads", c.heads, "kdim", c.kdim, "vheads", c.vheads, "vdim", c.vdim, "eps", 1e-6))
			}})
		}
	}
	for _, op := range []ir.Op{ir.OpDeltaChunk, ir.OpDeltaStep} {
		for ratio := 1; ratio <= 4; ratio++ {
			for _, groups := range []int{1, 3} {
				for _, mapping := range []string{"interleaved", "tiled"} {
					out = append(out, row{fmt.Sprintf("%s of %d heads of %d %s", op, groups*ratio, groups, mapping), op, summed, func(b *Case) values {
						return b.deltaRule(op, groups, groups*ratio, mapping, ratio == 2)
					}})
				}
			}
		}
	}
	return out
}

// deltaRule has keys of about length 1; cut makes its operands slices.
func (b *Case) deltaRule(op ir.Op, groups, heads int, mapping string, cut bool) values {
	const kd, vd = 12, 9
	q, k := b.tame(groups, kd), b.tame(groups, kd)
	if cut {
		x := b.tame(2*groups, kd)
		q, k = b.slice(x, 1, 0, groups), b.slice(x, 1, groups, groups)
	} else {
		q, k = b.op(ir.OpScale, values{q}, "by", 0.3), b.op(ir.OpScale, values{k}, "by", 0.3)
	}
	v := b.tame(heads, vd)
	beta := b.op(ir.OpSigmoid, values{b.tame(heads)})
	if cut { // longer keys need a smaller beta, or the rule itself grows
		v = b.slice(b.tame(heads, 2*vd), 2, vd, vd)
		beta = b.op(ir.OpScale, values{beta}, "by", 0.1)
	}
	g := b.op(ir.OpScale, values{b.op(ir.OpSoftplus, values{b.x(heads)})}, "by", -0.7)
	return values{b.op(op, values{b.state(ir.F32, heads, vd, kd), q, k, v, g, beta, b.seq}, "scale", 0.29, "map", mapping)}
}
