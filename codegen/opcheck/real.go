package opcheck

import "qnc/ir"

// realCases are ops at the shapes of a layer of 80 B parameters, with fewer rows
// and experts.
func realCases() []row {
	const width, ffn, used, experts = 2048, 512, 10, 24
	a8 := func(b *Case, x *ir.Value) *ir.Value { return b.op(ir.OpQuantize, values{x}) }
	var out []row
	for _, d := range []ir.DType{ir.Q4_K, ir.Q5_K, ir.Q6_K, ir.Q8_0, ir.Q4_0} {
		out = append(out, row{"real matmul " + d.String(), ir.OpMatMul, summed, func(b *Case) values {
			return values{b.op(ir.OpMatMul, values{a8(b, b.x(width)), b.matrix(d, 72, width)})}
		}})
	}
	for _, d := range []ir.DType{ir.F32, ir.F16, ir.BF16} {
		out = append(out, row{"real matmul " + d.String(), ir.OpMatMul, summed, func(b *Case) values {
			return values{b.op(ir.OpMatMul, values{b.x(width), b.matrix(d, 40, width)})}
		}})
	}
	return append(out,
		row{"real gate_up", ir.OpGateUp, summed, func(b *Case) values {
			return values{b.op(ir.OpGateUp, values{a8(b, b.x(width)), b.matrix(ir.Q4_K, 64, width), b.matrix(ir.Q4_K, 64, width)})}
		}},
		row{"real moe_gate_up", ir.OpMoEGateUp, summed, func(b *Case) values {
			_, ids := b.router(experts, used)
			return values{b.op(ir.OpMoEGateUp, values{a8(b, b.x(1, width)), b.matrix(ir.Q4_K, experts, 64, width), b.matrix(ir.Q4_K, experts, 64, width), ids})}
		}},
		row{"real moe_down", ir.OpMoEDown, summed, func(b *Case) values {
			weights, ids := b.router(experts, used)
			return values{b.op(ir.OpMoEDown, values{a8(b, b.x(used, ffn)), b.matrix(ir.Q6_K, experts, 96, ffn), ids, weights})}
		}},
		row{"real topk_moe", ir.OpTopKMoE, rounded, func(b *Case) values {
			return b.results(b.op(ir.OpTopKMoE, values{b.input(2, 512)}, "k", used, "norm", 1, "min", 6.1e-5, "scale", 1.0))
		}},
		row{"real norm", ir.OpNorm, rounded, func(b *Case) values {
			return b.results(b.op(ir.OpNorm, values{b.x(width), b.matrix(ir.F32, width), b.x(width)}, "eps", 1e-6, "out", "sum,f32,a8"))
		}},
		row{"real norm without a sum", ir.OpNorm, rounded, func(b *Case) values {
			return values{b.op(ir.OpNorm, values{b.x(width), b.matrix(ir.F32, width)}, "eps", 1e-6, "out", "f32")}
		}},
		row{"real gated_norm", ir.OpGatedNorm, rounded, func(b *Case) values {
			return b.results(b.op(ir.OpGatedNorm, values{b.x(32, 128), b.matrix(ir.F32, 128), b.x(32, 128)}, "eps", 1e-6, "out", "a8"))
		}},
		row{"real norm_rope", ir.OpNormRope, rounded, func(b *Case) values {
			return values{b.op(ir.OpNormRope, values{b.slice(b.x(16, 512), 2, 0, 256), b.matrix(ir.F32, 256), b.pos}, "eps", 1e-6, "dims", 64, "base", 5e6)}
		}},
		row{"real norm_rope_store", ir.OpNormRopeStore, rounded, func(b *Case) values {
			b.op(ir.OpNormRopeStore, values{b.state(ir.F16, MaxCells, 2, 256), b.x(2, 256), b.matrix(ir.F32, 256), b.pos, b.seq}, "eps", 1e-6, "dims", 64, "base", 5e6)
			return nil
		}},
		row{"real attention", ir.OpAttention, summed, func(b *Case) values {
			keys, vals := b.state(ir.F16, MaxCells, 2, 256), b.state(ir.Q8_0, MaxCells, 2, 256)
			b.op(ir.OpStoreRows, values{keys, b.tame(2, 256), b.pos, b.seq})
			b.op(ir.OpStoreRows, values{vals, b.tame(2, 256), b.pos, b.seq})
			lk, lv := b.op(ir.OpLoadRows, values{keys, b.seq}), b.op(ir.OpLoadRows, values{vals, b.seq})
			q := b.slice(b.tame(16, 512), 2, 0, 256)
			return values{b.op(ir.OpAttention, values{q, lk, lv, b.pos}, "scale", 0.0625, "map", "interleaved")}
		}},
		row{"real conv_split", ir.OpConvSplit, rounded * 4, func(b *Case) values {
			const d = 2*16*128 + 32*128
			return b.results(b.op(ir.OpConvSplit, values{b.state(ir.F32, 3, d), b.tame(d), b.matrix(ir.F32, d, 4), b.seq},
				"heads", 16, "kdim", 128, "vheads", 32, "vdim", 128, "eps", 1e-6))
		}},
		// In an empty state a row is as large as k q, which nearly cancels.
		row{"real delta_chunk", ir.OpDeltaChunk, 10 * summed, func(b *Case) values { return b.realDelta(ir.OpDeltaChunk) }},
		row{"real delta_step", ir.OpDeltaStep, 10 * summed, func(b *Case) values { return b.realDelta(ir.OpDeltaStep) }},
	)
}

// realDelta has keys of length 1, as the model's norm makes them.
func (b *Case) realDelta(op ir.Op) values {
	const groups, heads, dim = 4, 8, 128
	unit := func(x *ir.Value) *ir.Value { return b.op(ir.OpL2Norm, values{x}, "eps", 1e-6) }
	beta := b.op(ir.OpSigmoid, values{b.tame(heads)})
	g := b.op(ir.OpScale, values{b.op(ir.OpSoftplus, values{b.tame(heads)})}, "by", -0.2)
	return values{b.op(op, values{b.state(ir.F32, heads, dim, dim), unit(b.tame(groups, dim)), unit(b.tame(groups, dim)), b.tame(heads, dim), g, beta, b.seq},
		"scale", 0.0883883, "map", "interleaved")}
}
