package panel

const (
	fileQ4K  = 144  // bytes of 256 elements of a row
	panelQ4K = 2304 // of 16 rows
)

func packQ4K(dst, src []byte, n, k int) {
	size := k / 256 * fileQ4K
	for s := range k / 256 {
		out := dst[s*panelQ4K:][:panelQ4K]
		for r := range n {
			in := src[r*size+s*fileQ4K:][:fileQ4K]
			copy(out[2*r:], in[:2])
			copy(out[32+2*r:], in[2:4])
			w := packFields(readFields((*[12]byte)(in[4:])))
			for i, v := range w {
				le.PutUint32(word(out[64+64*i:], r), v)
			}
			for p := range 4 { // blocks 2p and 2p+1 are the two halves of 32 bytes
				q := in[16+32*p:][:32]
				lo, hi := out[256+512*p:][:256], out[256+512*p+256:][:256]
				for v := range 4 {
					a, b := le.Uint32(q[8*v:]), le.Uint32(q[8*v+4:])
					le.PutUint32(word(lo[64*v:], r), a&halves|b&halves<<4)
					le.PutUint32(word(hi[64*v:], r), a>>4&halves|b&^halves)
				}
			}
		}
	}
}

func unpackQ4K(dst, src []byte, r, k int) {
	for s := range k / 256 {
		in, out := src[s*panelQ4K:][:panelQ4K], dst[s*fileQ4K:][:fileQ4K]
		copy(out, in[2*r:][:2])
		copy(out[2:], in[32+2*r:][:2])
		var w [3]uint32
		for i := range w {
			w[i] = le.Uint32(word(in[64+64*i:], r))
		}
		writeFields((*[12]byte)(out[4:]), unpackFields(w))
		for p := range 4 {
			q := out[16+32*p:][:32]
			lo, hi := in[256+512*p:][:256], in[256+512*p+256:][:256]
			for v := range 4 {
				a, b := le.Uint32(word(lo[64*v:], r)), le.Uint32(word(hi[64*v:], r))
				le.PutUint32(q[8*v:], a&halves|b&halves<<4)
				le.PutUint32(q[8*v+4:], a>>4&halves|b&^halves)
			}
		}
	}
}

// Fields are the 6-bit scales (even) and minima (odd) of eight blocks.

// readFields reads them as files have them: bytes 0-3 hold scales 0-3 and bytes 4-7 minima 0-3 in
// their lower 6 bits, bytes 8-11 the lower halves of scales and minima 4-7, whose upper 2 bits are
// on top of bytes 0-7.
func readFields(b *[12]byte) (f [16]uint32) {
	for s := range 4 {
		f[2*s], f[2*s+1] = uint32(b[s]&63), uint32(b[s+4]&63)
		f[2*s+8] = uint32(b[s+8]&15 | b[s]>>6<<4)
		f[2*s+9] = uint32(b[s+8]>>4 | b[s+4]>>6<<4)
	}
	return f
}

func writeFields(b *[12]byte, f [16]uint32) {
	for s := range 4 {
		b[s] = byte(f[2*s] | f[2*s+8]>>4<<6)
		b[s+4] = byte(f[2*s+1] | f[2*s+9]>>4<<6)
		b[s+8] = byte(f[2*s+8]&15 | f[2*s+9]<<4)
	}
}

func packFields(f [16]uint32) (w [3]uint32) {
	for i := range w {
		for j := range 5 {
			w[i] |= f[5*i+j] << (6 * j)
		}
		w[i] |= f[15] >> (2 * i) << 30
	}
	return w
}

func unpackFields(w [3]uint32) (f [16]uint32) {
	for i, v := range w {
		for j := range 5 {
			f[5*i+j] = v >> (6 * j) & 63
		}
		f[15] |= v >> 30 << (2 * i)
	}
	return f
}
