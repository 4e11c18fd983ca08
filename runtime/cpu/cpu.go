// Package cpu knows the target CPUs that a program is compiled for, and checks
// at start that the machine has what the target needs. The Go part of a program
// is always built for the baseline, so that this check can speak.
package cpu

import (
	"slices"
	"strings"

	"qnc/runtime/fault"
)

// Features is a set of CPU features that the operating system lets us use.
type Features uint32

const (
	AVX2 Features = 1 << iota
	BMI1
	BMI2
	FMA
	F16C
	AVX512F
	AVX512BW
	AVX512CD
	AVX512DQ
	AVX512VL
	AVX512VNNI
)

// names lists the features in the order of their bits, as /proc/cpuinfo spells them.
var names = []string{"avx2", "bmi1", "bmi2", "fma", "f16c", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}

// String lists the features, separated by spaces.
func (f Features) String() string {
	var s []string
	for i, n := range names {
		if f>>i&1 != 0 {
			s = append(s, n)
		}
	}
	return strings.Join(s, " ")
}

// A Target is a CPU that kernels are emitted for.
type Target struct {
	Name string
	Arch string // GOARCH, "" for any
	Need Features

	// Proven: its kernels have run on hardware. Those of the others have been
	// checked by interpreters of their text only, so native does not choose them.
	Proven bool
}

const (
	v3 = AVX2 | BMI1 | BMI2 | FMA | F16C
	v4 = v3 | AVX512F | AVX512BW | AVX512CD | AVX512DQ | AVX512VL
)

// Targets are ordered: each needs more than the one before.
var Targets = []Target{
	{"portable", "", 0, true},
	{"x86-64-v3", "amd64", v3, true},
	{"x86-64-v4", "amd64", v4, false},
	{"x86-64-v4+vnni", "amd64", v4 | AVX512VNNI, false},
}

// Names lists the targets.
func Names() []string {
	var s []string
	for _, t := range Targets {
		s = append(s, t.Name)
	}
	return s
}

// ByName finds a target.
func ByName(name string) (Target, bool) {
	i := slices.IndexFunc(Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Target{}, false
	}
	return Targets[i], true
}

// A Machine is what a program runs on.
type Machine struct {
	Arch string
	Has  Features
}

// Check returns an error of code fault.Missing that names what the machine
// lacks for t, or nil.
func (m Machine) Check(t Target) error {
	if t.Arch != "" && t.Arch != m.Arch {
		return fault.New(fault.Missing, "this program is compiled for %s on %s, the machine is %s: compile it with --target-cpu portable", t.Name, t.Arch, m.Arch)
	}
	if lack := t.Need &^ m.Has; lack != 0 {
		return fault.New(fault.Missing, "this program is compiled for %s, the CPU lacks %s: compile it with --target-cpu %s", t.Name, lack, m.Best().Name)
	}
	return nil
}

// Best is the last proven target that the machine can run: native.
func (m Machine) Best() Target {
	best := Targets[0]
	for _, t := range Targets {
		if t.Proven && (t.Arch == "" || t.Arch == m.Arch) && t.Need&^m.Has == 0 {
			best = t
		}
	}
	return best
}
