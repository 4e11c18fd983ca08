package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// maxBits bounds integers: Python refuses to print longer ones too (4300 digits).
const maxBits = 14284

// integer returns b as an int64 where it fits.
func (r *run) integer(b *big.Int) Value {
	if b.IsInt64() {
		return b.Int64()
	}
	if b.BitLen() > maxBits {
		r.fail("an integer of more than %d bits", maxBits)
	}
	r.grow(int64(b.BitLen() / 8))
	return b
}

// operator is a row of the table of binary operators: what it does to integers and to floats.
// A nil result of ints says that floats must do it.
type operator struct {
	ints   func(r *run, a, b *big.Int) Value
	floats func(r *run, a, b float64) Value
}

var arithmetic map[string]operator

func init() {
	arithmetic = map[string]operator{
		"+": {
			func(r *run, a, b *big.Int) Value { return r.integer(new(big.Int).Add(a, b)) },
			func(_ *run, a, b float64) Value { return a + b },
		},
		"-": {
			func(r *run, a, b *big.Int) Value { return r.integer(new(big.Int).Sub(a, b)) },
			func(_ *run, a, b float64) Value { return a - b },
		},
		"*": {
			func(r *run, a, b *big.Int) Value { return r.integer(new(big.Int).Mul(a, b)) },
			func(_ *run, a, b float64) Value { return a * b },
		},
		"/": {
			func(r *run, a, b *big.Int) Value {
				r.nonzero(b.Sign() == 0, "division by zero")
				f, _ := new(big.Rat).SetFrac(a, b).Float64()
				return f
			},
			func(r *run, a, b float64) Value {
				r.nonzero(b == 0, "float division by zero")
				return a / b
			},
		},
		"//": {
			func(r *run, a, b *big.Int) Value {
				q, _ := r.floorDiv(a, b)
				return r.integer(q)
			},
			func(r *run, a, b float64) Value {
				r.nonzero(b == 0, "float floor division by zero")
				return math.Floor((a - floatMod(a, b)) / b)
			},
		},
		"%": {
			func(r *run, a, b *big.Int) Value {
				_, m := r.floorDiv(a, b)
				return r.integer(m)
			},
			func(r *run, a, b float64) Value {
				r.nonzero(b == 0, "float modulo")
				return floatMod(a, b)
			},
		},
		"**": {
			func(r *run, a, b *big.Int) Value {
				if b.Sign() < 0 {
					return nil
				}
				if a.BitLen() <= 1 && a.Sign() >= 0 {
					if b.Sign() == 0 {
						return int64(1)
					}
					return r.integer(a)
				}
				if !b.IsInt64() || b.Int64() > maxBits || int64(a.BitLen()-1)*b.Int64() > maxBits {
					r.fail("an integer of more than %d bits", maxBits)
				}
				return r.integer(new(big.Int).Exp(a, b, nil))
			},
			func(r *run, a, b float64) Value {
				r.nonzero(a == 0 && b < 0, "0.0 cannot be raised to a negative power")
				if a < 0 && b != math.Trunc(b) {
					r.fail("a negative number cannot be raised to a fraction")
				}
				return math.Pow(a, b)
			},
		},
	}
}

func (r *run) nonzero(zero bool, msg string) {
	if zero {
		r.fail("%s", msg)
	}
}

// floorDiv rounds towards minus infinity, as Python does.
func (r *run) floorDiv(a, b *big.Int) (q, m *big.Int) {
	r.nonzero(b.Sign() == 0, "integer division or modulo by zero")
	q, m = new(big.Int).QuoRem(a, b, new(big.Int))
	if m.Sign() != 0 && m.Sign() != b.Sign() {
		q.Sub(q, big.NewInt(1))
		m.Add(m, b)
	}
	return q, m
}

func floatMod(a, b float64) float64 {
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// binary applies an arithmetic operator, which for strings and lists may be + * or %.
func (r *run) binary(op string, a, b Value) Value {
	if x, ok := a.(int64); ok && (op == "+" || op == "-") {
		if y, ok := b.(int64); ok && x > -1<<62 && x < 1<<62 && y > -1<<62 && y < 1<<62 {
			if op == "+" {
				return x + y
			}
			return x - y
		}
	}
	row := arithmetic[op]
	if x, ok := toBig(a); ok {
		if y, ok := toBig(b); ok {
			if v := row.ints(r, x, y); v != nil {
				return v
			}
		}
	}
	if x, ok := toFloat(a); ok {
		if y, ok := toFloat(b); ok {
			return row.floats(r, x, y)
		}
	}
	switch op {
	case "+":
		if v := r.concat(a, b); v != nil {
			return v
		}
	case "*":
		if v := r.repeat(a, b); v != nil {
			return v
		}
		if v := r.repeat(b, a); v != nil {
			return v
		}
	case "%":
		if s, ok := a.(string); ok {
			return r.percent(s, b, nil)
		}
		if s, ok := a.(Markup); ok {
			return Markup(r.percent(string(s), b, escapeHTML))
		}
	}
	r.useless(a, b)
	if _, ok := str(a); ok && op == "+" {
		r.fail("can only concatenate str (not \"%s\") to str", typeName(b))
	}
	r.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	return nil
}

// concat is + of two strings, lists or tuples; nil for anything else.
func (r *run) concat(a, b Value) Value {
	if x, ok := str(a); ok {
		y, ok := str(b)
		if !ok {
			return nil
		}
		_, ma := a.(Markup)
		_, mb := b.(Markup)
		if (ma || mb) && !ma {
			r.grow(6 * int64(len(x)))
			x = escapeHTML(x)
		}
		if (ma || mb) && !mb {
			r.grow(6 * int64(len(y)))
			y = escapeHTML(y)
		}
		r.grow(int64(len(x)) + int64(len(y)))
		if ma || mb {
			return Markup(x + y)
		}
		return x + y
	}
	xs, ok := sequence(a)
	ys, ok2 := sequence(b)
	if !ok || !ok2 || typeName(a) != typeName(b) {
		return nil
	}
	r.growItems(len(xs) + len(ys))
	all := append(append(make([]Value, 0, len(xs)+len(ys)), xs...), ys...)
	if _, ok := a.(*List); ok {
		return &List{all}
	}
	return &Tuple{all}
}

// repeat is * of a string, list or tuple with an integer; nil for anything else.
func (r *run) repeat(v, count Value) Value {
	n, ok := toInt(count)
	if !ok {
		return nil
	}
	n = max(n, 0)
	if s, ok := str(v); ok {
		r.growTimes(len(s), n)
		s = strings.Repeat(s, int(n))
		if _, ok := v.(Markup); ok {
			return Markup(s)
		}
		return s
	}
	items, ok := sequence(v)
	if !ok {
		return nil
	}
	r.growTimes(32*len(items), n)
	var out []Value
	for ; n > 0 && len(items) > 0; n-- {
		r.step(len(items))
		out = append(out, items...)
	}
	if _, ok := v.(*List); ok {
		return &List{out}
	}
	return &Tuple{out}
}

// growTimes counts n copies of size bytes.
func (r *run) growTimes(size int, n int64) {
	if size > 0 && n > r.lim.Memory/int64(size) {
		r.fail("the template makes more than %d bytes of values", r.lim.Memory)
	}
	r.grow(int64(size) * n)
}

// negative is unary minus; a bool becomes an integer.
func (r *run) negative(v Value) Value {
	if f, ok := v.(float64); ok {
		return -f
	}
	if i, ok := toBig(v); ok {
		return r.integer(new(big.Int).Neg(i))
	}
	r.useless(v)
	r.fail("bad operand type for unary -: '%s'", typeName(v))
	return nil
}

// parseInt reads an integer as Python's int(s, base) does.
func (r *run) parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	if len(s) > maxBits/3 {
		return nil, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return nil, false
	}
	if len(digits) > 2 && digits[0] == '0' {
		if p := map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]|0x20]; p != 0 && (base == p || base == 0) {
			base, digits = p, digits[2:]
		}
	}
	if base == 0 {
		base = 10
	}
	if base < 2 || base > 36 {
		return nil, false
	}
	b, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok {
		return nil, false
	}
	if s[0] == '-' {
		b.Neg(b)
	}
	return r.integer(b), true
}

// parseFloat reads a number as Python's float(s) does.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// floatToInt is Python's int(f).
func (r *run) floatToInt(f float64) (Value, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	b, _ := big.NewFloat(f).Int(nil)
	return r.integer(b), true
}
