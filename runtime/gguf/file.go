package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"qnc/runtime/fault"
)

// A File is an open model: the metadata of its first file and the tensors of all its files.
// It is safe for use by several goroutines until Close.
type File struct {
	path    string
	meta    *part
	parts   []*part
	tensors []Tensor
	byName  map[string]int
}

// A Tensor is one row of the tensor table. Its data is Bytes.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []uint64 // GGUF's order: fastest first
	Elems  uint64   // product of Dims
	Offset uint64   // of the data, in the file that holds it
	Size   uint64   // bytes of the data
	part   *part
}

// Bytes returns the tensor's data, a slice of the mapping: read it under Guard and not after Close.
func (t *Tensor) Bytes() []byte {
	if t.part == nil || t.part.data == nil {
		return nil
	}
	return t.part.data[t.Offset : t.Offset+t.Size : t.Offset+t.Size]
}

// Path returns the file that holds the tensor's data.
func (t *Tensor) Path() string {
	if t.part == nil {
		return ""
	}
	return t.part.path
}

// Open maps a model and checks its header. Given the first file of a split
// (…-00001-of-0000N.gguf) it opens all of them. Tensor data is not touched.
func Open(path string) (*File, error) {
	first, err := openPart(path)
	if err != nil {
		return nil, err
	}
	f := newFile(first)
	if err := f.openSplit(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Parse checks a GGUF in memory; name stands for the path in errors. The
// bytes must not change while the File is in use. A split is not followed.
func Parse(data []byte, name string) (*File, error) {
	pt, err := parsePart(name, data)
	if err != nil {
		return nil, err
	}
	return newFile(pt), nil
}

func newFile(first *part) *File {
	return &File{path: first.path, meta: first, parts: []*part{first}, tensors: first.tensors, byName: first.byName}
}

func openPart(path string) (*part, error) {
	m, err := Map(path)
	if err != nil {
		return nil, err
	}
	var pt *part
	err = Guard(func() (err error) {
		pt, err = parsePart(path, m.Data)
		return err
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	pt.close = m.Close
	return pt, nil
}

// openFile opens a regular file for mapping and returns its size, which fits int.
func openFile(path string) (*os.File, int, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fault.New(fault.Model, "%s: there is no such file: check the path", path)
	case err != nil:
		return nil, 0, fault.New(fault.Model, "%s: cannot be read: %w", path, reason(err))
	case st.IsDir():
		return nil, 0, fault.New(fault.Model, "%s: is a folder: give the .gguf file in it", path)
	case !st.Mode().IsRegular():
		return nil, 0, fault.New(fault.Model, "%s: is not a regular file, so it cannot be mapped: copy it to a disk", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fault.New(fault.Model, "%s: cannot be opened: %w", path, reason(err))
	}
	// The size of the open file: the path may have been replaced since.
	st, err = f.Stat()
	if err == nil && int64(int(st.Size())) != st.Size() {
		err = fmt.Errorf("%d bytes do not fit this machine's address space: use a 64-bit machine", st.Size())
	}
	if err != nil {
		f.Close()
		return nil, 0, fault.New(fault.Model, "%s: %w", path, reason(err))
	}
	return f, int(st.Size()), nil
}

// reason drops the path that os puts before an error: ours is there already.
func reason(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Close unmaps the files. Slices of Tensor.Bytes end with it.
func (f *File) Close() error {
	var first error
	for _, pt := range f.parts {
		pt.data = nil
		if pt.close != nil {
			if err := pt.close(); err != nil && first == nil {
				first = err
			}
			pt.close = nil
		}
	}
	return first
}

// Path returns the path that Open was given, or the name that Parse was.
func (f *File) Path() string { return f.path }

// Paths returns the paths of all files of a split, in order.
func (f *File) Paths() []string {
	paths := make([]string, len(f.parts))
	for i, pt := range f.parts {
		paths[i] = pt.path
	}
	return paths
}

// Size returns the bytes of all files together.
func (f *File) Size() uint64 {
	var n uint64
	for _, pt := range f.parts {
		n += uint64(len(pt.data))
	}
	return n
}

// Version returns the GGUF version, 2 or 3.
func (f *File) Version() uint32 { return f.meta.version }

// Alignment returns what tensor offsets are multiples of.
func (f *File) Alignment() uint64 { return f.meta.align }

// Keys returns the metadata keys in file order.
func (f *File) Keys() []string {
	keys := make([]string, len(f.meta.entries))
	for i, e := range f.meta.entries {
		keys[i] = e.key
	}
	return keys
}

// Has reports whether there is a key.
func (f *File) Has(key string) bool {
	_, ok := f.meta.index[key]
	return ok
}

// Tensors returns all tensors in file order. The slice is the file's own: do not change it.
func (f *File) Tensors() []Tensor { return f.tensors }

// Tensor finds a tensor by its name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return nil, false
	}
	return &f.tensors[i], true
}

const (
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)

// openSplit opens the other files of a split and joins their tensors to the first one's.
func (f *File) openSplit() error {
	no, count, err := f.splitPlace()
	if err != nil || count <= 1 {
		return err
	}
	if no != 0 {
		return f.errorf("is file %d of a split of %d: give the first one, %s", no+1, count, splitName(f.path, no, 0, count))
	}
	if count > maxParts {
		return f.errorf("is a split of %d files, at most %d are read: %s", count, maxParts, unusual)
	}
	if splitName(f.path, 0, 0, count) == "" {
		return f.errorf("is file 1 of a split of %d, but its name does not end in -00001-of-%05d.gguf: give it its name back", count, count)
	}
	f.tensors = slices.Clone(f.tensors)
	for i := uint64(1); i < count; i++ {
		path := splitName(f.path, 0, i, count)
		pt, err := openPart(path)
		if err != nil {
			return fault.New(fault.Model, "file %d of %d of the split: %w", i+1, count, err)
		}
		f.parts = append(f.parts, pt)
		part := newFile(pt)
		pno, pcount, err := part.splitPlace()
		if err != nil {
			return err
		}
		if pno != i || pcount != count {
			return part.errorf("is file %d of a split of %d by its keys, file %d of %d by its name: download the files again", pno+1, pcount, i+1, count)
		}
		for _, t := range pt.tensors {
			if j, dup := f.byName[t.Name]; dup {
				return part.errorf("tensor %s: is in %s as well: download the files again", t.Name, f.tensors[j].part.path)
			}
			f.byName[t.Name] = len(f.tensors)
			f.tensors = append(f.tensors, t)
		}
		if len(f.tensors) > maxTensors {
			return f.errorf("the files of the split hold more than %d tensors: %s", maxTensors, unusual)
		}
		// Only the first file's metadata counts.
		pt.entries, pt.index, pt.tensors, pt.byName = nil, nil, nil, nil
	}
	want, ok, err := f.Uint(keySplitTensors)
	if err != nil {
		return err
	}
	if ok && want != uint64(len(f.tensors)) {
		return f.errorf("key %s says %d, the %d files hold %d tensors: download the files again", keySplitTensors, want, count, len(f.tensors))
	}
	return nil
}

// splitPlace returns the number of this file (from 0) and the number of files; count is 0 without a split.
func (f *File) splitPlace() (no, count uint64, err error) {
	count, ok, err := f.Uint(keySplitCount)
	if err != nil || !ok {
		return 0, 0, err
	}
	no, _, err = f.Uint(keySplitNo)
	if err == nil && no >= max(count, 1) {
		err = f.errorf("key %s: %d is not below %s, %d: %s", keySplitNo, no, keySplitCount, count, damaged)
	}
	return no, count, err
}

// splitName turns the name of file `no` of a split into that of file `to`; "" when path is not such a name.
func splitName(path string, no, to, count uint64) string {
	dir, base := filepath.Split(path)
	suffix := fmt.Sprintf("-%05d-of-%05d.gguf", no+1, count)
	if len(base) <= len(suffix) || base[len(base)-len(suffix):] != suffix {
		return ""
	}
	return dir + base[:len(base)-len(suffix)] + fmt.Sprintf("-%05d-of-%05d.gguf", to+1, count)
}

func (f *File) errorf(format string, args ...any) error {
	return fault.New(fault.Model, "%s: %w", f.path, fmt.Errorf(format, args...))
}
