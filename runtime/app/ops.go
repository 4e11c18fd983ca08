package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"qnc/runtime/cost"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// An opsReport is what bench --ops found in one phase of a test; text and JSON share it.
type opsReport struct {
	Test    string       `json:"test"`
	Phase   string       `json:"phase"` // prompt or decode
	Threads int          `json:"threads"`
	Steps   int          `json:"steps"`
	Tokens  int          `json:"tokens"`
	Seconds float64      `json:"seconds"` // of the steps
	Rate    float64      `json:"tokens_per_second"`
	Machine engine.Peaks `json:"machine"`
	Total   opsRow       `json:"total"` // with the time before the first kernels as wait
	Ops     []opsRow     `json:"ops"`
	Classes []opsRow     `json:"classes"`
	Lines   []opsRow     `json:"lines"`
}

// An opsRow sums calls. Times are means over the threads.
type opsRow struct {
	Name   string `json:"name"`
	Op     string `json:"op,omitempty"`     // of a line
	Kernel string `json:"kernel,omitempty"` // of a line
	Class  string `json:"class,omitempty"`  // of a line

	Calls   int       `json:"calls"`
	Seconds float64   `json:"seconds"`      // inside the kernels
	Best    float64   `json:"best_seconds"` // if every step were as fast as its fastest
	Wait    float64   `json:"wait_seconds"`
	Share   float64   `json:"share"`            // of the steps' time, waits apart
	Read    float64   `json:"bytes_per_second"` // weights, state and KV cache
	MACs    float64   `json:"macs_per_second"`  // of both kinds
	Roof    float64   `json:"roofline"`         // the least time over the time
	Work    cost.Work `json:"work"`
	least   float64
}

// benchOps takes the time of each kernel.
func (a *app) benchOps(tests []*test) error {
	form := a.set.String("output")
	if form == "csv" {
		return fault.New(fault.Usage, "--ops has no csv: -o md, json or jsonl")
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	b := newBencher(a)
	var all []*opsReport
	for i, t := range tests {
		a.r.SetThreads(a.workers(t.threads), a.workers(t.threads))
		before := a.r.Peak()
		t.trace = &engine.Trace{}
		if err := b.measure(a.ctx, t, fmt.Sprintf("benchmark %d/%d", i+1, len(tests))); err != nil {
			return err
		}
		peak := before.Max(a.r.Peak())
		for _, x := range []struct {
			name string
			p    *engine.Phase
		}{{"prompt", &t.trace.Prompt}, {"decode", &t.trace.Decode}} {
			if len(x.p.Sizes) == 0 {
				continue
			}
			r := report(x.p, peak)
			r.Test, r.Phase, r.Threads = t.name(), x.name, t.threads
			switch form {
			case "md":
				a.printOps(r)
			case "jsonl":
				if err := json.NewEncoder(a.out).Encode(r); err != nil {
					return fault.New(fault.Failure, "bench: %w", err)
				}
			}
			all = append(all, r)
		}
	}
	if form != "json" {
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		return fault.New(fault.Failure, "bench: %w", err)
	}
	return nil
}

// report sums a phase by op, by class of layer and by line.
func report(p *engine.Phase, m engine.Peaks) *opsReport {
	r := &opsReport{Steps: len(p.Sizes), Seconds: p.Wall.Seconds(), Machine: m}
	for _, s := range p.Sizes {
		r.Tokens += s.Tokens
	}
	r.Rate = float64(r.Tokens) / max(r.Seconds, 1e-9)
	peak := m.Best()
	ops, classes := map[string]*opsRow{}, map[string]*opsRow{}
	group := func(in map[string]*opsRow, name string) *opsRow {
		if in[name] == nil {
			in[name] = &opsRow{Name: name}
		}
		return in[name]
	}
	r.Total.Name = "total"
	r.Total.Wait = p.Start.Seconds()
	for i, l := range p.Lines {
		var least float64
		for _, s := range p.Sizes {
			least += peak.Seconds(l.At(s))
		}
		line := opsRow{Name: l.Value, Op: l.Op, Kernel: l.Kernel, Class: l.Class}
		for _, row := range []*opsRow{&line, group(ops, kindOf(l)), group(classes, l.Class), &r.Total} {
			row.add(len(p.Sizes), p.Times[i], p.Work(i), least)
		}
		r.Lines = append(r.Lines, line)
	}
	r.Ops, r.Classes = finished(ops, r.Seconds), finished(classes, r.Seconds)
	for i := range r.Lines {
		r.Lines[i].finish(r.Seconds)
	}
	r.Total.finish(r.Seconds)
	return r
}

// kindOf is the row of the table by op: products of different weights apart.
func kindOf(l cost.Line) string {
	name, _, _ := strings.Cut(l.Kernel, "_")
	if strings.Contains(l.Op, "matmul") || strings.Contains(l.Op, "gate_up") || strings.Contains(l.Op, "down") {
		return name
	}
	return l.Op
}

func (r *opsRow) add(calls int, t engine.LineTime, w cost.Work, least float64) {
	r.Calls += calls
	r.Seconds += t.Busy.Seconds()
	r.Best += t.Best.Seconds() * float64(calls)
	r.Wait += t.Wait.Seconds()
	r.Work = r.Work.Add(w)
	r.least += least
}

func (r *opsRow) finish(all float64) {
	if all > 0 {
		r.Share = r.Seconds / all
	}
	if r.Seconds > 0 {
		r.Read, r.MACs, r.Roof = r.Work.Bytes()/r.Seconds, r.Work.MACs()/r.Seconds, r.least/r.Seconds
	}
}

// finished sorts rows by their time, the longest first.
func finished(in map[string]*opsRow, all float64) []opsRow {
	var out []opsRow
	for _, r := range in {
		r.finish(all)
		out = append(out, *r)
	}
	slices.SortFunc(out, func(x, y opsRow) int {
		return cmp.Or(-cmp.Compare(x.Seconds, y.Seconds), cmp.Compare(x.Name, y.Name))
	})
	return out
}

// printOps prints a report as markdown.
func (a *app) printOps(r *opsReport) {
	w := a.out
	steps := float64(r.Steps)
	best := r.Machine.Best()
	fmt.Fprintf(w, "%s: %s, %d steps of %.3f ms, %.2f t/s, %d threads\n", r.Test, r.Phase, r.Steps, 1e3*r.Seconds/steps, r.Rate, r.Threads)
	fmt.Fprintf(w, "machine: %.1f GB/s read from %s of weights, %d KiB ahead;", r.Machine.Read/1e9, size(uint64(r.Machine.ReadBytes)), r.Machine.Ahead>>10)
	for _, p := range r.Machine.Products {
		unit := "f32"
		if p.Int {
			unit = "int8"
		}
		fmt.Fprintf(w, " %s %s %.1f G/s", p.Format, unit, p.Rate/1e9)
	}
	fmt.Fprintf(w, "\na step: %s of weights, %s of state, %s of KV cache, %s of activations, %.1f M int8 and %.1f M f32 multiply-adds\n",
		bytesOf(r.Total.Work.Weights/steps), bytesOf(r.Total.Work.State/steps), bytesOf(r.Total.Work.KV/steps), bytesOf(r.Total.Work.Acts/steps),
		r.Total.Work.Int/steps/1e6, r.Total.Work.Float/steps/1e6)
	if ideal := best.Seconds(r.Total.Work); ideal > 0 {
		fmt.Fprintf(w, "at the machine's best: %.3f ms a step, %.2f t/s; measured %.1f %% of that\n", 1e3*ideal/steps, float64(r.Tokens)/ideal, 100*ideal/r.Seconds)
	}
	tables := []struct {
		head string
		rows []opsRow
	}{{"op", r.Ops}, {"layer", r.Classes}}
	if a.set.Bool("verbose") {
		tables = append(tables, struct {
			head string
			rows []opsRow
		}{"kernel call", r.Lines})
	}
	for i, t := range tables {
		rows := append(slices.Clip(t.rows), r.Total)
		t.head += " (a step)"
		width := len(t.head)
		for j := range rows {
			if i == 2 && rows[j].Kernel != "" {
				rows[j].Name = rows[j].Kernel + " " + rows[j].Name
			}
			width = max(width, len(rows[j].Name))
		}
		fmt.Fprintf(w, "\n| %-*s | calls |       ms |  best ms | share | wait ms |   GB/s |    G/s | roofline |\n", width, t.head)
		fmt.Fprintf(w, "|-%s-|------:|---------:|---------:|------:|--------:|-------:|-------:|---------:|\n", strings.Repeat("-", width))
		for _, x := range rows {
			fmt.Fprintf(w, "| %-*s | %5.4g | %8.3f | %8.3f | %4.1f%% | %7.3f | %6.2f | %6.1f | %7.1f%% |\n", width, x.Name, float64(x.Calls)/steps,
				1e3*x.Seconds/steps, 1e3*x.Best/steps, 100*x.Share, 1e3*x.Wait/steps, x.Read/1e9, x.MACs/1e9, 100*x.Roof)
		}
	}
	fmt.Fprintln(w)
}

func bytesOf(x float64) string { return size(uint64(x)) }
