package ptx

// An opcode is a row of the table: how many operands an instruction has, and what
// makes its function. Modifiers that the decoder does not take are errors.
type opcode struct {
	min, max int
	decode   func(*decoder) exec
}

// opcodes are all instructions, by the word before the first dot.
var opcodes map[string]opcode

func init() {
	opcodes = map[string]opcode{
		// integers, and floats under the same names
		"add": {3, 3, decodeAdd}, "sub": {3, 3, decodeSub}, "mul": {3, 3, decodeMul}, "mad": {4, 4, decodeMad}, "fma": {4, 4, decodeFMA},
		"div": {3, 3, decodeDiv}, "rem": {3, 3, decodeDiv}, "min": {3, 3, decodeMin}, "max": {3, 3, decodeMax}, "abs": {2, 2, decodeAbs}, "neg": {2, 2, decodeNeg},
		"mul24": {3, 3, decodeMul24}, "mad24": {4, 4, decodeMul24}, "sad": {4, 4, decodeSad},
		"dp4a": {4, 4, decodeDot}, "dp2a": {4, 4, decodeDot},
		// floats alone
		"sqrt": {2, 2, decodeUnaryFloat}, "rcp": {2, 2, decodeUnaryFloat}, "rsqrt": {2, 2, decodeUnaryFloat}, "sin": {2, 2, decodeUnaryFloat},
		"cos": {2, 2, decodeUnaryFloat}, "lg2": {2, 2, decodeUnaryFloat}, "ex2": {2, 2, decodeUnaryFloat}, "tanh": {2, 2, decodeUnaryFloat},
		"copysign": {3, 3, decodeCopysign}, "testp": {2, 2, decodeTestp},
		// bits
		"and": {3, 3, decodeLogic}, "or": {3, 3, decodeLogic}, "xor": {3, 3, decodeLogic}, "not": {2, 2, decodeNot}, "cnot": {2, 2, decodeNot},
		"lop3": {5, 5, decodeLop3}, "shl": {3, 3, decodeShift}, "shr": {3, 3, decodeShift}, "shf": {4, 4, decodeFunnel}, "prmt": {4, 4, decodePermute},
		"popc": {2, 2, decodeCount}, "clz": {2, 2, decodeCount}, "brev": {2, 2, decodeCount}, "bfind": {2, 2, decodeCount},
		"bfe": {4, 4, decodeBfe}, "bfi": {5, 5, decodeBfi}, "bmsk": {3, 3, decodeBmsk},
		// moves, comparisons, conversions
		"mov": {2, 2, decodeMov}, "cvta": {2, 2, decodeCvta}, "isspacep": {2, 2, decodeIsspacep}, "cvt": {2, 3, decodeCvt},
		"selp": {4, 4, decodeSelp}, "slct": {4, 4, decodeSlct}, "setp": {3, 4, decodeSetp}, "set": {3, 4, decodeSet},
		// memory
		"ld": {2, 2, decodeLoad}, "ldu": {2, 2, decodeLoad}, "st": {2, 2, decodeStore}, "atom": {3, 4, decodeAtomic}, "red": {2, 2, decodeAtomic},
		"cp": {0, 4, decodeCopy}, "prefetch": {1, 1, decodeHint}, "prefetchu": {1, 1, decodeHint}, "discard": {2, 2, decodeHint}, "applypriority": {2, 2, decodeHint},
		"membar": {0, 0, decodeHint}, "fence": {0, 0, decodeHint}, "griddepcontrol": {0, 0, decodeHint}, "nanosleep": {1, 1, decodeHint}, "setmaxnreg": {1, 1, decodeHint},
		// the warp and the block
		"shfl": {4, 5, decodeShuffle}, "vote": {3, 3, decodeVote}, "match": {3, 3, decodeMatch}, "redux": {3, 3, decodeRedux}, "activemask": {1, 1, decodeActive},
		"elect": {2, 2, decodeElect}, "bar": {1, 4, decodeBarrier}, "barrier": {1, 4, decodeBarrier},
		"mma": {4, 4, decodeMMA}, "ldmatrix": {2, 2, decodeLdmatrix}, "stmatrix": {2, 2, decodeStmatrix}, "movmatrix": {2, 2, decodeMovmatrix},
		// control
		"bra": {1, 1, decodeBranch}, "ret": {0, 0, decodeExit}, "exit": {0, 0, decodeExit}, "trap": {0, 0, decodeTrap},
	}
}

// all are the lanes of a full warp.
const all = ^uint32(0)

// lanes1 applies f, which has no other effect, to whole registers, and keeps the lanes of m.
func lanes1(dst, a int, f func(d, a *vec)) exec {
	return func(w *warp, m uint32) {
		if m == all {
			f(&w.r[dst], &w.r[a])
			return
		}
		var t vec
		f(&t, &w.r[a])
		w.keep(dst, &t, m)
	}
}

func lanes2(dst, a, b int, f func(d, a, b *vec)) exec {
	return func(w *warp, m uint32) {
		if m == all {
			f(&w.r[dst], &w.r[a], &w.r[b])
			return
		}
		var t vec
		f(&t, &w.r[a], &w.r[b])
		w.keep(dst, &t, m)
	}
}

func lanes3(dst, a, b, c int, f func(d, a, b, c *vec)) exec {
	return func(w *warp, m uint32) {
		if m == all {
			f(&w.r[dst], &w.r[a], &w.r[b], &w.r[c])
			return
		}
		var t vec
		f(&t, &w.r[a], &w.r[b], &w.r[c])
		w.keep(dst, &t, m)
	}
}

// each1 is lanes1 of a function of one lane.
func each1(dst, a int, f func(a uint64) uint64) exec {
	return lanes1(dst, a, func(d, a *vec) {
		for l := range d {
			d[l] = f(a[l])
		}
	})
}

func each2(dst, a, b int, f func(a, b uint64) uint64) exec {
	return lanes2(dst, a, b, func(d, a, b *vec) {
		for l := range d {
			d[l] = f(a[l], b[l])
		}
	})
}

func each3(dst, a, b, c int, f func(a, b, c uint64) uint64) exec {
	return lanes3(dst, a, b, c, func(d, a, b, c *vec) {
		for l := range d {
			d[l] = f(a[l], b[l], c[l])
		}
	})
}
