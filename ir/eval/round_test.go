package eval

import (
	"math"
	"testing"

	"qnc/ir"
)

// half widens a finite half by its definition.
func half(h uint16) float64 {
	m, e := float64(h&0x3ff), int(h>>10&31)
	if e == 0 {
		return math.Ldexp(m, -24)
	}
	return math.Ldexp(1024+m, e-25)
}

// TestRoundF16: every half stays, every midpoint goes to the even neighbour,
// what lies next to a midpoint to the nearer one.
func TestRoundF16(t *testing.T) {
	for h := range uint16(0x7bff) {
		lo, hi := half(h), half(h+1)
		mid := float32((lo + hi) / 2)
		even := lo
		if h&1 == 1 {
			even = hi
		}
		for _, c := range []struct {
			x    float32
			want float64
		}{{float32(lo), lo}, {mid, even}, {math.Nextafter32(mid, 0), lo}, {math.Nextafter32(mid, 1e9), hi}} {
			if got := roundF16(c.x); float64(got) != c.want {
				t.Fatalf("%v: have %v, want %v", c.x, got, c.want)
			}
			if got := roundF16(-c.x); float64(got) != -c.want {
				t.Fatalf("%v: have %v, want %v", -c.x, got, -c.want)
			}
		}
	}
	for x, want := range map[float32]float32{65519: 65504, 65520: float32(math.Inf(1)), 1e30: float32(math.Inf(1))} {
		if got := roundF16(x); got != want {
			t.Errorf("%v: have %v, want %v", x, got, want)
		}
	}
	if got := roundF16(float32(math.NaN())); got == got {
		t.Errorf("NaN became %v", got)
	}
}

func TestRoundBF16(t *testing.T) {
	for x, want := range map[float32]float32{1: 1, 1 + 0x1p-8: 1, 1 + 0x1p-7: 1 + 0x1p-7, 1 + 0x1.8p-7: 1 + 0x1p-6, -3.3: -3.296875, 3.4e38: float32(math.Inf(1))} {
		if got := roundBF16(x); got != want {
			t.Errorf("%v: have %v, want %v", x, got, want)
		}
	}
}

// block returns 32 elements, the given ones first.
func block(x ...float32) []float32 { return append(x, make([]float32, 32-len(x))...) }

func TestRoundBlocks(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name string
		d    ir.DType
		x    []float32
		want []float32
	}{
		{"q8_0 grid", ir.Q8_0, block(127, -5, 1.4, 1.5, 2.5), block(127, -5, 1, 2, 2)},
		{"q8_0 scale is a half", ir.Q8_0, block(1), block(127 * 0.00787353515625)},
		{"q8_0 zero", ir.Q8_0, block(), block()},
		{"a8 grid", ir.A8, block(127, -126.6, 2.5, -3.5), block(127, -127, 2, -4)},
		{"a8 scale is a float", ir.A8, block(1), block(127 * (float32(1) / 127))},
		{"a8 tiny", ir.A8, block(0x1p-120), block()},
		{"a8 NaN", ir.A8, block(1, nan), []float32{nan, nan}},
		{"a8 infinity", ir.A8, block(1, float32(math.Inf(-1))), []float32{nan, nan}},
	} {
		if err := round(c.d, c.x, 32); err != nil {
			t.Error(err)
		}
		for i, w := range c.want {
			if x := c.x[i]; x != w && !(x != x && w != w) {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, x, w)
			}
		}
	}
	if err := round(ir.A8, make([]float32, 64), 48); err == nil {
		t.Error("rows of 48 were rounded in blocks of 32")
	}
}

// TestRoundError: rounding moves no element by more than half a step.
func TestRoundError(t *testing.T) {
	x := make([]float32, 32)
	for i := range x {
		x[i] = float32(math.Sin(float64(i*i))) * 3
	}
	m := float64(absMax(x))
	for _, d := range []ir.DType{ir.Q8_0, ir.A8} {
		y := append([]float32(nil), x...)
		if err := round(d, y, 32); err != nil {
			t.Fatal(err)
		}
		for i := range y {
			if e := math.Abs(float64(y[i] - x[i])); e > m/127*0.56 {
				t.Errorf("%s: element %d moved by %g, a step is %g", d, i, e, m/127)
			}
		}
	}
}
