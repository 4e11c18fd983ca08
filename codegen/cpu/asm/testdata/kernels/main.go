// Kernels checks emitted kernels against package panel and measures them. It is built with
// kernels_amd64.s and its declarations beside it, which the tests of package asm emit.
//
//	kernels check            compare results bit by bit
//	kernels bench [threads]  G multiply-adds/s
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

type kernel func(w, x *byte, offset *int64, dst *float32, n, blocks int)

var kernels = []struct {
	name   string
	format string
	f      kernel
}{
	{"q4K", "q4_K", q4K},
	{"q6K", "q6_K", q6K},
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "check":
		for _, k := range kernels {
			check(k.name, k.format, k.f)
		}
		fmt.Println("ok")
	case len(os.Args) > 1 && os.Args[1] == "bench":
		bench()
	default:
		fmt.Fprintln(os.Stderr, "usage: kernels check|bench")
		os.Exit(2)
	}
}

func check(name, format string, f kernel) {
	form, _ := panel.ByName(format)
	r := rand.New(rand.NewPCG(1, 2))
	cases := 0
	for _, k := range []int{256, 512, 768, 2048} {
		for _, n := range []int{1, 2, 3, 4, 5, 8, 10, 12, 13, 24} {
			for kind := range numCases {
				rows := weights(r, form.Kind, k, kind)
				w := make([]byte, form.Bytes(k)+panelSlack)
				form.Pack(w[:form.Bytes(k)], rows, k)
				x, offset := activations(r, k, n, kind)
				got, want := make([]float32, 16*n+16), make([]float32, 16*n)
				for i := range got {
					got[i] = 12345
				}
				f(&w[0], &x[0], &offset[0], &got[0], n, k/256)
				form.Dot(want, w[:form.Bytes(k)], x, offset, k)
				for i, v := range want {
					if g := got[i]; math.Float32bits(g) != math.Float32bits(v) && (g == g || v == v) {
						fmt.Printf("%s k=%d n=%d case %d: token %d row %d: %g, want %g\n", name, k, n, kind, i/16, i%16, g, v)
						os.Exit(1)
					}
				}
				for _, g := range got[16*n:] {
					if g != 12345 {
						fmt.Printf("%s k=%d n=%d: wrote behind its results\n", name, k, n)
						os.Exit(1)
					}
				}
				cases++
			}
		}
	}
	fmt.Printf("%s: %d cases\n", name, cases)
}

const panelSlack = 64 // the kernels read nothing behind a panel, prefetches apart

const numCases = 7

// weights are 16 rows in file layout: what an encoder makes of noise, then what none would.
func weights(r *rand.Rand, kind *quant.Kind, k, c int) []byte {
	size := kind.RowBytes(k)
	rows := make([]byte, 16*size)
	switch c {
	case 0, 1: // noise
		v := make([]float32, k)
		for i := range 16 {
			for j := range v {
				v[j] = float32(r.NormFloat64() * math.Exp(4*r.Float64()-4))
			}
			kind.Quantize(rows[i*size:][:size], v)
		}
	case 2: // any bytes, scales that are NaN or infinite among them
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
	case 3: // all bits
		for i := range rows {
			rows[i] = 0xff
		}
		scales(rows, kind, 0x7bff)
	case 4: // any levels, subnormal scales
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
		scales(rows, kind, 1)
	case 5: // any levels, huge scales
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
		scales(rows, kind, 0xfbff)
	case 6: // zeros
	}
	return rows
}

// scales sets the f16 of every block.
func scales(rows []byte, kind *quant.Kind, v uint16) {
	for i := 0; i < len(rows); i += kind.BlockBytes {
		b := rows[i:][:kind.BlockBytes]
		at := []int{0, 2}
		if kind.Name == "q6_K" {
			at = []int{208}
		}
		for _, j := range at {
			b[j], b[j+1] = byte(v), byte(v>>8)
		}
	}
}

// activations are n rows at shuffled offsets.
func activations(r *rand.Rand, k, n, c int) ([]byte, []int64) {
	size := panel.RowBytes(k)
	x := make([]byte, n*size)
	offset := make([]int64, n)
	v := make([]float32, k)
	for t, p := range r.Perm(n) {
		offset[t] = int64(p * size)
		for j := range v {
			switch {
			case c == 3:
				v[j] = 1e30 * float32(1-2*int(r.Uint32()&1)) // codes ±127
			case c == 6 && t%2 == 0:
				v[j] = 0
			case c == 4:
				v[j] = -1
			default:
				v[j] = float32(r.NormFloat64())
			}
		}
		if c == 1 && t == n-1 {
			v[r.IntN(k)] = float32(math.NaN())
		}
		if c == 4 && t%2 == 1 {
			for j := range v {
				v[j] = 1
			}
		}
		panel.Quantize(x[p*size:][:size], v)
	}
	return x, offset
}

// bench runs every kernel on one and two cores, weights in cache and from memory, by turns, and
// prints medians.
func bench() {
	type job struct {
		f       kernel
		label   string
		k, n    int
		panels  int // walked by a core
		bytes   int
		threads int
		w, x    [][]byte
		offset  []int64
		times   []float64
	}
	var jobs []*job
	for _, kn := range kernels {
		form, _ := panel.ByName(kn.format)
		for _, mib := range []int{0, 96} {
			for _, k := range []int{2048, 512} {
				for _, n := range []int{1, 2, 4, 8, 10, 12, 24, 512} {
					if mib > 0 && (k == 512 || n == 512 || n == 24) {
						continue
					}
					for threads := 1; threads <= 2; threads++ {
						j := &job{f: kn.f, k: k, n: n, bytes: form.Bytes(k), threads: threads}
						j.panels = max(1, mib<<20/j.bytes)
						j.label = fmt.Sprintf("%s K=%d tokens=%d cores=%d %s", kn.name, k, n, threads, []string{"cache", "memory"}[min(1, mib)])
						r := rand.New(rand.NewPCG(3, 4))
						rows := weights(r, form.Kind, k, 0)
						one := make([]byte, j.bytes)
						form.Pack(one, rows, k)
						for range threads {
							w := make([]byte, j.bytes*j.panels+8192)
							for i := range j.panels {
								copy(w[i*j.bytes:], one)
							}
							x, o := activations(r, k, n, 0)
							slices.Sort(o)
							j.w, j.x, j.offset = append(j.w, w), append(j.x, x), o
						}
						jobs = append(jobs, j)
					}
				}
			}
		}
	}
	for range 5 {
		for _, j := range jobs {
			work := float64(j.k) * 16 * float64(j.n*j.panels)
			reps := max(1, int(3e8/work))
			var wg sync.WaitGroup
			start := time.Now()
			for i := range j.threads {
				wg.Go(func() {
					runtime.LockOSThread()
					dst := make([]float32, 16*j.n)
					for range reps {
						for p := range j.panels {
							j.f(&j.w[i][p*j.bytes], &j.x[i][0], &j.offset[0], &dst[0], j.n, j.k/256)
						}
					}
				})
			}
			wg.Wait()
			j.times = append(j.times, time.Since(start).Seconds()/float64(reps))
		}
	}
	for _, j := range jobs {
		slices.Sort(j.times)
		s := j.times[len(j.times)/2]
		macs := float64(j.threads*j.k*16) * float64(j.n*j.panels)
		best := macs / j.times[0] / 1e9
		fmt.Printf("%-40s %6.1f G/s (best %6.1f)  %5.1f GB/s\n", j.label, macs/s/1e9, best, float64(j.threads*j.panels*j.bytes)/s/1e9)
	}
}
