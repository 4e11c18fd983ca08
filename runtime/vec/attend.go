package vec

// A Format is how an element of a KV cache is stored.
type Format int

const (
	F32 Format = iota
	F16
	Q80 // int8, with a scale in f16 for 32 of them, which lies elsewhere
)

// Bytes is the size of n elements without their scales.
func (f Format) Bytes(n int) int { return n * [...]int{4, 2, 1}[f] }

type scoreTile func(out *float32, ldo int, q *float32, groups int, keys *byte, scales *float32, lds, k, cells, ahead, step int)

type weighTile func(out *float32, ldo int, p *float32, ldp, ldb, groups int, values *byte, v, cells, ahead int)

// rowTiles are the numbers of rows that a tile of scores and weigh takes.
var rowTiles = [3]int{4, 2, 1}

// Keys are cells of a cache, one behind the other, of K elements each: a
// multiple of 16, of 32 in Q80. Of the latter cell c's scale of block b is Scales[b*Stride+c].
type Keys struct {
	Format Format
	K      int
	Bytes  []byte
	Scales []float32
	Stride int
}

// Scores computes out[i,c] = q[i,:]·key c for m rows of K floats, in Q80 of K
// int16 of QuantizeI16 in K/2 floats. ldo is the size of a row; what lies
// behind its last cell, one float, may be lost. The order of a sum depends on K alone.
// Memory is asked for the cells that are ahead by so many, if any.
func (f *Funcs) Scores(out []float32, ldo int, q []float32, keys Keys, m, cells, ahead int) {
	if m <= 0 || cells <= 0 {
		return
	}
	k, row, elems := keys.K, keys.K, 16
	cell := keys.Format.Bytes(k)
	var scales *float32
	if keys.Format == Q80 {
		row, elems = k/2, 32
		scales = &keys.Scales[0]
		_ = keys.Scales[(k/32-1)*keys.Stride+cells-1]
	}
	_, _, _ = out[(m-1)*ldo+cells-1], q[m*row-1], keys.Bytes[cells*cell-1]
	for t, i := 0, 0; i < m; t++ {
		n := (m - i) / rowTiles[t]
		if n == 0 {
			continue
		}
		step := 0 // the first rows ask, a part of a cell with each group
		if ahead > 0 {
			step = (keys.Format.Bytes(elems) + n - 1) / n
		}
		f.scores[keys.Format][t](&out[i*ldo], 4*ldo, &q[i*row], n, &keys.Bytes[0], scales, 4*keys.Stride, k, cells, ahead*cell, step)
		i, ahead = i+n*rowTiles[t], 0
	}
}

// Weigh adds the sum over c of p[i,c] times value c to out[i,:], for m rows of
// v elements, in the order of c. ldo and ldp are the sizes of rows in floats; the weights of
// each further 32 elements lie ldb floats further: 0 but for Q80, see ScaleWeights.
func (f *Funcs) Weigh(out []float32, ldo int, p []float32, ldp, ldb int, format Format, values []byte, v, m, cells, ahead int) {
	if m <= 0 || cells <= 0 {
		return
	}
	cell := format.Bytes(v)
	_, _, _ = out[(m-1)*ldo+v-1], p[(m-1)*ldp+(v-1)/32*ldb+cells-1], values[cells*cell-1]
	for t, i := 0, 0; i < m; t++ {
		if n := (m - i) / rowTiles[t]; n > 0 {
			f.weigh[format][t](&out[i*ldo], 4*ldo, &p[i*ldp], 4*ldp, 4*ldb, n, &values[0], v, cells, ahead*cell)
			i, ahead = i+n*rowTiles[t], 0
		}
	}
}

// ScaleWeights writes dst[i,b,c] = p[i,c] d[b,c] for m rows, where all rows have
// room for cells rounded up to 16; ldd, ldp and lds are their sizes in floats.
func (f *Funcs) ScaleWeights(dst []float32, ldd int, p []float32, ldp int, d []float32, lds, m, blocks, cells int) {
	if m <= 0 || blocks <= 0 || cells <= 0 {
		return
	}
	n := (cells + Lane - 1) &^ (Lane - 1)
	_, _, _ = dst[(m*blocks-1)*ldd+n-1], p[(m-1)*ldp+n-1], d[(blocks-1)*lds+n-1]
	f.scaleWeights(&dst[0], 4*ldd, &p[0], 4*ldp, &d[0], 4*lds, m, blocks, cells)
}

// QuantizeI16 writes x, a multiple of 16, as int16 in half as many floats: x/s
// rounded, and returns s = max|x|/32767; NaN where x has a NaN or an infinity,
// and 0 where all are below 2^-110.
func (f *Funcs) QuantizeI16(dst, x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	_ = dst[len(x)/2-1]
	return f.quantizeI16(&dst[0], x)
}

// QuantizeQ80 encodes x, whole blocks of 32, as quant.QuantizeQ80 does: the
// quants lie one after the other, the scales of blocks lds bytes apart.
func (f *Funcs) QuantizeQ80(q, d []byte, lds int, x []float32) {
	if len(x) == 0 {
		return
	}
	_, _ = q[len(x)-1], d[(len(x)/32-1)*lds+1]
	f.quantizeQ80(&q[0], &d[0], lds, x)
}
