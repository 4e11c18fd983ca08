package panel

const (
	fileQ6K  = 210  // bytes of 256 elements of a row
	panelQ6K = 3328 // of 16 rows, without d
	pairs    = 0x03030303
)

func packQ6K(dst, src []byte, n, k int) {
	size := k / 256 * fileQ6K
	head := k / 256 * 2 * Rows
	for s := range k / 256 {
		out := dst[head+s*panelQ6K:][:panelQ6K]
		for r := range n {
			in := src[r*size+s*fileQ6K:][:fileQ6K]
			copy(dst[32*s+2*r:], in[208:210])
			for b := range 8 {
				copy(out[32*b+2*r:], in[192+2*b:][:2])
				q := out[256+384*b:][:384]
				ql, qh, low, up := sixths(in, b)
				var lo, hi [8]uint32
				for g := range lo {
					lo[g] = le.Uint32(ql[4*g:]) >> low & halves
					hi[g] = le.Uint32(qh[4*g:]) >> up & pairs
				}
				for v := range 4 {
					le.PutUint32(word(q[64*v:], r), lo[2*v]|lo[2*v+1]<<4)
				}
				for v := range 2 {
					h := hi[4*v:][:4]
					le.PutUint32(word(q[256+64*v:], r), h[0]|h[1]<<2|h[2]<<4|h[3]<<6)
				}
			}
		}
	}
}

func unpackQ6K(dst, src []byte, r, k int) {
	head := k / 256 * 2 * Rows
	clear(dst)
	for s := range k / 256 {
		in, out := src[head+s*panelQ6K:][:panelQ6K], dst[s*fileQ6K:][:fileQ6K]
		copy(out[208:], src[32*s+2*r:][:2])
		for b := range 8 {
			copy(out[192+2*b:], in[32*b+2*r:][:2])
			q := in[256+384*b:][:384]
			ql, qh, low, up := sixths(out, b)
			for g := range 8 {
				lo := le.Uint32(word(q[64*(g/2):], r)) >> (4 * (g % 2)) & halves
				hi := le.Uint32(word(q[256+64*(g/4):], r)) >> (2 * (g % 4)) & pairs
				le.PutUint32(ql[4*g:], le.Uint32(ql[4*g:])|lo<<low)
				le.PutUint32(qh[4*g:], le.Uint32(qh[4*g:])|hi<<up)
			}
		}
	}
}

// sixths gives where in 210 bytes of a file block b's 32 elements are: low halves in ql from bit
// low of each byte, upper two bits in qh from bit up.
func sixths(in []byte, b int) (ql, qh []byte, low, up int) {
	h, g := b/4, b%4
	return in[64*h+g%2*32:][:32], in[128+32*h:][:32], g / 2 * 4, 2 * g
}
