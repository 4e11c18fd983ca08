package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"qnc/runtime/cost"
	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/tokenizer"
)

const exampleModel = "../../examples/gopher-17m-q4_k_m.gguf"

var example = sync.OnceValues(func() (*gguf.File, error) { return gguf.Open(exampleModel) })

// meta is the metadata of the example model, vocab its tokenizer.
func meta(t testing.TB) *gguf.File {
	t.Helper()
	f, err := example()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func vocab(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.New(meta(t))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// fake is a language model without weights: its logits are a hash of the last
// three tokens, except that next, where there is one, says what comes.
type fake struct {
	info *engine.Info
	meta *gguf.File
	next func(seq []int32) int32 // the likeliest token; negative: nobody cares

	seq       []int32
	logits    []float32
	prompts   [][]int32 // the tokens of each call of Prompt
	resets    int
	restores  int
	threads   [2]int
	ubatch    int
	closed    bool
	trace     *engine.Trace
	peak      engine.Peaks
	bad       error             // what Verify returns
	onDecode  func(n int)       // called with the number of tokens
	onPrompt  func() error      // called before each Prompt
	verifying func(total int64) // called inside Verify
}

func (f *fake) Info() *engine.Info           { return f.info }
func (f *fake) Meta() *gguf.File             { return f.meta }
func (f *fake) Len(int) int                  { return len(f.seq) }
func (f *fake) Reset(int)                    { f.seq = f.seq[:0]; f.resets++ }
func (f *fake) Save(_ int, st *engine.State) { st.Len = len(f.seq) }

// Restore takes back tokens; a sequence that is shorter than the state is a fault of the caller.
func (f *fake) Restore(_ int, st *engine.State) {
	f.seq = f.seq[:st.Len:len(f.seq)]
	f.restores++
}
func (f *fake) SetUbatch(n int)               { f.ubatch = n }
func (f *fake) SetThreads(decode, prompt int) { f.threads = [2]int{decode, prompt} }
func (f *fake) Settle()                       {}
func (f *fake) Peak() engine.Peaks            { return f.peak }
func (f *fake) Close() error                  { f.closed = true; return nil }

// SetTrace of a fake gives each step two kernels of 2 and 1 ms.
func (f *fake) SetTrace(t *engine.Trace) { f.trace = t }

func (f *fake) traceStep(p *engine.Phase, tokens int) {
	const ms = time.Millisecond
	p.Lines = []cost.Line{
		{Kernel: "matmulQ4K_8x8", Op: "matmul", Value: "out-0", Class: "delta moe", Rows: cost.Tokens, Cost: cost.Cost{Weights: 4e6, MACs: 1e6, Int: true}},
		{Kernel: "norm_Tx8", Op: "norm", Value: "result_norm", Class: "head", Layer: -1, Rows: cost.Tokens, Cost: cost.Cost{Acts: 10}},
	}
	if p.Times == nil {
		p.Times = make([]engine.LineTime, 2)
	}
	p.Times[0].Busy += 2 * ms
	p.Times[0].Wait += ms / 2
	p.Times[0].Best = ms
	p.Times[1].Busy += 1 * ms
	p.Times[1].Best = ms
	p.Start += ms / 2
	p.Wall += 4 * ms
	p.Sizes = append(p.Sizes, cost.Size{Tokens: tokens, Logits: 1, Cells: len(f.seq)})
}

func (f *fake) Verify(progress func(done, total int64)) error {
	if f.verifying != nil {
		f.verifying(1 << 20)
	}
	progress(1<<20, 1<<20)
	return f.bad
}

// row writes the logits after seq.
func (f *fake) row(out []float32, seq []int32) {
	h := fnv.New64a()
	var b [4]byte
	for _, id := range seq[max(0, len(seq)-3):] {
		binary.LittleEndian.PutUint32(b[:], uint32(id))
		h.Write(b[:])
	}
	x := h.Sum64() | 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = float32(x%8192) / 1024
	}
	if f.next != nil {
		if id := f.next(seq); id >= 0 {
			out[id] = 30
		}
	}
}

func (f *fake) Prompt(ctx context.Context, seq int, tokens []int32, rows []int, out []float32) error {
	if f.onPrompt != nil {
		if err := f.onPrompt(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(f.seq)+len(tokens) > f.info.NumCtx {
		return fault.New(fault.Fit, "the context is full: %d of %d", len(f.seq)+len(tokens), f.info.NumCtx)
	}
	f.prompts = append(f.prompts, append([]int32(nil), tokens...))
	at := len(f.seq)
	f.seq = append(f.seq, tokens...)
	if f.trace != nil {
		f.traceStep(&f.trace.Prompt, len(tokens))
	}
	n := f.info.NumVocab
	for k, r := range rows {
		f.row(out[k*n:][:n], f.seq[:at+r+1])
	}
	return nil
}

func (f *fake) Decode(seq int, token int32) ([]float32, error) {
	if len(f.seq) >= f.info.NumCtx {
		return nil, errors.New("the context is full")
	}
	f.seq = append(f.seq, token)
	if f.trace != nil {
		f.traceStep(&f.trace.Decode, 1)
	}
	if f.onDecode != nil {
		f.onDecode(len(f.seq))
	}
	if f.logits == nil {
		f.logits = make([]float32, f.info.NumVocab)
	}
	f.row(f.logits, f.seq)
	return f.logits, nil
}

// newFake returns a model with the example's vocabulary.
func newFake(t testing.TB) *fake {
	return &fake{meta: meta(t), info: &engine.Info{
		Name: "gopher", Arch: "qwen3next", FileType: "Q4_K - Medium", SourceFile: "gopher.gguf", Compiler: "v1.2.3",
		TargetCPU: "portable", BuildID: "0011223344", Recompile: "qnc compile gopher.gguf -o gopher",
		Params: 17_000_000, WeightBytes: 10 << 20, NumVocab: vocab(t).NumVocab(), NumLayers: 4,
		NumCtx: 256, NumBatch: 128, NumUbatch: 64, NumSeq: 1, TypeK: "f16", TypeV: "f16", DefaultThreads: 2,
		ArenaBytes: 1 << 20, RecurrentBytes: 2 << 20, KVBytes: 4 << 20,
	}}
}

// says makes the model answer with the given texts in turn, each ended by the
// end-of-turn token, whatever it is asked; an answer starts where a prompt ends.
func (f *fake) says(t testing.TB, answers ...string) {
	tok := vocab(t)
	var at, k int
	f.next = func(seq []int32) int32 {
		last := f.prompts
		// The answer to the k-th message starts after the last token of a prompt.
		if n := len(last); n != k {
			k, at = n, len(seq)
		}
		if k > len(answers) || k == 0 {
			return tok.EOS
		}
		ids := tok.Encode(answers[k-1], true)
		if i := len(seq) - at; i < len(ids) {
			return ids[i]
		}
		return tok.EOS
	}
}

// A result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

// A world is what surrounds the program in a test.
type world struct {
	*Env
	fake     *fake
	out, err lockedBuffer
	signals  chan os.Signal
	exited   chan int
}

func init() { cpus = engine.MaxThreads } // tests do not depend on the machine

func newWorld(t testing.TB, f *fake, args ...string) *world {
	w := &world{fake: f, signals: make(chan os.Signal, 4), exited: make(chan int, 1)}
	w.Env = &Env{
		Name: "gopher", Args: args, Stdin: strings.NewReader(""), Stdout: &w.out, Stderr: &w.err,
		LookupEnv:  func(string) (string, bool) { return "", false },
		Interrupts: w.signals,
		Exit:       func(code int) { w.exited <- code; select {} },
		Info:       f.info,
		Open: func(opt engine.Options) (engine.Runner, error) {
			f.threads = [2]int{opt.Threads, opt.BatchThreads}
			return f, nil
		},
	}
	return w
}

func (w *world) run() result {
	code := Run(w.Env)
	return result{code: code, stdout: w.out.String(), stderr: w.err.String()}
}

// run runs the program with a model and returns what came.
func run(t testing.TB, f *fake, args ...string) result {
	t.Helper()
	return newWorld(t, f, args...).run()
}

// lockedBuffer may be written and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// check compares a result with what is wanted; stderr must contain every line of errHas.
func (r result) check(t testing.TB, code int, stdout string, errHas ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr: %s", r.code, code, r.stderr)
	}
	if r.stdout != stdout {
		t.Errorf("stdout\n%q\nwant\n%q", r.stdout, stdout)
	}
	if len(errHas) == 0 && r.stderr != "" {
		t.Errorf("stderr is not empty: %q", r.stderr)
	}
	for _, s := range errHas {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("stderr\n%q\nlacks\n%q", r.stderr, s)
		}
	}
}
