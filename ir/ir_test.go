package ir

import (
	"os"
	"strings"
	"testing"
)

// docExample returns the module in the package comment.
func docExample(t testing.TB) string {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	in := false
	for line := range strings.Lines(string(src)) {
		line, code := strings.CutPrefix(line, "//\t")
		if strings.HasPrefix(line, "module ") {
			in = true
		}
		if in && code {
			b.WriteString(line)
		} else if in && line == "//\n" {
			b.WriteString("\n")
		} else if in {
			break
		}
	}
	return strings.TrimSpace(b.String()) + "\n"
}

func TestDocExample(t *testing.T) {
	src := docExample(t)
	m, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(); err != nil {
		t.Error(err)
	}
	if got := m.String(); got != src {
		t.Errorf("the example is not in printed form; have\n%s\nwant\n%s", src, got)
	}
	if got := m.Clone().String(); got != src {
		t.Errorf("clone differs:\n%s", got)
	}
}

func TestOpTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Ops() {
		i := o.Info()
		if i.Name == "" || i.Doc == "" || i.Infer == nil || i.Args == "" || seen[i.Name] {
			t.Errorf("op %d: incomplete or repeated row %+v", o, i)
		}
		seen[i.Name] = true
		for _, a := range i.Attrs {
			if a.Doc == "" {
				t.Errorf("%s: attribute %s has no doc", i.Name, a.Name)
			}
		}
	}
}

func TestDims(t *testing.T) {
	s := Sizes{"T": 130, "C": 7}
	for _, c := range []struct {
		text string
		want int
	}{{"5", 5}, {"T", 130}, {"T+3", 133}, {"T-1", 129}, {"4*T", 520}, {"ceildiv(T,64)", 3}, {"64*ceildiv(T,64)", 192}, {"2*C+1", 15}, {"ceildiv(T,64)+1", 4}} {
		d, err := parseDim(c.text)
		if err != nil || d.String() != c.text || d.At(s) != c.want {
			t.Errorf("%s: have %s = %d, %v, want %d", c.text, d, d.At(s), err, c.want)
		}
	}
	for _, bad := range []string{"", "X", "T+0", "T+", "1*T", "0*T", "*T", "T+T", "ceildiv(T)", "ceildiv(T,1)", "-1", "01", "99999999999999999999", "ceildiv(T,64", "T +1"} {
		if d, err := parseDim(bad); err == nil {
			t.Errorf("%q parses as %s", bad, d)
		}
	}
}

// TestVerify gives one line of a function and the fault that Verify must name.
func TestVerify(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"%y = rms_norm %x {epsilon=1} : f32[T,8]", `unknown attribute "epsilon", want one of ["eps"]`},
		{"%y = rms_norm %x : f32[T,8]", "attribute eps is missing"},
		{"%y = rms_norm %x {eps=nan} : f32[T,8]", "not finite"},
		{"%y = rms_norm %x {eps=1} : f32[T,4]", "type is f32[T,4], want f32[T,8]"},
		{"%y = add %x, %h : f32[T,8]", "extents 8 and 2 differ: broadcast is from extent 1; a grouped repeat needs map"},
		{"%y = add %x, @s : f32[T,8]", "argument @s is state: read it with load first"},
		{"%y = add %x : f32[T,8]", "1 arguments, want 2: x y"},
		{"%y = repeat %h {axis=1 n=4} : f32[T,8]", "a grouped repeat needs map"},
		{"%y = reshape %x {shape=T,4} : f32[T,4]", "the number of elements differs"},
		{"%y = slice %x {axis=1 start=4 len=5} : f32[T,5]", "outside axis 1"},
		{"%y = slice %x {axis=0 start=0 len=T+1} : f32[T+1,8]", "outside axis 0"},
		{"%y = permute %x {perm=0,0} : f32[T,8]", "no permutation"},
		{"%y = matmul %x, %h : f32[T,T]", "inner extents differ"},
		{"%y = top_k %x {k=9} : i32[T,9]", "k=9 is outside"},
		{"%y = part %x {i=0} : f32[T,8]", "has no member"},
	} {
		src := "module m level=graph {\n\tstate @s : f32[S,8]\n}\n\nfunc f(%x: f32[T,8], %h: f32[T,2]) {\n" + c.line + "\n\treturn %y\n}\n"
		m, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if err := m.Verify(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\nhave %v\nwant %s", c.line, err, c.want)
		}
	}
}

// TestProduct: equal for all values of the symbols, and too large is never equal.
func TestProduct(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "1", true},
		{"6,T", "T,2,3", true},
		{"2*T,3", "6*T", true},
		{"64*ceildiv(T,64)", "ceildiv(T,64),64", true},
		{"T+1,2", "2,T+1", true},
		{"T", "C", false},
		{"0,T", "T,0", true},
		{"1099511627776,1099511627776,3", "1099511627776,1099511627776,7", false},
		{"1099511627776,16777216", "16777216,1099511627776", false},
		{"1099511627776,8192", "8192,1099511627776", true},
	} {
		a, err := parseDims(c.a)
		b, err2 := parseDims(c.b)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if have := ProductOf(a...).Equal(ProductOf(b...)); have != c.want {
			t.Errorf("[%s] and [%s]: equal %v", c.a, c.b, have)
		}
	}
}

// TestVerifySizes: no size wraps around to one that fits.
func TestVerifySizes(t *testing.T) {
	const n = "1099511627776"
	for _, c := range []struct{ decl, params, line, want string }{
		{"", "%x: f32[" + n + "," + n + ",3]", "%y = reshape %x {shape=" + n + "," + n + ",7} : f32[" + n + "," + n + ",7]", "the number of elements differs"},
		{"", "%x: f32[" + n + "]", "%y = repeat %x {axis=0 n=" + n + " map=tiled} : f32[0]", "times as long"},
		{"weight @w : f32[" + n + "," + n + ",16777216,8] from=a rows=0:0:0:0", "%x: f32[8]", "%y = exp %x : f32[8]", "but its rows= name 0 rows"},
		{"weight @w : f32[1,8] from=a rows=0:" + n + ":" + n + ":0,0:1:1:1", "%x: f32[8]", "%y = exp %x : f32[8]", "its rows= name more than"},
		{"weight @w : f32[2,3,8] from=a rows=0:4:1:0", "%x: f32[8]", "%y = exp %x : f32[8]", "but its rows= name 4 rows"},
		{"bound C 64\nstate @s : f32[S,32,8]", "%x: i32[T]", "%y = load_rows @s, %x : f32[C,8]", "C is at most 64, but @s has 32 cells: lower the bound"},
	} {
		m, err := Parse("module m level=graph {\n" + strings.ReplaceAll(c.decl, `\n`, "\n") + "\n}\n\nfunc f(" + c.params + ") {\n" + c.line + "\nreturn %y\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\nhave %v\nwant %s", c.line, err, c.want)
		}
	}
	if have := CeilDiv("T", 2).Times(1 << 40).At(Sizes{"T": 1 << 40}); have != MaxBytes {
		t.Errorf("an extent wraps to %d", have)
	}
}

// TestParseNesting: a tuple does not nest, and no depth costs more than its text.
func TestParseNesting(t *testing.T) {
	deep := strings.Repeat("(", 200_000)
	for _, typ := range []string{deep, deep + strings.Repeat(")", 200_000), "((f32[1]), f32[1])", "(none)", "(f32[1]"} {
		src := "module m {\n}\nfunc f(%x: f32[1]) {\n%y = exp %x : " + typ + "\nreturn %y\n}\n"
		if _, err := Parse(src); err == nil || !strings.Contains(err.Error(), "line 4: bad type") || len(err.Error()) > 300 {
			t.Errorf("%.20s…: have %.300v", typ, err)
		}
	}
}

// TestVerifyReportsAll: one run names every fault.
func TestVerifyReportsAll(t *testing.T) {
	m, err := Parse("module m level=graph {\n}\nfunc f(%x: f32[T,8]) {\n%y = rms_norm %x : f32[T,8]\n%z = add %y, %x : f32[T,4]\nreturn %z\n}")
	if err != nil {
		t.Fatal(err)
	}
	err = m.Verify()
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("have %v, want two faults", err)
	}
}

func TestSweepKeepsWrites(t *testing.T) {
	m, err := Parse(docExample(t))
	if err != nil {
		t.Fatal(err)
	}
	f := m.Func("decode")
	before := len(f.Body)
	if n := f.Sweep(); n != 0 || len(f.Body) != before {
		t.Errorf("sweep removed %d values of\n%s", n, f)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(docExample(f))
	f.Add("module machine {\n\tdevice cpu mem=24GiB\n}\n")
	f.Add("module m level=placed {\n\tdevice cuda:0 mem=16GiB\n\tdevice cpu\n\tlink cpu cuda:0 25GB/s\n\tweight @a : q4_K[64,256]<rows> from=b rows=0:4:16:8 @cpu\n}\n\nfunc f(%x: f32[T,8]) {\np0 @cpu:\n\t%y = topk_moe %x {k=2 norm=1 min=1e-5 scale=1} : (f32[T,2], i32[T,2])\n\t%z = part %y {i=1} : i32[T,2] at 64\n\treturn %z\n}\n")
	f.Fuzz(func(t *testing.T, src string) {
		m, err := Parse(src)
		if err != nil {
			return
		}
		_ = m.Verify()
		again, err := Parse(m.String())
		if err != nil {
			t.Fatalf("printed form does not parse: %v\n%s", err, m)
		}
		if again.String() != m.String() {
			t.Fatalf("not stable:\n%s\n%s", m, again)
		}
	})
}
