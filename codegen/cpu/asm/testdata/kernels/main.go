// Kernels checks emitted kernels against package panel and measures them. It is built with
// kernels_amd64.s and its declarations beside it, which the tests of package asm emit.
//
//	kernels check                   compare results bit by bit
//	kernels guard                   the same, with guard pages around all memory
//	kernels bench [threads [name]]  G multiply-adds/s
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"qnc/codegen/cpu/asm/internal/cases"
	"qnc/runtime/panel"
)

type kernel func(w, x *byte, offset *int64, dst *float32, n, blocks int)

var kernels = []struct {
	name   string
	format string
	block  int
	f      kernel
}{
	{"q80", "q8_0", 32, q80},
	{"q40", "q4_0", 32, q40},
	{"q41", "q4_1", 32, q41},
	{"q50", "q5_0", 32, q50},
	{"q51", "q5_1", 32, q51},
	{"q4K", "q4_K", 256, q4K},
	{"q5K", "q5_K", 256, q5K},
	{"q6K", "q6_K", 256, q6K},
}

// read is no kernel: it touches every line of a panel of q4_K, the yardstick for memory.
func read(w, _ *byte, _ *int64, dst *float32, _, blocks int) {
	var s uint64
	b := unsafe.Slice((*uint64)(unsafe.Pointer(w)), blocks*2304/8)
	for ; len(b) >= 32; b = b[32:] {
		s += b[0] + b[8] + b[16] + b[24]
	}
	*dst = float32(s)
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "check":
		for _, k := range kernels {
			check(k.name, k.format, k.block, k.f)
		}
		fmt.Println("ok")
	case len(os.Args) > 1 && os.Args[1] == "guard":
		for _, k := range kernels {
			guard(k.name, k.format, k.block, k.f)
		}
		fmt.Println("ok")
	case len(os.Args) > 1 && os.Args[1] == "bench":
		threads, only := 1, ""
		if len(os.Args) > 2 {
			threads, _ = strconv.Atoi(os.Args[2])
		}
		if len(os.Args) > 3 {
			only = os.Args[3]
		}
		bench(max(1, threads), only)
	default:
		fmt.Fprintln(os.Stderr, "usage: kernels check|bench")
		os.Exit(2)
	}
}

func check(name, format string, block int, f kernel) {
	form, _ := panel.ByName(format)
	r := rand.New(rand.NewPCG(1, 2))
	count := 0
	for _, k := range []int{256, 512, 768, 2048} {
		for _, n := range []int{1, 2, 3, 4, 5, 8, 10, 12, 13, 24} {
			for kind := range cases.Count {
				rows := cases.Weights(r, form.Kind, k, kind)
				w := make([]byte, form.Bytes(k))
				form.Pack(w, rows, k)
				x, offset := cases.Activations(r, k, n, kind)
				got, want := make([]float32, 16*n+16), make([]float32, 16*n)
				for i := range got {
					got[i] = 12345
				}
				f(&w[0], &x[0], &offset[0], &got[0], n, k/block)
				form.Dot(want, w, x, offset, k)
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
				count++
			}
		}
	}
	fmt.Printf("%s: %d cases\n", name, count)
}

// A job is a kernel at one shape: every thread walks panels and activations of its own.
type job struct {
	f            kernel
	label        string
	k, n, blocks int
	panels, size int // of a thread; bytes of one
	w, x         [][]byte
	offset       []int64
	times        []float64 // seconds a panel
}

// bench runs the kernels whose names contain only, weights in cache and from memory, by turns,
// and prints the best of many short runs (what the machine does when others leave it alone) and their
// median.
func bench(threads int, only string) {
	const runs = 150
	kernels := append(kernels, kernels[5])
	kernels[len(kernels)-1].name, kernels[len(kernels)-1].f = "read", read
	for _, mib := range []int{0, 96} {
		for _, k := range []int{2048, 512} {
			for _, n := range []int{1, 2, 4, 8, 10, 12, 24, 512} {
				if mib > 0 && (k == 512 || n > 12) {
					continue
				}
				var jobs []*job
				for _, kn := range kernels {
					if kn.name != "read" && !strings.Contains(kn.name, only) {
						continue
					}
					form, _ := panel.ByName(kn.format)
					j := &job{f: kn.f, k: k, n: n, blocks: k / kn.block, size: form.Bytes(k)}
					j.panels = max(1, mib<<20/j.size)
					j.label = fmt.Sprintf("%s K=%d tokens=%d %s", kn.name, k, n, []string{"cache", "memory"}[min(1, mib)])
					r := rand.New(rand.NewPCG(3, 4))
					one := make([]byte, j.size)
					form.Pack(one, cases.Weights(r, form.Kind, k, 0), k)
					for range threads {
						w := make([]byte, j.size*j.panels)
						for i := range j.panels {
							copy(w[i*j.size:], one)
						}
						x, o := cases.Activations(r, k, n, 0)
						slices.Sort(o)
						j.w, j.x, j.offset = append(j.w, w), append(j.x, x), o
					}
					jobs = append(jobs, j)
				}
				for run := range runs {
					for _, j := range jobs {
						j.times = append(j.times, j.run(threads, run*97*j.panels/runs))
					}
				}
				for _, j := range jobs {
					slices.Sort(j.times)
					macs, bytes := float64(threads*j.k*16*j.n)/1e9, float64(threads*j.size)/1e9
					best, median := j.times[0], j.times[len(j.times)/2]
					fmt.Printf("%-32s %d cores %6.1f G/s %6.1f GB/s, median %6.1f G/s %6.1f GB/s\n", j.label, threads,
						macs/best, bytes/best, macs/median, bytes/median)
				}
			}
		}
	}
}

// run gives the seconds a panel takes when threads walk some together, from panel first on.
func (j *job) run(threads, first int) float64 {
	reps := max(2, int(3e7/float64(j.k*16*j.n))) // a third of a millisecond
	if j.panels > 1 {
		reps = max(reps, 100)
	}
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range threads {
		dst := make([]float32, 16*j.n)
		done.Go(func() {
			start.Wait()
			for p := range reps {
				at := (first + p) % j.panels * j.size
				j.f(&j.w[i][at], &j.x[i][0], &j.offset[0], &dst[0], j.n, j.blocks)
			}
		})
	}
	t := time.Now()
	start.Done()
	done.Wait()
	return time.Since(t).Seconds() / float64(reps)
}

// place gives n bytes that end at a guard page, or start behind one.
func place(n int, end bool) []byte {
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
		fmt.Println(err)
		os.Exit(1)
	}
	if end {
		return b[page+size-n : page+size]
	}
	return b[page:][:n]
}

// guard runs a kernel whose every operand touches a guard page: a read or
// write outside ends the program.
func guard(name, format string, block int, f kernel) {
	form, _ := panel.ByName(format)
	ks := []int{256, 512}
	if block == 32 {
		ks = []int{32, 64, 96, 160, 256}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range ks {
		for _, n := range []int{1, 2, 3, 47, 48} {
			for _, end := range []bool{true, false} {
				w := place(form.Bytes(k), end)
				form.Pack(w, cases.Weights(r, form.Kind, k, 0), k)
				acts, offsets := cases.Activations(r, k, n, 0)
				x := place(len(acts), end)
				copy(x, acts)
				offset := unsafe.Slice((*int64)(unsafe.Pointer(&place(8*n, end)[0])), n)
				copy(offset, offsets)
				got := unsafe.Slice((*float32)(unsafe.Pointer(&place(4*16*n, end)[0])), 16*n)
				want := make([]float32, 16*n)
				f(&w[0], &x[0], &offset[0], &got[0], n, k/block)
				form.Dot(want, w, x, offset, k)
				for i, v := range want {
					if math.Float32bits(got[i]) != math.Float32bits(v) {
						fmt.Printf("%s k=%d n=%d: %g, want %g\n", name, k, n, got[i], v)
						os.Exit(1)
					}
				}
			}
		}
	}
}
