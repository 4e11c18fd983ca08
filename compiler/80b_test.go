package compiler

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/gguf"
)

// headBytes is more than the header of the 80B file has; what follows is a hole.
const headBytes = 8 << 20

// A headWriter keeps the first bytes and counts the others.
type headWriter struct {
	head []byte
	n    int64
}

func (w *headWriter) Write(p []byte) (int, error) {
	w.head = append(w.head, p[:min(len(p), headBytes-len(w.head))]...)
	w.n += int64(len(p))
	return len(p), nil
}

// bigTokens is a vocabulary of n tokens: the bytes as byte-level BPE writes
// them, words, and the special tokens of ChatML.
func bigTokens(n int) (tokens []string, types []int32) {
	next := rune(256)
	for b := range rune(256) {
		r := b
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r, next = next, next+1
		}
		tokens = append(tokens, string(r))
	}
	tokens = append(tokens, "wo") // of the one merge
	for len(tokens) < n-3 {
		tokens = append(tokens, fmt.Sprintf("word%d", len(tokens)))
	}
	tokens = append(tokens, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
	types = make([]int32, n)
	for i := range types {
		types[i] = 1
		if i >= n-3 {
			types[i] = 3
		}
	}
	return tokens, types
}

// big80B writes a sparse file with the tensors of the 80B model as Q4_K_M: 48
// layers, 512 experts, 151936 tokens.
func big80B(t testing.TB) string {
	t.Helper()
	const hidden, vocab = 2048, 151936
	tokens, types := bigTokens(vocab)
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "qwen3next"}, {Key: "general.name", Value: "80B shapes"}, {Key: "general.file_type", Value: uint32(15)},
		{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "qwen2"},
		{Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.merges", Value: []string{"w o"}}, {Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(vocab - 1)},
		{Key: "qwen3next.rope.freq_base", Value: float32(5e6)}, {Key: "qwen3next.attention.layer_norm_rms_epsilon", Value: float32(1e-6)},
	}
	for _, p := range []struct {
		key string
		n   uint32
	}{
		{"block_count", 48}, {"context_length", 262144}, {"embedding_length", hidden}, {"feed_forward_length", 5120},
		{"attention.head_count", 16}, {"attention.head_count_kv", 2}, {"attention.key_length", 256}, {"attention.value_length", 256},
		{"rope.dimension_count", 64}, {"expert_count", 512}, {"expert_used_count", 10},
		{"expert_feed_forward_length", 512}, {"expert_shared_feed_forward_length", 512}, {"full_attention_interval", 4},
		{"ssm.conv_kernel", 4}, {"ssm.state_size", 128}, {"ssm.group_count", 16}, {"ssm.time_step_rank", 32}, {"ssm.inner_size", 4096},
	} {
		kvs = append(kvs, gguf.KV{Key: "qwen3next." + p.key, Value: p.n})
	}
	var list []gguf.TensorSource
	zeros := make([]byte, 64<<20)
	add := func(name string, typ gguf.Type, dims ...uint64) {
		info, _ := typ.Info()
		size := uint64(info.BlockBytes)
		for _, d := range dims {
			size *= d
		}
		size /= uint64(info.BlockElems)
		list = append(list, gguf.TensorSource{Name: name, Type: typ, Dims: dims, Write: func(w io.Writer) error {
			for left := size; left > 0; {
				n, err := w.Write(zeros[:min(left, uint64(len(zeros)))])
				if err != nil {
					return err
				}
				left -= uint64(n)
			}
			return nil
		}})
	}
	const f32, q4, q6 = gguf.TypeF32, gguf.TypeQ4_K, gguf.TypeQ6_K
	add("token_embd.weight", q4, hidden, vocab)
	add("output_norm.weight", f32, hidden)
	add("output.weight", q6, hidden, vocab)
	for i := range 48 {
		blk := func(name string, typ gguf.Type, dims ...uint64) { add(fmt.Sprintf("blk.%d.%s", i, name), typ, dims...) }
		more := q4
		if i < 6 || i >= 42 || i%3 == 2 { // Q4_K_M spends more on some layers
			more = q6
		}
		blk("attn_norm.weight", f32, hidden)
		blk("post_attention_norm.weight", f32, hidden)
		if (i+1)%4 == 0 {
			blk("attn_q.weight", q4, hidden, 8192)
			blk("attn_k.weight", q4, hidden, 512)
			blk("attn_v.weight", more, hidden, 512)
			blk("attn_q_norm.weight", f32, 256)
			blk("attn_k_norm.weight", f32, 256)
			blk("attn_output.weight", q4, 4096, hidden)
		} else {
			blk("attn_qkv.weight", q4, hidden, 8192)
			blk("attn_gate.weight", q4, hidden, 4096)
			blk("ssm_ba.weight", q4, hidden, 64)
			blk("ssm_dt.bias", f32, 32)
			blk("ssm_a", f32, 32)
			blk("ssm_conv1d.weight", f32, 4, 8192)
			blk("ssm_norm.weight", f32, 128)
			blk("ssm_out.weight", q4, 4096, hidden)
		}
		blk("ffn_gate_inp.weight", f32, hidden, 512)
		blk("ffn_gate_exps.weight", q4, hidden, 512, 512)
		blk("ffn_up_exps.weight", q4, hidden, 512, 512)
		blk("ffn_down_exps.weight", more, 512, hidden, 512)
		blk("ffn_gate_inp_shexp.weight", f32, hidden)
		blk("ffn_gate_shexp.weight", q4, hidden, 512)
		blk("ffn_up_shexp.weight", q4, hidden, 512)
		blk("ffn_down_shexp.weight", more, 512, hidden)
	}
	w := &headWriter{}
	if err := gguf.Write(w, kvs, list); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "80b.gguf")
	if err := os.WriteFile(path, w.head, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, w.n); err != nil {
		t.Skipf("no sparse file of %d bytes here: %v", w.n, err)
	}
	return path
}

// fusedOps is what the 48 layers of the 80B graph become: 36 with a delta net,
// 12 with attention, all with experts.
var fusedOps = map[ir.Op]int{
	ir.OpTopKMoE: 48, ir.OpMoEGateUp: 48, ir.OpMoEDown: 48, ir.OpGateUp: 48, ir.OpConvSplit: 36, ir.OpGatedNorm: 36,
	ir.OpAttention: 12, ir.OpNormRope: 12, ir.OpNormRopeStore: 12,
	// Nothing is left of what they are made of.
	ir.OpRepeat: 0, ir.OpCont: 0, ir.OpPermute: 0, ir.OpPad: 0, ir.OpConcat: 0, ir.OpSoftmax: 0, ir.OpTopK: 0, ir.OpGather: 0, ir.OpMatMulID: 0,
	ir.OpConv: 0, ir.OpL2Norm: 0, ir.OpRope: 0, ir.OpRMSNorm: 0, ir.OpSolveTri: 0, ir.OpAffineScan: 0, ir.OpTri: 0, ir.OpCumsum: 0, ir.OpExp: 0,
}

// Test80B compiles the 80B shapes up to the type-checked source, which the
// header alone decides: everything is fused, nothing repeats, on one device
// there is one split, and the source is small because kernels are shared. The
// settings after the first have ended in faults elsewhere.
func Test80B(t *testing.T) {
	model := big80B(t)
	machine := filepath.Join(t.TempDir(), "machine.qir")
	if err := os.WriteFile(machine, []byte("module m level=graph {\n\tdevice cpu mem=64GiB\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Ctx: 4096},
		{Ctx: 65536, Batch: 1024, Ubatch: 128},
		{Ctx: 65536, Batch: 4096, Ubatch: 1024},
	} {
		t.Run(fmt.Sprintf("-c %d -b %d -ub %d", o.Ctx, o.Batch, o.Ubatch), func(t *testing.T) {
			var log bytes.Buffer
			src := t.TempDir()
			o.Machine, o.StopAfter, o.Verbose, o.Stderr, o.Emit = machine, Emit, true, &log, []Artifact{{"go", src}}
			o.Out = filepath.Join(t.TempDir(), "80b")
			r, err := Compile(context.Background(), model, &o)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Module.Funcs {
				have := map[ir.Op]int{}
				for _, v := range f.Body {
					have[v.Op]++
				}
				want := map[ir.Op]int{ir.OpDeltaChunk: 36, ir.OpDeltaStep: 0}
				if f.Name == "decode" {
					want = map[ir.Op]int{ir.OpDeltaChunk: 0, ir.OpDeltaStep: 36}
				}
				for op, n := range fusedOps {
					want[op] = n
				}
				for op, n := range want {
					if have[op] != n {
						t.Errorf("%s has %d %s, want %d", f.Name, have[op], op, n)
					}
				}
			}
			for _, f := range passes.Measure(r.Module).Funcs {
				if f.Repeats != 0 || f.RepeatBytes != 0 || f.CopyBytes != 0 || f.Splits != 1 || f.Transfers != 0 || f.Peak == 0 {
					t.Errorf("%+v: want no repeat, no copy and one split", f)
				}
			}
			// The graph as imported had real work for the passes.
			fields := strings.Fields(strings.Split(log.String(), "\n")[1])
			if len(fields) < 5 || fields[0] != "import" || fields[3] == "0" || fields[4] == "0" {
				t.Errorf("repeats of the imported graph: %v", fields)
			}
			kernels, err := os.ReadFile(filepath.Join(src, "kernels.go"))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(kernels, []byte("\nfunc ")); n < 20 || n > 120 {
				t.Errorf("%d kernels for 96 layers of two functions", n)
			}
			if left, _ := filepath.Glob(o.Out + "*"); len(left) > 0 {
				t.Errorf("files %v before anything was linked", left)
			}
		})
	}
}
