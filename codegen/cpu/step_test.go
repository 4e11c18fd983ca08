package cpu

import (
	"strings"
	"testing"

	"qnc/ir"
)

// TestBarriers: a step waits for all threads exactly where a call touches what
// another has touched since they last met, as the plan has laid it out.
func TestBarriers(t *testing.T) {
	const head = `module barriers level=graph {
	bound T 4
	bound S 1
	bound C 8
	weight @table : f32[9,8]
	weight @w : f32[8]
	state @k : f32[S,8,2,4]
}

func prefill(%tok: i32[T], %pos: i32[T], %seq: i32[T], %rows: i32[R]) {
`
	const ids = `	%a = get_rows @table, %tok : f32[T,8] at 0
	%b = get_rows @table, %pos : f32[T,8] at 128
`
	for _, c := range []struct{ name, body, want string }{
		{"nothing is shared", "\treturn %a, %b", "getRows getRows"},
		{"a read of what was written", "\t%c = silu %a : f32[T,8] at 256\n\treturn %b, %c", "getRows getRows | silu"},
		{"a read of a slice of it", "\t%s = slice %a {axis=1 start=4 len=4} : f32[T,4]\n\t%c = silu %s : f32[T,4] at 256\n\treturn %b, %c", "getRows getRows | silu"},
		{"two reads", "\t%c = silu %a : f32[T,8] at 256\n\t%d = exp %a : f32[T,8] at 384\n\treturn %b, %c, %d", "getRows getRows | silu exp"},
		{"a write over what was written", "\t%c = get_rows @table, %tok : f32[T,8] at 64\n\treturn %c", "getRows getRows | getRows"},
		{"a write over what was read", "\t%c = silu %a : f32[T,8] at 256\n\t%d = get_rows @table, %tok : f32[T,8] at 0\n\treturn %b, %c, %d", "getRows getRows | silu | getRows"},
		{"cells that are stored and attended to", `	%q = reshape %a {shape=T,2,4} : f32[T,2,4]
	%x = reshape %b {shape=T,2,4} : f32[T,2,4]
	store_rows @k, %x, %pos, %seq
	%l = load_rows @k, %seq : f32[C,2,4]
	%o = attention %q, %l, %l, %pos {scale=1} : f32[T,2,4] at 256
	return %o`, "getRows getRows | storeRows | attention"},
	} {
		if got := calls(t, head+ids+c.body+"\n}\n"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDealt: values of one token are dealt to the threads. Nobody waits between kernels that deal
// them alike, and what need not wait goes first.
func TestDealt(t *testing.T) {
	const head = `module dealt level=graph {
	bound S 1
	weight @table : f32[9,128]
	weight @row : f32[128]
}

func decode(%tok: i32[1], %pos: i32[1], %seq: i32[1], %rows: i32[R]) {
	%a = get_rows @table, %tok : f32[1,128] at 0
	%b = get_rows @table, %pos : f32[1,128] at 512
	%c = silu %a : f32[1,128] at 1024
`
	for _, c := range []struct{ name, body, want string }{
		{"alike", "\t%d = exp %c : f32[1,128] at 1536\n\treturn %b, %d", "getRows getRows | silu exp"},
		{"in place", "\t%d = exp %c : f32[1,128] at 1024\n\treturn %b, %d", "getRows getRows | silu exp"},
		{"a norm reads all and writes its part", "\t%n = norm %c, @row {eps=1 out=f32} : f32[1,128] at 1536\n\t%d = exp %n : f32[1,128] at 2048\n\treturn %b, %d", "getRows getRows | silu | norm exp"},
		{"a norm over what it reads", "\t%n = norm %c, @row {eps=1 out=f32} : f32[1,128] at 1280\n\t%d = exp %n : f32[1,128] at 2048\n\treturn %b, %d", "getRows getRows | silu | norm | exp"},
		{"a part of it", "\t%s = slice %c {axis=1 start=0 len=64} : f32[1,64]\n\t%d = exp %s : f32[1,64] at 1536\n\treturn %b, %d", "getRows getRows | silu | exp"},
		{"as heads", "\t%r = reshape %c {shape=1,4,32} : f32[1,4,32]\n\t%d = exp %r : f32[1,4,32] at 1536\n\treturn %b, %d", "getRows getRows | silu exp"},
		{"over part of it", "\t%d = exp %b : f32[1,128] at 1280\n\treturn %d", "getRows getRows | silu | exp"},
		{"one that need not wait", "\t%n = norm %c, @row {eps=1 out=f32} : f32[1,128] at 1536\n\t%d = exp %b : f32[1,128] at 2048\n\treturn %n, %d", "getRows getRows | silu exp | norm"},
		{"one that must not go first", "\t%n = norm %c, @row {eps=1 out=f32} : f32[1,128] at 1536\n\t%d = exp %b : f32[1,128] at 1536\n\treturn %d", "getRows getRows | silu | norm exp"},
	} {
		if got := calls(t, head+c.body+"\n}\n"); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// calls are the kernels and the barriers of the only function of a module.
func calls(t *testing.T, module string) string {
	t.Helper()
	m, err := ir.Parse(module)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := translate(m, false)
	if err != nil {
		t.Fatal(err)
	}
	body, err := p.step(m.Funcs[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := render("main", body)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), "(")
		switch {
		case strings.HasPrefix(name, "th.Barrier"):
			calls = append(calls, "|")
		case ok && strings.HasPrefix(rest, "th"):
			name, _, _ = strings.Cut(name, "_")
			calls = append(calls, strings.TrimSuffix(strings.TrimSuffix(name, "F32"), "F32"))
		}
	}
	return strings.Join(calls, " ")
}

// TestNoKernel: what the CPU cannot run is refused with the value and the reason, by CanRun and by Emit.
func TestNoKernel(t *testing.T) {
	const head = `module refused level=graph {
	bound T 4
	weight @table : f32[9,8]
	weight @wide : i32[4,256]
	weight @inputs : f32[9,256]
}

func prefill(%tok: i32[T], %pos: i32[T], %seq: i32[T], %rows: i32[R]) {
	%a = get_rows @table, %tok : f32[T,8] at 0
	%i = get_rows @inputs, %tok : f32[T,256] at 1024
`
	for _, c := range []struct{ name, value, want string }{
		{"an op without a kernel", "%x = cumsum %a : f32[T,8] at 9000", "no kernel for cumsum"},
		{"a type without a kernel", "%x = matmul %i, @wide : f32[T,4] at 9000", "weight @wide has type i32, for which there is no kernel"},
		{"rows of a transposed value", "%p = reshape %a {shape=T,2,4} : f32[T,2,4]\n%q = permute %p {perm=0,2,1} : f32[T,4,2]\n%x = rms_norm %q {eps=1} : f32[T,4,2] at 9000", "not contiguous"},
	} {
		m, err := ir.Parse(head + c.value + "\n\treturn %x\n}\n")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body := m.Funcs[0].Body
		if err := CanRun(body[len(body)-1]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: CanRun: %v, want %q", c.name, err, c.want)
		}
		if _, err := Emit(m, "main", "portable"); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "%x") {
			t.Errorf("%s: Emit: %v, want %q of %%x", c.name, err, c.want)
		}
		if err := CanRun(body[0]); err != nil {
			t.Errorf("CanRun refuses %s: %v", body[0].LongString(), err)
		}
	}
}
