package main

import "testing"

func TestNewEnough(t *testing.T) {
	for v, want := range map[string]bool{
		"": false, "go1.25.9": false, "go1.26": true, "go1.26.8": true, "go1.27rc1": true, "go2.0": true,
		"go1.9": false, "devel go1.28-abc": true, "nonsense": false,
	} {
		if have := newEnough(v); have != want {
			t.Errorf("newEnough(%q) = %v", v, have)
		}
	}
}

func TestChosen(t *testing.T) {
	for s, want := range map[string]string{"always [madvise] never\n": "madvise", "": "", "[always": "always"} {
		if have := chosen(s); have != want {
			t.Errorf("chosen(%q) = %q", s, have)
		}
	}
}
