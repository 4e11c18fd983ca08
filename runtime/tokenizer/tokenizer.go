// Package tokenizer turns text into tokens and back: byte-level BPE as GPT-2 has it, with the vocabulary, the
// pre-tokeniser and the special tokens that a GGUF file names. It gives the same tokens as llama.cpp, invalid
// UTF-8 included, in time that grows with n log n of the longest word. Nothing is normalised.
package tokenizer

import "strings"

// None is the id of a special token that a model does not have.
const None = -1

// A Tokenizer is a vocabulary with its merges. It refers to nothing outside itself and may be used by several
// goroutines at once.
type Tokenizer struct {
	BOS, EOS, EOT, EOM, PAD, UNK int32 // None where the model has none
	AddBOS, AddEOS               bool  // what EncodePrompt adds

	vocab
	merges  merges
	byteID  [256]int32 // the tokens of single bytes
	scanner scanner
	special specials
}

// Encode returns the tokens of text, which must be shorter than 2 GiB. User-defined tokens are found in it in
// any case, control tokens such as <|im_end|> only with parseSpecial; otherwise these are plain text.
func (t *Tokenizer) Encode(text string, parseSpecial bool) []int32 {
	return t.EncodeTo(nil, text, parseSpecial)
}

// EncodeTo is Encode, appending to dst.
func (t *Tokenizer) EncodeTo(dst []int32, text string, parseSpecial bool) []int32 {
	from := 0
	for _, m := range t.cut(text, parseSpecial) {
		dst = t.encodePlain(dst, text[from:m.at])
		dst = append(dst, m.id)
		from = m.at + m.len
	}
	return t.encodePlain(dst, text[from:])
}

// EncodePrompt is Encode with the BOS and EOS tokens around it that the model asks for.
func (t *Tokenizer) EncodePrompt(text string, parseSpecial bool) []int32 {
	var ids []int32
	if t.AddBOS {
		ids = append(ids, t.BOS)
	}
	ids = t.EncodeTo(ids, text, parseSpecial)
	if t.AddEOS {
		ids = append(ids, t.EOS)
	}
	return ids
}

// encodePlain appends the tokens of text without special tokens.
func (t *Tokenizer) encodePlain(dst []int32, text string) []int32 {
	text = clean(text)
	for i := 0; i < len(text); {
		end := t.scanner.next(text, i)
		dst = t.mergeWord(dst, text[i:end])
		i = end
	}
	return dst
}

// Decode returns the bytes of tokens, without control tokens unless special. It need not be valid UTF-8.
func (t *Tokenizer) Decode(ids []int32, special bool) string {
	var b []byte
	for _, id := range ids {
		b = t.AppendPiece(b, id, special)
	}
	return string(b)
}

// Piece returns the bytes that a token stands for, those of a control token included.
func (t *Tokenizer) Piece(id int32) []byte { return t.AppendPiece(nil, id, true) }

// AppendPiece appends the bytes that a token stands for; none for a control token unless special, and none for
// an id that is out of range.
func (t *Tokenizer) AppendPiece(dst []byte, id int32, special bool) []byte {
	if id < 0 || int(id) >= t.NumVocab() {
		return dst
	}
	text := t.Text(id)
	switch a := t.attrs[id]; {
	case a&hidden != 0 && !special:
		return dst
	case a&(hidden|userDefined) != 0:
		return append(dst, text...)
	case a&normal != 0:
		return appendBytes(dst, text)
	case a&byteToken != 0:
		return append(dst, hexByte(text))
	}
	return dst
}

// hexByte returns the byte that <0xNN> names, 0 when text is not of this form.
func hexByte(text string) byte {
	var b byte
	if len(text) < 5 {
		return 0
	}
	for _, c := range []byte(text[3:5]) {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 {
			return 0
		}
		b = b<<4 | byte(d)
	}
	return b
}

// IsEOG reports whether a token ends generation.
func (t *Tokenizer) IsEOG(id int32) bool { return t.has(id, endOfGeneration) }

// EOG returns the tokens that end generation, ascending.
func (t *Tokenizer) EOG() []int32 {
	var ids []int32
	for id, a := range t.attrs {
		if a&endOfGeneration != 0 {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// Special reports whether a token is a control or unknown token, which plain text neither becomes nor shows.
func (t *Tokenizer) Special(id int32) bool { return t.has(id, hidden) }

func (t *Tokenizer) has(id int32, a attr) bool {
	return id >= 0 && int(id) < len(t.attrs) && t.attrs[id]&a != 0
}
