package flags

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"qnc/runtime/fault"
)

// WriteCompletion prints the script that completes program's command line in a shell.
func WriteCompletion(w io.Writer, shell, program string) error {
	scripts := map[string]func(io.Writer, string){"bash": bash, "zsh": zsh, "fish": fish}
	script := scripts[shell]
	if script == nil {
		return fault.New(fault.Usage, "completion %s: not bash, zsh or fish", shell)
	}
	script(w, program)
	return nil
}

// spellings lists how the flags of cmd are written, short forms first.
func spellings(cmd Command) []string {
	var all []string
	for _, f := range Rows(cmd) {
		for _, n := range f.Alt {
			all = append(all, dashed(n))
		}
		all = append(all, dashed(f.Name))
		for _, n := range f.No {
			all = append(all, dashed(n))
		}
	}
	return all
}

// takesFile reports whether a value of f is the name of a file.
func (f *Flag) takesFile() bool {
	return strings.HasPrefix(f.Arg, "FILE") || strings.Contains(f.Arg, ".json")
}

func fileFlags() string {
	var names []string
	for i := range table {
		f := &table[i]
		if !f.takesFile() || f.In&binary == 0 {
			continue
		}
		for _, n := range append(slices.Clone(f.Alt), f.Name) {
			if d := dashed(n); !slices.Contains(names, d) {
				names = append(names, d)
			}
		}
	}
	return strings.Join(names, "|")
}

// ident turns a program's name into a shell identifier.
func ident(program string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, program)
}

// quoted is s as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func bash(w io.Writer, program string) {
	fn := "_" + ident(program) + "_complete"
	fmt.Fprintf(w, "# bash completion: source <(%s completion bash)\n%s() {\n", program, fn)
	fmt.Fprint(w, "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=chat w\n")
	fmt.Fprint(w, "\tfor w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase $w in\n\t\t")
	var names []string
	for _, c := range Commands {
		names = append(names, c.Name)
	}
	fmt.Fprintf(w, "%s) cmd=$w; break;;\n\t\tesac\n\tdone\n", strings.Join(names, "|"))
	fmt.Fprintf(w, "\tcase $prev in\n\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n", fileFlags())
	fmt.Fprint(w, "\tcompletion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")); return;;\n\tesac\n")
	fmt.Fprintf(w, "\tif [[ $COMP_CWORD == 1 && $cur != -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '%s' -- \"$cur\")); return\n\tfi\n", strings.Join(names, " "))
	fmt.Fprint(w, "\tcase $cmd in\n")
	for _, c := range Commands {
		fmt.Fprintf(w, "\t%s) w='%s';;\n", c.Name, strings.Join(spellings(c.Command), " "))
	}
	fmt.Fprintf(w, "\tesac\n\tCOMPREPLY=($(compgen -W \"$w\" -- \"$cur\"))\n}\ncomplete -o default -F %s %s\n", fn, quoted(program))
}

func zsh(w io.Writer, program string) {
	fn := "_" + ident(program)
	fmt.Fprintf(w, "#compdef %s\n# zsh completion: source <(%s completion zsh)\n%s() {\n\tlocal cmd=chat w\n\tlocal -a names\n", program, program, fn)
	fmt.Fprint(w, "\tfor w in ${words[2,CURRENT-1]}; do\n\t\tcase $w in\n\t\t")
	var names, described []string
	for _, c := range Commands {
		names = append(names, c.Name)
		described = append(described, quoted(c.Name+":"+c.Help))
	}
	fmt.Fprintf(w, "%s) cmd=$w; break;;\n\t\tesac\n\tdone\n", strings.Join(names, "|"))
	fmt.Fprintf(w, "\tcase ${words[CURRENT-1]} in\n\t%s) _files; return;;\n\tcompletion) compadd bash zsh fish; return;;\n\tesac\n", fileFlags())
	fmt.Fprintf(w, "\tif (( CURRENT == 2 )) && [[ ${words[CURRENT]} != -* ]]; then\n\t\tnames=(%s)\n\t\t_describe command names\n\t\treturn\n\tfi\n\tcase $cmd in\n", strings.Join(described, " "))
	for _, c := range Commands {
		fmt.Fprintf(w, "\t%s) names=(", c.Name)
		for i, f := range Rows(c.Command) {
			if i > 0 {
				fmt.Fprint(w, " ")
			}
			fmt.Fprint(w, quoted("--"+f.Name+":"+strings.ReplaceAll(f.Help, ":", `\:`)))
		}
		fmt.Fprint(w, ");;\n")
	}
	fmt.Fprintf(w, "\tesac\n\t_describe flag names\n}\ncompdef %s %s\n", fn, quoted(program))
}

func fish(w io.Writer, program string) {
	p := quoted(program)
	fmt.Fprintf(w, "# fish completion: %s completion fish | source\ncomplete -c %s -f\n", program, p)
	var names []string
	for _, c := range Commands {
		names = append(names, c.Name)
	}
	all := strings.Join(names, " ")
	for _, c := range Commands {
		fmt.Fprintf(w, "complete -c %s -n 'not __fish_seen_subcommand_from %s' -a %s -d %s\n", p, all, c.Name, quoted(c.Help))
	}
	for _, c := range Commands {
		when := "__fish_seen_subcommand_from " + c.Name
		if c.Command == Chat {
			when = "not __fish_seen_subcommand_from " + strings.Join(names[1:], " ")
		}
		for _, f := range Rows(c.Command) {
			fmt.Fprintf(w, "complete -c %s -n %s -l %s", p, quoted(when), f.Name)
			for _, a := range f.Alt {
				switch {
				case len(a) == 1:
					fmt.Fprintf(w, " -s %s", a)
				case short(a):
					fmt.Fprintf(w, " -o %s", a)
				default:
					fmt.Fprintf(w, " -l %s", a)
				}
			}
			if f.Arg != "" {
				fmt.Fprint(w, " -r")
			}
			if f.takesFile() {
				fmt.Fprint(w, " -F")
			}
			fmt.Fprintf(w, " -d %s\n", quoted(f.Help))
		}
	}
	fmt.Fprintf(w, "complete -c %s -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n", p)
}
