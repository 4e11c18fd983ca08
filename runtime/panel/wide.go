package panel

import (
	"math"

	"qnc/runtime/quant"
)

// Wide activations have one scale for 256 values, as formats in blocks of 256 allow: sums of their
// eight sub-blocks stay integers, and only every 256th k costs float32 work.
//
// A wide row is K/256 records of WideBytes, x[k] ≈ d·q[k]:
//
//	0    q       256 int8
//	256  d       float32
//	260  sums    8 int16, the sums of 32 q
//	276  halves  16 int16, the sums of 16 q
//
// Order of accumulation, with i = Σ w·q of a sub-block and c, m its scale and minimum: for each 256
// in ascending order acc += d·t, from +0, with t = d4·Σ c·i - dmin4·Σ m·sum (q4_K and q5_K; their f16
// d4 and dmin4) or t = d6·Σ c·i (q6_K). Sums are exact in int32; each is rounded to float32, and so are
// every product and sum after it, none fused.
const (
	WideBlock = 256
	WideBytes = 308

	wideD, wideSums, wideHalves = 256, 260, 276
)

// WideRowBytes is the size of a wide row of k activations, k a multiple of 256.
func WideRowBytes(k int) int { return k / WideBlock * WideBytes }

// tinyWide: below it 127/|x| would overflow and |x|/127 be subnormal; such a block counts as zero.
const tinyWide = 0x1p-119

// QuantizeWide encodes x, a multiple of 256 values. With m = max |x| of a block, d = m/127 and
// q = x·(127/m) rounded to the nearest integer, ties to even; a block with m < 2^-119 is zero, and
// one with a NaN or an infinity in it has d = NaN and q = 0.
func QuantizeWide(row []byte, x []float32) {
	for b := range len(x) / WideBlock {
		in := (*[WideBlock]float32)(x[b*WideBlock:])
		rec := (*[WideBytes]byte)(row[b*WideBytes:])
		var bits uint32
		for _, v := range in {
			bits = max(bits, math.Float32bits(v)&0x7fffffff)
		}
		m := math.Float32frombits(bits)
		d, scale := m/127, 127/m
		switch {
		case bits >= 0x7f800000:
			d, scale = float32(math.NaN()), 0
		case m < tinyWide:
			d, scale = 0, 0
		}
		if scale == 0 {
			*rec = [WideBytes]byte{}
		} else {
			for h := range 16 {
				var sum int32
				for j := range 16 {
					q := nearest(float32(in[16*h+j] * scale))
					rec[16*h+j] = byte(q)
					sum += q
				}
				le.PutUint16(rec[wideHalves+2*h:], uint16(sum))
			}
			for s := range 8 {
				lo, hi := le.Uint16(rec[wideHalves+4*s:]), le.Uint16(rec[wideHalves+4*s+2:])
				le.PutUint16(rec[wideSums+2*s:], lo+hi)
			}
		}
		le.PutUint32(rec[wideD:], math.Float32bits(d))
	}
}

// nearest rounds |v| < 2^22 to the nearest integer, ties to even.
func nearest(v float32) int32 {
	const shift = 3 << 22
	return int32(math.Float32bits(float32(v+shift))) - 0x4b400000
}

// DotWide is what a kernel for wide activations computes, in portable Go: the products of the 16
// rows of a panel with n wide rows, those that start at x[offset[t]:]; dst[16t+r] is overwritten.
func (f *Format) DotWide(dst []float32, panel, x []byte, offset []int64, k int) {
	row := make([]byte, f.Kind.RowBytes(k))
	for r := range Rows {
		f.unpack(row, panel, r, k)
		for t, o := range offset {
			dst[t*Rows+r] = f.wide(row, x[o:], k)
		}
	}
}

// wide is the product of a row in file layout and a wide row.
func (a *affine) wide(w, x []byte, k int) float32 {
	var acc float32
	for b := range k / WideBlock {
		in, rec := w[b*a.file:][:a.file], x[b*WideBytes:][:WideBytes]
		f := readFields((*[12]byte)(in[4:]))
		var isum, msum int32
		for s := range 8 {
			var i int32
			for j, v := range in[a.qs+32*(s/2):][:32] {
				q := int32(v >> (s % 2 * 4) & 15)
				if a.qh > 0 {
					q |= int32(in[a.qh+j]>>s&1) << 4
				}
				i += q * int32(int8(rec[32*s+j]))
			}
			isum += int32(f[2*s]) * i
			msum += int32(f[2*s+1]) * int32(int16(le.Uint16(rec[wideSums+2*s:])))
		}
		t := float32(quant.F16ToF32(le.Uint16(in))*float32(isum)) - float32(quant.F16ToF32(le.Uint16(in[2:]))*float32(msum))
		acc += float32(math.Float32frombits(le.Uint32(rec[wideD:])) * t)
	}
	return acc
}

// dotWideQ6K is the product of a row in file layout and a wide row.
func dotWideQ6K(w, x []byte, k int) float32 {
	var acc float32
	for b := range k / WideBlock {
		in, rec := w[b*fileQ6K:][:fileQ6K], x[b*WideBytes:][:WideBytes]
		var isum int32
		for s := range 8 {
			ql, qh, low, up := sixths(in, s)
			var i [2]int32
			for j := range 32 {
				q := int32(ql[j]>>low&15|qh[j]>>up&3<<4) - 32
				i[j/16] += q * int32(int8(rec[32*s+j]))
			}
			isum += int32(int8(in[192+2*s]))*i[0] + int32(int8(in[193+2*s]))*i[1]
		}
		t := quant.F16ToF32(le.Uint16(in[208:])) * float32(isum)
		acc += float32(math.Float32frombits(le.Uint32(rec[wideD:])) * t)
	}
	return acc
}
