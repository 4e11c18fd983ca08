package eval

// topkMoE routes a token: softmax, top k, then the share of each.
func topkMoE(c *call) error {
	rows, n := c.in[0].rows()
	k, factor, least := c.v.Int("k"), float32(c.v.Float("scale")), float32(c.v.Float("min"))
	weights, ids := c.out[0].Data, c.out[1].Data
	p := make([]float32, n)
	for r := range rows {
		softmax(p, c.in[0].Data[r*n:(r+1)*n])
		total := 0.0
		w := weights[r*k : (r+1)*k]
		for j, id := range top(p, k) {
			ids[r*k+j] = float32(id)
			w[j] = p[id]
			total += float64(p[id])
		}
		by := float32(1)
		if c.v.Int("norm") == 1 {
			by = max(float32(total), least)
		}
		for j := range w {
			w[j] = w[j] / by * factor
		}
	}
	return nil
}

// gated makes out silu(gate) * up.
func gated(out, gate, up []float32) {
	for i, g := range gate {
		out[i] = silu(g) * up[i]
	}
}

func gateUp(c *call) error {
	x, out := c.in[0], c.out[0]
	m, n, k := out.Shape[0], out.Shape[1], x.Shape[1]
	gate, up := New(out.Shape...), New(out.Shape...)
	product(gate.Data, x.Data, c.in[1].Data, m, n, k)
	product(up.Data, x.Data, c.in[2].Data, m, n, k)
	gated(out.Data, gate.Data, up.Data)
	return nil
}

func moeGateUp(c *call) error {
	x, ids, out := c.in[0], c.in[3], c.out[0]
	gate, up := New(out.Shape...), New(out.Shape...)
	if err := byExpert(gate, x, c.in[1], ids); err != nil {
		return err
	}
	if err := byExpert(up, x, c.in[2], ids); err != nil {
		return err
	}
	gated(out.Data, gate.Data, up.Data)
	return nil
}

func moeDown(c *call) error {
	w, ids, share, out := c.in[1], c.in[2], c.in[3], c.out[0]
	n, k := w.Shape[1], ids.Shape[1]
	acc := make([]float64, len(out.Data))
	err := experts(c.in[0], w, ids, func(t, j int, x, w []float32) {
		s := float64(share.Data[t*k+j])
		for i := range n {
			acc[t*n+i] += s * float64(float32(dot(x, w[i*len(x):(i+1)*len(x)])))
		}
	})
	for i, v := range acc {
		out.Data[i] = float32(v)
	}
	return err
}

// normRows is rms_norm(x) * w.
func normRows(dst, x, w Tensor, eps float64) {
	rows, n := x.rows()
	for r := range rows {
		row := dst.Data[r*n : (r+1)*n]
		rmsNormRow(row, x.Data[r*n:(r+1)*n], eps)
		for i := range row {
			row[i] *= w.Data[i]
		}
	}
}

// emit copies the wanted results, words as in the attribute out, and rounds them.
func (c *call) emit(results map[string]Tensor) error {
	for i, word := range c.v.Words("out") {
		copy(c.out[i].Data, results[word].Data)
		if err := c.roundOut(i); err != nil {
			return err
		}
	}
	return nil
}

func norm(c *call) error {
	s := c.in[0]
	if len(c.in) == 3 {
		s = New(s.Shape...)
		for i, x := range c.in[0].Data {
			s.Data[i] = x + c.in[2].Data[i]
		}
	}
	y := New(s.Shape...)
	normRows(y, s, c.in[1], c.v.Float("eps"))
	return c.emit(map[string]Tensor{"sum": s, "f32": y, "a8": y})
}

func gatedNorm(c *call) error {
	y := New(c.in[0].Shape...)
	normRows(y, c.in[0], c.in[1], c.v.Float("eps"))
	for i, z := range c.in[2].Data {
		y.Data[i] *= silu(z)
	}
	return c.emit(map[string]Tensor{"f32": y, "a8": y})
}

func normRope(c *call) error {
	normRows(c.out[0], c.in[0], c.in[1], c.v.Float("eps"))
	rotate(c.out[0], c.in[2], c.v.Int("dims"), c.v.Float("base"))
	return nil
}
