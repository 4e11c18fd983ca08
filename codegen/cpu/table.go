// Package cpu emits the CPU program: kernels specialised to their shapes and
// the steps that call them.
package cpu

import (
	"qnc/ir"
)

// emitters holds one row an op; an op without a row does not run on the CPU.
var emitters = map[ir.Op]func(k *kern){
	ir.OpGetRows: emitGetRows,
	ir.OpCont:    emitElemwise,
	ir.OpAdd:     emitElemwise,
	ir.OpSub:     emitElemwise,
	ir.OpMul:     emitElemwise,
	ir.OpDiv:     emitElemwise,
	ir.OpExp:     emitElemwise,
	ir.OpSigmoid: emitElemwise,
	ir.OpSilu:    emitElemwise,

	ir.OpSoftplus:      emitElemwise,
	ir.OpScale:         emitElemwise,
	ir.OpClamp:         emitElemwise,
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
	ir.OpRope:          emitRope,
	ir.OpNormRope:      emitNormRope,
	ir.OpNormRopeStore: emitNormRopeStore,
	ir.OpStoreRows:     emitStoreRows,
	ir.OpAttention:     emitAttention,
	ir.OpTopKMoE:       emitTopKMoE,
	ir.OpConvSplit:     emitConvSplit,
	ir.OpDeltaChunk:    emitDelta,
	ir.OpDeltaStep:     emitDelta,
}

// CanRun reports whether the CPU has a kernel for v: nil, or what is missing.
// Views and reads of the cache cost nothing and need none.
func CanRun(v *ir.Value) error {
	if free(v) {
		return nil
	}
	k := &kern{p: newProgram(&ir.Module{}), v: v}
	emit := emitters[v.Op]
	if emit == nil {
		k.fail("the CPU has no kernel for %s", v.Op)
		return k.fault
	}
	k.p.noteCache(v)
	for _, a := range v.Args {
		k.p.noteCache(a)
	}
	emit(k)
	return k.fault
}

// free reports whether v needs no kernel.
func free(v *ir.Value) bool {
	return v.Op.IsView() || v.Op == ir.OpLoadRows
}
