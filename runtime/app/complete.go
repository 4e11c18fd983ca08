package app

import (
	"io"
	"strings"

	"qnc/runtime/fault"
)

// complete continues a text: model complete -p TEXT.
func (a *app) complete() error {
	text, err := a.textOrStdin("complete -p TEXT or complete -f FILE")
	if err != nil {
		return err
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	tokens := a.tok.EncodePrompt(text, true)
	switch {
	case len(tokens) == 0:
		return fault.New(fault.Usage, "the text is empty: complete -p TEXT or complete -f FILE")
	case len(tokens) > a.numCtx():
		return a.tooLong(0, len(tokens))
	}
	last := "\n"
	emit := func(s string) error {
		if s == "" {
			return nil
		}
		last = s
		_, err := io.WriteString(a.out, s)
		return err
	}
	if a.set.Bool("display-prompt") {
		if err := emit(text); err != nil {
			return err
		}
	}
	g := a.newGenerator()
	if err := g.feed(a.ctx, tokens, text); err != nil {
		return err
	}
	end, err := g.run(a.ctx, a.set.Int("n-predict"), emit)
	if !strings.HasSuffix(last, "\n") {
		io.WriteString(a.out, "\n")
	}
	if err != nil {
		return err
	}
	if end == atFull {
		a.saysFull(g)
	}
	if a.wantTimings() {
		g.timings(a.Stderr)
	}
	return nil
}
