package app

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"qnc/runtime/fault"
	"qnc/runtime/kld"
)

// perplexity measures a text, or the distance to the predictions of another model.
func (a *app) perplexity() error {
	base := a.set.String("kl-divergence-base")
	if a.set.Bool("kl-divergence") {
		if base == "" {
			return fault.New(fault.Usage, "--kl-divergence: needs the logits file: --kl-divergence-base FILE")
		}
		return a.klDivergence(base)
	}
	text, err := a.textOrStdin("perplexity -f FILE")
	if err != nil {
		return err
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	tokens := a.tok.EncodePrompt(text, false)
	c := a.window()
	if c < 4 {
		return fault.New(fault.Usage, "%s %d: a window has at least 4 tokens", a.set.Said("ctx-size"), c)
	}
	if len(tokens) < 2*c {
		return fault.New(fault.Failure, "the text has %d tokens, but a window of %d needs at least %d: use a longer text or a smaller -c", len(tokens), c, 2*c)
	}
	h := &kld.Header{NumCtx: c, NumVocab: a.Info.NumVocab, NumChunk: len(tokens) / c}
	if n := a.set.Int("chunks"); n >= 0 {
		h.NumChunk = min(h.NumChunk, n)
	}
	if h.NumChunk == 0 {
		return fault.New(fault.Usage, "--chunks 0: nothing to evaluate")
	}
	h.Tokens = tokens[:h.NumChunk*c]

	var out *kld.Writer
	if base != "" {
		if out, err = kld.Create(base, h); err != nil {
			return err
		}
		abort := out.Abort
		a.cleanup.Store(&abort)
		defer out.Abort()
	}
	var sum kld.LossSum
	s := a.newScorer(h)
	var rows []byte
	if out != nil {
		rows = make([]byte, s.step*h.RowBytes())
	}
	print := a.live()
	start := time.Now()
	for i := range h.NumChunk {
		err := s.chunk(a.ctx, i, func(logits []float32, n int, next []int32) error {
			losses := make([]float64, n)
			parallel(n, func(k int) {
				row := logits[k*h.NumVocab:][:h.NumVocab]
				if out == nil {
					losses[k] = kld.Loss(row, next[k])
				} else {
					losses[k] = kld.Encode(rows[k*h.RowBytes():][:h.RowBytes()], row, next[k])
				}
			})
			for _, l := range losses {
				sum.Add(l)
			}
			if out == nil {
				return nil
			}
			_, err := out.Write(rows[:n*h.RowBytes()])
			return err
		})
		if err != nil {
			return err
		}
		a.eta(i, h.NumChunk, start)
		fmt.Fprintf(print, "[%d]%.4f,", i+1, sum.PPL())
	}
	fmt.Fprintln(print)
	if out != nil {
		if err := out.Commit(); err != nil {
			return err
		}
	}
	final, ok := sum.Final()
	if a.set.Bool("json") {
		return a.printJSON([]field{{"ppl", final.Mean}, {"ppl_err", final.Err}, {"n_ctx", c}, {"n_chunk", h.NumChunk}, {"n_tokens", sum.Count()}})
	}
	if !ok {
		return fault.New(fault.Failure, "PPL = %.4f, but the variance of log p is not positive", final.Mean)
	}
	fmt.Fprintf(a.out, "Final estimate: PPL = %.4f +/- %.5f\n", final.Mean, final.Err)
	return nil
}

// window is the number of tokens of a chunk: 512 unless -c says something else, as in llama-perplexity.
func (a *app) window() int {
	if a.set.Has("ctx-size") {
		return a.numCtx()
	}
	return min(512, a.Info.NumCtx)
}

func (a *app) klDivergence(path string) error {
	base, err := kld.Open(path)
	if err != nil {
		return err
	}
	defer base.Close()
	h := &base.Header
	if h.NumVocab != a.Info.NumVocab {
		return fault.New(fault.Model, "%s: its vocabulary has %d tokens, this model's %d: it is of another model", path, h.NumVocab, a.Info.NumVocab)
	}
	if h.NumCtx > a.Info.NumCtx {
		return fault.New(fault.Usage, "%s: its window is %d tokens, this binary was compiled for %d: recompile: %s -c %d", path, h.NumCtx, a.Info.NumCtx, a.Info.Recompile, h.NumCtx)
	}
	numChunk := h.NumChunk
	if n := a.set.Int("chunks"); n >= 0 {
		numChunk = min(numChunk, n)
	}
	if numChunk == 0 {
		return fault.New(fault.Usage, "--chunks 0: nothing to evaluate")
	}
	if err := a.openTokenizer(); err != nil {
		return err
	}
	var stats kld.Stats
	s := a.newScorer(h)
	rows := make([]byte, h.Rows()*h.RowBytes())
	print := a.live()
	start := time.Now()
	for i := range numChunk {
		if err := base.Chunk(rows); err != nil {
			return err
		}
		done := 0
		err := s.chunk(a.ctx, i, func(logits []float32, n int, next []int32) error {
			cmp := make([]kld.Row, n)
			parallel(n, func(k int) {
				cmp[k] = kld.Compare(rows[(done+k)*h.RowBytes():][:h.RowBytes()], logits[k*h.NumVocab:][:h.NumVocab], next[k])
			})
			done += n
			for _, r := range cmp {
				stats.Add(r)
			}
			return nil
		})
		if err != nil {
			return err
		}
		a.eta(i, numChunk, start)
		if i == 0 {
			fmt.Fprintf(print, "\n%s\n", kld.ChunkHead)
		}
		fmt.Fprintln(print, stats.ChunkLine(i+1))
	}
	fmt.Fprintln(print)
	if a.set.Bool("json") {
		var fields []field
		for _, l := range stats.Summary() {
			fields = append(fields, field{l.Key, l.Value.Mean})
			if l.HasErr {
				fields = append(fields, field{l.Key + "_err", l.Value.Err})
			}
		}
		return a.printJSON(append(fields, field{"n_ctx", h.NumCtx}, field{"n_chunk", numChunk}, field{"n_tokens", stats.Count()}))
	}
	if stats.Count() < kld.MinCount {
		fmt.Fprintf(a.Stderr, "%s: %d rows are too few for statistics, they start at %d\n", a.Name, stats.Count(), kld.MinCount)
		return nil
	}
	stats.Print(a.out)
	return nil
}

// live is where a line for each chunk goes: with --json not among the results.
func (a *app) live() io.Writer {
	if a.set.Bool("json") {
		return a.Stderr
	}
	return a.out
}

// eta says after the first chunk how long the rest takes.
func (a *app) eta(i, n int, start time.Time) {
	if i != 0 || !a.ErrTerm && !a.set.Bool("verbose") {
		return
	}
	per := time.Since(start)
	fmt.Fprintf(a.Stderr, "%.2f seconds a window, about %.2f minutes in all\n", per.Seconds(), per.Minutes()*float64(n))
}

// A scorer evaluates chunks and hands out the logits of their second halves.
type scorer struct {
	a      *app
	h      *kld.Header
	step   int       // tokens of one step
	logits []float32 // step rows
}

func (a *app) newScorer(h *kld.Header) *scorer {
	step := min(a.ubatch(), h.NumCtx)
	return &scorer{a: a, h: h, step: step, logits: make([]float32, step*h.NumVocab)}
}

// chunk evaluates chunk i from an empty sequence. visit gets n rows of logits
// at a time and the tokens that came after them.
func (s *scorer) chunk(ctx context.Context, i int, visit func(logits []float32, n int, next []int32) error) error {
	a, h := s.a, s.h
	tokens := h.Tokens[i*h.NumCtx:][:h.NumCtx]
	in := tokens
	if a.tok.AddBOS && a.tok.BOS >= 0 {
		in = append([]int32{a.tok.BOS}, tokens[1:]...)
	}
	a.r.Reset(0)
	rows := make([]int, 0, s.step)
	batch := a.batch()
	for at := 0; at < len(in); {
		// A step never crosses the end of a batch, as in llama.cpp.
		n := min(s.step, len(in)-at, batch-at%batch)
		rows = rows[:0]
		from := max(at, h.First())
		for r := from; r < min(at+n, h.NumCtx-1); r++ {
			rows = append(rows, r-at)
		}
		out := s.logits[:len(rows)*h.NumVocab]
		if err := a.r.Prompt(ctx, 0, in[at:at+n], rows, out); err != nil {
			return err
		}
		if len(rows) > 0 {
			if err := visit(out, len(rows), tokens[from+1:]); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}

// parallel calls fn for 0 … n-1 on all processors.
func parallel(n int, fn func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				fn(i)
			}
		})
	}
	wg.Wait()
}
