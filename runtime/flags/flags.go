// Package flags is the one table of command-line flags: those of qnc and those
// of every program that it emits. Letters, meanings and environment variables
// are llama.cpp's; old names stay in the table for ever.
//
// A flag may be written with one dash or two, "_" and "-" are the same in a
// long name, and a value follows as the next argument or after "=".
package flags

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"qnc/runtime/fault"
)

// A Kind says what a flag's value looks like.
type Kind uint8

const (
	Bool   Kind = iota // no value; a row with No has a negated name too
	Int                // Min..Max, or one of Words
	Float              // Min..Max
	String             // anything; one of Words where there are some
	Many               // String, may be repeated
	Ints               // 1,2,8-32*2: llama-bench's lists; may be repeated
	Pairs              // P,N; may be repeated
	Maybe              // the next argument is the value only when it is made of Words
)

// A Fate says what becomes of a flag in an emitted program.
type Fate uint8

const (
	Used   Fate = iota
	Fixed       // decided at compile time: only the same value is taken
	Silent      // makes no difference here
	Off         // samples in a way that is not here: only the value that turns it off is taken
)

// A Flag is one row of the table.
type Flag struct {
	Name    string   // long name, the key of the getters
	Alt     []string // letters and other names
	No      []string // names that mean "not"
	Env     string   // LLAMA_ARG_ + this; derived from Name when empty, none when "-"
	Kind    Kind
	Arg     string // what help calls the value
	Default string
	Min     float64
	Max     float64 // no bounds when Min == Max
	Words   []string
	Fate    Fate
	In      Command
	Help    string
}

// Var returns the name of the environment variable that gives the flag its
// value, "" when there is none.
func (f *Flag) Var() string {
	if f.Env == "-" {
		return ""
	}
	if f.Env != "" {
		return "LLAMA_ARG_" + f.Env
	}
	return "LLAMA_ARG_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// names yields every spelling of f, the long name first.
func (f *Flag) names() []string {
	return slices.Concat([]string{f.Name}, f.Alt, f.No)
}

// short reports whether a name is written with one dash: -t, -ngl, but --temp.
func short(name string) bool {
	return len(name) <= 3 || slices.Contains([]string{"cmoe", "ncmoe", "sysf"}, name)
}

// dashed spells a name as people write it.
func dashed(name string) string {
	if short(name) {
		return "-" + name
	}
	return "--" + name
}

// lookup finds the row that cmd knows under name.
func lookup(cmd Command, name string) (f *Flag, negated bool) {
	name = strings.ReplaceAll(name, "_", "-")
	for i := range table {
		f := &table[i]
		if f.In&cmd == 0 {
			continue
		}
		if f.Name == name || slices.Contains(f.Alt, name) {
			return f, false
		}
		if slices.Contains(f.No, name) {
			return f, true
		}
	}
	return nil, false
}

// A Set holds the flags of one command line.
type Set struct {
	Args []string // what is not a flag
	cmd  Command
	vals map[string][]string
	list []given           // as given, variables first
	said map[string]string // how the flag was written, for messages
}

// A given is one value of a flag.
type given struct{ name, val string }

// Parse reads the arguments of cmd; flags that are not given are taken from
// their environment variable (os.LookupEnv when env is nil), then from the table.
// Errors have exit code 2.
func Parse(cmd Command, args []string, env func(string) (string, bool)) (*Set, error) {
	if env == nil {
		env = os.LookupEnv
	}
	s := &Set{cmd: cmd, vals: map[string][]string{}, said: map[string]string{}}
	for len(args) > 0 {
		f, val, n, err := next(cmd, args)
		if err != nil {
			return nil, err
		}
		if f == nil {
			if args[0] == "--" {
				s.Args = append(s.Args, args[1:]...)
				break
			}
			s.Args = append(s.Args, args[0])
			args = args[1:]
			continue
		}
		said, _, _ := strings.Cut(args[0], "=")
		if err := s.put(f, said, val); err != nil {
			return nil, err
		}
		args = args[n:]
	}
	written := s.list
	s.list = nil
	for i := range table {
		f := &table[i]
		if f.In&cmd == 0 || s.Has(f.Name) || f.Var() == "" {
			continue
		}
		v, ok := env(f.Var())
		if !ok || v == "" {
			continue
		}
		if f.Kind == Bool {
			b, ok := boolWord(v)
			if !ok {
				return nil, fault.New(fault.Usage, "%s=%s: not on or off", f.Var(), v)
			}
			v = strconv.FormatBool(b)
		}
		if err := s.put(f, f.Var(), v); err != nil {
			return nil, err
		}
	}
	s.list = append(s.list, written...)
	return s, nil
}

// next reads the flag at args[0]: its row, its value and the number of
// arguments that it takes. The row is nil when args[0] is not a flag.
func next(cmd Command, args []string) (f *Flag, val string, n int, err error) {
	arg := args[0]
	if len(arg) < 2 || arg[0] != '-' || arg == "--" || isNumber(arg) {
		return nil, "", 0, nil
	}
	name, val, eq := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
	f, negated := lookup(cmd, name)
	switch {
	case f == nil:
		return nil, "", 0, unknown(cmd, arg)
	case f.Kind == Bool:
		b := true
		if eq {
			var ok bool
			if b, ok = boolWord(val); !ok {
				return nil, "", 0, fault.New(fault.Usage, "%s: takes no value", arg)
			}
		}
		return f, strconv.FormatBool(b != negated), 1, nil
	case negated:
		return f, "off", 1, nil
	case eq:
		return f, val, 1, nil
	case f.Kind == Maybe:
		if len(args) > 1 && f.isWords(args[1]) {
			return f, args[1], 2, nil
		}
		return f, "on", 1, nil
	case len(args) < 2:
		return nil, "", 0, fault.New(fault.Usage, "%s: needs a value: %s %s", arg, arg, f.Arg)
	}
	return f, args[1], 2, nil
}

// put checks one value and stores it. A flag that is given twice keeps the last value.
func (s *Set) put(f *Flag, said, val string) error {
	if err := f.check(said, val); err != nil {
		return err
	}
	switch f.Kind {
	case Many, Ints, Pairs:
		if s.said[f.Name] != "" {
			s.vals[f.Name] = append(s.vals[f.Name], val)
			break
		}
		fallthrough
	default:
		s.vals[f.Name] = []string{val}
		s.list = slices.DeleteFunc(s.list, func(g given) bool { return g.name == f.Name })
	}
	s.list = append(s.list, given{f.Name, val})
	s.said[f.Name] = said
	return nil
}

func (f *Flag) check(said, val string) error {
	bad := func(want string) error {
		if f.Fate == Off {
			return fault.New(fault.Usage, "%s %s: this program has no such sampling: only %s is taken: leave the flag out", said, val, f.Default)
		}
		return fault.New(fault.Usage, "%s %s: not %s", said, val, want)
	}
	switch f.Kind {
	case Int, Float:
		if slices.Contains(f.Words, val) {
			return nil
		}
		x, err := strconv.ParseFloat(val, 64)
		what := "a number"
		if f.Kind == Int {
			what = "a whole number"
			var i int64
			i, err = strconv.ParseInt(val, 10, 64)
			x = float64(i)
		}
		if f.Min != f.Max {
			what += fmt.Sprintf(" from %v to %v", num(f.Min), num(f.Max))
		}
		if len(f.Words) > 0 {
			what += " or " + strings.Join(f.Words, ", ")
		}
		// Written so that a NaN fails too.
		if err != nil || x != x || f.Min != f.Max && !(x >= f.Min && x <= f.Max) {
			return bad(what)
		}
	case String, Maybe:
		if f.Kind == Maybe && f.Fate == Silent {
			return nil // whatever it says, it makes no difference
		}
		if len(f.Words) > 0 && !f.isWords(val) {
			return bad(fault.Either(f.Words...))
		}
	case Ints:
		list, err := parseInts(val)
		if err != nil {
			return bad("a list such as 1,2 or 1-8*2: " + err.Error())
		}
		for _, x := range list {
			if f.Min != f.Max && (float64(x) < f.Min || float64(x) > f.Max) {
				return bad(fmt.Sprintf("a list of numbers from %v to %v", num(f.Min), num(f.Max)))
			}
		}
	case Pairs:
		if _, err := parsePair(val); err != nil {
			return bad("two numbers such as 512,128")
		}
	}
	return nil
}

// isWords reports whether every comma-separated part of val is one of f's words.
func (f *Flag) isWords(val string) bool {
	for w := range strings.SplitSeq(val, ",") {
		if !slices.Contains(f.Words, w) {
			return false
		}
	}
	return true
}

func num(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func boolWord(s string) (val, ok bool) {
	switch strings.ToLower(s) {
	case "1", "on", "true", "yes", "enabled":
		return true, true
	case "0", "off", "false", "no", "disabled":
		return false, true
	}
	return false, false
}
