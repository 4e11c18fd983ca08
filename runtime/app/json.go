package app

import (
	"bytes"
	"encoding/json"
	"fmt"

	"qnc/runtime/fault"
)

// A field is one member of a JSON object whose order matters to readers.
type field struct {
	name string
	val  any
}

// printJSON prints an object, one member a line.
func (a *app) printJSON(fields []field) error {
	var b bytes.Buffer
	b.WriteString("{")
	for i, f := range fields {
		if i > 0 {
			b.WriteString(",")
		}
		val, err := marshal(f.val)
		if err != nil {
			return fault.New(fault.Failure, "%s: %w", f.name, err)
		}
		fmt.Fprintf(&b, "\n  %q: %s", f.name, val)
	}
	b.WriteString("\n}\n")
	_, err := a.out.Write(b.Bytes())
	return err
}

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
}
