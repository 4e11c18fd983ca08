package flags

import (
	"fmt"
	"io"
	"strings"
)

// Usage prints what program's command cmd takes.
func Usage(w io.Writer, program string, cmd Command) {
	c := info(cmd)
	fmt.Fprintf(w, "%s\n\nusage: %s\n", c.Help, strings.TrimSpace(program+" "+c.Name+" [flags] "+c.Args))
	if cmd == Chat {
		fmt.Fprintf(w, "\ncommands (%s COMMAND --help says more):\n", program)
		for _, c := range Commands {
			fmt.Fprintf(w, "  %-16s %s\n", c.Name, c.Help)
		}
	}
	section(w, "flags", cmd, Used)
	section(w, "decided when this was compiled; the same value, and a smaller -c, -b or -ub, is taken", cmd, Fixed)
}

func section(w io.Writer, title string, cmd Command, fate Fate) {
	for _, f := range table {
		if f.In&cmd == 0 || f.Fate != fate {
			continue
		}
		if title != "" {
			fmt.Fprintf(w, "\n%s:\n", title)
			title = ""
		}
		line := f.Spelling()
		help := f.Help
		if fate == Used && f.Kind != Bool && f.Default != "" && f.Default != "-1" {
			help += " (default " + f.Default + ")"
		}
		if len(line) > 32 {
			fmt.Fprintf(w, "  %s\n  %-32s %s\n", line, "", help)
		} else {
			fmt.Fprintf(w, "  %-32s %s\n", line, help)
		}
	}
}

// Spelling lists the names of f as help shows them: "-t, --threads N".
func (f *Flag) Spelling() string {
	var names []string
	for _, n := range f.Alt {
		names = append(names, dashed(n))
	}
	names = append(names, dashed(f.Name))
	for _, n := range f.No {
		names = append(names, dashed(n))
	}
	s := strings.Join(names, ", ")
	if f.Arg != "" {
		s += " " + f.Arg
	}
	return s
}
