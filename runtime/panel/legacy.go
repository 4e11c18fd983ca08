package panel

// A legacy is a format of 32 elements with a scale of their own.
type legacy struct {
	file  int  // bytes of 32 elements of a row
	heads int  // f16 at their start: the scale, and a minimum
	qh    bool // four bytes of fifth bits follow
	bytes bool // elements are int8, otherwise halves of bytes
	block int  // bytes of a block of a panel, without scales and minima
}

var (
	q80 = legacy{file: 34, heads: 1, bytes: true, block: 512}
	q40 = legacy{file: 18, heads: 1, block: 256}
	q41 = legacy{file: 20, heads: 2, block: 256}
	q50 = legacy{file: 22, heads: 1, qh: true, block: 320}
	q51 = legacy{file: 24, heads: 2, qh: true, block: 320}
)

// at gives the scales and the elements of block b of a panel of k elements.
func (l *legacy) at(panel []byte, b, k int) (head, q []byte) {
	n := 2 * Rows * l.heads
	return panel[n*b:][:n], panel[n*(k/32)+l.block*b:][:l.block]
}

func (l *legacy) pack(dst, src []byte, n, k int) {
	size := k / 32 * l.file
	for b := range k / 32 {
		head, out := l.at(dst, b, k)
		for r := range n {
			in := src[r*size+b*l.file:][:l.file]
			for h := range l.heads {
				copy(head[2*(Rows*h+r):], in[:2])
				in = in[2:]
			}
			if l.qh {
				bits := le.Uint32(in)
				var h uint32
				for i := range 32 { // element i = 4g+j is bit g of byte j
					h |= bits >> i & 1 << (i%4*8 + i/4)
				}
				le.PutUint32(word(out[256:], r), h)
				in = in[4:]
			}
			if l.bytes {
				for g := range 8 {
					copy(word(out[64*g:], r), in[4*g:])
				}
				continue
			}
			for v := range 2 { // groups 2v and 2v+1 in low halves, 4+2v and 5+2v in high ones
				x, y := le.Uint32(in[8*v:]), le.Uint32(in[8*v+4:])
				le.PutUint32(word(out[64*v:], r), x&halves|y&halves<<4)
				le.PutUint32(word(out[64*(v+2):], r), x>>4&halves|y&^halves)
			}
		}
	}
}

func (l *legacy) unpack(dst, src []byte, r, k int) {
	for b := range k / 32 {
		head, in := l.at(src, b, k)
		out := dst[b*l.file:][:l.file]
		for h := range l.heads {
			copy(out[:2], head[2*(Rows*h+r):])
			out = out[2:]
		}
		if l.qh {
			h := le.Uint32(word(in[256:], r))
			var bits uint32
			for i := range 32 {
				bits |= h >> (i%4*8 + i/4) & 1 << i
			}
			le.PutUint32(out, bits)
			out = out[4:]
		}
		if l.bytes {
			for g := range 8 {
				copy(out[4*g:], word(in[64*g:], r))
			}
			continue
		}
		for v := range 2 {
			x, y := le.Uint32(word(in[64*v:], r)), le.Uint32(word(in[64*(v+2):], r))
			le.PutUint32(out[8*v:], x&halves|y&halves<<4)
			le.PutUint32(out[8*v+4:], x>>4&halves|y&^halves)
		}
	}
}
