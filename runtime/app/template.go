package app

import (
	"errors"
	"io"
	"strings"
	"time"

	"qnc/runtime/chat"
	"qnc/runtime/chat/jinja"
	"qnc/runtime/fault"
)

// newTemplate reads the chat template: that of --chat-template-file, or the model's own.
func (a *app) newTemplate() (*chat.Template, error) {
	if path := a.set.String("chat-template-file"); path != "" {
		src, err := a.readFile(path)
		if err != nil {
			return nil, err
		}
		t, err := chat.Parse(src)
		if err != nil {
			return nil, fault.New(fault.Model, "%s: %w", path, err)
		}
		return t, nil
	}
	src, ok, err := a.r.Meta().String("tokenizer.chat_template")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Model, "%s: has no chat template: use complete, or give one with --chat-template-file", a.Info.Name)
	}
	return chat.Parse(strings.Clone(src)) // the template outlives the mapping's guard
}

// render renders a request with what the model and the command line add to it.
func (a *app) render(t *chat.Template, req *chat.Request) (string, error) {
	req.BOS, req.EOS = a.tokenText(a.tok.BOS), a.tokenText(a.tok.EOS)
	if kw := a.set.String("chat-template-kwargs"); kw != "" {
		if err := req.SetKwargs([]byte(kw)); err != nil {
			return "", fault.New(fault.Usage, "--chat-template-kwargs: %w", err)
		}
	}
	req.Now = time.Now()
	s, err := t.Render(req, chat.Limits{})
	var je *jinja.Error
	if errors.As(err, &je) {
		code := fault.Model
		if je.Raised { // the template refuses the conversation
			code = fault.Usage
		}
		return "", fault.Wrap(code, err)
	}
	return s, err
}

func (a *app) tokenText(id int32) string {
	if id < 0 {
		return ""
	}
	return string(a.tok.Piece(id))
}

// newRenderer returns what turns a conversation into the model's prompt.
func (a *app) newRenderer() (func([]message) (string, error), error) {
	t, err := a.newTemplate()
	if err != nil {
		return nil, err
	}
	return func(msgs []message) (string, error) {
		req := chat.NewRequest()
		for _, m := range msgs {
			req.Add(chat.Message{Role: m.role, Content: m.text})
		}
		return a.render(t, req)
	}, nil
}

// applyTemplate prints the prompt that a chat request becomes.
func (a *app) applyTemplate() error {
	path := a.set.String("file")
	if path == "" {
		return fault.New(fault.Usage, "no request: apply-template -f REQUEST.json")
	}
	data, err := a.readFile(path)
	if err != nil {
		return err
	}
	if path == "-" {
		path = "stdin"
	}
	req, err := chat.ParseRequest([]byte(data))
	if err != nil {
		return fault.New(fault.CodeOf(err), "%s: %w", path, err)
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	t, err := a.newTemplate()
	if err != nil {
		return err
	}
	s, err := a.render(t, req)
	var je *jinja.Error
	if errors.As(err, &je) { // the request is the user's
		return fault.New(fault.Usage, "%s: the template does not take this request: %w", path, err)
	}
	if err != nil {
		return err
	}
	if a.set.Bool("json") {
		return a.printJSON([]field{{"prompt", s}})
	}
	_, err = io.WriteString(a.out, s)
	return err
}
