package compiler

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// shownPath is how many device changes of a certificate are printed at each end.
const shownPath = 2

// Text prints the report; all prints certificates in full.
func (r *FitReport) Text(out io.Writer, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d layers, -c %d -b %d -ub %d -np %d -ctk %s -ctv %s\n\n", r.Model, r.Layers, r.Ctx, r.Batch, r.Ubatch, r.Seqs, r.TypeK, r.TypeV)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") }
	row("MiB", "weights", "KV", "recurrent", "arena", "staging", "context", "needs", "has", "free")
	for _, d := range r.Devices {
		weights, have, free := mebi(d.Weights), "?", "?"
		if d.Mapped() && d.Weights > 0 {
			weights = "(" + weights + ")"
		}
		if d.Free != nil {
			have, free = mebi(d.Have), mebi(*d.Free)
		}
		row(string(d.Device), weights, mebi(d.KV), mebi(d.Recurrent), mebi(d.Arena), mebi(d.Staging), mebi(d.Reserve), mebi(d.Need), have, free)
	}
	w.Flush()
	fmt.Fprintln(&b, "weights in parentheses stay in their file, mapped: they need no memory of their own")
	fmt.Fprintln(&b)
	for _, d := range r.Devices {
		what := "nothing"
		switch {
		case d.Dense != "" && d.Sparse != "":
			what = fmt.Sprintf("layers %s; by rows and experts: %s", d.Dense, d.Sparse)
		case d.Dense != "":
			what = "layers " + d.Dense
		case d.Sparse != "":
			what = "by rows and experts: " + d.Sparse
		}
		fmt.Fprintf(&b, "%-8s %s\n", d.Device, what)
	}
	fmt.Fprintln(&b)
	for _, f := range r.Funcs {
		f.text(&b, all)
	}
	if len(r.Changes) > 0 {
		fmt.Fprintln(&b, "\nwhat changes it (MiB; negative: takes)")
		w = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, c := range r.Changes {
			note := c.Note
			if c.Fits {
				note = "then it fits"
			}
			splits := ""
			if c.Splits != 0 {
				splits = fmt.Sprintf("%+d splits", c.Splits)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Flag, c.Device, mebi(c.Frees), splits, note)
		}
		w.Flush()
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(out, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// text prints how the function is cut, and the path that proves it.
func (f *FuncFit) text(b *strings.Builder, all bool) {
	name := f.Func
	if f.From > 0 {
		name += fmt.Sprintf(", steps of %d tokens and more", f.From)
	}
	fmt.Fprintf(b, "%s: %s", name, plural(f.Splits, "split"))
	if f.Uploads > 0 {
		what := "whole"
		if f.Active {
			what = "of them the active experts"
		}
		fmt.Fprintf(b, ", %s of %s MiB, %s", plural(f.Uploads, "upload"), mebi(f.Uploaded), what)
	}
	if f.Transfers > 0 {
		fmt.Fprintf(b, ", %s of %s MiB", plural(f.Transfers, "transfer"), mebi(f.Moved))
	}
	switch {
	case len(f.Path) == 0:
		fmt.Fprintln(b)
		return
	case f.Bound == f.Splits:
		fmt.Fprint(b, "; no order has fewer: ")
	default:
		fmt.Fprintf(b, "; %d above the bound %d: ", f.Splits-f.Bound, f.Bound)
	}
	path := f.Path
	if !all && len(path) > 2*shownPath+1 {
		path = append(append(path[:shownPath:shownPath], fmt.Sprintf("%d more", len(path)-2*shownPath)), path[len(path)-shownPath:]...)
	}
	fmt.Fprintf(b, "from %s the device changes %s on the way to %s\n", f.Start, plural(len(f.Path), "time"), strings.Join(path, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// mebi is n in MiB.
func mebi(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", float64(n)/(1<<20))
}
