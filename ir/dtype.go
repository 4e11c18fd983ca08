package ir

// A DType is an element type as stored, including the block-quantised types of GGUF.
type DType uint8

const (
	F32 DType = iota
	F16
	BF16
	I32
	Q8_0
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q4_K
	Q5_K
	Q6_K
	A8
	numDTypes
)

// NoGGML marks a dtype that no GGUF tensor has.
const NoGGML = -1

// A DTypeInfo gives the storage facts of a DType.
type DTypeInfo struct {
	Name       string
	GGML       int // tensor type id in the file, or NoGGML
	BlockElems int
	BlockBytes int
	Doc        string
}

var dtypes = [numDTypes]DTypeInfo{
	F32:  {"f32", 0, 1, 4, "IEEE single"},
	F16:  {"f16", 1, 1, 2, "IEEE half"},
	BF16: {"bf16", 30, 1, 2, "upper half of an IEEE single"},
	I32:  {"i32", 26, 1, 4, "token ids, positions, expert ids"},
	Q8_0: {"q8_0", 8, 32, 34, "f16 scale, 32 int8"},
	Q4_0: {"q4_0", 2, 32, 18, "f16 scale, 32 nibbles minus 8"},
	Q4_1: {"q4_1", 3, 32, 20, "f16 scale and minimum, 32 nibbles"},
	Q5_0: {"q5_0", 6, 32, 22, "f16 scale, 32 five-bit minus 16"},
	Q5_1: {"q5_1", 7, 32, 24, "f16 scale and minimum, 32 five-bit"},
	Q4_K: {"q4_K", 12, 256, 144, "8 groups of 32 nibbles, six-bit scales and minima"},
	Q5_K: {"q5_K", 13, 256, 176, "8 groups of 32 five-bit, six-bit scales and minima"},
	Q6_K: {"q6_K", 14, 256, 210, "16 groups of 16 six-bit, int8 scales"},
	A8:   {"a8", NoGGML, 32, 44, "activations of this step: 32 int8, an f32 scale, their sum and its halves"},
}

func (d DType) Info() *DTypeInfo { return &dtypes[d] }
func (d DType) String() string   { return dtypes[d].Name }

// Quantised reports whether d stores blocks with shared scales.
func (d DType) Quantised() bool { return dtypes[d].BlockElems > 1 }

// DTypeByName finds a dtype by its text name.
func DTypeByName(name string) (DType, bool) {
	for d := range numDTypes {
		if dtypes[d].Name == name {
			return d, true
		}
	}
	return 0, false
}

// DTypeOfGGML finds the dtype of a GGUF tensor type id.
func DTypeOfGGML(id int) (DType, bool) {
	for d := range numDTypes {
		if dtypes[d].GGML == id {
			return d, true
		}
	}
	return 0, false
}
