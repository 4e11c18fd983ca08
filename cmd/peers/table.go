package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// A row of the table takes a number from the values of a round; NaN: not measured.
type row struct {
	what  string
	of    func(values) float64
	rank  func(values) float64 // what is better for whom; nil: of
	scale float64              // from the number to the unit
	form  string               // of the number
	low   bool                 // less is better: ratios are the other's over ours
	plain bool                 // a ratio already, or memory: no comparison
}

// get returns a value's number, NaN where there is none.
func (v values) get(name string) float64 {
	if x, ok := v[name]; ok {
		return x
	}
	return math.NaN()
}

// rows lists what the options measure.
func (o *options) rows() []row {
	speed := func(what, name string) row {
		return row{what: what, of: func(v values) float64 { return v.get(name) }, scale: 1, form: "%.1f"}
	}
	share := func(what, part, whole string) row {
		return row{what: what, of: func(v values) float64 { return v.get(part) / v.get(whole) }, rank: func(v values) float64 { return v.get(part) },
			scale: 1, form: "%.2f", plain: true}
	}
	pp, tg := testName(o.prompt, 0, 0, o.prompt, o.threads), testName(0, o.gen, 0, 0, o.threads)
	rows := []row{speed(fmt.Sprintf("prompt, pp%d at ub %d, t/s", o.prompt, o.prompt), pp)}
	if o.big > 0 {
		rows = append(rows, speed(fmt.Sprintf("prompt, pp%d at ub %d, t/s", o.big, o.big), testName(o.big, 0, 0, o.big, o.threads)))
	}
	rows = append(rows, speed(fmt.Sprintf("decode, tg%d, t/s", o.gen), tg))
	for _, kv := range o.kvs {
		for _, d := range o.depths {
			name := testName(0, o.deepGen, d, 0, o.threads)
			if kv != plainKV {
				name += " " + kv
			}
			rows = append(rows, speed(fmt.Sprintf("decode, tg%d at %d, %s, t/s", o.deepGen, d, kv), name),
				share(fmt.Sprintf("… of depth 0, %d, %s", d, kv), name, tg))
		}
	}
	if o.more > 0 {
		rows = append(rows,
			share(fmt.Sprintf("pp%d with -t %d of -t %d", o.prompt, o.more, o.threads), testName(o.prompt, 0, 0, o.prompt, o.more), pp),
			share(fmt.Sprintf("tg%d with -t %d of -t %d", o.gen, o.more, o.threads), testName(0, o.gen, 0, 0, o.more), tg))
	}
	return append(rows,
		row{what: "start to the first token, s", of: func(v values) float64 { return v.get(startKey) }, scale: 1, form: "%.2f", low: true},
		row{what: "resident memory at most, GiB", of: func(v values) float64 { return v.get(memoryKey) }, scale: 1.0 / (1 << 30), form: "%.2f", low: true})
}

// series are a row's numbers of one program, a round each, without what was not measured.
func (w *row) series(all []values) []float64 {
	out := make([]float64, len(all))
	for i, v := range all {
		out[i] = w.of(v) * w.scale
	}
	return out
}

// known drops what was not measured.
func known(xs []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(xs), math.IsNaN)
}

// median of no numbers is NaN.
func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(known(xs)))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// better reports whether a program with the values a is better in a row than with b;
// what was not measured is worst. A share is no merit: its part must be the greater one.
func (w *row) better(a, b []values) bool {
	q := *w
	if w.rank != nil {
		q.of = w.rank
	}
	x, y := median(q.series(a)), median(q.series(b))
	switch {
	case math.IsNaN(x):
		return false
	case math.IsNaN(y):
		return true
	case w.low:
		return x < y
	}
	return x > y
}

// cell shows a median, and the least and the most of several rounds.
func (w *row) cell(xs []float64) string {
	xs = known(xs)
	if len(xs) == 0 {
		return "–"
	}
	s := fmt.Sprintf(w.form, median(xs))
	if len(xs) > 1 {
		s += fmt.Sprintf(" ("+w.form+" to "+w.form+")", slices.Min(xs), slices.Max(xs))
	}
	return s
}

// write prints the table and what it was made with.
func (r *race) write(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: medians of %d rounds in which the programs took turns (least to most); ratios are of the same round,\nabove 1 qnc is better. %d threads on %s.\n\n",
		filepath.Base(r.o.model), len(r.values[ours]), r.o.threads, machine())
	head := []string{"what", ours}
	if r.o.llama != "" {
		head = append(head, llama, "ratio")
	}
	if r.o.ik != "" {
		head = append(head, ik, "with", "ratio")
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, w := range r.o.rows() {
		mine := w.series(r.values[ours])
		cells := []string{w.what, w.cell(mine)}
		if r.o.llama != "" {
			theirs := w.series(r.values[llama])
			cells = append(cells, w.cell(theirs), w.ratio(mine, theirs))
		}
		if r.o.ik != "" {
			theirs, with := w.series(r.values[ik]), "-fa 1 -fmoe 1"
			if w.better(r.values[ikRepack], r.values[ik]) {
				theirs, with = w.series(r.values[ikRepack]), with+" -rtr 1"
			}
			if len(known(theirs)) == 0 {
				with = "–"
			}
			cells = append(cells, w.cell(theirs), with, w.ratio(mine, theirs))
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "Packing: %.2f GB in %.1f s, %.2f GB/s, beside the build of the program; the whole compile %.1f s.\n",
		r.packBytes/1e9, r.packSecond, r.packBytes/1e9/max(r.packSecond, 1e-9), r.compileSeconds)
	fmt.Fprintf(&b, "Planned memory: weights %.1f MiB, arena %.1f, recurrent state %.1f, KV cache %.1f.\n",
		r.plan.Weights/(1<<20), r.plan.Arena/(1<<20), r.plan.Recurrent/(1<<20), r.plan.KV/(1<<20))
	if r.o.ik != "" {
		start := row{of: func(v values) float64 { return v.get(startKey) }, scale: 1, form: "%.2f"}
		fmt.Fprintf(&b, "Start of ik_llama.cpp without repacking %s s, with it (-rtr 1) %s s.\n",
			start.cell(start.series(r.values[ik])), start.cell(start.series(r.values[ikRepack])))
	}
	b.WriteString("\n")
	for _, c := range r.commands {
		fmt.Fprintf(&b, "    %s\n", c)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// ratio shows how much better mine are than theirs.
func (w *row) ratio(mine, theirs []float64) string {
	if w.plain {
		return ""
	}
	q := *w
	q.form = "%.2f"
	if w.low {
		mine, theirs = theirs, mine
	}
	return q.cell(ratios(mine, theirs))
}
