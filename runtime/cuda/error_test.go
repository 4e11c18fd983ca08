package cuda

import (
	"strings"
	"testing"

	"qnc/runtime/fault"
)

// TestChips: machine code serves its family from its chip on, PTX every later chip.
func TestChips(t *testing.T) {
	for _, c := range []struct {
		plan Plan
		chip int
		want bool
	}{
		{Plan{Archs: []int{80}}, 80, true}, {Plan{Archs: []int{80}}, 86, true}, {Plan{Archs: []int{86}}, 80, false}, {Plan{Archs: []int{80}}, 90, false},
		{Plan{PTX: 80}, 120, true}, {Plan{PTX: 80}, 75, false}, {Plan{Archs: []int{100}}, 103, true}, {Plan{Archs: []int{120}}, 121, true}, {Plan{}, 90, false},
	} {
		if got := c.plan.serves(c.chip); got != c.want {
			t.Errorf("%+v on sm_%d: %v", c.plan, c.chip, got)
		}
	}
}

// TestResults: every row of the table is whole.
func TestResults(t *testing.T) {
	for code, r := range results {
		err := Check("cuCall", code)
		if !strings.HasPrefix(r.name, "CUDA_ERROR_") || r.cure == "" || fault.CodeOf(err) != r.code || !strings.Contains(err.Error(), r.cure) {
			t.Errorf("%d: %+v, %v", code, r, err)
		}
	}
	if err := Check("cuCall", 12345); !strings.Contains(err.Error(), "CUDA error 12345") || fault.CodeOf(err) != fault.Failure {
		t.Errorf("an unknown number: %v", err)
	}
	if Check("cuCall", 0) != nil {
		t.Error("success is an error")
	}
}
