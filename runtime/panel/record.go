package panel

import (
	"math"
	"unsafe"

	"qnc/runtime/quant"
)

// RecordBytes is the size of a record, 32 activations x[k] ≈ d·q[k] of a row:
//
//	0   q      32 int8
//	32  d      float32
//	36  sum    float32, the sum of q (an integer below 2^12)
//	40  sums   two int16, the sums of q's halves
//
// The bytes of a row, 44·K/32, are no multiple of 2048 for K below 16384: rows one after
// the other do not meet in the sets of a cache.
const RecordBytes = 44

// RowBytes is the size of a row of k activations, k a multiple of 32.
func RowBytes(k int) int { return k / quant.BlockA8 * RecordBytes }

// Store writes the records of a.
func Store(row []byte, a quant.A8) {
	for b, d := range a.D {
		rec := row[b*RecordBytes:][:RecordBytes]
		var half [2]int32
		for i, q := range a.Q[32*b:][:32] {
			rec[i] = byte(q)
			half[i/16] += int32(q)
		}
		le.PutUint32(rec[32:], math.Float32bits(d))
		le.PutUint32(rec[36:], math.Float32bits(float32(a.Sum[b])))
		le.PutUint16(rec[40:], uint16(int16(half[0])))
		le.PutUint16(rec[42:], uint16(int16(half[1])))
	}
}

// Load reads the records of a row into a.
func Load(a quant.A8, row []byte) {
	for b := range a.D {
		rec := row[b*RecordBytes:][:RecordBytes]
		for i := range 32 {
			a.Q[32*b+i] = int8(rec[i])
		}
		a.D[b] = math.Float32frombits(le.Uint32(rec[32:]))
		a.Sum[b] = int32(math.Float32frombits(le.Uint32(rec[36:])))
	}
}

// Quantize encodes x, a multiple of 32 values, as quant.QuantizeA8 does.
func Quantize(row []byte, x []float32) {
	var mem [quant.BlockA8/4 + 2]uint32 // aligned memory of one block
	for b := range len(x) / quant.BlockA8 {
		buf := bytesOf(&mem)
		quant.QuantizeA8(buf, x[b*quant.BlockA8:][:quant.BlockA8])
		Store(row[b*RecordBytes:], quant.ViewA8(buf, quant.BlockA8))
	}
}

func bytesOf(m *[quant.BlockA8/4 + 2]uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(m)), len(m)*4)
}
