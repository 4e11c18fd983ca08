package kernel

import (
	"qnc/runtime/quant"
	"qnc/runtime/vec"
)

// The formats of a cache.
const (
	F32 = vec.F32
	F16 = vec.F16
	Q80 = vec.Q80
)

// A Cache is the keys or the values of one layer: for each group Cells cells of
// Dim elements, one behind the other, so that a group's are read in one stream.
// In q8_0 the group's scales follow its cells: those of the first 32 elements
// of all cells, then those of the next.
type Cache struct {
	Bytes      []byte
	Cells, Dim int
	Format     vec.Format
}

const blockQ80 = 32

// group gives the cells of group g and, in q8_0, their scales.
func (c *Cache) group(g int) (cells, scales []byte) {
	cell := c.Format.Bytes(c.Dim)
	size := cell
	if c.Format == Q80 {
		size += c.Dim / blockQ80 * 2
	}
	b := c.Bytes[g*c.Cells*size:][:c.Cells*size]
	return b[:c.Cells*cell], b[c.Cells*cell:]
}

// Store encodes x as a cell of group g.
func (c *Cache) Store(g, cell int, x []float32) {
	cells, scales := c.group(g)
	size := c.Format.Bytes(c.Dim)
	dst := cells[cell*size:][:size]
	switch c.Format {
	case F32:
		copy(Floats(dst), x)
	case F16:
		QuantizeF16(dst, x)
	case Q80:
		if simd != nil {
			simd.QuantizeQ80(dst, scales[2*cell:], 2*c.Cells, x[:c.Dim])
			return
		}
		var block [2 + blockQ80]byte
		for b := range c.Dim / blockQ80 {
			quant.QuantizeQ80(block[:], x[b*blockQ80:][:blockQ80])
			copy(scales[2*(b*c.Cells+cell):][:2], block[:2])
			copy(dst[b*blockQ80:], block[2:])
		}
	}
}

// block gives block b of a cell as package quant has it.
func (c *Cache) block(dst *[2 + blockQ80]byte, cells, scales []byte, cell, b int) []byte {
	copy(dst[:2], scales[2*(b*c.Cells+cell):])
	copy(dst[2:], cells[cell*c.Dim+b*blockQ80:])
	return dst[:]
}

// dot is the product of x and a cell of group g.
func (c *Cache) dot(g, cell int, x []float32) float32 {
	cells, scales := c.group(g)
	size := c.Format.Bytes(c.Dim)
	switch c.Format {
	case F32:
		return quant.DotF32F32(cells[cell*size:][:size], x)
	case F16:
		return quant.DotF32F16(cells[cell*size:][:size], x)
	}
	var sum float32
	var block [2 + blockQ80]byte
	for b := range c.Dim / blockQ80 {
		sum += quant.DotF32Q80(c.block(&block, cells, scales, cell, b), x[b*blockQ80:][:blockQ80])
	}
	return sum
}

// axpy adds p times a cell of group g to out.
func (c *Cache) axpy(out []float32, p float32, g, cell int) {
	cells, scales := c.group(g)
	size := c.Format.Bytes(c.Dim)
	switch c.Format {
	case F32:
		quant.Axpy(out, p, Floats(cells[cell*size:][:size]))
	case F16:
		quant.AxpyF16(out, p, cells[cell*size:][:size])
	case Q80:
		var block [2 + blockQ80]byte
		for b := range c.Dim / blockQ80 {
			quant.AxpyQ80(out[b*blockQ80:][:blockQ80], p, c.block(&block, cells, scales, cell, b))
		}
	}
}

// Load decodes a cell of group g.
func (c *Cache) Load(x []float32, g, cell int) {
	clear(x)
	c.axpy(x, 1, g, cell)
}
