package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// A job is one process: the tests that every program runs in it.
type job struct {
	name        string
	prompt, gen int
	depths      []int
	ubatch      int
	threads     []int
	reps        int
	kv          string
	start       bool // the time of the whole process counts, nothing is warmed up
	memory      bool // and its memory
}

// jobs lists the processes of one round.
func (o *options) jobs() []job {
	as := []int{o.threads}
	all := []job{
		{name: "start", prompt: 1, ubatch: o.prompt, threads: as, reps: 1, kv: plainKV, start: true},
		{name: "speed", prompt: o.prompt, gen: o.gen, ubatch: o.prompt, threads: as, reps: o.reps, kv: plainKV, memory: true},
	}
	if o.more > 0 {
		all = append(all, job{name: "threads", prompt: o.prompt, gen: o.gen, ubatch: o.prompt, threads: []int{o.more}, reps: o.reps, kv: plainKV})
	}
	if o.big > 0 {
		all = append(all, job{name: "big", prompt: o.big, ubatch: o.big, threads: as, reps: o.reps, kv: plainKV})
	}
	for _, kv := range o.kvs {
		for _, d := range o.depths {
			all = append(all, job{name: fmt.Sprintf("depth %d %s", d, kv), gen: o.deepGen, depths: []int{d}, ubatch: o.prompt, threads: as, reps: 1, kv: kv})
		}
	}
	return all
}

// plainKV is the type of the KV cache where nothing else is asked for.
const plainKV = "f16"

// ctx is the context that the jobs need.
func (o *options) ctx() int {
	n := max(o.prompt, o.big, o.gen)
	for _, d := range o.depths {
		n = max(n, d+o.deepGen)
	}
	return (n + 255) / 256 * 256
}

// A program runs jobs.
type program struct {
	name string
	exe  func(*options, *job) string
	args func(*options, *job) []string
}

const (
	ours     = "qnc"
	llama    = "llama.cpp"
	ik       = "ik_llama.cpp"
	ikRepack = "ik_llama.cpp -rtr 1"
)

// programs lists those that the options name, ours first.
func (o *options) programs() []program {
	all := []program{{ours, func(o *options, j *job) string { return o.compiled(j.kv) }, oursArgs}}
	if o.llama != "" {
		all = append(all, program{llama, func(o *options, _ *job) string { return o.llama }, llamaArgs})
	}
	if o.ik != "" {
		exe := func(o *options, _ *job) string { return o.ik }
		all = append(all,
			program{ik, exe, func(o *options, j *job) []string { return ikArgs(o, j, "0") }},
			program{ikRepack, exe, func(o *options, j *job) []string { return ikArgs(o, j, "1") }})
	}
	return all
}

// compiled is our program for a type of KV cache.
func (o *options) compiled(kv string) string { return filepath.Join(o.work, "model-"+kv) }

func list(ns []int) string {
	s := make([]string, len(ns))
	for i, n := range ns {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, ",")
}

// common are the flags that all of them understand alike.
func (j *job) common() []string {
	return []string{"-o", "json", "-r", strconv.Itoa(j.reps), "-b", strconv.Itoa(max(2048, j.ubatch)), "-ub", strconv.Itoa(j.ubatch), "-t", list(j.threads)}
}

func (j *job) sizes() []string {
	args := []string{"-p", strconv.Itoa(j.prompt), "-n", strconv.Itoa(j.gen)}
	if len(j.depths) > 0 {
		args = append(args, "-d", list(j.depths))
	}
	return args
}

func oursArgs(_ *options, j *job) []string {
	args := append([]string{"bench"}, append(j.common(), j.sizes()...)...)
	if j.start {
		args = append(args, "--no-warmup")
	}
	return args
}

func llamaArgs(o *options, j *job) []string {
	args := append(append([]string{"-m", o.model}, j.common()...), j.sizes()...)
	if j.kv != plainKV {
		args = append(args, "-ctk", j.kv, "-ctv", j.kv, "-fa", "1")
	}
	if j.start {
		args = append(args, "--no-warmup")
	}
	return args
}

// ikArgs: a depth is the prompt of -gp, which is not timed.
func ikArgs(o *options, j *job, repack string) []string {
	args := append([]string{"-m", o.model, "-fa", "1", "-fmoe", "1", "-rtr", repack}, j.common()...)
	if len(j.depths) > 0 {
		args = append(args, "-p", "0", "-n", "0")
		for _, d := range j.depths {
			args = append(args, "-gp", fmt.Sprintf("%d,%d", d, j.gen))
		}
	} else {
		args = append(args, j.sizes()...)
	}
	if j.kv != plainKV {
		args = append(args, "-ctk", j.kv, "-ctv", j.kv)
	}
	if j.start {
		args = append(args, "-w", "0")
	}
	return args
}
