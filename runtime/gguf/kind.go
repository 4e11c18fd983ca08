package gguf

import (
	"fmt"
	"math"
	"math/bits"
)

// A Kind is the type of a metadata value.
type Kind uint32

// Kinds as the GGUF format numbers them.
const (
	KindUint8 Kind = iota
	KindInt8
	KindUint16
	KindInt16
	KindUint32
	KindInt32
	KindFloat32
	KindBool
	KindString
	KindArray
	KindUint64
	KindInt64
	KindFloat64
)

// class groups the kinds that one getter reads.
type class uint8

const (
	unsigned class = iota
	signed
	floating
	boolean
	text
	array
)

var kinds = [...]struct {
	name  string
	size  int // bytes of a value; 0: it says its length itself
	class class
}{
	KindUint8:   {"uint8", 1, unsigned},
	KindInt8:    {"int8", 1, signed},
	KindUint16:  {"uint16", 2, unsigned},
	KindInt16:   {"int16", 2, signed},
	KindUint32:  {"uint32", 4, unsigned},
	KindInt32:   {"int32", 4, signed},
	KindFloat32: {"float32", 4, floating},
	KindBool:    {"bool", 1, boolean},
	KindString:  {"string", 0, text},
	KindArray:   {"array", 0, array},
	KindUint64:  {"uint64", 8, unsigned},
	KindInt64:   {"int64", 8, signed},
	KindFloat64: {"float64", 8, floating},
}

func (k Kind) valid() bool { return uint64(k) < uint64(len(kinds)) }

// String returns the kind's name, as in "uint32".
func (k Kind) String() string {
	if k.valid() {
		return kinds[k].name
	}
	return fmt.Sprintf("kind(%d)", uint32(k))
}

// Limits of what a file may hold. Real models stay far below all of them; they
// bound the memory and time that a hostile header can cost.
const (
	MaxDims    = 4         // ggml's own
	maxHeader  = 256 << 20 // bytes up to the tensor data
	maxKeys    = 4096
	maxTensors = 16384
	maxName    = 255      // bytes of a key or of a tensor's name
	maxString  = 16 << 20 // bytes of any other string
	maxElems   = 4 << 20  // elements of an array
	maxDepth   = 4        // arrays in arrays
	maxAlign   = 1 << 20
	maxParts   = 1024
)

// mul and add report whether the result still fits 63 bits, so that it also
// converts to int64 unharmed.
func mul(a, b uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	return lo, hi == 0 && lo <= math.MaxInt64
}

func add(a, b uint64) (uint64, bool) {
	sum, carry := bits.Add64(a, b, 0)
	return sum, carry == 0 && sum <= math.MaxInt64
}

// alignUp rounds n up to a multiple of align, a power of two.
func alignUp(n, align uint64) (uint64, bool) {
	sum, ok := add(n, align-1)
	return sum &^ (align - 1), ok
}
