package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

// A message is one turn of a conversation.
type message struct{ role, text string }

// A conversation is a chat and the sequence that holds it.
type conversation struct {
	a      *app
	g      *generator
	render func([]message) (string, error)
	system []message // none or one
	msgs   []message
}

// chat answers in a conversation: a loop on a terminal, one answer otherwise.
func (a *app) chat() error {
	system, err := a.systemMessage()
	if err != nil {
		return err
	}
	first, given, err := a.text()
	if err != nil {
		return err
	}
	loop := a.InTerm && !a.set.Bool("single-turn")
	if !given && !a.InTerm {
		if first, err = a.textOrStdin("-p TEXT, or type it in a terminal"); err != nil {
			return err
		}
		given = true
	}
	if given && strings.TrimSpace(first) == "" {
		return fault.New(fault.Usage, "the text is empty: -p TEXT")
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	render, err := a.newRenderer()
	if err != nil {
		return err
	}
	c := &conversation{a: a, g: a.newGenerator(), render: render, system: system}
	c.clear()
	if !loop && given {
		return c.answer(a.ctx, first)
	}
	// From here on an interrupt is for the loop.
	if err := a.unwatch(); err != nil {
		return err
	}
	return c.loop(first, loop)
}

// systemMessage returns the message of -sys or -sysf.
func (a *app) systemMessage() ([]message, error) {
	text := a.set.String("system-prompt")
	if a.set.Has("system-prompt-file") {
		if a.set.Has("system-prompt") {
			return nil, fault.New(fault.Usage, "only one of -sys and -sysf can be the system message")
		}
		s, err := a.readFile(a.set.String("system-prompt-file"))
		if err != nil {
			return nil, err
		}
		text = strings.TrimSuffix(s, "\n")
	}
	if text == "" {
		return nil, nil
	}
	return []message{{"system", text}}, nil
}

// clear starts the conversation anew.
func (c *conversation) clear() {
	c.msgs = append([]message(nil), c.system...)
	c.g.reset()
	c.g.smp.Reset()
}

// answer adds the user's message and the model's answer to the conversation and
// prints the answer. An answer that was interrupted stays as far as it came; a
// message that does not fit is taken back.
func (c *conversation) answer(ctx context.Context, text string) error {
	c.msgs = append(c.msgs, message{"user", text})
	if err := c.evaluate(ctx); err != nil {
		c.msgs = c.msgs[:len(c.msgs)-1]
		return err
	}
	var answer strings.Builder
	end, err := c.g.run(ctx, c.a.set.Int("n-predict"), func(s string) error {
		answer.WriteString(s)
		_, err := io.WriteString(c.a.out, s)
		return err
	})
	if !strings.HasSuffix(answer.String(), "\n") {
		io.WriteString(c.a.out, "\n")
	}
	c.msgs = append(c.msgs, message{"assistant", answer.String()})
	if err != nil {
		return err
	}
	if end == atFull {
		c.a.saysFull(c.g)
	}
	if c.a.wantTimings() {
		c.g.timings(c.a.Stderr)
	}
	return nil
}

// evaluate brings the sequence to the end of the rendered conversation. What
// the sequence holds already is not evaluated again; when the conversation
// reads differently now, everything is: recurrent state cannot be rewound.
func (c *conversation) evaluate(ctx context.Context) error {
	prompt, err := c.render(c.msgs)
	if err != nil {
		return err
	}
	g := c.g
	g.prompt, g.eval = rate{}, rate{}
	rest, more := bytes.CutPrefix([]byte(prompt), g.text)
	tokens := c.a.tok.Encode(string(rest), true)
	if !more || len(tokens) == 0 || g.r.Len(0)+len(tokens) > g.numCtx {
		rest = []byte(prompt)
		tokens = c.a.tok.Encode(prompt, true)
		if bos := c.a.tok.BOS; c.a.tok.AddBOS && (len(tokens) == 0 || tokens[0] != bos) {
			tokens = append([]int32{bos}, tokens...)
		}
		if len(tokens) == 0 {
			return fault.New(fault.Model, "the chat template makes no prompt of this conversation: another one goes with --chat-template-file")
		}
		if len(tokens) > g.numCtx {
			return c.a.tooLong(g.r.Len(0), max(1, len(tokens)-g.r.Len(0)))
		}
		g.reset()
	} else if g.r.Len(0) == 0 && c.a.tok.AddBOS && tokens[0] != c.a.tok.BOS {
		tokens = append([]int32{c.a.tok.BOS}, tokens...)
	}
	if err := g.feed(ctx, tokens, string(rest)); err != nil {
		// What the sequence holds now is unknown.
		g.reset()
		return err
	}
	return nil
}

// loop reads messages until the end of stdin, /exit or an interrupt at the prompt.
func (c *conversation) loop(first string, again bool) error {
	a := c.a
	fmt.Fprintf(a.Stderr, "%s: /help lists commands, Ctrl-C stops an answer, drops a half-typed line and ends at an empty prompt\n", a.Info.Name)
	done := make(chan struct{})
	defer close(done)
	in := a.newInput(done)
	if first != "" {
		fmt.Fprintf(a.Stderr, "> %s\n", first)
	}
	for {
		text := first
		if first = ""; text == "" {
			var err error
			if text, err = c.read(in); err != nil || text == "" {
				return err
			}
		}
		if name, ok := command(text); ok {
			if name == "exit" || name == "quit" {
				return nil
			}
			c.command(name)
			continue
		}
		if err := c.stoppable(text); err != nil {
			return err
		}
		if !again {
			return nil
		}
	}
}

// stoppable answers; an interrupt ends the answer, not the chat. An error that
// the user can do something about is told, others are returned.
func (c *conversation) stoppable(text string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- c.answer(ctx, text) }()
	ended := false
	for {
		select {
		case sig := <-c.a.Interrupts:
			cancel()
			ended = ended || sig != os.Interrupt
		case err := <-result:
			switch {
			case ended:
				return fault.Wrap(fault.Interrupted, context.Canceled)
			case errors.Is(err, context.Canceled):
				return nil
			case fault.CodeOf(err) == fault.Fit:
				fmt.Fprintf(c.a.Stderr, "%s: %v\n", c.a.Name, err)
				return nil
			}
			return err
		}
	}
}

// read asks for a message: lines that end in a backslash go on. It is empty at
// the end of the input or after an interrupt at an empty prompt; another
// interrupt drops what was typed of the message.
func (c *conversation) read(in input) (string, error) {
	for {
		var text strings.Builder
		prompt := "> "
		for more := true; more; {
			line, ev := in.next(prompt)
			switch ev {
			case terminated:
				return "", fault.Wrap(fault.Interrupted, context.Canceled)
			case interrupted:
				if text.Len() == 0 && line == "" {
					return "", nil
				}
				text.Reset()
				prompt = "> "
				continue
			case ended:
				return strings.TrimSpace(text.String() + line), nil
			}
			if line, more = strings.CutSuffix(line, `\`); more {
				line += "\n"
			}
			text.WriteString(line)
			prompt = ""
		}
		if s := strings.TrimSpace(text.String()); s != "" {
			return s, nil
		}
	}
}

// command reports whether a message is a command of the chat: a slash and one word.
func command(text string) (name string, ok bool) {
	name, ok = strings.CutPrefix(text, "/")
	return name, ok && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == ""
}

func (c *conversation) command(name string) {
	w := c.a.Stderr
	switch name {
	case "help":
		fmt.Fprint(w, "/clear  start a new conversation\n/exit   end (as Ctrl-D)\n/help   this list\nA line that ends in \\ goes on in the next.\n")
	case "clear":
		c.clear()
	default:
		hint := "/help lists them"
		if near := flags.Nearest(name, []string{"help", "clear", "exit", "quit"}); near != "" {
			hint = "did you mean /" + near + "?"
		}
		fmt.Fprintf(w, "unknown command /%s: %s\n", name, hint)
	}
}
