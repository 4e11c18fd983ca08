package app

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// An allocCount is what the model allocated in steps that info ran to see.
type allocCount struct {
	Tokens      int    `json:"tokens"`  // decoded one by one
	Prompts     int    `json:"prompts"` // of two tokens
	Allocations uint64 `json:"allocations"`
	Bytes       uint64 `json:"bytes"`
	NotMeasured string `json:"not_measured,omitempty"` // why
}

func (c *allocCount) String() string {
	if c.NotMeasured != "" {
		return "not measured: " + c.NotMeasured
	}
	return fmt.Sprintf("%d in the steps of %d tokens and %d prompts, counted on one thread", c.Allocations, c.Tokens, c.Prompts)
}

// What countAllocs runs at most, beside one round before it counts.
const (
	allocRounds = 8
	allocTime   = 100 * time.Millisecond
)

// countAllocs starts the model, runs a few steps and asks Go's runtime what they allocated.
func (a *app) countAllocs() *allocCount {
	c := &allocCount{}
	if err := a.open(); err != nil {
		c.NotMeasured = err.Error()
		return c
	}
	tokens := []int32{0, 0}
	round := func() error {
		a.r.Reset(0)
		if _, err := a.r.Decode(0, 0); err != nil {
			return err
		}
		return a.r.Prompt(context.Background(), 0, tokens, nil, nil) // to watch a context allocates, once a call
	}
	a.r.Settle()
	a.r.SetThreads(1, 1) // a thread that parks takes a note of Go's runtime, of which that allocates the first hundred
	var before, after runtime.MemStats
	err := round()
	runtime.ReadMemStats(&before)
	for start := time.Now(); err == nil && c.Prompts < allocRounds && (c.Prompts == 0 || time.Since(start) < allocTime); {
		err = round()
		c.Tokens++
		c.Prompts++
	}
	runtime.ReadMemStats(&after)
	if err != nil {
		return &allocCount{NotMeasured: err.Error()}
	}
	c.Allocations, c.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return c
}
