package app

import (
	"bufio"
	"fmt"
	"unicode/utf8"

	"qnc/runtime/fault"
)

// tokenize prints the tokens of a text, as llama-tokenize does.
func (a *app) tokenize() error {
	var text string
	var err error
	if a.set.Bool("stdin") {
		if a.set.Has("prompt") || a.set.Has("file") || a.set.Has("binary-file") {
			return fault.New(fault.Usage, "only one of --stdin, -p, -f and -bf can be the text")
		}
		text, err = a.readFile("-")
		if a.set.Bool("escape") {
			text = unescape(text)
		}
	} else {
		text, err = a.textOrStdin("tokenize -p TEXT or tokenize -f FILE")
	}
	if err != nil {
		return err
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	encode := a.tok.EncodePrompt
	if !a.set.Bool("bos") {
		encode = a.tok.Encode
	}
	ids := encode(text, a.set.Bool("parse-special"))

	w := bufio.NewWriter(a.out)
	defer w.Flush()
	if a.set.Bool("ids") || a.set.Bool("json") {
		w.WriteByte('[')
		for i, id := range ids {
			if i > 0 {
				w.WriteString(", ")
			}
			fmt.Fprint(w, id)
		}
		w.WriteString("]\n")
	} else {
		for _, id := range ids {
			piece := a.tok.Piece(id)
			note := ""
			if !utf8.Valid(piece) {
				note = " (utf-8 decode failure)"
			}
			fmt.Fprintf(w, "%6d -> '%s'%s\n", id, piece, note)
		}
	}
	if a.set.Bool("show-count") {
		fmt.Fprintf(w, "Total number of tokens: %d\n", len(ids))
	}
	return nil
}
