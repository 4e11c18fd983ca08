package gguf

import (
	"fmt"
	"slices"
	"strings"
)

// A TokenizerReport is what the vocabulary says of itself, and whether it is consistent.
type TokenizerReport struct {
	Model    string       `json:"model"`
	Pre      string       `json:"pre"`
	Tokens   int          `json:"n_tokens"`
	Merges   int          `json:"n_merges"`
	Specials []SpecialRow `json:"specials"`
	Checks   []Check      `json:"checks"`
}

// A SpecialRow is a token that a key names by its id.
type SpecialRow struct {
	Key   string `json:"key"`
	ID    int64  `json:"id"`
	Token string `json:"token"`
}

// A Check is one property that a sound vocabulary has.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

const (
	tokenizerPrefix = "tokenizer.ggml."
	maxTokenType    = 6 // llama.cpp's LLAMA_TOKEN_TYPE_BYTE
)

// checkTokenizer returns nil for a file without a vocabulary.
func checkTokenizer(f *File) (*TokenizerReport, error) {
	tokens, ok, err := f.Strings(tokenizerPrefix + "tokens")
	if err != nil || !ok {
		return nil, err
	}
	r := &TokenizerReport{Tokens: len(tokens), Specials: []SpecialRow{}}
	r.Model = f.shownString(tokenizerPrefix + "model")
	r.Pre = f.shownString(tokenizerPrefix + "pre")

	ids := make(map[string]int32, len(tokens))
	dups := examples{what: "duplicate"}
	for i, t := range tokens {
		if first, dup := ids[t]; dup {
			dups.add("%q is %d and %d", t, first, i)
			continue
		}
		ids[t] = int32(i)
	}
	r.check("tokens", len(tokens) > 0 && dups.n == 0, "%d tokens%s", len(tokens), dups)

	if n, ok, err := f.Len(tokenizerPrefix + "scores"); ok || err != nil {
		r.check("scores", err == nil && n == len(tokens), "%d scores", n)
	}
	if err := r.checkTypes(f); err != nil {
		return nil, err
	}
	if err := r.checkMerges(f, ids); err != nil {
		return nil, err
	}
	r.checkSpecials(f, tokens)
	for _, name := range []string{"token_embd.weight", "output.weight"} {
		if t, ok := f.Tensor(name); ok {
			rows := t.Elems / t.Dims[0]
			r.check(name, rows == uint64(len(tokens)), "%d rows", rows)
		}
	}
	return r, nil
}

func (r *TokenizerReport) checkTypes(f *File) error {
	types, ok, err := f.Ints(tokenizerPrefix + "token_type")
	if err != nil || !ok {
		return err
	}
	var count [maxTokenType + 1]int
	odd := examples{what: "of unknown type"}
	for i, t := range types {
		if t < 0 || t > maxTokenType {
			odd.add("token %d has %d", i, t)
			continue
		}
		count[t]++
	}
	r.check("token types", len(types) == r.Tokens && odd.n == 0,
		"%d types: %d normal, %d unknown, %d control, %d user-defined, %d unused, %d byte%s",
		len(types), count[1], count[2], count[3], count[4], count[5], count[6], odd)
	return nil
}

// checkMerges looks for merges whose two halves, or whose result, are not in the vocabulary.
func (r *TokenizerReport) checkMerges(f *File, ids map[string]int32) error {
	merges, ok, err := f.Strings(tokenizerPrefix + "merges")
	if err != nil {
		return err
	}
	r.Merges = len(merges)
	if !ok {
		if r.Model == "gpt2" {
			r.check("merges", false, "none, which byte-pair encoding needs")
		}
		return nil
	}
	bad := examples{what: "bad"}
	var joined []byte
	for i, m := range merges {
		cut := -1
		if len(m) > 1 {
			cut = strings.IndexByte(m[1:], ' ') + 1 // a half may start with a space
		}
		if cut <= 0 {
			bad.add("merge %d, %q, is not two tokens", i, m)
			continue
		}
		left, right := m[:cut], m[cut+1:]
		joined = append(append(joined[:0], left...), right...)
		for _, part := range []string{left, right} {
			if _, ok := ids[part]; !ok {
				bad.add("merge %d names %q, which is no token", i, part)
			}
		}
		if _, ok := ids[string(joined)]; !ok {
			bad.add("merge %d makes %q, which is no token", i, joined)
		}
	}
	r.check("merges", bad.n == 0, "%d merges%s", len(merges), bad)
	return nil
}

func (r *TokenizerReport) checkSpecials(f *File, tokens []string) {
	for _, key := range f.Keys() {
		name, isID := strings.CutSuffix(key, "_token_id")
		name, isTok := strings.CutPrefix(name, tokenizerPrefix)
		if !isID || !isTok {
			continue
		}
		id, _, err := f.Int(key)
		if err != nil || id < 0 || id >= int64(len(tokens)) {
			r.check(name, false, "id %d is not a token", id)
			continue
		}
		r.Specials = append(r.Specials, SpecialRow{name, id, shown([]byte(tokens[id]))})
	}
	if len(r.Specials) > 0 && !slices.ContainsFunc(r.Specials, func(s SpecialRow) bool { return s.Key == "eos" || s.Key == "eot" }) {
		r.check("end of generation", false, "neither %seos_token_id nor eot_token_id names a token", tokenizerPrefix)
	}
}

func (r *TokenizerReport) check(name string, ok bool, format string, args ...any) {
	r.Checks = append(r.Checks, Check{name, ok, fmt.Sprintf(format, args...)})
}

// examples counts faults and keeps the first three as text.
type examples struct {
	what string
	n    int
	text []string
}

func (e *examples) add(format string, args ...any) {
	e.n++
	if len(e.text) < 3 {
		e.text = append(e.text, fmt.Sprintf(format, args...))
	}
}

// String is empty without faults.
func (e examples) String() string {
	if e.n == 0 {
		return ""
	}
	more := ""
	if e.n > len(e.text) {
		more = ", …"
	}
	return fmt.Sprintf("; %d %s: %s%s", e.n, e.what, strings.Join(e.text, ", "), more)
}
