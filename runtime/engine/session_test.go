package engine

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"qnc/runtime/cpu"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/pack"
)

const (
	vocab  = 4
	numCtx = 20
	ubatch = 6
	numSeq = 2
)

// counter is a model whose logits show what a step was given: the sum of the
// sequence's tokens so far (recurrent), the position, the tokens of the step,
// and the sequence's first token (KV cache).
type counter struct {
	mem     *Memory
	logits  []float32
	bias    []float32
	threads int
}

func (c *counter) step(th *Thread, in *Step) {
	th.Scratch(3)[2] = 1
	th.Barrier()
	if th.Ith != 0 {
		return
	}
	c.threads = th.Nth
	state, kv := c.mem.Recurrent[in.Slot*2:][:2], c.mem.KV[in.Slot*numCtx:][:numCtx]
	r := 0
	for t, tok := range in.Tok {
		state[1] += float32(tok)
		kv[in.Pos[t]] = byte(tok)
		if r < in.R && int(in.Rows[r]) == t {
			copy(c.logits[r*vocab:][:vocab], []float32{state[1] + c.bias[0], float32(in.Pos[t]), float32(in.T), float32(kv[0])})
			r++
		}
	}
}

// open makes a session of the counter with its weights file.
func open(t *testing.T, edit func(*Model)) (*Session, *counter, error) {
	t.Helper()
	c := &counter{}
	id := [32]byte{7}
	m := &Model{
		Info: Info{BuildID: hex.EncodeToString(id[:]), NumVocab: vocab, NumCtx: numCtx, NumUbatch: ubatch, NumBatch: ubatch, NumSeq: numSeq, DefaultThreads: 2, TargetCPU: "portable"},
		Plan: Plan{ArenaBytes: 4 * vocab * ubatch, ScratchFloats: 3, RecurrentFloats: 2, KVBytes: numCtx * numSeq},
		New: func(mem *Memory) (*Program, error) {
			c.mem, c.logits, c.bias = mem, mem.Floats(0, vocab*ubatch), mem.Vector("bias", 1)
			return &Program{Prefill: c.step, Decode: c.step, PrefillLogits: c.logits, DecodeLogits: c.logits}, mem.Err()
		},
	}
	if edit != nil {
		edit(m)
	}
	var meta bytes.Buffer
	if err := gguf.Write(&meta, []gguf.KV{{Key: "general.name", Value: "counter"}}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "counter.weights")
	var sections []pack.Section
	for _, x := range []struct {
		name string
		data []byte
	}{{"meta", meta.Bytes()}, {"bias", []byte{0, 0, 0, 63}}} { // 0.5
		sections = append(sections, pack.Section{Name: x.name, Size: int64(len(x.data)), Write: func(w io.Writer) error {
			_, err := w.Write(x.data)
			return err
		}})
	}
	if err := pack.Create(path, id, sections, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(m, Options{Weights: path})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, c, err
}

func mustOpen(t *testing.T) (*Session, *counter) {
	t.Helper()
	s, c, err := open(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// prompt returns the logits of rows.
func prompt(t *testing.T, s *Session, seq int, tokens []int32, rows ...int) []float32 {
	t.Helper()
	out := make([]float32, len(rows)*vocab)
	if err := s.Prompt(context.Background(), seq, tokens, rows, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPrompt: rows land in their ubatches, whatever the cut.
func TestPrompt(t *testing.T) {
	s, _ := mustOpen(t)
	tokens := []int32{3, 1, 2, 0, 3, 3, 1, 2, 1, 1, 0, 2, 3, 3}
	sum := make([]float32, len(tokens))
	total := float32(0.5)
	for i, tok := range tokens {
		total += float32(tok)
		sum[i] = total
	}
	for _, rows := range [][]int{{}, {13}, {0}, {5, 6}, {0, 1, 5, 6, 7, 11, 12, 13}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}} {
		for _, ub := range []int{1, 4, 6, 100} {
			s.SetUbatch(ub)
			n := min(ub, ubatch)
			out := prompt(t, s, 1, tokens, rows...)
			for i, r := range rows {
				part := min(n, len(tokens)-r/n*n)
				if want := []float32{sum[r], float32(r), float32(part), 3}; !slices.Equal(out[i*vocab:][:vocab], want) {
					t.Errorf("ubatch %d rows %v: row %d is %v, want %v", ub, rows, r, out[i*vocab:][:vocab], want)
				}
			}
			if s.Len(1) != len(tokens) || s.Len(0) != 0 {
				t.Errorf("lengths %d and %d", s.Len(0), s.Len(1))
			}
			s.Reset(1)
		}
	}
	s.SetUbatch(0)
	if out := prompt(t, s, 0, tokens[:2], 1); out[2] != 1 {
		t.Errorf("SetUbatch(0) makes steps of %v tokens, want 1", out[2])
	}
}

// TestRestore: after Restore a sequence goes on as if what came after Save had
// not been; the other sequence does not notice.
func TestRestore(t *testing.T) {
	s, _ := mustOpen(t)
	var st State
	prompt(t, s, 0, []int32{2, 2, 2})
	prompt(t, s, 1, []int32{1, 3})
	s.Save(1, &st)
	want := prompt(t, s, 1, []int32{2, 1}, 1)
	for range 2 {
		s.Restore(1, &st)
		if s.Len(1) != 2 {
			t.Errorf("length %d after Restore, want 2", s.Len(1))
		}
		if got := prompt(t, s, 1, []int32{2, 1}, 1); !slices.Equal(got, want) {
			t.Errorf("logits %v after Restore, want %v", got, want)
		}
		if _, err := s.Decode(1, 3); err != nil {
			t.Fatal(err)
		}
	}
	if out := prompt(t, s, 0, []int32{0}, 0); out[0] != 6.5 || out[3] != 2 {
		t.Errorf("the other sequence has %v", out)
	}
	if n := testing.AllocsPerRun(10, func() { s.Save(1, &st); s.Restore(1, &st) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSequences: sequences do not see each other; Reset empties one.
func TestSequences(t *testing.T) {
	s, _ := mustOpen(t)
	prompt(t, s, 0, []int32{1, 2, 3})
	prompt(t, s, 1, []int32{3, 3})
	decode := func(seq int, tok int32, want ...float32) {
		t.Helper()
		out, err := s.Decode(seq, tok)
		if err != nil || !slices.Equal(out, want) {
			t.Errorf("decode gives %v, %v, want %v", out, err, want)
		}
	}
	decode(0, 2, 8.5, 3, 1, 1)
	decode(1, 1, 7.5, 2, 1, 3)
	s.Reset(0)
	if s.Len(0) != 0 || s.Len(1) != 3 {
		t.Errorf("after Reset(0): lengths %d and %d", s.Len(0), s.Len(1))
	}
	decode(0, 2, 2.5, 0, 1, 2)
	decode(1, 0, 7.5, 3, 1, 3)
}

// TestRefused: what a step cannot take is refused whole, with its counts and its code.
func TestRefused(t *testing.T) {
	s, _ := mustOpen(t)
	prompt(t, s, 0, make([]int32, 15))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	try := func(ctx context.Context, seq int, tokens []int32, rows []int, logits int) error {
		return s.Prompt(ctx, seq, tokens, rows, make([]float32, logits))
	}
	bg := context.Background()
	for _, c := range []struct {
		name string
		err  error
		code fault.Code
		want string
	}{
		{"full", try(bg, 0, make([]int32, 6), nil, 0), fault.Fit, "the context is full: 15 tokens and 6 more do not fit into 20"},
		{"sequence", try(bg, 2, []int32{1}, nil, 0), fault.Usage, "sequence 2 does not exist"},
		{"sequence", try(bg, -1, []int32{1}, nil, 0), fault.Usage, "sequence -1 does not exist"},
		{"token", try(bg, 0, []int32{1, 4}, nil, 0), fault.Failure, "token 4 is outside the vocabulary of 4"},
		{"token", try(bg, 0, []int32{-1}, nil, 0), fault.Failure, "token -1"},
		{"rows", try(bg, 0, []int32{1, 1}, []int{1, 0}, 8), fault.Failure, "BUG"},
		{"rows", try(bg, 0, []int32{1, 1}, []int{2}, 8), fault.Failure, "BUG"},
		{"logits", try(bg, 0, []int32{1, 1}, []int{0, 1}, 7), fault.Failure, "BUG"},
		{"interrupted", try(ended, 0, []int32{1}, nil, 0), fault.Interrupted, "canceled"},
	} {
		if c.err == nil || fault.CodeOf(c.err) != c.code || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v (code %d), want code %d and %q", c.name, c.err, fault.CodeOf(c.err), c.code, c.want)
		}
	}
	if s.Len(0) != 15 {
		t.Errorf("refused tokens were taken: %d", s.Len(0))
	}
	prompt(t, s, 0, make([]int32, 5)) // up to the last cell
	if _, err := s.Decode(0, 1); err == nil || fault.CodeOf(err) != fault.Fit || !strings.Contains(err.Error(), "20 tokens and 1 more") {
		t.Errorf("decode into a full context: %v", err)
	}
}

// TestInterruptedStep: a prompt whose context ends inside a step returns
// without the step's end and leaves the sequence empty, the other as it was.
func TestInterruptedStep(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ended atomic.Int32
	s, c, err := open(t, func(m *Model) {
		build := m.New
		m.New = func(mem *Memory) (*Program, error) {
			p, err := build(mem)
			step := p.Prefill
			p.Prefill = func(th *Thread, in *Step) {
				step(th, in)
				for in.Tok[0] == 3 { // never ends by itself
					if th.Ith == 0 {
						cancel()
					}
					th.Barrier()
				}
				ended.Add(1)
			}
			return p, err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	prompt(t, s, 0, []int32{1, 2})
	prompt(t, s, 1, []int32{2, 2})
	ended.Store(0)
	err = s.Prompt(ctx, 0, []int32{3, 1}, nil, nil)
	if fault.CodeOf(err) != fault.Interrupted || !errors.Is(err, context.Canceled) || ended.Load() != 0 {
		t.Errorf("%v; %d threads came to the end of the step", err, ended.Load())
	}
	if s.Len(0) != 0 || s.Len(1) != 2 || !slices.Equal(c.mem.Recurrent, []float32{0, 0, 0, 4}) {
		t.Errorf("lengths %d and %d, state %v", s.Len(0), s.Len(1), c.mem.Recurrent)
	}
	if out := prompt(t, s, 0, []int32{2, 1}, 1); out[0] != 3.5 || out[1] != 1 {
		t.Errorf("afterwards: %v", out)
	}
}

func TestSetThreads(t *testing.T) {
	s, c := mustOpen(t)
	for _, n := range []struct{ decode, prompt, seenDecode, seenPrompt int }{{1, 3, 1, 3}, {3, 1, 3, 1}, {0, -5, 1, 1}, {2, 2, 2, 2}} {
		s.SetThreads(n.decode, n.prompt)
		prompt(t, s, 0, []int32{1})
		if c.threads != n.seenPrompt {
			t.Errorf("%+v: the prompt ran on %d", n, c.threads)
		}
		if _, err := s.Decode(0, 1); err != nil || c.threads != n.seenDecode {
			t.Errorf("%+v: decode ran on %d, %v", n, c.threads, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s, _ := mustOpen(t)
	tokens, rows, out := []int32{1, 2, 3, 1, 1, 1, 1, 2}, []int{2, 7}, make([]float32, 2*vocab)
	ctx := context.Background()
	for _, threads := range []int{1, 2} {
		s.SetThreads(threads, threads)
		if n := testing.AllocsPerRun(50, func() {
			s.Reset(0)
			if _, err := s.Decode(0, 1); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%d threads: %v allocations a decode", threads, n)
		}
		if n := testing.AllocsPerRun(50, func() {
			s.Reset(0)
			if err := s.Prompt(ctx, 0, tokens, rows, out); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%d threads: %v allocations a prompt", threads, n)
		}
	}
}

// TestOpen: metadata and digests are at hand, and weights that do not fit are refused.
func TestOpen(t *testing.T) {
	s, _ := mustOpen(t)
	if name, _, err := s.Meta().String("general.name"); err != nil || name != "counter" {
		t.Errorf("metadata: %q, %v", name, err)
	}
	if err := s.Verify(nil); err != nil {
		t.Error(err)
	}
	if s.Info().NumVocab != vocab {
		t.Errorf("info %+v", s.Info())
	}
	for _, c := range []struct {
		name string
		edit func(*Model)
		want string
	}{
		{"another build", func(m *Model) { m.Info.BuildID = strings.Repeat("ab", 32) }, "another compile"},
		{"no build", func(m *Model) { m.Info.BuildID = "" }, "BUG"},
		{"a weight of another size", func(m *Model) {
			m.New = func(mem *Memory) (*Program, error) {
				mem.Vector("bias", 2)
				mem.Weight("absent", 9)
				return nil, mem.Err()
			}
		}, "weight bias has 4 bytes, want 8"},
		{"no such weight", func(m *Model) {
			m.New = func(mem *Memory) (*Program, error) {
				mem.Weight("absent", 9)
				return nil, mem.Err()
			}
		}, "weight absent has 0 bytes"},
	} {
		if _, _, err := open(t, c.edit); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	exe := filepath.Join(t.TempDir(), "none.weights")
	if _, err := Open(&Model{Info: Info{TargetCPU: "portable", BuildID: strings.Repeat("00", 32), NumSeq: 1, NumUbatch: 1}}, Options{Weights: exe}); err == nil || fault.CodeOf(err) != fault.Model || !strings.Contains(err.Error(), exe) {
		t.Errorf("a missing weights file: %v", err)
	}
}

// TestTarget: a program whose CPU is not this one says so before it maps anything.
func TestTarget(t *testing.T) {
	defer func(m cpu.Machine) { machine = m }(machine)
	machine = cpu.Machine{Arch: "amd64"}
	_, err := Open(&Model{Info: Info{TargetCPU: "x86-64-v4"}}, Options{})
	if err == nil || fault.CodeOf(err) != fault.Missing || !strings.Contains(err.Error(), "lacks avx2") {
		t.Errorf("%v, code %d: want what is missing, code %d", err, fault.CodeOf(err), fault.Missing)
	}
}
