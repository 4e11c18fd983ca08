package toolchain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"qnc/codegen/tool"
	"qnc/runtime/fault"
)

// Cure says how to get a compiler.
const Cure = "install the CUDA toolkit and put nvcc on the PATH (or name its folder in CUDA_HOME), or libnvrtc, or clang 16 or newer; or keep the model on the CPU (-ngl 0)"

// A Search is what Find found.
type Search struct {
	Compilers []*Compiler // the preferred first
	Broken    []string    // what was there and cannot be used, and why
}

// Find looks for compilers: nvcc on the PATH, in CUDA_HOME, CUDA_PATH and
// /usr/local/cuda, libnvrtc in the same folders and where the loader looks, clang++ on the PATH.
func Find(ctx context.Context) *Search {
	s := &Search{}
	dirs := homes()
	for _, find := range []func(context.Context, []string) (*Compiler, error){findNVCC, findNVRTC, findClang} {
		switch c, err := find(ctx, dirs); {
		case err != nil:
			s.Broken = append(s.Broken, err.Error())
		case c != nil:
			s.Compilers = append(s.Compilers, c)
			if c.Kind == NVCC { // its toolkit may bring NVRTC
				dirs = append(dirs, filepath.Dir(filepath.Dir(c.Path)))
			}
		}
	}
	return s
}

// homes are the folders where a toolkit may be.
func homes() []string {
	var out []string
	for _, dir := range []string{os.Getenv("CUDA_HOME"), os.Getenv("CUDA_PATH"), "/usr/local/cuda"} {
		if dir != "" && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// Choose gives the preferred compiler that knows all of archs.
func (s *Search) Choose(archs []Arch) (*Compiler, error) {
	if len(s.Compilers) == 0 {
		why := ""
		if len(s.Broken) > 0 {
			why = " (" + strings.Join(s.Broken, "; ") + ")"
		}
		return nil, fault.New(fault.Missing, "no CUDA compiler was found%s: %s", why, Cure)
	}
	var first error
	for _, c := range s.Compilers {
		err := c.knows(archs)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// knows reports the architectures that c does not know.
func (c *Compiler) knows(archs []Arch) error {
	var not []Arch
	for _, a := range archs {
		// Clang's PTX of the oldest runs on all the others.
		if !slices.Contains(c.Archs, a) && (c.Kind != Clang || a == archs[0]) {
			not = append(not, a)
		}
	}
	if not == nil {
		return nil
	}
	return fault.New(fault.Missing, "--target-gpu %s: %s does not know %s: it knows %s, whose PTX runs on newer chips too; name these, or install a newer CUDA toolkit",
		strings.Join(names(archs), ","), c, fault.Either(names(not)...), strings.Join(names(c.Archs), ", "))
}

// ask runs a compiler's program for a line about itself.
func ask(ctx context.Context, path string, args ...string) (string, error) {
	b, err := tool.Output(ctx, exec.CommandContext(ctx, path, args...))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return string(b), nil
}

var (
	releaseRE = regexp.MustCompile(`release (\d+)\.(\d+)`)
	clangRE   = regexp.MustCompile(`clang version (\d+)\.(\d+)`)
	smRE      = regexp.MustCompile(`(?m)^\s*sm_(\d+)\s*$`)
)

// version finds two numbers in what a compiler says.
func version(re *regexp.Regexp, said string) (major, minor int, ok bool) {
	m := re.FindStringSubmatch(said)
	if m == nil {
		return 0, 0, false
	}
	major, err := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return major, minor, err == nil && err2 == nil
}

// archsOf collects the architectures in a list of lines.
func archsOf(said string) []Arch {
	var out []Arch
	for _, m := range smRE.FindAllStringSubmatch(said, -1) {
		if n, err := strconv.ParseUint(m[1], 10, 10); err == nil && Arch(n) >= Oldest {
			out = append(out, Arch(n))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func findNVCC(ctx context.Context, homes []string) (*Compiler, error) {
	path, err := exec.LookPath("nvcc")
	for i := 0; err != nil && i < len(homes); i++ {
		path, err = exec.LookPath(filepath.Join(homes[i], "bin", "nvcc"))
	}
	if err != nil {
		return nil, nil
	}
	said, err := ask(ctx, path, "--version")
	if err != nil {
		return nil, err
	}
	c := &Compiler{Kind: NVCC, Path: path}
	var ok bool
	if c.Major, c.Minor, ok = version(releaseRE, said); !ok {
		return nil, fmt.Errorf("%s --version names no release", path)
	}
	if c.Major < 11 || c.Major == 11 && c.Minor < 2 {
		return nil, fmt.Errorf("%s: CUDA %d.%d is too old: the kernels need 11.2", path, c.Major, c.Minor)
	}
	if os.Getenv("NVCC_CCBIN") == "" && runtime.GOOS != "windows" {
		if _, err := exec.LookPath("gcc"); err != nil {
			return nil, fmt.Errorf("%s needs a host compiler: install g++", path)
		}
	}
	said, err = ask(ctx, path, "--list-gpu-code")
	if err != nil {
		return nil, err
	}
	c.Archs = archsOf(said)
	return c, nil
}

// oldestClang is the first whose CUDA works without a toolkit.
const oldestClang, newestClang = 16, 24

func findClang(ctx context.Context, _ []string) (*Compiler, error) {
	names := []string{"clang++"}
	for v := newestClang; v >= oldestClang; v-- {
		names = append(names, fmt.Sprintf("clang++-%d", v))
	}
	var broken error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		said, err := ask(ctx, path, "--version")
		if err != nil {
			broken = err
			continue
		}
		c := &Compiler{Kind: Clang, Path: path}
		c.Major, c.Minor, _ = version(clangRE, said)
		if c.Major < oldestClang {
			broken = fmt.Errorf("%s is version %d: CUDA without a toolkit needs clang %d", path, c.Major, oldestClang)
			continue
		}
		if said, err = ask(ctx, path, "--target=nvptx64-nvidia-cuda", "--print-supported-cpus"); err != nil {
			broken = fmt.Errorf("%s has no NVPTX target", path)
			continue
		}
		c.Archs = slices.DeleteFunc(archsOf(said), func(a Arch) bool { return isa[a] == 0 })
		return c, nil
	}
	return nil, broken
}
