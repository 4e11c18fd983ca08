package cuda

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"qnc/codegen/cuda/ptx"
	"qnc/codegen/cuda/toolchain"
	"qnc/codegen/opcheck"
	"qnc/cudatemplates/emu"
)

var (
	update = flag.Bool("update", false, "rewrite the table of registers")
	full   = flag.Bool("full", false, "interpret all cases")
)

// interpret passes a job through the PTX of its kernels and returns its buffers afterwards.
func interpret(text []byte, job *emu.Job) (out [][]byte, lanes int64, err error) {
	m, err := ptx.Parse(text)
	if err != nil {
		return nil, 0, err
	}
	x := ptx.NewMachine(m)
	out = make([][]byte, len(job.Buffers))
	at := make([]uint64, len(out))
	for i, b := range job.Buffers {
		out[i] = slices.Clone(b)
		at[i] = x.Map(out[i])
	}
	for _, l := range job.Launches {
		k, err := m.Kernel(l.Kernel)
		if err != nil {
			return nil, 0, err
		}
		if len(k.Params) != len(l.Args) {
			return nil, 0, fmt.Errorf("kernel %s has %d parameters, the launch %d", l.Kernel, len(k.Params), len(l.Args))
		}
		run := &ptx.Launch{Kernel: l.Kernel, Grid: l.Grid, Block: l.Block, Shared: l.Shared, Cooperative: l.Cooperative}
		for i, a := range l.Args {
			switch {
			case a.Buffer >= 0:
				run.Args = append(run.Args, at[a.Buffer]+a.Value)
			case k.Params[i].Size == 8: // no buffer
				run.Args = append(run.Args, a.Value)
			default:
				run.Args = append(run.Args, uint32(a.Value))
			}
		}
		s, err := x.Launch(run)
		if err != nil {
			return nil, 0, err
		}
		lanes += s.Lanes
	}
	return out, lanes, nil
}

// compilers are those of this machine.
func compilers(t *testing.T) []*toolchain.Compiler {
	t.Helper()
	s := toolchain.Find(context.Background())
	if len(s.Compilers) == 0 {
		t.Skipf("no CUDA compiler (%v): %s", s.Broken, toolchain.Cure)
	}
	return s.Compilers
}

// TestPTX: what the compilers of this machine make of the kernels gives the bits of the
// emulator, in every byte of memory. Some cases of every op run, and those of a real
// model whose cost allows it; -full runs all of them.
func TestPTX(t *testing.T) {
	found := compilers(t)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab, err := opcheck.New(families[name]...)
			if err != nil {
				t.Fatal(err)
			}
			if !*full {
				lab.Sample(7)
			}
			comparePTX(t, lab, found)
		})
	}
	t.Run("real", func(t *testing.T) {
		if !*full {
			t.Skip("the shapes of a real model take minutes: -full runs them")
		}
		lab, err := opcheck.NewReal()
		if err != nil {
			t.Fatal(err)
		}
		comparePTX(t, lab, found)
	})
}

func comparePTX(t *testing.T, lab *opcheck.Lab, found []*toolchain.Compiler) {
	t.Helper()
	b, want := run(t, lab, false, emu.Schedules[:1])
	files, err := sources(b.p.kernels)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		text, err := c.PTX(context.Background(), &toolchain.Job{Files: files, Archs: []toolchain.Arch{toolchain.Oldest}}, toolchain.Oldest)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		have, lanes, err := interpret(text, &b.job)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		t.Logf("%s: %d million instructions of lanes", c, lanes/1e6)
		b.compareBits(t, c.String(), have, want)
	}
}

// compareBits reports the first difference, by the step's value where there is one.
func (b *bank) compareBits(t *testing.T, who string, have, want [][]byte) {
	t.Helper()
	for i, spans := range b.spans {
		for v, x := range spans {
			if at := differ(have[x.buffer][x.off:][:x.n], want[x.buffer][x.off:][:x.n]); at >= 0 {
				t.Errorf("%s: %s: %s differs from the emulator in the word at %d of %d bytes", who, b.Cases[b.Steps[i].Case].Name, v.LongString(), at, x.n)
				return
			}
		}
	}
	for i := range want {
		if at := differ(have[i], want[i]); at >= 0 {
			t.Errorf("%s: buffer %d differs from the emulator at %d, beside the results", who, i, at)
			return
		}
	}
}

// differ finds the first word that differs, -1 without one. A GPU makes other NaNs than a
// CPU: of float32, and of float16 always the same.
func differ(have, want []byte) int {
	for i := 0; i < len(want); i += 4 {
		n := min(4, len(want)-i)
		h, w := have[i:i+n], want[i:i+n]
		if !slices.Equal(h, w) && !(n == 4 && nan(h) && nan(w)) && !(nan16(h[:min(2, n)], w) && nan16(h[min(2, n):], w[min(2, n):])) {
			return i
		}
	}
	return -1
}

// nan16 reports a float16 that is the same, or the NaN of a GPU for that of a CPU.
func nan16(have, want []byte) bool {
	if slices.Equal(have, want[:len(have)]) {
		return true
	}
	w := binary.LittleEndian.Uint16(want)
	return binary.LittleEndian.Uint16(have) == 0x7fff && w&0x7fff > 0x7c00
}

func nan(b []byte) bool { f := math.Float32frombits(binary.LittleEndian.Uint32(b)); return f != f }

// TestRegisters holds the registers and shared memory of a real model's kernels against a table, for the
// version of nvcc that made it, and lets no version spill.
func TestRegisters(t *testing.T) {
	const golden = "testdata/registers.txt"
	lab, err := opcheck.NewReal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBank(lab)
	if err != nil {
		t.Fatal(err)
	}
	all := b.p.kernels
	files, err := sources(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range compilers(t) {
		if c.Kind == toolchain.Clang { // it has no assembler
			continue
		}
		archs := slices.DeleteFunc([]toolchain.Arch{80, 90, 120}, func(a toolchain.Arch) bool { return !slices.Contains(c.Archs, a) })
		if c.Kind == toolchain.NVRTC { // the same assembler as that of nvcc, or an old one
			archs = archs[:1]
		}
		out, err := c.Build(context.Background(), &toolchain.Job{Files: files, Archs: archs})
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		if err := toolchain.Spills(out.Usage); err != nil {
			t.Errorf("%s: %v", c, err)
		}
		if len(out.Usage) != len(all)*len(archs) {
			t.Errorf("%s: %d reports, want %d kernels for %v", c, len(out.Usage), len(all), archs)
		}
		if c.Kind != toolchain.NVCC {
			continue
		}
		have := fmt.Appendf(nil, "%s %d.%d\n%s", c.Kind, c.Major, c.Minor, toolchain.Table(out.Usage))
		if *update {
			if err := os.WriteFile(golden, have, 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		version, _, _ := strings.Cut(string(want), "\n")
		if !strings.HasPrefix(string(have), version+"\n") {
			t.Logf("the table is of %s, here is %s: only spills are checked", version, c)
		} else if !slices.Equal(have, want) {
			t.Errorf("registers differ from %s: look at them, then go test ./codegen/cuda -run TestRegisters -update\n%s", golden, have)
		}
	}
}
