package kld

import (
	"encoding/binary"
	"math"
)

// exp32 is C's expf to within a rounding.
func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

// logSum returns the highest logit and the log of the sum of exp(logit - highest).
func logSum(logits []float32) (highest float32, ls float64) {
	highest = logits[0]
	for _, x := range logits {
		highest = max(highest, x)
	}
	var sum float64
	for _, x := range logits {
		sum += float64(exp32(x - highest))
	}
	return highest, math.Log(sum)
}

// Loss returns -log p of token next after a row of logits.
func Loss(logits []float32, next int32) float64 {
	highest, ls := logSum(logits)
	return -(float64(logits[next]-highest) - ls)
}

// Encode writes a row of logits as the file has it to dst (Header.RowBytes
// long) and returns -log p of token next. What is more than 16 below the
// highest log-probability counts as 16 below.
func Encode(dst []byte, logits []float32, next int32) float64 {
	highest, ls := logSum(logits)
	least := highest
	for _, x := range logits {
		least = min(least, x)
	}
	least = max(least, highest-16)
	scale := (highest - least) / 65535
	le := binary.LittleEndian
	le.PutUint32(dst, math.Float32bits(scale))
	le.PutUint32(dst[4:], math.Float32bits(least-highest-float32(ls)))
	q := dst[8:]
	clear(q)
	if scale > 0 {
		inv := 1 / scale
		for i, x := range logits {
			if x > least {
				le.PutUint16(q[2*i:], uint16(math.RoundToEven(float64(inv*(x-least)))))
			}
		}
	}
	return float64(highest + float32(ls) - logits[next])
}

// A Row is the comparison of one prediction with its base.
type Row struct {
	NLL     float32 // -log p of the token that came
	NLLBase float32
	KLD     float64 // sum of p_base * log(p_base/p)
	PDiff   float32 // p - p_base of the token that came
	SameTop bool
}

// Compare compares a row of logits with base, a row as the file has it.
func Compare(base []byte, logits []float32, next int32) Row {
	highest, ls := logSum(logits)
	top := 0
	for i, x := range logits {
		if x > logits[top] {
			top = i
		}
	}
	le := binary.LittleEndian
	scale, least := math.Float32frombits(le.Uint32(base)), math.Float32frombits(le.Uint32(base[4:]))
	q := base[8:]
	logBase := func(i int) float32 { return scale*float32(le.Uint16(q[2*i:])) + least }

	r := Row{NLL: highest + float32(ls) - logits[next], NLLBase: -logBase(int(next))}
	logZ := highest + float32(ls)
	topBase, best := 0, logBase(0)
	for i, x := range logits {
		lb := logBase(i)
		if lb > best {
			topBase, best = i, lb
		}
		if lb > -16 {
			r.KLD += float64(exp32(lb) * (lb - x + logZ))
		}
	}
	r.SameTop = top == topBase
	r.PDiff = exp32(-r.NLL) - exp32(-r.NLLBase)
	return r
}
