package gguf

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestGuardPassesOn(t *testing.T) {
	want := errors.New("own error")
	if err := Guard(func() error { return want }); err != want {
		t.Errorf("error %v, want %v", err, want)
	}
	if err := Guard(func() error { return nil }); err != nil {
		t.Error(err)
	}
	for name, fn := range map[string]func() error{
		"panic": func() error { panic("boom") },
		"index": func() error { return []error{nil}[len(name(t))] },
		"nil":   func() error { var p *File; return errors.New(p.path) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Guard swallowed a panic that is no fault of a mapping", name)
				}
			}()
			_ = Guard(fn)
		}()
	}
}

func name(t *testing.T) string { return t.Name() }

func TestMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Map(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "data" {
		t.Errorf("mapped %q", m.Data)
	}
	for range 2 { // closing again is harmless
		if err := m.Close(); err != nil || m.Data != nil {
			t.Errorf("close: %v, %d bytes left", err, len(m.Data))
		}
	}
}
