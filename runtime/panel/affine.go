package panel

// An affine is a format of eight scales and minima in 256 elements, q4_K or q5_K.
type affine struct {
	file  int // bytes of 256 elements of a row
	qs    int // where the halves are in them
	qh    int // where the fifth bits are, 0 for none
	block int // bytes of a block of a panel
}

var (
	q4K = affine{file: 144, qs: 16, block: 256}
	q5K = affine{file: 176, qs: 48, qh: 16, block: 320}
)

const (
	headAffine = 256 // bytes before the blocks of 256 elements of a panel
	bits1      = 0x01010101
)

func (a *affine) pack(dst, src []byte, n, k int) {
	size := k / 256 * a.file
	for s := range k / 256 {
		out := dst[s*Rows*a.file:][:Rows*a.file]
		for r := range n {
			in := src[r*size+s*a.file:][:a.file]
			copy(out[2*r:], in[:2])
			copy(out[32+2*r:], in[2:4])
			w := packFields(readFields((*[12]byte)(in[4:])))
			for i, v := range w {
				le.PutUint32(word(out[64+64*i:], r), v)
			}
			for p := range 4 { // blocks 2p and 2p+1 are the two halves of 32 bytes
				q := in[a.qs+32*p:][:32]
				lo, hi := a.at(out, 2*p), a.at(out, 2*p+1)
				for v := range 4 {
					x, y := le.Uint32(q[8*v:]), le.Uint32(q[8*v+4:])
					le.PutUint32(word(lo[64*v:], r), x&halves|y&halves<<4)
					le.PutUint32(word(hi[64*v:], r), x>>4&halves|y&^halves)
				}
			}
			if a.qh == 0 {
				continue
			}
			for b := range 8 {
				var h uint32
				for g := range 8 {
					h |= le.Uint32(in[a.qh+4*g:]) >> b & bits1 << g
				}
				le.PutUint32(word(a.at(out, b)[256:], r), h)
			}
		}
	}
}

func (a *affine) unpack(dst, src []byte, r, k int) {
	for s := range k / 256 {
		in, out := src[s*Rows*a.file:][:Rows*a.file], dst[s*a.file:][:a.file]
		copy(out, in[2*r:][:2])
		copy(out[2:], in[32+2*r:][:2])
		var w [3]uint32
		for i := range w {
			w[i] = le.Uint32(word(in[64+64*i:], r))
		}
		writeFields((*[12]byte)(out[4:]), unpackFields(w))
		for p := range 4 {
			q := out[a.qs+32*p:][:32]
			lo, hi := a.at(in, 2*p), a.at(in, 2*p+1)
			for v := range 4 {
				x, y := le.Uint32(word(lo[64*v:], r)), le.Uint32(word(hi[64*v:], r))
				le.PutUint32(q[8*v:], x&halves|y&halves<<4)
				le.PutUint32(q[8*v+4:], x>>4&halves|y&^halves)
			}
		}
		if a.qh == 0 {
			continue
		}
		clear(out[a.qh:][:32])
		for b := range 8 {
			h := le.Uint32(word(a.at(in, b)[256:], r))
			for g := range 8 {
				q := out[a.qh+4*g:]
				le.PutUint32(q, le.Uint32(q)|h>>g&bits1<<b)
			}
		}
	}
}

// at gives block b of the 256 elements of a panel.
func (a *affine) at(panel []byte, b int) []byte { return panel[headAffine+a.block*b:][:a.block] }

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
