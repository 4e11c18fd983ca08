package quant

// Levels of more than four bits are put together eight at a time, one to a byte of a uint64.

const (
	ones8   = 0x0101010101010101
	halves8 = 0x0f * ones8
)

// fifth8 spreads the lower 8 bits of h: byte i is 16 where bit i is set.
func fifth8(h uint32) uint64 {
	t := uint64(h&0xff) * ones8 & 0x8040201008040201
	return (t + 0x7f*ones8) & (0x80 * ones8) >> 3
}

// levelsFive gives the 32 levels of a q5_0 or q5_1 block: halves of w, fifth bits of h.
func levelsFive(q *[32]byte, w *[16]byte, h uint32) {
	for i := 0; i < 16; i += 8 {
		v := le.Uint64(w[i:])
		le.PutUint64(q[i:], v&halves8|fifth8(h>>i))
		le.PutUint64(q[i+16:], v>>4&halves8|fifth8(h>>(i+16)))
	}
}

// levelsQ5K gives the levels of sub-blocks s and s+1: halves of w, bits s and s+1 of h.
func levelsQ5K(q *[64]byte, w, h *[32]byte, s int) {
	for i := 0; i < 32; i += 8 {
		v, t := le.Uint64(w[i:]), le.Uint64(h[i:])>>(s&7)
		le.PutUint64(q[i:], v&halves8|t<<4&(0x10*ones8))
		le.PutUint64(q[i+32:], v>>4&halves8|t<<3&(0x10*ones8))
	}
}

// levelsQ6K gives the 128 levels of half h of a block, q-32 as int8.
func levelsQ6K(q *[128]byte, b *[bytesQ6K]byte, h int) {
	l0, l1, qh := (*[32]byte)(b[64*h:]), (*[32]byte)(b[64*h+32:]), (*[32]byte)(b[128+32*h:])
	const upper = 0x30 * ones8
	for i := 0; i < 32; i += 8 {
		u, v, t := le.Uint64(l0[i:]), le.Uint64(l1[i:]), le.Uint64(qh[i:])
		le.PutUint64(q[i:], less32(u&halves8|t<<4&upper))
		le.PutUint64(q[32+i:], less32(v&halves8|t<<2&upper))
		le.PutUint64(q[64+i:], less32(u>>4&halves8|t&upper))
		le.PutUint64(q[96+i:], less32(v>>4&halves8|t>>2&upper))
	}
}

// less32 takes 32 from each byte, 0…63; with bit 7 set nothing is borrowed from the next one.
func less32(x uint64) uint64 { return (x | 0x80*ones8) - 0x20*ones8 ^ 0x80*ones8 }
