package compiler

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/runtime/gguf"
)

// planTiny plans generated/tiny and returns the job that did.
func planTiny(t *testing.T, o *Options, machine string) (*job, *bytes.Buffer) {
	t.Helper()
	var err bytes.Buffer
	o.Stderr = &err
	if machine != "" {
		o.Machine = filepath.Join(t.TempDir(), "machine.qir")
		if err := os.WriteFile(o.Machine, []byte("module here level=graph {\n\t"+machine+"\n}\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	path := tinyModel(t)
	f, ferr := gguf.Open(path)
	if ferr != nil {
		t.Fatal(ferr)
	}
	t.Cleanup(func() { f.Close() })
	if err := o.normalise(); err != nil {
		t.Fatal(err)
	}
	j := &job{o: o, path: path, file: f, bar: newBar(o)}
	for _, step := range []func(context.Context) error{j.load, j.optimise, j.place, j.plan} {
		if err := step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return j, &err
}

// Of generated/tiny, q8_0 takes 34 bytes for 32 weights. Worked out by hand:
// a delta layer, an attention layer and the head, two of four experts.
const (
	tinyFFN   = 4*64*4 + 2*3*32*68 + 3*32*68 + 64*4 // router, 2 experts, the shared one, its gate
	tinyDelta = 64*4 + 128*68 + 64*68 + 8*64*2 + 2*4*4 + 128*4*4 + 16*4 + 64*68 + 64*4 + tinyFFN
	tinyAttn  = 64*4 + 256*68 + 2*64*68 + 2*32*4 + 64*136 + 64*4 + tinyFFN
	tinyBytes = 68 + tinyDelta + tinyAttn + 64*4 + 300*68
)

// TestPredict: sums of a decode step and the speed that a stated machine allows.
func TestPredict(t *testing.T) {
	j, stderr := planTiny(t, tinyOptions("tiny"), "device cpu mem=1GiB bw=1GB/s mac=1200GMAC/s")
	p := j.stats[len(j.stats)-1].Cost
	if p == nil || p.Decode.Weights != tinyBytes {
		t.Fatalf("decode reads %+v, want %d bytes of weights", p, tinyBytes)
	}
	if want := 2.0 * (3*128*4 + 4*16*16*4); p.Decode.State != want {
		t.Errorf("state %v, want %v", p.Decode.State, want)
	}
	if cell := 2.0 * 2 * 32 * 2; p.Cell != cell || p.Decode.KV != 2*cell { // f16 of K and V; one cell is written and read
		t.Errorf("KV %v and %v a cell, want %v", p.Decode.KV, p.Cell, cell)
	}
	macs := 128*64 + 64*64 + 64*64 + 256*64 + 2*64*64 + 64*128 + 2*(3*3*32*64) + 300*64
	if p.Decode.Int != float64(macs) {
		t.Errorf("%v multiply-adds of int8, want %d", p.Decode.Int, macs)
	}
	// ssm_ba is stored as it is in the file; the norms are f32 there too.
	if p.Active != tinyBytes || p.Excess != 0 || stderr.Len() > 0 {
		t.Errorf("active %v, excess %v, stderr %q", p.Active, p.Excess, stderr)
	}
	if p.Tokens != 64 || p.Prompt.Int < 40*float64(macs) || p.Prompt.Int > 64*float64(macs) || p.Prompt.Weights < p.Decode.Weights {
		t.Errorf("prompt of %d: %+v", p.Tokens, p.Prompt)
	}
	// With so many multiply-adds a second, reading is all that decode waits for.
	best := 1e9 / p.Decode.Bytes()
	if p.Rates == nil || math.Abs(p.Rates.Decode/best-1) > 0.02 || p.Rates.Deep >= p.Rates.Decode || p.Devices[0].Measured {
		t.Errorf("rates %+v, want %v t/s in decode", p.Rates, best)
	}
	text := p.String()
	for _, want := range []string{"decode reads ", "100.0 % of the", " of recurrent state", "cpu: 1.0 GB/s, 1200 G multiply-adds/s of int8 (stated)\n", "at depth 255\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}

// TestPredictUnknown: without a bandwidth there are sums, but no speed; -v of this machine measures.
func TestPredictUnknown(t *testing.T) {
	j, _ := planTiny(t, tinyOptions("tiny"), "")
	p := j.stats[len(j.stats)-1].Cost
	if p.Rates != nil || p.Devices != nil || !strings.Contains(p.String(), "bw= in --machine") {
		t.Errorf("%+v", p)
	}
	o := tinyOptions("tiny")
	o.Machine, o.Verbose = "", true
	j, stderr := planTiny(t, o, "")
	p = j.stats[len(j.stats)-1].Cost
	if p.Rates == nil || !p.Devices[0].Measured || p.Rates.Decode <= 0 || p.Rates.Prompt <= 0 || !strings.Contains(stderr.String(), "\ncost ") || !strings.Contains(stderr.String(), "(measured)") {
		t.Errorf("%+v\n%s", p, stderr)
	}
}

// TestPredictWarns: a weight that decode reads twice is more than is active.
func TestPredictWarns(t *testing.T) {
	j, stderr := planTiny(t, tinyOptions("tiny"), "")
	f := j.m.Func("decode")
	for _, v := range f.Body {
		if v.Op == ir.OpMatMul && v.Name == "result_output" {
			f.Body = append(f.Body, v)
			break
		}
	}
	if err := j.predict(); err != nil {
		t.Fatal(err)
	}
	if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "are active: +") || !strings.Contains(got, "tiny.gguf: decode reads ") {
		t.Errorf("stderr %q", got)
	}
}
