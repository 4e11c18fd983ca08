package host

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite thirdparty.zip from the module cache")

// packed are the packages that a driver needs, with the way it is built.
var packed = []struct{ pkg, cgo string }{{"github.com/ebitengine/purego", "0"}, {"gorgonia.org/cu", "1"}}

// collect lists the files of other modules that those packages are built from
// on Linux, and each module's licence, by module path and name. A module's
// go.mod names what these packages need and nothing of its tests.
func collect(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	read := func(name, path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	for _, p := range packed {
		for _, goarch := range []string{"amd64", "arm64"} {
			cmd := exec.Command("go", "list", "-deps", "-json", p.pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+p.cgo, "GOOS=linux", "GOARCH="+goarch, "GOFLAGS=-mod=mod")
			out, err := cmd.Output()
			if err != nil {
				t.Skipf("the modules are not at hand: go list %s: %v", p.pkg, err)
			}
			for dec := json.NewDecoder(bytes.NewReader(out)); ; {
				var x struct {
					ImportPath, Dir                           string
					Module                                    *struct{ Path, Version, Dir, GoVersion string }
					GoFiles, CgoFiles, CFiles, HFiles, SFiles []string
				}
				if err := dec.Decode(&x); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if x.Module == nil {
					continue
				}
				for _, f := range slices.Concat(x.GoFiles, x.CgoFiles, x.CFiles, x.HFiles, x.SFiles) {
					read(x.ImportPath+"/"+f, filepath.Join(x.Dir, f))
				}
				licence, err := filepath.Glob(filepath.Join(x.Module.Dir, "LICENSE*"))
				if err != nil || len(licence) == 0 {
					t.Fatalf("%s has no licence: %v", x.Module.Path, err)
				}
				read(x.Module.Path+"/"+filepath.Base(licence[0]), licence[0])
				files[x.Module.Path+"/go.mod"] = []byte("module " + x.Module.Path + "\n\ngo " + max(x.Module.GoVersion, "1.21") + "\n")
			}
		}
	}
	return files
}

// TestThirdParty: the packed modules are those of go.mod, byte for byte.
func TestThirdParty(t *testing.T) {
	want := collect(t)
	var names []string
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	if *update {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range names {
			f, err := w.Create(name)
			if err == nil {
				_, err = f.Write(want[name])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("thirdparty.zip", b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		thirdParty = b.Bytes()
	}
	seen := 0
	for _, module := range []string{"github.com/ebitengine/purego", "gorgonia.org/cu", "github.com/pkg/errors", "github.com/google/uuid"} {
		files, err := vendored(module)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := strings.TrimPrefix(f.Name, vendorDir)
			if !bytes.Equal(f.Data, want[name]) {
				t.Errorf("%s is not that of go.mod's version: go test ./codegen/host -update", name)
			}
			seen++
		}
	}
	if seen != len(want) {
		t.Errorf("%d files are packed, want %d: go test ./codegen/host -update", seen, len(want))
	}
}

// TestVersions: the emitted go.mod asks for the versions of this project's.
func TestVersions(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Drivers {
		for _, m := range d.modules {
			if !bytes.Contains(mod, []byte("\t"+m.path+" "+m.version)) {
				t.Errorf("go.mod has another version of %s than %s", m.path, m.version)
			}
		}
	}
}
