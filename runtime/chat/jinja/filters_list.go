package jinja

import (
	"sort"
	"strconv"
	"strings"
)

// listFilters are the filters over lists, mappings and other things that can be walked.
func listFilters() map[string]builtin {
	return map[string]builtin{
		"length": {call: func(r *run, self Value, _ []Value) Value {
			if s, ok := str(self); ok {
				r.letters(s)
			}
			n, ok := length(self)
			if l, isLoop := self.(*Loop); isLoop {
				n, ok = l.length(), true
			}
			if !ok {
				r.fail("object of type '%s' has no len()", typeName(self))
			}
			return int64(n)
		}},
		"list": {call: func(r *run, self Value, _ []Value) Value {
			items := r.items(self)
			r.growItems(len(items))
			return &List{append([]Value(nil), items...)}
		}},
		"first": {call: func(r *run, self Value, _ []Value) Value {
			if s, ok := str(self); ok && s != "" {
				return runeAt(s, 0)
			}
			if it, ok := self.(*Iter); ok && len(it.items) > 0 {
				v := it.items[0]
				it.items = it.items[1:]
				return v
			}
			if items := r.items(self); len(items) > 0 {
				return items[0]
			}
			return &Undefined{"No first item, sequence was empty."}
		}},
		"last": {call: func(r *run, self Value, _ []Value) Value {
			if _, ok := self.(*Iter); ok {
				r.fail("'%s' object is not reversible", typeName(self))
			}
			if items := r.items(self); len(items) > 0 {
				return items[len(items)-1]
			}
			return &Undefined{"No last item, sequence was empty."}
		}},
		"join": {params: "d? attribute?", call: func(r *run, self Value, a []Value) Value {
			sep := ""
			if a[0] != nil {
				sep = r.text(a[0])
			}
			b := &buffer{run: r}
			for i, item := range r.items(self) {
				if i > 0 {
					b.put(sep)
				}
				r.step(1)
				if !isNone(a[1]) {
					item = r.path(item, a[1])
				}
				b.put(r.text(item))
			}
			return b.String()
		}},
		"items": {call: func(r *run, self Value, _ []Value) Value {
			switch m := self.(type) {
			case *Undefined:
				return &Iter{kind: "generator"}
			case *Map:
				r.growItems(3 * m.Len())
				return &Iter{m.pairs(), "generator"}
			}
			r.fail("Can only get item pairs from a mapping.")
			return nil
		}},
		"dictsort": {params: "case_sensitive? by? reverse?", call: func(r *run, self Value, a []Value) Value {
			m, ok := self.(*Map)
			if !ok {
				r.useless(self)
				r.fail("'%s' object has no attribute 'items'", typeName(self))
			}
			pos, ok := map[string]int{"key": 0, "value": 1}[r.strArg(a[1], "key")]
			if !ok {
				r.fail("you can only sort by either 'key' or 'value'")
			}
			r.growItems(3 * m.Len())
			return &List{r.sorted(m.pairs(), boolArg(a[2], false), func(v Value) Value {
				return r.fold(v.(*Tuple).Items[pos], boolArg(a[0], false))
			})}
		}},
		"sort": {params: "reverse? case_sensitive? attribute?", call: func(r *run, self Value, a []Value) Value {
			return &List{r.sorted(r.items(self), boolArg(a[0], false), func(v Value) Value {
				return r.sortKey(v, a[2], boolArg(a[1], false))
			})}
		}},
		"unique": {params: "case_sensitive? attribute?", call: func(r *run, self Value, a []Value) Value {
			seen := map[hash]bool{}
			var out []Value
			for _, v := range r.items(self) {
				h := r.hash(r.sortKey(v, a[1], boolArg(a[0], false)))
				r.growItems(2)
				if !seen[h] {
					seen[h] = true
					out = append(out, v)
				}
			}
			return &Iter{out, "generator"}
		}},
		"min": extreme(-1),
		"max": extreme(1),
		"reverse": {call: func(r *run, self Value, _ []Value) Value {
			if s, ok := str(self); ok {
				r.growItems(len(s))
				runes := []rune(s)
				for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
					runes[i], runes[j] = runes[j], runes[i]
				}
				return string(runes)
			}
			return &Iter{r.reversed(r.items(self)), "list_reverseiterator"}
		}},
		"sum": {params: "attribute? start?", call: func(r *run, self Value, a []Value) Value {
			total := a[1]
			if total == nil {
				total = int64(0)
			}
			for _, v := range r.items(self) {
				if !isNone(a[0]) {
					v = r.path(v, a[0])
				}
				r.step(1)
				total = r.binary("+", total, v)
			}
			return total
		}},
		"batch": {params: "linecount fill_with?", call: func(r *run, self Value, a []Value) Value {
			n := int(min(r.intArg(a[0], 1), 1<<31))
			var out []Value
			items := r.items(self)
			for n > 0 && len(items) > 0 {
				k := min(n, len(items))
				row := append([]Value(nil), items[:k]...)
				if !isNone(a[1]) {
					r.growTimes(32, int64(n-k))
					for len(row) < n {
						row = append(row, a[1])
					}
				}
				r.growItems(k + 1)
				out = append(out, &List{row})
				items = items[k:]
			}
			return &Iter{out, "generator"}
		}},
		"slice": {params: "slices fill_with?", call: func(r *run, self Value, a []Value) Value {
			items := r.items(self)
			n := r.intArg(a[0], 1)
			if n < 1 {
				r.fail("a number of slices below 1")
			}
			r.growTimes(64, n)
			r.growItems(len(items))
			each, extra := len(items)/int(n), len(items)%int(n)
			var out []Value
			for i, from := 0, 0; i < int(n); i++ {
				to := from + each
				if i < extra {
					to++
				}
				row := append([]Value(nil), items[from:to]...)
				if !isNone(a[1]) && i >= extra && extra > 0 {
					row = append(row, a[1])
				}
				out = append(out, &List{row})
				from = to
			}
			return &Iter{out, "generator"}
		}},
		"groupby":    {params: "attribute default? case_sensitive?", call: groupBy},
		"map":        {raw: mapFilter},
		"select":     chosen(false, true),
		"reject":     chosen(false, false),
		"selectattr": chosen(true, true),
		"rejectattr": chosen(true, false),
	}
}

// path follows an attribute like "function.name" or "calls.0".
func (r *run) path(v, attr Value) Value {
	if s, ok := str(attr); ok {
		r.scan(len(s))
		for _, part := range strings.Split(s, ".") {
			r.step(1)
			if i, err := strconv.ParseInt(part, 10, 64); err == nil {
				v = r.getitem(v, i)
			} else {
				v = r.getitem(v, part)
			}
		}
		return v
	}
	return r.getitem(v, attr)
}

// fold makes text small, for orders that do not look at case.
func (r *run) fold(v Value, caseSensitive bool) Value {
	if s, ok := str(v); ok && !caseSensitive {
		r.grow(3 * int64(len(s)))
		return lower(s)
	}
	return v
}

// sortKey is what a list is ordered by: items, or the attributes that a comma separated list names.
func (r *run) sortKey(v, attr Value, caseSensitive bool) Value {
	s, ok := attr.(string)
	switch {
	case isNone(attr):
		return r.fold(v, caseSensitive)
	case !ok || !strings.Contains(s, ","):
		return r.fold(r.path(v, attr), caseSensitive)
	}
	t := &Tuple{}
	for _, part := range strings.Split(s, ",") {
		r.growItems(1)
		t.Items = append(t.Items, r.fold(r.path(v, part), caseSensitive))
	}
	return t
}

func (r *run) reversed(items []Value) []Value {
	r.growItems(len(items))
	out := make([]Value, len(items))
	for i, v := range items {
		out[len(items)-1-i] = v
	}
	return out
}

// sorted is stable; reverse keeps equal items in their order, as Python does.
func (r *run) sorted(items []Value, reverse bool, key func(Value) Value) []Value {
	type pair struct{ key, val Value }
	r.growItems(3 * len(items))
	pairs := make([]pair, len(items))
	for i, v := range items {
		pairs[i] = pair{key(v), v}
	}
	sort.SliceStable(pairs, func(i, j int) bool {
		if reverse {
			return r.order(pairs[j].key, pairs[i].key, "<") == -1
		}
		return r.order(pairs[i].key, pairs[j].key, "<") == -1
	})
	out := make([]Value, len(items))
	for i := range pairs {
		out[i] = pairs[i].val
	}
	return out
}

// extreme makes min and max: the first item that comes before or after all others.
func extreme(sign int) builtin {
	return builtin{params: "case_sensitive? attribute?", call: func(r *run, self Value, a []Value) Value {
		var best, bestKey Value
		for _, v := range r.items(self) {
			key := r.sortKey(v, a[1], boolArg(a[0], false))
			if best == nil || r.order(key, bestKey, "<") == sign {
				best, bestKey = v, key
			}
		}
		if best == nil {
			return &Undefined{"No aggregated item, sequence was empty."}
		}
		return best
	}}
}

func groupBy(r *run, self Value, a []Value) Value {
	attr := func(v Value) Value {
		got := r.path(v, a[0])
		if _, ok := got.(*Undefined); ok && a[1] != nil {
			return a[1]
		}
		return got
	}
	caseSensitive := boolArg(a[2], false)
	items := r.sorted(r.items(self), false, func(v Value) Value { return r.fold(attr(v), caseSensitive) })
	out := &List{}
	for i := 0; i < len(items); {
		key := attr(items[i])
		j := i + 1
		for j < len(items) && r.equal(r.fold(attr(items[j]), caseSensitive), r.fold(key, caseSensitive)) {
			j++
		}
		r.growItems(j - i + 3)
		out.Items = append(out.Items, &Tuple{[]Value{key, &List{append([]Value(nil), items[i:j]...)}}})
		i = j
	}
	return out
}

// some is what map and select walk: nothing for anything false, None included.
func (r *run) some(v Value) []Value {
	if !truth(v) {
		return nil
	}
	return r.items(v)
}

// mapFilter is map("filter", args…) and map(attribute="name", default=value).
func mapFilter(r *run, self Value, a args) Value {
	var f func(v Value) Value
	if len(a.pos) == 0 {
		b := r.bind("map", "attribute default?", a)
		f = func(v Value) Value {
			got := r.path(v, b[0])
			if _, ok := got.(*Undefined); ok && b[1] != nil {
				return b[1]
			}
			return got
		}
	} else {
		name := r.strArg(a.pos[0], "")
		filter, ok := filters[name]
		if !ok {
			r.fail("no filter named '%s'", name)
		}
		rest := args{a.pos[1:], a.kw}
		f = func(v Value) Value { return filter.invoke(r, name, v, rest) }
	}
	items := r.some(self)
	r.growItems(len(items))
	r.enter()
	defer r.leave()
	out := make([]Value, len(items))
	for i, v := range items {
		out[i] = f(v)
	}
	return &Iter{out, "generator"}
}

// chosen makes select, reject and the two that look at an attribute.
func chosen(attr, want bool) builtin {
	return builtin{raw: func(r *run, self Value, a args) Value {
		of := func(v Value) Value { return v }
		if attr {
			if len(a.pos) == 0 {
				r.fail("the name of an attribute is missing")
			}
			name := a.pos[0]
			a.pos = a.pos[1:]
			of = func(v Value) Value { return r.path(v, name) }
		}
		ok := truth
		if len(a.pos) > 0 {
			name := r.strArg(a.pos[0], "")
			rest := args{a.pos[1:], a.kw}
			ok = func(v Value) bool { return r.test(name, v, rest) }
		}
		var out []Value
		for _, v := range r.some(self) {
			r.step(1)
			if ok(of(v)) == want {
				r.growItems(1)
				out = append(out, v)
			}
		}
		return &Iter{out, "generator"}
	}}
}
