package asm

import (
	"bytes"
	"encoding/json"
	"go/format"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qnc/codegen/cpu/asm/internal/cases"
	"qnc/runtime/panel"
)

// TestMachine runs the text of every kernel for every target against the scalar products.
func TestMachine(t *testing.T) {
	for _, target := range Targets {
		text, _ := Emit(target, "main", Kernels)
		for _, k := range Kernels {
			t.Run(target.Name+"/"+k.Name, func(t *testing.T) {
				t.Parallel()
				m, err := load(target, text, k.Name)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, m, k)
			})
		}
	}
}

func compare(t *testing.T, m *machine, k Kernel) {
	form, _ := panel.ByName(k.Format)
	r := rand.New(rand.NewPCG(1, 2))
	for _, width := range []int{256, 768} {
		for c := range cases.Count {
			n := 1 + c%4
			rows := cases.Weights(r, form.Kind, width, c)
			w := make([]byte, form.Bytes(width))
			form.Pack(w, rows, width)
			x, offset := cases.Activations(r, width, n, c)
			dst, want := make([]byte, 64*n), make([]float32, 16*n)
			if err := m.call(w, x, offset, dst, n, width/k.Block); err != nil {
				t.Fatalf("k=%d n=%d case %d: %v", width, n, c, err)
			}
			form.Dot(want, w, x, offset, width)
			for i, v := range want {
				got := math.Float32frombits(le.Uint32(dst[4*i:]))
				if math.Float32bits(got) != math.Float32bits(v) && (got == got || v == v) {
					t.Fatalf("k=%d n=%d case %d: token %d row %d: %g, want %g", width, n, c, i/16, i%16, got, v)
				}
			}
		}
	}
}

// TestKernels assembles the kernels of all targets, and runs them where this computer can.
func TestKernels(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("kernels are for amd64")
	}
	for _, target := range Targets {
		t.Run(target.Name, func(t *testing.T) {
			exe := build(t, target)
			if !runs(t, target) {
				t.Skip("this computer lacks what the target needs: only assembled")
			}
			for _, mode := range []string{"check", "guard"} {
				if out, err := exec.Command(exe, mode).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", mode, err, out)
				}
			}
		})
	}
}

// build makes testdata/kernels with the kernels of target beside it.
func build(t testing.TB, target Target) string {
	dir := t.TempDir()
	text, stubs := Emit(target, "main", Kernels)
	main, err := filepath.Abs("testdata/kernels")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, data := range map[string][]byte{"kernels_amd64.s": text, "kernels_amd64.go": stubs} {
		replace[filepath.Join(main, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "kernels")
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", exe, main).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// runs says whether Linux lists the flags of the target.
func runs(t testing.TB, target Target) bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	_, line, _ := strings.Cut(string(info), "\nflags")
	line, _, _ = strings.Cut(line, "\n")
	have := " " + line + " "
	for _, f := range target.Flags {
		if !strings.Contains(have, " "+f+" ") {
			return false
		}
	}
	return true
}

func TestStubsAreGo(t *testing.T) {
	for _, target := range Targets {
		text, stubs := Emit(target, "x", Kernels)
		again, _ := Emit(target, "x", Kernels)
		if !bytes.Equal(text, again) {
			t.Errorf("%s: two texts differ", target.Name)
		}
		if out, err := format.Source(stubs); err != nil || !bytes.Equal(out, stubs) {
			t.Errorf("%s: declarations are not formatted: %v", target.Name, err)
		}
	}
}
