// Package cuda emits the kernels of GPUs, instances of package cudatemplates
// with every shape a constant, and the launches of a step.
package cuda

import (
	"qnc/ir"
)

// emitters holds one row an op; an op without a row does not run on a GPU.
var emitters = map[ir.Op]func(k *kern){
	ir.OpGetRows: emitGetRows,
	ir.OpCont:    emitElementwise,
	ir.OpAdd:     emitElementwise,
	ir.OpSub:     emitElementwise,
	ir.OpMul:     emitElementwise,
	ir.OpDiv:     emitElementwise,
	ir.OpExp:     emitElementwise,
	ir.OpSigmoid: emitElementwise,
	ir.OpSilu:    emitElementwise,

	ir.OpSoftplus:      emitElementwise,
	ir.OpScale:         emitElementwise,
	ir.OpClamp:         emitElementwise,
	ir.OpMatMul:        emitMatMul,
	ir.OpGateUp:        emitGateUp,
	ir.OpMatMulID:      emitMatMulID,
	ir.OpMoEGateUp:     emitMoEGateUp,
	ir.OpMoEDown:       emitMoEDown,
	ir.OpQuantize:      emitQuantize,
	ir.OpRMSNorm:       emitUnitNorm,
	ir.OpL2Norm:        emitUnitNorm,
	ir.OpNorm:          emitNorm,
	ir.OpGatedNorm:     emitGatedNorm,
	ir.OpRope:          emitNormRope,
	ir.OpNormRope:      emitNormRope,
	ir.OpNormRopeStore: emitStoreCells,
	ir.OpStoreRows:     emitStoreCells,
	ir.OpAttention:     emitAttention,
	ir.OpTopKMoE:       emitTopKMoE,
	ir.OpConvSplit:     emitConvSplit,
	ir.OpDeltaChunk:    emitDelta,
	ir.OpDeltaStep:     emitDelta,
}

// CanRun reports whether a GPU has kernels for v: nil, or what is missing.
// Views and reads of the cache cost nothing and need none.
func CanRun(v *ir.Value) error {
	if free(v) {
		return nil
	}
	p := newProgram(&ir.Module{}, "")
	p.note(v)
	for _, a := range v.Args {
		p.note(a)
	}
	return (&kern{p: p, v: v}).emit()
}

// emit runs the row of v.
func (k *kern) emit() error {
	emit := emitters[k.v.Op]
	if emit == nil {
		k.fail("a GPU has no kernel for %s", k.v.Op)
		return k.fault
	}
	emit(k)
	return k.fault
}

// free reports whether v needs no kernel.
func free(v *ir.Value) bool {
	return v.Op.IsView() || v.Op == ir.OpLoadRows
}
