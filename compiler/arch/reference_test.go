package arch

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// A reference is Qwen3-Next written down from its formulas in float64, token by
// token, with nothing of the IR. Setting wrong makes it take one of the
// readings that look as plausible as the right one.
type reference struct {
	f     *gguf.File
	h     *qwen3next
	wrong string
	conv  [][]vec   // per block: inputs of the last taps
	delta [][]mat   // per block and value head: [value, key]
	k, v  [][][]vec // per block, token and key-value head
	seen  map[string]vec

	decoded map[string]mat
}

type (
	vec []float64
	mat []vec
)

func newReference(t testing.TB, f *gguf.File, wrong string, decoded map[string]mat) *reference {
	t.Helper()
	h, err := paramsOf(f)
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{f: f, h: h, wrong: wrong, decoded: decoded, conv: make([][]vec, h.blocks), delta: make([][]mat, h.blocks),
		k: make([][][]vec, h.blocks), v: make([][][]vec, h.blocks)}
	for i := range h.blocks {
		for range h.conv - 1 {
			r.conv[i] = append(r.conv[i], make(vec, 2*h.keyHeads*h.state+h.inner))
		}
		for range h.valHeads {
			r.delta[i] = append(r.delta[i], zeros(h.state, h.state))
		}
	}
	return r
}

func zeros(rows, cols int) mat {
	m := make(mat, rows)
	for i := range m {
		m[i] = make(vec, cols)
	}
	return m
}

// tensor gives a tensor's rows, those of all experts one after the other.
func (r *reference) tensor(name string) mat {
	if m := r.decoded[name]; m != nil {
		return m
	}
	x, ok := r.f.Tensor(name)
	if !ok {
		panic("no tensor " + name)
	}
	kind, _ := quant.ByGGML(uint32(x.Type))
	all := make([]float32, x.Elems)
	kind.Dequantize(all, x.Bytes())
	n := int(x.Dims[0])
	m := zeros(len(all)/n, n)
	for i, v := range all {
		m[i/n][i%n] = float64(v)
	}
	r.decoded[name] = m
	return m
}

func (r *reference) has(name string) bool {
	_, ok := r.f.Tensor(name)
	return ok
}

func (m mat) times(x vec) vec {
	y := make(vec, len(m))
	for i, row := range m {
		y[i] = dot(row, x)
	}
	return y
}

func dot(a, b vec) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func (x vec) scale(by float64) vec {
	y := slices.Clone(x)
	for i := range y {
		y[i] *= by
	}
	return y
}

func each(a, b vec, f func(x, y float64) float64) vec {
	out := make(vec, len(a))
	for i := range a {
		out[i] = f(a[i], b[i])
	}
	return out
}

func add(a, b vec) vec { return each(a, b, func(x, y float64) float64 { return x + y }) }
func mul(a, b vec) vec { return each(a, b, func(x, y float64) float64 { return x * y }) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
func silu(x float64) float64    { return x * sigmoid(x) }

func (x vec) apply(f func(float64) float64) vec {
	return each(x, x, func(x, _ float64) float64 { return f(x) })
}

// norm is x / sqrt(mean x² + eps) · w.
func (r *reference) norm(x vec, name string) vec {
	w := r.tensor(name)[0]
	if r.wrong == "norms add 1 to their weight" && name != "blk.0.ssm_norm.weight" || r.wrong == "the gated norm adds 1" && name == "blk.0.ssm_norm.weight" {
		w = w.apply(func(x float64) float64 { return x + 1 })
	}
	return mul(x.scale(1/math.Sqrt(dot(x, x)/float64(len(x))+r.h.eps)), w)
}

// token runs one token at position pos and gives its logits; seen holds what
// is compared on the way.
func (r *reference) token(id, pos int) vec {
	r.seen = map[string]vec{}
	embd := r.tensor("token_embd.weight")
	x := embd[id]
	for i := range r.h.blocks {
		blk := fmt.Sprintf("blk.%d.", i)
		n := r.norm(x, blk+"attn_norm.weight")
		var mix vec
		if r.h.recurrent[i] {
			mix = r.deltaNet(i, blk, n)
		} else {
			mix = r.attention(i, blk, n, pos)
		}
		r.seen[fmt.Sprintf("mix-%d", i)] = mix
		x = add(x, mix)
		x = add(x, r.moe(blk, r.norm(x, blk+"post_attention_norm.weight")))
		r.seen[fmt.Sprintf("l_out-%d", i)] = x
	}
	if r.has("output.weight") {
		embd = r.tensor("output.weight")
	}
	return embd.times(r.norm(x, "output_norm.weight"))
}

// deltaNet is the gated delta net of block i.
func (r *reference) deltaNet(i int, blk string, x vec) vec {
	h := r.h
	d, per := h.state, h.valHeads/h.keyHeads
	var qkv, z vec
	if r.has(blk + "ssm_in.weight") { // q, k, v × per, z × per of each key head
		all := r.tensor(blk + "ssm_in.weight").times(x)
		var q, k, v vec
		for g := range h.keyHeads {
			p := all[g*(2+2*per)*d:]
			q, k, v, z = append(q, p[:d]...), append(k, p[d:2*d]...), append(v, p[2*d:(2+per)*d]...), append(z, p[(2+per)*d:(2+2*per)*d]...)
		}
		qkv = slices.Concat(q, k, v)
		if r.wrong == "ssm_in holds q, k, v, z one after the other" {
			qkv, z = all[:len(qkv)], all[len(qkv):]
		}
	} else {
		qkv, z = r.tensor(blk+"attn_qkv.weight").times(x), r.tensor(blk+"attn_gate.weight").times(x)
	}

	ba := r.tensor(blk + "ssm_ba.weight").times(x)
	beta, alpha := make(vec, h.valHeads), make(vec, h.valHeads)
	for v := range h.valHeads {
		at := v/per*2*per + v%per
		beta[v], alpha[v] = ba[at], ba[at+per]
		switch r.wrong {
		case "ssm_ba holds alpha before beta":
			beta[v], alpha[v] = alpha[v], beta[v]
		case "ssm_ba holds all betas before all alphas":
			beta[v], alpha[v] = ba[v], ba[h.valHeads+v]
		case "ssm_ba holds beta, alpha pairs":
			beta[v], alpha[v] = ba[2*v], ba[2*v+1]
		}
	}
	a, dt := r.tensor(blk + "ssm_a")[0], r.tensor(blk + "ssm_dt.bias")[0]

	// Convolution over the last taps, then SiLU.
	window := append(slices.Clone(r.conv[i]), qkv)
	r.conv[i] = window[1:]
	taps := r.tensor(blk + "ssm_conv1d.weight")
	mixed := make(vec, len(qkv))
	for c := range mixed {
		for j, w := range taps[c] {
			if r.wrong == "the first tap is of the newest token" {
				j = len(window) - 1 - j
			}
			mixed[c] += w * window[j][c]
		}
	}
	switch r.wrong {
	case "no SiLU behind the convolution":
	case "SiLU on q and k alone":
		copy(mixed, mixed[:2*h.keyHeads*d].apply(silu))
	default:
		mixed = mixed.apply(silu)
	}
	l2 := func(x vec) vec {
		sum := dot(x, x)
		switch r.wrong {
		case "L2 norm with the larger of norm and eps":
			return x.scale(1 / max(math.Sqrt(sum), h.eps))
		case "L2 norm of the mean":
			return x.scale(1 / math.Sqrt(sum/float64(len(x))+h.eps))
		case "L2 norm without eps":
			return x.scale(1 / math.Sqrt(sum))
		case "no L2 norm":
			return x
		}
		return x.scale(1 / math.Sqrt(sum+h.eps))
	}
	var out vec
	for v := range h.valHeads {
		g := v / per
		if r.wrong == "value head h uses key head h mod n" {
			g = v % h.keyHeads
		}
		q, k := l2(mixed[g*d:][:d]), l2(mixed[(h.keyHeads+g)*d:][:d])
		if r.wrong == "k comes before q" {
			q, k = k, q
		}
		val := mixed[(2*h.keyHeads+v)*d:][:d]
		qs := q.scale(1 / math.Sqrt(float64(d)))
		switch r.wrong {
		case "q is not scaled":
			qs = q
		case "q is scaled by 1/d":
			qs = q.scale(1 / float64(d))
		case "k is scaled too":
			k = k.scale(1 / math.Sqrt(float64(d)))
		}
		decay := a[v] * softplus(alpha[v]+dt[v])
		b := sigmoid(beta[v])
		switch r.wrong {
		case "g = -exp(ssm_a) · softplus":
			decay = -math.Exp(a[v]) * softplus(alpha[v]+dt[v])
		case "dt is added behind softplus":
			decay = a[v] * (softplus(alpha[v]) + dt[v])
		case "no dt":
			decay = a[v] * softplus(alpha[v])
		case "beta without sigmoid":
			b = beta[v]
		case "beta up to 2":
			b *= 2
		}
		o := r.deltaStep(r.delta[i][v], qs, k, val, math.Exp(decay), b)
		r.seen[fmt.Sprintf("delta-%d", i)] = append(r.seen[fmt.Sprintf("delta-%d", i)], o...)
		zv := z[v*d:][:d].apply(silu)
		switch r.wrong {
		case "the gate comes before the norm":
			o = r.norm(mul(o, zv), blk+"ssm_norm.weight")
		case "the gate is a sigmoid":
			o = mul(r.norm(o, blk+"ssm_norm.weight"), z[v*d:][:d].apply(sigmoid))
		default:
			o = mul(r.norm(o, blk+"ssm_norm.weight"), zv)
		}
		out = append(out, o...)
	}
	return r.tensor(blk + "ssm_out.weight").times(out)
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// deltaStep changes the state s[value, key] and gives s·q.
func (r *reference) deltaStep(s mat, q, k, v vec, decay, beta float64) vec {
	before := s.times(k)
	out := s.times(q)
	for i := range s {
		s[i] = s[i].scale(decay)
	}
	have := s.times(k)
	if r.wrong == "v is corrected by the state before its decay" {
		have = before
	}
	for i := range s {
		step := beta * (v[i] - have[i])
		if r.wrong == "no delta rule, plain linear attention" {
			step = beta * v[i]
		}
		for j := range s[i] {
			s[i][j] += step * k[j]
		}
	}
	if r.wrong == "the output is of the state before the token" {
		return out
	}
	return s.times(q)
}

// attention is the gated full attention of block i.
func (r *reference) attention(i int, blk string, x vec, pos int) vec {
	h := r.h
	d := h.headDim
	full := r.tensor(blk + "attn_q.weight").times(x)
	kAll, vAll := r.tensor(blk+"attn_k.weight").times(x), r.tensor(blk+"attn_v.weight").times(x)
	prepare := func(x vec, norm string) vec {
		if r.wrong == "RoPE comes before the norm" {
			return r.norm(r.rope(x, pos), blk+norm)
		}
		if r.wrong == "no norm of q and k" {
			return r.rope(x, pos)
		}
		return r.rope(r.norm(x, blk+norm), pos)
	}
	var ks, vs []vec
	for g := range h.kvHeads {
		ks, vs = append(ks, prepare(kAll[g*d:][:d], "attn_k_norm.weight")), append(vs, vAll[g*d:][:d])
	}
	r.k[i], r.v[i] = append(r.k[i], ks), append(r.v[i], vs)
	var out vec
	for n := range h.heads {
		q, gate := full[2*n*d:][:d], full[(2*n+1)*d:][:d]
		switch r.wrong {
		case "all q before all gates":
			q, gate = full[n*d:][:d], full[(h.heads+n)*d:][:d]
		case "the gate before q":
			q, gate = gate, q
		}
		q = prepare(q, "attn_q_norm.weight")
		g := n / (h.heads / h.kvHeads)
		if r.wrong == "head h uses key-value head h mod n" {
			g = n % h.kvHeads
		}
		scale := 1 / math.Sqrt(float64(d))
		switch r.wrong {
		case "attention is not scaled":
			scale = 1
		case "attention is scaled by 1/d":
			scale = 1 / float64(d)
		}
		scores := make(vec, len(r.k[i]))
		for j := range scores {
			scores[j] = scale * dot(q, r.k[i][j][g])
		}
		p := softmax(scores)
		o := make(vec, d)
		for j := range p {
			o = add(o, r.v[i][j][g].scale(p[j]))
		}
		switch r.wrong {
		case "attention without its gate":
		case "attention gated by SiLU":
			o = mul(o, gate.apply(silu))
		default:
			o = mul(o, gate.apply(sigmoid))
		}
		out = append(out, o...)
	}
	return r.tensor(blk + "attn_output.weight").times(out)
}

// rope turns the first rope dimensions: pairs (i, i + half).
func (r *reference) rope(x vec, pos int) vec {
	n := r.h.ropeDims
	over := n
	switch r.wrong {
	case "RoPE on all dimensions":
		n, over = len(x), len(x)
	case "frequencies of the whole head":
		over = len(x)
	case "no RoPE":
		return x
	}
	y := slices.Clone(x)
	for i := range n / 2 {
		a, b := i, i+n/2
		if r.wrong == "RoPE of neighbours" {
			a, b = 2*i, 2*i+1
		}
		s, c := math.Sincos(float64(pos) * math.Pow(r.h.ropeBase, -2*float64(i)/float64(over)))
		if r.wrong == "RoPE turns back" {
			s = -s
		}
		y[a], y[b] = x[a]*c-x[b]*s, x[a]*s+x[b]*c
	}
	return y
}

func softmax(x vec) vec {
	y, sum := make(vec, len(x)), 0.0
	for i := range x {
		y[i] = math.Exp(x[i] - slices.Max(x))
		sum += y[i]
	}
	return y.scale(1 / sum)
}

// top lists the k largest, ties to the lower index.
func top(x vec, k int) []int {
	ids := make([]int, len(x))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	return ids[:k]
}

// moe is the mixture of experts with the shared one.
func (r *reference) moe(blk string, x vec) vec {
	h := r.h
	logits := r.tensor(blk + "ffn_gate_inp.weight").times(x)
	p := softmax(logits)
	ids := top(p, h.used)
	sum := 0.0
	for _, e := range ids {
		sum += p[e]
	}
	sum = max(sum, 6.103515625e-05)
	scale := h.expertScale
	switch r.wrong {
	case "the experts' weights are not renormalised":
		sum = 1
	case "no expert_weights_scale":
		scale = 1
	case "sigmoid instead of softmax":
		p, sum = logits.apply(sigmoid), 0
		for _, e := range ids {
			sum += p[e]
		}
	case "the experts all weigh the same":
		p, sum = p.scale(0).apply(func(float64) float64 { return 1 }), float64(h.used)
	}
	var gate, up mat
	if r.has(blk + "ffn_gate_up_exps.weight") {
		all := r.tensor(blk + "ffn_gate_up_exps.weight")
		for e := range h.experts {
			gate, up = append(gate, all[2*e*h.expertFF:][:h.expertFF]...), append(up, all[(2*e+1)*h.expertFF:][:h.expertFF]...)
		}
		if r.wrong == "ffn_gate_up_exps holds all gates before all ups" {
			gate, up = all[:h.experts*h.expertFF], all[h.experts*h.expertFF:]
		}
	} else {
		gate, up = r.tensor(blk+"ffn_gate_exps.weight"), r.tensor(blk+"ffn_up_exps.weight")
	}
	if r.wrong == "SiLU on up instead of gate" {
		gate, up = up, gate
	}
	down := r.tensor(blk + "ffn_down_exps.weight")
	out := make(vec, len(x))
	for _, e := range ids {
		y := mul(gate[e*h.expertFF:][:h.expertFF].times(x).apply(silu), up[e*h.expertFF:][:h.expertFF].times(x))
		out = add(out, down[e*h.hidden:][:h.hidden].times(y).scale(p[e]/sum*scale))
	}
	y := mul(r.tensor(blk+"ffn_gate_shexp.weight").times(x).apply(silu), r.tensor(blk+"ffn_up_shexp.weight").times(x))
	open := sigmoid(r.tensor(blk + "ffn_gate_inp_shexp.weight").times(x)[0])
	switch r.wrong {
	case "the shared expert is not gated":
		open = 1
	case "the shared expert's gate is no sigmoid":
		open = r.tensor(blk + "ffn_gate_inp_shexp.weight").times(x)[0]
	case "the shared expert is scaled too":
		open *= h.expertScale
	case "no shared expert":
		open = 0
	}
	return add(out, r.tensor(blk+"ffn_down_shexp.weight").times(y).scale(open))
}
