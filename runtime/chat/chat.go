// Package chat turns a chat request into the text of a prompt, by the chat template of a model.
//
// A template sees what Hugging Face's apply_chat_template would give it: messages, tools and
// documents (None when absent), add_generation_prompt, bos_token, eos_token and the request's
// chat_template_kwargs, all as they came, in their order. Two things that OpenAI's clients send
// and that not every template can take are fitted to the template (see Template.Render).
package chat

import (
	"errors"
	"strings"
	"sync"

	"qnc/runtime/chat/jinja"
	"qnc/runtime/fault"
)

// Limits bound one rendering; the zero value means the defaults of package jinja.
type Limits = jinja.Limits

// A Template is a model's chat template. It may be used from several goroutines.
type Template struct {
	src  string
	tmpl *jinja.Template

	once       sync.Once
	takesParts bool // see parts
}

// Parse reads a chat template. Its errors name the line and have the code fault.Model.
func Parse(src string) (*Template, error) {
	t, err := jinja.Parse(src)
	if err != nil {
		return nil, fault.Wrap(fault.Model, err)
	}
	return &Template{src: src, tmpl: t}, nil
}

// Source returns the template's text.
func (t *Template) Source() string { return t.src }

// Render returns the prompt that a request becomes. It leaves the request as it is.
//
// What is fitted to the template:
//   - Arguments of tool calls that came as JSON text, as OpenAI's interface has them, stay text
//     where the template prints text as it is, and become the object that they spell where it needs
//     one (it would fail, or print a JSON string within JSON). Arguments that came as an object
//     are left alone.
//   - Content that came as a list of parts stays a list where the template goes through it, and
//     becomes its texts with newlines between them where it does not.
//   - The role developer becomes system where the template does not know it.
//
// A template that refuses the request with raise_exception, or fails on it, gives one error line
// with the template's line number.
func (t *Template) Render(req *Request, lim Limits) (string, error) {
	vars := req.vars.Clone()
	vars.Set("bos_token", valid(req.BOS))
	vars.Set("eos_token", valid(req.EOS))
	vars.Set("add_generation_prompt", req.AddGenerationPrompt)
	messages, err := t.fit(vars, req, lim)
	if err != nil {
		return "", err
	}
	vars.Set("messages", messages)
	return t.tmpl.Render(vars, req.Now, lim)
}

// fit returns the request's messages as the template can take them.
func (t *Template) fit(vars *jinja.Map, req *Request, lim Limits) (*jinja.List, error) {
	list := &jinja.List{Items: req.messages}
	if !strings.Contains(t.src, "developer") {
		list = change(list, func(m *jinja.Map) *jinja.Map {
			if role, _ := m.Get("role"); role == "developer" {
				return with(m, "role", "system")
			}
			return m
		})
	}
	var err error
	if hasParts(list) && !t.parts(lim) {
		list = change(list, func(m *jinja.Map) *jinja.Map {
			content, _ := m.Get("content")
			parts, ok := content.(*jinja.List)
			if !ok {
				return m
			}
			text, e := joined(parts)
			err = errors.Join(err, e)
			return with(m, "content", text)
		})
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err)
	}
	if !hasTextArguments(list) {
		return list, nil
	}
	vars.Set("messages", changeArguments(list, func(string) jinja.Value { return probeArguments }))
	out, err := t.tmpl.Render(vars, req.Now, lim)
	if err == nil && strings.Contains(out, probeArguments) {
		return list, nil
	}
	return changeArguments(list, func(text string) jinja.Value {
		if strings.TrimSpace(text) == "" {
			return jinja.NewMap() // some clients send nothing for a call without arguments
		}
		v, err := jinja.DecodeJSON([]byte(text), requestLimits)
		if _, ok := v.(*jinja.Map); err != nil || !ok {
			return text
		}
		return v
	}), nil
}

// The probes: texts that show by their place in a prompt how a template handles them.
const (
	probeArguments = `{"probe":"qnc"}`
	probeText      = "qnc probe"
)

// parts tells whether the template takes content as a list of parts: it then prints their text, and
// not the list.
func (t *Template) parts(lim Limits) bool {
	t.once.Do(func() {
		part := jinja.NewMap()
		part.Set("type", "text")
		part.Set("text", probeText)
		req := NewRequest(Message{Role: "user"})
		vars := req.vars.Clone()
		vars.Set("messages", &jinja.List{Items: []jinja.Value{
			with(req.messages[0].(*jinja.Map), "content", &jinja.List{Items: []jinja.Value{part}}),
		}})
		vars.Set("bos_token", "")
		vars.Set("eos_token", "")
		vars.Set("add_generation_prompt", true)
		out, err := t.tmpl.Render(vars, req.Now, lim)
		t.takesParts = err == nil && strings.Contains(out, probeText) &&
			!strings.Contains(out, `'text': '`+probeText) && !strings.Contains(out, `"text": "`+probeText)
	})
	return t.takesParts
}

// change returns the messages with f applied to each; f must not change its argument.
func change(list *jinja.List, f func(*jinja.Map) *jinja.Map) *jinja.List {
	out := &jinja.List{Items: make([]jinja.Value, len(list.Items))}
	for i, m := range list.Items {
		out.Items[i] = f(m.(*jinja.Map))
	}
	return out
}

func with(m *jinja.Map, key string, v jinja.Value) *jinja.Map {
	c := m.Clone()
	c.Set(key, v)
	return c
}

func hasParts(list *jinja.List) bool {
	for _, m := range list.Items {
		content, _ := m.(*jinja.Map).Get("content")
		if _, ok := content.(*jinja.List); ok {
			return true
		}
	}
	return false
}

// joined is the text of content parts, a newline between them.
func joined(parts *jinja.List) (string, error) {
	var texts []string
	for _, p := range parts.Items {
		part := p.(*jinja.Map)
		kind, _ := part.Get("type")
		text, ok := part.Get("text")
		s, isText := text.(string)
		if kind != "text" || !ok || !isText {
			return "", errors.New("chat request: a content part that is not text; this model's template takes text only")
		}
		texts = append(texts, s)
	}
	return strings.Join(texts, "\n"), nil
}

func hasTextArguments(list *jinja.List) bool {
	found := false
	changeArguments(list, func(text string) jinja.Value {
		found = true
		return text
	})
	return found
}

// changeArguments applies f to the arguments of tool calls that are text.
func changeArguments(list *jinja.List, f func(text string) jinja.Value) *jinja.List {
	return change(list, func(m *jinja.Map) *jinja.Map {
		v, _ := m.Get("tool_calls")
		calls, ok := v.(*jinja.List)
		if !ok {
			return m
		}
		return with(m, "tool_calls", change(calls, func(call *jinja.Map) *jinja.Map {
			if text, ok := textOf(call, "arguments"); ok {
				return with(call, "arguments", f(text))
			}
			v, _ := call.Get("function")
			function, ok := v.(*jinja.Map)
			if !ok {
				return call
			}
			text, ok := textOf(function, "arguments")
			if !ok {
				return call
			}
			return with(call, "function", with(function, "arguments", f(text)))
		}))
	})
}

func textOf(m *jinja.Map, key string) (string, bool) {
	v, _ := m.Get(key)
	s, ok := v.(string)
	return s, ok
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
