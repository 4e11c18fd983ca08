// Package ir is the compiler's intermediate representation.
//
// A module holds a machine, weights, state and functions over them. A function
// is straight-line dataflow in topological order; there is no control flow.
// The printed form is the whole truth: Parse(m.String()) rebuilds m.
//
//	module tiny level=graph {
//		device cpu mem=24GiB bw=34.7GB/s
//		bound T 512
//		bound S 1
//		weight @token_embd.weight : q8_0[4096,256] from=token_embd.weight
//		weight @norm.weight : f32[256] from=norm.weight
//		state @blk.0.conv : f32[S,3,256]
//	}
//
//	func decode(%tok: i32[1], %seq: i32[1]) {
//		%h = get_rows @token_embd.weight, %tok : f32[1,256]
//		%n = rms_norm %h {eps=1e-06} : f32[1,256]
//		%w = mul %n, @norm.weight : f32[1,256]
//		%c = load @blk.0.conv, %seq : f32[3,256]
//		%x = concat %c, %w {axis=0} : f32[4,256]
//		%last = slice %x {axis=0 start=1 len=3} : f32[3,256]
//		store @blk.0.conv, %last, %seq
//		return %w
//	}
//
// # Dimensions
//
// Dims are written slowest first, the reverse of GGUF's order: a weight that
// maps K inputs to N outputs is [N,K]. A dim is a number or affine in one
// symbol: T tokens of this step, R rows whose logits are asked for, S
// sequences, C cells of the cache in use after this step, or ceildiv(T,64)
// chunks: "T", "T+3", "64*ceildiv(T,64)". A "bound" line gives a symbol's
// largest value; the memory plan uses it.
//
// # Broadcast
//
// An axis broadcasts from extent 1 only. A grouped repeat (32 value heads read
// 16 key heads) names its map: interleaved (head h reads h / r) or tiled
// (head h reads h mod n). Without the map the types do not match.
//
// # Effects
//
// Weights and state are symbols (@name), not parameters. An op whose row says
// so reads or writes the state symbol that is its first argument; writes are
// roots that no sweep removes, and nothing moves across another access of the
// same symbol.
//
// # Tuples
//
// An op with several results has a tuple type; part {i=k} selects a member and
// costs nothing.
//
// # Functions
//
// A function may say "from T=128" behind its parameters: it is meant for steps
// of at least so many tokens, and the function before it for shorter ones.
//
// # Levels
//
// graph, which may be left out: as imported and optimised. placed: each function is cut into parts,
// each on one device ("p0 @cpu:" lines). planned: each value that needs memory
// says where in the arena it lies ("at 4096").
package ir
