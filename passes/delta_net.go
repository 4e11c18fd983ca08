package passes

import (
	"strings"

	"qnc/ir"
)

// The patterns of this file are the primitive forms of the gated delta rule
// as elim-repeat, elim-copy and cse leave them: value heads read grouped key
// heads through the attribute map ($map is absent when they are as many, or
// when there is one key head).

// chunkForm is the form of many tokens, in chunks of 64.
const chunkForm = `
func delta_chunk(%s, %q, %k, %v, %g, %beta, %seq) {
	%qs = scale %q {by=$scale}
	%qp = permute %qs {perm=1,0,2}
	%qpad = pad %qp {axis=1 len=$pad}
	%qc = reshape %qpad {shape=$qshape}
	%kp = permute %k {perm=1,0,2}
	%kpad = pad %kp {axis=1 len=$pad}
	%kc = reshape %kpad {shape=$qshape}
	%vp = permute %v {perm=1,0,2}
	%vpad = pad %vp {axis=1 len=$pad}
	%vc = reshape %vpad {shape=$vshape}
	%bp = permute %beta {perm=1,0}
	%bpad = pad %bp {axis=1 len=$pad}
	%bc = reshape %bpad {shape=$col}
	%gp = permute %g {perm=1,0}
	%gpad = pad %gp {axis=1 len=$pad}
	%gch = reshape %gpad {shape=$gshape}

	// decay e^(g_i - g_j) of token j up to token i
	%gc = cumsum %gch
	%gcol = reshape %gc {shape=$col}
	%grow = reshape %gc {shape=$row}
	%diff = sub %gcol, %grow
	%diffl = tri %diff {keep=lower}
	%dexp = exp %diffl
	%d = tri %dexp {keep=lower}

	// inside a chunk
	%kb = mul %kc, %bc {map=$map}
	%kk = matmul %kb, %kc {map=$map}
	%a = mul %kk, %d
	%vb = mul %vc, %bc
	%u = solve_tri %a, %vb
	%gexp = exp %gcol
	%kbg = mul %kb, %gexp
	%w = solve_tri %a, %kbg
	%qk = matmul %qc, %kc
	%att = mul %qk, %d {map=$map}

	// between chunks
	%gl = slice %gc {axis=2 start=63 len=1}
	%gd = sub %gl, %gc
	%gde = exp %gd
	%gdcol = reshape %gde {shape=$col}
	%kd = mul %kc, %gdcol {map=$map}
	%glf = reshape %gl {shape=$flat}
	%dec = exp %glf
	%s0 = load %s, %seq
	%sc = affine_scan %dec, %kd, %u, %w, %s0
	%end = slice %sc {axis=1 start=$n len=1}
	%endf = reshape %end {shape=$state}
	store %s, %endf, %seq

	%sb = slice %sc {axis=1 start=0 len=$n}
	%ws = matmul %w, %sb
	%vn = sub %u, %ws
	%qg = mul %qc, %gexp {map=$map}
	%inter = matmul %qg, %sb
	%vt = permute %vn {perm=0,1,3,2}
	%intra = matmul %att, %vt
	%o = add %inter, %intra
	%of = reshape %o {shape=$oshape}
	%oc = slice %of {axis=1 start=0 len=$t}
	%out = permute %oc {perm=1,0,2}
	return %out
}`

// stepForm is the form of one token.
const stepForm = `
func delta_step(%s, %q, %k, %v, %g, %beta, %seq) {
	%s0 = load %s, %seq
	%ge = exp %g
	%dec = reshape %ge {shape=$one}
	%sd = mul %s0, %dec
	%kr = reshape %k {shape=$row}
	%sk = mul %sd, %kr {map=$map}
	%kv = sum %sk {axis=2}
	%vcol = reshape %v {shape=$vshape}
	%dv = sub %vcol, %kv
	%bone = reshape %beta {shape=$one}
	%delta = mul %dv, %bone
	%dk = mul %delta, %kr {map=$map}
	%s1 = add %sd, %dk
	store %s, %s1, %seq
	%qs = scale %q {by=$scale}
	%qr = reshape %qs {shape=$row}
	%sq = mul %s1, %qr {map=$map}
	%o = sum %sq {axis=2}
	%out = reshape %o {shape=$oshape}
	return %out
}`

// deltaNet makes one op of each form. With one key head, or one value head,
// elim-copy has turned permutes of that axis into reshapes and dropped the
// reshapes that change nothing.
var deltaNet = rules(
	newRule(chunkForm, chunkRewrite),
	newRule(moveless(chunkForm, "qp", "kp"), chunkRewrite),
	newRule(moveless(chunkForm, "qp", "kp", "vp", "bp", "gp", "out"), chunkRewrite),
	newRule(stepForm, stepRewrite("kr", "qr")),
	newRule(without(stepForm, map[string]string{"kr": "k", "qr": "qs"}), stepRewrite("k", "qs")),
)

// moveless returns the pattern with the named permutes as reshapes.
func moveless(pattern string, names ...string) string {
	var out []string
	for line := range strings.Lines(pattern) {
		for _, n := range names {
			if left, _, ok := strings.Cut(line, " {"); ok && strings.HasPrefix(left, "\t%"+n+" = permute ") {
				line = strings.Replace(left, "permute", "reshape", 1) + " {shape=$" + n + "}\n"
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

// without returns the pattern with each named value replaced by another.
func without(pattern string, by map[string]string) string {
	var out []string
	for line := range strings.Lines(pattern) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "\t%"), " = ")
		if by[name] != "" {
			continue
		}
		for old, new := range by {
			line = strings.ReplaceAll(line, "%"+old+" ", "%"+new+" ")
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

func chunkRewrite(m *match) bool {
	const c = ir.ChunkTokens
	if m.val("s0").Type.Rank() != 3 || m.val("qp").Type.Rank() != 3 {
		return false
	}
	s, qp := m.val("s0").Type.Dims, m.val("qp").Type.Dims
	h, v, k := s[0], s[1], s[2]
	groups, t := qp[0], qp[1]
	n := ir.CeilDiv(t.Sym, c)
	if x, ok := t.Static(); ok {
		n = ir.Num((x + c - 1) / c)
	} else if t != ir.Sym(t.Sym) {
		return false
	}
	cut, end, before := m.val("oc"), m.val("end"), m.val("sb")
	ok := m.shape("kp", groups, t, k) && m.shape("qp", groups, t, k) && m.shape("vp", h, t, v) &&
		m.shape("bp", h, t) && m.shape("gp", h, t) && m.val("qpad").Dim("len") == n.Times(c) &&
		m.shape("qc", groups, n, ir.Num(c), k) && m.shape("vc", h, n, ir.Num(c), v) && m.shape("gch", h, n, ir.Num(c)) &&
		m.shape("gcol", h, n, ir.Num(c), ir.Num(1)) && m.shape("grow", h, n, ir.Num(1), ir.Num(c)) && m.shape("glf", h, n) &&
		m.shape("endf", h, v, k) && end.Dim("start") == n && before.Dim("len") == n &&
		m.shape("of", h, n.Times(c), v) && cut.Dim("len") == t && m.shape("out", t, h, v)
	if !ok {
		return false
	}
	m.delta(ir.OpDeltaChunk, t, groups, h, k, v)
	return true
}

// stepRewrite is told the names of k and q as rows of the state.
func stepRewrite(kr, qr string) func(*match) bool {
	return func(m *match) bool {
		if m.val("s0").Type.Rank() != 3 || m.val(kr).Type.Rank() != 3 {
			return false
		}
		s, one := m.val("s0").Type.Dims, ir.Num(1)
		h, v, k := s[0], s[1], s[2]
		groups := m.val(kr).Type.Dims[0]
		if !m.shape("dec", h, one, one) || !m.shape("bone", h, one, one) || !m.shape("vcol", h, v, one) ||
			!m.shape(kr, groups, one, k) || !m.shape(qr, groups, one, k) || !m.shape("out", one, h, v) {
			return false
		}
		m.delta(ir.OpDeltaStep, one, groups, h, k, v)
		return true
	}
}

func (m *match) delta(op ir.Op, t, groups, h, k, v ir.Dim) {
	m.as("out", m.add("", op, []*ir.Value{
		m.val("s"),
		m.reshaped(m.val("q"), t, groups, k),
		m.reshaped(m.val("k"), t, groups, k),
		m.reshaped(m.val("v"), t, h, v),
		m.reshaped(m.val("g"), t, h),
		m.reshaped(m.val("beta"), t, h),
		m.val("seq"),
	}, "scale", m.attr("scale"), "map", m.attr("map")))
}
