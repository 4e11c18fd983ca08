package synth

import (
	"qnc/runtime/gguf"
)

// Token types of tokenizer.ggml.token_type.
const (
	normalToken  = 1
	controlToken = 3
)

var specials = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

const template = `{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}
`

// byteRune is the printable character that stands for a byte in the tokens of
// a byte-level BPE: the byte itself where it is printable, else the next free
// character from U+0100 on.
var byteRune = func() (t [256]rune) {
	next := rune(256)
	for b := range t {
		if printable(b) {
			t[b] = rune(b)
		} else {
			t[b] = next
			next++
		}
	}
	return t
}()

func printable(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae
}

// bytesInOrder lists the bytes as such vocabularies do: printable ones first.
func bytesInOrder() []byte {
	var first, rest []byte
	for b := range 256 {
		if printable(b) {
			first = append(first, byte(b))
		} else {
			rest = append(rest, byte(b))
		}
	}
	return append(first, rest...)
}

// vocabulary makes n tokens: the bytes, then synthetic merges, then the
// special ones. Merges join runs of white space and, in the order of a table
// of frequent letters, words with or without a leading space to a word, so
// that English text and code really shrink.
func vocabulary(n int) (tokens, merges []string) {
	known := map[string]bool{}
	for _, b := range bytesInOrder() {
		t := string(byteRune[b])
		tokens = append(tokens, t)
		known[t] = true
	}
	want := n - len(specials)
	join := func(a, b string) bool {
		if t := a + b; !known[t] && len(tokens) < want {
			known[t] = true
			tokens = append(tokens, t)
			merges = append(merges, a+" "+b)
			return true
		}
		return false
	}
	space, tab, newline := string(byteRune[' ']), string(byteRune['\t']), string(byteRune['\n'])
	for _, t := range []string{space, tab, newline, space + space, tab + tab} {
		join(t, t)
	}
	var tails []string // words; every one may follow another
	for _, c := range "etaoinsrhldcumfpgwybvkxjqz" {
		tails = append(tails, string(c))
	}
	heads := append([]string{space}, tails...)
	// Pairs (i, j) by their sum: short and frequent ones first. New words
	// join both lists at the end, so the supply has none.
	for sum := 0; len(tokens) < want; sum++ {
		for i := 0; i <= sum && len(tokens) < want; i++ {
			j := sum - i
			if i >= len(heads) || j >= len(tails) {
				continue
			}
			word := heads[i] + tails[j]
			if join(heads[i], tails[j]) {
				heads = append(heads, word)
				if heads[i][0] != space[0] {
					tails = append(tails, word)
				}
			}
		}
	}
	return append(tokens, specials...), merges
}

// tokenizer is the metadata of a byte-level BPE with a ChatML template.
func (c *Config) tokenizer() []gguf.KV {
	tokens, merges := vocabulary(c.Vocab)
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = normalToken
		if i >= len(tokens)-len(specials) {
			types[i] = controlToken
		}
	}
	end, eot := uint32(len(tokens)-3), uint32(len(tokens)-1)
	return []gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: c.Pre},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: merges},
		{Key: "tokenizer.ggml.eos_token_id", Value: eot},
		{Key: "tokenizer.ggml.bos_token_id", Value: end},
		{Key: "tokenizer.ggml.padding_token_id", Value: end},
		{Key: "tokenizer.ggml.add_bos_token", Value: false},
		{Key: "tokenizer.chat_template", Value: template},
	}
}
