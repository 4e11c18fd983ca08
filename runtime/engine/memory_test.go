package engine

import (
	"math"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

// TestCheckMemory: a plan that does not fit is one line with both sizes and the cure.
func TestCheckMemory(t *testing.T) {
	const gib = 1 << 30
	m := &Model{Info: Info{NumSeq: 2, NumCtx: 4096, Recompile: "qnc compile m.gguf -o m"}, Plan: Plan{ArenaBytes: gib, RecurrentFloats: gib / 4, KVBytes: gib}}
	huge := &Model{Info: Info{NumSeq: math.MaxInt32, Recompile: "r"}, Plan: Plan{RecurrentFloats: math.MaxInt64}}
	for _, c := range []struct {
		m            *Model
		memory, free uint64
		want         string
	}{
		{m, 4 * gib, 4*gib + 4*heapStep, ""},
		{m, math.MaxUint64, math.MaxUint64, ""},
		{m, 4*gib - 1, math.MaxUint64, "the program needs 4.0 GiB beside its weights, the memory has 4.0 GiB: recompile with a smaller context: qnc compile m.gguf -o m -c 4096"},
		{m, 4 * gib, 4 * gib, "the program needs 4.2 GiB of addresses beside its weights, the limit (ulimit -v) leaves 4.0 GiB: raise it, or recompile"},
		{huge, 1 << 60, math.MaxUint64, "beside its weights"},
	} {
		err := checkMemory(c.m, c.m.Plan, c.memory, c.free)
		if c.want == "" {
			if err != nil {
				t.Errorf("memory %d, free %d: %v", c.memory, c.free, err)
			}
			continue
		}
		if fault.CodeOf(err) != fault.Fit || !strings.Contains(err.Error(), c.want) {
			t.Errorf("memory %d, free %d: %v, want %q", c.memory, c.free, err, c.want)
		}
	}
	// A session checks before it allocates.
	_, _, err := open(t, func(m *Model) { m.Plan.KVBytes = 1 << 60 })
	if totalMemory() != math.MaxUint64 && fault.CodeOf(err) != fault.Fit {
		t.Errorf("a KV cache of 1 EiB: %v", err)
	}
}
