package vec

import "unsafe"

// readBlock is what Read asks for and reads at a time.
const readBlock = 4096

// Read reads the whole blocks of 4 KiB of p, 8-byte aligned, with the table's
// widest loads, asking the caches for what lies ahead bytes further on, and
// returns a number that depends on all of it. A nil table reads with plain Go.
func (f *Funcs) Read(p []byte, ahead int) float32 {
	var sum uint64
	var most float32
	for i := 0; i+readBlock <= len(p); i += readBlock {
		block := p[i : i+readBlock]
		if f == nil {
			sum += sum64(block)
			continue
		}
		if next := i + ahead; ahead > 0 && next+readBlock <= len(p) {
			f.Prefetch(p[next : next+readBlock])
		}
		most = max(most, f.MaxOf(unsafe.Slice((*float32)(unsafe.Pointer(&block[0])), readBlock/4)))
	}
	return most + float32(sum)
}

// sum64 adds the words of p.
func sum64(p []byte) uint64 {
	x := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/8)
	var a, b, c, d uint64
	for ; len(x) >= 8; x = x[8:] {
		a += x[0] + x[4]
		b += x[1] + x[5]
		c += x[2] + x[6]
		d += x[3] + x[7]
	}
	return a + b + c + d
}
