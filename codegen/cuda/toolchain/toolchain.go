// Package toolchain finds the compilers that turn CUDA source into code for
// GPUs, and drives them: nvcc, else NVRTC as a library, else clang, which needs
// no CUDA toolkit and writes PTX alone.
package toolchain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"qnc/codegen"
	"qnc/codegen/tool"
	"qnc/runtime/fault"
)

// An Arch is a GPU architecture, its compute capability times ten: 80 is sm_80.
type Arch int

// Oldest is the first architecture that the kernels run on: it has
// asynchronous copies and integer tensor cores.
const Oldest Arch = 80

// Usual are the architectures that a program is compiled for when none is named.
var Usual = []Arch{80, 86, 89, 90, 100, 120}

func (a Arch) String() string { return fmt.Sprintf("sm_%d", int(a)) }

// ParseArchs reads "sm_80,sm_90" and gives the architectures in ascending order.
func ParseArchs(s string) ([]Arch, error) {
	var out []Arch
	for _, word := range strings.Split(s, ",") {
		digits, ok := strings.CutPrefix(strings.TrimSpace(word), "sm_")
		bare := strings.TrimRight(digits, "af")
		n, err := strconv.ParseUint(bare, 10, 10)
		switch {
		case !ok || err != nil:
			return nil, fault.New(fault.Usage, "--target-gpu %q: not an architecture: want a list such as sm_80,sm_90", word)
		case bare != digits:
			return nil, fault.New(fault.Usage, "--target-gpu %s: the kernels use nothing that one architecture alone has: give sm_%s", word, bare)
		case Arch(n) < Oldest:
			return nil, fault.New(fault.Usage, "--target-gpu %s: the kernels need %s or newer: leave it out and keep these layers on the CPU", word, Oldest)
		}
		out = append(out, Arch(n))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// names lists architectures for a message.
func names(archs []Arch) []string {
	out := make([]string, len(archs))
	for i, a := range archs {
		out[i] = a.String()
	}
	return out
}

// A Kind is a way to compile; smaller ones are preferred.
type Kind int

const (
	NVCC  Kind = iota
	NVRTC      // a library of the toolkit: cubins and PTX without a host compiler
	Clang      // PTX alone, which the driver compiles at the first start
)

func (k Kind) String() string { return [...]string{"nvcc", "NVRTC", "clang"}[k] }

// A Compiler is one that was found and asked what it can do.
type Compiler struct {
	Kind         Kind
	Path         string // of the program or library
	Major, Minor int    // of CUDA, or of clang
	Archs        []Arch // ascending; those it knows from Oldest on
}

func (c *Compiler) String() string {
	return fmt.Sprintf("%s %d.%d at %s", c.Kind, c.Major, c.Minor, c.Path)
}

// A Job is one source to compile.
type Job struct {
	Files []codegen.File // the source first, then the headers that it includes
	Archs []Arch         // ascending
	// Trace gets each step before it is taken; nil: nobody asks.
	Trace  func(Step)
	DryRun bool // trace the steps, take none
}

// A Step is a command, or what a library is asked for.
type Step struct {
	Args    []string // of a library: its options and the file
	Library string   // "" of a command
}

// String is the step as a line for a shell; what a library does is a comment there.
func (s Step) String() string {
	var words []string
	if s.Library != "" {
		words = append(words, "#", s.Library)
	}
	for _, a := range s.Args {
		words = append(words, tool.Quote(a))
	}
	return strings.Join(words, " ")
}

// An Output is what a compile made.
type Output struct {
	// Image is what the driver loads: a fatbin, or from clang the text of PTX.
	Image []byte
	// Native are the architectures with machine code in Image. It runs on chips of the
	// same major and no older minor number.
	Native []Arch
	// PTX are the architectures with PTX in Image, for these and all newer chips: the
	// oldest and the newest of the job; from clang, the oldest.
	PTX []Arch
	// The CUDA version that a driver must support, as cuDriverGetVersion words it
	// (12040 is 12.4): to run the machine code, and to compile the PTX. 0: there is none.
	NativeCUDA, PTXCUDA int
	Usage               []Usage // what ptxas said of each kernel; nil from clang
}

// virtual gives the architectures whose PTX goes into the images: the oldest, which
// all chips between the named ones can use, and the newest, for those to come.
func virtual(archs []Arch) []Arch {
	return slices.Compact([]Arch{archs[0], archs[len(archs)-1]})
}

// isa is the first version of PTX, major × 10 + minor, that knows an architecture.
var isa = map[Arch]int{80: 70, 86: 71, 87: 74, 88: 90, 89: 78, 90: 78, 100: 86, 103: 88, 110: 90, 120: 87, 121: 88}

// cudaOfISA is the CUDA version that a driver must support to compile PTX of a version.
func cudaOfISA(major, minor int) int {
	if major == 8 && minor >= 6 { // 12.6 brought none
		minor++
	}
	return (major+4)*1000 + minor*10
}
