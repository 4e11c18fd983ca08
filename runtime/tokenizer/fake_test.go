package tokenizer

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"qnc/runtime/gguf"
)

// fake is metadata made by a test.
type fake map[string]any

func get[T any](f fake, key string) (v T, ok bool, err error) {
	x, ok := f[key]
	if !ok {
		return v, false, nil
	}
	if v, ok = x.(T); !ok {
		return v, true, fmt.Errorf("key %s: is %T", key, x)
	}
	return v, true, nil
}

func (f fake) Uint(key string) (uint64, bool, error)      { return get[uint64](f, key) }
func (f fake) Bool(key string) (bool, bool, error)        { return get[bool](f, key) }
func (f fake) String(key string) (string, bool, error)    { return get[string](f, key) }
func (f fake) Strings(key string) ([]string, bool, error) { return get[[]string](f, key) }
func (f fake) Ints(key string) ([]int64, bool, error)     { return get[[]int64](f, key) }

// spell returns bytes in the vocabulary's alphabet.
func spell(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString(ByteText(c))
	}
	return b.String()
}

// sampleWords are merged whole, from left to right; where they share a start they share merges.
var sampleWords = []string{
	"th", "the", "ther", "there", "in", "ing", "er", "ere", "he", "her", "hers", " t", " th", " the", " w", " wo", " wor", " word",
	"aa", "aaa", "aaaaa", "ab", "aba", "ba", "bab", "  ", "    ", "\n\n", "'s", "()", "();", "é", "ле", "日", "本", "日本", "\u0301",
	"--", "----", "10", "xyz", "yz", "zx",
}

// sampleSpecial are the tokens after the ordinary ones, by type.
var sampleSpecial = []struct {
	text string
	kind int64
}{
	{"<|endoftext|>", 3}, {"<|im_start|>", 3}, {"<|im_end|>", 3}, {"<tool_call>", 4}, {"<tool", 4}, {"l_call>!", 4},
	{"<unk>", 2}, {"<0x41>", 6}, {"<unused>", 5}, {"<|file_sep|>", 4}, {"xx", 4}, {"not ours", 1},
}

func sample() fake {
	var tokens, merges []string
	have := map[string]bool{}
	add := func(s string) {
		if !have[s] {
			have[s] = true
			tokens = append(tokens, s)
		}
	}
	for b := range 256 {
		add(ByteText(byte(b)))
	}
	for _, w := range sampleWords {
		for n := 2; n <= len(w); n++ {
			m := spell(w[:n-1]) + " " + spell(w[n-1:n])
			if !have[m] {
				have[m] = true
				merges = append(merges, m)
			}
			add(spell(w[:n]))
		}
	}
	types := make([]int64, len(tokens))
	for i := range types {
		types[i] = 1
	}
	for _, s := range sampleSpecial {
		tokens, types = append(tokens, s.text), append(types, s.kind)
	}
	return fake{keyModel: "gpt2", keyPre: "qwen2", keyTokens: tokens, keyTypes: types, keyMerges: merges}
}

// with returns a copy of f with other values; nil takes a key out.
func (f fake) with(kv ...any) fake {
	g := fake{}
	for k, v := range f {
		g[k] = v
	}
	for i := 0; i < len(kv); i += 2 {
		if g[kv[i].(string)] = kv[i+1]; kv[i+1] == nil {
			delete(g, kv[i].(string))
		}
	}
	return g
}

func mustNew(t testing.TB, src Source) *Tokenizer {
	t.Helper()
	tok, err := New(src)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// gopher is the tokenizer of the example model, trained on Go source.
func gopher(t testing.TB) *Tokenizer {
	t.Helper()
	f, err := gguf.Open("../../examples/gopher-17m-q4_k_m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return mustNew(t, f)
}

// referenceBPE merges a word by the definition: the pair of the lowest rank, the leftmost of equals, again and again.
func referenceBPE(src fake, word string) []string {
	rank := map[string]int{}
	for i, m := range src[keyMerges].([]string) {
		if _, ok := rank[m]; !ok {
			rank[m] = i
		}
	}
	var parts []string
	for _, b := range []byte(word) {
		parts = append(parts, ByteText(b))
	}
	for {
		at, low := -1, 0
		for i := range len(parts) - 1 {
			if r, ok := rank[parts[i]+" "+parts[i+1]]; ok && (at < 0 || r < low) {
				at, low = i, r
			}
		}
		if at < 0 {
			return parts
		}
		parts = append(append(parts[:at:at], parts[at]+parts[at+1]), parts[at+2:]...)
	}
}

// referenceEncode is Encode without special tokens, made of the definitions.
func referenceEncode(t testing.TB, tok *Tokenizer, src fake, text string) []int32 {
	var ids []int32
	for _, w := range referenceWords(src[keyPre].(string), text) {
		for _, p := range referenceBPE(src, w) {
			id, ok := tok.Token(p)
			if !ok {
				t.Fatalf("no token %q", p)
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(b) {
		t.Fatalf("%s is not UTF-8", name)
	}
	return string(b)
}
