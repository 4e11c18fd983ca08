package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"qnc/runtime/cpu"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/kernel"
	"qnc/runtime/pack"
)

// Options of a start.
type Options struct {
	Threads      int    // of Decode; 0: Info.DefaultThreads, or one a core
	BatchThreads int    // of Prompt; 0: as Threads
	Weights      string // path of the weights file; "": beside or inside the executable

	MetaOnly bool // for what Meta and Verify give: no memory is allocated, no device opened

	Progress func(done, total int64) // of loading weights to devices; may be nil
	Note     func(line string)       // says what was loaded where; may be nil
}

// MaxThreads bounds -t.
const MaxThreads = 1024

// A Session is a model with its state; it implements Runner. It is not safe
// for concurrent use.
type Session struct {
	model   *Model
	plan    Plan // of the variant that runs
	weights *pack.File
	meta    *gguf.File
	prog    *Program
	mem     Memory
	used    []int // tokens of each sequence
	ubatch  int

	step    Step
	tok     []int32
	pos     []int32
	seq     []int32
	rows    []int32
	teams   map[int]*Team
	decode  *Team
	prefill *Team
	trace   *Trace

	stepPrefill, stepDecode func(*Thread) // made once: a method value allocates
}

var _ Runner = (*Session)(nil)

// machine is what the program runs on; tests replace it.
var machine = cpu.Detect()

// useTarget selects the kernels that the program was compiled for, if the machine can run them.
func useTarget(name string) error {
	t, ok := cpu.ByName(name)
	if !ok {
		return fault.New(fault.Failure, "BUG: target CPU %q", name)
	}
	if err := machine.Check(t); err != nil {
		return err
	}
	kernel.Use(t.Name)
	return nil
}

// Open checks the CPU, maps the weights and allocates all memory of the plan.
func Open(m *Model, opt Options) (*Session, error) {
	if err := useTarget(m.Info.TargetCPU); err != nil {
		return nil, err
	}
	build, err := hex.DecodeString(m.Info.BuildID)
	if err != nil || len(build) != 32 {
		return nil, fault.New(fault.Failure, "BUG: build id %q", m.Info.BuildID)
	}
	w, err := openWeights(opt.Weights, [32]byte(build))
	if err != nil {
		return nil, err
	}
	s := &Session{model: m, weights: w, used: make([]int, m.Info.NumSeq), ubatch: m.Info.NumUbatch, teams: map[int]*Team{}}
	if s.meta, err = gguf.Parse(w.Section("meta"), "meta"); err != nil {
		w.Close()
		return nil, err
	}
	if opt.MetaOnly {
		return s, nil
	}
	if err := s.start(opt.Progress); err != nil {
		w.Close()
		return nil, err
	}
	if opt.Note != nil {
		for _, n := range s.prog.Notes {
			opt.Note(n)
		}
	}
	s.stepPrefill = func(th *Thread) { s.prog.Prefill(th, &s.step) }
	s.stepDecode = func(th *Thread) { s.prog.Decode(th, &s.step) }
	n := m.Info.NumUbatch
	s.tok, s.pos, s.seq, s.rows = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	threads := cmpOr(opt.Threads, s.plan.Threads, m.Info.DefaultThreads, runtime.NumCPU())
	s.SetThreads(threads, cmpOr(opt.BatchThreads, threads))
	debug.SetGCPercent(400) // what remains to collect is small and lies outside the steps
	return s, nil
}

// start allocates the memory of the model's first variant that can run here, and builds it.
func (s *Session) start(progress func(done, total int64)) error {
	m := s.model
	err := s.build(m.Plan, m.New, progress)
	if m.CPU == nil || fault.CodeOf(err) != fault.Missing {
		return err
	}
	why := err
	if err := s.build(m.CPU.Plan, m.CPU.New, progress); err != nil {
		return err
	}
	s.prog.Notes = append(s.prog.Notes, fmt.Sprintf("no GPU is used, the CPU runs the whole model: %v", why))
	return nil
}

func (s *Session) build(plan Plan, build func(*Memory) (*Program, error), progress func(done, total int64)) (err error) {
	in := &s.model.Info
	if err := checkMemory(s.model, plan, totalMemory(), freeAddresses()); err != nil {
		return err
	}
	s.plan = plan
	s.mem = Memory{
		Weights:   s.weights,
		Arena:     aligned(plan.ArenaBytes),
		Recurrent: make([]float32, plan.RecurrentFloats*in.NumSeq),
		KV:        aligned(plan.KVBytes),
		Info:      in,
		Progress:  progress,
	}
	if uint64(s.weights.Size()) <= availableMemory() { // otherwise pages would push each other out
		s.weights.Populate()
	}
	s.prog, err = build(&s.mem)
	return err
}

func cmpOr(xs ...int) int {
	for _, x := range xs {
		if x != 0 {
			return x
		}
	}
	return 0
}

// aligned allocates n zero bytes at a multiple of 64. Untouched pages cost nothing.
func aligned(n int) []byte {
	b := make([]byte, n+64)
	skip := -int(addr(b)) & 63
	return b[skip : skip+n : skip+n]
}

// openWeights opens path, or the weights beside the executable, or inside it.
func openWeights(path string, build [32]byte) (*pack.File, error) {
	if path != "" {
		return pack.Open(path, build)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the weights file: %w", err)
	}
	beside := exe + ".weights"
	if _, err := os.Stat(beside); err == nil {
		return pack.Open(beside, build)
	}
	w, err := pack.OpenEmbedded(exe, build)
	if errors.Is(err, pack.ErrNone) {
		return nil, fault.New(fault.Model, "%s: not found, and nothing is embedded in %s: move the weights file beside the program, under the program's name + .weights", beside, exe)
	}
	return w, err
}

func (s *Session) Info() *Info      { return &s.model.Info }
func (s *Session) Meta() *gguf.File { return s.meta }
func (s *Session) Len(seq int) int  { return s.used[seq] }

// SetUbatch sets the tokens of one prompt step.
func (s *Session) SetUbatch(n int) { s.ubatch = max(1, min(n, s.model.Info.NumUbatch)) }

// SetThreads starts teams of these sizes, or takes up ones that exist.
func (s *Session) SetThreads(decode, prompt int) {
	team := func(n int) *Team {
		n = max(1, min(n, MaxThreads))
		if s.teams[n] == nil {
			s.teams[n] = NewTeam(n, s.plan.ScratchFloats, s.plan.SharedFloats, weightsLost)
		}
		return s.teams[n]
	}
	s.decode, s.prefill = team(decode), team(prompt)
}

// weightsLost ends the process: the weights file was truncated while it was mapped.
func weightsLost(err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	os.Exit(int(fault.CodeOf(err)))
}

// Reset empties a sequence: its recurrent state becomes zero; cells of the KV
// cache are overwritten before they are read.
func (s *Session) Reset(seq int) {
	n := s.plan.RecurrentFloats
	clear(s.mem.Recurrent[seq*n:][:n])
	if s.prog.Reset != nil {
		s.prog.Reset(seq)
	}
	s.used[seq] = 0
}

// check refuses tokens that the step could not take.
func (s *Session) check(seq int, tokens []int32) error {
	in := &s.model.Info
	if seq < 0 || seq >= in.NumSeq {
		return fault.New(fault.Usage, "sequence %d does not exist: the program was compiled for %d (-np)", seq, in.NumSeq)
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= in.NumVocab {
			return fault.New(fault.Failure, "token %d is outside the vocabulary of %d", t, in.NumVocab)
		}
	}
	if n := s.used[seq] + len(tokens); n > in.NumCtx {
		return fault.New(fault.Fit, "the context is full: %d tokens and %d more do not fit into %d: shorten the text, or compile with a larger -c", s.used[seq], len(tokens), in.NumCtx)
	}
	return nil
}

// Prompt implements Runner.
func (s *Session) Prompt(ctx context.Context, seq int, tokens []int32, rows []int, out []float32) error {
	if err := s.check(seq, tokens); err != nil {
		return err
	}
	nv := s.model.Info.NumVocab
	if len(out) < len(rows)*nv || !slices.IsSorted(rows) || len(rows) > 0 && (rows[0] < 0 || rows[len(rows)-1] >= len(tokens)) {
		return fmt.Errorf("BUG: %d rows for %d tokens and %d logits", len(rows), len(tokens), len(out))
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Interrupted, err)
	}
	defer s.prefill.abortWith(ctx)()
	for first := 0; first < len(tokens); first += s.ubatch {
		part := tokens[first:min(first+s.ubatch, len(tokens))]
		n := 0
		for n < len(rows) && rows[n] < first+len(part) {
			s.rows[n] = int32(rows[n] - first)
			n++
		}
		s.fill(seq, part, n)
		if ctx.Err() != nil || !s.runPrefill() {
			s.Reset(seq) // its recurrent state may be half-written
			return fault.Wrap(fault.Interrupted, ctx.Err())
		}
		if err := s.fault(); err != nil {
			return err
		}
		s.used[seq] += len(part)
		copy(out, s.prog.PrefillLogits[:n*nv])
		rows, out = rows[n:], out[n*nv:]
	}
	return nil
}

// Decode implements Runner.
func (s *Session) Decode(seq int, token int32) ([]float32, error) {
	one := [1]int32{token}
	if err := s.check(seq, one[:]); err != nil {
		return nil, err
	}
	s.rows[0] = 0
	s.fill(seq, one[:], 1)
	s.runDecode()
	if err := s.fault(); err != nil {
		return nil, err
	}
	s.used[seq]++
	return s.prog.DecodeLogits[:s.model.Info.NumVocab], nil
}

// fault is what a device of the program reports, after which none of its steps is good.
func (s *Session) fault() error {
	if s.prog.Err == nil {
		return nil
	}
	return s.prog.Err()
}

// fill sets the step's inputs; the first rows entries of s.rows are set already.
func (s *Session) fill(seq int, tokens []int32, rows int) {
	n := len(tokens)
	copy(s.tok, tokens)
	for i := range n {
		s.pos[i], s.seq[i] = int32(s.used[seq]+i), int32(seq)
	}
	s.step = Step{s.tok[:n], s.pos[:n], s.seq[:n], s.rows[:rows], n, rows, seq}
}

// Settle implements Runner.
func (s *Session) Settle() { s.weights.Populated() }

// Verify implements Runner.
func (s *Session) Verify(progress func(done, total int64)) error { return s.weights.Verify(progress) }

// Close ends the threads, gives devices back and unmaps the weights.
func (s *Session) Close() error {
	for _, t := range s.teams {
		t.Close()
	}
	var err error
	if s.prog != nil && s.prog.Close != nil && s.fault() == nil { // after a fault the driver only repeats it
		err = s.prog.Close()
	}
	return errors.Join(err, s.weights.Close())
}
