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

// At returns the extent under s.
func (d Dim) At(s Sizes) int {
	if d.Sym == "" {
		return d.Add
	}
	return d.Mul*((s[d.Sym]+d.Div-1)/d.Div) + d.Add
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
	bad := fmt.Errorf("bad dim %q: want a number, T, R, S or C, ceildiv(T,64), 2*T or T+3", s)
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

// sameProduct reports whether shapes a and b hold equally many elements whatever the symbols are.
func sameProduct(a, b []Dim) bool {
	pa, ta := product(a)
	pb, tb := product(b)
	return pa == pb && slices.Equal(ta, tb)
}

// product returns the numeric factor of a shape and its symbolic factors, sorted.
func product(dims []Dim) (int, []string) {
	n := 1
	var terms []string
	for _, d := range dims {
		switch {
		case d.Sym == "":
			n = satMul(n, d.Add)
		case d.Add == 0:
			n = satMul(n, d.Mul)
			terms = append(terms, Dim{d.Sym, d.Div, 1, 0}.String())
		default:
			terms = append(terms, "("+d.String()+")")
		}
	}
	slices.Sort(terms)
	return n, terms
}

func satMul(a, b int) int {
	if a != 0 && (b > maxExtent*64/a || b < 0) {
		return -1
	}
	return a * b
}
