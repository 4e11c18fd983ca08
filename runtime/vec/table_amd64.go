package vec

// AVX2 is the table of AVX2, FMA and F16C.
var AVX2 = Funcs{
	Add:        addAVX2,
	Mul:        mulAVX2,
	Scale:      scaleAVX2,
	MulAdd:     mulAddAVX2,
	Norm:       normAVX2,
	Gated:      gatedAVX2,
	Exp:        expAVX2,
	Sigmoid:    sigmoidAVX2,
	Silu:       siluAVX2,
	Softplus:   softplusAVX2,
	SiluMul:    siluMulAVX2,
	Decay:      decayAVX2,
	Rope:       ropeAVX2,
	ExpSum:     expSumAVX2,
	SumSquares: sumSquaresAVX2,
	MaxOf:      maxOfAVX2,
	ArgMax:     argMaxAVX2,
	WidenF16:   widenF16AVX2,
	NarrowF16:  narrowF16AVX2,
	WidenQ80:   widenQ80AVX2,
	Records:    recordsAVX2,
	Prefetch:   prefetchAVX2,

	gemm: []gemmTile{
		{4, 16, gemm4x2AVX2},
		{2, 16, gemm2x2AVX2},
		{1, 16, gemm1x2AVX2},
	},
	dotRows:    2,
	dots:       [2][2]dotTile{{dotsNx4AVX2, dotsNx1AVX2}, {dots1x4AVX2, dots1x1AVX2}},
	transpose8: transpose8AVX2,
	step:       deltaStepAVX2,
	solve8:     solve8AVX2,
	taps4:      taps4AVX2,
	conv4:      conv4AVX2,

	scores:       [3][3]scoreTile{{scoresF32x4AVX2, scoresF32x2AVX2, scoresF32x1AVX2}, {scoresF16x4AVX2, scoresF16x2AVX2, scoresF16x1AVX2}, {scoresQ80x4AVX2, scoresQ80x2AVX2, scoresQ80x1AVX2}},
	weigh:        [3][3]weighTile{{weighF32x4AVX2, weighF32x2AVX2, weighF32x1AVX2}, {weighF16x4AVX2, weighF16x2AVX2, weighF16x1AVX2}, {weighQ80x4AVX2, weighQ80x2AVX2, weighQ80x1AVX2}},
	scaleWeights: scaleWeightsAVX2,
	quantizeI16:  quantizeI16AVX2,
	quantizeQ80:  quantizeQ80AVX2,
}

// AVX512 is the table of AVX-512 F, BW, DQ and VL.
var AVX512 = Funcs{
	Add:        addAVX512,
	Mul:        mulAVX512,
	Scale:      scaleAVX512,
	MulAdd:     mulAddAVX512,
	Norm:       normAVX512,
	Gated:      gatedAVX512,
	Exp:        expAVX512,
	Sigmoid:    sigmoidAVX512,
	Silu:       siluAVX512,
	Softplus:   softplusAVX512,
	SiluMul:    siluMulAVX512,
	Decay:      decayAVX512,
	Rope:       ropeAVX512,
	ExpSum:     expSumAVX512,
	SumSquares: sumSquaresAVX512,
	MaxOf:      maxOfAVX512,
	ArgMax:     argMaxAVX512,
	WidenF16:   widenF16AVX512,
	NarrowF16:  narrowF16AVX512,
	WidenQ80:   widenQ80AVX512,
	Records:    recordsAVX512,
	Prefetch:   prefetchAVX512,

	gemm: []gemmTile{
		{8, 32, gemm8x2AVX512},
		{4, 32, gemm4x2AVX512},
		{2, 32, gemm2x2AVX512},
		{1, 32, gemm1x2AVX512},
		{8, 16, gemm8x1AVX512},
		{4, 16, gemm4x1AVX512},
		{2, 16, gemm2x1AVX512},
		{1, 16, gemm1x1AVX512},
	},
	dotRows:    4,
	dots:       [2][2]dotTile{{dotsNx4AVX512, dotsNx1AVX512}, {dots1x4AVX512, dots1x1AVX512}},
	transpose8: transpose8AVX512,
	step:       deltaStepAVX512,
	solve8:     solve8AVX512,
	taps4:      taps4AVX512,
	conv4:      conv4AVX512,

	scores:       [3][3]scoreTile{{scoresF32x4AVX512, scoresF32x2AVX512, scoresF32x1AVX512}, {scoresF16x4AVX512, scoresF16x2AVX512, scoresF16x1AVX512}, {scoresQ80x4AVX512, scoresQ80x2AVX512, scoresQ80x1AVX512}},
	weigh:        [3][3]weighTile{{weighF32x4AVX512, weighF32x2AVX512, weighF32x1AVX512}, {weighF16x4AVX512, weighF16x2AVX512, weighF16x1AVX512}, {weighQ80x4AVX512, weighQ80x2AVX512, weighQ80x1AVX512}},
	scaleWeights: scaleWeightsAVX512,
	quantizeI16:  quantizeI16AVX512,
	quantizeQ80:  quantizeQ80AVX512,
}

// ForTarget is the table of a target of package cpu, nil where plain Go is meant.
func ForTarget(name string) *Funcs {
	switch name {
	case "x86-64-v3":
		return &AVX2
	case "x86-64-v4", "x86-64-v4+vnni":
		return &AVX512
	}
	return nil
}
