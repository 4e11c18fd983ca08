// Package cases makes the weights and activations that kernels are compared on.
package cases

import (
	"math"
	"math/rand/v2"

	"qnc/runtime/panel"
	"qnc/runtime/quant"
)

// Count is the number of cases.
const Count = 7

// Weights are 16 rows in file layout: what an encoder makes of noise, then what none would.
func Weights(r *rand.Rand, kind *quant.Kind, k, c int) []byte {
	size := kind.RowBytes(k)
	rows := make([]byte, 16*size)
	switch c {
	case 0, 1: // noise
		v := make([]float32, k)
		for i := range 16 {
			for j := range v {
				v[j] = float32(r.NormFloat64() * math.Exp(4*r.Float64()-4))
			}
			kind.Quantize(rows[i*size:][:size], v)
		}
	case 2: // any bytes, scales that are NaN or infinite among them
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
	case 3: // all bits
		for i := range rows {
			rows[i] = 0xff
		}
		scales(rows, kind, 0x7bff)
	case 4: // any levels, subnormal scales
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
		scales(rows, kind, 1)
	case 5: // any levels, huge scales
		for i := range rows {
			rows[i] = byte(r.Uint32())
		}
		scales(rows, kind, 0xfbff)
	case 6: // zeros
	}
	return rows
}

// places are the bytes of a block where it has f16 scales and minima.
var places = map[string][]int{
	"q8_0": {0},
	"q4_0": {0},
	"q4_1": {0, 2},
	"q5_0": {0},
	"q5_1": {0, 2},
	"q4_K": {0, 2},
	"q5_K": {0, 2},
	"q6_K": {208},
}

// scales sets the f16 of every block.
func scales(rows []byte, kind *quant.Kind, v uint16) {
	for i := 0; i < len(rows); i += kind.BlockBytes {
		b := rows[i:][:kind.BlockBytes]
		for _, j := range places[kind.Name] {
			b[j], b[j+1] = byte(v), byte(v>>8)
		}
	}
}

// Activations are n rows at shuffled offsets.
func Activations(r *rand.Rand, k, n, c int) ([]byte, []int64) {
	size := panel.RowBytes(k)
	x := make([]byte, n*size)
	offset := make([]int64, n)
	v := make([]float32, k)
	for t, p := range r.Perm(n) {
		offset[t] = int64(p * size)
		for j := range v {
			switch {
			case c == 3:
				v[j] = 1e30 * float32(1-2*int(r.Uint32()&1)) // codes ±127
			case c == 6 && t%2 == 0:
				v[j] = 0
			case c == 4:
				v[j] = -1
			default:
				v[j] = float32(r.NormFloat64())
			}
		}
		if c == 1 && t == n-1 {
			v[r.IntN(k)] = float32(math.NaN())
		}
		if c == 4 && t%2 == 1 {
			for j := range v {
				v[j] = 1
			}
		}
		panel.Quantize(x[p*size:][:size], v)
	}
	return x, offset
}
