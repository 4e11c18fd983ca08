package main

import (
	"github.com/spf13/cobra"

	"qnc/compiler"
)

func newFit() *cobra.Command {
	var o compiler.Options
	var p placement
	var asJSON, all bool
	c := &cobra.Command{
		Use:   "fit MODEL.gguf [flags]",
		Short: "show what each device must hold, and what would change it",
		Long: "fit plans MODEL.gguf as compile does, from its header alone: the memory of each device, what\n" +
			"lies where, how the steps are cut and why not into fewer parts, and what frees how much. The\n" +
			"exit code is 4 when it does not fit.",
		Args:              operand("model"),
		ValidArgsFunction: files("gguf"),
	}
	vars := variables(&o, &p)
	vars["json"], vars["verbose"] = &asJSON, &all
	bind(c, vars)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := settle(c, &o, p); err != nil {
			return err
		}
		r, err := compiler.Fit(c.Context(), args[0], &o)
		if r == nil {
			return err
		}
		show := func() error { return r.Text(c.OutOrStdout(), all) }
		if asJSON {
			show = func() error { return printJSON(c.OutOrStdout(), r) }
		}
		if werr := show(); werr != nil {
			return werr
		}
		return err
	}
	return c
}
