// Package vec holds the float32 kernels in vector assembly, for AVX2 (with FMA
// and F16C) and for AVX-512 (F, BW, DQ, VL). Package kernel calls them through
// the table of the program's target and has plain Go for every target that has
// none, which is also what tests compare with.
//
// The order of every sum is a function of lengths alone, so results do not
// depend on how work is cut. e^x is within 1 ulp, what is made of it within 2.5; e^x is 0 below
// -104.5 and infinity above 89.5 (88.73 in truth), 1/(1+e^-x) is 0 below -89.5.
// NaN in gives NaN out, except in MaxOf and ArgMax, which pass over it.
//
// Slices behind the first must be at least as long as it: nothing is checked here.
package vec

//go:generate sh -c "go run gen/*.go"

// Lane is what the sizes of matrices must be a multiple of.
const Lane = 16

// Funcs is the table of one target. Dst may be a source.
type Funcs struct {
	Add, Mul   func(dst, x, y []float32)
	Scale      func(dst, x []float32, s float32)       // x s
	MulAdd     func(dst, y, x []float32, p float32)    // y + p x
	Norm       func(dst, x, w []float32, s float32)    // x s w
	Gated      func(dst, x, w, z []float32, s float32) // x s w silu(z)
	Exp        func(dst, x []float32)
	Sigmoid    func(dst, x []float32)
	Silu       func(dst, x []float32)
	Softplus   func(dst, x []float32)
	SiluMul    func(dst, x, y []float32)                 // silu(x) y
	Decay      func(dst, hi, lo []float32, h, l float32) // e^((h-hi) + (l-lo))
	Rope       func(lo, hi, cos, sin []float32)          // len(cos) pairs
	ExpSum     func(dst, x []float32, m float32) float32 // e^(x-m) and its sum
	SumSquares func(x []float32) float64
	MaxOf      func(x []float32) float32
	ArgMax     func(x []float32) int // the lowest among equals; -1: nothing above -Inf
	WidenF16   func(dst []float32, src []byte)
	NarrowF16  func(dst []byte, src []float32)
	WidenQ80   func(dst []float32, src []byte)
	Records    func(row []byte, x []float32) // panel.Quantize, bit by bit
	Prefetch   func(p []byte)                // into the second level of cache

	gemm       []gemmTile // the widest, tallest first
	dotRows    int        // rows of a that the tall tiles take
	dots       [2][2]dotTile
	transpose8 func(dst *float32, ldd int, src *float32, lds, n int)
	step       func(state, k, q, v, out *float32, cols, rows int, decay, beta, scale float32)
	solve8     func(u *float32, ldu int, a *float32, lda, n int)
	taps4      func(dst, w *float32, channels int)
	conv4      func(y, r0, r1, r2, r3, taps *float32, channels int)

	scores       [3][3]scoreTile // by Format, then for rows in fours, twos and alone
	weigh        [3][3]weighTile
	scaleWeights func(dst *float32, ldd int, p *float32, ldp int, d *float32, lds, rows, blocks, cells int)
	quantizeI16  func(dst *float32, x []float32) float32
	quantizeQ80  func(q, d *byte, lds int, x []float32)
}

type gemmTile struct {
	rows, cols int
	run        func(c *float32, ldc int, a *float32, ars, acs int, b *float32, ldb, k, add int)
}

type dotTile func(out *float32, ldo int, a *float32, lda int, b *float32, ldb, k int, part *float32, flags int)

// Gemm computes c[i,j] = sum over k of a[i,k] b[k,j], added to c with add, in
// the order of k whatever m and n are. ldc and ldb are the sizes of rows in
// floats, a[i,k] lies at i*ars + k*acs; n is a multiple of 16.
func (f *Funcs) Gemm(c []float32, ldc int, a []float32, ars, acs int, b []float32, ldb, m, n, k int, add bool) {
	if m <= 0 || n <= 0 {
		return
	}
	_ = c[(m-1)*ldc+n-1]
	if k <= 0 {
		for i := 0; i < m && !add; i++ {
			clear(c[i*ldc:][:n])
		}
		return
	}
	_, _ = a[(m-1)*ars+(k-1)*acs], b[(k-1)*ldb+n-1]
	flag := 0
	if add {
		flag = 1
	}
	for j, t := 0, 0; j < n; {
		for f.gemm[t].cols > n-j {
			t++
		}
		cols, u := f.gemm[t].cols, t
		for i := 0; i < m; {
			for f.gemm[u].rows > m-i || f.gemm[u].cols != cols {
				u++
			}
			f.gemm[u].run(&c[i*ldc+j], 4*ldc, &a[i*ars], 4*ars, 4*acs, &b[j], 4*ldb, k, flag)
			i += f.gemm[u].rows
		}
		j += cols
	}
}

// dotBlock is how many elements of long rows are multiplied before others take
// the cache.
const dotBlock = 512

// Dots computes out[i,j] = a[i,:]·b[j,:] over rows of k floats, a multiple of 16;
// ld are the sizes of rows in floats. The order of a sum depends on k alone.
// Rows longer than 512 use part, of DotPart(m) floats, when m > 1.
func (f *Funcs) Dots(out []float32, ldo int, a []float32, lda int, b []float32, ldb, m, n, k int, part []float32) {
	if m <= 0 || n <= 0 {
		return
	}
	_, _, _ = out[(m-1)*ldo+n-1], a[(m-1)*lda+k-1], b[(n-1)*ldb+k-1]
	block := k
	if m > 1 && k > dotBlock {
		block = dotBlock
	}
	for j := 0; j < n; {
		w, nj := 4, 0
		if n-j < 4 {
			w, nj = 1, 1
		}
		for k0 := 0; k0 < k; k0 += block {
			flags := 0
			if k0 > 0 {
				flags |= 1
			}
			if k0+block < k {
				flags |= 2
			}
			for i := 0; i < m; {
				h, mi := f.dotRows, 0
				if m-i < h {
					h, mi = 1, 1
				}
				var p *float32
				if flags != 0 {
					p = &part[i*4*Lane]
				}
				f.dots[mi][nj](&out[i*ldo+j], 4*ldo, &a[i*lda+k0], 4*lda, &b[j*ldb+k0], 4*ldb, min(block, k-k0), p, flags)
				i += h
			}
		}
		j += w
	}
}

// DotPart is the number of floats that Dots needs besides for m rows.
func DotPart(m int) int { return m * 4 * Lane }

// Transpose writes src of m rows and n columns, both multiples of 8, as n rows.
func (f *Funcs) Transpose(dst []float32, ldd int, src []float32, lds, m, n int) {
	if m <= 0 || n <= 0 {
		return
	}
	_, _ = dst[(n-1)*ldd+m-1], src[(m-1)*lds+n-1]
	for i := 0; i < m; i += 8 {
		f.transpose8(&dst[i], 4*ldd, &src[i*lds], 4*lds, n)
	}
}

// DeltaStep is one token of the gated delta rule: S = decay S; S += beta (v - S k) kᵀ;
// out = scale S q, S of len(v) rows and len(k) columns, a multiple of 16.
func (f *Funcs) DeltaStep(state, k, q, v, out []float32, decay, beta, scale float32) {
	if len(v) == 0 || len(k) == 0 {
		return
	}
	_, _, _ = state[len(k)*len(v)-1], q[len(k)-1], out[len(v)-1]
	f.step(&state[0], &k[0], &q[0], &v[0], &out[0], len(k), len(v), decay, beta, scale)
}

// Solve8 replaces eight rows of u by the solution of a unit lower triangular
// system; a is its matrix below the diagonal, negated. n is a multiple of 16.
func (f *Funcs) Solve8(u []float32, ldu int, a []float32, lda, n int) {
	_, _ = u[7*ldu+n-1], a[7*lda+6]
	f.solve8(&u[0], 4*ldu, &a[0], 4*lda, n)
}

// Taps4 writes w [channels,4] as dst [4,channels], channels a multiple of 16.
func (f *Funcs) Taps4(dst, w []float32, channels int) {
	_, _ = dst[4*channels-1], w[4*channels-1]
	f.taps4(&dst[0], &w[0], channels)
}

// Conv4 writes silu of the sum of four rows times their taps, the oldest row first.
func (f *Funcs) Conv4(y, r0, r1, r2, r3, taps []float32, channels int) {
	n := channels - 1
	_, _, _, _, _, _ = y[n], r0[n], r1[n], r2[n], r3[n], taps[4*channels-1]
	f.conv4(&y[0], &r0[0], &r1[0], &r2[0], &r3[0], &taps[0], channels)
}
