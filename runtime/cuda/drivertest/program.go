// Package drivertest holds what every implementation of cuda.Driver must pass,
// against a driver that emulates devices.
package drivertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"qnc/runtime/cuda"
	"qnc/runtime/engine"
	"qnc/runtime/gguf"
	"qnc/runtime/pack"
)

// The program of these tests keeps the sum of a sequence's tokens as its
// recurrent state. Its logits for a row are that sum after the row, twice as
// much, and a weight: computed on the devices that a case says.
const (
	Vocab  = 3
	Ubatch = 4
	Bias   = 7
)

// A Layout says where the middle of the test's program runs.
type Layout struct {
	Name   string
	Middle int // device, or -1 for the CPU
	Head   int // device
	Graphs int // launches of graphs a token
}

// Layouts are those of the tests; the first device holds the state.
var Layouts = []Layout{
	{"one device", 0, 0, 1},
	{"two devices", 1, 0, 1},
	{"two devices, the head on the second", 1, 1, 1},
	{"the CPU in the middle", -1, 0, 2},
	{"the head elsewhere", 0, 1, 1},
}

// Devices is how many devices a layout uses.
func (l Layout) Devices() int { return 1 + max(l.Middle, l.Head) }

// arena offsets on every device
const sumAt, twiceAt, logitsAt = 0, 256, 512

func (l Layout) build(open cuda.Opener, plan *cuda.Plan) func(*engine.Memory) (*engine.Program, error) {
	return func(mem *engine.Memory) (*engine.Program, error) {
		g, err := cuda.Open(open, plan, mem)
		if err != nil {
			return nil, err
		}
		d := []*cuda.Device{g.Device(0)}
		if len(plan.Devices) > 1 {
			d = append(d, g.Device(1))
		}
		sum, twice, logits := d[0].Kernel("sum", 32, 0), d[max(l.Middle, 0)].Kernel("twice", 32, 60<<10), d[l.Head].Kernel("logits", 32, 0)
		bias := d[l.Head].Weight("bias", 4)
		host := func(off, n int) []byte { return mem.Bytes(off, 4*n) }
		first := cuda.Part{Device: 0, Launch: func(q *cuda.Queue, in *engine.Step) {
			q.Launch(sum, 1, 1, 1, uint64(d[0].Recurrent(0)), uint64(d[0].Arena(sumAt)), uint64(d[0].Tok()), uint64(d[0].Seq()), cuda.I32(in.T))
			if l.Middle < 0 {
				q.Download(host(sumAt, in.T), d[0].Arena(sumAt))
			}
		}}
		middle := cuda.Part{Device: max(l.Middle, 0), Launch: func(q *cuda.Queue, in *engine.Step) {
			m := d[l.Middle]
			if l.Middle != 0 {
				q.Peer(m.Arena(sumAt), d[0], d[0].Arena(sumAt), 4*in.T)
			}
			q.Launch(twice, 1, 1, 1, uint64(m.Arena(twiceAt)), uint64(m.Arena(sumAt)), uint64(in.T))
		}}
		if l.Middle < 0 {
			middle = cuda.Part{Host: func(th *engine.Thread, in *engine.Step) {
				lo, hi := th.Cut(in.T, 1)
				for t := lo; t < hi; t++ {
					binary.LittleEndian.PutUint32(host(twiceAt+4*t, 1), 2*binary.LittleEndian.Uint32(host(sumAt+4*t, 1)))
				}
			}}
		}
		last := cuda.Part{Device: l.Head, Launch: func(q *cuda.Queue, in *engine.Step) {
			h := d[l.Head]
			if l.Head != 0 {
				q.Peer(h.Arena(sumAt), d[0], d[0].Arena(sumAt), 4*in.T)
			}
			switch {
			case l.Middle < 0:
				q.Upload(h.Arena(twiceAt), host(twiceAt, in.T))
			case l.Middle != l.Head:
				q.Peer(h.Arena(twiceAt), d[l.Middle], d[l.Middle].Arena(twiceAt), 4*in.T)
			}
			q.Launch(logits, in.R, 1, 1, uint64(h.Arena(logitsAt)), uint64(h.Arena(sumAt)), uint64(h.Arena(twiceAt)), uint64(h.Rows()), uint64(bias))
		}}
		parts := []cuda.Part{first, middle, last}
		at := cuda.Logits{Device: l.Head, At: d[l.Head].Arena(logitsAt)}
		return g.Program(cuda.Steps{Prefill: parts, Decode: parts, PrefillLogits: at, DecodeLogits: at})
	}
}

// Plan is what the test's program needs of each device.
func Plan(devices int) *cuda.Plan {
	p := &cuda.Plan{NativeCUDA: 12000, PTXCUDA: 12000, Image: []byte("image"), Archs: []int{80, 90}, PTX: []int{90}}
	for i := range devices {
		p.Devices = append(p.Devices, cuda.DevicePlan{Name: fmt.Sprintf("cuda:%d", i), Weights: 256, Arena: 1024, Recurrent: 256, KV: 512})
	}
	return p
}

// Run evaluates prompts and tokens of two sequences and compares every logit;
// then closes the session.
func (l Layout) Run(t *testing.T, s *engine.Session) {
	t.Helper()
	want := func(what string, got []float32, sum float32) {
		t.Helper()
		if !slices.Equal(got, []float32{sum, 2 * sum, Bias}) {
			t.Errorf("%s, %s: %v, want the sum %v", l.Name, what, got, sum)
		}
	}
	decode := func(what string, seq int, token int32, sum float32) {
		t.Helper()
		got, err := s.Decode(seq, token)
		if err != nil {
			t.Fatalf("%s: %v", l.Name, err)
		}
		want(what, got, sum)
	}
	out := make([]float32, 3*Vocab)
	if err := s.Prompt(context.Background(), 1, []int32{1, 2, 1, 2, 1, 2}, []int{0, 3, 5}, out); err != nil {
		t.Fatalf("%s: %v", l.Name, err)
	}
	want("row 0", out[:3], 1)
	want("row 3", out[3:6], 6)
	want("row 5", out[6:], 9)
	decode("a token", 0, 2, 2)
	decode("a token of another sequence", 1, 2, 11)
	decode("the next", 0, 2, 4)
	s.Reset(1)
	decode("after a reset", 1, 1, 1)
	decode("of the other", 0, 1, 5)
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", l.Name, err)
	}
}

// Session opens the program of a layout; notes collects what it says.
func Session(t *testing.T, l Layout, open cuda.Opener, plan *cuda.Plan, notes *[]string, edit func(*engine.Model)) (*engine.Session, error) {
	t.Helper()
	id := [32]byte{9}
	m := &engine.Model{
		Info: engine.Info{BuildID: hex.EncodeToString(id[:]), NumVocab: Vocab, NumCtx: 100, NumUbatch: Ubatch, NumBatch: Ubatch, NumSeq: 2, DefaultThreads: 2, TargetCPU: "portable"},
		Plan: engine.Plan{ArenaBytes: 1024},
		New:  l.build(open, plan),
	}
	if edit != nil {
		edit(m)
	}
	var meta bytes.Buffer
	if err := gguf.Write(&meta, []gguf.KV{{Key: "general.name", Value: "sum"}}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sum.weights")
	var sections []pack.Section
	for _, x := range []struct {
		name string
		data []byte
	}{{"meta", meta.Bytes()}, {"bias", binary.LittleEndian.AppendUint32(nil, math.Float32bits(Bias))}} {
		sections = append(sections, pack.Section{Name: x.name, Size: int64(len(x.data)), Write: func(w io.Writer) error {
			_, err := w.Write(x.data)
			return err
		}})
	}
	if err := pack.Create(path, id, sections, nil); err != nil {
		t.Fatal(err)
	}
	return engine.Open(m, engine.Options{Weights: path, Note: func(s string) {
		if notes != nil {
			*notes = append(*notes, s)
		}
	}})
}
