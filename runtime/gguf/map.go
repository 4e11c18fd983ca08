package gguf

import (
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"qnc/runtime/fault"
)

// A Mapping is a file mapped read-only into memory.
type Mapping struct {
	Data  []byte
	path  string
	unmap func([]byte) error

	ending     atomic.Bool // asks for the end of populating
	populating sync.WaitGroup
}

// mapped lists all mappings, so that Guard can name the file of a fault.
var mapped struct {
	sync.Mutex
	list []*Mapping
}

// Map maps a regular file. Its errors are of code fault.Model.
func Map(path string) (*Mapping, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Mapping{path: path}
	if size == 0 { // nothing to map
		return m, nil
	}
	if m.Data, m.unmap, err = mapFile(f, size); err != nil {
		return nil, fault.New(fault.Model, "%s: cannot be mapped: %w", path, reason(err))
	}
	mapped.Lock()
	mapped.list = append(mapped.list, m)
	mapped.Unlock()
	return m, nil
}

// populateStep is how much is populated at a time: a close waits for so much.
const populateStep = 8 << 20

// Populate maps all pages in the background, reading what is not in memory: a first touch of a page
// costs many times the rest of the work on it, and without this a token meets thousands.
func (m *Mapping) Populate() {
	data := m.Data
	m.populating.Go(func() {
		for len(data) > 0 && !m.ending.Load() {
			n := min(populateStep, len(data))
			if populate(data[:n]) != nil { // a fault is met, and named, by whoever reads the page
				return
			}
			data = data[n:]
		}
	})
}

// Populated waits for the end of what Populate began.
func (m *Mapping) Populated() { m.populating.Wait() }

// Close unmaps the file: what was sliced from Data must not be used any more.
func (m *Mapping) Close() error {
	if m.Data == nil {
		return nil
	}
	mapped.Lock()
	mapped.list = slices.DeleteFunc(mapped.list, func(o *Mapping) bool { return o == m })
	mapped.Unlock()
	m.ending.Store(true)
	m.populating.Wait()
	data := m.Data
	m.Data = nil
	return m.unmap(data)
}

// Guard runs fn on this goroutine. A fault while fn reads a mapping, which is
// what reading a page that the file no longer has amounts to, becomes an error
// of code fault.Model; any other panic goes on. Goroutines that fn starts need
// a Guard of their own.
func Guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			if isFault(err) { // a system call met the missing page
				err = fault.New(fault.Model, "a mapped file changed or was truncated while it was read: start again with the complete file")
			}
			return
		}
		if e, ok := r.(interface{ Addr() uintptr }); ok {
			if path, ok := mappedAt(e.Addr()); ok {
				err = fault.New(fault.Model, "%s: file changed or was truncated while mapped: start again with the complete file", path)
				return
			}
		}
		panic(r)
	}()
	return fn()
}

// mappedAt returns the path of the file that is mapped at an address.
func mappedAt(addr uintptr) (string, bool) {
	mapped.Lock()
	defer mapped.Unlock()
	for _, m := range mapped.list {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(m.Data)))
		if addr >= start && addr-start < uintptr(len(m.Data)) {
			return m.path, true
		}
	}
	return "", false
}
