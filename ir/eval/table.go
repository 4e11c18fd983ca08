package eval

import "qnc/ir"

// meanings maps every op to the function that fills its results.
var meanings map[ir.Op]func(*call) error

func init() {
	meanings = map[ir.Op]func(*call) error{
		ir.OpPart:    part,
		ir.OpReshape: same,
		ir.OpPermute: permute,
		ir.OpSlice:   slice,
		ir.OpCont:    same,
		ir.OpRepeat:  repeat,
		ir.OpConcat:  concat,
		ir.OpPad:     pad,

		ir.OpAdd:      binary(func(x, y float32) float32 { return x + y }),
		ir.OpSub:      binary(func(x, y float32) float32 { return x - y }),
		ir.OpMul:      binary(func(x, y float32) float32 { return x * y }),
		ir.OpDiv:      binary(func(x, y float32) float32 { return x / y }),
		ir.OpExp:      unary(exp),
		ir.OpSigmoid:  unary(sigmoid),
		ir.OpSilu:     unary(silu),
		ir.OpSoftplus: unary(softplus),
		ir.OpScale:    scale,
		ir.OpClamp:    clamp,

		ir.OpSum:     sum,
		ir.OpCumsum:  byRow(cumsum),
		ir.OpSoftmax: byRow(softmax),
		ir.OpRMSNorm: rmsNorm,
		ir.OpL2Norm:  l2Norm,
		ir.OpTri:     tri,
		ir.OpTopK:    topK,

		ir.OpGetRows:    getRows,
		ir.OpGather:     gather,
		ir.OpMatMul:     matmul,
		ir.OpMatMulID:   matmulID,
		ir.OpSolveTri:   solveTri,
		ir.OpAffineScan: affineScan,
		ir.OpConv:       conv,
		ir.OpRope:       rope,
		ir.OpAttention:  attention,
		ir.OpQuantize:   quantize,

		ir.OpLoad:      load,
		ir.OpStore:     store,
		ir.OpLoadRows:  load,
		ir.OpStoreRows: storeRows,

		ir.OpTopKMoE:       topkMoE,
		ir.OpGateUp:        gateUp,
		ir.OpMoEGateUp:     moeGateUp,
		ir.OpMoEDown:       moeDown,
		ir.OpNorm:          norm,
		ir.OpGatedNorm:     gatedNorm,
		ir.OpNormRope:      normRope,
		ir.OpNormRopeStore: normRopeStore,
		ir.OpConvSplit:     convSplit,
		ir.OpDeltaChunk:    delta,
		ir.OpDeltaStep:     delta,

		ir.OpTransfer: same,
	}
}
