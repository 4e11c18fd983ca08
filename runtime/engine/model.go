package engine

import (
	"fmt"
	"unsafe"

	"qnc/runtime/cost"
	"qnc/runtime/fault"
	"qnc/runtime/kernel"
	"qnc/runtime/pack"
)

// A Model is what the emitted program hands to Open: everything is a constant
// of the compile but New.
type Model struct {
	Info Info
	Plan Plan
	New  func(*Memory) (*Program, error)

	// CPU is the same model without a GPU, nil where the machine that it was
	// compiled for could not hold it so. It runs when New finds no usable GPU.
	CPU *Variant
}

// A Variant is another way to run a model, with the same weights.
type Variant struct {
	Plan Plan
	New  func(*Memory) (*Program, error)
}

// Plan is the memory plan: what is allocated at start, and nothing after.
type Plan struct {
	ArenaBytes      int // activations of one step
	ScratchFloats   int // of each thread
	SharedFloats    int // of all threads of a team
	RecurrentFloats int // recurrent state of one sequence, in one piece
	KVBytes         int // KV cache of all sequences
	Threads         int // where steps have no use for more; 0: they have
}

// Memory is what New cuts into the program's tensors.
type Memory struct {
	Weights   *pack.File
	Arena     []byte
	Recurrent []float32 // NumSeq regions of RecurrentFloats
	KV        []byte
	Info      *Info
	Progress  func(done, total int64) // of loading weights to devices; may be nil
	err       error
}

// Weight returns the bytes of a weight; the first fault is kept for Err.
func (m *Memory) Weight(name string, size int) []byte {
	b := m.Weights.Section(name)
	if len(b) != size && m.err == nil {
		m.err = fault.New(fault.Model, "weight %s has %d bytes, want %d: the weights file belongs to another compile; compile again", name, len(b), size)
	}
	return b
}

// Vector returns a weight of n float32.
func (m *Memory) Vector(name string, n int) []float32 { return kernel.Floats(m.Weight(name, 4*n)) }

// Err returns the first fault of Weight and Vector.
func (m *Memory) Err() error { return m.err }

// Floats, Int32s and Bytes are arena buffers.
func (m *Memory) Floats(off, n int) []float32 { return kernel.Floats(m.Arena[off : off+4*n]) }
func (m *Memory) Int32s(off, n int) []int32   { return kernel.Int32s(m.Arena[off : off+4*n]) }
func (m *Memory) Bytes(off, n int) []byte     { return m.Arena[off : off+n : off+n] }

// A Program is the emitted steps over their memory.
type Program struct {
	Prefill, Decode             func(*Thread, *Step)
	PrefillLogits, DecodeLogits []float32 // rows of NumVocab, valid until the next step

	PrefillLines, DecodeLines []cost.Line // what their kernels cost, in order
	Products                  []Product

	// What a program with devices has beside; nil without.
	Err   func() error  // the first fault of a step; no later one comes to its end
	Reset func(seq int) // makes the recurrent state on devices zero
	Close func() error  // gives the devices back
	Notes []string      // a line each, for who started the program
}

// A Step is the input of one run: tokens of one sequence at consecutive positions.
type Step struct {
	Tok, Pos, Seq []int32
	Rows          []int32 // indices into Tok whose logits are asked
	T, R          int     // len(Tok), len(Rows)
	Slot          int     // Seq[0]
}

func (s *Step) String() string {
	return fmt.Sprintf("sequence %d, tokens %d at %d", s.Slot, s.T, s.Pos[0])
}

// addr is where b starts.
func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
