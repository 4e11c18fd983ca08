package eval

import (
	"fmt"
)

// row returns the state that argument 0 names, of the sequence that argument
// seq names: its memory, to be read or changed.
func (c *call) row(seq int) (Tensor, error) {
	s := c.v.Args[0]
	t, ok := c.env.State[s.Name]
	if !ok {
		shape, err := c.env.shape(s.Type)
		if err == nil {
			err = c.env.hold(volume(shape))
		}
		if err != nil {
			return t, fmt.Errorf("state %s: %w", s, err)
		}
		t = New(shape...)
		c.env.State[s.Name] = t
	} else if err := c.env.fits(t, s.Type); err != nil {
		return t, fmt.Errorf("state %s: %w", s, err)
	}
	if len(c.in[seq].Data) == 0 {
		return t, fmt.Errorf("state %s: no sequence is named", s)
	}
	i, err := index(c.in[seq].Data[0], t.Shape[0], "sequence")
	if err != nil {
		return t, err
	}
	n := volume(t.Shape[1:])
	return Tensor{t.Shape[1:], t.Data[i*n : (i+1)*n]}, nil
}

// load reads all of a sequence's state, or of a cache its first cells.
func load(c *call) error {
	row, err := c.row(1)
	if err != nil {
		return err
	}
	if len(c.out[0].Data) > len(row.Data) {
		return fmt.Errorf("%d cells, the cache has %d", c.out[0].Shape[0], row.Shape[0])
	}
	copy(c.out[0].Data, row.Data)
	return nil
}

// write puts x into dst, rounded to the dtype of the state.
func (c *call) write(dst, x []float32, last int) error {
	copy(dst, x)
	return round(c.v.Args[0].Type.DType, dst[:len(x)], last)
}

func store(c *call) error {
	row, err := c.row(2)
	if err != nil {
		return err
	}
	_, last := row.rows()
	return c.write(row.Data, c.in[1].Data, last)
}

func storeRows(c *call) error { return c.storeCells(c.in[1], 2) }

// storeCells writes x to the cells that argument pos names; the sequence follows it.
func (c *call) storeCells(x Tensor, pos int) error {
	row, err := c.row(pos + 1)
	if err != nil {
		return err
	}
	cells, err := indices(c.in[pos], row.Shape[0], "position")
	if err != nil {
		return err
	}
	n := volume(row.Shape[1:])
	_, last := row.rows()
	for t, cell := range cells {
		if err := c.write(row.Data[cell*n:], x.Data[t*n:(t+1)*n], last); err != nil {
			return err
		}
	}
	return nil
}

// convSplit runs the convolution over the state and x, and cuts silu of it
// into the heads of q, k and v.
func convSplit(c *call) error {
	row, err := c.row(3)
	if err != nil {
		return err
	}
	x, w := c.in[1], c.in[2]
	t, d := x.Shape[0], x.Shape[1]
	joined := New(row.Shape[0]+t, d)
	copy(joined.Data[copy(joined.Data, row.Data):], x.Data)
	y := New(t, d)
	convolve(y, joined, w)
	for i, v := range y.Data {
		y.Data[i] = silu(v)
	}
	at := 0
	for i, out := range c.out {
		n := out.Shape[1] * out.Shape[2]
		for j := range t {
			copy(out.Data[j*n:(j+1)*n], y.Data[j*d+at:])
		}
		at += n
		if i == 2 {
			break
		}
		rows, last := out.rows()
		for r := range rows {
			head := out.Data[r*last : (r+1)*last]
			l2NormRow(head, head, c.v.Float("eps"))
		}
	}
	return c.write(row.Data, joined.Data[t*d:], d)
}

// normRopeStore is store_rows of norm_rope.
func normRopeStore(c *call) error {
	x := New(c.in[1].Shape...)
	normRows(x, c.in[1], c.in[2], c.v.Float("eps"))
	rotate(x, c.in[3], c.v.Int("dims"), c.v.Float("base"))
	return c.storeCells(x, 3)
}
