// Package kld measures how far a model's predictions are from a text and from
// another model: llama-perplexity's statistics, and the file of
// log-probabilities that it writes for --kl-divergence-base.
//
// The file, little endian: "_logits_", int32 n_ctx, n_vocab, n_chunk, the
// n_ctx*n_chunk int32 tokens, then for each chunk the rows of its second half
// but the last, n_ctx-1-n_ctx/2 of them. A row is float32 scale, float32 min,
// and n_vocab uint16 q (padded to an even number): log p = scale*q + min.
package kld

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	"qnc/runtime/fault"
)

const (
	magic     = "_logits_"
	headBytes = len(magic) + 3*4
)

// A Header describes a file of log-probabilities.
type Header struct {
	NumCtx   int // tokens of a chunk
	NumVocab int
	NumChunk int
	Tokens   []int32 // NumCtx*NumChunk
}

// First is the first row of a chunk that is scored.
func (h *Header) First() int { return h.NumCtx / 2 }

// Rows is the number of scored rows of a chunk: NumCtx/2 … NumCtx-2.
func (h *Header) Rows() int { return h.NumCtx - 1 - h.NumCtx/2 }

// RowBytes is the size of one row in the file.
func (h *Header) RowBytes() int { return 2 * (2*((h.NumVocab+1)/2) + 4) }

// A Reader reads a file of log-probabilities chunk by chunk.
type Reader struct {
	Header
	path string
	file *os.File
	r    *bufio.Reader
}

// Open opens a file of log-probabilities and reads its header and tokens.
// A file that is not one, or is cut short, is an error with exit code 3.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failure, plain(path, err))
	}
	r := &Reader{path: path, file: f, r: bufio.NewReaderSize(f, 1<<20)}
	if err := r.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// plain drops the system call's name: "FILE: no such file or directory".
func plain(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fault.New(fault.Failure, "%s: %w", path, err)
}

func (r *Reader) readHeader() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Model, "%s: "+format, append([]any{r.path}, args...)...)
	}
	st, err := r.file.Stat()
	if err != nil {
		return plain(r.path, err)
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil || string(head[:len(magic)]) != magic {
		return bad("not a file of log-probabilities: write one with --kl-divergence-base FILE and without --kl-divergence")
	}
	num := func(i int) int { return int(int32(binary.LittleEndian.Uint32(head[len(magic)+4*i:]))) }
	r.NumCtx, r.NumVocab, r.NumChunk = num(0), num(1), num(2)
	if r.NumCtx < 3 || r.NumVocab < 1 || r.NumChunk < 1 {
		return bad("bad header: n_ctx %d, n_vocab %d, n_chunk %d: write the file again", r.NumCtx, r.NumVocab, r.NumChunk)
	}
	// Sizes below 2^31 each: their products are checked before anything is allocated.
	chunk := 4*uint64(r.NumCtx) + uint64(r.Rows())*uint64(r.RowBytes())
	hi, all := bits.Mul64(chunk, uint64(r.NumChunk))
	if size := uint64(st.Size()); hi != 0 || all > 1<<62 || size != all+uint64(headBytes) {
		return bad("%d bytes, but n_ctx %d, n_vocab %d and n_chunk %d take %d: the file is truncated or damaged; write it again",
			size, r.NumCtx, r.NumVocab, r.NumChunk, all+uint64(headBytes))
	}
	r.Tokens = make([]int32, r.NumCtx*r.NumChunk)
	if err := binary.Read(r.r, binary.LittleEndian, r.Tokens); err != nil {
		return bad("%v", err)
	}
	for i, t := range r.Tokens {
		if t < 0 || int(t) >= r.NumVocab {
			return bad("token %d is %d, beyond the vocabulary of %d: write the file again", i, t, r.NumVocab)
		}
	}
	return nil
}

// Chunk reads the rows of the next chunk into buf, which has Rows()*RowBytes() bytes.
func (r *Reader) Chunk(buf []byte) error {
	if _, err := io.ReadFull(r.r, buf); err != nil {
		return fault.New(fault.Model, "%s: %w while reading a chunk: the file changed", r.path, err)
	}
	return nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// A Writer writes a file of log-probabilities beside its final name;
// only Commit gives it that name.
type Writer struct {
	path string
	file *os.File
	w    *bufio.Writer
	once sync.Once
}

// Create starts a file with h's header and tokens.
func Create(path string, h *Header) (*Writer, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return nil, plain(path, err)
	}
	w := &Writer{path: path, file: f, w: bufio.NewWriterSize(f, 1<<20)}
	var head [headBytes]byte
	copy(head[:], magic)
	for i, n := range []int{h.NumCtx, h.NumVocab, h.NumChunk} {
		binary.LittleEndian.PutUint32(head[len(magic)+4*i:], uint32(n))
	}
	_, err = w.w.Write(head[:])
	if err == nil {
		err = binary.Write(w.w, binary.LittleEndian, h.Tokens)
	}
	if err != nil {
		w.Abort()
		return nil, plain(path, err)
	}
	return w, nil
}

// Write appends encoded rows.
func (w *Writer) Write(rows []byte) (int, error) {
	n, err := w.w.Write(rows)
	if err != nil {
		err = plain(w.path, err)
	}
	return n, err
}

// Commit completes the file and gives it its name.
func (w *Writer) Commit() error {
	err := w.w.Flush()
	if err == nil {
		// A temporary file is private; the result gets the mode of an ordinary one.
		err = w.file.Chmod(0o644)
	}
	if err == nil {
		err = w.file.Close()
	}
	if err == nil {
		err = os.Rename(w.file.Name(), w.path)
	}
	if err != nil {
		w.Abort()
		return plain(w.path, err)
	}
	w.once.Do(func() {})
	return nil
}

// Abort removes what was written, unless Commit came first. It may be called
// twice and from another goroutine.
func (w *Writer) Abort() {
	w.once.Do(func() {
		w.file.Close()
		os.Remove(w.file.Name())
	})
}
