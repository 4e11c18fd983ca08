package toolchain

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qnc/runtime/fault"
)

// A Usage is what one kernel takes of a multiprocessor, as ptxas -v reports it.
type Usage struct {
	Kernel      string
	Arch        Arch
	Registers   int // of a thread
	Stack       int // bytes of a thread
	SpillStores int // bytes of a thread
	SpillLoads  int // bytes of a thread
	Shared      int // static, bytes of a block
	Barriers    int
}

var (
	entryLine = regexp.MustCompile(`Compiling entry function '([^']+)' for 'sm_(\d+)[af]?'`)
	spillLine = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	usedLine  = regexp.MustCompile(`Used (\d+) registers`)
	smemPart  = regexp.MustCompile(`(\d+)(?:\+\d+)? bytes smem`)
	barPart   = regexp.MustCompile(`used (\d+) barriers`)
)

// ParseUsage reads the report of ptxas -v, sorted by architecture and kernel.
// A kernel whose report is incomplete is an error: a spill must not hide.
func ParseUsage(report string) ([]Usage, error) {
	var out []Usage
	var u *Usage // open: its lines have not all come
	spills := false
	number := func(re *regexp.Regexp, line string, group int) int {
		m := re.FindStringSubmatch(line)
		if m == nil {
			return 0
		}
		n, err := strconv.Atoi(m[group])
		if err != nil {
			return -1
		}
		return n
	}
	for line := range strings.Lines(report) {
		switch {
		case entryLine.MatchString(line):
			if u != nil {
				return nil, fmt.Errorf("the report of ptxas ends within kernel %s", u.Kernel)
			}
			u, spills = &Usage{Kernel: entryLine.FindStringSubmatch(line)[1], Arch: Arch(number(entryLine, line, 2))}, false
		case u == nil:
		case spillLine.MatchString(line):
			u.Stack, u.SpillStores, u.SpillLoads = number(spillLine, line, 1), number(spillLine, line, 2), number(spillLine, line, 3)
			spills = true
		case usedLine.MatchString(line):
			if !spills {
				return nil, fmt.Errorf("the report of ptxas says nothing of spills in kernel %s", u.Kernel)
			}
			u.Registers, u.Shared, u.Barriers = number(usedLine, line, 1), number(smemPart, line, 1), number(barPart, line, 1)
			out = append(out, *u)
			u = nil
		}
	}
	if u != nil {
		return nil, fmt.Errorf("the report of ptxas ends within kernel %s", u.Kernel)
	}
	slices.SortFunc(out, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Kernel, b.Kernel))
	})
	return out, nil
}

// Table prints usages as lines for a golden file.
func Table(list []Usage) []byte {
	var b bytes.Buffer
	wide := len("kernel")
	for _, u := range list {
		wide = max(wide, len(u.Kernel))
	}
	fmt.Fprintf(&b, "%-7s %-*s %9s %6s %6s %7s %8s\n", "arch", wide, "kernel", "registers", "stack", "spills", "shared", "barriers")
	for _, u := range list {
		fmt.Fprintf(&b, "%-7s %-*s %9d %6d %6d %7d %8d\n", u.Arch, wide, u.Kernel, u.Registers, u.Stack, u.SpillStores+u.SpillLoads, u.Shared, u.Barriers)
	}
	return b.Bytes()
}

// Spills is an error that names each kernel with registers in memory, nil without one.
func Spills(list []Usage) error {
	var bad []string
	for _, u := range list {
		if u.SpillStores+u.SpillLoads > 0 {
			bad = append(bad, fmt.Sprintf("%s on %s (%d bytes stored, %d loaded)", u.Kernel, u.Arch, u.SpillStores, u.SpillLoads))
		}
	}
	if bad == nil {
		return nil
	}
	return fault.New(fault.Failure, "registers are spilled by %s: give each thread less to hold, or the block fewer threads", strings.Join(bad, ", "))
}
