package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
)

// JSONLimits bound what DecodeJSON builds.
type JSONLimits struct {
	Bytes  int // of the text
	Depth  int // of nested arrays and objects
	Values int // in all
}

// DecodeJSON reads one JSON value as Python's json.loads does: objects keep their order (of equal
// keys the first one's place and the last one's value), numbers without fraction and exponent are
// integers of any size up to 4300 digits. Lone surrogates become U+FFFD, as does invalid UTF-8.
func DecodeJSON(data []byte, lim JSONLimits) (Value, error) {
	if len(data) > lim.Bytes {
		return nil, fmt.Errorf("%d bytes of JSON, more than the %d allowed", len(data), lim.Bytes)
	}
	d := &decoder{dec: json.NewDecoder(bytes.NewReader(data)), depth: lim.Depth, values: lim.Values, lim: lim}
	d.dec.UseNumber()
	v, err := d.value()
	if err != nil {
		return nil, fmt.Errorf("JSON, near byte %d: %w", d.dec.InputOffset(), err)
	}
	if _, err := d.dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("JSON, near byte %d: text after the value", d.dec.InputOffset())
	}
	return v, nil
}

type decoder struct {
	dec           *json.Decoder
	depth, values int // left
	lim           JSONLimits
}

func (d *decoder) token() (json.Token, error) {
	t, err := d.dec.Token()
	if err == io.EOF {
		err = errors.New("the text ends too early")
	}
	return t, err
}

func (d *decoder) value() (Value, error) {
	t, err := d.token()
	if err != nil {
		return nil, err
	}
	return d.rest(t)
}

// rest reads the value that starts with t.
func (d *decoder) rest(t json.Token) (Value, error) {
	if d.values--; d.values < 0 {
		return nil, fmt.Errorf("more than %d values", d.lim.Values)
	}
	switch t := t.(type) {
	case nil:
		return None{}, nil
	case json.Number:
		return number(string(t))
	case json.Delim:
		if d.depth--; d.depth < 0 {
			return nil, fmt.Errorf("nested deeper than %d levels", d.lim.Depth)
		}
		defer func() { d.depth++ }()
		if t == '{' {
			return d.object()
		}
		return d.array()
	}
	return t, nil // bool or string
}

func (d *decoder) array() (Value, error) {
	l := &List{}
	for {
		t, err := d.token()
		if err != nil {
			return nil, err
		}
		if t == json.Delim(']') {
			return l, nil
		}
		v, err := d.rest(t)
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, v)
	}
}

func (d *decoder) object() (Value, error) {
	m := NewMap()
	for {
		t, err := d.token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return m, nil // the decoder allows nothing but } here
		}
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		m.Set(key, v)
	}
}

func number(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		return f, nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if len(s) > 4300 {
		return nil, fmt.Errorf("an integer of %d digits, more than the 4300 allowed", len(s))
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("bad number %q", s)
	}
	return b, nil
}

// encoder writes what Python's json.dumps writes.
type encoder struct {
	r          *run
	b          *buffer
	ascii      bool
	sort       bool
	pretty     bool
	indent     string
	item, pair string // separators
	level      int
}

func (e *encoder) value(v Value) {
	e.r.step(1)
	switch v := v.(type) {
	case None:
		e.b.put("null")
	case bool:
		e.b.put(strconv.FormatBool(v))
	case float64:
		e.b.put(jsonFloat(v))
	case string:
		e.text(v)
	case Markup:
		e.text(string(v))
	case *Map:
		e.object(v)
	default:
		if items, ok := sequence(v); ok {
			e.array(items)
			return
		}
		if _, ok := toBig(v); ok {
			e.r.repr(e.b, v)
			return
		}
		e.r.fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatText(f)
}

// open and close walk in and out of a level; between writes what stands before its entries.
func (e *encoder) open(mark string) {
	e.r.enter()
	e.level++
	e.b.put(mark)
}

func (e *encoder) between(i int) {
	if i > 0 {
		e.b.put(e.item)
	}
	e.newline()
}

func (e *encoder) close(mark string) {
	e.level--
	e.newline()
	e.b.put(mark)
	e.r.leave()
}

func (e *encoder) newline() {
	if e.pretty {
		e.b.put("\n")
		for range e.level {
			e.b.put(e.indent)
		}
	}
}

func (e *encoder) array(items []Value) {
	if len(items) == 0 {
		e.b.put("[]")
		return
	}
	e.open("[")
	for i, item := range items {
		e.between(i)
		e.value(item)
	}
	e.close("]")
}

func (e *encoder) object(m *Map) {
	if m.Len() == 0 {
		e.b.put("{}")
		return
	}
	ents := m.ents
	if e.sort {
		e.r.growItems(3 * len(ents))
		ents = append([]entry(nil), ents...)
		sort.SliceStable(ents, func(i, j int) bool { return e.r.order(ents[i].key, ents[j].key, "<") < 0 })
	}
	e.open("{")
	for i := range ents {
		e.between(i)
		e.text(e.key(ents[i].key))
		e.b.put(e.pair)
		e.value(ents[i].val)
	}
	e.close("}")
}

func (e *encoder) key(v Value) string {
	switch v := v.(type) {
	case None:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return jsonFloat(v)
	}
	if s, ok := str(v); ok {
		return s
	}
	if _, ok := toBig(v); !ok {
		e.r.fail("keys must be str, int, float, bool or None, not %s", typeName(v))
	}
	return e.r.text(v)
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (e *encoder) text(s string) {
	e.b.put(`"`)
	from := 0
	for i, c := range s {
		esc := ""
		switch {
		case c == '"' || c == '\\' || c < 0x20:
			if esc = jsonEscapes[c]; esc == "" {
				esc = fmt.Sprintf(`\u%04x`, c)
			}
		case c > 0xffff && e.ascii:
			hi, lo := utf16.EncodeRune(c)
			esc = fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
		case c > 0x7e && e.ascii:
			esc = fmt.Sprintf(`\u%04x`, c)
		default:
			continue
		}
		e.b.put(s[from:i])
		e.b.put(esc)
		from = i + len(string(c))
	}
	e.b.put(s[from:])
	e.b.put(`"`)
}
