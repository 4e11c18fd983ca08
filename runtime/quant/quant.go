// Package quant holds the block formats of quantised weights: for each one its layout, a
// dequantiser (the reference that everything else is compared with), an encoder, and its dot
// products with float32 and with int8 ("a8") activations in portable Go.
//
// # Order of accumulation
//
// The numbers of a model must not depend on the number of threads, on the tile width of a kernel
// or on how a prompt is cut, so the order in which a dot product over K is summed is part of its
// meaning. It depends on K alone. Every product and every sum below is rounded to float32; none is
// fused (the conversions float32(a*b) in this package forbid that on machines which would).
//
//   - Dot, DotF32 (float32 activations): element k of the dequantised row times x[k] is added to
//     lane k%8, k ascending, lanes starting at +0; the result is ((l0+l4)+(l2+l6))+((l1+l5)+(l3+l7)).
//   - DotA8 (int8 activations in blocks of 32): integer sums of a block are exact; then for each
//     block of 32 in ascending order acc += d·t, from +0, with d the scale of the activations and
//     t = s·i where the format has a scale s only, t = s·i - m·sum (q4_K, q5_K) or s·i + m·sum
//     (q4_1, q5_1) where it has a minimum too; i = Σ w·q, sum = Σ q. For q6_K, which has a scale
//     per 16, t = d6·(c0·i0 + c1·i1) with the integer in the parentheses. All these integers are
//     below 2^24, so they are exact as float32 as well, and s = d4·c (f16 times 6 bits) is exact.
package quant

import "fmt"

// A Kind is a row of the table of formats.
type Kind struct {
	Name       string // as in gguf: "q4_K"
	Ident      string // suffix of this kind's functions here: "Q4K" for DotA8Q4K
	GGML       uint32 // number of the type in ggml
	BlockElems int    // elements of a block; a row has a multiple of it
	BlockBytes int

	// Dequantize decodes len(dst) elements from src. Any bytes are a valid block.
	Dequantize func(dst []float32, src []byte)
	// Quantize encodes len(src) elements into dst, deterministically. A block with a NaN or an
	// infinity in it decodes to NaN in full (float formats keep such values as they are).
	Quantize func(dst []byte, src []float32)
	// DotF32 is the dot product of one row with len(x) float32 activations.
	DotF32 func(w []byte, x []float32) float32
	// DotA8 is the dot product of one row with a row of a8 activations; nil for the float kinds,
	// whose activations stay float32.
	DotA8 func(w []byte, a A8) float32
}

// Kinds are the formats that have kernels, in the order in which they are listed to users.
var Kinds = []Kind{
	{"f32", "F32", 0, 1, 4, DequantizeF32, QuantizeF32, DotF32F32, nil},
	{"f16", "F16", 1, 1, 2, DequantizeF16, QuantizeF16, DotF32F16, nil},
	{"bf16", "BF16", 30, 1, 2, DequantizeBF16, QuantizeBF16, DotF32BF16, nil},
	{"q8_0", "Q80", 8, 32, bytesQ80, DequantizeQ80, QuantizeQ80, DotF32Q80, DotA8Q80},
	{"q4_0", "Q40", 2, 32, bytesQ40, DequantizeQ40, QuantizeQ40, DotF32Q40, DotA8Q40},
	{"q4_1", "Q41", 3, 32, bytesQ41, DequantizeQ41, QuantizeQ41, DotF32Q41, DotA8Q41},
	{"q5_0", "Q50", 6, 32, bytesQ50, DequantizeQ50, QuantizeQ50, DotF32Q50, DotA8Q50},
	{"q5_1", "Q51", 7, 32, bytesQ51, DequantizeQ51, QuantizeQ51, DotF32Q51, DotA8Q51},
	{"q4_K", "Q4K", 12, 256, bytesQ4K, DequantizeQ4K, QuantizeQ4K, DotF32Q4K, DotA8Q4K},
	{"q5_K", "Q5K", 13, 256, bytesQ5K, DequantizeQ5K, QuantizeQ5K, DotF32Q5K, DotA8Q5K},
	{"q6_K", "Q6K", 14, 256, bytesQ6K, DequantizeQ6K, QuantizeQ6K, DotF32Q6K, DotA8Q6K},
}

// ByName finds a kind by its gguf name, for example "q4_K".
func ByName(name string) (*Kind, bool) {
	for i := range Kinds {
		if Kinds[i].Name == name {
			return &Kinds[i], true
		}
	}
	return nil, false
}

// ByGGML finds a kind by the number of its type in ggml.
func ByGGML(id uint32) (*Kind, bool) {
	for i := range Kinds {
		if Kinds[i].GGML == id {
			return &Kinds[i], true
		}
	}
	return nil, false
}

// RowBytes is the size of a row of n elements, n a multiple of BlockElems.
func (k *Kind) RowBytes(n int) int { return n / k.BlockElems * k.BlockBytes }

// blocks is the number of blocks in n elements whose encoding is in have bytes. The sizes of rows
// are decided when a model is compiled, so a wrong one is a fault of the program: it panics.
func blocks(n, elems, have, size int) int {
	if n%elems != 0 || n/elems > have/size {
		panic(fmt.Sprintf("quant: %d elements in blocks of %d do not fit %d bytes in blocks of %d", n, elems, have, size))
	}
	return n / elems
}
