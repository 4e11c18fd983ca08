package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A Map is Python's dict: it keeps the order of insertion, and equal numbers are equal keys.
type Map struct {
	ents []entry
	idx  map[hash]int // only once ents is long
}

type entry struct {
	key  Value
	hash hash
	val  Value
}

// hash identifies a key: values that Python holds equal have the same one.
type hash struct {
	kind byte
	text string
}

// indexFrom is the number of entries from which an index beats looking through them.
const indexFrom = 9

// NewMap returns an empty map.
func NewMap() *Map { return &Map{} }

// Len returns the number of entries.
func (m *Map) Len() int { return len(m.ents) }

// Set adds a string key or replaces its value in place.
func (m *Map) Set(key string, v Value) { m.put(key, hash{'s', key}, v) }

// Get returns the value of a string key.
func (m *Map) Get(key string) (Value, bool) { return m.find(hash{'s', key}) }

// All calls yield for every entry in order, until it returns false.
func (m *Map) All(yield func(key, val Value) bool) {
	for i := range m.ents {
		if !yield(m.ents[i].key, m.ents[i].val) {
			return
		}
	}
}

// Clone returns a copy that shares the values.
func (m *Map) Clone() *Map {
	c := NewMap()
	for i := range m.ents {
		c.put(m.ents[i].key, m.ents[i].hash, m.ents[i].val)
	}
	return c
}

func (m *Map) put(key Value, h hash, v Value) {
	if i := m.slot(h); i >= 0 {
		m.ents[i].val = v
		return
	}
	m.ents = append(m.ents, entry{key, h, v})
	if m.idx != nil {
		m.idx[h] = len(m.ents) - 1
	} else if len(m.ents) >= indexFrom {
		m.idx = make(map[hash]int, 2*len(m.ents))
		for i := range m.ents {
			m.idx[m.ents[i].hash] = i
		}
	}
}

func (m *Map) slot(h hash) int {
	if m.idx != nil {
		if i, ok := m.idx[h]; ok {
			return i
		}
		return -1
	}
	for i := range m.ents {
		if m.ents[i].hash == h {
			return i
		}
	}
	return -1
}

func (m *Map) find(h hash) (Value, bool) {
	if i := m.slot(h); i >= 0 {
		return m.ents[i].val, true
	}
	return nil, false
}

func (m *Map) keys() []Value {
	out := make([]Value, len(m.ents))
	for i := range m.ents {
		out[i] = m.ents[i].key
	}
	return out
}

func (m *Map) values() []Value {
	out := make([]Value, len(m.ents))
	for i := range m.ents {
		out[i] = m.ents[i].val
	}
	return out
}

func (m *Map) pairs() []Value {
	out := make([]Value, len(m.ents))
	for i := range m.ents {
		out[i] = &Tuple{[]Value{m.ents[i].key, m.ents[i].val}}
	}
	return out
}

// insert puts a value under any hashable key.
func (r *run) insert(m *Map, key, v Value) {
	r.growItems(4)
	m.put(key, r.hash(key), v)
}

// hash fails for what Python cannot hash.
func (r *run) hash(v Value) hash {
	h, ok := r.tryHash(v)
	if !ok {
		r.fail("unhashable type: '%s'", typeName(v))
	}
	return h
}

func (r *run) tryHash(v Value) (hash, bool) {
	r.step(1)
	if s, ok := str(v); ok {
		r.scan(len(s))
		return hash{'s', s}, true
	}
	if i, ok := toInt(v); ok {
		return hash{'i', strconv.FormatInt(i, 10)}, true
	}
	switch v := v.(type) {
	case None:
		return hash{'n', ""}, true
	case *big.Int:
		return hash{'i', v.String()}, true
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			i, _ := big.NewFloat(v).Int(nil)
			return hash{'i', i.String()}, true
		}
		return hash{'f', strconv.FormatFloat(v, 'g', -1, 64)}, true
	case *Undefined:
		return hash{'u', ""}, true
	case *Tuple:
		r.enter()
		defer r.leave()
		var b strings.Builder
		for _, item := range v.Items {
			h, ok := r.tryHash(item)
			if !ok {
				return hash{}, false
			}
			r.grow(int64(len(h.text)) + 8)
			b.WriteByte(h.kind)
			b.WriteString(strconv.Itoa(len(h.text)))
			b.WriteByte(':')
			b.WriteString(h.text)
		}
		return hash{'t', b.String()}, true
	}
	return hash{}, false
}
