package vec_test

import (
	"testing"
	"unsafe"

	"qnc/runtime/cpu"
	"qnc/runtime/vec"
)

// TestRead: every whole block is read, at every distance, by every target's loads.
func TestRead(t *testing.T) {
	const blocks, words = 5, 1024
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) != nil {
			continue
		}
		f := vec.ForTarget(target.Name)
		x := make([]float32, blocks*words+4)
		p := unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
		for _, ahead := range []int{0, 4096, 8192, 1 << 20} {
			if got := f.Read(p, ahead); got != 0 {
				t.Errorf("%s, %d ahead: %v of zeros", target.Name, ahead, got)
			}
			for i := 0; i < blocks*words; i += 777 {
				x[i] = 2.5
				if got := f.Read(p, ahead); got <= 0 {
					t.Errorf("%s, %d ahead: float %d is not read", target.Name, ahead, i)
				}
				x[i] = 0
			}
		}
	}
}
