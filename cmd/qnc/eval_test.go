package main

import (
	"strings"
	"testing"

	"qnc/ir"
)

// TestEvalBudget: states and parameters are bounded together, not each by itself.
func TestEvalBudget(t *testing.T) {
	g := &generator{left: 20}
	for i, v := range []*ir.Value{
		{Name: "a", Op: ir.OpState, Type: ir.Tensor(ir.F32, ir.Num(4), ir.Num(3))},
		{Name: "b", Op: ir.OpState, Type: ir.Tensor(ir.F32, ir.Num(4), ir.Num(3))},
		{Name: "c", Op: ir.OpParam, Type: ir.Tensor(ir.F32, ir.Num(8))},
		{Name: "d", Op: ir.OpParam, Type: ir.Tensor(ir.F32, ir.Num(1))},
	} {
		x, err := g.keep(v)
		if ok := i%2 == 0; (err == nil) != ok || err != nil && !strings.Contains(err.Error(), v.String()+": f32[") || ok && len(x.Data) == 0 {
			t.Errorf("%s: %d elements, %v", v, len(x.Data), err)
		}
	}
}
