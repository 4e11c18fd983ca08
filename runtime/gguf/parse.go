package gguf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"qnc/runtime/fault"
)

const (
	magic        = "GGUF"
	keyAlignment = "general.alignment"

	headSize   = 24                    // magic, version, two counts
	minKV      = 8 + 1 + 4 + 1         // shortest key: name, kind, value
	minTensor  = 8 + 1 + 4 + 8 + 4 + 8 // shortest tensor row
	minElement = 8                     // shortest string in an array

	truncated = "the file is truncated; download it again"
	damaged   = "the file is damaged; download it again"
	unusual   = "no model needs that; download it again from a trusted place"
)

var le = binary.LittleEndian

// An entry is one metadata value. Fixed-size values are held in word, the
// others stay in the file at [off, end).
type entry struct {
	key        string
	kind, elem Kind // elem: of an array
	n          uint64
	word       uint64 // value of a fixed-size kind; integers sign-extended
	off, end   uint64
}

// A part is one file of a model: one of a split, or the only one.
type part struct {
	path    string
	data    []byte
	close   func() error
	version uint32
	align   uint64
	entries []entry
	index   map[string]int
	tensors []Tensor
	byName  map[string]int
}

// A parser walks a header. limit is where it must end: at the end of the file or at maxHeader.
type parser struct {
	data  []byte
	pos   uint64
	limit uint64
}

func parsePart(path string, data []byte) (*part, error) {
	pt := &part{path: path, data: data, align: defaultAlign}
	if err := pt.parse(); err != nil {
		return nil, fault.New(fault.Model, "%s: %w", path, err)
	}
	return pt, nil
}

func (pt *part) parse() error {
	p := &parser{data: pt.data, limit: min(uint64(len(pt.data)), maxHeader)}
	nTensors, nKeys, err := pt.parseHead(p)
	if err != nil {
		return err
	}
	pt.entries = make([]entry, 0, nKeys)
	pt.index = make(map[string]int, nKeys)
	for i := range nKeys {
		e, err := p.entry()
		if err != nil {
			if e.key == "" {
				e.key = fmt.Sprintf("%d of %d", i+1, nKeys)
			}
			return fmt.Errorf("key %s: %w", e.key, err)
		}
		if _, dup := pt.index[e.key]; dup {
			return fmt.Errorf("key %s: is there twice: %s", e.key, damaged)
		}
		pt.index[e.key] = len(pt.entries)
		pt.entries = append(pt.entries, e)
	}
	if i, ok := pt.index[keyAlignment]; ok {
		e := pt.entries[i]
		if e.kind != KindUint32 || !validAlign(e.word) {
			return fmt.Errorf("key %s: is not a uint32 power of two up to %d: %s", keyAlignment, maxAlign, damaged)
		}
		pt.align = e.word
	}
	pt.tensors = make([]Tensor, 0, nTensors)
	pt.byName = make(map[string]int, nTensors)
	for i := range nTensors {
		t, err := p.tensor()
		if err != nil {
			if t.Name == "" {
				t.Name = fmt.Sprintf("%d of %d", i+1, nTensors)
			}
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if _, dup := pt.byName[t.Name]; dup {
			return fmt.Errorf("tensor %s: is there twice: %s", t.Name, damaged)
		}
		t.part = pt
		pt.byName[t.Name] = len(pt.tensors)
		pt.tensors = append(pt.tensors, t)
	}
	return pt.place(p.pos)
}

// parseHead reads what comes before the keys and returns the counts.
func (pt *part) parseHead(p *parser) (nTensors, nKeys uint64, err error) {
	if len(p.data) < len(magic) || string(p.data[:len(magic)]) != magic {
		return 0, 0, foreign(p.data)
	}
	if len(p.data) < headSize {
		return 0, 0, fmt.Errorf("has only %d bytes: %s", len(p.data), truncated)
	}
	pt.version = le.Uint32(p.data[4:])
	nTensors, nKeys = le.Uint64(p.data[8:]), le.Uint64(p.data[16:])
	p.pos = headSize
	switch v := pt.version; {
	case v == 2 || v == 3:
	case v&0xffff == 0:
		return 0, 0, fmt.Errorf("is a big-endian GGUF: convert the model again for little-endian machines")
	case v == 1:
		return 0, 0, fmt.Errorf("is GGUF version 1, which nothing reads any more: convert the model again")
	default:
		return 0, 0, fmt.Errorf("is GGUF version %d, versions 2 and 3 are known: convert the model again", v)
	}
	if nKeys > maxKeys {
		return 0, 0, fmt.Errorf("claims %d keys, at most %d are read: %s", nKeys, maxKeys, unusual)
	}
	if nTensors > maxTensors {
		return 0, 0, fmt.Errorf("claims %d tensors, at most %d are read: %s", nTensors, maxTensors, unusual)
	}
	if need := nKeys*minKV + nTensors*minTensor; need > uint64(len(p.data))-headSize {
		return 0, 0, fmt.Errorf("%d keys and %d tensors need %d bytes or more, %d remain: %s",
			nKeys, nTensors, need, len(p.data)-headSize, truncated)
	}
	return nTensors, nKeys, nil
}

// place makes tensor offsets absolute and checks them against each other and the file.
func (pt *part) place(header uint64) error {
	if len(pt.tensors) == 0 {
		return nil
	}
	size := uint64(len(pt.data))
	start, ok := alignUp(header, pt.align)
	if !ok || start > size {
		return fmt.Errorf("tensor data starts at byte %d, the file has %d: %s", start, size, truncated)
	}
	order := make([]*Tensor, len(pt.tensors))
	for i := range pt.tensors {
		t := &pt.tensors[i]
		order[i] = t
		if t.Offset%pt.align != 0 {
			return fmt.Errorf("tensor %s: offset %d is not a multiple of %d: %s", t.Name, t.Offset, pt.align, damaged)
		}
		off, ok := add(start, t.Offset)
		if !ok {
			return fmt.Errorf("tensor %s: offset %d overflows: %s", t.Name, t.Offset, damaged)
		}
		if end, ok := add(off, t.Size); !ok || end > size {
			return fmt.Errorf("tensor %s: offset %d + %d bytes exceeds the file (%d bytes): %s", t.Name, off, t.Size, size, truncated)
		}
		t.Offset = off
	}
	slices.SortFunc(order, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, t := range order[1:] {
		if prev := order[i]; prev.Offset+prev.Size > t.Offset {
			return fmt.Errorf("tensor %s: shares bytes with tensor %s: %s", t.Name, prev.Name, damaged)
		}
	}
	return nil
}

// take returns the next n bytes of the header.
func (p *parser) take(n uint64) ([]byte, error) {
	if n > p.limit-p.pos {
		return nil, p.short(n)
	}
	b := p.data[p.pos : p.pos+n]
	p.pos += n
	return b, nil
}

func (p *parser) short(n uint64) error {
	if p.limit < uint64(len(p.data)) {
		return fmt.Errorf("%d bytes at byte %d pass the %d that a header may have: %s", n, p.pos, maxHeader, unusual)
	}
	return fmt.Errorf("needs %d bytes at byte %d, the file has %d: %s", n, p.pos, p.limit, truncated)
}

func (p *parser) uint32() (uint32, error) {
	b, err := p.take(4)
	if err != nil {
		return 0, err
	}
	return le.Uint32(b), nil
}

func (p *parser) uint64() (uint64, error) {
	b, err := p.take(8)
	if err != nil {
		return 0, err
	}
	return le.Uint64(b), nil
}

func (p *parser) string(max uint64) ([]byte, error) {
	n, err := p.uint64()
	if err != nil {
		return nil, err
	}
	if n > max && n <= p.limit-p.pos {
		return nil, fmt.Errorf("a string of %d bytes, at most %d are read: %s", n, max, unusual)
	}
	return p.take(n)
}

func (p *parser) name() (string, error) {
	b, err := p.string(maxName)
	if err != nil {
		return "", err
	}
	s := string(b)
	if bad := nameFault(s); bad != "" {
		return "", fmt.Errorf("the name %s: %s", bad, damaged)
	}
	return s, nil
}

func (p *parser) entry() (e entry, err error) {
	if e.key, err = p.name(); err != nil {
		return e, err
	}
	k, err := p.uint32()
	if err != nil {
		return e, err
	}
	e.kind = Kind(k)
	switch {
	case !e.kind.valid():
		return e, fmt.Errorf("%s is no kind of value: %s", e.kind, damaged)
	case e.kind == KindArray:
		e.elem, e.n, e.off, err = p.array(1)
	case e.kind == KindString:
		var b []byte
		b, err = p.string(maxString)
		e.off, e.n = p.pos-uint64(len(b)), uint64(len(b))
	default:
		e.off = p.pos
		var b []byte
		if b, err = p.take(uint64(kinds[e.kind].size)); err == nil {
			e.word = word(e.kind, b)
		}
		if e.kind == KindBool && e.word > 1 {
			err = fmt.Errorf("%d is not a bool: %s", e.word, damaged)
		}
	}
	e.end = p.pos
	return e, err
}

// array walks an array and returns the kind and number of its elements and where they start.
func (p *parser) array(depth int) (elem Kind, n, off uint64, err error) {
	if depth > maxDepth {
		return 0, 0, 0, fmt.Errorf("arrays nest deeper than %d: %s", maxDepth, unusual)
	}
	k, err := p.uint32()
	if err != nil {
		return 0, 0, 0, err
	}
	if n, err = p.uint64(); err != nil {
		return 0, 0, 0, err
	}
	elem = Kind(k)
	if !elem.valid() {
		return 0, 0, 0, fmt.Errorf("%s is no kind of value: %s", elem, damaged)
	}
	size := uint64(kinds[elem].size)
	need, ok := mul(n, cmp.Or(size, minElement))
	if !ok {
		return 0, 0, 0, fmt.Errorf("an array of %d %s values, which no file can hold: %s", n, elem, damaged)
	}
	if need > p.limit-p.pos {
		return 0, 0, 0, fmt.Errorf("an array of %d %s values: %w", n, elem, p.short(need))
	}
	if n > maxElems {
		return 0, 0, 0, fmt.Errorf("an array of %d values, at most %d are read: %s", n, maxElems, unusual)
	}
	off = p.pos
	if size > 0 {
		p.pos += n * size
		return elem, n, off, nil
	}
	for range n {
		if elem == KindString {
			_, err = p.string(maxString)
		} else {
			_, _, _, err = p.array(depth + 1)
		}
		if err != nil {
			return 0, 0, 0, err
		}
	}
	return elem, n, off, nil
}

func (p *parser) tensor() (t Tensor, err error) {
	if t.Name, err = p.name(); err != nil {
		return t, err
	}
	n, err := p.uint32()
	if err != nil {
		return t, err
	}
	if n == 0 || n > MaxDims {
		return t, fmt.Errorf("%d dimensions, want 1 to %d: %s", n, MaxDims, damaged)
	}
	t.Dims = make([]uint64, n)
	for i := range t.Dims {
		if t.Dims[i], err = p.uint64(); err != nil {
			return t, err
		}
	}
	typ, err := p.uint32()
	if err != nil {
		return t, err
	}
	t.Type = Type(typ)
	if t.Offset, err = p.uint64(); err != nil {
		return t, err
	}
	if _, ok := t.Type.Info(); !ok {
		_, _, err = TensorBytes(t.Type, t.Dims)
		return t, fmt.Errorf("%w: convert or quantise the model again", err)
	}
	if t.Size, t.Elems, err = TensorBytes(t.Type, t.Dims); err != nil {
		return t, fmt.Errorf("%w: %s", err, damaged)
	}
	return t, nil
}

// word reads a fixed-size value: integers sign-extended, floats as their bits.
func word(k Kind, b []byte) uint64 {
	var v uint64
	switch kinds[k].size {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(le.Uint16(b))
	case 4:
		v = uint64(le.Uint32(b))
	case 8:
		v = le.Uint64(b)
	}
	if kinds[k].class == signed {
		shift := 64 - 8*kinds[k].size
		v = uint64(int64(v<<shift) >> shift)
	}
	return v
}

// nameFault says what is wrong with a key's or tensor's name, which will be printed in one line.
func nameFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxName:
		return fmt.Sprintf("has %d bytes, at most %d are read", len(s), maxName)
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "holds characters that do not print"
	}
	return ""
}

func validAlign(n uint64) bool { return n > 0 && n <= maxAlign && n&(n-1) == 0 }

// strangers are files that people take for a GGUF, by their first bytes.
var strangers = []struct{ prefix, what string }{
	{"lmgg", "is an old GGML file: convert the model again to GGUF"},
	{"fmgg", "is an old GGML file: convert the model again to GGUF"},
	{"tjgg", "is an old GGML file: convert the model again to GGUF"},
	{"version https://git-lfs", "is a Git LFS pointer, not the file: run git lfs pull"},
	{"PK\x03\x04", "is a zip or PyTorch file: convert the model to GGUF"},
	{"\x1f\x8b", "is compressed by gzip: run gunzip on it"},
	{"\x28\xb5\x2f\xfd", "is compressed by zstd: run unzstd on it"},
	{"<", "is a web page, not a model: download the file itself"},
}

// foreign returns the error for a file that does not start with the magic.
func foreign(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("is empty: download it again")
	}
	for _, s := range strangers {
		if bytes.HasPrefix(data, []byte(s.prefix)) {
			return fmt.Errorf("not a GGUF file: %s", s.what)
		}
	}
	// Safetensors: the length of a JSON object, then the object.
	if len(data) > 9 && data[8] == '{' && le.Uint64(data) < uint64(len(data)) {
		return fmt.Errorf("not a GGUF file: is a safetensors file: convert the model to GGUF")
	}
	return fmt.Errorf("not a GGUF file: starts with %q: give a model in GGUF format", data[:min(len(data), len(magic))])
}
