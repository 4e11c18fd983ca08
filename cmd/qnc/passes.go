package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"qnc/passes"
)

// A passRow is what the pipeline says of one pass.
type passRow struct {
	Name         string     `json:"name"`
	Doc          string     `json:"doc"`
	Stage        string     `json:"stage"`
	Required     bool       `json:"required"`
	Reassociates bool       `json:"reassociates"`
	Lossy        bool       `json:"lossy"`
	Bound        float64    `json:"bound,omitempty"`
	Before       []orderRow `json:"before"` // what must come later
}

type orderRow struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

func newPasses() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "passes [NAME...] [--json]",
		Short: "print the passes in their order, with the reasons for it",
		RunE: func(c *cobra.Command, args []string) error {
			list, err := pick(passRows(), args, "pass", func(r passRow) string { return r.Name })
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), list)
			}
			for _, r := range list {
				r.text(c.OutOrStdout())
			}
			return nil
		},
	}
	bind(c, map[string]any{"json": &asJSON})
	return c
}

func passRows() []passRow {
	var out []passRow
	for _, p := range passes.Pipeline {
		r := passRow{p.Name, p.Doc, p.Stage.String(), p.Required, p.Reassociates, p.Lossy, p.Bound, []orderRow{}}
		for _, o := range passes.Order {
			if o.Before == p.Name {
				r.Before = append(r.Before, orderRow{o.After, o.Why})
			}
		}
		out = append(out, r)
	}
	return out
}

func (r passRow) text(w io.Writer) {
	var notes []string
	if r.Required {
		notes = append(notes, "required")
	}
	if r.Reassociates {
		notes = append(notes, "sums in another order")
	}
	if r.Lossy {
		notes = append(notes, fmt.Sprintf("lossy: off by at most %g of the largest value", r.Bound))
	}
	note := ""
	if len(notes) > 0 {
		note = "  (" + strings.Join(notes, ", ") + ")"
	}
	fmt.Fprintf(w, "%s%s\n    %s\n", r.Name, note, r.Doc)
	for _, o := range r.Before {
		fmt.Fprintf(w, "    before %s: %s\n", o.Name, o.Why)
	}
}
