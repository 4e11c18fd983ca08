package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"

	"qnc/runtime/fault"
	"qnc/runtime/gguf"
)

// A File is a mapped pack. Whoever reads its bytes does so under gguf.Guard: a file that is cut
// short while it is mapped is then an error and no crash.
type File struct {
	name    string
	mapping *gguf.Mapping
	data    []byte // the pack
	entries []Entry
	index   map[string]int
}

// Open maps the weights file of the compile with the given build id and checks its header and
// size, not the digests of its sections: see Verify. Errors are of code fault.Model.
func Open(path string, build [32]byte) (*File, error) {
	return open(path, build, func(data []byte) ([]byte, error) { return data, nil })
}

// OpenEmbedded maps the pack at the end of the executable exe.
func OpenEmbedded(exe string, build [32]byte) (*File, error) {
	return open(exe, build, func(data []byte) ([]byte, error) { return embedded(data, exe) })
}

// ErrNone is in the error of OpenEmbedded for an executable without a pack.
var ErrNone = errors.New("the weights at its end are missing")

// embedded finds the pack by the trailer behind it.
func embedded(data []byte, name string) ([]byte, error) {
	n := len(data) - trailerBytes
	if n < 0 || string(data[n:n+8]) != tailMagic {
		for start := largeAlign; start < len(data); start += largeAlign {
			if bytes.HasPrefix(data[start:], []byte(magic)) {
				return nil, fault.New(fault.Model, "%s: the weights at its end are truncated: %s", name, again)
			}
		}
		return nil, fault.New(fault.Model, "%s: %w: %s", name, ErrNone, again)
	}
	start, total := le.Uint64(data[n+8:]), le.Uint64(data[n+16:])
	if start%largeAlign != 0 || start > uint64(n) || total != uint64(n)-start {
		return nil, fault.New(fault.Model, "%s: weights of %d bytes at offset %d do not fit a file of %d bytes: %s", name, total, start, len(data), again)
	}
	return data[start:n], nil
}

func open(path string, build [32]byte, find func([]byte) ([]byte, error)) (*File, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Model, "%s: the weights file is missing: it belongs beside the program; copy both, or compile the model again", path)
	}
	m, err := gguf.Map(path)
	if err != nil {
		return nil, err
	}
	largePages(m.Data)
	f := &File{name: path, mapping: m}
	var got [32]byte
	err = gguf.Guard(func() (err error) {
		if f.data, err = find(m.Data); err != nil {
			return err
		}
		got, f.entries, err = parse(f.data, path)
		return err
	})
	if err == nil && got != build {
		err = fault.New(fault.Model, "%s: weights file of another compile (build id %x…, the program's is %x…): put this program's own beside it, or compile the model again", path, got[:6], build[:6])
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	f.index = make(map[string]int, len(f.entries))
	for i := range f.entries {
		f.index[f.entries[i].Name] = i
	}
	return f, nil
}

// Populate maps all pages in the background: see gguf.Mapping.
func (f *File) Populate() { f.mapping.Populate() }

// Populated waits for the end of it.
func (f *File) Populated() { f.mapping.Populated() }

// Close unmaps the file; no section may be used after it.
func (f *File) Close() error {
	f.data = nil
	return f.mapping.Close()
}

// Entries lists the sections in the order of the file.
func (f *File) Entries() []Entry { return f.entries }

// Size is the number of bytes of the pack.
func (f *File) Size() int64 { return int64(len(f.data)) }

// Section is the named section's bytes in the mapping, nil when there is none of that name.
func (f *File) Section(name string) []byte {
	i, ok := f.index[name]
	if !ok {
		return nil
	}
	return f.bytes(i)
}

func (f *File) bytes(i int) []byte {
	e := &f.entries[i]
	return f.data[e.Offset : e.Offset+e.Size : e.Offset+e.Size]
}

// At is a range of the pack, which must lie inside it.
func (f *File) At(offset, size int64) ([]byte, error) {
	if offset < 0 || size < 0 || offset > f.Size() || size > f.Size()-offset {
		return nil, fault.New(fault.Model, "%s: %d bytes at offset %d are outside of the %d bytes of weights: compile the model again", f.name, size, offset, f.Size())
	}
	return f.data[offset : offset+size : offset+size], nil
}

// Verify hashes all sections, on all processors, and compares the digests; what lies between the
// sections must be zero. The error, of code fault.Model, names the first section that is damaged.
// progress may be nil.
func (f *File) Verify(progress Progress) error {
	c := &counter{progress: progress}
	for i := range f.entries {
		c.total += f.entries[i].Size
	}
	errs := make([]error, len(f.entries))
	var stop atomic.Bool
	each(len(f.entries), func(i int, _ []byte) {
		if stop.Load() {
			return
		}
		errs[i] = gguf.Guard(func() error { return f.verify(i, c) })
		if errs[i] != nil {
			stop.Store(true)
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *File) verify(i int, c *counter) error {
	e := &f.entries[i]
	end := int64(headerBytes + tableBytes(f.entries))
	if i > 0 {
		end = f.entries[i-1].Offset + f.entries[i-1].Size
	}
	for _, b := range f.data[end:e.Offset] {
		if b != 0 {
			return fault.New(fault.Model, "%s: the bytes before section %s are not zero: the file is damaged; %s", f.name, e.Name, again)
		}
	}
	h := sha256.New()
	for b := f.bytes(i); len(b) > 0; {
		n := min(len(b), chunk)
		h.Write(b[:n])
		c.add(n)
		b = b[n:]
	}
	if [32]byte(h.Sum(nil)) != e.SHA256 {
		return fault.New(fault.Model, "%s: section %s: its digest is wrong: the file is damaged; %s", f.name, e.Name, again)
	}
	return nil
}
