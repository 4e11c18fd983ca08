// Package panel is the layout in which vector kernels read quantised weights, and the activations
// that go with it.
//
// # Weights
//
// A matrix of R rows of K elements is ceil(R/16) panels of 16 rows, the last one filled with rows
// of zero bytes. A panel has exactly 16 times the bytes of a row in the file: scales keep their
// bits, only their places change, so that every row can be had back (see Format.Unpack).
//
// Elements are levels without sign (q4_K 0…15, q6_K 0…63), except those of q8_0, which are int8. Four
// consecutive k of a row are a group; the groups of 16 rows are a vector of 64 bytes, row r in bytes
// 4r…4r+3: what one broadcast dword of activations is multiplied with. A block is 32 k, that is groups
// 0…7:
//
//	halves       4 vectors, 256 bytes; vector v holds group 2v in the low halves of its bytes and
//	             group 2v+1 in the high halves
//	fifth bits   behind the halves, 1 vector; group g in bit g
//	sixths       (q6_K) 6 vectors; vector 3v+i, i < 3, holds group 4v+i in the low six bits of its bytes,
//	             and of group 4v+3 bits 4-2i, 5-2i in the upper two
//	bytes        (q8_0) 8 vectors, one a group
//
// A panel of q4_K or q5_K is for each 256 k, 2304 or 2816 bytes:
//
//	0    d     16 f16
//	32   dmin  16 f16
//	64   three vectors W0, W1, W2 of a dword a row: 6-bit fields f = 0…14 in W(f/5), bits
//	     6(f%5)…; field 15 in bits 30, 31 of the three, lowest two bits in W0.
//	     Field 2b is the scale of block b, field 2b+1 its minimum.
//	256  blocks 0…7: halves (and fifth bits)
//
// A panel of q6_K is the d of all its 256s first (K/256 times 16 f16), then for each 256 k, 3328 bytes:
//
//	0    for each block, for each row: int8 c0, c1, the scales of its two halves of 16
//	256  blocks 0…7: sixths
//
// A panel of q8_0, q4_0, q4_1, q5_0 or q5_1 is the scales of all blocks first (K/32 times 16 f16 d,
// for q4_1 and q5_1 16 f16 m behind each 16 d), then the blocks: bytes, or halves (and fifth bits).
//
// # Activations
//
// A row of activations is K/32 records of RecordBytes: see Record. One row serves all formats.
package panel

import (
	"encoding/binary"
	"fmt"

	"qnc/runtime/quant"
)

var le = binary.LittleEndian

// Rows is the number of rows of a panel.
const Rows = 16

// A Format is a kind of weights that has a packed layout.
type Format struct {
	Kind *quant.Kind
	// pack writes the panel whose rows (n ≤ 16, file layout, one after the other) are src; dst is zero.
	pack func(dst, src []byte, n, k int)
	// unpack writes row r of the panel src in file layout.
	unpack func(dst, src []byte, r, k int)
}

// Formats are in the order of quant.Kinds.
var Formats = []Format{
	{kind("q8_0"), q80.pack, q80.unpack},
	{kind("q4_0"), q40.pack, q40.unpack},
	{kind("q4_1"), q41.pack, q41.unpack},
	{kind("q5_0"), q50.pack, q50.unpack},
	{kind("q5_1"), q51.pack, q51.unpack},
	{kind("q4_K"), q4K.pack, q4K.unpack},
	{kind("q5_K"), q5K.pack, q5K.unpack},
	{kind("q6_K"), packQ6K, unpackQ6K},
}

func kind(name string) *quant.Kind {
	k, ok := quant.ByName(name)
	if !ok {
		panic("panel: no kind " + name)
	}
	return k
}

// ByName finds a format by its kind's name.
func ByName(name string) (*Format, bool) {
	for i := range Formats {
		if Formats[i].Kind.Name == name {
			return &Formats[i], true
		}
	}
	return nil, false
}

// Bytes is the size of a panel of rows of k elements.
func (f *Format) Bytes(k int) int { return Rows * f.Kind.RowBytes(k) }

// MatrixBytes is the size of rows rows of k elements.
func (f *Format) MatrixBytes(rows, k int) int { return (rows + Rows - 1) / Rows * f.Bytes(k) }

// Pack writes the panels of src, whole rows of k elements in file layout, to dst, which has
// MatrixBytes of them. Panels are independent: several goroutines can share a matrix.
func (f *Format) Pack(dst, src []byte, k int) {
	size := f.Kind.RowBytes(k)
	rows := len(src) / size
	if len(src) != rows*size || len(dst) != f.MatrixBytes(rows, k) {
		panic(fmt.Sprintf("panel: %d bytes of %s rows of %d elements do not fill %d bytes", len(src), f.Kind.Name, k, len(dst)))
	}
	for len(src) > 0 {
		n := min(Rows, len(src)/size)
		out := dst[:Rows*size]
		if n < Rows {
			clear(out)
		}
		f.pack(out, src[:n*size], n, k)
		src, dst = src[n*size:], dst[Rows*size:]
	}
}

// Unpack writes row i of the matrix in file layout to dst, which has the bytes of one row.
func (f *Format) Unpack(dst, matrix []byte, i, k int) {
	size := f.Bytes(k)
	f.unpack(dst[:f.Kind.RowBytes(k)], matrix[i/Rows*size:][:size], i%Rows, k)
}

// Dot is what a vector kernel computes, in portable Go: the products of the 16 rows of a panel
// with n rows of activations that start at x[offset[t]:]; dst[16t+r] is overwritten. Numbers are
// bit for bit those of quant.DotA8.
func (f *Format) Dot(dst []float32, panel, x []byte, offset []int64, k int) {
	row := make([]byte, f.Kind.RowBytes(k))
	a8 := make([]byte, quant.A8RowBytes(k))
	a := quant.ViewA8(a8, k)
	for t, o := range offset {
		Load(a, x[o:])
		for r := range Rows {
			f.unpack(row, panel, r, k)
			dst[t*Rows+r] = f.Kind.DotA8(row, a)
		}
	}
}

// halves is the low half of every byte.
const halves = 0x0f0f0f0f

// word is the dword of row r in the vector that starts at b.
func word(b []byte, r int) []byte { return b[4*r:][:4] }
