package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// A result is one test of a program's JSON.
type result struct {
	Prompt  int       `json:"n_prompt"`
	Gen     int       `json:"n_gen"`
	Depth   int       `json:"n_depth"`
	Ubatch  int       `json:"n_ubatch"`
	Threads int       `json:"n_threads"`
	Test    string    `json:"test"` // ik_llama.cpp's: tg32@pp8192
	Rates   []float64 `json:"samples_ts"`
}

// results reads what a llama-bench printed with -o json; what stands before
// the list is a log.
func results(out []byte) ([]result, error) {
	if !bytes.HasPrefix(out, []byte("[\n")) {
		i := bytes.Index(out, []byte("\n[\n"))
		if i < 0 {
			return nil, fmt.Errorf("no list of results in %d bytes of output", len(out))
		}
		out = out[i+1:]
	}
	var all []result
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&all); err != nil {
		return nil, err
	}
	for i := range all {
		r := &all[i]
		if len(r.Rates) == 0 {
			return nil, fmt.Errorf("a result without samples: %s", r.name())
		}
		if r.Prompt > 0 && r.Gen > 0 && r.Test == fmt.Sprintf("tg%d@pp%d", r.Gen, r.Prompt) {
			r.Depth, r.Prompt = r.Prompt, 0
		}
	}
	return all, nil
}

func (r *result) name() string { return testName(r.Prompt, r.Gen, r.Depth, r.Ubatch, r.Threads) }

// testName identifies a test: what is measured and with which sizes.
func testName(prompt, gen, depth, ubatch, threads int) string {
	s := fmt.Sprintf("tg%d", gen)
	if prompt > 0 {
		s = fmt.Sprintf("pp%d ub%d", prompt, ubatch)
	}
	if depth > 0 {
		s += fmt.Sprintf(" d%d", depth)
	}
	return s + fmt.Sprintf(" t%d", threads)
}

// packed is the line of qnc compile -v.
var packedLine = regexp.MustCompile(`(?m)^packed (\d+) bytes in ([0-9.]+) s`)

// packed reads how many bytes were packed in how many seconds.
func packed(out []byte) (size, seconds float64, err error) {
	m := packedLine.FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("qnc compile -v printed no line about packing")
	}
	if size, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return 0, 0, err
	}
	seconds, err = strconv.ParseFloat(string(m[2]), 64)
	return size, seconds, err
}

// A plan is what model info --json says of memory, in bytes.
type plan struct {
	Weights   float64 `json:"weight_bytes"`
	Arena     float64 `json:"arena_bytes"`
	Recurrent float64 `json:"recurrent_bytes"`
	KV        float64 `json:"kv_bytes"`
}
