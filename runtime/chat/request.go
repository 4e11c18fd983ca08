package chat

import (
	"fmt"
	"time"

	"qnc/runtime/chat/jinja"
	"qnc/runtime/fault"
)

// A Request is one chat request.
type Request struct {
	AddGenerationPrompt bool      // ask for the start of the assistant's turn; true unless the request says otherwise
	BOS, EOS            string    // the model's tokens as text, for bos_token and eos_token
	Now                 time.Time // what strftime_now tells; a template that asks fails with the zero time

	messages []jinja.Value // each a *jinja.Map
	vars     *jinja.Map    // tools, documents and the variables of chat_template_kwargs
}

// A Message is one turn in plain text.
type Message struct{ Role, Content string }

// NewRequest makes a request of plain messages.
func NewRequest(messages ...Message) *Request {
	r := &Request{AddGenerationPrompt: true, vars: jinja.NewMap()}
	r.vars.Set("tools", jinja.None{})
	r.vars.Set("documents", jinja.None{})
	for _, m := range messages {
		r.Add(m)
	}
	return r
}

// Add appends a message.
func (r *Request) Add(m Message) {
	v := jinja.NewMap()
	v.Set("role", valid(m.Role))
	v.Set("content", valid(m.Content))
	r.messages = append(r.messages, v)
}

// Len returns the number of messages.
func (r *Request) Len() int { return len(r.messages) }

// Truncate keeps the first n messages.
func (r *Request) Truncate(n int) { r.messages = r.messages[:n] }

// SetThinking sets enable_thinking, by which templates of reasoning models decide.
func (r *Request) SetThinking(on bool) { r.vars.Set("enable_thinking", on) }

// SetKwargs adds the variables of a JSON object, as chat_template_kwargs does.
func (r *Request) SetKwargs(data []byte) error {
	v, err := jinja.DecodeJSON(data, requestLimits)
	if err != nil {
		return fault.New(fault.Usage, "chat template variables: %w", err)
	}
	return r.kwargs(v)
}

// requestLimits bound what a request may make the process build.
var requestLimits = jinja.JSONLimits{Bytes: 32 << 20, Depth: 100, Values: 1 << 20}

// reserved are the variables that a request sets by its own fields.
var reserved = map[string]bool{"messages": true, "tools": true, "documents": true}

// ParseRequest reads an OpenAI chat request: messages (content as text, null or a list of parts;
// tool_calls; anything else is handed to the template as it is), tools, documents,
// add_generation_prompt, enable_thinking, reasoning_effort and chat_template_kwargs. Other fields
// are not the template's and are skipped. Errors have the code fault.Usage.
func ParseRequest(data []byte) (*Request, error) {
	v, err := jinja.DecodeJSON(data, requestLimits)
	if err != nil {
		return nil, fault.New(fault.Usage, "chat request: %w", err)
	}
	body, ok := v.(*jinja.Map)
	if !ok {
		return nil, bad("it is not a JSON object")
	}
	r := NewRequest()
	for _, f := range fields {
		v, ok := body.Get(f.name)
		if _, null := v.(jinja.None); !ok || null {
			continue
		}
		if err := f.read(r, v); err != nil {
			return nil, err
		}
	}
	if _, ok := body.Get("messages"); !ok {
		return nil, bad("'messages' is missing")
	}
	return r, nil
}

func bad(format string, args ...any) error {
	return fault.New(fault.Usage, "chat request: "+format, args...)
}

// fields is the table of what a request may hold, in the order in which it is read: what comes
// later overrides.
var fields = []struct {
	name string
	read func(r *Request, v jinja.Value) error
}{
	{"messages", (*Request).readMessages},
	{"tools", (*Request).readTools},
	{"documents", func(r *Request, v jinja.Value) error {
		r.vars.Set("documents", v)
		return nil
	}},
	{"add_generation_prompt", func(r *Request, v jinja.Value) error {
		on, ok := v.(bool)
		if !ok {
			return bad("'add_generation_prompt' must be true or false")
		}
		r.AddGenerationPrompt = on
		return nil
	}},
	{"reasoning_effort", func(r *Request, v jinja.Value) error {
		if v == "none" {
			r.SetThinking(false)
			return nil
		}
		r.vars.Set("reasoning_effort", v)
		return nil
	}},
	{"enable_thinking", func(r *Request, v jinja.Value) error {
		on, ok := v.(bool)
		if !ok {
			return bad("'enable_thinking' must be true or false")
		}
		r.SetThinking(on)
		return nil
	}},
	{"chat_template_kwargs", (*Request).kwargs},
}

func (r *Request) kwargs(v jinja.Value) error {
	m, ok := v.(*jinja.Map)
	if !ok {
		return bad("'chat_template_kwargs' must be an object")
	}
	for key, val := range m.All {
		name := key.(string) // JSON has no other keys
		if reserved[name] {
			return bad("'chat_template_kwargs' may not hold '%s'; it is a field of the request", name)
		}
		if name == "add_generation_prompt" {
			on, ok := val.(bool)
			if !ok {
				return bad("'add_generation_prompt' must be true or false")
			}
			r.AddGenerationPrompt = on
			continue
		}
		r.vars.Set(name, val)
	}
	return nil
}

func (r *Request) readTools(v jinja.Value) error {
	l, ok := v.(*jinja.List)
	if !ok {
		return bad("'tools' must be a list")
	}
	for i, t := range l.Items {
		if _, ok := t.(*jinja.Map); !ok {
			return bad("tool %d is not an object", i)
		}
	}
	// An empty list means no tools, as in OpenAI's interface.
	if len(l.Items) > 0 {
		r.vars.Set("tools", l)
	}
	return nil
}

func (r *Request) readMessages(v jinja.Value) error {
	l, ok := v.(*jinja.List)
	if !ok {
		return bad("'messages' must be a list")
	}
	for i, item := range l.Items {
		m, ok := item.(*jinja.Map)
		if !ok {
			return bad("message %d is not an object", i)
		}
		if err := checkMessage(m); err != nil {
			return bad("message %d: %w", i, err)
		}
		r.messages = append(r.messages, m)
	}
	return nil
}

func checkMessage(m *jinja.Map) error {
	if _, ok := textOf(m, "role"); !ok {
		return fmt.Errorf("'role' must be a string")
	}
	content, hasContent := m.Get("content")
	switch c := content.(type) {
	case nil, string, jinja.None:
	case *jinja.List:
		for _, p := range c.Items {
			part, ok := p.(*jinja.Map)
			if !ok {
				return fmt.Errorf("a part of 'content' is not an object")
			}
			if _, ok := textOf(part, "type"); !ok {
				return fmt.Errorf("a part of 'content' has no 'type'")
			}
		}
	default:
		return fmt.Errorf("'content' must be a string, null or a list of parts")
	}
	calls, hasCalls := m.Get("tool_calls")
	switch c := calls.(type) {
	case nil, jinja.None:
	case *jinja.List:
		for i, call := range c.Items {
			if _, ok := call.(*jinja.Map); !ok {
				return fmt.Errorf("tool call %d is not an object", i)
			}
		}
	default:
		return fmt.Errorf("'tool_calls' must be a list")
	}
	if !hasContent && !hasCalls {
		return fmt.Errorf("neither 'content' nor 'tool_calls'")
	}
	return nil
}
