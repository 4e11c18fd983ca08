package compiler

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"qnc/ir"
)

// TestShellLine: what is printed is what a shell runs.
func TestShellLine(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	dir := filepath.Join(t.TempDir(), "it's a $folder")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	args := []string{"env", "printf", "%s\n", "-ldflags=-s -w -X main.buildID=00", "", "a'b", `c"d\n`, "$HOME", "*"}
	b, err := exec.Command(sh, "-c", shellLine(dir, buildEnv(), args)+"; pwd; echo $CGO_ENABLED").Output()
	want := strings.Join(args[3:], "\n") + "\n" + dir + "\n"
	if err != nil || !strings.HasPrefix(string(b), want) {
		t.Errorf("%s\nprints %q, want %q, %v", shellLine(dir, buildEnv(), args), b, want, err)
	}
}

// TestDryRun: -n prints lines that a shell takes.
func TestDryRun(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	for _, work := range []string{"", t.TempDir()} {
		var b bytes.Buffer
		o := tinyOptions(filepath.Join(t.TempDir(), "a program"))
		o.DryRun, o.Stderr, o.Work = true, &b, work
		if _, err := Compile(context.Background(), tinyModel(t), o); err != nil {
			t.Fatal(err)
		}
		lines := b.String()
		for _, want := range []string{"# pack " + o.Out + ".weights", "cd ", " CGO_ENABLED=0 ", " go build ", `"-ldflags=-s -w -X main.buildID=$ID"`, " -o '" + o.Out + "' ."} {
			if !strings.Contains(lines, want) {
				t.Errorf("%q is not in\n%s", want, lines)
			}
		}
		// A stand-in for go shows what it is called with.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\nfor a; do echo \"<$a>\"; done\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(sh, "-ec", lines)
		cmd.Env = append(os.Environ(), "ID=00ff", "TMPDIR="+bin, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "<-ldflags=-s -w -X main.buildID=00ff>\n<-o>\n<"+o.Out+">\n<.>\n") {
			t.Errorf("%s\ngives %s, %v", lines, out, err)
		}
	}
}

// TestOutPath: a folder gets the program under the model's name.
func TestOutPath(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ out, want string }{
		{"", "m"},
		{dir, filepath.Join(dir, "m")},
		{dir + "/", filepath.Join(dir, "m")},
		{filepath.Join(dir, "none") + "/", filepath.Join(dir, "none", "m")},
		{filepath.Join(dir, "program"), filepath.Join(dir, "program")},
	} {
		if got := outPath(c.out, "models/m.gguf"); got != c.want {
			t.Errorf("-o %q: %s, want %s", c.out, got, c.want)
		}
	}
}

// TestWarnsOfDisk: weights that memory cannot hold are told, others not.
func TestWarnsOfDisk(t *testing.T) {
	for mem, want := range map[int64]string{0: "", 45 << 30: "", 47 << 29: "weights 45.0 GiB are mapped; memory is 23.5 GiB: expect reads from disk"} {
		j := &job{}
		j.info.WeightBytes = 45 << 30
		if got := strings.Join(j.slow(ir.Machine{Devices: []ir.DeviceInfo{{Name: "cpu", Mem: mem}}}), ""); got != want {
			t.Errorf("memory %d: %q, want %q", mem, got, want)
		}
	}
	var b bytes.Buffer
	o := tinyOptions("tiny")
	o.StopAfter, o.Stderr, o.Machine = Import, &b, filepath.Join(t.TempDir(), "small.qir")
	if err := os.WriteFile(o.Machine, []byte("module m level=graph {\n\tdevice cpu mem=40KiB\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(context.Background(), tinyModel(t), o); err != nil || !strings.Contains(b.String(), " are mapped; memory is 0.0 MiB: expect reads from disk\n") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
