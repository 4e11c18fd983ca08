package eval

import (
	"fmt"
	"math"

	"qnc/ir"
)

// round replaces data by what storage of type d, in blocks along the last
// axis, makes of it. last is the length of a row.
func round(d ir.DType, data []float32, last int) error {
	n := d.Info().BlockElems
	if n > 1 && last%n != 0 {
		return fmt.Errorf("rows of %d elements are no multiple of the %d of a %s block", last, n, d)
	}
	switch d {
	case ir.F32, ir.I32:
	case ir.F16:
		for i, x := range data {
			data[i] = roundF16(x)
		}
	case ir.BF16:
		for i, x := range data {
			data[i] = roundBF16(x)
		}
	case ir.Q8_0:
		for i := 0; i < len(data); i += n {
			roundQ80(data[i : i+n])
		}
	case ir.A8:
		for i := 0; i < len(data); i += n {
			roundA8(data[i : i+n])
		}
	default:
		return fmt.Errorf("nothing is rounded to %s", d)
	}
	return nil
}

// roundF16 rounds to the nearest half, ties to even. In float64 the grid of
// halves around x is reached by adding and taking away a power of two.
func roundF16(x float32) float32 {
	a := math.Abs(float64(x))
	if math.IsInf(a, 0) || math.IsNaN(a) {
		return x
	}
	_, e := math.Frexp(a)                // a in [2^(e-1), 2^e)
	ulp := math.Ldexp(1, max(e, -13)-11) // subnormals share the spacing 2^-24
	r := math.RoundToEven(a/ulp) * ulp
	if r > 65504 {
		r = math.Inf(1)
	}
	return float32(math.Copysign(r, float64(x)))
}

// roundBF16 rounds to the nearest bfloat16, ties to even.
func roundBF16(x float32) float32 {
	b := math.Float32bits(x)
	if x != x {
		return x
	}
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

func absMax(x []float32) (m float32) {
	for _, v := range x {
		if v != v {
			return v
		}
		m = max(m, float32(math.Abs(float64(v))))
	}
	return m
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// roundQ80 rounds one block: d = max|x|/127 kept as half, q = x * (1/d) to the
// nearest, ties to even as the vector kernels have it.
func roundQ80(x []float32) {
	m := absMax(x)
	if m-m != 0 {
		fill(x, float32(math.NaN()))
		return
	}
	d := m / 127
	inv := float32(0)
	if d != 0 {
		inv = 1 / d
	}
	h := roundF16(d)
	for i, v := range x {
		q := math.RoundToEven(float64(v * inv))
		x[i] = h * float32(min(max(q, -127), 127))
	}
}

// tinyA8 is where 127/max|x| would overflow: such a block is zero.
const tinyA8 = 0x1p-119

// roundA8 rounds one block of activations: d = max|x|/127, q = x * (127/max|x|)
// to the nearest, ties to even. A block with a NaN or an infinity is all NaN.
func roundA8(x []float32) {
	m := absMax(x)
	switch {
	case m-m != 0:
		fill(x, float32(math.NaN()))
	case m < tinyA8:
		fill(x, 0)
	default:
		d, inv := m/127, 127/m
		for i, v := range x {
			x[i] = d * float32(math.RoundToEven(float64(v*inv)))
		}
	}
}
