package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func openBytes(t *testing.T, b []byte) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, build)
	if err == nil {
		t.Cleanup(func() { f.Close() })
	}
	return f, err
}

// sign makes the digest of the header right again.
func sign(b []byte) []byte {
	table := min(le.Uint64(b[24:]), uint64(len(b)-headerBytes))
	d := digest(b[:64], b[headerBytes:headerBytes+table])
	copy(b[64:], d[:])
	return b
}

func TestHostile(t *testing.T) {
	const first, second = headerBytes, headerBytes + entryBytes + 8
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); return sign(b) }
	}
	put64 := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint64(b[at:], v); return sign(b) }
	}
	for _, c := range []struct {
		name string
		edit func([]byte) []byte
		want string
	}{
		{"empty", func(b []byte) []byte { return nil }, "too few"},
		{"magic", func(b []byte) []byte { b[0] = 'Q'; return b }, "not a weights file"},
		{"version", put32(8, 2), "version 2"},
		{"count", put32(12, 1<<32-1), "does not fit"},
		{"count one more", put32(12, 4), "does not fit"},
		{"count one less", put32(12, 2), "belong to no section"},
		{"total", put64(16, 1<<63), "truncated"},
		{"total less", put64(16, 100), "longer"},
		{"table", put64(24, 1<<64-1), "does not fit"},
		{"table less", put64(24, 64), "does not fit"},
		{"digest", func(b []byte) []byte { b[64]++; return b }, "digest of the header"},
		{"offset in the header", put64(first, 0), "do not fit"},
		{"offset beyond", put64(first, 1<<40), "do not fit"},
		{"offset overflows", put64(first, 1<<64-1), "do not fit"},
		{"size beyond", put64(first+8, 1<<40), "do not fit"},
		{"size overflows", put64(first+8, 1<<64-1), "do not fit"},
		{"size one more", put64(first+8+2*(entryBytes+8), 2), "do not fit"},
		{"kind", put32(first+48, 7), "unknown kind 7"},
		{"name longer", put32(first+52, 9), ""},
		{"name huge", put32(first+52, 1<<32-1), "a name of"},
		{"no name", put32(first+52, 0), ""},
		{"name behind zeros", func(b []byte) []byte { b[first+entryBytes+7] = 1; return sign(b) }, "zeros"},
		{"name control", func(b []byte) []byte { b[first+entryBytes] = '\n'; return sign(b) }, "control"},
		{"same name", func(b []byte) []byte {
			le.PutUint32(b[second+52:], 1)
			copy(b[second+entryBytes:], "a\x00")
			return sign(b)
		}, "twice"},
	} {
		_, err := openBytes(t, c.edit(small(t)))
		if err == nil || fault.CodeOf(err) != fault.Model || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v (code %d), want %q", c.name, err, fault.CodeOf(err), c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "w"), build); err == nil || !strings.Contains(err.Error(), "missing") || fault.CodeOf(err) != fault.Model {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "w")
	if err := Create(path, other, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, build); err == nil || !strings.Contains(err.Error(), "weights file of another compile (build id 090807000000…, the program's is 010203000000…)") {
		t.Errorf("another build id: %v", err)
	}
	f, err := Open(path, other)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(nil); err != nil || len(f.Entries()) != 0 {
		t.Errorf("no sections: %v, %v", err, f.Entries())
	}
}

func TestEveryByteCounts(t *testing.T) {
	whole := small(t)
	for n := range whole {
		if _, err := openBytes(t, whole[:n]); fault.CodeOf(err) != fault.Model {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		b := bytes.Clone(whole)
		b[n] ^= 4
		f, err := openBytes(t, b)
		if err == nil {
			err = f.Verify(nil)
		}
		if fault.CodeOf(err) != fault.Model {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
}

func TestTruncatedWhileMapped(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("files that are mapped cannot be truncated here")
	}
	path := filepath.Join(t.TempDir(), "w")
	if err := Create(path, build, []Section{section("a", content(1, 1<<20))}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, build)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, largeAlign); err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(nil); fault.CodeOf(err) != fault.Model || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("Verify: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	whole := small(f)
	f.Add(whole)
	f.Add(whole[:headerBytes])
	f.Add(encode(build, nil, headerBytes))
	f.Add(encode(build, []Entry{{Name: "x", Offset: 192, Size: 1 << 62}}, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		parse(b, "f")
		embedded(b, "f")
		if len(b) < headerBytes {
			return
		}
		// Past the checks that random bytes do not pass.
		b = bytes.Clone(b)
		copy(b, magic)
		le.PutUint32(b[8:], version)
		le.PutUint64(b[16:], uint64(len(b)))
		build, entries, err := parse(sign(b), "f")
		if err != nil {
			if fault.CodeOf(err) != fault.Model || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q (code %d)", err, fault.CodeOf(err))
			}
			return
		}
		if head := encode(build, entries, int64(len(b))); !bytes.Equal(head, b[:len(head)]) {
			t.Fatalf("header %x was read as %x", b[:len(head)], head)
		}
		for _, e := range entries {
			sha256.Sum256(b[e.Offset : e.Offset+e.Size])
		}
	})
}

func benchSections(n, size int) (all []Section, total int64) {
	for i := range n {
		all = append(all, section(string(rune('a'+i)), content(uint64(i), size)))
	}
	return all, int64(n * size)
}

func BenchmarkPrepare(b *testing.B) {
	sections, total := benchSections(8, 16<<20)
	path := filepath.Join(b.TempDir(), "w")
	b.SetBytes(total)
	for b.Loop() {
		p, err := Prepare(context.Background(), path, Fixed(build), sections, nil)
		if err != nil {
			b.Fatal(err)
		}
		p.Abort()
	}
}

func BenchmarkVerify(b *testing.B) {
	sections, total := benchSections(8, 16<<20)
	path := filepath.Join(b.TempDir(), "w")
	if err := Create(path, build, sections, nil); err != nil {
		b.Fatal(err)
	}
	f, err := Open(path, build)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(total)
	for b.Loop() {
		if err := f.Verify(nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	sections := make([]Section, 1000)
	for i := range sections {
		sections[i] = section(fmt.Sprintf("blk.%d.ffn_gate_exps.weight", i), nil)
	}
	path := filepath.Join(b.TempDir(), "w")
	if err := Create(path, build, sections, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f, err := Open(path, build)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
