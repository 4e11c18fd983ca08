package passes

import "qnc/ir"

// fuseMoEDown makes one op of the experts' down projection and the weighted
// sum over a token's experts.
var fuseMoEDown = rules(newRule(`func moe_down(%x, %w, %ids, %weights) {
		%d = matmul_id %x, %w, %ids
		%col = reshape %weights {shape=$col}
		%m = mul %d, %col
		%s = sum %m {axis=1}
		%y = reshape %s {shape=$shape}
		return %y
	}`, func(m *match) bool {
	ids, d := m.val("ids").Type.Dims, m.val("d").Type.Dims
	if !m.shape("weights", ids...) || !m.shape("col", ids[0], ids[1], ir.Num(1)) || !m.shape("y", d[0], d[2]) {
		return false
	}
	x := m.val("x").Type.Dims
	if x[1] != ids[1] {
		return false
	}
	m.as("y", m.add("", ir.OpMoEDown, m.vals("x", "w", "ids", "weights")))
	return true
}))
