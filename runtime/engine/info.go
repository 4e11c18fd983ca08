// Package engine runs a compiled model: it maps the weights, holds arena,
// KV cache and recurrent state, and drives the emitted step functions.
package engine

import (
	"context"

	"qnc/runtime/gguf"
)

// Info is what the emitted program knows of itself. Everything in it was decided at compile time.
type Info struct {
	Name       string `json:"name"`     // general.name, or the file's base name
	Arch       string `json:"arch"`     // general.architecture
	FileType   string `json:"type"`     // as llama.cpp prints it: "Q4_K - Medium"
	SourceFile string `json:"source"`   // base name of the GGUF
	Compiler   string `json:"compiler"` // qnc version
	TargetCPU  string `json:"target_cpu"`
	BuildID    string `json:"build_id"` // hex; shared with the weights file
	Recompile  string `json:"recompile"`

	Params      uint64 `json:"params"`
	WeightBytes uint64 `json:"weight_bytes"` // tensor bytes of the GGUF

	NumVocab  int `json:"n_vocab"`
	NumLayers int `json:"n_layers"`
	NumCtx    int `json:"n_ctx"` // cells of one sequence
	NumBatch  int `json:"n_batch"`
	NumUbatch int `json:"n_ubatch"`
	NumSeq    int `json:"n_seq"`

	GPUs      string `json:"gpus,omitempty"`       // devices of the plan beside the CPU: "cuda:0, cuda:1"
	GPULayers int    `json:"gpu_layers,omitempty"` // on them, the head counted as one

	TypeK          string `json:"type_k"`
	TypeV          string `json:"type_v"`
	Precise        bool   `json:"precise"`
	DefaultThreads int    `json:"threads"` // 0: one a CPU

	// Planned bytes; the last two for all sequences together.
	ArenaBytes     int64 `json:"arena_bytes"`
	RecurrentBytes int64 `json:"recurrent_bytes"`
	KVBytes        int64 `json:"kv_bytes"`
}

// Runner is what the commands need of a running model.
type Runner interface {
	Info() *Info

	// Meta returns the model's metadata (tokenizer.*, general.*), a GGUF without tensors.
	Meta() *gguf.File

	// Prompt appends tokens to sequence seq, cut into ubatches. The logits of
	// rows (ascending indices into tokens) go to out, NumVocab floats each.
	// A context that is full is an error with the counts; nothing is evaluated then.
	// When ctx ends, also inside of a step, the error has code fault.Interrupted and
	// wraps that of ctx, and seq is empty: recurrent state cannot be rewound. Only a
	// ctx that has ended before leaves seq as it is.
	Prompt(ctx context.Context, seq int, tokens []int32, rows []int, out []float32) error

	// Decode appends one token; the logits are valid until the next call.
	Decode(seq int, token int32) ([]float32, error)

	// Len returns the number of tokens in sequence seq.
	Len(seq int) int

	// Reset empties sequence seq.
	Reset(seq int)

	// Save copies into st what Restore needs to take sequence seq back to its present
	// length. Cells of the KV cache are not copied: between the two calls the sequence
	// may only have grown, or been restored to a state that was at least as long.
	Save(seq int, st *State)
	Restore(seq int, st *State)

	// SetUbatch sets how many tokens one step of Prompt takes, at most Info().NumUbatch.
	SetUbatch(n int)

	// SetThreads sets the threads of Decode and of Prompt.
	SetThreads(decode, prompt int)

	// Settle returns when what Open began in the background has ended: mapping all
	// weights, which takes some of the machine beside the first steps.
	Settle()

	// SetTrace takes the time of every kernel of the steps from here on, until SetTrace(nil).
	SetTrace(*Trace)

	// Peak measures what the machine does at best with the threads of Decode: reads
	// of the weights, and this program's products in the caches. It takes about a second.
	Peak() Peaks

	// Verify hashes all weights and compares them with the digests of the compile.
	Verify(progress func(done, total int64)) error

	Close() error
}
