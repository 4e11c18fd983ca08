package tokenizer

import (
	"cmp"
	"slices"
	"sort"

	"qnc/runtime/fault"
)

// An attr is a set of properties of a token.
type attr uint8

const (
	normal      attr = 1 << iota // its text spells bytes
	control                      // steers the model, is not text
	userDefined                  // text of its own, found before all else
	unknown
	byteToken // <0xNN>
	endOfGeneration

	hidden  = control | unknown
	matched = hidden | userDefined // what cut looks for
)

// attrOf are the attributes by tokenizer.ggml.token_type. Unused tokens (5) and types out of range have none:
// such a token is no text.
var attrOf = [...]attr{1: normal, 2: unknown, 3: control, 4: userDefined, 6: byteToken}

// A role is a special token that a file may give as tokenizer.ggml.KEY, the last of keys that it has; otherwise
// the first of names in the vocabulary takes it and becomes a control token. llama.cpp takes any of the names,
// in the order of its hash table.
type role struct {
	keys, names []string
	eog         bool // ends generation
}

// The roles that Tokenizer shows come first.
const (
	roleBOS = iota
	roleEOS
	roleEOT
	roleEOM
	rolePAD
	roleUNK
)

var roles = []role{
	roleBOS: {keys: []string{"bos_token_id"}},
	roleEOS: {keys: []string{"eos_token_id"}, eog: true},
	roleEOT: {keys: []string{"eot_token_id"}, eog: true, names: []string{
		"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
		"[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}},
	roleEOM: {keys: []string{"eom_token_id"}, eog: true, names: []string{"<|eom_id|>"}},
	rolePAD: {keys: []string{"padding_token_id"}},
	roleUNK: {keys: []string{"unknown_token_id"}},
	// Fill in the middle.
	{keys: []string{"fim_pre_token_id", "prefix_token_id"}, names: []string{
		"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"}},
	{keys: []string{"fim_suf_token_id", "suffix_token_id"}, names: []string{
		"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"}},
	{keys: []string{"fim_mid_token_id", "middle_token_id"}, names: []string{
		"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"}},
	{keys: []string{"fim_pad_token_id"}, eog: true, names: []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
	{keys: []string{"fim_rep_token_id"}, eog: true, names: []string{
		"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
	{keys: []string{"fim_sep_token_id"}, eog: true, names: []string{"<|file_sep|>"}},
}

// eogNames are the tokens that end generation, and are control tokens, wherever a vocabulary has them.
var eogNames = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
	"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
	"<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["}

// shownNames are markup that users see: user-defined whatever the file says.
var shownNames = []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}

// notEOG are the exceptions: where all tokens of with end generation, name does not, and is of another kind.
var notEOG = []struct {
	name string
	with []string
	attr attr
}{
	{"<|end|>", []string{"<|return|>", "<|call|>"}, userDefined},
	{"<|end|>", []string{"<|return|>", "<|calls|>"}, userDefined},
	{"<|end|>", []string{"<|flush|>", "<|call|>"}, userDefined},
	{"<|end|>", []string{"<|flush|>", "<|calls|>"}, userDefined},
	{"</s>", []string{"<|tool_response>"}, normal},
	{"</s>", []string{"<|plamo:eos|>"}, normal},
}

// loadSpecial finds the roles' tokens and completes the attributes that follow from them.
func (t *Tokenizer) loadSpecial(src Source) error {
	ids := make([]int32, len(roles))
	for i, r := range roles {
		ids[i] = None
		for _, key := range r.keys {
			key = "tokenizer.ggml." + key
			id, ok, err := src.Uint(key)
			if err != nil {
				return fault.Wrap(fault.Model, err)
			}
			if ok && id >= uint64(t.NumVocab()) {
				return fault.New(fault.Model, "%s: token %d is outside the vocabulary of %d: convert the model again", key, id, t.NumVocab())
			}
			if ok {
				ids[i] = int32(id)
			}
		}
		for _, name := range r.names {
			if id, ok := t.Token(name); ok && ids[i] == None {
				ids[i] = id
				t.attrs[id] |= control
			}
		}
	}
	for _, name := range eogNames {
		if id, ok := t.Token(name); ok {
			t.attrs[id] |= control | endOfGeneration
		}
	}
	for _, name := range shownNames {
		if id, ok := t.Token(name); ok {
			t.attrs[id] = userDefined
		}
	}
	for i, r := range roles {
		if r.eog && ids[i] != None {
			t.attrs[ids[i]] |= endOfGeneration
		}
	}
	for _, x := range notEOG {
		if id, ok := t.Token(x.name); ok && t.IsEOG(id) && !slices.ContainsFunc(x.with, func(s string) bool {
			other, ok := t.Token(s)
			return !ok || !t.IsEOG(other)
		}) {
			t.attrs[id] = x.attr
		}
	}
	t.BOS, t.EOS, t.EOT, t.EOM, t.PAD, t.UNK = ids[roleBOS], ids[roleEOS], ids[roleEOT], ids[roleEOM], ids[rolePAD], ids[roleUNK]

	for _, add := range []struct {
		key, id string
		to      *bool
		token   int32
	}{
		{"tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", &t.AddBOS, t.BOS},
		{"tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", &t.AddEOS, t.EOS},
	} {
		on, _, err := src.Bool(add.key)
		if err != nil {
			return fault.Wrap(fault.Model, err)
		}
		if on && add.token == None {
			return fault.New(fault.Model, "%s is true but %s is missing: convert the model again", add.key, add.id)
		}
		*add.to = on
	}
	return t.indexSpecial()
}

// Bounds of special tokens, far above any real vocabulary: they keep cut linear on hostile ones.
const (
	maxSpecialLen  = 256 // bytes
	maxSpecialNest = 16  // special tokens of which each starts the next
)

// specials are the tokens that cut looks for, sorted by text: a trie whose nodes are intervals.
type specials struct {
	ids   []int32
	first [257]int32 // ids[first[b]:first[b+1]] start with the byte b
}

func (t *Tokenizer) indexSpecial() error {
	s := &t.special
	for id, a := range t.attrs {
		if a&matched == 0 {
			continue
		}
		if n := len(t.Text(int32(id))); n > maxSpecialLen {
			return fault.New(fault.Model, "tokenizer.ggml.tokens: special token %d has %d bytes, at most %d are possible: convert the model again", id, n, maxSpecialLen)
		}
		s.ids = append(s.ids, int32(id))
	}
	slices.SortFunc(s.ids, func(a, b int32) int { return cmp.Compare(t.Text(a), t.Text(b)) })

	var open []string // the special tokens that text starts with
	for _, id := range s.ids {
		text := t.Text(id)
		for n := len(open); n > 0 && (len(text) < len(open[n-1]) || text[:len(open[n-1])] != open[n-1]); n-- {
			open = open[:n-1]
		}
		if open = append(open, text); len(open) > maxSpecialNest {
			return fault.New(fault.Model, "tokenizer.ggml.tokens: special token %d starts with %d others, at most %d are possible: convert the model again", id, len(open)-1, maxSpecialNest-1)
		}
		s.first[int(text[0])+1]++
	}
	for b := range 256 {
		s.first[b+1] += s.first[b]
	}
	return nil
}

// A match is a special token in a text.
type match struct {
	at, len int
	id      int32
}

// cut returns the special tokens of text from left to right. Longer ones take their place first wherever they
// are, as llama.cpp's do; tokens of one length go by id. No white space around them is stripped: llama.cpp does
// that only for models of other families.
func (t *Tokenizer) cut(text string, parseSpecial bool) []match {
	var found []match
	for i := range len(text) {
		lo, hi := int(t.special.first[text[i]]), int(t.special.first[int(text[i])+1])
		for d := 1; lo < hi; d++ {
			if id := t.special.ids[lo]; len(t.Text(id)) == d {
				if parseSpecial || t.attrs[id]&hidden == 0 {
					found = append(found, match{i, d, id})
				}
				lo++
			}
			if i+d == len(text) {
				break
			}
			c := text[i+d]
			in := t.special.ids[lo:hi]
			lo, hi = lo+sort.Search(len(in), func(k int) bool { return t.Text(in[k])[d] >= c }),
				lo+sort.Search(len(in), func(k int) bool { return t.Text(in[k])[d] > c })
		}
	}
	if len(found) < 2 {
		return found
	}
	slices.SortFunc(found, func(a, b match) int {
		return cmp.Or(cmp.Compare(b.len, a.len), cmp.Compare(a.id, b.id), cmp.Compare(a.at, b.at))
	})
	taken := make([]bool, len(text))
	kept := found[:0]
	for _, m := range found {
		// What was taken before is at least as long, so an overlap covers one of the two ends.
		if taken[m.at] || taken[m.at+m.len-1] {
			continue
		}
		for i := range m.len {
			taken[m.at+i] = true
		}
		kept = append(kept, m)
	}
	slices.SortFunc(kept, func(a, b match) int { return cmp.Compare(a.at, b.at) })
	return kept
}
