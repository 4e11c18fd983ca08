package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"qnc/compiler"
	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/fault"
)

func newOpt() *cobra.Command {
	var list, seed string
	var verify, stats bool
	c := &cobra.Command{
		Use:   "opt [--passes A,B] FILE.qir",
		Short: "run passes on a module in text form",
		Long: "opt reads a module (- is standard input), runs the passes in the order given and prints\n" +
			"the result. --stats and --eval print statistics and values instead; devices and links are\n" +
			"those of the text.",
		Args:              operand("file"),
		ValidArgsFunction: files("qir"),
	}
	bind(c, map[string]any{"passes": &list, "verify": &verify, "eval": &seed, "stats": &stats})
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := choose(list)
		if err != nil {
			return err
		}
		m, err := readModule(args[0], c.InOrStdin())
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		show := func(stage string) {
			if stats {
				fmt.Fprintf(out, "%s\n%s", stage, passes.Measure(m))
			}
		}
		show("input")
		target := &passes.Target{CanRun: compiler.CanRun, VerifyOnce: !verify}
		if err := passes.Run(m, target, chosen, func(p *passes.Pass) error { show(p.Name); return nil }); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if seed != "" {
			if err := evaluate(out, m, seed); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
		}
		if !stats && seed == "" {
			_, err = io.WriteString(out, m.String())
		}
		return err
	}
	return c
}

// choose finds the passes of a comma-separated list.
func choose(list string) ([]*passes.Pass, error) {
	var out []*passes.Pass
	if list == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		p, err := passes.ByName(name)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// readModule reads and verifies a module.
func readModule(path string, stdin io.Reader) (*ir.Module, error) {
	var src []byte
	var err error
	if path == "-" {
		src, err = io.ReadAll(stdin)
	} else {
		src, err = os.ReadFile(path)
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fault.New(fault.Model, "%s: %w: give a module that --emit or --dump wrote, or - for standard input", path, err)
	}
	m, err := ir.Parse(string(src))
	if err == nil {
		err = m.Verify()
	}
	if err != nil {
		return nil, fault.New(fault.Model, "%s: %w", path, err)
	}
	return m, nil
}
