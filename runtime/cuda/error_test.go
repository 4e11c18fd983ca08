package cuda

import (
	"strings"
	"testing"

	"qnc/runtime/fault"
)

// TestImage: machine code serves its family from its chip on, PTX every later
// chip, each under the drivers that know it.
func TestImage(t *testing.T) {
	for _, c := range []struct {
		archs, ptx   []int
		chip, driver int
		want         string
	}{
		{[]int{80}, nil, 80, 13000, ""}, {[]int{80}, nil, 86, 13000, ""}, {[]int{86}, nil, 80, 13000, "compile with --target-gpu sm_80"}, {[]int{80}, nil, 90, 13000, "--target-gpu sm_90"},
		{[]int{80, 90}, []int{80, 90}, 75, 13000, "is of chip sm_75, the program has kernels for sm_80, sm_90, PTX from sm_80 on: compile with --target-gpu sm_75"},
		{nil, []int{80}, 120, 13000, ""}, {[]int{100}, nil, 103, 13000, ""}, {[]int{120}, nil, 121, 13000, ""}, {nil, nil, 90, 13000, "--target-gpu sm_90"},
		{[]int{90}, nil, 90, 12040, "supports CUDA 12.4, the program's kernels need CUDA 13.0 (driver 580 or newer): update the driver"},
		{[]int{90}, []int{90}, 90, 12040, ""}, // the PTX asks for less
		{[]int{90}, []int{90}, 90, 11080, "supports CUDA 11.8, the program's kernels need CUDA 12.0 (driver 525 or newer)"},
		{[]int{80}, []int{80}, 120, 11080, "need CUDA 12.0"},
	} {
		p := &Plan{Archs: c.archs, PTX: c.ptx, NativeCUDA: 13000, PTXCUDA: 12000}
		err := p.check(&Device{plan: &DevicePlan{Name: "cuda:0"}, name: "Fake"}, c.chip, c.driver)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("sm_%d under %d: %v, want %q", c.chip, c.driver, err, c.want)
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
