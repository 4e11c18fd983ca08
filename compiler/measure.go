package compiler

import (
	"runtime"
	"sync"
	"time"

	"qnc/runtime/cpu"
	"qnc/runtime/vec"
)

// ReadBandwidth reads a buffer that no cache holds on all processors, with
// several distances of prefetch, and returns bytes a second, the best of a few
// rounds. It takes about a fifth of a second.
func ReadBandwidth() float64 {
	const size, rounds = 256 << 20, 2
	f := vec.ForTarget(cpu.Detect().Best().Name)
	n := runtime.GOMAXPROCS(0)
	buf := make([]byte, size)
	for i := 0; i < len(buf); i += 4096 { // a write a page: none of them is the shared page of zeros
		buf[i] = 1
	}
	best := 0.0
	for _, ahead := range []int{0, 8 << 10, 32 << 10} {
		for range rounds {
			took := together(n, func(i int) { f.Read(buf[len(buf)/n*i:len(buf)/n*(i+1)], ahead) })
			best = max(best, size/took.Seconds())
		}
	}
	return best
}

// floatRate is how many float32 multiply-adds a second all processors do in
// products whose operands stay in the caches.
func floatRate() float64 {
	const rows, cols, width, calls, rounds = 48, 64, 528, 60, 5
	f := vec.ForTarget(cpu.Detect().Best().Name)
	best := 0.0
	n := runtime.GOMAXPROCS(0)
	for range rounds {
		took := together(n, func(int) {
			x, w, out := ones(rows*width), ones(cols*width), make([]float32, rows*cols)
			part := make([]float32, vec.DotPart(rows))
			for range calls {
				if f == nil {
					plainDots(out, x, w, rows, cols, width)
				} else {
					f.Dots(out, cols, x, width, w, width, rows, cols, width, part)
				}
			}
		})
		best = max(best, float64(n)*rows*cols*width*calls/took.Seconds())
	}
	return best
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// plainDots is vec.Funcs.Dots where there is no table.
func plainDots(out, x, w []float32, rows, cols, width int) {
	for i := range rows {
		a := x[i*width:][:width]
		for j := range cols {
			b := w[j*width:][:width]
			var s0, s1, s2, s3 float32
			for k := 0; k+4 <= width; k += 4 {
				s0 += a[k] * b[k]
				s1 += a[k+1] * b[k+1]
				s2 += a[k+2] * b[k+2]
				s3 += a[k+3] * b[k+3]
			}
			out[i*cols+j] = s0 + s1 + s2 + s3
		}
	}
}

// together runs fn on n goroutines and returns the time until the last ends.
func together(n int, fn func(i int)) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
	return time.Since(start)
}
