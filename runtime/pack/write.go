package pack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"qnc/runtime/fault"
	"qnc/runtime/gguf"
)

// A Section is what a writer is given. Write must deliver exactly Size bytes; sections are written
// at the same time on several goroutines, each under gguf.Guard.
type Section struct {
	Name  string
	Kind  Kind
	Size  int64
	Write func(io.Writer) error
}

// Progress is told how many of all sections' bytes are done, ascending, one call at a time.
type Progress func(done, total int64)

// Identify gives the build id of a pack with these sections.
type Identify func([]Entry) [32]byte

// Fixed is the build id id, whatever the content.
func Fixed(id [32]byte) Identify { return func([]Entry) [32]byte { return id } }

// Create writes a weights file: path appears complete or not at all. progress may be nil.
func Create(path string, build [32]byte, sections []Section, progress Progress) error {
	p, err := Prepare(context.Background(), path, Fixed(build), sections, progress)
	if err != nil {
		return err
	}
	return Commit(p)
}

// Prepare writes a weights file under a temporary name: Commit it, with the program, or Abort.
// When it fails, or ctx ends (code fault.Interrupted), the temporary file is gone.
// The build id may depend on the content: build is called when all digests are known.
func Prepare(ctx context.Context, path string, build Identify, sections []Section, progress Progress) (*Pending, error) {
	return prepare(path, 0o644, func(f *os.File) error {
		_, err := write(ctx, f, 0, build, sections, progress)
		return err
	})
}

// PrepareEmbedded writes the executable exe with the pack at its end under a temporary name
// beside path, which may be exe itself.
func PrepareEmbedded(ctx context.Context, exe, path string, build [32]byte, sections []Section, progress Progress) (*Pending, error) {
	return prepare(path, 0o755, func(f *os.File) error {
		in, err := os.Open(exe)
		if err != nil {
			return fmt.Errorf("the executable %s: %w", exe, cause(err))
		}
		defer in.Close()
		n, err := io.Copy(f, in)
		if err != nil {
			return err
		}
		start := (n + largeAlign - 1) / largeAlign * largeAlign
		total, err := write(ctx, f, start, Fixed(build), sections, progress)
		if err != nil {
			return err
		}
		tail := append(make([]byte, 0, trailerBytes), tailMagic...)
		tail = le.AppendUint64(tail, uint64(start))
		tail = le.AppendUint64(tail, uint64(total))
		_, err = f.WriteAt(tail, start+total)
		return err
	})
}

func prepare(path string, mode os.FileMode, fill func(*os.File) error) (*Pending, error) {
	p, f, err := stage(path, mode)
	if err != nil {
		return nil, err
	}
	err = fill(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		p.Abort()
		code := fault.CodeOf(err)
		return nil, fault.New(code, "%s: %w", path, cause(err))
	}
	return p, nil
}

// layout places the sections; their digests are still missing.
func layout(sections []Section) (entries []Entry, total int64, err error) {
	if len(sections) > maxSections {
		return nil, 0, fmt.Errorf("%d sections are more than %d", len(sections), maxSections)
	}
	seen := make(map[string]bool, len(sections))
	for _, s := range sections {
		if bad := nameFault(s.Name); bad != "" {
			return nil, 0, fmt.Errorf("section %q: the name %s", s.Name, bad)
		}
		if seen[s.Name] {
			return nil, 0, fmt.Errorf("section %s is there twice", s.Name)
		}
		if s.Kind >= numKinds {
			return nil, 0, fmt.Errorf("section %s: unknown kind %d", s.Name, s.Kind)
		}
		seen[s.Name] = true
		entries = append(entries, Entry{Name: s.Name, Kind: s.Kind, Size: s.Size})
	}
	end := int64(headerBytes + tableBytes(entries))
	for i := range entries {
		e := &entries[i]
		var ok bool
		if e.Offset, ok = place(end, e.Size); !ok {
			return nil, 0, fmt.Errorf("section %s: a size of %d bytes is impossible", e.Name, e.Size)
		}
		end = e.Offset + e.Size
	}
	return entries, end, nil
}

// write puts the pack at offset start of f and returns its size. The header comes last: a file
// that was left unfinished is not a pack.
func write(ctx context.Context, f *os.File, start int64, build Identify, sections []Section, progress Progress) (int64, error) {
	entries, total, err := layout(sections)
	if err != nil {
		return 0, err
	}
	if total > 1<<63-1-start-trailerBytes {
		return 0, fmt.Errorf("%d bytes of weights do not fit a file", total)
	}
	if err := f.Truncate(start + total); err != nil {
		return 0, err
	}
	if err := fill(ctx, f, start, entries, sections, progress); err != nil {
		return 0, err
	}
	_, err = f.WriteAt(encode(build(entries), entries, total), start)
	return total, err
}

// Hash gives the entries of a pack with these sections, digests and all, without writing it.
func Hash(ctx context.Context, sections []Section, progress Progress) ([]Entry, error) {
	entries, _, err := layout(sections)
	if err != nil {
		return nil, err
	}
	return entries, fill(ctx, nil, 0, entries, sections, progress)
}

// fill writes the sections to f, unless it is nil, and sets the digests of entries.
func fill(ctx context.Context, f *os.File, start int64, entries []Entry, sections []Section, progress Progress) error {
	caller := ctx
	ctx, cancel := context.WithCancelCause(caller)
	defer cancel(nil)
	c := &counter{progress: progress}
	for i := range entries {
		c.total += entries[i].Size
	}
	each(len(entries), func(i int, buf []byte) {
		if ctx.Err() != nil {
			return
		}
		e := &entries[i]
		w := &sectionWriter{ctx: ctx, f: f, off: start + e.Offset, left: e.Size, buf: buf, hash: sha256.New(), count: c}
		err := gguf.Guard(func() error { return sections[i].Write(w) })
		if err == nil {
			err = w.flush()
		}
		if err == nil && w.left > 0 {
			err = fmt.Errorf("%d of %d bytes are missing", w.left, e.Size)
		}
		if err != nil {
			cancel(fault.New(fault.CodeOf(err), "section %s: %w", e.Name, cause(err)))
			return
		}
		w.hash.Sum(e.SHA256[:0])
	})
	if err := context.Cause(caller); err != nil {
		return fault.New(fault.Interrupted, "interrupted: %w", err)
	}
	return context.Cause(ctx)
}

// chunk is how much is written, hashed and counted at a time, from one multiple of it in the file
// to the next. What is written so lies in one large page of the page cache, where the file system
// has such, and is mapped as one.
const chunk = 2 << 20

// each calls do for 0…n-1 on as many goroutines as there are processors, each with a buffer of
// its own.
func each(n int, do func(i int, buf []byte)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			buf := make([]byte, chunk)
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i, buf)
			}
		})
	}
	wg.Wait()
}

// A sectionWriter collects chunks of a section in buf, which has the room of one.
type sectionWriter struct {
	ctx       context.Context
	f         *os.File
	off, left int64 // of what is still to be written
	buf       []byte
	n         int // bytes in buf
	hash      hash.Hash
	count     *counter
}

func (w *sectionWriter) Write(p []byte) (n int, err error) {
	if int64(len(p)) > w.left-int64(w.n) {
		return 0, fmt.Errorf("%d bytes more than its size", int64(len(p))-w.left+int64(w.n))
	}
	for n < len(p) {
		room := chunk - int(w.off%chunk)
		rest := p[n:]
		if w.n == 0 && len(rest) >= room {
			err = w.emit(rest[:room])
			n += room
		} else {
			c := copy(w.buf[w.n:room], rest)
			w.n += c
			n += c
			if w.n == room {
				err = w.flush()
			}
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (w *sectionWriter) flush() error {
	n := w.n
	if n == 0 {
		return nil
	}
	w.n = 0
	return w.emit(w.buf[:n])
}

// emit hashes and writes p.
func (w *sectionWriter) emit(p []byte) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	w.hash.Write(p)
	if w.f != nil {
		if _, err := w.f.WriteAt(p, w.off); err != nil { // a full disk, mostly
			return fmt.Errorf("%w (the weights take %d bytes)", cause(err), w.count.total)
		}
	}
	w.off += int64(len(p))
	w.left -= int64(len(p))
	w.count.add(len(p))
	return nil
}

// A counter adds up what the goroutines have done.
type counter struct {
	sync.Mutex
	done, total int64
	progress    Progress
}

func (c *counter) add(n int) {
	c.Lock()
	defer c.Unlock()
	c.done += int64(n)
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
}
