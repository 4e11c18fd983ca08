package passes

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qnc/ir"
)

// TestPlanMemoryRandom: Verify replays the plan, with no idea of lifetimes.
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
		if again, err := ir.Parse(m.String()); err != nil || again.String() != m.String() {
			t.Fatalf("seed %d: the plan does not survive its text: %v", seed, err)
		}
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
		if err := m.Verify(); err != nil {
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
