// Package pack is the weights file of a compiled model: named sections of bytes with their
// digests, laid out so that they are used where they are mapped. The file lies beside the program
// (OUT.weights) or at the end of the executable, and carries the build id of the compile that
// made both.
//
// # Layout
//
// All numbers are little-endian, all offsets count from the pack's first byte.
//
//	0   magic    "qncpack\n"
//	8   version  uint32
//	12  count    uint32    sections
//	16  total    uint64    bytes of the pack
//	24  table    uint64    bytes of the table
//	32  build    [32]byte  build id
//	64  digest   [32]byte  sha256 of bytes 0-63 and the table
//	96  table    for each section: offset uint64, size uint64, sha256 [32]byte, kind uint32,
//	             name length uint32, name, zeros up to a multiple of 8
//
// Then come the sections in the order of the table, each at the first offset after its predecessor
// that is a multiple of 64 KiB (of 64 bytes when it is smaller than 64 KiB); zeros between them.
// The last one ends the pack. A pack is thus a function of the build id and of its sections alone.
//
// At the end of an executable the pack starts at a multiple of 64 KiB and a trailer follows it:
// magic "qnctail\n", start uint64 (in the executable), total uint64.
package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"qnc/runtime/fault"
)

const (
	magic        = "qncpack\n"
	tailMagic    = "qnctail\n"
	version      = 1
	headerBytes  = 96
	trailerBytes = 24
	entryBytes   = 56 // without the name
	maxName      = 255
	maxSections  = 1 << 20

	largeAlign = 64 << 10
	smallAlign = 64
)

var le = binary.LittleEndian

// A Kind says what a section holds.
type Kind uint32

const (
	Weight Kind = iota // numbers in the layout that the program's kernels read
	Meta               // a GGUF without tensors: tokenizer, template, general.*
	numKinds
)

// An Entry is a section as the table lists it.
type Entry struct {
	Name         string
	Kind         Kind
	Offset, Size int64
	SHA256       [32]byte
}

// place is where a section of size bytes goes that follows one which ends at end. ok is false when
// the section would end beyond the largest int64.
func place(end, size int64) (offset int64, ok bool) {
	align := int64(smallAlign)
	if size >= largeAlign {
		align = largeAlign
	}
	const limit = 1<<63 - 1 - largeAlign
	if size < 0 || end > limit {
		return 0, false
	}
	offset = (end + align - 1) / align * align
	return offset, size <= limit-offset
}

func pad8(n int) int { return (n + 7) &^ 7 }

func tableBytes(entries []Entry) (n int) {
	for i := range entries {
		n += entryBytes + pad8(len(entries[i].Name))
	}
	return n
}

// encode gives header and table of a pack of total bytes.
func encode(build [32]byte, entries []Entry, total int64) []byte {
	table := tableBytes(entries)
	b := make([]byte, 0, headerBytes+table)
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, uint32(len(entries)))
	b = le.AppendUint64(b, uint64(total))
	b = le.AppendUint64(b, uint64(table))
	b = append(b, build[:]...)
	b = append(b, make([]byte, sha256.Size)...)
	for _, e := range entries {
		b = le.AppendUint64(b, uint64(e.Offset))
		b = le.AppendUint64(b, uint64(e.Size))
		b = append(b, e.SHA256[:]...)
		b = le.AppendUint32(b, uint32(e.Kind))
		b = le.AppendUint32(b, uint32(len(e.Name)))
		b = append(b, e.Name...)
		b = append(b, make([]byte, pad8(len(e.Name))-len(e.Name))...)
	}
	d := digest(b[:64], b[headerBytes:])
	copy(b[64:], d[:])
	return b
}

func digest(head, table []byte) (d [32]byte) {
	h := sha256.New()
	h.Write(head)
	h.Write(table)
	h.Sum(d[:0])
	return d
}

const again = "copy it again, or compile the model again"

// parse checks header and table of the pack that is the whole of data.
func parse(data []byte, name string) (build [32]byte, entries []Entry, err error) {
	bad := func(format string, args ...any) ([32]byte, []Entry, error) {
		return [32]byte{}, nil, fault.New(fault.Model, "%s: %s", name, fmt.Sprintf(format, args...))
	}
	if len(data) < headerBytes {
		return bad("%d bytes are too few for a weights file: %s", len(data), again)
	}
	if string(data[:8]) != magic {
		return bad("not a weights file of qnc: the one that was compiled with this program is needed")
	}
	if v := le.Uint32(data[8:]); v != version {
		return bad("weights file of version %d, this program reads version %d: compile the model again", v, version)
	}
	count, total, table := le.Uint32(data[12:]), le.Uint64(data[16:]), le.Uint64(data[24:])
	if total != uint64(len(data)) {
		what := "longer than it was written"
		if total > uint64(len(data)) {
			what = "truncated"
		}
		return bad("the file has %d bytes, its header says %d: it is %s; %s", len(data), total, what, again)
	}
	if table > total-headerBytes || count > maxSections || uint64(count)*entryBytes > table {
		return bad("a table of %d sections in %d bytes does not fit the file (%d bytes): %s", count, table, total, again)
	}
	rest := data[headerBytes : headerBytes+table]
	if digest(data[:64], rest) != [32]byte(data[64:96]) {
		return bad("the digest of the header is wrong: the file is damaged; %s", again)
	}
	copy(build[:], data[32:64])
	entries = make([]Entry, 0, count)
	seen := make(map[string]bool, count)
	end := int64(headerBytes + table)
	for i := range count {
		if len(rest) < entryBytes {
			return bad("section %d of %d: the table ends too early: %s", i, count, again)
		}
		size, kind, n := le.Uint64(rest[8:]), le.Uint32(rest[48:]), le.Uint32(rest[52:])
		e := Entry{Kind: Kind(kind), SHA256: [32]byte(rest[16:48])}
		at := le.Uint64(rest)
		rest = rest[entryBytes:]
		if n > maxName || pad8(int(n)) > len(rest) {
			return bad("section %d of %d: a name of %d bytes does not fit: %s", i, count, n, again)
		}
		e.Name = string(rest[:n])
		for _, c := range rest[n:pad8(int(n))] {
			if c != 0 {
				return bad("section %d of %d: its name is not followed by zeros: %s", i, count, again)
			}
		}
		rest = rest[pad8(int(n)):]
		if what := nameFault(e.Name); what != "" {
			return bad("section %d of %d: the name %q %s: %s", i, count, e.Name, what, again)
		}
		if seen[e.Name] {
			return bad("section %s is there twice: %s", e.Name, again)
		}
		seen[e.Name] = true
		if e.Kind >= numKinds {
			return bad("section %s: unknown kind %d: compile the model again", e.Name, kind)
		}
		offset, ok := place(end, int64(size))
		if !ok || at != uint64(offset) || offset+int64(size) > int64(total) {
			return bad("section %s: %d bytes at offset %d do not fit behind offset %d in %d bytes: %s", e.Name, size, at, end, total, again)
		}
		e.Offset, e.Size = offset, int64(size)
		end = offset + e.Size
		entries = append(entries, e)
	}
	if len(rest) > 0 || end != int64(total) {
		return bad("%d bytes of the table and %d of the data belong to no section: %s", len(rest), int64(total)-end, again)
	}
	return build, entries, nil
}

// nameFault says what is wrong with a section's name, "" for nothing.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("has more than %d bytes", maxName)
	case !utf8.ValidString(name):
		return "is not UTF-8"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return "has a control character"
		}
	}
	return ""
}
