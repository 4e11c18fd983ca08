package flags

import (
	"errors"
	"strconv"
	"strings"
)

// Has reports whether the flag was given, on the command line or by its variable.
func (s *Set) Has(name string) bool { return s.said[name] != "" }

// Said returns the flag as it was written, for messages: "-t", "--threads".
func (s *Set) Said(name string) string { return s.said[name] }

// String returns the flag's value, or its default.
func (s *Set) String(name string) string {
	if v := s.vals[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	f, _ := lookup(s.cmd, name)
	if f == nil {
		panic("BUG: no flag " + name + " in this command's table")
	}
	return f.Default
}

// Bool returns the value of a flag of kind Bool.
func (s *Set) Bool(name string) bool {
	b, _ := boolWord(s.String(name))
	return b
}

// Int returns the value of a flag of kind Int; a word counts as -1.
func (s *Set) Int(name string) int {
	n, err := strconv.Atoi(s.String(name))
	if err != nil {
		return -1
	}
	return n
}

// Float returns the value of a flag of kind Float.
func (s *Set) Float(name string) float64 {
	x, _ := strconv.ParseFloat(s.String(name), 64)
	return x
}

// Strings returns all values of a flag of kind Many.
func (s *Set) Strings(name string) []string { return s.vals[name] }

// Ints returns the values of a flag of kind Ints, or those of its default.
func (s *Set) Ints(name string) []int {
	vals := s.vals[name]
	if len(vals) == 0 {
		if d := s.String(name); d != "" {
			vals = []string{d}
		}
	}
	var all []int
	for _, v := range vals {
		list, _ := parseInts(v) // checked when it was stored
		all = append(all, list...)
	}
	return all
}

// Pairs returns the values of a flag of kind Pairs.
func (s *Set) Pairs(name string) [][2]int {
	var all [][2]int
	for _, v := range s.vals[name] {
		p, _ := parsePair(v) // checked when it was stored
		all = append(all, p)
	}
	return all
}

const maxList = 4096 // values in one list

// parseInts reads first[-last[(+|*)step]][,…], the way llama-bench does.
func parseInts(s string) ([]int, error) {
	var list []int
	for part := range strings.SplitSeq(s, ",") {
		first, rest, isRange := strings.Cut(part, "-")
		lo, err := parseCount(first)
		if err != nil {
			return nil, err
		}
		hi, step, mul := lo, 1, false
		if isRange {
			last := rest
			if i := strings.IndexAny(rest, "+*"); i >= 0 {
				last, mul = rest[:i], rest[i] == '*'
				if step, err = parseCount(rest[i+1:]); err != nil {
					return nil, err
				}
			}
			if hi, err = parseCount(last); err != nil {
				return nil, err
			}
		}
		if isRange && hi < lo {
			return nil, errors.New("the range is empty")
		}
		for i := lo; i <= hi; {
			if len(list) == maxList {
				return nil, errors.New("the list is too long")
			}
			list = append(list, i)
			prev := i
			if mul {
				i *= step
			} else {
				i += step
			}
			if i <= prev {
				return nil, errors.New("the range does not grow")
			}
		}
	}
	return list, nil
}

func parsePair(s string) (p [2]int, err error) {
	a, b, ok := strings.Cut(s, ",")
	if !ok {
		return p, errors.New("no comma")
	}
	if p[0], err = parseCount(a); err != nil {
		return p, err
	}
	p[1], err = parseCount(b)
	return p, err
}

// parseCount reads a number from 0 to 2^31-1.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("bad number " + strconv.Quote(s))
	}
	return int(n), nil
}
