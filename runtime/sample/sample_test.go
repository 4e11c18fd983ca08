package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTwister(t *testing.T) {
	// The C++ standard: the 10000th number with the default seed 5489.
	var m mt19937
	m.seed(5489)
	var x uint32
	for range 10000 {
		x = m.uint32()
	}
	if x != 4123659995 {
		t.Errorf("10000th number is %d, want 4123659995", x)
	}
}

func TestGreedy(t *testing.T) {
	nan, ninf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 3, 2}, 1},
		{[]float32{nan, -5, nan}, 1},
		{[]float32{nan, ninf}, -1},
		{nil, -1},
	} {
		p := Default()
		p.Temp = 0
		if got := New(p, len(c.logits)).Sample(c.logits); got != c.want {
			t.Errorf("greedy %v: %d, want %d", c.logits, got, c.want)
		}
		p = Default()
		p.TopK = 1 // the only candidate is the likeliest
		if got := New(p, len(c.logits)).Sample(c.logits); got != c.want {
			t.Errorf("top-k 1 %v: %d, want %d", c.logits, got, c.want)
		}
	}
}

func TestPenalties(t *testing.T) {
	p := Default()
	p.Temp, p.RepeatPenalty, p.RepeatLastN = 0, 2, 2
	s := New(p, 4)
	logits := []float32{4, 3, -1, -1.5}
	step := func(want int32) {
		t.Helper()
		got := s.Sample(logits)
		if got != want {
			t.Errorf("got %d, want %d", got, want)
		}
		s.Accept(got)
	}
	step(0) // 4
	step(1) // 0 is down to 2
	step(0) // 2, 1.5
	step(0) // the window is now 1, 0
	step(1) // the window is 0, 0: 2 < 3
	if want := []float32{4, 3, -1, -1.5}; !slices.Equal(logits, want) {
		t.Errorf("the logits were changed: %v", logits)
	}

	p = Default()
	p.Temp, p.FrequencyPenalty, p.PresencePenalty = 0, 1, 0.5
	s = New(p, 2)
	s.Accept(0)
	s.Accept(0)
	if got := s.Sample([]float32{3, 0.4}); got != 0 { // 3 - 2*1 - 0.5 = 0.5
		t.Errorf("got %d, want 0", got)
	}
	if got := s.Sample([]float32{3, 0.6}); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	s.Reset()
	if got := s.Sample([]float32{3, 0.6}); got != 0 {
		t.Errorf("after Reset: got %d, want 0", got)
	}
}

func TestBan(t *testing.T) {
	p := Default()
	p.Temp, p.Ban = 0, []int32{1, 99}
	if got := New(p, 3).Sample([]float32{1, 9, 2}); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
}

// kept draws often and returns the set of tokens that came.
func kept(p Params, logits []float32) []int32 {
	s := New(p, len(logits))
	seen := map[int32]bool{}
	for range 4000 {
		seen[s.Sample(logits)] = true
	}
	var ids []int32
	for id := range logits {
		if seen[int32(id)] {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

func TestFilters(t *testing.T) {
	ln := func(p float64) float32 { return float32(math.Log(p)) }
	logits := []float32{ln(0.1), ln(0.4), ln(0.05), ln(0.25), ln(0.2)}
	off := Params{Temp: 1, TopP: 1, RepeatPenalty: 1}
	for _, c := range []struct {
		name string
		set  func(*Params)
		want []int32
	}{
		{"off", func(p *Params) {}, []int32{0, 1, 2, 3, 4}},
		{"top-k", func(p *Params) { p.TopK = 2 }, []int32{1, 3}},
		{"top-k all", func(p *Params) { p.TopK = 9 }, []int32{0, 1, 2, 3, 4}},
		{"top-p", func(p *Params) { p.TopP = 0.6 }, []int32{1, 3}},
		{"top-p 0", func(p *Params) { p.TopP = 0 }, []int32{1}},
		{"min-p", func(p *Params) { p.MinP = 0.45 }, []int32{1, 3, 4}},
		{"min-p sorted", func(p *Params) { p.TopK, p.MinP = 9, 0.45 }, []int32{1, 3, 4}},
		// top-p is measured on what top-k left over: 0.4/0.65 reaches 0.6 alone.
		{"top-k, then top-p", func(p *Params) { p.TopK, p.TopP = 2, 0.6 }, []int32{1}},
		// Temperature comes last: it must not change what min-p keeps.
		{"min-p before temperature", func(p *Params) { p.MinP, p.Temp = 0.45, 3 }, []int32{1, 3, 4}},
	} {
		p := off
		c.set(&p)
		if got := kept(p, logits); !slices.Equal(got, c.want) {
			t.Errorf("%s: kept %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTopKEqualsSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		l := make([]float32, 1+r.IntN(300))
		for i := range l {
			l[i] = float32(r.IntN(20)) // many equals
		}
		all := make([]candidate, len(l))
		for i := range l {
			all[i] = candidate{logit: l[i], id: int32(i)}
		}
		slices.SortFunc(all, byLogit)
		p := Default()
		p.TopK = 1 + r.IntN(len(l))
		got, _ := New(p, len(l)).topK(l)
		if !slices.Equal(got, all[:p.TopK]) {
			t.Fatalf("k %d of %v:\n got %v\nwant %v", p.TopK, l, got, all[:p.TopK])
		}
	}
}

func TestDistribution(t *testing.T) {
	logits := []float32{0, float32(math.Log(3))}
	s := New(Params{Temp: 1, TopP: 1, RepeatPenalty: 1, Seed: 7}, 2)
	n, ones := 20000, 0
	for range n {
		ones += int(s.Sample(logits))
	}
	if f := float64(ones) / float64(n); math.Abs(f-0.75) > 0.02 {
		t.Errorf("token 1 came with frequency %.3f, want 0.75", f)
	}
}

func TestSeed(t *testing.T) {
	logits := make([]float32, 50)
	draw := func(s *Sampler) (ids []int32) {
		for range 50 {
			ids = append(ids, s.Sample(logits))
		}
		return ids
	}
	p := Default()
	p.Seed = 42
	s := New(p, len(logits))
	a := draw(s)
	s.Reset()
	if b := draw(s); !slices.Equal(a, b) {
		t.Error("Reset does not repeat the draws")
	}
	p.Seed = 43
	if b := draw(New(p, len(logits))); slices.Equal(a, b) {
		t.Error("another seed gave the same draws")
	}
}

func TestNoAllocation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(r.NormFloat64())
	}
	for name, set := range map[string]func(*Params){
		"default": func(*Params) {},
		"all":     func(p *Params) { p.TopK = 0 },
		"repeat":  func(p *Params) { p.RepeatPenalty = 1.1 },
	} {
		p := Default()
		set(&p)
		s := New(p, len(logits))
		if n := testing.AllocsPerRun(20, func() { s.Accept(s.Sample(logits)) }); n != 0 {
			t.Errorf("%s: %v allocations a token", name, n)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	logits := make([]float32, 151936)
	for i := range logits {
		logits[i] = float32(r.NormFloat64()) * 3
	}
	s := New(Default(), len(logits))
	for b.Loop() {
		s.Sample(logits)
	}
}
