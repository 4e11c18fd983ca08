package gguf

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Report is what can be said of a model without reading its weights. Its
// fields are what text and JSON share.
type Report struct {
	Path          string           `json:"path"`
	Files         []string         `json:"files"` // of a split, in order
	Bytes         uint64           `json:"bytes"` // of all files
	Version       uint32           `json:"version"`
	Alignment     uint64           `json:"alignment"`
	Arch          string           `json:"arch"`
	Name          string           `json:"name"`
	FileType      string           `json:"type"`
	Params        uint64           `json:"params"`
	TensorCount   int              `json:"n_tensors"`
	TensorBytes   uint64           `json:"tensor_bytes"`
	BitsPerWeight float64          `json:"bits_per_weight"`
	Types         []TypeRow        `json:"types"` // most bytes first
	Templates     []TemplateRow    `json:"chat_templates"`
	Tokenizer     *TokenizerReport `json:"tokenizer,omitempty"`
	Metadata      []MetaRow        `json:"metadata"`
	Tensors       []TensorRow      `json:"tensors,omitempty"`
}

// A TypeRow counts the tensors of one type.
type TypeRow struct {
	Type    string `json:"type"`
	Tensors int    `json:"n_tensors"`
	Params  uint64 `json:"params"`
	Bytes   uint64 `json:"bytes"`
}

// A TemplateRow identifies a chat template by its digest.
type TemplateRow struct {
	Key    string `json:"key"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// A MetaRow is one metadata key. Value is a number, bool or string, or the
// first values of an array; Count says how many there are in all: values of an
// array, bytes of a string.
type MetaRow struct {
	Key   string `json:"key"`
	Kind  string `json:"kind"`
	Count uint64 `json:"count,omitempty"`
	Value any    `json:"value"`
}

// A TensorRow is one tensor; Dims are in GGUF's order, fastest first.
type TensorRow struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Dims   []uint64 `json:"dims"`
	Params uint64   `json:"params"`
	Bytes  uint64   `json:"bytes"`
	Offset uint64   `json:"offset"`
	File   string   `json:"file,omitempty"` // where there are several
}

// InspectOptions says what goes into a Report.
type InspectOptions struct {
	Tensors bool // a row for each tensor
	Values  int  // values shown of an array; 0: 4
}

const maxShown = 4096 // bytes of a string in a Report

// Inspect describes an open model. It reads metadata only.
func Inspect(f *File, opt InspectOptions) (*Report, error) {
	r := &Report{
		Path: f.Path(), Files: f.Paths(), Bytes: f.Size(), Version: f.Version(), Alignment: f.Alignment(),
		TensorCount: len(f.tensors), Types: []TypeRow{}, Templates: []TemplateRow{}, Metadata: []MetaRow{},
	}
	// A wrong kind is shown in the metadata rows; it is no reason to show nothing.
	r.Arch = f.shownString("general.architecture")
	r.Name = f.shownString("general.name")
	if id, ok, err := f.Uint("general.file_type"); ok && err == nil {
		r.FileType = FileTypeName(id)
	}
	r.addTensors(f, opt.Tensors)
	for i := range f.meta.entries {
		e := &f.meta.entries[i]
		row, err := f.metaRow(e, cmp.Or(opt.Values, 4))
		if err != nil {
			return nil, err
		}
		r.Metadata = append(r.Metadata, row)
		if e.kind == KindString && (e.key == keyTemplate || strings.HasPrefix(e.key, keyTemplate+".")) {
			err := f.read(e, func(b []byte) error {
				sum := sha256.Sum256(b)
				r.Templates = append(r.Templates, TemplateRow{e.key, len(b), hex.EncodeToString(sum[:])})
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	var err error
	r.Tokenizer, err = checkTokenizer(f)
	return r, err
}

const keyTemplate = "tokenizer.chat_template"

func (r *Report) addTensors(f *File, rows bool) {
	var byType [len(types)]TypeRow
	for i := range f.tensors {
		t := &f.tensors[i]
		row := &byType[t.Type]
		row.Type = t.Type.String()
		row.Tensors++
		row.Params += t.Elems
		row.Bytes += t.Size
		r.Params += t.Elems
		r.TensorBytes += t.Size
		if rows {
			tr := TensorRow{t.Name, row.Type, t.Dims, t.Elems, t.Size, t.Offset, ""}
			if len(f.parts) > 1 {
				tr.File = t.Path()
			}
			r.Tensors = append(r.Tensors, tr)
		}
	}
	for _, row := range byType {
		if row.Tensors > 0 {
			r.Types = append(r.Types, row)
		}
	}
	slices.SortStableFunc(r.Types, func(a, b TypeRow) int { return cmp.Compare(b.Bytes, a.Bytes) })
	if r.Params > 0 {
		r.BitsPerWeight = 8 * float64(r.TensorBytes) / float64(r.Params)
	}
}

func (f *File) metaRow(e *entry, values int) (MetaRow, error) {
	row := MetaRow{Key: e.key, Kind: e.kind.String()}
	switch kinds[e.kind].class {
	case text:
		row.Count = e.n
		err := f.read(e, func(b []byte) error {
			row.Value = shown(b)
			return nil
		})
		return row, err
	case array:
		row.Kind = fmt.Sprintf("array[%s]", e.elem)
		row.Count = e.n
		v, err := f.head(e, values)
		row.Value = v
		return row, err
	}
	row.Value = printable(e.kind, e.word)
	return row, nil
}

// head returns the first values of an array.
func (f *File) head(e *entry, values int) ([]any, error) {
	n := int(min(e.n, uint64(values)))
	head := make([]any, n)
	if e.elem == KindArray {
		for i := range head {
			head[i] = "array"
		}
		return head, nil
	}
	err := f.read(e, func(b []byte) error {
		p := &parser{data: b, limit: uint64(len(b))}
		for i := range head {
			if e.elem == KindString {
				s, err := p.string(maxString)
				if err != nil {
					return f.errorf("key %s: %w", e.key, err)
				}
				head[i] = shown(s)
				continue
			}
			v, err := p.take(uint64(kinds[e.elem].size))
			if err != nil {
				return f.errorf("key %s: %w", e.key, err)
			}
			head[i] = printable(e.elem, word(e.elem, v))
		}
		return nil
	})
	return head, err
}

// shownString returns a string for a Report, "" when there is none.
func (f *File) shownString(key string) string {
	s, _, _ := f.String(key)
	return shown([]byte(s))
}

// shown returns a string, cut where it is very long and with bytes that are not UTF-8 replaced.
func shown(b []byte) string {
	if len(b) > maxShown {
		b = b[:maxShown]
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// printable returns a fixed-size value as JSON can hold it.
func printable(k Kind, w uint64) any {
	switch kinds[k].class {
	case signed:
		return int64(w)
	case floating:
		v := float(k, w)
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			return fmt.Sprint(v)
		case k == KindFloat32:
			return math.Float32frombits(uint32(w))
		}
		return v
	case boolean:
		return w != 0
	}
	return w
}
