package synth

import (
	"hash/fnv"
	"io"
	"math"
	"math/bits"
	"runtime"
)

// rng is xoshiro256**, seeded by splitmix64.
type rng [4]uint64

func splitmix(x *uint64) uint64 {
	*x += 0x9e3779b97f4a7c15
	z := *x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func newRNG(seed uint64) *rng {
	r := &rng{}
	for i := range r {
		r[i] = splitmix(&seed)
	}
	return r
}

func (r *rng) next() uint64 {
	out := bits.RotateLeft64(r[1]*5, 7) * 9
	t := r[1] << 17
	r[2] ^= r[0]
	r[3] ^= r[1]
	r[1] ^= r[2]
	r[0] ^= r[3]
	r[2] ^= t
	r[3] = bits.RotateLeft64(r[3], 45)
	return out
}

// uniform is in [0, 1).
func (r *rng) uniform() float64 { return float64(r.next()>>11) * 0x1p-53 }

// normal is close to a standard normal deviate: the sum of four uniform ones,
// centred and scaled; it never exceeds 3.47.
func (r *rng) normal() float64 {
	v := r.next()
	s := int64(v&0xffff) + int64(v>>16&0xffff) + int64(v>>32&0xffff) + int64(v>>48) - 2*0xffff
	const sqrt3 = 1.73205080756887729352744634150587236694
	return float64(s) * (sqrt3 / 65536)
}

// seedOf gives a named thing of a model its own stream.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	x := seed ^ h.Sum64()
	return splitmix(&x)
}

// A dist fills one row of a tensor. The conversions keep compilers from fusing
// a product with the sum, which would change the last bit on some machines.
type dist func(r *rng, row []float32)

// matrix gives a row of n weights the standard deviation gain/sqrt(n), so that
// an input of unit scale gives an output of scale gain.
func matrix(gain float64) dist {
	return func(r *rng, row []float32) {
		std := gain / math.Sqrt(float64(len(row)))
		for i := range row {
			row[i] = float32(std * r.normal())
		}
	}
}

// uneven is matrix with rows of different gains: spread is relative and small
// enough that none is negative.
func uneven(gain, spread float64) dist {
	return func(r *rng, row []float32) {
		matrix(gain*(1+float64(spread*r.normal())))(r, row)
	}
}

func around(mean, std float64) dist {
	return func(r *rng, row []float32) {
		for i := range row {
			row[i] = float32(mean + float64(std*r.normal()))
		}
	}
}

// skewed is between lo and hi and more often near lo.
func skewed(lo, hi float64) dist {
	return func(r *rng, row []float32) {
		for i := range row {
			u := r.uniform()
			row[i] = float32(lo + float64((hi-lo)*float64(u*u)))
		}
	}
}

const (
	// directElems is the size up to which every weight of a tensor is drawn
	// and encoded by itself. A larger tensor draws poolUnits encoded pieces
	// of a row and lays its rows out of them at random: as good for
	// measuring, and as fast as copying.
	directElems = 1 << 22
	poolUnits   = 1 << 12
	chunkBytes  = 1 << 20 // of work for one goroutine at a time
)

// unit is the number of elements of a piece of the pool.
func unit(row int) int {
	for _, u := range []int{256, 32} {
		if row%u == 0 {
			return u
		}
	}
	return row
}

// write encodes the tensor's rows in order, in parallel.
func (s *spec) write(w io.Writer, seed uint64) error {
	rows, rowBytes := s.rows(), s.kind.RowBytes(s.row())
	fill := s.direct(seed)
	if uint64(rows)*uint64(s.row()) > directElems {
		fill = s.pooled(seed)
	}
	per := max(1, min(rows, chunkBytes/rowBytes))
	n := (rows + per - 1) / per // chunks
	type chunk struct {
		buf  []byte
		done chan struct{}
	}
	workers := runtime.GOMAXPROCS(0)
	ring := make([]chunk, min(2*workers, n))
	tasks := make(chan int, len(ring))
	defer close(tasks)
	for i := range ring {
		ring[i] = chunk{make([]byte, per*rowBytes), make(chan struct{}, 1)}
	}
	for range min(workers, len(ring)) {
		go func() {
			for i := range tasks {
				c := &ring[i%len(ring)]
				lo := i * per
				fill(c.buf, lo, min(lo+per, rows))
				c.done <- struct{}{}
			}
		}()
	}
	for i := range len(ring) {
		tasks <- i
	}
	for i := range n {
		c := &ring[i%len(ring)]
		<-c.done
		if _, err := w.Write(c.buf[:(min((i+1)*per, rows)-i*per)*rowBytes]); err != nil {
			return err
		}
		if i+len(ring) < n {
			tasks <- i + len(ring)
		}
	}
	return nil
}

// direct draws every row from a stream of its own, named by the tensor that
// the row comes from in the usual layout: other layouts hold the same weights.
func (s *spec) direct(seed uint64) func(dst []byte, lo, hi int) {
	rowBytes := s.kind.RowBytes(s.row())
	return func(dst []byte, lo, hi int) {
		row := make([]float32, s.row())
		for i := lo; i < hi; i++ {
			name, at := s.name, i
			if s.source != nil {
				name, at = s.source(i)
			}
			s.dist(newRNG(seedOf(seed, name)+uint64(at)), row)
			s.kind.Quantize(dst[(i-lo)*rowBytes:(i-lo+1)*rowBytes], row)
		}
	}
}

func (s *spec) pooled(seed uint64) func(dst []byte, lo, hi int) {
	u := unit(s.row())
	per, size := s.row()/u, s.kind.RowBytes(u)
	seed = seedOf(seed, s.name)
	pool := make([]byte, poolUnits*size)
	row, pieces := make([]float32, s.row()), newRNG(seed)
	for i := 0; i < poolUnits; i++ {
		if i%per == 0 {
			s.dist(pieces, row) // whole rows: their length decides the scale
		}
		s.kind.Quantize(pool[i*size:(i+1)*size], row[i%per*u:(i%per+1)*u])
	}
	return func(dst []byte, lo, hi int) {
		for i := lo; i < hi; i++ {
			r := newRNG(seed + 1 + uint64(i))
			for range per {
				p := int(r.next()>>52) * size
				dst = dst[copy(dst[:size], pool[p:p+size]):]
			}
		}
	}
}
