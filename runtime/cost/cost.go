// Package cost says what a step's kernels read, write and compute, known when
// the program is compiled, and what time a machine needs for it at best.
package cost

import (
	"fmt"
	"math"
	"strings"
)

// A Cost is one call of a kernel, as a function of its rows (tokens, or the
// rows whose logits are asked for) and of the cells that they attend to.
type Cost struct {
	Weights int64 // bytes that a call reads once
	Pick    int64 // bytes of one expert or row of a table
	Picks   int64 // how many of them a row chooses
	Of      int64 // out of how many

	State int64 // bytes of recurrent state that a call reads and writes
	Cell  int64 // bytes of KV cache of a cell that is read
	Store int64 // bytes of KV cache that a row writes

	Acts     int64 // bytes of activations that a row reads and writes
	MACs     int64 // multiply-adds of a row
	CellMACs int64 // multiply-adds of a row and a cell that it attends to
	Int      bool  // they are of 8-bit integers, otherwise of float32
}

// Work is what calls have to do.
type Work struct {
	Weights float64 `json:"weight_bytes"`
	State   float64 `json:"state_bytes"`
	KV      float64 `json:"kv_bytes"`
	Acts    float64 `json:"activation_bytes"`
	Int     float64 `json:"int8_macs"`
	Float   float64 `json:"f32_macs"`
}

// At returns the work of a call over n rows at positions up to cells-1. Rows
// choose experts evenly and independently: that is how many of them are read.
func (c *Cost) At(n, cells int) Work {
	rows := float64(n)
	pairs := rows*float64(cells) - rows*(rows-1)/2 // row i of n attends to cells-n+1+i cells
	w := Work{
		Weights: float64(c.Weights) + math.Round(float64(c.Pick)*c.chosen(n)),
		State:   float64(c.State),
		KV:      float64(c.Cell)*float64(cells) + float64(c.Store)*rows,
		Acts:    float64(c.Acts) * rows,
	}
	macs := float64(c.MACs)*rows + float64(c.CellMACs)*pairs
	if c.Int {
		w.Int = macs
	} else {
		w.Float = macs
	}
	if n == 0 {
		return Work{}
	}
	return w
}

// chosen is how many different picks n rows make, as the mean.
func (c *Cost) chosen(n int) float64 {
	if c.Of == 0 {
		return 0
	}
	all := float64(c.Of)
	if n == 1 {
		return min(float64(c.Picks), all)
	}
	return all * (1 - math.Pow(max(0, 1-float64(c.Picks)/all), float64(n)))
}

// String says the cost in words, without what is zero.
func (c Cost) String() string {
	var s []string
	add := func(n int64, format string, args ...any) {
		if n != 0 {
			s = append(s, fmt.Sprintf(format, append([]any{n}, args...)...))
		}
	}
	add(c.Weights, "%d bytes of weights")
	add(c.Pick, "%d bytes a pick, %d of %d a row", c.Picks, c.Of)
	add(c.State, "%d of state")
	add(c.Cell, "%d a cell")
	add(c.Store, "%d stored a row")
	add(c.Acts, "%d of activations a row")
	unit := "f32"
	if c.Int {
		unit = "int8"
	}
	add(c.MACs, "%d multiply-adds (%s) a row", unit)
	add(c.CellMACs, "%d multiply-adds (%s) a row and cell", unit)
	return strings.Join(s, ", ")
}

// Add returns the sum.
func (w Work) Add(x Work) Work {
	return Work{w.Weights + x.Weights, w.State + x.State, w.KV + x.KV, w.Acts + x.Acts, w.Int + x.Int, w.Float + x.Float}
}

// Bytes is what has to come from memory: activations stay in the caches.
func (w Work) Bytes() float64 { return w.Weights + w.State + w.KV }

// MACs are the multiply-adds of both kinds.
func (w Work) MACs() float64 { return w.Int + w.Float }

// Rows says what the rows of a line are.
type Rows string

const (
	Tokens Rows = "T" // of the step
	Logits Rows = "R" // rows whose logits are asked for
	One    Rows = "1"
)

// A Line is one kernel call of a step.
type Line struct {
	Kernel string
	Op     string
	Value  string // the IR value
	Class  string // what kind of layer it belongs to
	Layer  int    // -1: none
	Rows   Rows
	Cost   Cost
}

// A Size is what one step ran over.
type Size struct {
	Tokens, Logits int
	Cells          int // the last position + 1
}

// At returns the work of the line in a step of size s.
func (l *Line) At(s Size) Work {
	n := 1
	switch l.Rows {
	case Tokens:
		n = s.Tokens
	case Logits:
		n = s.Logits
	}
	return l.Cost.At(n, s.Cells)
}

// Sum returns the work of all lines.
func Sum(lines []Line, s Size) Work {
	var w Work
	for i := range lines {
		w = w.Add(lines[i].At(s))
	}
	return w
}

// A Peak is the best that a machine does with a number of threads.
type Peak struct {
	Read  float64 `json:"read_bytes_per_second"`
	Int   float64 `json:"int8_macs_per_second"`
	Float float64 `json:"f32_macs_per_second"`
}

// Seconds is the time that work takes at least: reading and computing overlap.
func (p Peak) Seconds(w Work) float64 {
	return max(over(w.Bytes(), p.Read), over(w.Int, p.Int)+over(w.Float, p.Float))
}

// over is x / rate, 0 for a rate that is not known.
func over(x, rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	return x / rate
}
