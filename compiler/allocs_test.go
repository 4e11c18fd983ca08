package compiler

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"qnc/runtime/cpu"
)

// allocsHook makes an emitted program print what Decode and Prompt allocate,
// for one thread and two, while the prompt is cut into steps.
const allocsHook = `package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"qnc/runtime/engine"
)

func init() {
	if os.Getenv("ALLOCS") == "" {
		return
	}
	spec.Info.BuildID = buildID
	s, err := engine.Open(&spec, engine.Options{})
	check(err)
	tokens, rows := make([]int32, 150), []int{3, 149}
	for i := range tokens {
		tokens[i] = int32(i % 7)
	}
	logits := make([]float32, len(rows)*spec.Info.NumVocab)
	runtime.GC() // what the collector makes for itself once is not the steps'
	for threads := 1; threads <= 2; threads++ {
		s.SetThreads(threads, threads)
		s.SetUbatch(64)
		fmt.Println("decode", threads, testing.AllocsPerRun(3, func() {
			_, err := s.Decode(0, 1)
			check(err)
		}))
		fmt.Println("prompt", threads, testing.AllocsPerRun(2, func() {
			s.Reset(0)
			check(s.Prompt(context.Background(), 0, tokens, rows, logits))
		}))
	}
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

// TestNothingIsAllocated: the steps of a real emitted program allocate nothing, on every target that runs here.
func TestNothingIsAllocated(t *testing.T) {
	for _, target := range cpu.Targets {
		if cpu.Detect().Check(target) != nil {
			continue
		}
		o := &Options{Ctx: 256, TargetCPU: target.Name, Out: filepath.Join(t.TempDir(), "probe"), hook: []byte(allocsHook)}
		res, err := Compile(context.Background(), tinyModel(t), o)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(res.Program)
		cmd.Env = append(os.Environ(), "ALLOCS=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", target.Name, err, out)
		}
		const want = "decode 1 0\nprompt 1 0\ndecode 2 0\nprompt 2 0\n"
		if got := string(out); got != want {
			t.Errorf("%s: allocations: %s, want %s", target.Name, strings.ReplaceAll(got, "\n", "; "), want)
		}
	}
}
