package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"qnc/runtime/gguf"
)

func newInspect() *cobra.Command {
	var opt gguf.InspectOptions
	var asJSON bool
	c := &cobra.Command{
		Use:               "inspect MODEL.gguf [--tensors] [--json]",
		Short:             "show what is in a GGUF file",
		Long:              "inspect prints the metadata, the types and, with --tensors, the tensors of a GGUF file,\nand checks its tokenizer. It reads no weights.",
		Args:              operand("model"),
		ValidArgsFunction: files("gguf"),
	}
	bind(c, map[string]any{"tensors": &opt.Tensors, "json": &asJSON})
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := gguf.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		var r *gguf.Report
		if err := gguf.Guard(func() error { r, err = gguf.Inspect(f, opt); return err }); err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), r)
		}
		return r.Text(c.OutOrStdout())
	}
	return c
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
