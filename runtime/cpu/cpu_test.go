package cpu

import (
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		target string
		m      Machine
		want   string // part of the error, "" for none
	}{
		{"portable", Machine{"arm64", 0}, ""},
		{"x86-64-v3", Machine{"amd64", v3}, ""},
		{"x86-64-v3", Machine{"arm64", 0}, "the machine is arm64: compile it with --target-cpu portable"},
		{"x86-64-v4", Machine{"amd64", v3 | AVX512F}, "the CPU lacks avx512bw avx512cd avx512dq avx512vl: compile it with --target-cpu x86-64-v3"},
		{"x86-64-v4+vnni", Machine{"amd64", v4}, "lacks avx512_vnni: compile it with --target-cpu x86-64-v3"},
		{"x86-64-v4+vnni", Machine{"amd64", v4 | AVX512VNNI}, ""},
		{"x86-64-v3", Machine{"amd64", 0}, "lacks avx2 bmi1 bmi2 fma f16c: compile it with --target-cpu portable"},
	} {
		target, ok := ByName(c.target)
		if !ok {
			t.Fatalf("no target %s", c.target)
		}
		err := c.m.Check(target)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s on %v: %v, want %q", c.target, c.m, err, c.want)
		}
		if err != nil && fault.CodeOf(err) != fault.Missing {
			t.Errorf("%v has code %d", err, fault.CodeOf(err))
		}
	}
}

func TestTargets(t *testing.T) {
	for i, target := range Targets[1:] {
		if target.Need&Targets[i].Need != Targets[i].Need || target.Need == Targets[i].Need {
			t.Errorf("%s does not need more than %s", target.Name, Targets[i].Name)
		}
	}
	m := Detect()
	if err := m.Check(m.Best()); err != nil {
		t.Error(err)
	}
	if _, ok := ByName("pentium"); ok {
		t.Error("pentium is a target")
	}
}
