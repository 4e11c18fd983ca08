package engine

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"qnc/runtime/cost"
	"qnc/runtime/kernel"
)

// A Product is a kernel of the program over operands that stay in the caches:
// what it does a second is the most that its products can.
type Product struct {
	Format  string // of the weights
	Int     bool   // multiplies int8
	Out     int    // floats
	X, W    int    // bytes of activations and weights
	MACs    int64  // of one call
	Product func(th *Thread, out []float32, x, w []byte)
}

// Peaks is what this machine does at best, measured.
type Peaks struct {
	Threads   int           `json:"threads"`
	Read      float64       `json:"read_bytes_per_second"`
	ReadBytes int64         `json:"read_bytes"`     // over so much of the weights
	Ahead     int           `json:"prefetch_bytes"` // the best distance
	Products  []ProductPeak `json:"products"`
}

// A ProductPeak is the speed of one kernel in the caches.
type ProductPeak struct {
	Format string  `json:"format"`
	Int    bool    `json:"int8"`
	Rate   float64 `json:"macs_per_second"`
}

// Best is the peak of the fastest product of each kind.
func (p *Peaks) Best() cost.Peak {
	b := cost.Peak{Read: p.Read}
	for _, x := range p.Products {
		if x.Int {
			b.Int = max(b.Int, x.Rate)
		} else {
			b.Float = max(b.Float, x.Rate)
		}
	}
	return b
}

// Max takes the better of two measurements: what disturbs one makes it slower.
func (p Peaks) Max(q Peaks) Peaks {
	if q.Read > p.Read {
		p.Read, p.ReadBytes, p.Ahead = q.Read, q.ReadBytes, q.Ahead
	}
	p.Products = slices.Clone(p.Products)
	for i := range min(len(p.Products), len(q.Products)) {
		p.Products[i].Rate = max(p.Products[i].Rate, q.Products[i].Rate)
	}
	return p
}

// What Peak takes: the part of the weights that it reads, and the time of a product; the best of some rounds counts.
const (
	peakBytes  = 1 << 30
	readGrain  = 4096
	peakRounds = 5
	peakTime   = 10 * time.Millisecond
)

// distances are how far ahead of a read the next is asked for, in bytes.
var distances = []int{0, 4 << 10, 8 << 10, 16 << 10, 32 << 10}

// Peak implements Runner. It takes about a second.
func (s *Session) Peak() Peaks {
	p := Peaks{Threads: len(s.decode.threads)}
	weights, err := s.weights.At(0, min(s.weights.Size()/readGrain*readGrain, peakBytes))
	if err == nil && len(weights) > 0 {
		p.ReadBytes = int64(len(weights))
		s.read(weights, 0) // what is not in memory yet
		for _, ahead := range distances {
			for range peakRounds {
				if rate := s.read(weights, ahead); rate > p.Read {
					p.Read, p.Ahead = rate, ahead
				}
			}
		}
	}
	for i := range s.prog.Products {
		x := &s.prog.Products[i]
		best := 0.0
		for range peakRounds {
			best = max(best, s.product(x))
		}
		p.Products = append(p.Products, ProductPeak{x.Format, x.Int, best})
	}
	return p
}

// read reads b on all threads and returns bytes a second. A small b is read
// several times, as a small model is.
func (s *Session) read(b []byte, ahead int) float64 {
	const least = 64 << 20
	rounds := max(1, least/max(1, len(b)))
	var sink atomic.Uint32
	start := time.Now()
	s.decode.Run(func(th *Thread) {
		lo, hi := th.Cut(len(b), readGrain)
		for range rounds {
			sink.Add(math.Float32bits(kernel.Read(b[lo:hi], ahead)))
		}
	})
	return float64(rounds) * float64(len(b)) / time.Since(start).Seconds()
}

// product returns the multiply-adds a second of all threads, each on operands of its own.
func (s *Session) product(x *Product) float64 {
	var calls atomic.Int64
	start := time.Now()
	s.decode.Run(func(th *Thread) {
		alone := Thread{Nth: 1, scratch: th.scratch, team: th.team}
		out, a, w := make([]float32, x.Out), aligned(x.X), aligned(x.W)
		for _, b := range [][]byte{a, w} {
			for i := range b {
				b[i] = 0x3c // a normal number in every type, and pages of its own
			}
		}
		for time.Since(start) < peakTime {
			x.Product(&alone, out, a, w)
			calls.Add(1)
		}
	})
	return float64(calls.Load()*x.MACs) / time.Since(start).Seconds()
}
