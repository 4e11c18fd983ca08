package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"qnc/ir"
)

// An opRow is what the op table says of one op.
type opRow struct {
	Name   string    `json:"name"`
	Args   []string  `json:"args"`
	Doc    string    `json:"doc"`
	Class  string    `json:"class"`
	Effect string    `json:"effect"`
	Attrs  []attrRow `json:"attrs"`
}

type attrRow struct {
	Name     string   `json:"name"`
	Optional bool     `json:"optional"`
	Words    []string `json:"words,omitempty"`
	Doc      string   `json:"doc"`
}

func newOps() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ops [NAME...] [--json]",
		Short: "print the op table's documentation",
		RunE: func(c *cobra.Command, args []string) error {
			list, err := pick(opRows(), args, "op", func(r opRow) string { return r.Name })
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

func opRows() []opRow {
	var out []opRow
	for _, op := range ir.Ops() {
		i := op.Info()
		r := opRow{i.Name, strings.Fields(i.Args), i.Doc, i.Class.String(), i.Effect.String(), []attrRow{}}
		for _, a := range i.Attrs {
			r.Attrs = append(r.Attrs, attrRow{a.Name, a.Optional, strings.Fields(a.Words), a.Doc})
		}
		out = append(out, r)
	}
	return out
}

func (r opRow) text(w io.Writer) {
	effect := ""
	if r.Effect != ir.Pure.String() {
		effect = ", " + r.Effect + " state"
	}
	fmt.Fprintf(w, "%s %s  (%s%s)\n    %s\n", r.Name, strings.Join(r.Args, " "), r.Class, effect, r.Doc)
	for _, a := range r.Attrs {
		text := a.Doc
		if len(a.Words) > 0 {
			text += ": " + strings.Join(a.Words, " or ")
		}
		if a.Optional {
			text += " (optional)"
		}
		fmt.Fprintf(w, "    {%s}  %s\n", a.Name, text)
	}
}

// pick returns the rows that are named, all when none is.
func pick[R any](all []R, names []string, what string, name func(R) string) ([]R, error) {
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, r := range all {
		known = append(known, name(r))
	}
	var out []R
	for _, n := range names {
		i := slices.Index(known, n)
		if i < 0 {
			return nil, unknown(what, n, known)
		}
		out = append(out, all[i])
	}
	return out, nil
}
