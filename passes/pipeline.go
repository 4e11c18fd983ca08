package passes

// Pipeline lists the passes in the order of a compile; the reasons for the
// order stand in Order. To add a pass: a file, a row here and a folder of
// goldens under testdata, all of one name.
var Pipeline = []Pass{
	{Name: "elim-repeat", Doc: "repeats sink into the operands that broadcast them: none is made in memory",
		Run: eachFunc(elimRepeat)},
	{Name: "elim-copy", Doc: "views are joined and read in place: no copy only straightens one",
		Run: eachFunc(elimCopy)},
	{Name: "cse", Doc: "equal values are computed once",
		Run: eachFunc(cse)},
	{Name: "dce", Doc: "what nothing depends on is not computed",
		Run: eachFunc(dce)},
	{Name: "delta-net", Doc: "the primitive forms of the gated delta rule become delta_chunk and delta_step",
		Run: deltaNet, Reassociates: true},
	{Name: "fuse-conv", Doc: "short convolution, its state, SiLU, the cut into q, k, v and their norms become conv_split",
		Run: fuseConv},
	{Name: "fuse-topk-moe", Doc: "softmax, top k, gather and normalise of a router become topk_moe",
		Run: fuseTopKMoE},
	{Name: "fuse-gate-up", Doc: "gate and up of an expert or a dense layer, with SiLU and product, become moe_gate_up or gate_up",
		Run: fuseGateUp},
	{Name: "fuse-moe-down", Doc: "down projection and weighted sum over a token's experts become moe_down",
		Run: fuseMoEDown, Reassociates: true},
	{Name: "fuse-rope", Doc: "norm of a head, rotary embedding and cache write become norm_rope or norm_rope_store",
		Run: fuseRope},
	{Name: "quantize-acts", Doc: "activations of products with block-quantised weights become a8, once for all users",
		Run: eachFunc(quantizeActs), Lossy: true, Bound: actBound},
	{Name: "fuse-norm", Doc: "residual sum, norm, weight, gate and quantisation become norm or gated_norm",
		Run: fuseNorm},
	{Name: "place", Doc: "every weight, state and value gets its device, within the devices' memory",
		Run: place, Stage: Placement, Required: true},
	{Name: "partition", Doc: "functions are cut into parts on one device, as few as there can be, with transfers between them",
		Run: partition, Stage: Placement, Required: true},
	{Name: "plan-memory", Doc: "values get their places in one arena a device, by the time they live",
		Run: planMemory, Stage: Planning, Required: true},
}

// An Ordering says that one pass comes before another, and why.
type Ordering struct{ Before, After, Why string }

// Order is what Pipeline must respect.
var Order = []Ordering{
	{"elim-repeat", "elim-copy", "a repeat between two views keeps them apart"},
	{"elim-copy", "cse", "joined views become equal"},
	{"cse", "dce", "the users of a joined value leave others without users"},
	{"cse", "delta-net", "the patterns are written in the form that elim-repeat, elim-copy and cse leave"},
	{"dce", "delta-net", "a value without users would keep what it reads from being matched"},
	{"delta-net", "fuse-conv", "of one token, elim-copy joins the cut of v with the delta rule's view of it; delta-net separates them"},
	{"cse", "fuse-topk-moe", "two equal softmaxes would hide that one router is meant"},
	{"cse", "fuse-gate-up", "gate and up must read the same value, not equal ones"},
	{"fuse-topk-moe", "fuse-moe-down", "the router's weights are the argument of moe_down: what makes them is fused first"},
	{"fuse-gate-up", "quantize-acts", "gate and up share one activation"},
	{"fuse-moe-down", "quantize-acts", "a quantised activation between matmul_id and its sum is no longer the pattern"},
	{"fuse-rope", "fuse-norm", "a norm in front of a rotary embedding belongs to it"},
	{"quantize-acts", "fuse-norm", "norm writes the quantised activation itself"},
	{"fuse-norm", "place", "rewrites know no devices; which device runs a value is known once it has its last form"},
	{"place", "partition", "parts are runs of values on one device"},
	{"partition", "plan-memory", "lifetimes follow the final order; transfers need memory too"},
}
