package tokenizer

import "unicode/utf8"

// A Stream turns tokens into text as they come. What it returns is always valid UTF-8: a code point that is
// spread over tokens is held back until it is whole, bytes that cannot become one are U+FFFD.
type Stream struct {
	Special bool // show control tokens too
	t       *Tokenizer
	held    []byte
}

// NewStream returns an empty Stream that hides control tokens.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Next returns the text that is complete with this token; it may be empty.
func (s *Stream) Next(id int32) string {
	s.held = s.t.AppendPiece(s.held, id, s.Special)
	return s.take(false)
}

// Flush returns what is held back, as U+FFFD, and makes s ready for another text.
func (s *Stream) Flush() string { return s.take(true) }

func (s *Stream) take(all bool) string {
	var out []byte
	b := s.held
	for len(b) > 0 && (all || utf8.FullRune(b)) {
		r, n := utf8.DecodeRune(b)
		out, b = utf8.AppendRune(out, r), b[n:]
	}
	s.held = append(s.held[:0], b...)
	return string(out)
}
