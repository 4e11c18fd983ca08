package passes

import "qnc/ir"

// fuseGateUp makes one op of silu(gate x) * (up x), by expert or dense, so
// that x is read once for both.
var fuseGateUp = rules(
	newRule(`func moe_gate_up(%x, %gate, %up, %ids) {
		%g = matmul_id %x, %gate, %ids
		%u = matmul_id %x, %up, %ids
		%s = silu %g
		%y = mul %s, %u
		return %y
	}`, func(m *match) bool {
		if !m.val("x").Type.Dims[1].Is(1) {
			return false // each expert has a row of its own
		}
		m.as("y", m.add("", ir.OpMoEGateUp, m.vals("x", "gate", "up", "ids")))
		return true
	}),
	newRule(`func gate_up(%x, %gate, %up) {
		%g = matmul %x, %gate
		%u = matmul %x, %up
		%s = silu %g
		%y = mul %s, %u
		return %y
	}`, func(m *match) bool {
		for _, v := range m.vals("x", "gate", "up") {
			if v.Type.Rank() != 2 {
				return false
			}
		}
		m.as("y", m.add("", ir.OpGateUp, m.vals("x", "gate", "up")))
		return true
	}),
)
