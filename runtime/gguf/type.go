package gguf

import "fmt"

// A Type is ggml's id of a tensor element type.
type Type uint32

// Ids as ggml.h numbers them. The gaps are types that ggml has removed.
const (
	TypeF32    Type = 0
	TypeF16    Type = 1
	TypeQ4_0   Type = 2
	TypeQ4_1   Type = 3
	TypeQ5_0   Type = 6
	TypeQ5_1   Type = 7
	TypeQ8_0   Type = 8
	TypeQ8_1   Type = 9
	TypeQ2_K   Type = 10
	TypeQ3_K   Type = 11
	TypeQ4_K   Type = 12
	TypeQ5_K   Type = 13
	TypeQ6_K   Type = 14
	TypeQ8_K   Type = 15
	TypeIQ2XXS Type = 16
	TypeIQ2XS  Type = 17
	TypeIQ3XXS Type = 18
	TypeIQ1S   Type = 19
	TypeIQ4NL  Type = 20
	TypeIQ3S   Type = 21
	TypeIQ2S   Type = 22
	TypeIQ4XS  Type = 23
	TypeI8     Type = 24
	TypeI16    Type = 25
	TypeI32    Type = 26
	TypeI64    Type = 27
	TypeF64    Type = 28
	TypeIQ1M   Type = 29
	TypeBF16   Type = 30
	TypeTQ1_0  Type = 34
	TypeTQ2_0  Type = 35
	TypeMXFP4  Type = 39
	TypeNVFP4  Type = 40
	TypeQ1_0   Type = 41
	TypeQ2_0   Type = 42
)

// TypeInfo says how elements of a type are stored: in blocks along a row.
type TypeInfo struct {
	Name       string // as ggml prints it
	BlockElems int    // elements of a block; a row is a whole number of blocks
	BlockBytes int
}

// types is indexed by Type. A row without block size is a type that ggml
// removed; its name then says what it was.
var types = [...]TypeInfo{
	TypeF32:    {"f32", 1, 4},
	TypeF16:    {"f16", 1, 2},
	TypeQ4_0:   {"q4_0", 32, 18},
	TypeQ4_1:   {"q4_1", 32, 20},
	4:          {Name: "q4_2"},
	5:          {Name: "q4_3"},
	TypeQ5_0:   {"q5_0", 32, 22},
	TypeQ5_1:   {"q5_1", 32, 24},
	TypeQ8_0:   {"q8_0", 32, 34},
	TypeQ8_1:   {"q8_1", 32, 36},
	TypeQ2_K:   {"q2_K", 256, 84},
	TypeQ3_K:   {"q3_K", 256, 110},
	TypeQ4_K:   {"q4_K", 256, 144},
	TypeQ5_K:   {"q5_K", 256, 176},
	TypeQ6_K:   {"q6_K", 256, 210},
	TypeQ8_K:   {"q8_K", 256, 292},
	TypeIQ2XXS: {"iq2_xxs", 256, 66},
	TypeIQ2XS:  {"iq2_xs", 256, 74},
	TypeIQ3XXS: {"iq3_xxs", 256, 98},
	TypeIQ1S:   {"iq1_s", 256, 50},
	TypeIQ4NL:  {"iq4_nl", 32, 18},
	TypeIQ3S:   {"iq3_s", 256, 110},
	TypeIQ2S:   {"iq2_s", 256, 82},
	TypeIQ4XS:  {"iq4_xs", 256, 136},
	TypeI8:     {"i8", 1, 1},
	TypeI16:    {"i16", 1, 2},
	TypeI32:    {"i32", 1, 4},
	TypeI64:    {"i64", 1, 8},
	TypeF64:    {"f64", 1, 8},
	TypeIQ1M:   {"iq1_m", 256, 56},
	TypeBF16:   {"bf16", 1, 2},
	31:         {Name: "q4_0_4_4"},
	32:         {Name: "q4_0_4_8"},
	33:         {Name: "q4_0_8_8"},
	TypeTQ1_0:  {"tq1_0", 256, 54},
	TypeTQ2_0:  {"tq2_0", 256, 66},
	36:         {Name: "iq4_nl_4_4"},
	37:         {Name: "iq4_nl_4_8"},
	38:         {Name: "iq4_nl_8_8"},
	TypeMXFP4:  {"mxfp4", 32, 17},
	TypeNVFP4:  {"nvfp4", 64, 36},
	TypeQ1_0:   {"q1_0", 128, 18},
	TypeQ2_0:   {"q2_0", 64, 18},
}

// Info returns the type's row; ok is false for ids that ggml does not know or has removed.
func (t Type) Info() (info TypeInfo, ok bool) {
	if uint64(t) >= uint64(len(types)) || types[t].BlockElems == 0 {
		return TypeInfo{}, false
	}
	return types[t], true
}

// String returns ggml's name, or the number of an id without one.
func (t Type) String() string {
	if uint64(t) < uint64(len(types)) {
		return types[t].Name
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// TypeByName finds a type by ggml's name, such as "q4_K".
func TypeByName(name string) (Type, bool) {
	for i, info := range types {
		if info.Name == name && info.BlockElems > 0 {
			return Type(i), true
		}
	}
	return 0, false
}

// TensorBytes returns the bytes of a tensor (dims fastest first) and its number
// of elements. The error tells which rule of the format the shape breaks; every
// product is checked against 63 bits.
func TensorBytes(t Type, dims []uint64) (size, elems uint64, err error) {
	info, ok := t.Info()
	switch {
	case !ok && uint64(t) < uint64(len(types)):
		return 0, 0, fmt.Errorf("type %s (%d) is no longer part of ggml", t, uint32(t))
	case !ok:
		return 0, 0, fmt.Errorf("type %d is unknown", uint32(t))
	case len(dims) == 0 || len(dims) > MaxDims:
		return 0, 0, fmt.Errorf("%d dimensions, want 1 to %d", len(dims), MaxDims)
	}
	elems = 1
	for i, d := range dims {
		if d == 0 {
			return 0, 0, fmt.Errorf("dimension %d is 0", i)
		}
		if elems, ok = mul(elems, d); !ok {
			return 0, 0, fmt.Errorf("shape %v overflows 63 bits", dims)
		}
	}
	if dims[0]%uint64(info.BlockElems) != 0 {
		return 0, 0, fmt.Errorf("rows of %d elements are not whole blocks of %d (%s)", dims[0], info.BlockElems, t)
	}
	if size, ok = mul(elems/uint64(info.BlockElems), uint64(info.BlockBytes)); !ok {
		return 0, 0, fmt.Errorf("shape %v of type %s overflows 63 bits", dims, t)
	}
	return size, elems, nil
}
