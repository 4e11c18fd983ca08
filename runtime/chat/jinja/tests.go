package jinja

import (
	"math/big"
	"unicode"
)

// tests is the table of what may follow "is".
var tests map[string]builtin

// isA makes a row of a test without arguments.
func isA(ok func(v Value) bool) builtin {
	return builtin{call: func(_ *run, self Value, _ []Value) Value { return ok(self) }}
}

func ofType[T any](v Value) bool {
	_, ok := v.(T)
	return ok
}

func isInteger(v Value) bool { return ofType[int64](v) || ofType[*big.Int](v) }

func isString(v Value) bool {
	_, ok := str(v)
	return ok
}

func isWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }

// compared makes a row of a test that is a comparing operator.
func compared(op string) builtin {
	return builtin{params: "other", call: func(r *run, self Value, a []Value) Value {
		return comparisons[op](r, self, a[0])
	}}
}

// remainder makes a row of a test on self % n.
func remainder(params string, of func(a []Value) Value, want int64) builtin {
	return builtin{params: params, call: func(r *run, self Value, a []Value) Value {
		return r.equal(r.binary("%", self, of(a)), want)
	}}
}

func init() {
	two := func([]Value) Value { return int64(2) }
	tests = map[string]builtin{
		"defined":   isA(func(v Value) bool { return !ofType[*Undefined](v) }),
		"undefined": isA(ofType[*Undefined]),
		"none":      isA(ofType[None]),
		"boolean":   isA(ofType[bool]),
		"true":      isA(func(v Value) bool { return v == true }),
		"false":     isA(func(v Value) bool { return v == false }),
		"integer":   isA(isInteger),
		"float":     isA(ofType[float64]),
		"number":    isA(func(v Value) bool { return isInteger(v) || ofType[float64](v) || ofType[bool](v) }),
		"string":    isA(isString),
		"mapping":   isA(ofType[*Map]),
		"iterable":  isA(isWalkable),
		"sequence":  isA(func(v Value) bool { return hasLength(v) && !ofType[*View](v) }),
		"callable": isA(func(v Value) bool {
			return ofType[*Func](v) || ofType[*Macro](v) || ofType[*Loop](v) || ofType[*Undefined](v)
		}),
		"escaped":     isA(ofType[Markup]),
		"lower":       {call: func(r *run, self Value, _ []Value) Value { return strMethods["islower"].call(r, r.text(self), nil) }},
		"upper":       {call: func(r *run, self Value, _ []Value) Value { return strMethods["isupper"].call(r, r.text(self), nil) }},
		"odd":         remainder("", two, 1),
		"even":        remainder("", two, 0),
		"divisibleby": remainder("num", func(a []Value) Value { return a[0] }, 0),
		"in":          compared("in"),
		"sameas":      {params: "other", call: func(r *run, self Value, a []Value) Value { return same(self, a[0]) }},
		"filter":      isA(func(v Value) bool { s, ok := str(v); _, known := filters[s]; return ok && known }),
		"test":        isA(func(v Value) bool { s, ok := str(v); _, known := tests[s]; return ok && known }),
	}
	for op, names := range map[string][]string{
		"==": {"eq", "equalto"}, "!=": {"ne"}, "<": {"lt", "lessthan"}, "<=": {"le"}, ">": {"gt", "greaterthan"}, ">=": {"ge"},
	} {
		tests[op] = compared(op)
		for _, name := range names {
			tests[name] = compared(op)
		}
	}
}

// same is Python's "is" as far as a template can rely on it: one object, or equal constants of one type.
func same(a, b Value) bool {
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	return a == b
}
