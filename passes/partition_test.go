package passes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/ir"
)

// dag makes a function of n values that read random earlier ones.
func dag(r *rand.Rand, n int) *ir.Func {
	f := &ir.Func{Name: "f"}
	b := ir.NewBuilder(f)
	all := []*ir.Value{b.Param("x", ir.Tensor(ir.F32, ir.Num(4)))}
	for range n {
		from := func() *ir.Value { return all[r.IntN(len(all))] }
		if r.IntN(2) == 0 {
			all = append(all, b.Add("v", ir.OpExp, []*ir.Value{from()}))
		} else {
			all = append(all, b.Add("v", ir.OpAdd, []*ir.Value{from(), from()}))
		}
	}
	f.Results = all[n:]
	return f
}

func machine(names ...ir.Device) ir.Machine {
	var m ir.Machine
	for _, d := range names {
		m.Devices = append(m.Devices, ir.DeviceInfo{Name: d})
	}
	return m
}

// leastRuns finds the fewest runs of any order by trying all sets of values
// that may have run, and all devices of the latest.
func leastRuns(g *graph, devices []ir.DeviceInfo) int {
	n := len(g.can)
	preds := make([]int, n)
	for i, list := range g.succs {
		for _, t := range list {
			preds[t] |= 1 << i
		}
	}
	best := make([]map[ir.Device]int, 1<<n)
	for set := range best {
		best[set] = map[ir.Device]int{}
	}
	best[0][""] = 0
	for set := range best {
		for d, runs := range best[set] {
			for i := range n {
				if set>>i&1 != 0 || preds[i]&^set != 0 {
					continue
				}
				next, cost := set|1<<i, runs
				if g.can[i][0] != d {
					cost++
				}
				if old, ok := best[next][g.can[i][0]]; !ok || cost < old {
					best[next][g.can[i][0]] = cost
				}
			}
		}
	}
	least := n + 1
	for _, d := range devices {
		if runs, ok := best[1<<n-1][d.Name]; ok {
			least = min(least, runs)
		}
	}
	return least
}

func TestPartitionIsMinimal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, names := range [][]ir.Device{{"cpu", "cuda:0"}, {"cpu", "cuda:0", "cuda:1"}} {
		m := &ir.Module{Name: "m", Machine: machine(names...)}
		equal := 0
		const trials = 400
		for range trials {
			f := dag(r, 1+r.IntN(9))
			for _, v := range f.Body {
				v.On = names[r.IntN(len(names))]
			}
			least := leastRuns(dependencies(f), m.Machine.Devices)
			c := Certify(f)
			bound := c.Bound
			checkPath(t, f, c)
			if err := cut(m, f); err != nil {
				t.Fatal(err)
			}
			have := len(f.Parts)
			if have < least || bound > least {
				t.Fatalf("%d parts, %d is the least, bound %d:\n%s", have, least, bound, f)
			}
			if have == least {
				equal++
			}
			if len(names) == 2 && (have != least || bound != least) {
				t.Fatalf("%d parts, %d is the least, bound %d:\n%s", have, least, bound, f)
			}
		}
		if equal < trials*8/10 {
			t.Errorf("%d devices: %d of %d are minimal", len(names), equal, trials)
		}
	}
}

// checkPath: the values of a certificate depend on each other in turn, each on
// another device than the one before, as often as the bound says.
func checkPath(t *testing.T, f *ir.Func, c Certificate) {
	t.Helper()
	on, used := c.Start, map[ir.Device]bool{}
	reach := map[*ir.Value]bool{} // of the value before; all at first
	for _, v := range f.Body {
		used[v.On], reach[v] = true, true
	}
	for _, v := range c.Path {
		if v.On == on || !reach[v] {
			t.Fatalf("%s on %s does not follow on %s in %v:\n%s", v, v.On, on, c.Path, f)
		}
		on, reach = v.On, map[*ir.Value]bool{}
		for _, w := range f.Body {
			reach[w] = slices.ContainsFunc(w.Args, func(a *ir.Value) bool { return a == v || reach[a] })
		}
	}
	if c.Bound != max(len(c.Path)+1, len(used)) {
		t.Fatalf("bound %d, %d devices, path %v", c.Bound, len(used), c.Path)
	}
}

// TestPartitionKeepsMeaning: order, effects and transfers of random functions.
func TestPartitionKeepsMeaning(t *testing.T) {
	pass, err := ByName("partition")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := randomModule(r, 4+r.IntN(40), []ir.Device{"cpu", "cuda:0", "cuda:1"}[:1+r.IntN(3)]...)
		before := m.Clone()
		if err := Run(m, nil, []*Pass{pass}, nil); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, before)
		}
		if err := sameMeaning(pass, before, m); err != nil {
			t.Fatalf("seed %d: %v\nbefore\n%s\nafter\n%s", seed, err, before, m)
		}
		for _, s := range m.State {
			if a, b := accesses(before.Funcs[0], s.Name), accesses(m.Funcs[0], s.Name); !slices.Equal(a, b) {
				t.Fatalf("seed %d: accesses of @%s: %v became %v", seed, s.Name, a, b)
			}
		}
		parts := len(m.Funcs[0].Parts)
		if err := Run(m, nil, []*Pass{pass}, nil); err != nil {
			t.Fatal(err)
		}
		if again := len(m.Funcs[0].Parts); again != parts && len(m.Machine.Devices) < 3 {
			t.Fatalf("seed %d: %d parts, then %d", seed, parts, again)
		}
	}
}

func accesses(f *ir.Func, state string) []string {
	var out []string
	for _, v := range f.Body {
		if v.Effect() != ir.Pure && v.Args[0].Name == state {
			out = append(out, v.Op.String()+v.Name)
		}
	}
	return out
}

// TestPlaceIsMinimal: no assignment of the free values has fewer splits.
func TestPlaceIsMinimal(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	devs := []ir.Device{"cpu", "cuda:0"}
	for range 300 {
		f := dag(r, 1+r.IntN(8))
		m := &ir.Module{Name: "m", Machine: machine(devs...), Funcs: []*ir.Func{f}}
		only := map[*ir.Value]ir.Device{}
		var free []*ir.Value
		for _, v := range f.Body {
			if r.IntN(2) == 0 {
				only[v] = devs[r.IntN(2)]
				v.Attr = ir.Attrs{{Name: "only", Val: string(only[v])}} // CanRun knows no values
			} else {
				free = append(free, v)
			}
		}
		target := &Target{CanRun: func(d ir.Device, v *ir.Value) bool { return v.Attr == nil || v.Attr.Get("only") == string(d) }}
		if err := place(m, target); err != nil {
			t.Fatal(err)
		}
		for v, d := range only {
			if v.On != d {
				t.Fatalf("%s is on %s, only %s runs it", v, v.On, d)
			}
		}
		have := Certify(f).Bound
		least := have
		for set := range 1 << len(free) {
			for i, v := range free {
				v.On = devs[set>>i&1]
			}
			least = min(least, Certify(f).Bound)
		}
		if have > least {
			t.Fatalf("%d splits, %d is the least:\n%s\nfixed %v", have, least, f, only)
		}
	}
}

// TestPlaceCutsCheaply: of two places to cross between devices the one that moves fewer bytes.
func TestPlaceCutsCheaply(t *testing.T) {
	m := parse(t, `module m level=graph {
	device cpu
	device cuda:0
	weight @a : f32[32,32] @cpu
	weight @b : f32[32,32] @cuda:0
}

func f(%x: f32[4096,32]) {
	%p = matmul %x, @a : f32[4096,32]
	%q = exp %p : f32[4096,32]
	%s = sum %q {axis=0} : f32[1,32]
	%r = repeat %s {axis=0 n=4096} : f32[4096,32]
	%t = exp %r : f32[4096,32]
	%y = matmul %t, @b : f32[4096,32]
	return %y
}
`)
	if err := place(m, nil); err != nil {
		t.Fatal(err)
	}
	have := ""
	for _, v := range m.Funcs[0].Body {
		have += fmt.Sprintf("%s %s ", v.Name, v.On)
	}
	if want := "p cpu q cpu s cpu r cuda:0 t cuda:0 y cuda:0 "; have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

func parse(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, err := ir.Parse(src)
	if err == nil {
		err = m.Verify()
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPlaceFaults gives a module's declarations, the ops that a device lacks and the error.
func TestPlaceFaults(t *testing.T) {
	for _, c := range []struct {
		decl  string
		lacks map[ir.Device]ir.Op
		want  string
	}{
		{"device cpu", map[ir.Device]ir.Op{"cpu": ir.OpExp}, `f: no device runs "%y = exp %x : f32[T,8]"`},
		{"device cpu\ndevice gpu", map[ir.Device]ir.Op{"cpu": ir.OpLoad, "gpu": ir.OpStore}, "state @s: no device runs all that uses it: load on [gpu], store on [cpu]"},
		{"device cpu mem=100B", nil, "needs 0.0 MiB (weights 0.0 MiB, state 0.0 MiB, arena 0.0 MiB), cpu has 0.0 MiB: use a smaller -c"},
		{"device cpu\nweight @w : f32[8] @gpu", nil, "@w is on gpu, which is no device of the module: add a device line"},
		{"", nil, `module m has no device: add a line such as "device cpu"`},
	} {
		m := parse(t, "module m level=graph {\n"+c.decl+"\nbound T 4\nbound S 1\nstate @s : f32[S,8]\n}\n\nfunc f(%x: f32[T,8], %seq: i32[T]) {\n"+
			"%y = exp %x : f32[T,8]\n%o = load @s, %seq : f32[8]\nstore @s, %o, %seq\nreturn %y\n}\n")
		target := &Target{CanRun: func(d ir.Device, v *ir.Value) bool { return c.lacks[d] != v.Op }}
		if err := place(m, target); err == nil || err.Error()[:min(len(c.want), len(err.Error()))] != c.want {
			t.Errorf("have %v\nwant %s", err, c.want)
		}
	}
}
