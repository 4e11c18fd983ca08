package tokenizer

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func TestFaults(t *testing.T) {
	base := sample()
	tokens, types, merges := base[keyTokens].([]string), base[keyTypes].([]int64), base[keyMerges].([]string)
	nested := slices.Clone(tokens)
	kinds := slices.Clone(types)
	for n := 1; n <= maxSpecialNest+1; n++ {
		nested, kinds = append(nested, strings.Repeat("@", n+1)), append(kinds, 3)
	}
	for _, c := range []struct {
		src  fake
		want string
	}{
		{base.with(keyModel, nil), "tokenizer.ggml.model is missing"},
		{base.with(keyModel, "llama"), `tokenizer.ggml.model is "llama"`},
		{base.with(keyModel, uint64(3)), "tokenizer.ggml.model: is uint64"},
		{base.with(keyPre, nil), "tokenizer.ggml.pre is missing"},
		{base.with(keyPre, "default\n"), `tokenizer.ggml.pre is "default\n", which is not supported: use a model with qwen2, qwen35`},
		{base.with(keyTokens, nil), "tokenizer.ggml.tokens is missing"},
		{base.with(keyTokens, []string{}), "0 tokens"},
		{base.with(keyTokens, tokens[1:], keyTypes, types[1:]), `the byte 0x00 has no token ("Ā")`},
		{base.with(keyTokens, append(tokens[:300:300], tokens[17])), "tokens 17 and 300 are both"},
		{base.with(keyTypes, types[1:]), "tokenizer.ggml.token_type has"},
		{base.with(keyTypes, append(types[:len(types):len(types)], 1)), "tokenizer.ggml.token_type has"},
		{base.with(keyTypes, "x"), "tokenizer.ggml.token_type: is string"},
		{base.with(keyMerges, nil), "tokenizer.ggml.merges is missing"},
		{base.with(keyMerges, []string{"t h", ""}), `entry 1 is ""`},
		{base.with(keyMerges, []string{"th"}), `entry 0 is "th"`},
		{base.with(keyMerges, []string{" th"}), `entry 0 is " th"`},
		{base.with(keyMerges, append(merges[:len(merges):len(merges)], "t q")), `is "t q", but`},
		{base.with(keyMerges, []string{"t nothing"}), `entry 0 is "t nothing", but`},
		{base.with(keyMerges, []string{"t h e"}), `entry 0 is "t h e", but`},
		{base.with("tokenizer.ggml.eos_token_id", uint64(len(tokens))), "tokenizer.ggml.eos_token_id: token"},
		{base.with("tokenizer.ggml.bos_token_id", uint64(1<<40)), "tokenizer.ggml.bos_token_id: token 1099511627776 is outside"},
		{base.with("tokenizer.ggml.fim_pad_token_id", true), "tokenizer.ggml.fim_pad_token_id: is bool"},
		{base.with("tokenizer.ggml.add_bos_token", uint64(1)), "tokenizer.ggml.add_bos_token: is uint64"},
		{base.with("tokenizer.ggml.add_bos_token", true), "tokenizer.ggml.add_bos_token is true but tokenizer.ggml.bos_token_id is missing"},
		{base.with("tokenizer.ggml.add_eos_token", true), "tokenizer.ggml.add_eos_token is true but tokenizer.ggml.eos_token_id is missing"},
		{base.with(keyTokens, append(tokens[:len(tokens):len(tokens)], strings.Repeat("@", maxSpecialLen+1)), keyTypes, append(types[:len(types):len(types)], 3)), "has 257 bytes, at most 256"},
		{base.with(keyTokens, nested, keyTypes, kinds), "starts with 16 others, at most 15"},
	} {
		_, err := New(c.src)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
			continue
		}
		if fault.CodeOf(err) != fault.Model || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q has code %d", err, fault.CodeOf(err))
		}
	}
}

// What is odd but harmless loads.
func TestLenient(t *testing.T) {
	base := sample()
	tokens, types, merges := base[keyTokens].([]string), base[keyTypes].([]int64), base[keyMerges].([]string)
	n := len(tokens)
	for name, src := range map[string]fake{
		"no types":      base.with(keyTypes, nil),
		"no merges":     base.with(keyMerges, []string{}),
		"merges twice":  base.with(keyMerges, append(merges[:len(merges):len(merges)], merges...)),
		"empty token":   base.with(keyTokens, append(tokens[:n:n], ""), keyTypes, append(types[:n:n], 3)),
		"types unknown": base.with(keyTokens, append(tokens[:n:n], "odd"), keyTypes, append(types[:n:n], -7)),
	} {
		tok, err := New(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		const text = "there  the <tool"
		if got := tok.Decode(tok.Encode(text, false), false); got != text {
			t.Errorf("%s: decodes to %q", name, got)
		}
		if got, want := tok.NumVocab(), len(src[keyTokens].([]string)); got != want {
			t.Errorf("%s: %d tokens, want %d", name, got, want)
		}
	}
	if tok := mustNew(t, base.with(keyTokens, append(tokens[:n:n], ""), keyTypes, append(types[:n:n], 3))); tok.Text(int32(n)) == "" {
		t.Error("an empty token has no name")
	}
}

// Random metadata either loads into a tokenizer that works or is a model fault of one line.
func FuzzLoad(f *testing.F) {
	base := sample()
	f.Add("ab\nabc", "a b\nab c", []byte{1, 3}, uint64(3), "qwen2", true, false)
	f.Add("<|im_end|>\n</s>\n\nx", "", []byte{4, 4, 1}, uint64(257), "qwen35", true, true)
	f.Add("a\na", "a\n b", []byte{9}, uint64(1<<63), "gpt-2", false, true)
	f.Add("@@\n@@@\n@@@@\n@", "@ @\n@@ @", []byte{3, 4, 4, 4}, uint64(0), "qwen2", true, true)
	f.Fuzz(func(t *testing.T, tokens, merges string, types []byte, id uint64, pre string, whole, add bool) {
		src := fake{keyModel: "gpt2", keyPre: pre, "tokenizer.ggml.eos_token_id": id, "tokenizer.ggml.bos_token_id": id, "tokenizer.ggml.add_bos_token": add}
		var list []string
		var kinds []int64
		if whole {
			list = append(list, base[keyTokens].([]string)[:256]...)
			kinds = append(kinds, base[keyTypes].([]int64)[:256]...)
		}
		src[keyTokens] = append(list, strings.Split(tokens, "\n")...)
		src[keyMerges] = strings.Split(merges, "\n")
		if merges == "" {
			src[keyMerges] = []string(nil)
		}
		for i := range strings.Split(tokens, "\n") {
			if len(types) > 0 {
				kinds = append(kinds, int64(int8(types[i%len(types)])))
			}
		}
		src[keyTypes] = kinds
		tok, err := New(src)
		if err != nil {
			if fault.CodeOf(err) != fault.Model || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q has code %d", err, fault.CodeOf(err))
			}
			return
		}
		tok.EOG()
		text := tokens + merges + pre
		for _, special := range []bool{false, true} {
			for _, id := range tok.EncodePrompt(text, special) {
				if id < 0 || int(id) >= tok.NumVocab() {
					t.Fatalf("%q: token %d of %d", text, id, tok.NumVocab())
				}
				tok.Piece(id)
			}
		}
	})
}

// BenchmarkLoad has a vocabulary of the usual size: 150,000 merges, each of a random token and a byte.
func BenchmarkLoad(b *testing.B) {
	src := sample()
	tokens, merges := slices.Clone(src[keyTokens].([]string)), []string{}
	have := map[string]bool{}
	for _, s := range tokens {
		have[s] = true
	}
	tokens = tokens[:len(tokens)-len(sampleSpecial)]
	rng := rand.New(rand.NewPCG(5, 6))
	for len(merges) < 150_000 {
		l, r := tokens[rng.IntN(len(tokens))], tokens[rng.IntN(256)]
		if s := l + r; !have[s] {
			have[s] = true
			tokens, merges = append(tokens, s), append(merges, l+" "+r)
		}
	}
	src = src.with(keyTokens, tokens, keyMerges, merges, keyTypes, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(src); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSourceError(t *testing.T) {
	err := errors.New("broken")
	if _, got := New(brokenSource{sample(), err}); !errors.Is(got, err) || fault.CodeOf(got) != fault.Model {
		t.Errorf("got %v", got)
	}
}

type brokenSource struct {
	fake
	err error
}

func (b brokenSource) Ints(string) ([]int64, bool, error) { return nil, false, b.err }
