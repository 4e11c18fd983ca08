package vec_test

import (
	"syscall"
	"testing"
	"unsafe"

	"qnc/runtime/cpu"
	"qnc/runtime/panel"
	"qnc/runtime/vec"
)

// place gives n bytes that end at a guard page, or start behind one.
func place(t *testing.T, n int, end bool) []byte {
	t.Helper()
	const page = 4096
	size := (n + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		err = syscall.Mprotect(b[:page], syscall.PROT_NONE)
	}
	if err == nil {
		err = syscall.Mprotect(b[page+size:], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(b) })
	if end {
		return b[page+size-n:][:n:n]
	}
	return b[page:][:n:n]
}

// TestGuardPages runs every kernel with guard pages around its slices: a read
// or write outside ends the test.
func TestGuardPages(t *testing.T) {
	v := vec.ForTarget(cpu.Detect().Best().Name)
	if v == nil {
		t.Skip("this machine has no vector kernels")
	}
	for _, end := range []bool{true, false} {
		fl := func(n int) []float32 {
			b := place(t, 4*n, end)
			f := unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)
			for i := range f {
				f[i] = float32(i%7) - 3
			}
			return f
		}
		for n := 1; n < 70; n++ {
			a, b, c, d := fl(n), fl(n), fl(n), fl(n)
			v.Add(a, b, c)
			v.Mul(a, b, c)
			v.Scale(a, b, 2)
			v.MulAdd(a, b, c, 2)
			v.Norm(a, b, c, 1)
			v.Gated(a, b, c, d, 1)
			v.Exp(a, b)
			v.Sigmoid(a, b)
			v.Silu(a, b)
			v.Softplus(a, b)
			v.SiluMul(a, b, c)
			v.Decay(a, b, c, 1, 2)
			v.Rope(a, b, c, d)
			v.ExpSum(a, b, 1)
			v.SumSquares(a)
			v.MaxOf(a)
			v.ArgMax(a)
			h := place(t, 2*n, end)
			v.NarrowF16(h, a)
			v.WidenF16(a, h)
			v.Prefetch(h)
		}
		for _, n := range []int{32, 64, 96} {
			q := place(t, n/32*34, end)
			v.WidenQ80(fl(n), q)
			r := place(t, panel.RowBytes(n), end)
			v.Records(r, fl(n))
		}
		for _, m := range []int{1, 2, 3, 4, 5, 7} {
			for _, n := range []int{16, 32, 48} {
				for _, k := range []int{1, 3, 16} {
					v.Gemm(fl(m*n), n, fl(m*k), k, 1, fl(k*n), n, m, n, k, true)
					v.Gemm(fl(m*n), n, fl(m*k), 1, m, fl(k*n), n, m, n, k, false)
				}
			}
			for _, n := range []int{1, 3, 4, 5, 16} {
				for _, k := range []int{16, 48, 528} {
					v.Dots(fl(m*n), n, fl(m*k), k, fl(n*k), k, m, n, k, fl(vec.DotPart(m)))
				}
			}
		}
		for _, m := range []int{1, 2, 3, 4, 9} {
			for _, n := range []int{1, 2, 3, 5} {
				for _, f := range []vec.Format{vec.F32, vec.F16, vec.Q80} {
					q := fl(m * 64)
					if f == vec.Q80 {
						q = fl(m * 32)
					}
					cells := place(t, f.Bytes(n*64), end)
					v.Scores(fl(m*(n+1)), n+1, q, vec.Keys{Format: f, K: 64, Bytes: cells, Scales: fl(2 * n), Stride: n}, m, n, 1<<20)
					v.Weigh(fl(m*64), 64, fl(m*2*n), 2*n, n, f, cells, 64, m, n, 1<<20)
				}
				v.ScaleWeights(fl(m*2*16), 16, fl(m*16), 16, fl(2*16), 16, m, 2, n)
			}
			v.QuantizeI16(fl(16*m/2), fl(16*m))
			v.QuantizeQ80(place(t, 32*m, end), place(t, 10*m-8, end), 10, fl(32*m))
		}
		v.Transpose(fl(16*8), 16, fl(16*8), 8, 16, 8)
		v.DeltaStep(fl(16*3), fl(16), fl(16), fl(3), fl(3), 1, 1, 1)
		v.Solve8(fl(8*16), 16, fl(7*9+7), 9, 16)
		v.Taps4(fl(64), fl(64), 16)
		v.Conv4(fl(16), fl(16), fl(16), fl(16), fl(16), fl(64), 16)
	}
}
