package panel

const (
	fileQ6K  = 210  // bytes of 256 elements of a row
	panelQ6K = 3328 // of 16 rows, without d
	pairs    = 0x03030303
	sixBits  = 0x3f3f3f3f
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
				for g := 0; g < 8; g += 4 {
					var w [4]uint32
					for i := range w {
						at := 4 * (g + i)
						w[i] = le.Uint32(ql[at:])>>low&halves | le.Uint32(qh[at:])>>up&pairs<<4
					}
					for i := range 3 {
						le.PutUint32(word(q[48*g+64*i:], r), w[i]|w[3]>>(4-2*i)&pairs<<6)
					}
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
			for g := 0; g < 8; g += 4 {
				var w [4]uint32
				for i := range 3 {
					v := le.Uint32(word(q[48*g+64*i:], r))
					w[i] = v & sixBits
					w[3] |= v >> 6 & pairs << (4 - 2*i)
				}
				for i, v := range w {
					at := 4 * (g + i)
					le.PutUint32(ql[at:], le.Uint32(ql[at:])|v&halves<<low)
					le.PutUint32(qh[at:], le.Uint32(qh[at:])|v>>4&pairs<<up)
				}
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
