package quant

// lanes are the eight partial sums of a float dot product: element k belongs to lane k%8.
type lanes [8]float32

// add adds the products of w and x, whose first element has a k that is a multiple of 8.
func (l *lanes) add(w, x []float32) {
	x = x[:len(w)]
	l0, l1, l2, l3, l4, l5, l6, l7 := l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]
	for len(w) >= 8 && len(x) >= 8 {
		l0 += float32(w[0] * x[0])
		l1 += float32(w[1] * x[1])
		l2 += float32(w[2] * x[2])
		l3 += float32(w[3] * x[3])
		l4 += float32(w[4] * x[4])
		l5 += float32(w[5] * x[5])
		l6 += float32(w[6] * x[6])
		l7 += float32(w[7] * x[7])
		w, x = w[8:], x[8:]
	}
	*l = lanes{l0, l1, l2, l3, l4, l5, l6, l7}
	for i := range w {
		l[i&7] += float32(w[i] * x[i])
	}
}

func (l *lanes) sum() float32 {
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

// Dot is the dot product of a and b (b at least as long as a) in the order of the package comment.
func Dot(a, b []float32) float32 {
	var l lanes
	l.add(a, b)
	return l.sum()
}

// Axpy adds p·v to out (out at least as long as v).
func Axpy(out []float32, p float32, v []float32) {
	out = out[:len(v)]
	for i := range v {
		out[i] += float32(p * v[i])
	}
}

// DotF32 is the dot product of a row of kind k with x.
func DotF32(k *Kind, w []byte, x []float32) float32 { return k.DotF32(w, x) }

// DotA8 is the dot product of a row of kind k, not a float one, with a row of activations.
func DotA8(k *Kind, w []byte, a A8) float32 { return k.DotA8(w, a) }

// The products of one block of 32 weights with its activations, exact.

func dotI8(w *[32]byte, q *[32]int8) int32 {
	var s0, s1 int32
	for i := 0; i < 32; i += 4 {
		s0 += int32(int8(w[i]))*int32(q[i]) + int32(int8(w[i+1]))*int32(q[i+1])
		s1 += int32(int8(w[i+2]))*int32(q[i+2]) + int32(int8(w[i+3]))*int32(q[i+3])
	}
	return s0 + s1
}

// dotNibbles takes weights i and i+16 from the low and high halves of byte i.
func dotNibbles(w *[16]byte, q *[32]int8) int32 {
	var s0, s1 int32
	for i := 0; i < 16; i += 2 {
		v, u := w[i], w[i+1]
		s0 += int32(v&15)*int32(q[i]) + int32(u&15)*int32(q[i+1])
		s1 += int32(v>>4)*int32(q[i+16]) + int32(u>>4)*int32(q[i+17])
	}
	return s0 + s1
}

func dotI8x16(w *[16]byte, q *[16]int8) int32 {
	var s0, s1 int32
	for i := 0; i < 16; i += 4 {
		s0 += int32(int8(w[i]))*int32(q[i]) + int32(int8(w[i+1]))*int32(q[i+1])
		s1 += int32(int8(w[i+2]))*int32(q[i+2]) + int32(int8(w[i+3]))*int32(q[i+3])
	}
	return s0 + s1
}

// dotHalves takes weights i and i+32 from the low and high halves of byte i and keeps the two
// blocks of 32 apart.
func dotHalves(w *[32]byte, q *[64]int8) (lo, hi int32) {
	for i := 0; i < 32; i += 2 {
		v, u := w[i], w[i+1]
		lo += int32(v&15)*int32(q[i]) + int32(u&15)*int32(q[i+1])
		hi += int32(v>>4)*int32(q[i+32]) + int32(u>>4)*int32(q[i+33])
	}
	return lo, hi
}
