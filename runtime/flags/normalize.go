package flags

import "qnc/runtime/fault"

// Normalize rewrites the arguments of a qnc command so that a POSIX parser
// understands them: -ngl 99 becomes --n-gpu-layers=99, in the order given, in front
// those that only an environment variable gives. Everything else is left as it is.
func Normalize(cmd Command, args []string, env func(string) (string, bool)) ([]string, error) {
	s, err := Parse(cmd, args, env)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, g := range s.list {
		if f, _ := lookup(cmd, g.name); f.Fate < Silent {
			out = append(out, "--"+g.name+"="+g.val)
		}
	}
	if len(s.Args) > 0 {
		out = append(append(out, "--"), s.Args...)
	}
	return out, nil
}

// SplitRun takes apart the arguments of "qnc run [flags] MODEL.gguf [arguments
// of the binary]": sizes and placement belong to the compile wherever they stand,
// everything else after the model belongs to the binary.
func SplitRun(args []string) (compile []string, model string, rest []string, err error) {
	for len(args) > 0 {
		n := 1
		f, _, w, err := next(Run, args)
		switch {
		case err != nil && model == "":
			return nil, "", nil, err
		case err != nil: // the binary's own flag, or none at all: it will tell
			rest = append(rest, args[0])
		case f == nil && model == "" && args[0] != "--":
			model = args[0]
		case f == nil:
			rest = append(rest, args[0])
		case model == "" || f.Fate == Fixed:
			n = w
			compile = append(compile, args[:n]...)
		default:
			n = w
			rest = append(rest, args[:n]...)
		}
		args = args[n:]
	}
	if model == "" {
		return nil, "", nil, fault.New(fault.Usage, "no model given: qnc run MODEL.gguf [arguments]")
	}
	return compile, model, rest, nil
}

// Rows yields the rows of cmd that help shows, in table order: what another
// flag package needs to know them.
func Rows(cmd Command) []Flag {
	var rows []Flag
	for _, f := range table {
		if f.In&cmd != 0 && f.Fate < Silent {
			rows = append(rows, f)
		}
	}
	return rows
}
