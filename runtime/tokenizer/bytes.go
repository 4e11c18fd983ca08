package tokenizer

// GPT-2's alphabet: a vocabulary spells each byte as a printable code point. The bytes that are printable in
// Latin-1 stand for themselves, the other 68 are U+0100 and on, in order.
var (
	byteRune [256]rune
	runeByte [0x100 + 68]int16 // -1: stands for no byte
)

func init() {
	for i := range runeByte {
		runeByte[i] = -1
	}
	next := rune(0x100)
	for b := range byteRune {
		r := rune(b)
		if !('!' <= r && r <= '~' || 0xa1 <= r && r <= 0xac || 0xae <= r) {
			r = next
			next++
		}
		byteRune[b], runeByte[r] = r, int16(b)
	}
}

// ByteText returns the vocabulary's spelling of a byte: every vocabulary has these 256 tokens.
func ByteText(b byte) string { return string(byteRune[b]) }

// appendBytes appends the bytes that a token's text spells.
func appendBytes(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		r, n := decode(text[i:])
		if r < rune(len(runeByte)) && runeByte[r] >= 0 {
			dst = append(dst, byte(runeByte[r]))
		} else {
			dst = appendUnknown(dst, r, text)
		}
		i += n
	}
	return dst
}

// appendUnknown writes a code point of text outside the alphabet as llama.cpp does.
func appendUnknown(dst []byte, r rune, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, "[UNK_BYTE_0x"...)
	for _, b := range appendRune(nil, r) {
		dst = append(dst, hex[b>>4], hex[b&15])
	}
	return append(append(dst, text...), ']')
}
