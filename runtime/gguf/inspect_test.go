package gguf

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// tokenizerKVs returns a small sound vocabulary with some keys replaced; a nil value drops the key.
func tokenizerKVs(edit map[string]any) []KV {
	var kvs []KV
	for _, kv := range []KV{
		{"model", "gpt2"}, {"pre", "qwen2"},
		{"tokens", []string{"a", "b", "ab", "<eos>"}},
		{"token_type", []int32{1, 1, 1, 3}},
		{"scores", []float32{0, 0, 0, 0}},
		{"merges", []string{"a b"}},
		{"eos_token_id", uint32(3)}, {"bos_token_id", uint32(3)},
	} {
		if v, ok := edit[kv.Key]; ok {
			kv.Value = v
		}
		if kv.Value != nil {
			kvs = append(kvs, KV{tokenizerPrefix + kv.Key, kv.Value})
		}
	}
	return kvs
}

func TestTokenizerChecks(t *testing.T) {
	tests := []struct {
		check, want string // the only check that fails, and its detail
		edit        map[string]any
	}{
		{"", "", nil},
		{"", "", map[string]any{"scores": nil, "token_type": nil}},
		{"", "", map[string]any{"model": "llama", "merges": nil}},
		{"tokens", `4 tokens; 1 duplicate: "a" is 0 and 1`, map[string]any{"tokens": []string{"a", "a", "ab", "<eos>"}, "merges": []string{}}},
		{"scores", "3 scores", map[string]any{"scores": []float32{1, 2, 3}}},
		{"token types", "3 types", map[string]any{"token_type": []int32{1, 1, 1}}},
		{"token types", "1 of unknown type: token 2 has 9", map[string]any{"token_type": []int32{1, 1, 9, 3}}},
		{"merges", `2 merges; 1 bad: merge 1 names "x", which is no token`, map[string]any{"merges": []string{"a b", "x b"}, "tokens": []string{"a", "b", "ab", "xb"}}},
		{"merges", `merge 0 makes "ba", which is no token`, map[string]any{"merges": []string{"b a"}}},
		{"merges", `merge 0, "ab", is not two tokens, merge 1, "", is not two`, map[string]any{"merges": []string{"ab", ""}}},
		{"merges", `6 bad: merge 0, "a", is not two tokens, merge 1, "a", is not two tokens, merge 2, "a", is not two tokens, …`, map[string]any{"merges": []string{"a", "a", "a", "a", "a", "a"}}},
		{"merges", "none, which byte-pair encoding needs", map[string]any{"merges": nil}},
		{"bos", "id 4 is not a token", map[string]any{"bos_token_id": uint32(4)}},
		{"bos", "id -1 is not a token", map[string]any{"bos_token_id": int32(-1)}},
		{"end of generation", "neither", map[string]any{"eos_token_id": nil}},
	}
	for _, tt := range tests {
		f, err := Parse(encode(t, tokenizerKVs(tt.edit), nil), "m")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Inspect(f, InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var bad []Check
		for _, c := range r.Tokenizer.Checks {
			if !c.OK {
				bad = append(bad, c)
			}
		}
		switch {
		case tt.check == "" && len(bad) == 0:
		case len(bad) != 1 || bad[0].Name != tt.check || !strings.Contains(bad[0].Detail, tt.want):
			t.Errorf("%v: failed checks %v, want %s: %s", tt.edit, bad, tt.check, tt.want)
		}
	}
}

func TestInspectExample(t *testing.T) {
	f, err := Open(example)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Inspect(f, InspectOptions{Tensors: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Arch != "qwen3next" || r.FileType != "Q4_K - Medium" || r.Params != 17346160 || len(r.Tensors) != 73 {
		t.Errorf("%s, %s, %d parameters, %d tensors", r.Arch, r.FileType, r.Params, len(r.Tensors))
	}
	var params, bytes uint64
	count := 0
	for _, row := range r.Types {
		params, bytes, count = params+row.Params, bytes+row.Bytes, count+row.Tensors
	}
	if params != r.Params || bytes != r.TensorBytes || count != r.TensorCount {
		t.Errorf("the histogram sums to %d parameters, %d bytes, %d tensors", params, bytes, count)
	}
	if len(r.Templates) != 1 || r.Templates[0].SHA256 != "600cc58f71c0a3eff7cf3373a4949acd79eeb19f6cf08a5917f7304f16d59018" {
		t.Errorf("templates %+v", r.Templates)
	}
	for _, c := range r.Tokenizer.Checks {
		if !c.OK {
			t.Errorf("check %+v", c)
		}
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"GGUF v3", `"qwen3next"`, "17.35 M (17346160)", "73, ", "sha256 600cc58f", "q4_K ",
		`array[string]  ["!", "\"", "#", "$", … 4096 in all]`, "4095 \"<|im_end|>\"", "ok: 3837 merges", "256×4096",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "BAD") {
		t.Errorf("a check failed:\n%s", text.String())
	}
}

// Neither terminal nor JSON may be driven by what a file holds.
func TestInspectHostileText(t *testing.T) {
	kvs := []KV{
		{"general.name", "\x1b[2J\xff\n" + strings.Repeat("x", 1<<20)},
		{"nan", float32(math.NaN())}, {"infs", []float64{math.Inf(1), math.Inf(-1)}},
		{"evil", []string{"a\nb\x1b", strings.Repeat("y", 1<<20)}},
	}
	f, err := Parse(encode(t, kvs, nil), "m")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Inspect(f, InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); strings.Contains(s, "\x1b") || !utf8.ValidString(s) || len(s) > 4096 {
		t.Errorf("%d bytes of text: %.200q", len(s), s)
	}
	j, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(j) > 20000 || !strings.Contains(string(j), `"+Inf","-Inf"`) {
		t.Errorf("%d bytes of JSON: %.400s", len(j), j)
	}
}
