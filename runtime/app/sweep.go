package app

import (
	"context"
	"fmt"
	"time"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
)

// A sweep is what the rows of one table of sweep-bench have in common.
type sweep struct {
	ctx, batch, ubatch, threads int
	prompt, gen                 int // tokens measured at each length
	reps, stride                int
}

// A sweepRow has the times of a prompt and of generating, both behind kv tokens of context.
type sweepRow struct {
	kv          int
	prompt, gen []time.Duration
}

// A sweepFormat prints a table for each number of threads.
type sweepFormat struct {
	head func(*app, *sweep)
	row  func(*app, *sweep, *sweepRow)
}

// sweepFormats are the values of sweep-bench's -o.
var sweepFormats = map[string]sweepFormat{
	"md":    {sweepHead, sweepLine},
	"jsonl": {func(*app, *sweep) {}, sweepJSON},
}

// sweepBench measures generation and prompts at each length of a growing context,
// by the protocol of ik_llama.cpp's program of that name.
func (a *app) sweepBench() error {
	s := &sweep{ctx: a.numCtx(), batch: a.batch(), ubatch: a.ubatch(), reps: a.set.Int("n-repetitions"), stride: a.set.Int("sweep-stride")}
	s.prompt, s.gen = s.ubatch, a.set.Int("n-predict")
	if s.gen == 0 {
		s.gen = max(1, s.ubatch/4)
	}
	if need := max(s.prompt, s.gen); need > s.ctx {
		return fault.New(fault.Usage, "a row takes %d tokens, the context has %d: lower -ub and -n, or %s", need, s.ctx, a.longer(need, need))
	}
	threads := a.set.Ints("threads")
	if len(threads) == 0 {
		threads = []int{a.defaultThreads()}
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	format := sweepFormats[a.set.String("output-format")]
	b := newBencher(a)
	for _, s.threads = range threads {
		format.head(a, s)
		if err := b.sweep(a.ctx, s, func(r *sweepRow) { format.row(a, s, r) }); err != nil {
			return err
		}
	}
	return nil
}

// sweep measures one row after the other. At each length it generates first and
// takes that back, then the prompt makes the context longer.
func (b *bencher) sweep(ctx context.Context, s *sweep, emit func(*sweepRow)) error {
	r := b.a.r
	r.SetThreads(b.a.workers(s.threads), b.a.workers(s.threads))
	r.SetUbatch(s.ubatch)
	r.Reset(0)
	if b.a.set.Bool("warmup") {
		r.Settle()
		if err := b.prompt(ctx, s.batch, s.prompt); err != nil {
			return err
		}
		if s.prompt < s.ctx {
			if err := b.gen(ctx, 1); err != nil {
				return err
			}
		}
		r.Reset(0)
	}
	var start engine.State
	for i, kv := 0, 0; kv+max(s.prompt, s.gen) <= s.ctx; i, kv = i+1, kv+s.prompt {
		if i%s.stride != 0 {
			if err := b.prompt(ctx, s.batch, s.prompt); err != nil {
				return err
			}
			continue
		}
		row := &sweepRow{kv: kv}
		r.Save(0, &start)
		var err error
		if row.gen, err = b.repeat(s.reps, &start, func() error { return b.gen(ctx, s.gen) }); err != nil {
			return err
		}
		if row.prompt, err = b.repeat(s.reps, &start, func() error { return b.prompt(ctx, s.batch, s.prompt) }); err != nil {
			return err
		}
		emit(row)
	}
	return nil
}

// repeat times f n times, each from the state start.
func (b *bencher) repeat(n int, start *engine.State, f func() error) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		b.a.r.Restore(0, start)
		begin := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		times[i] = time.Since(begin)
	}
	return times, nil
}

// sweepStats returns the mean seconds of the times, and the tokens per second
// of that mean with the standard deviation of the runs.
func sweepStats(tokens int, times []time.Duration) (seconds, rate, spread float64) {
	each, rates := make([]float64, len(times)), make([]float64, len(times))
	for i, d := range times {
		each[i] = max(d.Seconds(), 1e-9)
		rates[i] = float64(tokens) / each[i]
	}
	seconds, _ = meanStd(each)
	_, spread = meanStd(rates)
	return seconds, float64(tokens) / seconds, spread
}

func sweepHead(a *app, s *sweep) {
	fmt.Fprintf(a.out, "\nsweep-bench: n_kv_max = %d, n_batch = %d, n_ubatch = %d, flash_attn = 1, n_gpu_layers = 0, n_threads = %d, n_threads_batch = %d\n\n",
		s.ctx, s.batch, s.ubatch, s.threads, s.threads)
	names, rule := "|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |", "|-------|--------|--------|----------|----------|----------|----------|"
	if s.reps > 1 {
		names, rule = names+"   ± PP |   ± TG |", rule+"--------|--------|"
	}
	fmt.Fprintf(a.out, "%s\n%s\n", names, rule)
}

func sweepLine(a *app, s *sweep, r *sweepRow) {
	tPP, sPP, dPP := sweepStats(s.prompt, r.prompt)
	tTG, sTG, dTG := sweepStats(s.gen, r.gen)
	fmt.Fprintf(a.out, "|%6d | %6d | %6d | %8.3f | %8.2f | %8.3f | %8.2f |", s.prompt, s.gen, r.kv, tPP, sPP, tTG, sTG)
	if s.reps > 1 {
		fmt.Fprintf(a.out, " %6.2f | %6.2f |", dPP, dTG)
	}
	fmt.Fprintln(a.out)
}

func sweepJSON(a *app, s *sweep, r *sweepRow) {
	tPP, sPP, dPP := sweepStats(s.prompt, r.prompt)
	tTG, sTG, dTG := sweepStats(s.gen, r.gen)
	fmt.Fprintf(a.out, `{"n_kv_max": %d, "n_batch": %d, "n_ubatch": %d, "flash_attn": 1, "n_gpu_layers": 0, "n_threads": %d, "n_threads_batch": %d, `+
		`"pp": %d, "tg": %d, "n_kv": %d, "t_pp": %f, "speed_pp": %f, "t_tg": %f, "speed_tg": %f`,
		s.ctx, s.batch, s.ubatch, s.threads, s.threads, s.prompt, s.gen, r.kv, tPP, sPP, tTG, sTG)
	if s.reps > 1 {
		fmt.Fprintf(a.out, `, "n_rep": %d, "stddev_pp": %f, "stddev_tg": %f`, s.reps, dPP, dTG)
	}
	fmt.Fprint(a.out, " }\n")
}
