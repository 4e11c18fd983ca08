package kernel

import "math"

// AttendBlock is the number of cells between two adjustments of the running
// maximum. Blocks count from cell 0, so that a result does not depend on how
// a prompt is cut.
const AttendBlock = 64

// Attend writes softmax(scale q·k) v over the first cells of a cache to out.
// Row c of the keys is keys[c*keyStride:] in the format that dot reads, and
// values likewise with axpy.
func Attend(out, q []float32, keys []byte, keyStride int, values []byte, valueStride, keyBytes, valueBytes, cells int, scale float32,
	dot func(w []byte, x []float32) float32, axpy func(out []float32, p float32, v []byte)) {
	clear(out)
	var score [AttendBlock]float32
	m, sum := float32(math.Inf(-1)), float32(0)
	for c := 0; c < cells; c += AttendBlock {
		s := score[:min(AttendBlock, cells-c)]
		top := m
		for i := range s {
			s[i] = float32(dot(keys[(c+i)*keyStride:][:keyBytes], q) * scale)
			top = max(top, s[i])
		}
		if top > m {
			r := Exp(m - top)
			sum *= r
			for i := range out {
				out[i] *= r
			}
			m = top
		}
		from := m
		if math.IsInf(float64(m), -1) { // every score so far is -Inf: none of them counts
			from = 0
		}
		for i := range s {
			p := Exp(s[i] - from)
			sum += p
			axpy(out, p, values[(c+i)*valueStride:][:valueBytes])
		}
	}
	for i := range out {
		out[i] /= sum
	}
}
