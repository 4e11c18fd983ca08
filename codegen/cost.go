package codegen

import (
	"fmt"
	"strings"

	"qnc/ir"
	"qnc/runtime/cost"
)

// one is a step of one row: what a row costs is what it costs under it.
var one = ir.Sizes{"T": 1, "R": 1, "S": 1, "C": 1}

// costs holds one row an op that has a kernel: what it adds to the weights and
// activations that Cost counts for all.
var costs = map[ir.Op]func(c *coster){
	ir.OpGetRows:  func(c *coster) { c.pick(0, 1) },
	ir.OpCont:     func(c *coster) {},
	ir.OpQuantize: func(c *coster) { c.MACs = c.elems(c.v) },

	ir.OpAdd: elementwise, ir.OpSub: elementwise, ir.OpMul: elementwise, ir.OpDiv: elementwise,
	ir.OpExp: elementwise, ir.OpSigmoid: elementwise, ir.OpSilu: elementwise, ir.OpSoftplus: elementwise,
	ir.OpScale: elementwise, ir.OpClamp: elementwise,

	ir.OpMatMul:    func(c *coster) { c.product(1, 1) },
	ir.OpGateUp:    func(c *coster) { c.product(2, 1) },
	ir.OpMatMulID:  func(c *coster) { c.byExpert(1) },
	ir.OpMoEGateUp: func(c *coster) { c.byExpert(2) },
	ir.OpMoEDown:   func(c *coster) { c.byExpert(1) },

	// A square for the sum, a factor for the result, and what is fused with them.
	ir.OpRMSNorm:   func(c *coster) { c.MACs = 2 * c.elems(c.v) },
	ir.OpL2Norm:    func(c *coster) { c.MACs = 2 * c.elems(c.v) },
	ir.OpNorm:      func(c *coster) { c.MACs = int64(len(c.v.Args)) * c.elems(c.v.Args[0]) },
	ir.OpGatedNorm: func(c *coster) { c.MACs = 3 * c.elems(c.v.Args[0]) },
	ir.OpRope:      func(c *coster) { c.rope(c.v.Args[0]) },
	ir.OpNormRope:  func(c *coster) { c.MACs = 2 * c.elems(c.v.Args[0]); c.rope(c.v.Args[0]) },
	ir.OpNormRopeStore: func(c *coster) {
		c.MACs = 2 * c.elems(c.v.Args[1])
		c.rope(c.v.Args[1])
		c.Store = c.cell(c.v.Args[0])
	},
	ir.OpStoreRows: func(c *coster) { c.Store = c.cell(c.v.Args[0]) },
	ir.OpTopKMoE:   func(c *coster) { c.MACs = c.elems(c.v.Args[0]) },
	ir.OpAttention: func(c *coster) {
		q, k, v := c.v.Args[0], c.v.Args[1], c.v.Args[2]
		c.Cell = c.cell(k.Args[0]) + c.cell(v.Args[0])
		c.CellMACs = c.elems(q) + c.elems(c.v)
	},
	ir.OpConvSplit: func(c *coster) {
		x, w := c.v.Args[1], c.v.Args[2]
		c.State = 2 * c.bytes(c.v.Args[0])
		c.MACs = c.elems(x)*int64(w.Type.Last().At(one)) + 2*2*int64(c.v.Int("heads")*c.v.Int("kdim"))
	},
	// By token: the decay, S k, the outer product, S q. By chunk: k kᵀ and q kᵀ
	// by halves, the triangular solve and its product by halves, and three
	// products with the state.
	ir.OpDeltaStep:  func(c *coster) { c.delta(4, 0) },
	ir.OpDeltaChunk: func(c *coster) { c.delta(3, ir.ChunkTokens) },
}

// HasCost reports whether op has a row in the table of costs.
func HasCost(op ir.Op) bool { return costs[op] != nil }

// A coster adds up the cost of v.
type coster struct {
	cost.Cost
	v     *ir.Value
	bytes func(*ir.Value) int64 // of a symbol as it is stored, state of one sequence
}

// Cost returns what the kernel of v reads, writes and computes; packed is the
// size of a weight as the backend stores it, members are the parts of a tuple
// that somebody reads.
func Cost(v *ir.Value, packed func(*ir.Value) int, members []*ir.Value) (cost.Cost, error) {
	row := costs[v.Op]
	if row == nil {
		return cost.Cost{}, fmt.Errorf("%s: op %s has no row in the table of costs", v.LongString(), v.Op)
	}
	c := &coster{v: v, bytes: func(x *ir.Value) int64 {
		if x.Op == ir.OpWeight {
			return int64(packed(x))
		}
		return int64(x.Type.Bytes(one))
	}}
	for _, a := range v.Args {
		switch root := rootOf(a); {
		case root.Op == ir.OpWeight && root == a:
			c.Weights += c.bytes(a)
		case root.Op == ir.OpWeight:
			c.Weights += int64(a.Type.Bytes(one))
		case root.Op == ir.OpState, root.Op == ir.OpLoadRows, root.Op == ir.OpParam:
		default:
			c.Acts += int64(a.Type.Bytes(one))
		}
	}
	if !v.Type.IsTuple() {
		members = []*ir.Value{v}
	}
	for _, m := range members {
		if m != nil {
			c.Acts += int64(m.Type.Bytes(one))
		}
	}
	row(c)
	return c.Cost, nil
}

// rootOf is the value whose elements v renames.
func rootOf(v *ir.Value) *ir.Value {
	for v.Op.IsView() {
		v = v.Args[0]
	}
	return v
}

func elementwise(c *coster) { c.MACs = c.elems(c.v) }

// elems is the number of elements of a row of x.
func (c *coster) elems(x *ir.Value) int64 { return int64(x.Type.Elems(one)) }

// cell is the bytes of one cell of a cache.
func (c *coster) cell(s *ir.Value) int64 {
	t := s.Type
	t.Dims = t.Dims[2:]
	return int64(t.Bytes(one))
}

// pick makes what the leading axis of argument i counts a choice of rows, k a row.
func (c *coster) pick(i, k int) {
	w := c.v.Args[i]
	if w.Op != ir.OpWeight { // rows of activations: only those that are taken are read
		c.Acts = 2 * int64(c.v.Type.Bytes(one))
		return
	}
	c.Weights -= c.bytes(w) // which Cost has counted whole
	c.Of = int64(w.Type.Dims[0].At(one))
	c.Picks = int64(k)
	c.Pick += c.bytes(w) / max(1, c.Of)
}

// product counts n products of each of k rows a token with weights from argument 1 on.
func (c *coster) product(n, k int) {
	w := c.v.Args[1].Type
	c.Int = c.v.Args[0].Type.DType == ir.A8
	c.MACs = int64(n*k) * int64(w.Dims[w.Rank()-2].At(one)) * int64(w.Last().At(one))
}

// byExpert is product with experts that the ids behind the n weights choose.
func (c *coster) byExpert(n int) {
	k := c.v.Args[1+n].Type.Last().At(one)
	c.product(n, k)
	for i := range n {
		c.pick(1+i, k)
	}
}

// rope adds two products for each element that rotates.
func (c *coster) rope(x *ir.Value) {
	c.MACs += 2 * int64(c.v.Int("dims")) * (c.elems(x) / int64(x.Type.Last().At(one)))
}

// delta counts products with the state, and those inside a chunk of n tokens.
func (c *coster) delta(products, chunk int64) {
	k, v := c.v.Args[2].Type, c.v.Args[3].Type
	heads, kd, vd := int64(v.Dims[1].At(one)), int64(k.Dims[2].At(one)), int64(v.Dims[2].At(one))
	c.State = 2 * c.bytes(c.v.Args[0])
	c.MACs = heads * (products*kd*vd + chunk*(kd+vd))
}

// A Costing states the cost of the values of a function.
type Costing struct {
	packed  func(*ir.Value) int
	classes map[int]string
	members map[*ir.Value][]*ir.Value // of tuples, those that somebody reads
}

// NewCosting looks at f; packed is the size of a weight as the backend stores it.
func NewCosting(f *ir.Func, packed func(*ir.Value) int) *Costing {
	c := &Costing{packed, layerClasses(f), map[*ir.Value][]*ir.Value{}}
	for _, v := range f.Body {
		if v.Op == ir.OpPart {
			c.members[v.Args[0]] = append(c.members[v.Args[0]], v)
		}
	}
	return c
}

// Line is what the kernel of v costs in a step; the backend adds the kernel's name.
func (c *Costing) Line(v *ir.Value) (cost.Line, error) {
	x, err := Cost(v, c.packed, c.members[v])
	layer := LayerOf(v)
	l := cost.Line{Op: v.Op.String(), Value: v.Name, Class: c.classes[layer], Layer: layer, Rows: rowsOf(v), Cost: x}
	if l.Value == "" { // a write
		l.Value = v.Args[0].Name
	}
	if layer < 0 {
		l.Class = "head"
		if v.Op == ir.OpGetRows {
			l.Class = "embedding"
		}
	}
	return l, err
}

// rowsOf says what the leading axis of v counts.
func rowsOf(v *ir.Value) cost.Rows {
	t := v.Type
	if t.IsTuple() {
		t = t.Tuple[0]
	}
	if t.IsNone() { // a write of rows
		t = v.Args[1].Type
	}
	if len(t.Dims) > 0 {
		switch t.Dims[0] {
		case ir.Sym("T"):
			return cost.Tokens
		case ir.Sym("R"):
			return cost.Logits
		}
	}
	return cost.One
}

// layerClasses names what kind of layer each layer of f is, by its ops.
func layerClasses(f *ir.Func) map[int]string {
	have := map[int]map[string]bool{}
	for _, v := range f.Body {
		layer, word := LayerOf(v), classWords[v.Op]
		if word == "" || layer < 0 {
			continue
		}
		if have[layer] == nil {
			have[layer] = map[string]bool{}
		}
		have[layer][word] = true
	}
	classes := map[int]string{}
	for layer, words := range have {
		var s []string
		for _, w := range []string{"delta", "attention", "moe"} {
			if words[w] {
				s = append(s, w)
			}
		}
		classes[layer] = strings.Join(s, " ")
	}
	return classes
}

// classWords are the ops that tell layers apart.
var classWords = map[ir.Op]string{
	ir.OpDeltaChunk: "delta", ir.OpDeltaStep: "delta", ir.OpAffineScan: "delta",
	ir.OpAttention: "attention",
	ir.OpMoEGateUp: "moe", ir.OpMoEDown: "moe", ir.OpMatMulID: "moe",
}
