package flags

import (
	"strings"

	"qnc/runtime/fault"
)

// unknown is the error for a flag that cmd does not have, with the nearest name that it has.
func unknown(cmd Command, arg string) error {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	name = strings.ReplaceAll(name, "_", "-")
	var names []string
	for i := range table {
		if table[i].In&cmd != 0 {
			names = append(names, table[i].names()...)
		}
	}
	if near := Nearest(name, names); near != "" {
		return fault.New(fault.Usage, "unknown flag %s: did you mean %s? (--help lists all)", arg, dashed(near))
	}
	return fault.New(fault.Usage, "unknown flag %s: --help lists all", arg)
}

// Nearest returns the name with the smallest edit distance to word, the first
// of equals, or "" when every name differs in more than a third of its letters.
func Nearest(word string, names []string) string {
	best, limit := "", max(1, len(word)/3)
	if len(word) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(word, n); d <= limit {
			best, limit = n, d-1
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour that turn a into b.
func distance(a, b string) int {
	var prev2 []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur := make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j]+cost, prev[j+1]+1, cur[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], prev2[j-1]+1)
			}
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}
