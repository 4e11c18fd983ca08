package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// The tokens are llama.cpp's (b11434) for the example model.
func TestGopher(t *testing.T) {
	tok := gopher(t)
	for _, c := range []struct {
		special bool
		text    string
		want    []int32
	}{
		{false, "", nil},
		{false, "func fibonacci(n int) int {\n\tif n < 2 {\n\t\treturn n\n\t}\n", []int32{334, 283, 933, 268, 681, 3122, 607, 359, 8, 359, 272, 311, 282, 427, 220, 17, 272, 197, 309, 282, 198, 197, 270}},
		{true, "<|im_start|>user\nIt's 2026, isn't it?<|im_end|>\n<|im_start|>assistant\n", []int32{4094, 510, 198, 40, 83, 752, 220, 17, 15, 17, 21, 11, 343, 77, 785, 452, 30, 4095, 198, 4094, 525, 198}},
		{false, "<|im_end|>", []int32{27, 91, 569, 62, 440, 91, 29}},
		{true, "a <|im_end|><|endoftext|>  b", []int32{64, 220, 4095, 4093, 220, 287}},
		{false, "naïve 日本語 😀 e\u0301\r\n\r\n   x", []int32{1955, 127, 107, 392, 220, 162, 245, 98, 162, 250, 105, 164, 103, 252, 220, 172, 253, 246, 222, 333, 136, 223, 201, 198, 201, 198, 257, 472}},
		{false, "caf\xc3 \xff\xe6\x97z\xc0\x80", []int32{989, 69, 171, 123, 121, 220, 171, 123, 121, 171, 123, 121, 171, 123, 121, 89, 188}},
		{false, "       \t  12345", []int32{1040, 197, 220, 220, 16, 17, 18, 19, 20}},
	} {
		got := tok.Encode(c.text, c.special)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.text, got, c.want)
		}
		if back := tok.Decode(got, true); back != clean(c.text) {
			t.Errorf("%q: decodes to %q", c.text, back)
		}
	}
	if tok.NumVocab() != 4096 || tok.BOS != 4093 || tok.EOS != 4095 || tok.EOT != 4095 || tok.EOM != None || tok.PAD != 4093 || tok.AddBOS || tok.AddEOS {
		t.Errorf("ids: %d tokens, bos %d, eos %d, eot %d, eom %d, pad %d, add bos %v, add eos %v",
			tok.NumVocab(), tok.BOS, tok.EOS, tok.EOT, tok.EOM, tok.PAD, tok.AddBOS, tok.AddEOS)
	}
	if got := tok.EOG(); !slices.Equal(got, []int32{4093, 4095}) || !tok.IsEOG(4095) || tok.IsEOG(4094) || tok.IsEOG(-1) || tok.IsEOG(4096) {
		t.Errorf("EOG %v", got)
	}
	if !tok.Special(4094) || tok.Special(64) {
		t.Error("<|im_start|> is special and a is not")
	}
}

func (t *Tokenizer) spelled(ids []int32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, t.Text(id))
	}
	return out
}

func TestSpecial(t *testing.T) {
	tok := mustNew(t, sample())
	for _, c := range []struct {
		special bool
		text    string
		want    string // texts of the tokens, separated by spaces
	}{
		{true, "<|im_start|>there<|im_end|>", "<|im_start|> there <|im_end|>"},
		{false, "yz<|im_end|>", "yz < | i m _ e n d | >"},
		{true, "<|im_<|im_end|>end|>", "< | i m _ <|im_end|> e n d | >"},
		{false, "<tool_call>", "<tool_call>"},              // user-defined: in plain text too
		{false, "<tool_cal", "<tool _ c a l"},              // the shorter one
		{false, "<tool_call>!", "<tool_call> !"},           // the longer one first, not the later one
		{false, "xtool_call>!", "x t o o l_call>!"},        // in the middle of a word
		{false, "xxxxx", "xx xx x"},                        // from the left
		{false, "<unk>", "< u n k >"},                      // unknown is like control
		{true, "<unk><0x41>", "<unk> < 0 x 4 1 >"},         // byte tokens are not looked for
		{false, "<|file_sep|>", "< | f i l e _ s e p | >"}, // control by its name
		{true, "<|file_sep|>", "<|file_sep|>"},
	} {
		if got := strings.Join(tok.spelled(tok.Encode(c.text, c.special)), " "); got != c.want {
			t.Errorf("%q, %v: got %s, want %s", c.text, c.special, got, c.want)
		}
	}
}

func TestPieces(t *testing.T) {
	tok := mustNew(t, sample())
	for _, c := range []struct{ text, special, plain string }{
		{"the", "the", "the"},
		{"Ġthe", " the", " the"},
		{ByteText(0xff), "\xff", "\xff"},
		{"<|im_end|>", "<|im_end|>", ""},
		{"<unk>", "<unk>", ""},
		{"<tool_call>", "<tool_call>", "<tool_call>"},
		{"<0x41>", "A", "A"},
		{"<unused>", "", ""},
		{"not ours", "not[UNK_BYTE_0x20not ours]ours", "not[UNK_BYTE_0x20not ours]ours"}, // llama.cpp's words
	} {
		id, ok := tok.Token(c.text)
		if !ok {
			t.Errorf("no token %q", c.text)
			continue
		}
		if got := string(tok.Piece(id)); got != c.special {
			t.Errorf("%q: piece %q, want %q", c.text, got, c.special)
		}
		if got := tok.Decode([]int32{id}, false); got != c.plain {
			t.Errorf("%q: decodes to %q, want %q", c.text, got, c.plain)
		}
	}
	if got := tok.Decode([]int32{-1, int32(tok.NumVocab()), 1 << 30}, true); got != "" {
		t.Errorf("ids out of range decode to %q", got)
	}
}

func TestRoles(t *testing.T) {
	named := func(kind int64, texts ...string) fake {
		f := sample()
		tokens, types := slices.Clone(f[keyTokens].([]string)), slices.Clone(f[keyTypes].([]int64))
		for _, s := range texts {
			tokens, types = append(tokens, s), append(types, kind)
		}
		return f.with(keyTokens, tokens, keyTypes, types)
	}
	for _, c := range []struct {
		src  fake
		eog  string
		eot  string
		also string // user-defined
	}{
		{sample(), "<|endoftext|> <|im_end|> <|file_sep|>", "<|im_end|>", "<tool_call>"},
		{sample().with("tokenizer.ggml.eos_token_id", uint64(32), "tokenizer.ggml.eot_token_id", uint64(33)),
			ByteText(32) + " " + ByteText(33) + " <|endoftext|> <|im_end|> <|file_sep|>", ByteText(33), "<tool_call>"},
		{sample().with("tokenizer.ggml.eom_token_id", uint64(40), "tokenizer.ggml.fim_pad_token_id", uint64(41)),
			ByteText(40) + " " + ByteText(41) + " <|endoftext|> <|im_end|> <|file_sep|>", "<|im_end|>", "<tool_call>"},
		{named(1, "<|eom_id|>", "</s>", "<|repo_name|>"), "<|endoftext|> <|im_end|> <|file_sep|> <|eom_id|> </s> <|repo_name|>", "<|im_end|>", "<tool"},
		{named(3, "</s>", "<|tool_response>"), "<|endoftext|> <|im_end|> <|file_sep|> <|tool_response>", "<|im_end|>", "<tool"},
		{named(3, "<|end|>", "<|return|>", "<|call|>"), "<|endoftext|> <|im_end|> <|file_sep|> <|return|> <|call|>", "<|im_end|>", "<|end|>"},
		{named(3, "<|end|>", "<|return|>", "<|channel|>"), "<|endoftext|> <|im_end|> <|file_sep|> <|end|> <|return|>", "<|im_end|>", "<|channel|>"},
	} {
		tok := mustNew(t, c.src)
		if got := strings.Join(tok.spelled(tok.EOG()), " "); got != c.eog {
			t.Errorf("EOG %s, want %s", got, c.eog)
		}
		if got := tok.Text(tok.EOT); got != c.eot {
			t.Errorf("EOT %s, want %s", got, c.eot)
		}
		if got := tok.Encode(c.also, false); len(got) != 1 {
			t.Errorf("%s is %v in plain text", c.also, got)
		}
	}
}

func TestPrompt(t *testing.T) {
	bos, eos := uint64(1), uint64(2)
	src := sample().with("tokenizer.ggml.bos_token_id", bos, "tokenizer.ggml.eos_token_id", eos)
	for _, c := range []struct {
		src  fake
		want []int32
	}{
		{src, []int32{64}},
		{src.with("tokenizer.ggml.add_bos_token", true), []int32{1, 64}},
		{src.with("tokenizer.ggml.add_bos_token", true, "tokenizer.ggml.add_eos_token", true), []int32{1, 64, 2}},
	} {
		tok := mustNew(t, c.src)
		a, _ := tok.Token("a")
		want := slices.Clone(c.want)
		want[slices.Index(want, 64)] = a
		if got := tok.EncodePrompt("a", true); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := tok.Encode("a", true); !slices.Equal(got, []int32{a}) {
			t.Errorf("Encode adds: %v", got)
		}
	}
}

// A word of any length must agree with the definition, whichever way it is merged.
func TestMerge(t *testing.T) {
	src := sample()
	tok := mustNew(t, src)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		word := make([]byte, 1+rng.IntN(3*short))
		for i := range word {
			word[i] = "aaabthexyz"[rng.IntN(10)]
		}
		var want []int32
		for _, p := range referenceBPE(src, string(word)) {
			id, _ := tok.Token(p)
			want = append(want, id)
		}
		if got := tok.mergeWord(nil, string(word)); !slices.Equal(got, want) {
			t.Fatalf("%s: got %v, want %v", word, tok.spelled(got), tok.spelled(want))
		}
		if got := tok.mergeLong(nil, string(word), new(scratch)); !slices.Equal(got, want) {
			t.Fatalf("%s: queue: got %v, want %v", word, tok.spelled(got), tok.spelled(want))
		}
	}
}

// With time that grows as the square of the input these take minutes.
func TestHostile(t *testing.T) {
	tok := mustNew(t, sample())
	noise := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, s := range map[string]string{
		"letters": strings.Repeat("a", 200_000),
		"spaces":  strings.Repeat(" ", 200_000),
		"breaks":  strings.Repeat("\n ", 100_000),
		"marks":   strings.Repeat("\u0301", 100_000),
		"starts":  strings.Repeat("<|im_", 50_000),
		"special": strings.Repeat("<|im_end|>", 50_000),
		"nested":  strings.Repeat("<tool_call>!", 50_000),
		"noise":   string(noise),
	} {
		if got := tok.Decode(tok.Encode(s, true), true); got != clean(s) {
			t.Errorf("%s: %d bytes come back as %d", name, len(s), len(got))
		}
	}
}

func TestStream(t *testing.T) {
	tok := mustNew(t, sample())
	bytesOf := func(s string) (ids []int32) {
		for _, b := range []byte(s) {
			id, _ := tok.Token(ByteText(b))
			ids = append(ids, id)
		}
		return ids
	}
	s := tok.NewStream()
	var got []string
	for _, id := range bytesOf("aé日😀\xe6\x97b\xff\xf0\x9f") {
		got = append(got, s.Next(id))
	}
	got = append(got, s.Flush(), s.Flush())
	want := []string{"a", "", "é", "", "", "日", "", "", "", "😀", "", "", "\ufffd\ufffdb", "\ufffd", "", "", "\ufffd\ufffd", ""}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	end, _ := tok.Token("<|im_end|>")
	if got := s.Next(end); got != "" {
		t.Errorf("a control token shows as %q", got)
	}
	s.Special = true
	if got := s.Next(end); got != "<|im_end|>" {
		t.Errorf("a control token shows as %q", got)
	}
}

// One Tokenizer serves many goroutines; the race detector watches.
func TestParallel(t *testing.T) {
	tok := mustNew(t, sample())
	text := strings.Repeat("there the <tool_call>", 50) + strings.Repeat("ab", 100)
	want := tok.Encode(text, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if !slices.Equal(tok.Encode(text, true), want) {
					t.Error("differs from the first time")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "there and  there\n\n", "'s 10 日本\u0301é", "aaaaaaaababab", "<|im_end|><tool_call>!", "\xff\xc0\x80\xed\xa0\x80", strings.Repeat("aba", 20), "xxx <unk>"} {
		f.Add(s)
	}
	type vocabulary struct {
		tok *Tokenizer
		src fake
	}
	var all []vocabulary
	for pre := range referenceRegexp {
		src := sample().with(keyPre, pre)
		all = append(all, vocabulary{mustNew(f, src), src})
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range all {
			for _, special := range []bool{false, true} {
				ids := v.tok.Encode(s, special)
				if got, want := v.tok.Decode(ids, true), clean(s); got != want {
					// Special tokens are cut before the rest is cleaned, which makes no difference: they are ASCII.
					t.Fatalf("%q: decodes to %q", s, got)
				}
				stream, text := v.tok.NewStream(), ""
				stream.Special = true
				for _, id := range ids {
					next := stream.Next(id)
					if !utf8.ValidString(next) {
						t.Fatalf("%q: the stream says %q", s, next)
					}
					text += next
				}
				if text += stream.Flush(); text != string([]rune(clean(s))) {
					t.Fatalf("%q: the stream says %q", s, text)
				}
			}
			if len(s) < 400 && utf8.ValidString(s) && sameInGo(s) && len(v.tok.cut(s, false)) == 0 {
				if got, want := v.tok.Encode(s, false), referenceEncode(t, v.tok, v.src, s); !slices.Equal(got, want) {
					t.Fatalf("%q: got %q, want %q", s, v.tok.spelled(got), v.tok.spelled(want))
				}
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := gopher(b)
	for _, c := range []struct{ name, text string }{
		{"source", readFile(b, "special.go") + readFile(b, "scan_test.go")},
		{"letters", strings.Repeat("a", 200_000)},
		{"spaces", strings.Repeat(" ", 200_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			var ids []int32
			for b.Loop() {
				ids = tok.EncodeTo(ids[:0], c.text, true)
			}
		})
	}
}
