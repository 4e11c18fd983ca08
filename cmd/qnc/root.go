package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"qnc/compiler"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

// rows says which rows of the flag table a subcommand takes; one that is not
// listed takes none.
var rows = map[string]flags.Command{
	"compile": flags.Compile,
	"run":     flags.Run,
	"fit":     flags.Fit,
	"inspect": flags.Inspect,
	"opt":     flags.Opt,
	"ops":     flags.Ops,
	"passes":  flags.Passes,
	"doctor":  flags.Doctor,
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "qnc",
		Short:         "qnc compiles a language model into a standalone program",
		Version:       compiler.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("qnc {{.Version}}\n")
	root.AddCommand(newCompile(), newRun(), newFit(), newInspect(), newOpt(), newOps(), newPasses(), newDoctor(), newCompletion(), newVersion())
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
		c.SetHelpFunc(func(c *cobra.Command, _ []string) { help(c.OutOrStdout(), c) })
	}
	return root
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, in io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	root := newRoot()
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(stderr)
	args, err := normalise(root, args)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if ferr := out.Flush(); ferr != nil && err == nil {
		err = fmt.Errorf("stdout: %w", ferr)
	}
	code := fault.CodeOf(err)
	if err != nil && code != fault.Interrupted {
		for line := range strings.Lines(err.Error()) { // a verifier reports several faults
			fmt.Fprintf(stderr, "qnc: %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return int(code)
}

// normalise turns flags as people write them (-ngl 99, --ctx_size 4096, -passes=cse)
// and their environment variables into what cobra reads.
func normalise(root *cobra.Command, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	name, rest := args[0], args[1:]
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	switch name {
	case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return longNames(args), nil
	case "-h", "-help", "--help":
		return []string{"help"}, nil
	case "-v", "-version", "--version":
		return []string{"version"}, nil
	case "help":
		if len(rest) > 0 && !slices.Contains(names, rest[0]) {
			return nil, unknown("command", rest[0], names)
		}
		return args, nil
	}
	if !slices.Contains(names, name) {
		return nil, unknown("command", name, append(names, "help"))
	}
	if asksHelp(name, rest) {
		return []string{"help", name}, nil
	}
	if name == "run" { // what follows the model is the program's
		compile, model, program, err := flags.SplitRun(rest)
		if err != nil {
			return nil, err
		}
		norm, err := flags.Normalize(flags.Run, compile, nil)
		return slices.Concat([]string{name}, norm, []string{"--", model}, program), err
	}
	norm, err := flags.Normalize(rows[name], rest, nil)
	return append([]string{name}, norm...), err
}

// longNames spells the flags of an unfinished command line so that cobra can complete it.
func longNames(args []string) []string {
	out := slices.Clone(args)
	for i := 2; i < len(args)-1; i++ {
		name, val, eq := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		for _, row := range flags.Rows(rows[args[1]]) {
			if strings.HasPrefix(args[i], "-") && (row.Name == name || slices.Contains(row.Alt, name)) {
				out[i] = "--" + row.Name
				if eq {
					out[i] += "=" + val
				}
			}
		}
	}
	return out
}

// asksHelp looks for -h among the flags of qnc itself.
func asksHelp(name string, args []string) bool {
	for _, a := range args {
		switch {
		case a == "-h" || a == "-help" || a == "--help":
			return true
		case a == "--" || name == "run" && strings.HasSuffix(a, ".gguf"):
			return false
		}
	}
	return false
}

func unknown(what, name string, known []string) error {
	if near := flags.Nearest(name, known); near != "" {
		return fault.New(fault.Usage, "unknown %s %s: did you mean %s?", what, name, near)
	}
	return fault.New(fault.Usage, "unknown %s %s: want %s", what, name, fault.Either(known...))
}

// bind declares the table's rows of a subcommand with the variables that take their values.
func bind(c *cobra.Command, vars map[string]any) {
	fs := c.Flags()
	fs.SortFlags = false
	for _, row := range flags.Rows(rows[c.Name()]) {
		letter := ""
		for _, a := range row.Alt {
			if len(a) == 1 {
				letter = a
			}
		}
		switch p := vars[row.Name].(type) {
		case *bool:
			fs.BoolVarP(p, row.Name, letter, false, row.Help)
		case *int:
			var def int
			fmt.Sscan(row.Default, &def)
			fs.IntVarP(p, row.Name, letter, def, row.Help)
		case *string:
			fs.StringVarP(p, row.Name, letter, row.Default, row.Help)
		case *[]string:
			fs.StringArrayVarP(p, row.Name, letter, nil, row.Help)
		case pflag.Value:
			fs.VarP(p, row.Name, letter, row.Help)
		default:
			panic(fmt.Sprintf("BUG: flag %s of qnc %s has no variable", row.Name, c.Name()))
		}
	}
}

// help prints what a subcommand does and takes, flags spelled as people write them.
func help(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nusage: %s\n", cmp.Or(c.Long, c.Short), c.UseLine())
	list := flags.Rows(rows[c.Name()])
	if len(list) > 0 {
		fmt.Fprint(w, "\nflags:\n")
	}
	for _, f := range list {
		text := f.Help
		if f.Kind != flags.Bool && f.Default != "" && f.Default != "-1" && f.Default != "0" {
			text += " (default " + f.Default + ")"
		}
		line := f.Spelling()
		if len(line) > 32 {
			line += "\n  " + strings.Repeat(" ", 32)
		}
		fmt.Fprintf(w, "  %-32s %s\n", line, text)
	}
}

// operand wants exactly one argument.
func operand(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fault.New(fault.Usage, "%s: no %s given: %s", c.Name(), what, c.UseLine())
		case 1:
			return nil
		}
		return fault.New(fault.Usage, "%s: %q is one too many: %s", c.Name(), args[1], c.UseLine())
	}
}

// noOperand wants none.
func noOperand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.New(fault.Usage, "%s: %q is one too many: %s", c.Name(), args[0], c.UseLine())
	}
	return nil
}

// files completes the names of files with an extension.
func files(ext string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{ext}, cobra.ShellCompDirectiveFilterFileExt
	}
}
