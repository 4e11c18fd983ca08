package quant

import (
	"fmt"
	"math"
	"unsafe"
)

// BlockA8 is the number of activations that share a scale.
const BlockA8 = 32

// An A8 is a row of K activations in blocks of 32: x[k] ≈ D[k/32]·Q[k]. Sum is the sum of Q over
// each block, which the formats with minima or offsets need. The three lie one after the other in
// one row of bytes (K int8, K/32 float32, K/32 int32, in the machine's byte order): see ViewA8.
type A8 struct {
	Q   []int8    // K
	D   []float32 // K/32
	Sum []int32   // K/32
}

// A8RowBytes is the size of a row of k activations, k a multiple of 32.
func A8RowBytes(k int) int { return k + k/BlockA8*8 }

// ViewA8 gives the parts of a row of k activations. The row starts at a multiple of 4 bytes.
func ViewA8(row []byte, k int) A8 {
	if k%BlockA8 != 0 || len(row) < A8RowBytes(k) {
		panic(fmt.Sprintf("quant: an a8 row of %d activations does not fit %d bytes", k, len(row)))
	}
	if k == 0 {
		return A8{}
	}
	p := unsafe.Pointer(unsafe.SliceData(row))
	if uintptr(p)%4 != 0 {
		panic("quant: an a8 row does not start at a multiple of 4 bytes")
	}
	n := k / BlockA8
	return A8{
		unsafe.Slice((*int8)(p), k),
		unsafe.Slice((*float32)(unsafe.Add(p, k)), n),
		unsafe.Slice((*int32)(unsafe.Add(p, k+4*n)), n),
	}
}

// tinyA8: below it 127/|x| would overflow and |x|/127 be subnormal; such a block counts as zero.
const tinyA8 = 0x1p-119

// QuantizeA8 encodes x, a multiple of 32 values, into row. For each block with m = max |x|:
// d = m/127 and q = x·(127/m) rounded to the nearest integer, ties to even.
// A block with m < 2^-119 has d = 0 and q = 0. A block with a NaN or an infinity in it has d = NaN
// and q = 0, so that every dot product with it is NaN: a broken activation shows.
func QuantizeA8(row []byte, x []float32) {
	a := ViewA8(row, len(x))
	for b := range a.D {
		in := (*[BlockA8]float32)(x[b*BlockA8:])
		q := (*[BlockA8]int8)(a.Q[b*BlockA8:])
		bits := absMaxBits(in[:])
		m := math.Float32frombits(bits)
		d, scale := m/127, 127/m
		if bits >= infBits || m < tinyA8 {
			d, scale = 0, 0
			if bits >= infBits {
				d = float32(math.NaN())
			}
			*q = [BlockA8]int8{}
			a.D[b], a.Sum[b] = d, 0
			continue
		}
		var sum int32
		for i, v := range in {
			r := round(float32(v * scale))
			q[i] = int8(r)
			sum += r
		}
		a.D[b], a.Sum[b] = d, sum
	}
}

// Dequantize writes the values that the row stands for to dst.
func (a A8) Dequantize(dst []float32) {
	for i, q := range a.Q {
		dst[i] = a.D[i/BlockA8] * float32(q)
	}
}
