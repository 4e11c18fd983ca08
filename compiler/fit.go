package compiler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
)

// A FitReport is the plan of a model on a machine: what qnc fit prints.
type FitReport struct {
	Model   string      `json:"model"`
	Layers  int         `json:"layers"`
	Ctx     int         `json:"ctx_size"`
	Batch   int         `json:"batch_size"`
	Ubatch  int         `json:"ubatch_size"`
	Seqs    int         `json:"parallel"`
	TypeK   string      `json:"cache_type_k"`
	TypeV   string      `json:"cache_type_v"`
	Fits    bool        `json:"fits"`
	Devices []DeviceFit `json:"devices"`
	Funcs   []FuncFit   `json:"funcs"`
	Changes []Change    `json:"changes"`
}

// A DeviceFit is what one device holds.
type DeviceFit struct {
	passes.DeviceUse
	Need   int64  `json:"need_bytes"` // all but mapped weights
	Free   *int64 `json:"free_bytes"` // negative: missing; null: the memory is not known
	Dense  string `json:"layers"`     // "0-11, head"
	Sparse string `json:"experts"`    // "0-3", "embedding"
}

// A FuncFit is how one function is cut, and the proof that no order has fewer parts.
type FuncFit struct {
	Func      string    `json:"func"`
	Splits    int       `json:"splits"`
	Bound     int       `json:"bound"`
	Start     ir.Device `json:"start"`
	Path      []string  `json:"path"`      // "value on device": where the device changes
	Transfers int       `json:"transfers"` // of activations
	Moved     int64     `json:"transfer_bytes"`
	From      int       `json:"from_tokens,omitempty"` // least tokens of a step, where another function takes shorter ones
	Uploads   int       `json:"uploads,omitempty"`     // of experts
	Uploaded  int64     `json:"upload_bytes,omitempty"`
	Active    bool      `json:"active_experts_only,omitempty"`
}

// A Change is a flag and what it does to the memory of a device.
type Change struct {
	Flag   string    `json:"flag"`
	Device ir.Device `json:"device"`
	Frees  int64     `json:"frees_bytes"`    // negative: takes
	Splits int       `json:"splits"`         // more or, negative, fewer
	Fits   bool      `json:"fits"`           // the device then holds everything
	Note   string    `json:"note,omitempty"` // why it cannot be had as things are
}

// Fit plans the model at path as Compile would, from its header alone, and
// reports what each device must hold and what would change that. What does not
// fit is reported as well, with an error of code fault.Fit.
func Fit(ctx context.Context, path string, o *Options) (*FitReport, error) {
	o.StopAfter = Plan
	if err := o.normalise(); err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j := &job{o: o, path: path, file: f, bar: newBar(o), fit: true}
	defer j.bar.end()
	for _, step := range []func(context.Context) error{j.load, j.optimise, j.place, j.plan} {
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Interrupted, "interrupted: %w", err)
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	r := j.report()
	var lacking error
	for _, d := range r.Devices {
		if d.Free != nil && *d.Free < 0 && lacking == nil {
			lacking = (&passes.FitError{DeviceUse: d.DeviceUse}).Lacks()
		}
	}
	if r.Fits = lacking == nil; r.Fits {
		return r, nil
	}
	if err := j.automatic(ctx, r); err != nil {
		return r, err
	}
	cure := "use a smaller model or quantisation"
	if i := slices.IndexFunc(r.Changes, func(c Change) bool { return c.Fits }); i >= 0 {
		cure = "it fits with " + r.Changes[i].Flag
	}
	return r, fault.New(fault.Fit, "%s: %w: %s", path, lacking, cure)
}

// automatic adds what the plan does without -ngl and -ts, if they were given.
func (j *job) automatic(ctx context.Context, r *FitReport) error {
	p := &j.o.Placement
	if p.auto() && p.Split == "" {
		return nil
	}
	o := *j.o
	o.Placement.Layers, o.Placement.Split = "", ""
	auto, err := Fit(ctx, j.path, &o)
	if auto == nil {
		return err
	}
	flag := "-ngl auto"
	if p.Split != "" {
		flag += ", no -ts"
	}
	for i, d := range r.Devices {
		if d.Free != nil && *d.Free < 0 {
			r.Changes = append(r.Changes, Change{Flag: flag, Device: d.Device, Frees: d.Need - auto.Devices[i].Need,
				Splits: auto.Funcs[0].Splits - r.Funcs[0].Splits, Fits: auto.Fits})
		}
	}
	return nil
}

// report describes the planned module.
func (j *job) report() *FitReport {
	r := &FitReport{Model: j.info.Name, Layers: j.info.NumLayers, Ctx: j.o.Ctx, Batch: j.o.Batch, Ubatch: j.info.NumUbatch, Seqs: j.o.Seqs,
		TypeK: j.o.TypeK, TypeV: j.o.TypeV}
	layouts, n := passes.Layouts(j.m)
	for i, u := range passes.Use(j.m) {
		d := DeviceFit{DeviceUse: u, Need: u.Need(), Dense: layerRanges(layouts[i].Dense, n), Sparse: layerRanges(layouts[i].Sparse, n)}
		if u.Have > 0 {
			free := u.Free()
			d.Free = &free
		}
		r.Devices = append(r.Devices, d)
	}
	for i, s := range passes.Measure(j.m).Funcs {
		f := j.m.Funcs[i]
		c := passes.Certify(f)
		x := FuncFit{Func: s.Func, Splits: s.Splits, Bound: s.MinSplits, Start: c.Start, From: f.From, Path: []string{}}
		for _, v := range c.Path {
			name := v.Name
			if v.Op == ir.OpTransfer {
				name = v.Args[0].Name
			}
			x.Path = append(x.Path, name+" on "+string(v.On))
		}
		for _, v := range f.Body {
			switch n := int64(v.Type.Bytes(j.m.MaxSizes())); {
			case v.Op != ir.OpTransfer:
			case v.Args[0].Op == ir.OpWeight:
				x.Uploads++
				x.Uploaded += n
				x.Active = x.Active || v.Attr.Get("copy") == "active"
			default:
				x.Transfers++
				x.Moved += n
			}
		}
		r.Funcs = append(r.Funcs, x)
	}
	r.Changes = (&changes{j: j, uses: passes.Use(j.m), layouts: layouts, blocks: n}).all()
	return r
}

// layerRanges writes the layers of a set, "embedding, 0-11, head"; n is the number of blocks.
func layerRanges(set map[int]int64, n int) string {
	var out []string
	if set[-1] > 0 {
		out = append(out, "embedding")
	}
	for i := 0; i < n; i++ {
		if set[i] == 0 {
			continue
		}
		end := i
		for end+1 < n && set[end+1] > 0 {
			end++
		}
		if end > i {
			out = append(out, fmt.Sprintf("%d-%d", i, end))
		} else {
			out = append(out, fmt.Sprint(i))
		}
		i = end
	}
	if set[n] > 0 {
		out = append(out, "head")
	}
	return strings.Join(out, ", ")
}

// changes finds what would change a plan.
type changes struct {
	j       *job
	uses    []passes.DeviceUse
	layouts []passes.Layout
	blocks  int
	list    []Change
}

func (c *changes) all() []Change {
	for i := range c.uses {
		if u := &c.uses[i]; u.Have > 0 {
			c.context(u)
			c.cacheType(u)
			c.sequences(u)
			c.experts(u, &c.layouts[i])
		}
	}
	c.ubatch()
	c.embedding()
	if n, bytes, gpu, ok := passes.UploadsFrom(c.j.m); ok && !c.j.o.Placement.Uploads {
		c.list = append(c.list, Change{Flag: "--op-offload", Device: gpu, Frees: -bytes, Note: fmt.Sprintf("at most; faster prompts from %d tokens a step on", n)})
	}
	// What makes it fit comes first.
	slices.SortStableFunc(c.list, func(a, b Change) int {
		switch {
		case a.Fits == b.Fits:
			return 0
		case a.Fits:
			return -1
		}
		return 1
	})
	return c.list
}

// add notes that a flag frees n bytes of u.
func (c *changes) add(u *passes.DeviceUse, flag string, n int64, splits int, note string) {
	fits := u.Free() < 0 && u.Free()+n >= 0
	c.list = append(c.list, Change{flag, u.Device, n, splits, fits, note})
}

// cells of one sequence that a default or a suggestion is a multiple of.
func roundCells(n int64) int64 { return n / ctxStep * ctxStep }

// cell is what a cell of one sequence takes of u.
func (c *changes) cell(u *passes.DeviceUse) int64 { return u.KV / int64(c.j.info.NumCtx) }

// mostCells is the largest context that the devices hold.
func (c *changes) mostCells() int64 {
	most := c.trained()
	for i := range c.uses {
		u := &c.uses[i]
		if cell := c.cell(u); cell > 0 && u.Have > 0 {
			most = min(most, roundCells((u.KV+u.Free())/cell))
		}
	}
	return most
}

// context: the most that fits, or half.
func (c *changes) context(u *passes.DeviceUse) {
	cell, cells, most := c.cell(u), int64(c.j.info.NumCtx), c.mostCells()
	if cell == 0 {
		return
	}
	change := func(to int64, note string) {
		c.add(u, fmt.Sprintf("-c %d", to*int64(c.j.o.Seqs)), (cells-to)*cell, 0, note)
	}
	if most >= ctxStep && most < cells {
		change(most, "")
		return
	}
	if most > cells {
		change(most, "the most that this placement holds")
	}
	if half := roundCells(cells / 2); half >= ctxStep {
		change(half, "")
	}
}

// trained is the model's own context.
func (c *changes) trained() int64 {
	n, ok, err := c.j.file.Uint(c.j.info.Arch + ".context_length")
	if !ok || err != nil {
		return maxSize
	}
	return int64(min(n, maxSize))
}

func (c *changes) cacheType(u *passes.DeviceUse) {
	sizes := c.j.m.MaxSizes()
	n := int64(0)
	for s := range passes.Caches(c.j.m) {
		if t := s.Type.Clone(); s.On == u.Device {
			t.DType = ir.Q8_0
			n += int64(s.Type.Bytes(sizes)) - int64(t.Bytes(sizes))
		}
	}
	if n > 0 && !c.j.o.Precise {
		c.add(u, "-ctk q8_0 -ctv q8_0", n, 0, "")
	}
}

func (c *changes) sequences(u *passes.DeviceUse) {
	if s := int64(c.j.o.Seqs); s > 1 && u.Recurrent > 0 {
		c.add(u, "-np 1", u.Recurrent/s*(s-1), 0, "")
	}
}

// experts: how many blocks' must go for the device to fit, or could come.
func (c *changes) experts(u *passes.DeviceUse, l *passes.Layout) {
	if u.Mapped() {
		return
	}
	host := slices.IndexFunc(c.layouts, func(l passes.Layout) bool { return l.Device == "cpu" })
	if u.Free() < 0 {
		freed, splits := int64(0), 0
		for b := range c.blocks {
			if l.Sparse[b] == 0 {
				continue
			}
			freed += l.Sparse[b]
			splits += 2
			if u.Free()+freed >= 0 {
				c.add(u, fmt.Sprintf("-ncmoe %d", b+1), freed, splits, "")
				return
			}
		}
		if freed > 0 {
			c.add(u, "-cmoe", freed, splits, "")
		}
		return
	}
	if host < 0 {
		return
	}
	for b := range c.blocks {
		n := c.layouts[host].Sparse[b]
		if l.Dense[b] == 0 || n == 0 {
			continue
		}
		note := "fits"
		if n > u.Free() {
			note = fmt.Sprintf("%s more than is free", size(uint64(n-u.Free())))
		}
		c.add(u, fmt.Sprintf("experts of layer %d here", b), -n, -2, note)
		return
	}
}

// ubatch: half of it, or as many halvings as it takes.
func (c *changes) ubatch() {
	sizes := c.j.m.MaxSizes()
	lacking := slices.ContainsFunc(c.uses, func(u passes.DeviceUse) bool { return u.Free() < 0 })
	for ub := sizes["T"] / 2; ub >= 32; ub /= 2 {
		sizes["R"] = min(sizes["R"], ub)
		sizes["T"] = ub
		arena, err := passes.ArenaWith(c.j.m, sizes)
		if err != nil {
			return
		}
		enough := true
		var list []Change
		for i := range c.uses {
			u := &c.uses[i]
			n := u.Arena - arena[u.Device]
			enough = enough && u.Free()+n >= 0
			if n > 0 {
				list = append(list, Change{fmt.Sprintf("-ub %d", ub), u.Device, n, 0, u.Free() < 0 && u.Free()+n >= 0, ""})
			}
		}
		if enough || !lacking || ub/2 < 32 {
			c.list = append(c.list, list...)
			return
		}
	}
}

// embedding: what it costs where it is, or would cost on a GPU.
func (c *changes) embedding() {
	layer, _ := passes.Blocks(c.j.m)
	for _, w := range c.j.m.Weights {
		if layer[w] != -1 {
			continue
		}
		n := int64(w.Type.Bytes(c.j.m.MaxSizes()))
		rule := "-ot ^" + strings.ReplaceAll(source(w), ".", `\.`) + "="
		for i := range c.uses {
			u := &c.uses[i]
			switch on := w.On == u.Device; {
			case u.Mapped() || c.layouts[i].Dense[0] == 0:
			case on:
				c.add(u, rule+"CPU", n, 1, "")
			case w.On == "cpu" && n > u.Free():
				c.add(u, rule+cudaName(u.Device), -n, -1, fmt.Sprintf("%s more than is free", size(uint64(n-u.Free()))))
			case w.On == "cpu":
				c.add(u, rule+cudaName(u.Device), -n, -1, "fits")
			}
		}
	}
}

// cudaName is llama.cpp's name of a GPU.
func cudaName(d ir.Device) string {
	if x := gpuName.FindStringSubmatch(string(d)); x != nil {
		return "CUDA" + x[1]
	}
	return string(d)
}

// errFit adds where to look to a model that does not fit.
func errFit(path string, err error) error {
	var fit *passes.FitError
	if !errors.As(err, &fit) {
		return err
	}
	return fault.New(fault.Fit, "%s: %w; qnc fit says by how much", path, fit)
}
