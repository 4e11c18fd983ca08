package passes

import (
	"fmt"

	"qnc/ir"
)

// fuseTopKMoE makes one op of a router: softmax over the experts, top k,
// optionally renormalised with a lower bound of the sum, optionally scaled.
var fuseTopKMoE = func() func(*ir.Module, *Target) error {
	const core = `
		%p = softmax %x
		%ids = top_k %p {k=$k}
		%w0 = gather %p, %ids`
	norms := []string{`
		%sum = sum %w0 {axis=1}
		%low = clamp %sum {min=$min}
		%w1 = div %w0, %low`, `
		%sum = sum %w0 {axis=1}
		%w1 = div %w0, %sum`, ""}
	scales := []string{`
		%w2 = scale %w1 {by=$scale}`, ""}
	var list []*rule
	for _, norm := range norms {
		for _, scale := range scales {
			last := "w0"
			if norm != "" {
				last = "w1"
			}
			text := core + norm
			if scale != "" {
				scale = fmt.Sprintf("\n\t\t%%w2 = scale %%%s {by=$scale}", last)
				last = "w2"
			}
			text = fmt.Sprintf("func topk_moe(%%x) {%s%s\n\t\treturn %%%s, %%ids\n\t}", text, scale, last)
			list = append(list, newRule(text, routerRewrite(norm != "", last)))
		}
	}
	return rules(list...)
}()

func routerRewrite(norm bool, last string) func(*match) bool {
	return func(m *match) bool {
		x := m.val("x")
		if x.Type.Rank() != 2 {
			return false
		}
		renorm, least, scale := 0, m.attr("min"), m.attr("scale")
		if norm {
			renorm = 1
		}
		if least == "" {
			least = "0" // a sum of probabilities has no use for a lower bound of its own
		}
		if scale == "" {
			scale = "1"
		}
		m.parts(m.add("", ir.OpTopKMoE, []*ir.Value{x}, "k", m.attr("k"), "norm", renorm, "min", least, "scale", scale), last, "ids")
		return true
	}
}
