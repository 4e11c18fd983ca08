package passes

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/compiler/arch"
	"qnc/ir"
	"qnc/runtime/gguf"
)

// keep80B is how much of the 80B file is data: the header; the rest is a hole.
const keep80B = 1 << 20

// A headWriter keeps the first bytes and counts the others.
type headWriter struct {
	head []byte
	n    int64
}

func (w *headWriter) Write(p []byte) (int, error) {
	w.head = append(w.head, p[:min(len(p), keep80B-len(w.head))]...)
	w.n += int64(len(p))
	return len(p), nil
}

// open80B makes a sparse file with the tensors of the 80B model: 48 layers,
// 512 experts, Q4_K with Q6_K where llama.cpp's Q4_K_M has it.
func open80B(t testing.TB) *gguf.File {
	t.Helper()
	kvs := []gguf.KV{{Key: "general.architecture", Value: "qwen3next"}}
	for _, p := range []struct {
		key string
		n   uint32
	}{
		{"block_count", 48}, {"context_length", 262144}, {"embedding_length", 2048},
		{"attention.head_count", 16}, {"attention.head_count_kv", 2}, {"attention.key_length", 256}, {"attention.value_length", 256},
		{"rope.dimension_count", 64}, {"expert_count", 512}, {"expert_used_count", 10},
		{"expert_feed_forward_length", 512}, {"expert_shared_feed_forward_length", 512},
		{"ssm.conv_kernel", 4}, {"ssm.state_size", 128}, {"ssm.group_count", 16}, {"ssm.time_step_rank", 32}, {"ssm.inner_size", 4096},
	} {
		kvs = append(kvs, gguf.KV{Key: "qwen3next." + p.key, Value: p.n})
	}
	kvs = append(kvs, gguf.KV{Key: "qwen3next.rope.freq_base", Value: float32(1e7)},
		gguf.KV{Key: "qwen3next.attention.layer_norm_rms_epsilon", Value: float32(1e-6)})
	var list []gguf.TensorSource
	zeros := make([]byte, 8<<20)
	add := func(name, typ string, dims ...uint64) {
		kind, ok := gguf.TypeByName(typ)
		if !ok {
			t.Fatalf("no type %s", typ)
		}
		info, _ := kind.Info()
		size := uint64(info.BlockBytes)
		for _, d := range dims {
			size *= d
		}
		size /= uint64(info.BlockElems)
		list = append(list, gguf.TensorSource{Name: name, Type: kind, Dims: dims, Write: func(w io.Writer) error {
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
	add("token_embd.weight", "q4_K", 2048, 151936)
	add("output_norm.weight", "f32", 2048)
	add("output.weight", "q6_K", 2048, 151936)
	for i := range 48 {
		blk := func(name, typ string, dims ...uint64) { add(fmt.Sprintf("blk.%d.%s", i, name), typ, dims...) }
		down := "q4_K"
		if i < 6 || i >= 42 || i%3 == 2 {
			down = "q6_K"
		}
		blk("attn_norm.weight", "f32", 2048)
		blk("post_attention_norm.weight", "f32", 2048)
		if (i+1)%4 == 0 {
			blk("attn_q.weight", "q4_K", 2048, 8192)
			blk("attn_k.weight", "q4_K", 2048, 512)
			blk("attn_v.weight", down, 2048, 512)
			blk("attn_q_norm.weight", "f32", 256)
			blk("attn_k_norm.weight", "f32", 256)
			blk("attn_output.weight", "q4_K", 4096, 2048)
		} else {
			blk("attn_qkv.weight", "q4_K", 2048, 8192)
			blk("attn_gate.weight", "q4_K", 2048, 4096)
			blk("ssm_ba.weight", "q4_K", 2048, 64)
			blk("ssm_dt.bias", "f32", 32)
			blk("ssm_a", "f32", 32)
			blk("ssm_conv1d.weight", "f32", 4, 8192)
			blk("ssm_norm.weight", "f32", 128)
			blk("ssm_out.weight", "q4_K", 4096, 2048)
		}
		blk("ffn_gate_inp.weight", "f32", 2048, 512)
		blk("ffn_gate_inp_shexp.weight", "f32", 2048)
		for _, s := range []struct {
			name    string
			experts []uint64
		}{{"exps", []uint64{512}}, {"shexp", nil}} {
			blk("ffn_gate_"+s.name+".weight", "q4_K", append([]uint64{2048, 512}, s.experts...)...)
			blk("ffn_up_"+s.name+".weight", "q4_K", append([]uint64{2048, 512}, s.experts...)...)
			blk("ffn_down_"+s.name+".weight", down, append([]uint64{512, 2048}, s.experts...)...)
		}
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
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func import80B(t testing.TB, opt arch.Options) *ir.Module {
	t.Helper()
	r, err := arch.Import(open80B(t), ir.Machine{Devices: []ir.DeviceInfo{{Name: "cpu"}}}, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r.Module
}

// Test80B is the golden of the whole pipeline on the full graph: what it costs
// before, and after each pass.
func Test80B(t *testing.T) {
	m := import80B(t, arch.Options{Ctx: 65536, Ubatch: 512, Seqs: 1, TypeK: ir.F16, TypeV: ir.F16})
	var b strings.Builder
	fmt.Fprintf(&b, "import\n%s", Measure(m))
	err := Run(m, &Target{VerifyOnce: true}, Default(false), func(p *Pass) error {
		fmt.Fprintf(&b, "\n%s\n%s", p.Name, Measure(m))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/80b.stats"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs; go test -update rewrites it. have\n%s", file, b.String())
	}
	for _, f := range Measure(m).Funcs {
		if f.RepeatBytes != 0 || f.CopyBytes != 0 || f.Splits != 1 {
			t.Errorf("%+v: repeats, copies or splits are left", f)
		}
	}
}

// BenchmarkPipeline80B runs all passes on both functions of the 80B graph.
func BenchmarkPipeline80B(b *testing.B) {
	m := import80B(b, arch.Options{Ctx: 65536, Ubatch: 1024, Seqs: 1, TypeK: ir.F16, TypeV: ir.F16})
	for b.Loop() {
		if err := Run(m.Clone(), &Target{VerifyOnce: true}, Default(false), nil); err != nil {
			b.Fatal(err)
		}
	}
}
