package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/sample"
	"qnc/runtime/tokenizer"
)

// A generator continues sequence 0.
type generator struct {
	r      engine.Runner
	tok    *tokenizer.Tokenizer
	smp    *sample.Sampler
	stream *tokenizer.Stream
	stops  []string
	numCtx int
	batch  int

	text   []byte    // what sequence 0 holds, as text
	logits []float32 // after its last token
	row    []float32 // room for the logits of a prompt

	prompt, eval rate
}

// rate counts tokens and the time that they took.
type rate struct {
	tokens int
	time   time.Duration
}

func (r rate) perSecond() float64 {
	if r.time <= 0 {
		return 0
	}
	return float64(r.tokens) / r.time.Seconds()
}

// newGenerator sets up what the flags of chat and complete say.
func (a *app) newGenerator() *generator {
	p := sample.Params{
		Temp:             float32(a.set.Float("temp")),
		TopK:             a.set.Int("top-k"),
		TopP:             float32(a.set.Float("top-p")),
		MinP:             float32(a.set.Float("min-p")),
		RepeatPenalty:    float32(a.set.Float("repeat-penalty")),
		RepeatLastN:      min(a.set.Int("repeat-last-n"), a.numCtx()),
		PresencePenalty:  float32(a.set.Float("presence-penalty")),
		FrequencyPenalty: float32(a.set.Float("frequency-penalty")),
		Seed:             uint32(a.set.Int("seed")),
	}
	if a.set.Int("seed") < 0 {
		var b [4]byte
		rand.Read(b[:])
		p.Seed = binary.LittleEndian.Uint32(b[:])
	}
	if a.set.Bool("ignore-eos") {
		p.Ban = a.tok.EOG()
	}
	stream := a.tok.NewStream()
	stream.Special = a.set.Bool("special")
	stops := make([]string, 0, len(a.set.Strings("reverse-prompt")))
	for _, s := range a.set.Strings("reverse-prompt") {
		if a.set.Bool("escape") {
			s = unescape(s)
		}
		if s != "" {
			stops = append(stops, s)
		}
	}
	return &generator{
		r: a.r, tok: a.tok, smp: sample.New(p, a.Info.NumVocab), stream: stream, stops: stops,
		numCtx: a.numCtx(), batch: a.batch(), row: make([]float32, a.Info.NumVocab),
	}
}

// reset empties the sequence; the random numbers go on.
func (g *generator) reset() {
	g.r.Reset(0)
	g.smp.Forget()
	g.text, g.logits = g.text[:0], nil
}

// feed appends the tokens of text, which is at least one.
func (g *generator) feed(ctx context.Context, tokens []int32, text string) error {
	start := time.Now()
	if err := evalPrompt(ctx, g.r, tokens, g.batch, g.row); err != nil {
		return err
	}
	g.prompt.time += time.Since(start)
	g.prompt.tokens += len(tokens)
	g.logits = g.row
	g.text = append(g.text, text...)
	for _, id := range tokens {
		g.smp.Accept(id)
	}
	return nil
}

// evalPrompt appends tokens to sequence 0 in batches; out gets the logits of the last one.
func evalPrompt(ctx context.Context, r engine.Runner, tokens []int32, batch int, out []float32) error {
	for len(tokens) > 0 {
		n := min(batch, len(tokens))
		if err := r.Prompt(ctx, 0, tokens[:n], []int{n - 1}, out); err != nil {
			return err
		}
		tokens = tokens[n:]
	}
	return nil
}

// why generation ended
type why uint8

const (
	atEnd   why = iota // an end-of-generation token
	atLimit            // -n
	atStop             // -r
	atFull             // no room in the context
)

// run generates up to limit tokens, without end when limit is negative, and
// hands their text to emit. Cancelling ctx ends it with ctx's error between two tokens.
func (g *generator) run(ctx context.Context, limit int, emit func(string) error) (end why, err error) {
	var tail string
	keep := 0
	for _, s := range g.stops {
		keep = max(keep, len(s)-1)
	}
	defer func() {
		if rest := g.stream.Flush(); rest != "" {
			if e := emit(rest); err == nil {
				err = e
			}
		}
	}()
	for n := 0; limit < 0 || n < limit; n++ {
		if err := ctx.Err(); err != nil {
			return atEnd, err
		}
		id := g.smp.Sample(g.logits)
		if id < 0 {
			return atEnd, fault.New(fault.Failure, "the model's logits are not numbers after %d tokens: run verify", g.r.Len(0))
		}
		g.smp.Accept(id)
		if g.tok.IsEOG(id) {
			return atEnd, nil
		}
		piece := g.stream.Next(id)
		if err := emit(piece); err != nil {
			return atEnd, err
		}
		tail += piece
		for _, s := range g.stops {
			if strings.Contains(tail, s) {
				return atStop, nil
			}
		}
		tail = tail[max(0, len(tail)-keep):]
		if n+1 == limit {
			break
		}
		if g.r.Len(0) >= g.numCtx {
			return atFull, nil
		}
		start := time.Now()
		logits, err := g.r.Decode(0, id)
		if err != nil {
			return atEnd, err
		}
		g.eval.time += time.Since(start)
		g.eval.tokens++
		g.logits = logits
		g.text = g.tok.AppendPiece(g.text, id, true)
	}
	return atLimit, nil
}

// timings prints one line on tokens per second.
func (g *generator) timings(w io.Writer) {
	fmt.Fprintf(w, "prompt: %d tokens, %.2f t/s · eval: %d tokens, %.2f t/s\n",
		g.prompt.tokens, g.prompt.perSecond(), g.eval.tokens, g.eval.perSecond())
}

// wantTimings reports whether the timing line is asked for: on a terminal unless --no-perf, or with -v.
func (a *app) wantTimings() bool {
	return a.set.Bool("verbose") || a.ErrTerm && a.set.Bool("perf")
}

// tooLong is the error for a text that leaves no room.
func (a *app) tooLong(have, tokens int) error {
	if have > 0 {
		return fault.New(fault.Fit, "the context is full: %d tokens are in it, %d more do not fit into %d: /clear starts anew, or %s",
			have, tokens, a.numCtx(), a.longer(have+tokens, roundUp(have+tokens)))
	}
	return fault.New(fault.Fit, "the text has %d tokens, the context %d: shorten it, or %s",
		tokens, a.numCtx(), a.longer(tokens, roundUp(tokens)))
}

// roundUp is the next multiple of 256 with room for an answer.
func roundUp(n int) int { return (n + 512 + 255) / 256 * 256 }

// longer says how to get a context of at least need tokens, better of ctx.
func (a *app) longer(need, ctx int) string {
	if a.numCtx() < a.Info.NumCtx && need <= a.Info.NumCtx {
		return fmt.Sprintf("raise or drop %s (compiled for %d)", a.set.Said("ctx-size"), a.Info.NumCtx)
	}
	return fmt.Sprintf("recompile: %s -c %d", a.Info.Recompile, ctx)
}

// saysFull tells that the context is full.
func (a *app) saysFull(g *generator) {
	fmt.Fprintf(a.Stderr, "%s: stopped: the context is full (%d of %d tokens): for a longer one %s\n",
		a.Name, g.r.Len(0), g.numCtx, a.longer(g.numCtx+1, 2*g.numCtx))
}
