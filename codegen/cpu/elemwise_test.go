package cpu

import (
	"strings"
	"testing"

	"qnc/ir"
)

// TestElemwiseWithoutExpression: an op of the class that has no row in elemwise is a fault with words.
func TestElemwiseWithoutExpression(t *testing.T) {
	x := &ir.Value{Name: "x", Op: ir.OpParam, Type: ir.Tensor(ir.F32, ir.Num(4), ir.Num(4)), Mem: ir.NoMem}
	v, err := ir.NewValue("y", ir.OpTri, []*ir.Value{x}, "keep", "lower")
	if err != nil {
		t.Fatal(err)
	}
	k := &kern{p: newProgram(&ir.Module{}), v: v}
	emitElemwise(k)
	if k.fault == nil || !strings.Contains(k.fault.Error(), "elementwise tri of 1 operands has no expression") {
		t.Errorf("have %v", k.fault)
	}
}
