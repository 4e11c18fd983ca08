package passes

import (
	"math"
	"slices"

	"qnc/ir"
)

// Experts that lie on the cpu can serve a long prompt better from the GPU: one
// upload of a layer's experts costs the same for any number of tokens, while
// the cpu's time grows with them. Where shapes and rates say that this pays
// from some number of tokens on, which -ub allows, a function has a second form
// for such steps: its experts run on the GPU that has the rest of their layer.

// Rates of machines that do not state them.
const (
	unknownLink = 16e9
	macsPerByte = 16 // of a cpu: multiply-adds for each byte of bandwidth
)

// upload is the decision.
type upload struct {
	from   int  // least tokens of a step
	active bool // copy only the experts that the step's tokens pick
}

// experts is what a step does with the experts of one op.
type experts struct {
	op      *ir.Value
	weights []*ir.Value
	bytes   float64
	rows    float64 // experts
	picks   float64 // of one token
	macs    float64 // of one expert and one token
}

// expertsOf describes v, if it picks experts; a token is a row of its indices.
func expertsOf(v *ir.Value, sizes ir.Sizes) (experts, bool) {
	ids := indexArg[v.Op]
	if ids == 0 || v.Op == ir.OpGetRows {
		return experts{}, false
	}
	e := experts{op: v, picks: float64(v.Args[ids].Type.Last().At(sizes))}
	for _, a := range v.Args[1:ids] {
		w := viewed(a)
		if w.Op != ir.OpWeight || a.Type.Rank() != 3 {
			return experts{}, false
		}
		e.weights = append(e.weights, w)
		e.bytes += float64(bytesOf(w.Type, sizes))
		e.rows = float64(a.Type.Dims[0].At(sizes))
		e.macs += float64(a.Type.Dims[1].At(sizes)) * float64(a.Type.Dims[2].At(sizes))
	}
	return e, e.rows > 0
}

// active is the part of the experts that a step of n tokens picks, if all are equally likely.
func (e *experts) active(n float64) float64 {
	return 1 - math.Pow(1-min(1, e.picks/e.rows), n)
}

// rates are the speeds that decide.
type rates struct{ cpuBytes, cpuMACs, link float64 }

func ratesOf(m *ir.Machine, gpu ir.Device) (rates, bool) {
	host, ok := m.Device("cpu")
	r := rates{bandwidth(host), host.MACs, m.Link("cpu", gpu)}
	if r.cpuMACs == 0 {
		r.cpuMACs = macsPerByte * r.cpuBytes
	}
	if r.link == 0 {
		r.link = unknownLink
	}
	return r, ok
}

// onCPU is the time of the op for n tokens, and of going there and back.
func (r rates) onCPU(e *experts, n float64) float64 {
	return max(e.active(n)*e.bytes/r.cpuBytes, n*e.picks*e.macs/r.cpuMACs) + splitTime
}

// whole and some are the times of the upload; for some, the host must first learn which.
func (r rates) whole(e *experts) float64           { return e.bytes / r.link }
func (r rates) some(e *experts, n float64) float64 { return e.active(n)*e.bytes/r.link + splitTime }

// decide finds the least step of at most most tokens for which uploads pay;
// which experts they copy is what is faster for the largest.
func (r rates) decide(list []experts, most int) (u upload, ok bool) {
	total := func(of func(e *experts) float64) (t float64) {
		for i := range list {
			t += of(&list[i])
		}
		return t
	}
	upload := func(n int) float64 {
		if u.active {
			return total(func(e *experts) float64 { return r.some(e, float64(n)) })
		}
		return total(r.whole)
	}
	pays := func(n int) bool {
		return upload(n) < total(func(e *experts) float64 { return r.onCPU(e, float64(n)) })
	}
	u.active = total(func(e *experts) float64 { return r.some(e, float64(most)) }) < total(r.whole)
	if len(list) == 0 || !pays(most) {
		return u, false
	}
	u.from = most
	for u.from > 1 && pays(u.from-1) { // a shorter step that pays below one that does not is of no use
		u.from--
	}
	return u, true
}

// addUploads gives the functions of more than one token their second form,
// where that may pay on some GPU.
func (p *placer) addUploads() {
	if p.t == nil || !p.t.Uploads {
		return
	}
	for _, f := range slices.Clone(p.m.Funcs) {
		if f == decodeFunc(p.m) || f.From > 0 || !usesTokens(f) {
			continue
		}
		var list []experts
		for _, v := range f.Body {
			if e, ok := expertsOf(v, p.sizes); ok {
				list = append(list, e)
			}
		}
		best := upload{}
		for _, d := range p.order {
			r, ok := ratesOf(&p.m.Machine, d.Name)
			if d.Name == "cpu" || !ok {
				continue
			}
			if u, pays := r.decide(list, p.sizes["T"]); pays && (best.from == 0 || u.from < best.from) {
				best = u
			}
		}
		if best.from > 0 {
			g := cloneFunc(f, f.Name+"_upload")
			g.From = best.from
			p.uploads[g] = best
			p.m.Funcs = append(p.m.Funcs, g)
		}
	}
}

// usesTokens reports whether a step of f has T tokens.
func usesTokens(f *ir.Func) bool {
	return slices.ContainsFunc(f.Params, func(v *ir.Value) bool {
		return slices.ContainsFunc(v.Type.Dims, func(d ir.Dim) bool { return d.Sym == "T" })
	})
}

func cloneFunc(f *ir.Func, name string) *ir.Func {
	old := map[*ir.Value]*ir.Value{}
	list := func(vs []*ir.Value) []*ir.Value {
		out := make([]*ir.Value, len(vs))
		for i, v := range vs {
			c := *v
			c.Attr, c.Args = slices.Clone(v.Attr), slices.Clone(v.Args)
			for j, a := range c.Args {
				if n := old[a]; n != nil {
					c.Args[j] = n
				}
			}
			old[v], out[i] = &c, &c
		}
		return out
	}
	g := &ir.Func{Name: name, Params: list(f.Params), Body: list(f.Body)}
	for _, r := range f.Results {
		g.Results = append(g.Results, old[r])
	}
	return g
}

// uploadTo is the GPU that v runs on in a function of uploads though its
// experts lie on the cpu: that of the rest of their layer.
func (p *placer) uploadTo(v *ir.Value, homes map[int]ir.Device) (ir.Device, bool) {
	e, ok := expertsOf(v, p.sizes)
	if !ok {
		return "", false
	}
	b, numbered := blockOf(e.weights[0])
	d := homes[b]
	return d, numbered && d != "" && d != "cpu" && p.canRun(d, v) &&
		slices.ContainsFunc(e.weights, func(w *ir.Value) bool { return w.On == "cpu" })
}

// blockHomes returns where most of each block's dense bytes are.
func (p *placer) blockHomes(u *usage) map[int]ir.Device {
	type key struct {
		block int
		on    ir.Device
	}
	bytes := map[key]int64{}
	homes := map[int]ir.Device{}
	for _, s := range u.order {
		b, ok := blockOf(s)
		if !ok || u.isSparse(s, p.sizes) {
			continue
		}
		k := key{b, s.On}
		bytes[k] = satAdd(bytes[k], bytesOf(s.Type, p.sizes))
		if homes[b] == "" || bytes[k] > bytes[key{b, homes[b]}] {
			homes[b] = s.On
		}
	}
	return homes
}

// dropUploads removes the second forms that upload nothing, or under the final
// placement from fewer tokens than the link of their GPUs allows.
func (p *placer) dropUploads() {
	p.m.Funcs = slices.DeleteFunc(p.m.Funcs, func(f *ir.Func) bool {
		if _, ok := p.uploads[f]; !ok {
			return false
		}
		u, pays := decided(p.m, f, p.sizes)
		f.From = u.from
		return !pays
	})
}

// decided is the decision for what f uploads as it is placed, over its slowest link.
func decided(m *ir.Module, f *ir.Func, sizes ir.Sizes) (upload, bool) {
	var list []experts
	slowest := rates{link: math.Inf(1)}
	for _, v := range f.Body {
		e, ok := expertsOf(v, sizes)
		if !ok || v.On == "cpu" || !slices.ContainsFunc(e.weights, func(w *ir.Value) bool { return w.On == "cpu" }) {
			continue
		}
		list = append(list, e)
		if r, _ := ratesOf(&m.Machine, v.On); r.link < slowest.link {
			slowest = r
		}
	}
	return slowest.decide(list, sizes["T"])
}

// UploadsFrom returns the least tokens of a step from which uploads would be
// faster for a placed module without them, and the memory they take on a GPU.
func UploadsFrom(m *ir.Module) (tokens int, bytes int64, gpu ir.Device, ok bool) {
	p := &placer{m: m, sizes: m.MaxSizes()}
	homes := p.blockHomes(newUsage(m, p.sizes))
	slowest := rates{link: math.Inf(1)}
	for _, f := range m.Funcs {
		if f == decodeFunc(m) || f.From > 0 || !usesTokens(f) {
			continue
		}
		var list []experts
		for _, v := range f.Body {
			d, movable := p.uploadTo(v, homes)
			if !movable {
				continue
			}
			e, _ := expertsOf(v, p.sizes)
			list = append(list, e)
			bytes = max(bytes, int64(e.bytes))
			if r, _ := ratesOf(&m.Machine, d); r.link < slowest.link {
				slowest, gpu = r, d
			}
		}
		if u, pays := slowest.decide(list, p.sizes["T"]); pays {
			return u.from, bytes, gpu, true
		}
	}
	return 0, 0, "", false
}

// copies are the attributes of the uploads of f.
func copies(m *ir.Module, f *ir.Func) ir.Attrs {
	if f.From > 0 {
		if u, _ := decided(m, f, m.MaxSizes()); u.active {
			return ir.Attrs{{Name: "copy", Val: "active"}}
		}
	}
	return nil
}

// uploadBytes is the most that one op of f reads of experts that are uploaded for it.
func uploadBytes(f *ir.Func, sizes ir.Sizes) int64 {
	most := int64(0)
	for _, v := range f.Body {
		if e, ok := expertsOf(v, sizes); ok {
			most = max(most, int64(e.bytes))
		}
	}
	return most
}
