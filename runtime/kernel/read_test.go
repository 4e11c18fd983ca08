package kernel

import (
	"testing"

	"qnc/runtime/cpu"
)

// TestRead: every whole block is read, at every distance, by every target's kernel.
func TestRead(t *testing.T) {
	defer Use("portable")
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) != nil {
			continue
		}
		Use(target.Name)
		x := make([]float32, 5*readBlock/4+3)
		p := bytesOf(x)
		for _, ahead := range []int{0, 4096, 8192, 1 << 20} {
			if got := Read(p, ahead); got != 0 {
				t.Errorf("%s, %d ahead: %v of zeros", target.Name, ahead, got)
			}
			for i := 0; i < 5*readBlock/4; i += 777 {
				x[i] = 2.5
				if got := Read(p, ahead); got <= 0 {
					t.Errorf("%s, %d ahead: float %d is not read", target.Name, ahead, i)
				}
				x[i] = 0
			}
		}
	}
}
