package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Op names the operation that computes a Value.
type Op uint8

// A Class says how an op may be fused with its neighbours: a smaller class
// may be folded into a larger one (the usual order of Relay and Relax).
type Class uint8

const (
	Leaf      Class = iota // parameters and symbols
	View                   // renames elements: costs nothing
	Elemwise               // out[i] = f(in[i]), operands broadcast
	Broadcast              // out[i,j] = in[i], materialised
	Injective              // each output element is one input element, materialised
	Reduce                 // reduces or scans one axis
	Contract               // matmul-like
	Opaque                 // fuse nothing
)

var classes = []string{"leaf", "view", "elemwise", "broadcast", "injective", "reduce", "contract", "opaque"}

func (c Class) String() string { return classes[c] }

// An Effect is what an op does to the state symbol that is its first argument.
type Effect uint8

const (
	Pure        Effect = 0
	ReadsState  Effect = 1
	WritesState Effect = 2
)

func (e Effect) String() string { return []string{"pure", "reads", "writes", "reads and writes"}[e] }

// An AttrKind says what an attribute's text must be.
type AttrKind uint8

const (
	IntAttr AttrKind = iota
	FloatAttr
	IntsAttr // 0,2,1
	DimAttr
	DimsAttr // T,16,128
	MapAttr  // interleaved or tiled
	WordAttr // one of Words
	WordsAttr
)

// An AttrSpec is one attribute an op accepts.
type AttrSpec struct {
	Name     string
	Kind     AttrKind
	Optional bool
	Words    string // for WordAttr and WordsAttr: the words, separated by spaces
	Doc      string
}

const (
	OpInvalid Op = iota
	OpParam
	OpWeight
	OpState
	OpPart

	// Views and movement.
	OpReshape
	OpPermute
	OpSlice
	OpCont
	OpRepeat
	OpConcat
	OpPad

	// Elementwise.
	OpAdd
	OpSub
	OpMul
	OpDiv
	OpExp
	OpSigmoid
	OpSilu
	OpSoftplus
	OpScale
	OpClamp

	// Along an axis.
	OpSum
	OpCumsum
	OpSoftmax
	OpRMSNorm
	OpL2Norm
	OpTri
	OpTopK

	// Gathers and products.
	OpGetRows
	OpGather
	OpMatMul
	OpMatMulID
	OpSolveTri
	OpAffineScan
	OpConv
	OpRope
	OpAttention
	OpQuantize

	// State.
	OpLoad
	OpStore
	OpLoadRows
	OpStoreRows

	// Fused by passes.
	OpTopKMoE
	OpGateUp
	OpMoEGateUp
	OpMoEDown
	OpNorm
	OpGatedNorm
	OpNormRope
	OpNormRopeStore
	OpConvSplit
	OpDeltaChunk
	OpDeltaStep

	OpTransfer
	numOps
)

// ChunkTokens is the chunk length of the delta rule's chunked form.
const ChunkTokens = 64

// An OpInfo is everything the compiler knows about an op that does not depend on a device.
type OpInfo struct {
	Name   string
	Args   string // argument names, separated by spaces; "a..." for any number
	Doc    string
	Class  Class
	Effect Effect
	Attrs  []AttrSpec // in print order
	Infer  func(v *Value) (Type, error)
}

// Attribute rows that several ops share.
var (
	aMap   = AttrSpec{"map", MapAttr, true, "", "how a grouped axis is read: interleaved (i / r) or tiled (i mod n)"}
	aAxis  = AttrSpec{"axis", IntAttr, false, "", "axis, 0 is the slowest"}
	aEps   = AttrSpec{"eps", FloatAttr, false, "", "added under the root"}
	aDims  = AttrSpec{"dims", IntAttr, false, "", "leading elements of a head that rotate"}
	aBase  = AttrSpec{"base", FloatAttr, false, "", "frequency base"}
	aScale = AttrSpec{"scale", FloatAttr, false, "", "factor"}
	aK     = AttrSpec{"k", IntAttr, false, "", "entries to select"}
	aOut   = AttrSpec{"out", WordsAttr, false, "sum f32 a8", "the results wanted, in this order: the residual sum, the norm in f32, the norm quantised"}
	aOut2  = AttrSpec{"out", WordsAttr, false, "f32 a8", "the results wanted, in this order"}
)

// ops is the op table. To add an op, add its constant above, its row here and
// its meaning in ir/eval; TestOpTable reports what is missing.
var ops = [numOps]OpInfo{
	OpInvalid: {Name: "invalid"},
	OpParam:   {Name: "param", Doc: "argument of a function", Class: Leaf},
	OpWeight:  {Name: "weight", Doc: "constant of the module", Class: Leaf},
	OpState:   {Name: "state", Doc: "what is kept between steps", Class: Leaf},
	OpPart: {"part", "t", "member i of a tuple", View, Pure,
		[]AttrSpec{{"i", IntAttr, false, "", "member"}}, inferPart},

	OpReshape: {"reshape", "x", "same elements in the same order, another shape", View, Pure,
		[]AttrSpec{{"shape", DimsAttr, false, "", "new shape"}}, inferReshape},
	OpPermute: {"permute", "x", "axis i of the result is axis perm[i] of x", View, Pure,
		[]AttrSpec{{"perm", IntsAttr, false, "", "a permutation of the axes"}}, inferPermute},
	OpSlice: {"slice", "x", "elements start, start+1, … of an axis", View, Pure,
		[]AttrSpec{aAxis, {"start", DimAttr, false, "", "first element"}, {"len", DimAttr, false, "", "number of elements"}}, inferSlice},
	OpCont: {"cont", "x", "the same tensor, copied into rows that follow each other in memory", Injective, Pure, nil, inferSame},
	OpRepeat: {"repeat", "x", "materialised repeat of an axis: extent m becomes m*n, element i reads i / n (interleaved) or i mod m (tiled); from extent 1 no map is needed", Broadcast, Pure,
		[]AttrSpec{aAxis, {"n", DimAttr, false, "", "factor"}, aMap}, inferRepeat},
	OpConcat: {"concat", "a b", "a, then b, along an axis", Injective, Pure, []AttrSpec{aAxis}, inferConcat},
	OpPad: {"pad", "x", "zeros after the elements of an axis, up to extent len", Injective, Pure,
		[]AttrSpec{aAxis, {"len", DimAttr, false, "", "new extent"}}, inferPad},

	OpAdd:      {"add", "x y", "x + y", Elemwise, Pure, []AttrSpec{aMap}, inferBinary},
	OpSub:      {"sub", "x y", "x - y", Elemwise, Pure, []AttrSpec{aMap}, inferBinary},
	OpMul:      {"mul", "x y", "x * y", Elemwise, Pure, []AttrSpec{aMap}, inferBinary},
	OpDiv:      {"div", "x y", "x / y", Elemwise, Pure, []AttrSpec{aMap}, inferBinary},
	OpExp:      {"exp", "x", "e^x", Elemwise, Pure, nil, inferF32},
	OpSigmoid:  {"sigmoid", "x", "1 / (1 + e^-x)", Elemwise, Pure, nil, inferF32},
	OpSilu:     {"silu", "x", "x / (1 + e^-x)", Elemwise, Pure, nil, inferF32},
	OpSoftplus: {"softplus", "x", "log(1 + e^x), x itself above 20", Elemwise, Pure, nil, inferF32},
	OpScale:    {"scale", "x", "x * by", Elemwise, Pure, []AttrSpec{{"by", FloatAttr, false, "", "factor"}}, inferF32},
	OpClamp:    {"clamp", "x", "max(x, min)", Elemwise, Pure, []AttrSpec{{"min", FloatAttr, false, "", "lower bound"}}, inferF32},

	OpSum:     {"sum", "x", "sum over an axis, which stays with extent 1", Reduce, Pure, []AttrSpec{aAxis}, inferSum},
	OpCumsum:  {"cumsum", "x", "running sum along the last axis, itself included", Reduce, Pure, nil, inferF32},
	OpSoftmax: {"softmax", "x", "e^(x-max) / sum of the same, along the last axis", Reduce, Pure, nil, inferF32},
	OpRMSNorm: {"rms_norm", "x", "x / sqrt(mean(x²) + eps) along the last axis", Reduce, Pure, []AttrSpec{aEps}, inferF32},
	OpL2Norm:  {"l2_norm", "x", "x / sqrt(sum(x²) + eps) along the last axis", Reduce, Pure, []AttrSpec{aEps}, inferF32},
	OpTri: {"tri", "x", "lower triangle of the last two axes, zero elsewhere; strict leaves the diagonal out", Elemwise, Pure,
		[]AttrSpec{{"keep", WordAttr, false, "lower strict", "what stays"}}, inferTri},
	OpTopK: {"top_k", "x", "indices of the k largest along the last axis, largest first, the lower index first among equals", Opaque, Pure, []AttrSpec{aK}, inferTopK},

	OpGetRows: {"get_rows", "table rows", "rows of a table [V,…] by index [N], as f32 [N,…]", Injective, Pure, nil, inferGetRows},
	OpGather:  {"gather", "x ids", "x[t, ids[t,j]]: entries of the last axis by index", Injective, Pure, nil, inferGather},
	OpMatMul: {"matmul", "x w", "x[…,M,K] by w[…,N,K] transposed: […,M,N]; leading axes broadcast, a plain w[N,K] serves all", Contract, Pure,
		[]AttrSpec{aMap}, inferMatMul},
	OpMatMulID: {"matmul_id", "x w ids", "by expert: x[T,k,K] or x[T,1,K], w[E,N,K], ids[T,k]: out[t,j] = w[ids[t,j]] x[t,j], [T,k,N]", Contract, Pure, nil, inferMatMulID},
	OpSolveTri: {"solve_tri", "a b", "X with (I + strict lower triangle of a) X = b: a[…,n,n], b[…,n,m]", Opaque, Pure, nil, inferSolveTri},
	OpAffineScan: {"affine_scan", "d k u w s", "recurrence between chunks of the delta rule: S' = d S + (u - w Sᵀ)ᵀ k, from S = s[H,V,K]; d[H,N], k[H,N,c,K], u[H,N,c,V], w[H,N,c,K]; gives the state before each chunk and after the last: [H,N+1,V,K]", Opaque, Pure,
		[]AttrSpec{aMap}, inferAffineScan},
	OpConv: {"conv", "x w", "causal convolution over the tokens, a channel at a time: x[T+c-1,D], w[D,c]: out[t,d] = sum_j x[t+j,d] w[d,j]", Opaque, Pure, nil, inferConv},
	OpRope: {"rope", "x pos", "rotary embedding of the first dims elements of a head, pairs (i, i+dims/2): x[T,H,D], angle pos * base^(-2i/dims)", Injective, Pure,
		[]AttrSpec{aDims, aBase}, inferRope},
	OpAttention: {"attention", "q k v pos", "softmax(scale * q kᵀ) v over the cells up to a token's own position: q[T,H,D], k[C,G,D], v[C,G,E]: [T,H,E]; cell c holds position c", Opaque, Pure,
		[]AttrSpec{aScale, aMap}, inferAttention},
	OpQuantize: {"quantize", "x", "activations as a8: per 32 of the last axis int8 q = round(x / d) half to even, d = max|x| / 127", Injective, Pure, nil, inferQuantize},

	OpLoad:      {"load", "s seq", "state of the sequence: @s[S,…] as […]", Injective, ReadsState, nil, inferLoad},
	OpStore:     {"store", "s x seq", "writes the state of the sequence, rounded to the state's dtype", Opaque, WritesState, nil, inferStore},
	OpLoadRows:  {"load_rows", "s seq", "the first C cells of the sequence's cache @s[S,cells,…] as [C,…]", Injective, ReadsState, nil, inferLoadRows},
	OpStoreRows: {"store_rows", "s x pos seq", "writes x[T,…] to the cells pos of the sequence's cache, rounded to the cache's dtype", Opaque, WritesState, nil, inferStoreRows},

	OpTopKMoE: {"topk_moe", "x", "softmax over the experts, top k, renormalised to sum 1 (sum clamped from below by min), times scale: x[T,E] gives (weights f32[T,k], ids i32[T,k])", Opaque, Pure,
		[]AttrSpec{aK, {"norm", IntAttr, false, "", "1: renormalise"}, {"min", FloatAttr, false, "", "lower bound of the sum"}, aScale}, inferTopKMoE},
	OpGateUp:    {"gate_up", "x gate up", "silu(x gateᵀ) * (x upᵀ): x[T,K], gate and up [N,K]", Contract, Pure, nil, inferGateUp},
	OpMoEGateUp: {"moe_gate_up", "x gate up ids", "gate_up by expert: x[T,1,K], gate and up [E,N,K], ids[T,k]: [T,k,N]", Contract, Pure, nil, inferMoEGateUp},
	OpMoEDown:   {"moe_down", "x w ids weights", "sum over the k experts of weights[t,j] * w[ids[t,j]] x[t,j]: x[T,k,K], w[E,N,K]: [T,N]", Contract, Pure, nil, inferMoEDown},
	OpNorm: {"norm", "x w y...", "s = x + y (y may be absent); rms_norm(s) * w", Reduce, Pure,
		[]AttrSpec{aEps, aOut}, inferNorm},
	OpGatedNorm: {"gated_norm", "x w z", "rms_norm(x) * w * silu(z); a8 has the rows of an entry of the first axis joined: x[T,H,V] gives a8[T,H*V]", Reduce, Pure, []AttrSpec{aEps, aOut2}, inferGatedNorm},
	OpNormRope:  {"norm_rope", "x w pos", "rope(rms_norm(x) * w): x[T,H,D]", Reduce, Pure, []AttrSpec{aEps, aDims, aBase}, inferNormRope},
	OpNormRopeStore: {"norm_rope_store", "s x w pos seq", "store_rows of norm_rope(x)", Opaque, WritesState,
		[]AttrSpec{aEps, aDims, aBase}, inferNormRopeStore},
	OpConvSplit: {"conv_split", "s x w seq", "y = silu(conv(state ++ x)); the state becomes the last inputs; gives q and k, l2_norm by head, and v: (f32[T,heads,kdim], the same, f32[T,vheads,vdim])", Opaque, ReadsState | WritesState,
		[]AttrSpec{{"heads", IntAttr, false, "", "key heads"}, {"kdim", IntAttr, false, "", "key head size"}, {"vheads", IntAttr, false, "", "value heads"}, {"vdim", IntAttr, false, "", "value head size"}, aEps}, inferConvSplit},
	OpDeltaChunk: {"delta_chunk", "s q k v g beta seq", "gated delta rule over the tokens in chunks of 64 (WY form), state @s[S,V heads,V,K]: S = e^g S; S += beta (v - S k) kᵀ; out = S (scale q)", Opaque, ReadsState | WritesState,
		[]AttrSpec{aScale, aMap}, inferDelta},
	OpDeltaStep: {"delta_step", "s q k v g beta seq", "gated delta rule, one token at a time; the arguments of delta_chunk", Opaque, ReadsState | WritesState,
		[]AttrSpec{aScale, aMap}, inferDelta},

	OpTransfer: {"transfer", "x", "a copy on another device", Opaque, Pure, []AttrSpec{{"to", WordAttr, false, "", "device"}, {"copy", WordAttr, true, "active", "of a weight: only the rows that its user picks"}}, inferSame},
}

func (o Op) Info() *OpInfo  { return &ops[o] }
func (o Op) String() string { return ops[o].Name }

// Ops returns all ops that a function body may hold, in table order.
func Ops() []Op {
	var out []Op
	for o := OpPart; o < numOps; o++ {
		out = append(out, o)
	}
	return out
}

// IsView reports whether the op only renames elements of its argument.
func (o Op) IsView() bool { return ops[o].Class == View }

var opByName = func() map[string]Op {
	m := map[string]Op{}
	for _, o := range Ops() {
		m[ops[o].Name] = o
	}
	return m
}()

// numArgs returns how many arguments an op takes and whether more may follow.
func (i *OpInfo) numArgs() (n int, more bool) {
	names := strings.Fields(i.Args)
	if len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...") {
		return len(names) - 1, true
	}
	return len(names), false
}

func (i *OpInfo) attr(name string) *AttrSpec {
	for j := range i.Attrs {
		if i.Attrs[j].Name == name {
			return &i.Attrs[j]
		}
	}
	return nil
}

// sorted returns a in the order of the op's row, unknown names last.
func (a Attrs) sorted(o Op) Attrs {
	rank := func(x Attr) int {
		if i := slices.IndexFunc(ops[o].Attrs, func(s AttrSpec) bool { return s.Name == x.Name }); i >= 0 {
			return i
		}
		return len(ops[o].Attrs)
	}
	out := slices.Clone(a)
	slices.SortStableFunc(out, func(x, y Attr) int { return rank(x) - rank(y) })
	return out
}

// The typed getters are for verified values: Verify has checked the text.

// Int returns an integer attribute, 0 when absent.
func (v *Value) Int(name string) int { n, _ := strconv.Atoi(v.Attr.Get(name)); return n }

// Float returns a number attribute, 0 when absent.
func (v *Value) Float(name string) float64 {
	f, _ := strconv.ParseFloat(v.Attr.Get(name), 64)
	return f
}

// Dim returns a dim attribute.
func (v *Value) Dim(name string) Dim { d, _ := parseDim(v.Attr.Get(name)); return d }

// Dims returns a shape attribute.
func (v *Value) Dims(name string) []Dim {
	d, _ := parseDims(v.Attr.Get(name))
	return d
}

// Ints returns an integer list attribute.
func (v *Value) Ints(name string) []int {
	n, _ := parseInts(v.Attr.Get(name))
	return n
}

// Words returns a word list attribute.
func (v *Value) Words(name string) []string {
	if s := v.Attr.Get(name); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

func parseDims(s string) ([]Dim, error) {
	out := []Dim{}
	for _, x := range splitTop(s) {
		d, err := parseDim(x)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func parseInts(s string) ([]int, error) {
	var out []int
	for _, x := range strings.Split(s, ",") {
		n, err := strconv.Atoi(x)
		if err != nil {
			return nil, fmt.Errorf("bad list %q: want 0,2,1", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// check reports what is wrong with the text of an attribute.
func (s *AttrSpec) check(val string) error {
	var err error
	switch s.Kind {
	case IntAttr:
		_, err = strconv.Atoi(val)
	case FloatAttr:
		var f float64
		f, err = strconv.ParseFloat(val, 64)
		if err == nil && (f-f != 0) {
			err = fmt.Errorf("not finite")
		}
	case IntsAttr:
		_, err = parseInts(val)
	case DimAttr:
		_, err = parseDim(val)
	case DimsAttr:
		_, err = parseDims(val)
	case MapAttr:
		if val != "interleaved" && val != "tiled" {
			err = fmt.Errorf("want interleaved or tiled")
		}
	case WordAttr, WordsAttr:
		words := strings.Fields(s.Words)
		for _, w := range strings.Split(val, ",") {
			if len(words) > 0 && !slices.Contains(words, w) {
				err = fmt.Errorf("want one of %q", words)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("attribute %s=%s: %w", s.Name, val, err)
	}
	return nil
}
