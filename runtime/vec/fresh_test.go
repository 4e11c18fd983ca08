package vec

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsFresh runs the generator elsewhere and compares: go generate rewrites the files.
func TestGeneratedIsFresh(t *testing.T) {
	sources, err := filepath.Glob("gen/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no generator", err)
	}
	args := []string{"run"}
	for _, s := range sources {
		abs, err := filepath.Abs(s)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, abs)
	}
	dir := t.TempDir()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(made) == 0 {
		t.Fatal("the generator wrote nothing", err)
	}
	for _, m := range made {
		want, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(filepath.Base(m)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is stale: go generate ./runtime/vec (%v)", filepath.Base(m), err)
		}
	}
}
