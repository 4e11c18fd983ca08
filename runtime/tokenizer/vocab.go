package tokenizer

import (
	"hash/maphash"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"qnc/runtime/fault"
)

// A Source is the metadata that a vocabulary is read from, by GGUF's keys; *gguf.File is one. Getters return
// false for a key that is absent and an error for one of another kind.
type Source interface {
	Uint(key string) (uint64, bool, error)
	Bool(key string) (bool, bool, error)
	String(key string) (string, bool, error)
	Strings(key string) ([]string, bool, error)
	Ints(key string) ([]int64, bool, error)
}

const (
	keyModel  = "tokenizer.ggml.model"
	keyPre    = "tokenizer.ggml.pre"
	keyTokens = "tokenizer.ggml.tokens"
	keyTypes  = "tokenizer.ggml.token_type"
	keyMerges = "tokenizer.ggml.merges"
)

// New reads the vocabulary. It keeps no reference to src. Errors have the code fault.Model.
func New(src Source) (*Tokenizer, error) {
	t := &Tokenizer{}
	for _, load := range []func(Source) error{t.loadKind, t.loadTokens, t.loadTypes, t.loadMerges, t.loadSpecial} {
		if err := load(src); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// need turns an absent key into an error.
func need[T any](v T, ok bool, err error) func(key string) (T, error) {
	return func(key string) (T, error) {
		switch {
		case err != nil:
			return v, fault.Wrap(fault.Model, err)
		case !ok:
			return v, fault.New(fault.Model, "%s is missing: the model has no usable tokenizer; convert it again", key)
		}
		return v, nil
	}
}

func (t *Tokenizer) loadKind(src Source) error {
	model, err := need(src.String(keyModel))(keyModel)
	if err != nil {
		return err
	}
	if model != "gpt2" {
		return fault.New(fault.Model, "%s is %.40q, which is not supported: use a model with gpt2", keyModel, model)
	}
	pre, err := need(src.String(keyPre))(keyPre)
	if err != nil {
		return err
	}
	var known []string
	for _, s := range scanners {
		if s.name == pre {
			t.scanner = s.scanner
			return nil
		}
		known = append(known, s.name)
	}
	return fault.New(fault.Model, "%s is %.40q, which is not supported: use a model with %s", keyPre, pre, fault.Either(known...))
}

// A vocab is the text of each token and the way back.
type vocab struct {
	texts string   // all texts, one after the other
	ends  []uint32 // texts[ends[id]:ends[id+1]] is the text of id
	attrs []attr

	seed maphash.Seed
	ids  []uint64 // open addressing: the upper half of the hash, then id + 1; 0: empty
}

// NumVocab returns the number of tokens.
func (v *vocab) NumVocab() int { return len(v.ends) - 1 }

// Text returns a token's text as the vocabulary spells it; id must be in range.
func (v *vocab) Text(id int32) string { return v.texts[v.ends[id]:v.ends[id+1]] }

// Token returns the token with this text, as the vocabulary spells it.
func (v *vocab) Token(text string) (int32, bool) {
	id := int32(uint32(*v.slot(maphash.String(v.seed, text), text))) - 1
	return id, id >= 0
}

// slot returns where text is, or the empty slot where it belongs.
func (v *vocab) slot(hash uint64, text string) *uint64 {
	mask := uint64(len(v.ids) - 1)
	for i := hash; ; i++ {
		s := &v.ids[i&mask]
		if *s == 0 || *s>>32 == hash>>32 && v.Text(int32(uint32(*s))-1) == text {
			return s
		}
	}
}

func (t *Tokenizer) loadTokens(src Source) error {
	tokens, err := need(src.Strings(keyTokens))(keyTokens)
	if err != nil {
		return err
	}
	size := uint64(0)
	for _, s := range tokens {
		size += uint64(len(s))
	}
	if n := len(tokens); n == 0 || n > math.MaxInt32/4 || size > math.MaxUint32/2 {
		return fault.New(fault.Model, "%s: %d tokens of %d bytes: a vocabulary of this size is not possible; convert the model again", keyTokens, n, size)
	}

	var b strings.Builder
	b.Grow(int(size))
	t.ends = make([]uint32, 1, len(tokens)+1)
	for id, s := range tokens {
		if s == "" { // llama.cpp's name for it
			s = "[EMPTY_" + strconv.Itoa(id) + "]"
		}
		b.WriteString(s)
		t.ends = append(t.ends, uint32(b.Len()))
	}
	t.texts = b.String()

	t.seed = maphash.MakeSeed()
	t.ids = make([]uint64, 1<<bits.Len(uint(len(tokens)+len(tokens)/4))) // at most 4/5 full
	for id := range int32(len(tokens)) {
		hash := maphash.String(t.seed, t.Text(id))
		s := t.slot(hash, t.Text(id))
		if *s != 0 {
			return fault.New(fault.Model, "%s: tokens %d and %d are both %.40q: convert the model again", keyTokens, uint32(*s)-1, id, t.Text(id))
		}
		*s = hash>>32<<32 | uint64(id+1)
	}
	for i := range t.byteID {
		id, ok := t.Token(ByteText(byte(i)))
		if !ok {
			return fault.New(fault.Model, "%s: the byte %#02x has no token (%q): text would be lost; convert the model again", keyTokens, i, ByteText(byte(i)))
		}
		t.byteID[i] = id
	}
	return nil
}

func (t *Tokenizer) loadTypes(src Source) error {
	types, ok, err := src.Ints(keyTypes)
	if err != nil {
		return fault.Wrap(fault.Model, err)
	}
	if ok && len(types) != t.NumVocab() {
		return fault.New(fault.Model, "%s has %d entries for %d tokens: convert the model again", keyTypes, len(types), t.NumVocab())
	}
	t.attrs = make([]attr, t.NumVocab())
	for id := range t.attrs {
		switch {
		case !ok:
			t.attrs[id] = normal
		case 0 <= types[id] && types[id] < int64(len(attrOf)):
			t.attrs[id] = attrOf[types[id]]
		}
	}
	return nil
}

func (t *Tokenizer) loadMerges(src Source) error {
	list, err := need(src.Strings(keyMerges))(keyMerges)
	if err != nil {
		return err
	}
	if len(list) > math.MaxInt32/4 {
		return fault.New(fault.Model, "%s has %d entries: more than possible; convert the model again", keyMerges, len(list))
	}
	t.merges = newMerges(len(list))
	joined, next := []byte(nil), int32(0)
	for i, s := range list {
		cut := 0
		if s != "" {
			cut = 1 + strings.IndexByte(s[1:], ' ')
		}
		if cut == 0 {
			return fault.New(fault.Model, "%s: entry %d is %.40q, not two tokens with a space between: convert the model again", keyMerges, i, s)
		}
		left, okLeft := t.Token(s[:cut])
		right, okRight := t.Token(s[cut+1:])
		joined = append(append(joined[:0], s[:cut]...), s[cut+1:]...)
		// Vocabularies list the tokens in the order of the merges that make them.
		id, ok := next, int(next) < t.NumVocab() && t.Text(next) == string(joined)
		if !ok {
			id, ok = t.Token(string(joined))
		}
		if !okLeft || !okRight || !ok {
			return fault.New(fault.Model, "%s: entry %d is %.40q, but one of these or both together are no token: convert the model again", keyMerges, i, s)
		}
		next = id + 1
		if m := t.merges.slot(left, right); m.rank == 0 { // the first of equal ones counts
			*m = merge{left, right, int32(i + 1), id}
		}
	}
	return nil
}
