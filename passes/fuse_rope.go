package passes

import "qnc/ir"

// fuseRope makes one op of a head's norm and its rotary embedding, and of the
// write to the cache where it follows.
var fuseRope = rules(
	newRule(`func norm_rope_store(%s, %x, %w, %pos, %seq) {
		%n = rms_norm %x {eps=$eps}
		%m = mul %n, %w
		%r = rope %m, %pos {dims=$dims base=$base}
		store_rows %s, %r, %pos, %seq
		return
	}`, func(m *match) bool {
		if !headNorm(m) {
			return false
		}
		m.add("", ir.OpNormRopeStore, m.vals("s", "x", "w", "pos", "seq"), "eps", m.attr("eps"), "dims", m.attr("dims"), "base", m.attr("base"))
		return true
	}),
	newRule(`func norm_rope(%x, %w, %pos) {
		%n = rms_norm %x {eps=$eps}
		%m = mul %n, %w
		%r = rope %m, %pos {dims=$dims base=$base}
		return %r
	}`, func(m *match) bool {
		if !headNorm(m) {
			return false
		}
		m.as("r", m.add("", ir.OpNormRope, m.vals("x", "w", "pos"), "eps", m.attr("eps"), "dims", m.attr("dims"), "base", m.attr("base")))
		return true
	}),
)

// headNorm reports whether %w is the weight of one head and %x has the extents of the product.
func headNorm(m *match) bool {
	x := m.val("x").Type
	return m.shape("w", x.Last()) && m.shape("m", x.Dims...)
}
