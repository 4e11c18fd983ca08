package asm

import (
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// benchLine is what testdata/kernels prints of one shape: the best of its runs and their median.
var benchLine = regexp.MustCompile(`(?m)^(\S+) K=(\d+) tokens=(\d+) (\S+) +\d+ cores +([\d.]+) G/s +([\d.]+) GB/s, median +([\d.]+) G/s +([\d.]+) GB/s$`)

// BenchmarkKernels measures every kernel on rows of the 80B model (K is its width or that of an
// expert), with weights in the cache and from memory, on one core and on two. The shapes take turns
// in one program, so a benchmark here reports what that program has measured.
func BenchmarkKernels(b *testing.B) {
	if runtime.GOARCH != "amd64" {
		b.Skip("kernels are for amd64")
	}
	for _, target := range Targets {
		if !runs(b, target) {
			continue
		}
		exe := build(b, target)
		for threads := 1; threads <= min(2, runtime.NumCPU()); threads++ {
			out, err := exec.Command(exe, "bench", strconv.Itoa(threads)).CombinedOutput()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			lines := benchLine.FindAllStringSubmatch(string(out), -1)
			if len(lines) == 0 {
				b.Fatalf("no results in\n%s", out)
			}
			for _, l := range lines {
				b.Run(fmt.Sprintf("%s/%s/K=%s/tokens=%s/%s/t%d", target.Name, l[1], l[2], l[3], l[4], threads), func(b *testing.B) {
					b.ReportMetric(0, "ns/op")
					for i, unit := range []string{"GMAC/s", "GB/s", "median-GMAC/s", "median-GB/s"} {
						x, err := strconv.ParseFloat(l[5+i], 64)
						if err != nil {
							b.Fatal(err)
						}
						b.ReportMetric(x, unit)
					}
				})
			}
		}
	}
}
