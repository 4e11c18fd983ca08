package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

var (
	build = [32]byte{1, 2, 3}
	other = [32]byte{9, 8, 7}
)

func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func section(name string, data []byte) Section {
	return Section{Name: name, Size: int64(len(data)), Write: func(w io.Writer) error {
		for rest := data; len(rest) > 0; { // in pieces, as writers do
			n := min(len(rest), 50000)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}}
}

// samples are data of sizes around the bounds of the layout.
func samples() map[string][]byte {
	m := map[string][]byte{}
	for i, n := range []int{0, 1, 63, 64, 65, largeAlign - 1, largeAlign, largeAlign + 1, 3 << 20} {
		m[fmt.Sprintf("blk.%d.weight", i)] = content(uint64(i), n)
	}
	return m
}

func sampleSections() (all []Section) {
	m := samples()
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		all = append(all, section(n, m[n]))
	}
	meta := section("meta", []byte("GGUF"))
	meta.Kind = Meta
	return append(all, meta)
}

// small is a pack of a few hundred bytes.
func small(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "w")
	if err := Create(path, build, []Section{section("a", []byte("hello")), section("bb", nil), section("c", []byte{0})}, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func names(t *testing.T, dir string) (all []string) {
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		all = append(all, e.Name())
	}
	return all
}

func check(t *testing.T, f *File) {
	t.Helper()
	m := samples()
	for name, want := range m {
		if got := f.Section(name); got == nil || !bytes.Equal(got, want) {
			t.Errorf("section %s: %d bytes, want %d", name, len(got), len(want))
		}
	}
	if got := f.Section("meta"); string(got) != "GGUF" {
		t.Errorf("meta = %q", got)
	}
	if f.Section("nothing") != nil {
		t.Error("a section that is not there has bytes")
	}
	if len(f.Entries()) != len(m)+1 || f.Entries()[len(m)].Kind != Meta {
		t.Errorf("entries: %v", f.Entries())
	}
	for _, e := range f.Entries() {
		if a := int64(smallAlign); e.Offset%a != 0 || e.Size >= largeAlign && e.Offset%largeAlign != 0 {
			t.Errorf("section %s of %d bytes at %d", e.Name, e.Size, e.Offset)
		}
		b, err := f.At(e.Offset, e.Size)
		if err != nil || !bytes.Equal(b, f.Section(e.Name)) {
			t.Errorf("At(%d, %d): %v", e.Offset, e.Size, err)
		}
		if e.SHA256 != sha256.Sum256(b) {
			t.Errorf("section %s: wrong digest", e.Name)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, -1}, {f.Size(), 1}, {1, f.Size()}, {1 << 62, 1 << 62}} {
		if b, err := f.At(r[0], r[1]); err == nil || fault.CodeOf(err) != fault.Model {
			t.Errorf("At%v: %d bytes, %v", r, len(b), err)
		}
	}
	var last int64
	var total int64
	if err := f.Verify(func(done, all int64) {
		if done <= last || done > all {
			t.Errorf("progress %d after %d of %d", done, last, all)
		}
		last, total = done, all
	}); err != nil {
		t.Error(err)
	}
	if last != total || total == 0 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.weights")
	var last, total int64
	if err := Create(path, build, sampleSections(), func(done, all int64) {
		if done <= last {
			t.Errorf("progress %d after %d", done, last)
		}
		last, total = done, all
	}); err != nil {
		t.Fatal(err)
	}
	if last != total || total == 0 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	f, err := Open(path, build)
	if err != nil {
		t.Fatal(err)
	}
	check(t, f)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func TestEmbedded(t *testing.T) {
	dir := t.TempDir()
	exe, path := filepath.Join(dir, "bare"), filepath.Join(dir, "model")
	program := content(9, 100001)
	if err := os.WriteFile(exe, program, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := PrepareEmbedded(context.Background(), exe, path, build, sampleSections(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Commit(p); err != nil {
		t.Fatal(err)
	}
	f, err := OpenEmbedded(path, build)
	if err != nil {
		t.Fatal(err)
	}
	check(t, f)
	f.Close()
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(all, program) {
		t.Error("the executable has changed")
	}
	if st, _ := os.Stat(path); runtime.GOOS != "windows" && st.Mode()&0o100 == 0 {
		t.Errorf("mode %v: not executable", st.Mode())
	}
	if _, err := OpenEmbedded(path, other); err == nil || !strings.Contains(err.Error(), "another compile") {
		t.Errorf("another build id: %v", err)
	}
	if _, err := OpenEmbedded(exe, build); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("no weights: %v", err)
	}
	n := len(all) - trailerBytes
	for name, edit := range map[string]func(b []byte) []byte{
		"truncated":    func(b []byte) []byte { return b[:len(b)-1] },
		"longer":       func(b []byte) []byte { return append(b, 0) },
		"start":        func(b []byte) []byte { le.PutUint64(b[n+8:], 1); return b },
		"start beyond": func(b []byte) []byte { le.PutUint64(b[n+8:], 1<<63); return b },
		"total":        func(b []byte) []byte { le.PutUint64(b[n+16:], 1<<63); return b },
	} {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, edit(bytes.Clone(all)), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := OpenEmbedded(bad, build)
		if name == "truncated" && (err == nil || !strings.Contains(err.Error(), "truncated")) {
			t.Errorf("a truncated program: %v", err)
		}
		if fault.CodeOf(err) != fault.Model {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The bytes are a function of build id and sections: not of the number of processors, and not of
// the version of this package either without a new version of the format.
func TestBytes(t *testing.T) {
	var packs [][]byte
	for _, procs := range []int{1, 4} {
		old := runtime.GOMAXPROCS(procs)
		path := filepath.Join(t.TempDir(), "w")
		err := Create(path, build, sampleSections(), nil)
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, b)
	}
	if !bytes.Equal(packs[0], packs[1]) {
		t.Error("the bytes depend on the number of processors")
	}
	const want = "5ac571d60b92cd8a0cf371681a565e9ac9eb6c77ebea743373804f86508bae37"
	if got := fmt.Sprintf("%x", sha256.Sum256(small(t))); got != want {
		t.Errorf("a small pack has the digest %s, want %s", got, want)
	}
}

func TestPrepareFails(t *testing.T) {
	boom := errors.New("tensor x: boom")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	midway, cancelMidway := context.WithCancel(context.Background())
	defer cancelMidway()
	good := section("a", content(1, 100000))
	with := func(s Section) []Section { return []Section{good, s} }
	for _, c := range []struct {
		name     string
		ctx      context.Context
		sections []Section
		want     string
		code     fault.Code
	}{
		{"short", nil, with(Section{Name: "b", Size: 10, Write: func(io.Writer) error { return nil }}), "section b: 10 of 10 bytes are missing", fault.Failure},
		{"long", nil, with(Section{Name: "b", Size: 3, Write: section("", []byte("abcd")).Write}), "section b: 1 bytes more than its size", fault.Failure},
		{"error", nil, with(Section{Name: "b", Size: 3, Write: func(io.Writer) error { return boom }}), "section b: tensor x: boom", fault.Failure},
		{"code", nil, with(Section{Name: "b", Size: 3, Write: func(io.Writer) error { return fault.Wrap(fault.Model, boom) }}), "boom", fault.Model},
		{"twice", nil, with(good), "section a is there twice", fault.Failure},
		{"no name", nil, with(section("", nil)), "is empty", fault.Failure},
		{"long name", nil, with(section(strings.Repeat("x", 256), nil)), "more than 255", fault.Failure},
		{"control", nil, with(section("a\nb", nil)), "control", fault.Failure},
		{"bad UTF-8", nil, with(section("\xff", nil)), "UTF-8", fault.Failure},
		{"negative", nil, with(Section{Name: "b", Size: -1}), "impossible", fault.Failure},
		{"huge", nil, with(Section{Name: "b", Size: 1<<63 - 1}), "impossible", fault.Failure},
		{"kind", nil, with(Section{Name: "b", Kind: numKinds}), "unknown kind", fault.Failure},
		{"cancelled", cancelled, with(section("b", nil)), "interrupted", fault.Interrupted},
		{"cancelled midway", midway, with(Section{Name: "b", Size: 4 << 20, Write: func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 2<<20)); err != nil {
				return err
			}
			cancelMidway()
			_, err := w.Write(make([]byte, 2<<20))
			return err
		}}), "interrupted", fault.Interrupted},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "m.weights")
		if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
			t.Fatal(err)
		}
		ctx := c.ctx
		if ctx == nil {
			ctx = context.Background()
		}
		p, err := Prepare(ctx, path, Fixed(build), c.sections, nil)
		if err == nil || p != nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), ".tmp-") || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v (code %d)", c.name, err, fault.CodeOf(err))
		}
		if c.name == "error" && !errors.Is(err, boom) {
			t.Errorf("%s: the error of the writer is not in the chain", c.name)
		}
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("%s: left behind: %v", c.name, got)
		}
		if b, _ := os.ReadFile(path); string(b) != "before" {
			t.Errorf("%s: the old file has changed", c.name)
		}
	}
	if _, err := Prepare(context.Background(), filepath.Join(t.TempDir(), "no", "w"), Fixed(build), nil, nil); err == nil {
		t.Error("a folder that is not there: no error")
	}
	if _, err := Prepare(context.Background(), t.TempDir(), Fixed(build), nil, nil); err == nil {
		t.Error("a folder in place of the file: no error")
	}
}

func TestCommit(t *testing.T) {
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		before map[string]string
		fail   bool
		after  map[string]string
	}{
		{"both new", nil, false, map[string]string{"exe": "new exe", "w": "new w"}},
		{"both there", map[string]string{"exe": "old exe", "w": "old w"}, false, map[string]string{"exe": "new exe", "w": "new w"}},
		{"second fails, first is new", nil, true, nil},
		{"second fails, both there", map[string]string{"exe": "old exe", "w": "old w"}, true, map[string]string{"exe": "old exe", "w": "old w"}},
	} {
		dir := t.TempDir()
		for n, s := range c.before {
			write(filepath.Join(dir, n), s)
		}
		var ps []*Pending
		for _, n := range []string{"w", "exe"} {
			p, err := Stage(filepath.Join(dir, n), 0o644)
			if err != nil {
				t.Fatal(err)
			}
			write(p.Temp, "new "+n)
			ps = append(ps, p)
		}
		if c.fail {
			os.Remove(ps[1].Temp)
		}
		if err := Commit(ps...); (err != nil) != c.fail {
			t.Errorf("%s: %v", c.name, err)
		}
		got := map[string]string{}
		for _, n := range names(t, dir) {
			b, _ := os.ReadFile(filepath.Join(dir, n))
			got[n] = string(b)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.after) && len(got)+len(c.after) > 0 {
			t.Errorf("%s: %v, want %v", c.name, got, c.after)
		}
	}

	dir := t.TempDir()
	p, err := Stage(filepath.Join(dir, "x"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Stage(filepath.Join(dir, "x"), 0o644) // names of its own
	if err != nil || q.Temp == p.Temp {
		t.Fatal(q, err)
	}
	p.Abort()
	q.Abort()
	q.Abort()
	(*Pending)(nil).Abort()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind after Abort: %v", got)
	}
}

// TestHash: the digests are those of the file, and a build id may depend on them.
func TestHash(t *testing.T) {
	sections := sampleSections()
	want, err := Hash(context.Background(), sections, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "w")
	p, err := Prepare(context.Background(), path, func(e []Entry) [32]byte { return e[0].SHA256 }, sections, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Commit(p); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, want[0].SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !slices.Equal(f.Entries(), want) {
		t.Errorf("have %v, want %v", f.Entries(), want)
	}
}
