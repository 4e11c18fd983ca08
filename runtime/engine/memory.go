package engine

import (
	"bufio"
	"math"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"

	"qnc/runtime/fault"
)

// checkMemory refuses a plan that this machine cannot hold: a Go program that
// fails to get memory ends without a word to its caller.
// memory is what there is, free what may still be reserved of addresses.
func checkMemory(m *Model, plan Plan, memory, free uint64) error {
	need := uint64(0)
	for _, part := range [][2]int{
		{plan.ArenaBytes, 1}, {plan.KVBytes, 1}, {plan.RecurrentFloats, 4 * m.Info.NumSeq},
	} {
		hi, lo := bits.Mul64(uint64(part[0]), uint64(part[1]))
		sum, carry := bits.Add64(need, lo, 0)
		if need = sum; hi != 0 || carry != 0 {
			need = math.MaxInt64
			break
		}
	}
	const cure = "recompile with a smaller context: %s -c %d"
	smaller := max(256, m.Info.NumCtx*m.Info.NumSeq/2)
	if need > memory {
		return fault.New(fault.Fit, "the program needs %s beside its weights, the memory has %s: "+cure, size(need), size(memory), m.Info.Recompile, smaller)
	}
	need += 4 * heapStep
	if need > free {
		return fault.New(fault.Fit, "the program needs %s of addresses beside its weights, the limit (ulimit -v) leaves %s: raise it, or "+cure, size(need), size(free), m.Info.Recompile, smaller)
	}
	return nil
}

// heapStep is what Go's heap grows by at least, once for each large piece.
const heapStep = 64 << 20

// freeAddresses is what the limit of this process's addresses leaves, the largest number without one.
func freeAddresses() uint64 {
	limit := addressSpace()
	b, err := os.ReadFile("/proc/self/statm") // pages
	used, _, _ := strings.Cut(string(b), " ")
	pages, perr := strconv.ParseUint(used, 10, 40)
	if err != nil || perr != nil {
		return limit
	}
	return limit - min(limit, pages*uint64(os.Getpagesize()))
}

// size is n in the unit that fits.
func size(n uint64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	x, i := float64(n)/1024, 0
	for ; x >= 1024 && i < len(units)-1; i++ {
		x /= 1024
	}
	return strconv.FormatFloat(x, 'f', 1, 64) + " " + units[i]
}

// totalMemory is the machine's memory and swap space in bytes; the largest number when it is not known.
func totalMemory() uint64 { return memoryInfo(math.MaxUint64, "MemTotal:", "SwapTotal:") }

// availableMemory is what can be had without swapping, cached files included; 0 when it is not known.
func availableMemory() uint64 { return memoryInfo(0, "MemAvailable:") }

// memoryInfo is the sum of some lines that Linux says of its memory, in bytes, or unknown.
func memoryInfo(unknown uint64, keys ...string) uint64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return unknown
	}
	defer f.Close()
	total := uint64(0)
	for s := bufio.NewScanner(f); s.Scan(); {
		x := strings.Fields(s.Text())
		if len(x) != 3 || !slices.Contains(keys, x[0]) {
			continue
		}
		n, err := strconv.ParseUint(x[1], 10, 50)
		if err != nil {
			return unknown
		}
		total += n << 10
	}
	if total == 0 {
		return unknown
	}
	return total
}
