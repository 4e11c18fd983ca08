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
	"slices"
	"strconv"
	"sync"
	"time"

	"qnc/codegen/cpu/asm/internal/cases"
	"qnc/runtime/panel"
)

type kernel func(w, x *byte, offset *int64, dst *float32, n, blocks int)

var kernels = []struct {
	name   string
	format string
	wide   bool
	f      kernel
}{
	{"q4K", "q4_K", false, q4K},
	{"q6K", "q6_K", false, q6K},
	{"q4KWide", "q4_K", true, q4KWide},
	{"q6KWide", "q6_K", true, q6KWide},
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "check":
		for _, k := range kernels {
			check(k.name, k.format, k.wide, k.f)
		}
		fmt.Println("ok")
	case len(os.Args) > 1 && os.Args[1] == "bench":
		threads := 1
		if len(os.Args) > 2 {
			threads, _ = strconv.Atoi(os.Args[2])
		}
		bench(max(1, threads))
	default:
		fmt.Fprintln(os.Stderr, "usage: kernels check|bench")
		os.Exit(2)
	}
}

func check(name, format string, wide bool, f kernel) {
	form, _ := panel.ByName(format)
	dot, size := form.Dot, 16
	if wide {
		dot, size = form.DotWide, 32
	}
	r := rand.New(rand.NewPCG(1, 2))
	count := 0
	for _, k := range []int{256, 512, 768, 2048} {
		for _, n := range []int{1, 2, 3, 4, 5, 8, 10, 12, 13, 24} {
			for kind := range cases.Count {
				rows := cases.Weights(r, form.Kind, k, kind)
				w := make([]byte, form.Bytes(k))
				form.Pack(w, rows, k)
				x, offset := cases.Activations(r, k, n, kind, wide)
				got, want := make([]float32, size*n+16), make([]float32, 16*n)
				for i := range got {
					got[i] = 12345
				}
				f(&w[0], &x[0], &offset[0], &got[0], n, k/256)
				dot(want, w, x, offset, k)
				for i, v := range want {
					if g := got[i]; math.Float32bits(g) != math.Float32bits(v) && (g == g || v == v) {
						fmt.Printf("%s k=%d n=%d case %d: token %d row %d: %g, want %g\n", name, k, n, kind, i/16, i%16, g, v)
						os.Exit(1)
					}
				}
				for _, g := range got[size*n:] {
					if g != 12345 {
						fmt.Printf("%s k=%d n=%d: wrote behind its results\n", name, k, n)
						os.Exit(1)
					}
				}
				count++
			}
		}
	}
	fmt.Printf("%s: %d cases\n", name, count)
}

// bench runs every kernel on one and two cores, weights in cache and from memory, by turns. Each
// figure is that of the best of many short runs: what the machine does when others leave it alone.
func bench(threads int) {
	type job struct {
		f            kernel
		label        string
		k, n, panels int // panels walked by a core
		bytes        int
		w, x         [][]byte
		offset       []int64
		best         float64
	}
	const runs = 150
	for _, mib := range []int{0, 96} {
		for _, k := range []int{2048, 512} {
			for _, n := range []int{1, 2, 4, 8, 10, 12, 24, 512} {
				if mib > 0 && (k == 512 || n > 12) {
					continue
				}
				var jobs []*job
				for _, kn := range kernels {
					form, _ := panel.ByName(kn.format)
					j := &job{f: kn.f, k: k, n: n, bytes: form.Bytes(k), best: math.Inf(1)}
					j.panels = max(1, mib<<20/j.bytes)
					j.label = fmt.Sprintf("%s K=%d tokens=%d %s", kn.name, k, n, []string{"cache", "memory"}[min(1, mib)])
					r := rand.New(rand.NewPCG(3, 4))
					one := make([]byte, j.bytes)
					form.Pack(one, cases.Weights(r, form.Kind, k, 0), k)
					for range threads {
						w := make([]byte, j.bytes*j.panels+8192)
						for i := range j.panels {
							copy(w[i*j.bytes:], one)
						}
						x, o := cases.Activations(r, k, n, 0, kn.wide)
						slices.Sort(o)
						j.w, j.x, j.offset = append(j.w, w), append(j.x, x), o
					}
					jobs = append(jobs, j)
				}
				for run := range runs {
					for _, j := range jobs {
						s := timed(threads, j.f, j.w, j.x, j.offset, j.k, run*97*j.panels/runs, j.panels, j.bytes)
						j.best = min(j.best, s)
					}
				}
				for _, j := range jobs {
					s := j.best
					fmt.Printf("%-32s %d cores %6.1f G/s %6.1f GB/s\n", j.label, threads, float64(threads*j.k*16*j.n)/s/1e9, float64(threads*j.bytes)/s/1e9)
				}
			}
		}
	}
}

// timed gives the seconds a panel takes when threads walk some panels together.
func timed(threads int, f kernel, w, x [][]byte, offset []int64, k, first, panels, size int) float64 {
	n := len(offset)
	reps := max(2, int(3e7/float64(k*16*n))) // a third of a millisecond
	if panels > 1 {
		reps = max(reps, 100)
	}
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range threads {
		dst := make([]float32, 32*n)
		done.Go(func() {
			start.Wait()
			for p := range reps {
				at := (first + p) % panels * size
				f(&w[i][at], &x[i][0], &offset[0], &dst[0], n, k/256)
			}
		})
	}
	t := time.Now()
	start.Done()
	done.Wait()
	return time.Since(t).Seconds() / float64(reps)
}
