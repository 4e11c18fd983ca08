package app

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// A test is one line of bench: its sizes, then its samples.
type test struct {
	batch, ubatch, threads, depth int
	prompt, gen                   int
	time                          time.Time
	samples                       []time.Duration
	trace                         *engine.Trace // taken with --ops
}

// name is what the column "test" shows: pp512, tg128, pp512+tg128, "pp512 @ d4096".
func (t *test) name() string {
	var s string
	switch {
	case t.gen == 0:
		s = fmt.Sprintf("pp%d", t.prompt)
	case t.prompt == 0:
		s = fmt.Sprintf("tg%d", t.gen)
	default:
		s = fmt.Sprintf("pp%d+tg%d", t.prompt, t.gen)
	}
	if t.depth > 0 {
		s += fmt.Sprintf(" @ d%d", t.depth)
	}
	return s
}

// rates are the tokens per second of each sample.
func (t *test) rates() []float64 {
	ts := make([]float64, len(t.samples))
	for i, d := range t.samples {
		ts[i] = float64(t.prompt+t.gen) / max(d.Seconds(), 1e-9)
	}
	return ts
}

func (t *test) nanos() []float64 {
	ns := make([]float64, len(t.samples))
	for i, d := range t.samples {
		ns[i] = float64(d.Nanoseconds())
	}
	return ns
}

// meanStd returns the mean and the sample standard deviation.
func meanStd(xs []float64) (mean, std float64) {
	for _, x := range xs {
		mean += x
	}
	mean /= float64(len(xs))
	if len(xs) < 2 {
		return mean, 0
	}
	for _, x := range xs {
		std += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(std / float64(len(xs)-1))
}

// tests lists the combinations of the command line in llama-bench's order.
func (a *app) tests() ([]*test, error) {
	or := func(list []int, def int) []int {
		if len(list) == 0 {
			return []int{def}
		}
		return list
	}
	var all []*test
	for _, b := range or(a.set.Ints("batch-size"), a.Info.NumBatch) {
		for _, ub := range or(a.set.Ints("ubatch-size"), a.Info.NumUbatch) {
			for _, nt := range or(a.set.Ints("threads"), a.defaultThreads()) {
				for _, d := range a.set.Ints("n-depth") {
					add := func(p, n int) {
						if p > 0 || n > 0 {
							all = append(all, &test{batch: b, ubatch: min(ub, b), threads: nt, depth: d, prompt: p, gen: n})
						}
					}
					for _, p := range a.set.Ints("n-prompt") {
						add(p, 0)
					}
					for _, n := range a.set.Ints("n-gen") {
						add(0, n)
					}
					for _, pg := range a.set.Pairs("pg") {
						add(pg[0], pg[1])
					}
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Usage, "nothing to measure: -p N, -n N or -pg P,N")
	}
	for _, t := range all {
		if n := t.depth + t.prompt + t.gen; n > a.Info.NumCtx {
			return nil, fault.New(fault.Usage, "%s takes %d tokens of context, this binary was compiled for %d: recompile: %s -c %d",
				t.name(), n, a.Info.NumCtx, a.Info.Recompile, n)
		}
	}
	return all, nil
}

func (a *app) defaultThreads() int {
	if n := a.Info.DefaultThreads; n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// bench measures tokens per second, as llama-bench does.
func (a *app) bench() error {
	tests, err := a.tests()
	if err != nil {
		return err
	}
	if a.set.Bool("ops") {
		return a.benchOps(tests)
	}
	var tables []table
	for _, w := range []struct {
		flag string
		to   table
	}{{"output", table{w: a.out}}, {"output-err", table{w: a.Stderr}}} {
		if f := formats[a.set.String(w.flag)]; f != nil {
			w.to.format = f
			tables = append(tables, w.to)
		}
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	m := a.machine(tests)
	for i := range tables {
		tables[i].format.head(&tables[i], m)
	}
	b := newBencher(a)
	for i, t := range tests {
		if err := b.measure(a.ctx, t, fmt.Sprintf("benchmark %d/%d", i+1, len(tests))); err != nil {
			return err
		}
		for i := range tables {
			tables[i].format.test(&tables[i], m, t)
		}
	}
	for i := range tables {
		tables[i].format.foot(&tables[i], m)
	}
	return nil
}

// A bencher runs tests with random tokens.
type bencher struct {
	a   *app
	rng *rand.Rand
	row []float32

	deep engine.State // after the context of the last test that had one
}

func newBencher(a *app) *bencher {
	return &bencher{a: a, rng: rand.New(rand.NewPCG(1, 2)), row: make([]float32, a.Info.NumVocab)}
}

func (b *bencher) measure(ctx context.Context, t *test, title string) error {
	a := b.a
	say := func(what string, args ...any) {
		if a.set.Bool("progress") {
			fmt.Fprintf(a.Stderr, "%s: %s: %s\n", a.Name, title, fmt.Sprintf(what, args...))
		}
	}
	if d := a.set.Int("delay"); d > 0 {
		select {
		case <-time.After(time.Duration(d) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.r.SetThreads(a.workers(t.threads), a.workers(t.threads))
	a.r.SetUbatch(t.ubatch)
	t.time = time.Now().UTC()
	if a.set.Bool("warmup") {
		a.r.Settle()
		say("warmup %s", t.name())
		b.start(t)
		if err := b.prompt(ctx, t.batch, t.prompt); err != nil {
			return err
		}
		if err := b.gen(ctx, min(t.gen, 1)); err != nil {
			return err
		}
	}
	for i := range a.set.Int("repetitions") {
		if !b.start(t) {
			say("depth %d", t.depth)
			if err := b.prompt(ctx, t.batch, t.depth); err != nil {
				return err
			}
			a.r.Save(0, &b.deep)
		}
		say("%s, run %d/%d", t.name(), i+1, a.set.Int("repetitions"))
		if t.trace != nil {
			a.r.SetTrace(t.trace)
		}
		start := time.Now()
		if err := b.prompt(ctx, t.batch, t.prompt); err != nil {
			return err
		}
		if err := b.gen(ctx, t.gen); err != nil {
			return err
		}
		t.samples = append(t.samples, time.Since(start))
		a.r.SetTrace(nil)
	}
	return nil
}

// start takes the sequence to the depth of t, if it has been there already;
// otherwise it is empty and start reports whether that is where t begins.
func (b *bencher) start(t *test) bool {
	if t.depth > 0 && t.depth == b.deep.Len {
		b.a.r.Restore(0, &b.deep)
		return true
	}
	b.deep.Len = 0 // its cells will be overwritten
	b.a.r.Reset(0)
	return t.depth == 0
}

func (b *bencher) token() int32 { return int32(b.rng.IntN(b.a.Info.NumVocab)) }

func (b *bencher) prompt(ctx context.Context, batch, n int) error {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = b.token()
	}
	if n > 0 && b.a.tok.AddBOS && b.a.tok.BOS >= 0 {
		tokens[0] = b.a.tok.BOS
	}
	return evalPrompt(ctx, b.a.r, tokens, batch, b.row)
}

func (b *bencher) gen(ctx context.Context, n int) error {
	for range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := b.a.r.Decode(0, b.token()); err != nil {
			return err
		}
	}
	return nil
}

// A machine is what all tests of a run have in common.
type machine struct {
	a     *app
	cpu   string
	tests []*test
}

func (a *app) machine(tests []*test) *machine {
	return &machine{a: a, cpu: cpuName(), tests: tests}
}

// differs reports whether a size is worth a column: the tests differ in it, or it is not llama-bench's default.
func (m *machine) differs(of func(*test) int, def int) bool {
	for _, t := range m.tests {
		if of(t) != def {
			return true
		}
	}
	return false
}

// modelType is llama-bench's name of the model: architecture and file type.
func (m *machine) modelType() string {
	return strings.TrimSpace(m.a.Info.Arch + " " + m.a.Info.FileType)
}
