package passes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qnc/ir"
)

// replay runs a planned function with the owner of each arena byte instead of
// data: whoever reads a value must find it whole. It knows nothing of
// lifetimes, so it checks what plan-memory derives them for.
func replay(f *ir.Func, sizes ir.Sizes) error {
	owner := map[ir.Device]map[int64]*ir.Value{}
	// source is the value whose bytes v shows; two parts of one member are one.
	source := func(v *ir.Value) *ir.Value {
		for v.Op.IsView() && v.Op != ir.OpPart {
			v = v.Args[0]
		}
		if v.Op == ir.OpPart {
			for _, w := range f.Body {
				if w.Op == ir.OpPart && w.Args[0] == v.Args[0] && w.Int("i") == v.Int("i") {
					return w
				}
			}
		}
		return v
	}
	each := func(v *ir.Value, do func(at int64)) {
		if v.Mem == ir.NoMem {
			return
		}
		for at := v.Mem / 4; at < (v.Mem+bytesOf(v.Type, sizes)+3)/4; at++ {
			do(at)
		}
	}
	write := func(v *ir.Value) {
		if owner[v.On] == nil {
			owner[v.On] = map[int64]*ir.Value{}
		}
		each(v, func(at int64) { owner[v.On][at] = source(v) })
	}
	read := func(v, by *ir.Value) (err error) {
		s := source(v)
		each(s, func(at int64) {
			if o := owner[s.On][at]; err == nil && o != s {
				err = fmt.Errorf("%q reads %s, but byte %d of %s holds %s", by.LongString(), v, at*4, s.On, o)
			}
		})
		return err
	}
	for _, v := range f.Body {
		if v.Op.IsView() {
			continue
		}
		if v.Mem%arenaAlign != 0 && v.Mem != ir.NoMem {
			return fmt.Errorf("%s is at %d", v, v.Mem)
		}
		for _, a := range v.Args {
			if err := read(a, v); err != nil {
				return err
			}
		}
		write(v)
		for _, p := range f.Body { // an op with a tuple writes its members
			if p.Op == ir.OpPart && p.Args[0] == v {
				write(p)
			}
		}
		for _, a := range v.Args { // what is read in any order survives the writing
			if !strideable(v, a) {
				if err := read(a, v); err != nil {
					return fmt.Errorf("overwritten while it is read: %w", err)
				}
			}
		}
	}
	for _, r := range f.Results {
		if err := read(r, r); err != nil {
			return fmt.Errorf("result: %w", err)
		}
	}
	return nil
}

// strideable reports whether a kernel reads element i of a when it writes
// element i of v, so that they may be one.
func strideable(v, a *ir.Value) bool {
	for b := a; ; b = b.Args[0] {
		if b.Op == ir.OpPermute || b.Op == ir.OpSlice {
			return false
		}
		if b.Op != ir.OpReshape {
			break
		}
	}
	return v.Op.Info().Class == ir.Elemwise && a.Type.Equal(v.Type)
}

func TestPlanMemoryRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		m := randomModule(r, 4+r.IntN(60), []ir.Device{"cpu", "cuda:0", "cuda:1"}[:1+r.IntN(3)]...)
		graph := m.String()
		if err := partition(m, nil); err != nil {
			t.Fatal(err)
		}
		if err := planMemory(m, nil); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, graph)
		}
		if err := m.Verify(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m)
		}
		f, sizes := m.Funcs[0], m.MaxSizes()
		if err := replay(f, sizes); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m)
		}
		if again, err := ir.Parse(m.String()); err != nil || again.String() != m.String() {
			t.Fatalf("seed %d: the plan does not survive its text: %v", seed, err)
		}
	}
}

// TestReplaySees: the checker is no rubber stamp.
func TestReplaySees(t *testing.T) {
	m := parse(t, `module m level=planned {
	device cpu
	bound T 4
}

func f(%x: f32[T,16]) {
p0 @cpu:
	%a = exp %x : f32[T,16] at 0
	%b = exp %x : f32[T,16] at 192
	%c = matmul %a, %b : f32[T,T] at 512
	return %c
}
`)
	f, sizes := m.Funcs[0], m.MaxSizes()
	if err := replay(f, sizes); err == nil || !strings.Contains(err.Error(), "reads %a, but byte 192 of cpu holds %b") {
		t.Errorf("have %v", err)
	}
	f.Body[1].Mem, f.Body[2].Mem = 256, 0
	if err := replay(f, sizes); err == nil || !strings.Contains(err.Error(), "overwritten while it is read") {
		t.Errorf("have %v", err)
	}
	f.Body[2].Mem = 512
	if err := replay(f, sizes); err != nil {
		t.Error(err)
	}
}

// TestPlanMemoryPeak: a chain of elementwise ops needs one place, a chain of
// products two, and a result that nothing follows is not reused.
func TestPlanMemoryPeak(t *testing.T) {
	for _, c := range []struct {
		name, body string
		peak       int64
	}{
		{"in place", "%a = exp %x : f32[T,16]\n%b = exp %a : f32[T,16]\n%c = add %b, %b : f32[T,16]", 256},
		{"through a reshape", "%a = exp %x : f32[T,16]\n%v = reshape %a {shape=16,T} : f32[16,T]\n%b = exp %v : f32[16,T]\n%c = reshape %b {shape=T,16} : f32[T,16]", 256},
		{"not through a permute", "%a = exp %x : f32[T,16]\n%v = permute %a {perm=1,0} : f32[16,T]\n%c = exp %v : f32[16,T]", 512},
		{"not when it lives on", "%a = exp %x : f32[T,16]\n%b = exp %a : f32[T,16]\n%c = add %a, %b : f32[T,16]", 512},
		{"not of another size", "%a = sum %x {axis=1} : f32[T,1]\n%c = add %x, %a : f32[T,16]", 272},
		{"two in turn", "%a = rms_norm %x {eps=1} : f32[T,16]\n%b = rms_norm %a {eps=1} : f32[T,16]\n%c = rms_norm %b {eps=1} : f32[T,16]", 512},
		{"unused member", "%t = norm %x, @w, %x {eps=1 out=sum,f32} : (f32[T,16], f32[T,16])\n%c = part %t {i=1} : f32[T,16]", 256},
	} {
		m := parse(t, "module m level=graph {\ndevice cpu\nbound T 4\nweight @w : f32[16]\n}\n\nfunc f(%x: f32[T,16]) {\n"+c.body+"\nreturn %c\n}\n")
		if err := partition(m, nil); err != nil {
			t.Fatal(err)
		}
		if err := planMemory(m, nil); err != nil {
			t.Fatal(err)
		}
		if err := replay(m.Funcs[0], m.MaxSizes()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if have := ArenaBytes(m, "cpu"); have != c.peak {
			t.Errorf("%s: peak %d, want %d:\n%s", c.name, have, c.peak, m)
		}
	}
}

// TestPlanMemoryPeakIsNear: the peak is close to what is alive at once.
func TestPlanMemoryPeakIsNear(t *testing.T) {
	var peaks, live int64
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		m := randomModule(r, 80, "cpu")
		if err := partition(m, nil); err != nil {
			t.Fatal(err)
		}
		blocks, err := storage(m.Funcs[0], m.MaxSizes())
		if err != nil {
			t.Fatal(err)
		}
		most := int64(0)
		for i := range len(m.Funcs[0].Body) + 1 {
			n := int64(0)
			for _, b := range blocks {
				if b.first <= i && i <= b.last {
					n += alignUp(b.size)
				}
			}
			most = max(most, n)
		}
		if err := planMemory(m, nil); err != nil {
			t.Fatal(err)
		}
		peaks, live = peaks+alignUp(ArenaBytes(m, "cpu")), live+most
	}
	if peaks < live || float64(peaks) > 1.1*float64(live) {
		t.Errorf("peaks sum to %d, what is alive to %d", peaks, live)
	}
}

func TestPlanMemoryFaults(t *testing.T) {
	for _, c := range []struct{ decl, body, want string }{
		{"", "%y = exp %x : f32[T,8]", "T has no bound: add a line such as \"bound T 512\""},
		{"bound T 1000000000000", "%m = matmul %x, %x : f32[T,T]\n%y = matmul %m, %m : f32[T,T]", "which no memory holds under the bounds"},
		{"bound T 4\nbound S 1\nbound C 4\nstate @c : f32[S,4,8]",
			"%w = load_rows @c, %p : f32[C,8]\nstore_rows @c, %x, %p, %p\n%y = matmul %x, %w : f32[T,C]",
			`%w shows the cells of @c that "store_rows @c, %x, %p, %p" then changes: copy it with cont before that`},
	} {
		m := parse(t, "module m level=graph {\ndevice cpu\n"+c.decl+"\n}\n\nfunc f(%x: f32[T,8], %p: i32[T]) {\n"+c.body+"\nreturn %y\n}\n")
		for _, v := range slices.Concat(m.State, m.Funcs[0].Body) {
			v.On = "cpu"
		}
		if err := partition(m, nil); err != nil {
			t.Fatal(err)
		}
		if err := planMemory(m, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("have %v\nwant %s", err, c.want)
		}
	}
	m := parse(t, "module m level=graph {\ndevice cpu\n}\n")
	if err := planMemory(m, nil); err == nil || !strings.Contains(err.Error(), "run partition first") {
		t.Errorf("have %v", err)
	}
}
