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
					form.Pack(one, weights(r, form.Kind, k, 0), k)
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
		dst := make([]float32, 16*n)
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
