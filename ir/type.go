package ir

import (
	"fmt"
	"slices"
	"strings"
)

// A Type is the type of a value: a tensor, a tuple of tensors, or none (an op
// that only writes state).
type Type struct {
	DType  DType
	Dims   []Dim  // slowest first; nil with Tuple nil means none
	Layout string // how a weight is packed; "" is the file's own rows
	Tuple  []Type
}

// None is the type of an op that has no result.
var None = Type{}

// Tensor returns a dense tensor type.
func Tensor(d DType, dims ...Dim) Type { return Type{DType: d, Dims: dims} }

func (t Type) IsNone() bool  { return t.Dims == nil && t.Tuple == nil }
func (t Type) IsTuple() bool { return t.Tuple != nil }

// Rank returns the number of axes.
func (t Type) Rank() int { return len(t.Dims) }

// Last returns the extent of the fastest axis.
func (t Type) Last() Dim {
	if len(t.Dims) == 0 {
		return Num(1)
	}
	return t.Dims[len(t.Dims)-1]
}

func (t Type) Clone() Type { t.Dims = slices.Clone(t.Dims); return t }

func (t Type) Equal(u Type) bool {
	return t.DType == u.DType && t.Layout == u.Layout && t.IsNone() == u.IsNone() &&
		slices.Equal(t.Dims, u.Dims) && slices.EqualFunc(t.Tuple, u.Tuple, Type.Equal)
}

// Shape returns the extents under s.
func (t Type) Shape(s Sizes) []int {
	out := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		out[i] = d.At(s)
	}
	return out
}

// Elems returns the number of elements under s.
func (t Type) Elems(s Sizes) int {
	n := 1
	for _, d := range t.Dims {
		n *= d.At(s)
	}
	return n
}

// MaxBytes is where Bytes saturates: far above any memory, and sums of a few do not overflow.
const MaxBytes = 1 << 56

// Bytes returns the storage of t under s, rows of blocks padded up to whole
// blocks and tuples summed, at most MaxBytes.
func (t Type) Bytes(s Sizes) int {
	n := 0
	for _, m := range t.Tuple {
		n = min(n+m.Bytes(s), MaxBytes)
	}
	if t.Dims == nil {
		return n
	}
	info := t.DType.Info()
	n = info.BlockBytes
	for i, d := range t.Dims {
		x := max(d.At(s), 0)
		if i == len(t.Dims)-1 {
			x = (x + info.BlockElems - 1) / info.BlockElems
		}
		if n != 0 && x > MaxBytes/n {
			n = MaxBytes
		} else {
			n *= x
		}
	}
	return n
}

func (t Type) String() string {
	if t.IsNone() {
		return "none"
	}
	if t.IsTuple() {
		s := make([]string, len(t.Tuple))
		for i, m := range t.Tuple {
			s[i] = m.String()
		}
		return "(" + strings.Join(s, ", ") + ")"
	}
	s := make([]string, len(t.Dims))
	for i, d := range t.Dims {
		s[i] = d.String()
	}
	out := t.DType.String() + "[" + strings.Join(s, ",") + "]"
	if t.Layout != "" {
		out += "<" + t.Layout + ">"
	}
	return out
}

// maxRank bounds the axes of a tensor.
const maxRank = 8

// parseType reads a type. A tuple holds tensors only, so that no text nests.
func parseType(s string) (Type, error) {
	if s == "none" {
		return None, nil
	}
	in, ok := strings.CutPrefix(s, "(")
	if !ok {
		return parseTensor(s)
	}
	if in, ok = strings.CutSuffix(in, ")"); !ok {
		return None, fmt.Errorf("bad type %.80q: want (type, type)", s)
	}
	t := Type{Tuple: []Type{}}
	for _, m := range splitTop(in) {
		u, err := parseTensor(m)
		if err != nil {
			return None, err
		}
		t.Tuple = append(t.Tuple, u)
	}
	return t, nil
}

func parseTensor(s string) (Type, error) {
	name, rest, ok := strings.Cut(s, "[")
	dims, layout, ok2 := strings.Cut(rest, "]")
	d, ok3 := DTypeByName(name)
	if !ok || !ok2 || !ok3 {
		return None, fmt.Errorf("bad type %.80q: want dtype[dims], for example f32[T,2048]", s)
	}
	t := Type{DType: d, Dims: []Dim{}}
	if layout != "" {
		in, ok := strings.CutPrefix(layout, "<")
		in, ok2 := strings.CutSuffix(in, ">")
		if !ok || !ok2 || !isName(in) {
			return None, fmt.Errorf("bad layout %.80q: want <name>", layout)
		}
		t.Layout = in
	}
	for _, x := range splitTop(dims) {
		n, err := parseDim(x)
		if err != nil {
			return None, err
		}
		t.Dims = append(t.Dims, n)
	}
	if len(t.Dims) > maxRank {
		return None, fmt.Errorf("bad type %.80q: %d axes, at most %d", s, len(t.Dims), maxRank)
	}
	return t, nil
}
