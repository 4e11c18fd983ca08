package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

// info prints what was compiled and what memory it plans.
func (a *app) info() error {
	in := a.Info
	if a.set.Bool("json") {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			*engine.Info
			Allocations *allocCount `json:"allocations_of_steps"`
		}{in, a.countAllocs()}); err != nil {
			return fault.New(fault.Failure, "info: %w", err)
		}
		return nil
	}
	threads := "one a CPU"
	if in.DefaultThreads > 0 {
		threads = fmt.Sprint(in.DefaultThreads)
	}
	precise := ""
	if in.Precise {
		precise = ", precise: no activation quantisation"
	}
	sequences := "1 sequence"
	if in.NumSeq != 1 {
		sequences = fmt.Sprintf("%d sequences", in.NumSeq)
	}
	if in.GPUs != "" {
		precise += ", " + onDevices(in)
	}
	memory := int64(in.WeightBytes) + in.ArenaBytes + in.RecurrentBytes + in.KVBytes
	for _, l := range [][2]string{
		{"model", in.Name},
		{"architecture", fmt.Sprintf("%s, %d layers, vocabulary of %d", in.Arch, in.NumLayers, in.NumVocab)},
		{"weights", fmt.Sprintf("%s, %s parameters, %s", in.FileType, params(in.Params), size(in.WeightBytes))},
		{"source", in.SourceFile},
		{"compiled", fmt.Sprintf("by qnc %s for %s%s, build %s", in.Compiler, in.TargetCPU, precise, in.BuildID)},
		{"context", fmt.Sprintf("%s of %d tokens, batch %d, ubatch %d", sequences, in.NumCtx, in.NumBatch, in.NumUbatch)},
		{"KV cache", fmt.Sprintf("K %s, V %s", in.TypeK, in.TypeV)},
		{"threads", threads},
		{"memory", fmt.Sprintf("%s in all", size(uint64(memory)))},
		{"  weights", size(in.WeightBytes) + ", mapped"},
		{"  arena", size(uint64(in.ArenaBytes))},
		{"  recurrent", size(uint64(in.RecurrentBytes))},
		{"  KV cache", size(uint64(in.KVBytes))},
		{"allocations", a.countAllocs().String()},
		{"recompile", in.Recompile},
	} {
		fmt.Fprintf(a.out, "%-13s %s\n", l[0], l[1])
	}
	return nil
}

// verify hashes the weights.
func (a *app) verify() error {
	if err := a.open(); err != nil {
		return err
	}
	bar := a.newBar("verify")
	var all int64
	result := make(chan error, 1)
	go func() {
		result <- a.r.Verify(func(done, total int64) {
			all = total
			bar.set(done, total)
		})
	}()
	select {
	case <-a.ctx.Done():
		// The mapping must stay while it is being hashed: leave it to the end of the process.
		a.r = nil
		return a.ctx.Err()
	case err := <-result:
		bar.clear()
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "%s: %s of weights, every digest is the compile's\n", a.Info.Name, size(uint64(all)))
	return nil
}

// completion prints a shell's completion script.
func (a *app) completion() error {
	if len(a.set.Args) != 1 {
		return fault.New(fault.Usage, "completion: needs a shell: completion bash, zsh or fish")
	}
	return flags.WriteCompletion(a.out, a.set.Args[0], a.Name)
}

// A bar shows progress on stderr when it is a terminal.
type bar struct {
	a     *app
	title string
	start time.Time
	last  time.Time
}

func (a *app) newBar(title string) *bar {
	return &bar{a: a, title: title, start: time.Now()}
}

func (b *bar) set(done, total int64) {
	now := time.Now()
	if !b.a.ErrTerm || total <= 0 || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last = now
	const width = 30
	full := int(min(done, total) * width / total)
	speed := float64(done) / max(now.Sub(b.start).Seconds(), 1e-3)
	left := time.Duration(float64(total-done) / max(speed, 1) * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(b.a.Stderr, "\r%s [%s%s] %3d%% %s/s, %v left \x1b[K", b.title,
		strings.Repeat("#", full), strings.Repeat(".", width-full), 100*min(done, total)/total, size(uint64(speed)), left)
}

func (b *bar) clear() {
	if b.a.ErrTerm {
		fmt.Fprint(b.a.Stderr, "\r\x1b[K")
	}
}
