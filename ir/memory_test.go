package ir

import (
	"fmt"
	"strings"
	"testing"
)

// TestVerifyArena gives the body of a planned function and the fault that Verify must name.
func TestVerifyArena(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"%a = exp %x : f32[T,16] at 0\n%b = exp %x : f32[T,16] at 192\n%y = matmul %a, %b : f32[T,T] at 512",
			`argument %a is overwritten by "%b = exp %x : f32[T,16] at 192": give one of them another place`},
		{"%a = exp %x : f32[T,16] at 0\n%b = exp %x : f32[T,16] at 256\n%y = matmul %a, %b : f32[T,T] at 512", ""},
		{"%a = exp %x : f32[T,16] at 0\n%b = exp %x : f32[T,16] at 256\n%y = matmul %a, %b : f32[T,T] at 0", `argument %a is overwritten by "%y = matmul`},
		// An elementwise op may take the place of an operand that it reads in order and nobody reads later.
		{"%a = exp %x : f32[T,16] at 0\n%y = exp %a : f32[T,16] at 0", ""},
		{"%a = exp %x : f32[T,16] at 0\n%v = reshape %a {shape=16,T} : f32[16,T]\n%y = exp %v : f32[16,T] at 0", ""},
		{"%a = exp %x : f32[T,16] at 0\n%v = permute %a {perm=1,0} : f32[16,T]\n%y = exp %v : f32[16,T] at 0", "argument %v is overwritten by"},
		{"%a = sum %x {axis=0} : f32[1,16] at 0\n%y = add %x, %a : f32[T,16] at 0", "argument %a is overwritten by"},
		{"%a = exp %x : f32[T,16] at 0\n%b = exp %a : f32[T,16] at 0\n%y = add %a, %b : f32[T,16] at 256", "argument %a is overwritten by"},
		{"%a = exp %x : f32[T,16] at 0\n%y = rms_norm %a {eps=1} : f32[T,16] at 0", "argument %a is overwritten by"},
		// A view keeps alive what it shows.
		{"%a = exp %x : f32[T,16] at 0\n%v = slice %a {axis=1 start=0 len=8} : f32[T,8]\n%b = exp %x : f32[T,16] at 0\n%y = exp %v : f32[T,8] at 256", "argument %v is overwritten by"},
		{"%a = exp %x : f32[T,16] at 0\n%y = reshape %a {shape=16,T} : f32[16,T]\n%b = exp %x : f32[T,16] at 0", "the result is overwritten by \"%b"},
		// Members of a tuple are written together, once each.
		{"%t = norm %x, @w, %x {eps=1 out=sum,f32} : (f32[T,16], f32[T,16])\n%a = part %t {i=0} : f32[T,16] at 0\n%b = part %t {i=1} : f32[T,16] at 128\n%y = add %a, %b : f32[T,16] at 512", "argument %a is overwritten by \"%b"},
		{"%t = norm %x, @w, %x {eps=1 out=sum,f32} : (f32[T,16], f32[T,16])\n%c = exp %x : f32[T,16] at 0\n%a = part %t {i=0} : f32[T,16] at 0\n%y = add %a, %c : f32[T,16] at 512", "argument %a is overwritten by \"%c"},
		{"%t = norm %x, @w, %x {eps=1 out=sum,f32} : (f32[T,16], f32[T,16])\n%a = part %t {i=0} : f32[T,16] at 0\n%b = part %t {i=0} : f32[T,16] at 256\n%y = add %a, %b : f32[T,16] at 512", "%a is the same member at another place"},
		{"%t = norm %x, @w, %x {eps=1 out=sum,f32} : (f32[T,16], f32[T,16])\n%a = part %t {i=0} : f32[T,16] at 0\n%b = part %t {i=0} : f32[T,16] at 0\n%y = add %a, %b : f32[T,16] at 0", ""},
		// Cells that a view of a cache shows.
		{"%w = load_rows @c, %p : f32[C,16]\nstore_rows @c, %x, %p, %p\n%y = matmul %x, %w : f32[T,C] at 0", "argument %w is overwritten by \"store_rows"},
		{"store_rows @c, %x, %p, %p\n%w = load_rows @c, %p : f32[C,16]\n%y = matmul %x, %w : f32[T,C] at 0", ""},
		// Places by themselves.
		{"%y = exp %x : f32[T,16] at 32", "a place is a multiple of 64"},
		{"%y = exp %x : f32[T,16] at 9223372036854775744", "a place is a multiple of 64 up to"},
		{"%y = exp %x : f32[T,16]", "no place in the arena: run plan-memory"},
		{"%y = matmul %r, %r : f32[R,R] at 0", "R has no bound"},
		{"%a = exp %x : f32[T,16] at 0\n%y = reshape %a {shape=16,T} : f32[16,T] at 0", "it has no memory of its own"},
	} {
		m, err := Parse("module m level=planned {\ndevice cpu\nbound T 4\nbound C 4\nbound S 1\nweight @w : f32[16]\nstate @c : f32[S,4,16]\n}\n\n" +
			"func f(%x: f32[T,16], %p: i32[T], %r: f32[R,16]) {\np0 @cpu:\n" + c.body + "\nreturn %y\n}\n")
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		err = m.Verify()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\nhave %v\nwant %s", c.body, err, c.want)
		}
	}
}

// BenchmarkVerifyArena verifies a function as long as those of a model of 48 layers, many values alive.
func BenchmarkVerifyArena(b *testing.B) {
	var s strings.Builder
	s.WriteString("module m level=planned {\ndevice cpu\nbound T 512\n}\n\nfunc f(%x: f32[T,2048]) {\np0 @cpu:\n")
	const size = 512 * 2048 * 4
	for i := range 2100 {
		arg := "%x"
		if i > 0 {
			arg = fmt.Sprintf("%%v%d", i-1)
		}
		fmt.Fprintf(&s, "%%v%d = rms_norm %s {eps=1} : f32[T,2048] at %d\n", i, arg, i%1000*size)
	}
	s.WriteString("return %v2099\n}\n")
	m, err := Parse(s.String())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := m.Verify(); err != nil {
			b.Fatal(err)
		}
	}
}
