package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Dim is one extent: Mul*ceildiv(Sym,Div) + Add, or just Add when Sym is empty.
type Dim struct {
	Sym      string // "", "T", "R", "S", "C"
	Div      int    // 1 but for ceildiv(Sym,Div)
	Mul, Add int
}

// Num returns the static extent n.
func Num(n int) Dim { return Dim{Add: n} }

// Sym returns the symbolic extent s.
func Sym(s string) Dim { return Dim{Sym: s, Div: 1, Mul: 1} }

// CeilDiv returns the symbolic extent ceildiv(s,div).
func CeilDiv(s string, div int) Dim { return Dim{Sym: s, Div: div, Mul: 1} }

// Static returns the extent when it is a number.
func (d Dim) Static() (int, bool) { return d.Add, d.Sym == "" }

// Is reports whether d is the number n.
func (d Dim) Is(n int) bool { return d.Sym == "" && d.Add == n }

// Plus returns d+n, Times returns d*n.
func (d Dim) Plus(n int) Dim { d.Add += n; return d }
func (d Dim) Times(n int) Dim {
	d.Mul *= n
	d.Add *= n
	if d.Mul == 0 {
		d.Sym, d.Div = "", 0
	}
	return d
}

// Sizes gives symbols their values.
type Sizes map[string]int

// At returns the extent under s, at most MaxBytes.
func (d Dim) At(s Sizes) int {
	if d.Sym == "" {
		return d.Add
	}
	n := (s[d.Sym] + d.Div - 1) / d.Div
	if n > 0 && d.Mul > MaxBytes/n {
		return MaxBytes
	}
	return d.Mul*n + d.Add
}

func (d Dim) String() string {
	if d.Sym == "" {
		return strconv.Itoa(d.Add)
	}
	s := d.Sym
	if d.Div != 1 {
		s = fmt.Sprintf("ceildiv(%s,%d)", s, d.Div)
	}
	if d.Mul != 1 {
		s = fmt.Sprintf("%d*%s", d.Mul, s)
	}
	if d.Add != 0 {
		s = fmt.Sprintf("%s%+d", s, d.Add)
	}
	return s
}

// symbols lists the names that a Dim may use.
var symbols = []string{"T", "R", "S", "C"}

// maxExtent bounds every number in a dim, so that products of a shape cannot overflow unnoticed.
const maxExtent = 1 << 40

func parseDim(s string) (Dim, error) {
	bad := fmt.Errorf("bad dim %.80q: want a number, T, R, S or C, ceildiv(T,64), 2*T or T+3", s)
	num := func(s string, lo int) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= lo && n <= maxExtent && strconv.Itoa(n) == s
	}
	if n, ok := num(s, 0); ok {
		return Num(n), nil
	}
	d := Dim{Div: 1, Mul: 1}
	rest := s
	if i := strings.IndexByte(rest, '*'); i > 0 {
		n, ok := num(rest[:i], 2)
		if !ok {
			return d, bad
		}
		d.Mul, rest = n, rest[i+1:]
	}
	if i := strings.LastIndexAny(rest, "+-"); i > 0 && !strings.Contains(rest[i:], ")") {
		n, ok := num(strings.TrimPrefix(rest[i:], "+"), -maxExtent)
		if !ok || n == 0 {
			return d, bad
		}
		d.Add, rest = n, rest[:i]
	}
	if in, ok := strings.CutPrefix(rest, "ceildiv("); ok {
		in, ok = strings.CutSuffix(in, ")")
		sym, div, ok2 := strings.Cut(in, ",")
		n, ok3 := num(div, 2)
		if !ok || !ok2 || !ok3 {
			return d, bad
		}
		d.Div, rest = n, sym
	}
	if !slices.Contains(symbols, rest) {
		return d, bad
	}
	d.Sym = rest
	return d, nil
}

// A Product is a product of extents: a number and symbolic factors, sorted. One
// whose number is too large is equal to nothing, not even to itself.
type Product struct {
	n    int // negative when it is too large
	syms []string
}

// maxProduct bounds the number of a Product: more elements than any memory holds.
const maxProduct = 1 << 53

// ProductOf returns the product of dims; of none it is 1.
func ProductOf(dims ...Dim) Product {
	p := Product{n: 1}
	for _, d := range dims {
		p = p.Times(d)
	}
	return p
}

// Times returns p times d.
func (p Product) Times(d Dim) Product {
	n := d.Add
	if d.Sym != "" {
		n = 1
		if d.Add == 0 {
			n, d.Mul = d.Mul, 1
		}
		p.syms = append(slices.Clone(p.syms), d.String())
		slices.Sort(p.syms)
	}
	if p.n < 0 || n < 0 || n != 0 && p.n > maxProduct/n {
		return Product{n: -1}
	}
	p.n *= n
	return p
}

// Equal reports whether p and q are the same number whatever the symbols are.
func (p Product) Equal(q Product) bool { return p.n >= 0 && p.n == q.n && slices.Equal(p.syms, q.syms) }
