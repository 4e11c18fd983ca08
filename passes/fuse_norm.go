package passes

import (
	"strings"

	"qnc/ir"
)

// fuseNorm makes one op of a norm with its weight, the residual sum before it
// or the gate after it, and the quantisation of its result.
var fuseNorm = rules(
	gatedRule(true, true), gatedRule(true, false), gatedRule(false, false),
	normRule(true, true), normRule(true, false), normRule(false, true), normRule(false, false),
)

// normRule matches [add,] rms_norm, mul [, quantize].
func normRule(residual, quantised bool) *rule {
	params, body, outs := "%s, %w", "", []string{"f32"}
	if residual {
		params = "%x, %y, %w"
		body = "\n%s = add %x, %y"
		outs = append([]string{"sum"}, outs...)
	}
	body += "\n%n = rms_norm %s {eps=$eps}\n%f32 = mul %n, %w"
	if quantised {
		body += "\n%a8 = quantize %f32"
		outs = append(outs, "a8")
	}
	results := strings.Replace("%"+strings.Join(outs, ", %"), "%sum", "%s", 1)
	return newRule("func norm("+params+") {"+body+"\nreturn "+results+"\n}", func(m *match) bool {
		x := m.val("s").Type
		args := m.vals("s", "w")
		if residual {
			args = m.vals("x", "w", "y")
			if !args[0].Type.Equal(x) || !args[2].Type.Equal(x) {
				return false
			}
		}
		if !m.shape("w", x.Last()) || !m.shape("f32", x.Dims...) {
			return false
		}
		return m.outs(ir.OpNorm, args, outs, map[string]string{"sum": "s"})
	})
}

// gatedRule matches rms_norm, mul by the weight, mul by silu of the gate, and
// with quantised the quantisation of a token's rows, which are joined first
// when there are several.
func gatedRule(quantised, joined bool) *rule {
	body, results, outs := "", "%f32", []string{"f32"}
	if quantised {
		from := "%f32"
		if joined {
			body, from = "\n%row = reshape %f32 {shape=$row}", "%row"
		}
		body += "\n%a8 = quantize " + from
		results, outs = "%f32, %a8", []string{"f32", "a8"}
	}
	return newRule(`func gated_norm(%x, %w, %z) {
		%n = rms_norm %x {eps=$eps}
		%m = mul %n, %w
		%g = silu %z
		%f32 = mul %m, %g`+body+"\nreturn "+results+"\n}", func(m *match) bool {
		x := m.val("x").Type
		if !m.shape("w", x.Last()) || !m.shape("m", x.Dims...) || !m.shape("z", x.Dims...) {
			return false
		}
		if quantised && (m.val("a8").Type.Rank() != 2 || m.val("a8").Type.Dims[0] != x.Dims[0]) {
			return false
		}
		return m.outs(ir.OpGatedNorm, m.vals("x", "w", "z"), outs, nil)
	})
}

// outs makes an op whose attribute out lists those of the results that are
// used. names gives a result's name in the pattern where it is another.
func (m *match) outs(op ir.Op, args []*ir.Value, outs []string, names map[string]string) bool {
	var words, results []string
	for _, o := range outs {
		name := o
		if names[o] != "" {
			name = names[o]
		}
		if m.used(name) {
			words, results = append(words, o), append(results, name)
		}
	}
	if len(words) == 0 {
		return false
	}
	m.parts(m.add("", op, args, "eps", m.attr("eps"), "out", strings.Join(words, ",")), results...)
	return true
}
