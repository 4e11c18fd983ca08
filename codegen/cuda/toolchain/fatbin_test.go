package toolchain

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"qnc/codegen"
)

func TestFatbin(t *testing.T) {
	elf := []byte("\x7fELF\x02\x01\x01A\x08\x00\x00\x00\x00\x00\x00\x00code")
	b, err := fatbin([]piece{{80, elf}, {90, []byte("// x\n.version 8.4\n.target sm_90\n")}})
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != 0xba55ed50 || le.Uint64(b[8:]) != uint64(len(b)-16) {
		t.Errorf("header % x", b[:16])
	}
	first := b[16:]
	if le.Uint16(first) != 2 || le.Uint32(first[4:]) != 64 || le.Uint64(first[8:]) != 24 || first[24] != 8 || first[28] != 80 || !bytes.HasPrefix(first[64:], elf) {
		t.Errorf("machine code % x", first[:64])
	}
	second := first[64+24:]
	if le.Uint16(second) != 1 || le.Uint32(second[4:]) != 80 || second[24] != 4 || second[26] != 8 || second[28] != 90 || !bytes.HasSuffix(bytes.TrimRight(second, "\x00"), []byte("sm_90\n")) || second[len(second)-1] != 0 || len(second)%8 != 0 {
		t.Errorf("PTX % x", second)
	}
	for _, bad := range []string{"", "\x7fELF", ".version x", ".version 9999.1"} {
		if _, err := fatbin([]piece{{80, []byte(bad)}}); err == nil {
			t.Errorf("%q is packed", bad)
		}
	}
}

// TestFatbinary compares with NVIDIA's own program, where it is.
func TestFatbinary(t *testing.T) {
	ctx := context.Background()
	s := Find(ctx)
	i := slices.IndexFunc(s.Compilers, func(c *Compiler) bool { return c.Kind == NVCC })
	if i < 0 {
		t.Skip("no nvcc: its toolkit has the fatbinary to compare with")
	}
	nvcc := s.Compilers[i]
	tool := filepath.Join(filepath.Dir(nvcc.Path), "fatbinary")
	dir := t.TempDir()
	source := []codegen.File{{Name: "k.cu", Data: []byte("extern \"C\" __attribute__((global)) void k(int *p) { *p = 1; }\n")}}
	job := &Job{Files: source, Archs: []Arch{80}}
	ptx, err := nvcc.PTX(ctx, job, 80)
	if err != nil {
		t.Fatal(err)
	}
	cubin, _, err := nvcc.program(ctx, job, append(nvcc.nvccArgs(job), "-cubin", "-arch=sm_80"), "k.cubin")
	if err != nil {
		t.Fatal(err)
	}
	pack := func(ptx []byte) []byte {
		t.Helper()
		for name, data := range map[string][]byte{"k.ptx": ptx, "k.cubin": cubin} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(tool, "-64", "--compress=false", "--create=k.fatbin", "--image3=kind=elf,sm=80,file=k.cubin", "--image3=kind=ptx,sm=80,file=k.ptx")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("fatbinary: %v %s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "k.fatbin"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	// It leaves comments out: what it makes of the text is compared, not the text.
	first := pack(ptx)
	bare := bytes.TrimRight(first[16+64+(len(cubin)+7)&^7+80:], "\x00")
	want := pack(bare)
	have, err := fatbin([]piece{{80, cubin}, {80, bare}})
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%d bytes, want %d; %v", len(have), len(want), err)
	}
}
