package passes

import "qnc/ir"

// fuseConv makes one op of the short convolution in front of the delta rule:
// its state, SiLU, the cut into q, k and v, and the norms of q and k.
var fuseConv = rules(newRule(`func conv_split(%s, %x, %w, %seq) {
	%c = load %s, %seq
	%all = concat %c, %x {axis=0}
	%last = slice %all {axis=0 start=$start len=$len}
	store %s, %last, %seq
	%raw = conv %all, %w
	%y = silu %raw
	%qs = slice %y {axis=1 start=0 len=$qlen}
	%qh = reshape %qs {shape=$qshape}
	%q = l2_norm %qh {eps=$eps}
	%ks = slice %y {axis=1 start=$kstart len=$qlen}
	%kh = reshape %ks {shape=$qshape}
	%k = l2_norm %kh {eps=$eps}
	%vs = slice %y {axis=1 start=$vstart len=$vlen}
	%v = reshape %vs {shape=$vshape}
	return %q, %k, %v
}`, func(m *match) bool {
	x, c, q, v := m.val("x").Type.Dims, m.val("c").Type.Dims, m.val("q").Type, m.val("v").Type
	if q.Rank() != 3 || v.Rank() != 3 || q.Dims[0] != x[0] || v.Dims[0] != x[0] || len(c) != 2 {
		return false
	}
	heads, kdim := q.Dims[1], q.Dims[2]
	vheads, vdim := v.Dims[1], v.Dims[2]
	n := ir.ProductOf(heads, kdim)
	cut := m.val("last")
	ok := cut.Dim("start") == x[0] && cut.Dim("len") == c[0] &&
		n.Equal(ir.ProductOf(m.val("qs").Dim("len"))) &&
		m.val("ks").Dim("start") == m.val("qs").Dim("len") &&
		m.val("vs").Dim("start") == m.val("qs").Dim("len").Times(2) &&
		ir.ProductOf(vheads, vdim).Equal(ir.ProductOf(m.val("vs").Dim("len"))) &&
		m.val("vs").Dim("start").Plus(m.val("vs").Dim("len").Add) == x[1]
	if !ok {
		return false
	}
	m.parts(m.add("", ir.OpConvSplit, m.vals("s", "x", "w", "seq"),
		"heads", heads, "kdim", kdim, "vheads", vheads, "vdim", vdim, "eps", m.attr("eps")), "q", "k", "v")
	return true
}))
