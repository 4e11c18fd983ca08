package ptx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	deep := strings.Repeat("{", 100)
	for text, want := range map[string]string{
		"x":                           "line 1: x is not known",
		"\n\n;":                       `line 3: ";" begins no declaration`,
		"/* x":                        "line 1: a comment has no end",
		`.file "x`:                    "a string has no end",
		"\x01":                        `'\x01' is not part of PTX`,
		".address_size 32":            "64 is needed",
		".version x":                  "want a number",
		".version 7":                  `version "7"`,
		".section x {":                "a block has no end",
		".extern .global .u32 x;":     "variable x is in another module",
		".global .align 3 .u32 x;":    "variable x: alignment 3",
		".global .u32 x[0x7fffffff];": "array 2147483647: want 0 to 268435456",
		".global .u32 x[100000000];":  "variable x is larger than 268435456 bytes",
		".global .b8 x[200000000]; .global .b8 y[200000000];":                "variable y: all of them are more than",
		".global .u32 x[65536][65536];":                                      "larger than",
		".global .u32 x = {1, 2};":                                           "variable x has too many values",
		".global .u32 x; .global .u32 x;":                                    "declared twice",
		".global .u32 x = y;":                                                "want a number",
		".global x;":                                                         "variable x has no type",
		".shared .b8 x[300000];":                                             "want 0 to 232448",
		".entry k":                                                           "the end, want \"{\"",
		".entry k() {":                                                       "kernel k has no end",
		".entry k() " + deep:                                                 "nested more than 64 deep",
		".entry k(.param .u64 x, .param .u64 x) {}":                          "parameter x is there twice",
		".entry k(.param .b8 x[40000]) {}":                                   "want 0 to 32764",
		".entry k(.param .b8 x[30000], .param .b8 y[30000]) {}":              "more than 32764 bytes",
		".entry k() .maxntid 2048 {}":                                        "threads 2048: want 0 to 1024",
		".entry k() .maxntid 1024, 2 {}":                                     "more than 1024 threads",
		".entry k() .reqnctapercluster 2 {}":                                 "is not supported",
		".entry k() {} .entry k() {}":                                        "kernel k is there twice",
		".entry k() { bra L; }":                                              "there is no label L",
		".entry k() { L: L: ret; }":                                          "label L is there twice",
		".entry k() { { L: } bra L; }":                                       "there is no label L",
		".entry k() { mov.u32 x, 1; }":                                       "x is not declared",
		".entry k() { { .reg .b32 x; } mov.u32 x, 1; }":                      "x is not declared",
		".entry k() { .reg .b32 %r<4>; mov.u32 %r4, 1; }":                    "register %r4 is outside %r<4>",
		".entry k() { .reg .b32 %r<4>; mov.u32 %r99999999999999999999, 1; }": "is outside",
		".entry k() { .reg .b128 x; }":                                       ".b128 is no type of a register",
		".entry k() { .reg .b32 %r<9999999>; }":                              "registers 9999999: want",
		".entry k() { .reg .b32 x; @x ret; }":                                "is no predicate",
		".entry k() { .reg .b32 x; mov.u32 x, 0f12; }":                       `"0f12" is no float`,
		".entry k() { .reg .b32 x; mov.u32 x, 1z; }":                         `"1z" is no number`,
		".entry k() { .reg .b32 x; mov.u32 {{{{{x}}}}}, 1; }":                "nested too deep",
		".entry k() { .reg .b32 x; mov.u32 {x,x,x,x,x,x,x,x,x}, 1; }":        "more than 8 elements",
		".entry k() { .reg .b32 x; mov.u32 x 1; }":                           `"1", want ","`,
		".entry k() { .local .b8 l[600000]; }":                               "want 0 to 524288",
		".entry k() { call f; }":                                             "call of a function: not supported",
		".entry k() { .branchtargets L; }":                                   ".branchtargets in a kernel is not supported",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "ptx: line ") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestRegisters: what one kernel may use is bounded, whatever it declares.
func TestRegisters(t *testing.T) {
	var b strings.Builder
	b.WriteString(".entry k() {\n")
	for range maxRegs + 1 {
		b.WriteString("{ .reg .b32 x; mov.u32 x, 1; }\n")
	}
	b.WriteString("}\n")
	if _, err := Parse([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "uses more than 16384 registers") {
		t.Error(err)
	}
}

// FuzzParse: no text makes the parser, the decoder or a short run panic.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.ptx")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(text("shfl.sync.bfly.b32 v, v, 1, 31, 0xffffffff; bar.sync 0; cp.async.wait_all;"))
	f.Add(text("atom.shared.cas.b32 v, [s], 1, 2; ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r4}, [%r3]; bar.red.popc.u32 v, 0, %p1;"))
	f.Add(text("mov.b64 {%r1, _}, w; lop3.b32 v, v, v, v, 0x80; @%p1 bra L; bfe.s32 v, v, 3, 9; L: div.s32 v, v, n; cvt.rzi.s32.f32 v, v;"))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse([]byte(text))
		if err != nil {
			return
		}
		size := 0
		for _, v := range m.globals {
			if size += int(v.size); size > 1<<20 {
				return // the memory of a fuzzer is for finding faults
			}
		}
		x := NewMachine(m)
		buf := x.Map(make([]byte, 4096))
		for _, k := range m.Kernels {
			if k.Shared > 1<<14 || k.local > 1<<14 {
				continue
			}
			var args []any
			for _, p := range k.Params {
				arg := make([]byte, p.Size)
				if p.Size == 8 {
					put(arg, buf, 8)
				}
				args = append(args, arg)
			}
			x.Launch(&Launch{Kernel: k.Name, Block: [3]int{max(k.reqThreads, 1)}, Args: args, Steps: 2000})
		}
	})
}
