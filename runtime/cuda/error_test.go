package cuda

import (
	"reflect"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

// TestImage: machine code serves its family from its chip on, PTX every later
// chip; the newest that serves is taken, machine code before PTX where the driver runs it.
func TestImage(t *testing.T) {
	fat := []Image{{Archs: []int{80, 90}, PTX: []int{80, 90}}}
	apart := []Image{{Archs: []int{80}}, {Archs: []int{86}}, {Archs: []int{90}}, {PTX: []int{80}}, {PTX: []int{90}}}
	for _, c := range []struct {
		images       []Image
		chip, driver int
		want         int // index, -1 for an error
		message      string
	}{
		{fat, 80, 13000, 0, ""}, {fat, 86, 13000, 0, ""}, {fat, 120, 13000, 0, ""},
		{fat, 75, 13000, -1, "is of chip sm_75, the program has kernels for sm_80, sm_90, PTX from sm_80 on: compile with --target-gpu sm_75"},
		{apart, 80, 13000, 0, ""}, {apart, 89, 13000, 1, ""}, {apart, 90, 13000, 2, ""}, {apart, 100, 13000, 4, ""}, {apart, 121, 13000, 4, ""},
		{apart, 90, 12000, 4, ""}, // PTX asks for less
		{apart, 90, 11080, -1, "supports CUDA 11.8, the program's kernels need CUDA 12.0 (driver 525 or newer)"},
		{apart[:3], 90, 12000, -1, "need CUDA 13.0 (driver 580 or newer)"},
		{apart[3:], 86, 11000, -1, "need CUDA 12.0"},
		{apart[:3], 100, 13000, -1, "--target-gpu sm_100"},
		{nil, 90, 13000, -1, "BUG"},
	} {
		p := &Plan{Images: c.images, NativeCUDA: 13000, PTXCUDA: 12000}
		got, err := p.image(&Device{plan: &DevicePlan{Name: "cuda:0"}, name: "Fake"}, c.chip, c.driver)
		if c.want < 0 {
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("sm_%d, driver %d: %v, want %q", c.chip, c.driver, err, c.message)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(*got, c.images[c.want]) {
			t.Errorf("sm_%d, driver %d: %v, %v, want image %d", c.chip, c.driver, got, err, c.want)
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
