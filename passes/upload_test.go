package passes

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/ir/eval"
)

// TestUploadRates: from which step on uploads pay, and what they copy, of one
// layer of 512 experts of which a token picks 10.
func TestUploadRates(t *testing.T) {
	layer := experts{bytes: 1e9, rows: 512, picks: 10, macs: 3e6}
	for _, c := range []struct {
		name   string
		r      rates
		most   int
		from   int // 0: they do not pay
		active bool
	}{
		// 40 ms for the upload, 87 µs a token on the cpu.
		{"two cores", rates{35e9, 345e9, 25e9}, 512, 460, false},
		{"a shorter ubatch", rates{35e9, 345e9, 25e9}, 256, 0, false},
		{"a faster link", rates{35e9, 345e9, 50e9}, 512, 61, false},
		{"a fast cpu", rates{400e9, 30e12, 25e9}, 1024, 0, false},
		{"a link faster than memory", rates{35e9, 345e9, 60e9}, 32, 3, true},
	} {
		u, ok := c.r.decide([]experts{layer, layer}, c.most)
		if ok != (c.from > 0) || ok && (u.from < c.from-2 || u.from > c.from+2 || u.active != c.active) {
			t.Errorf("%s: %v, %+v; want from %d, active %v", c.name, ok, u, c.from, c.active)
		}
	}
	for _, n := range []float64{1, 51.2, 512} {
		want := 1 - math.Exp(n*math.Log(502.0/512))
		if have := layer.active(n); math.Abs(have-want) > 1e-9 {
			t.Errorf("of %v tokens: %v, want %v", n, have, want)
		}
	}
}

// TestUploads: on a machine where they pay, long prompts have a form of their
// own in which the experts on the cpu are read by ops on the GPU, each uploaded
// just before; on others there is none. Both forms mean the same.
func TestUploads(t *testing.T) {
	for _, c := range []struct {
		cpu, link string
		on        ir.Device // of the experts
		want      bool
	}{
		{"bw=1GB/s mac=1GMAC/s", "25GB/s", "cpu", true},
		{"bw=400GB/s mac=90000GMAC/s", "1GB/s", "cpu", false},
		{"bw=1GB/s mac=1GMAC/s", "25GB/s", "cuda:0", false},
	} {
		_, m := importModel(t, strings.ReplaceAll(small, "experts = 5", "experts = 64")+"type = q8_0\n")
		x, err := ir.Parse("module m level=graph {\n\tdevice cpu " + c.cpu + "\n\tdevice cuda:0 bw=900GB/s\n\tlink cpu cuda:0 " + c.link + "\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		m.Machine = x.Machine
		for _, w := range m.Weights {
			if strings.Contains(w.Name, "_exps") {
				w.On = c.on
			}
		}
		if err := Run(m, &Target{Uploads: true}, Default(false), nil); err != nil {
			t.Fatal(err)
		}
		f := m.Func("prefill_upload")
		if f == nil == c.want {
			t.Errorf("%+v: there is a form with uploads: %v", c, f != nil)
		}
		if f == nil {
			continue
		}
		uploads := 0
		for i, v := range f.Body {
			if v.Op == ir.OpTransfer && v.Args[0].Op == ir.OpWeight {
				uploads++
				if next := f.Body[i+1]; next.Op != ir.OpTransfer && (next.Args[1] != v && next.Args[2] != v || next.On != "cuda:0") {
					t.Errorf("after %s comes %s", v.LongString(), next.LongString())
				}
			}
		}
		if n := len(f.Parts); uploads != 2*3 || n != 1 || f.From < 1 || f.From > 130 {
			t.Errorf("%d uploads, %d parts, from %d", uploads, n, f.From)
		}
		again, err := ir.Parse(m.String())
		if err != nil {
			t.Fatal(err)
		}
		if have := again.Func(f.Name).From; have != f.From {
			t.Errorf("read back: from %d, printed %d", have, f.From)
		}
		// Without its second form the module is what it was.
		one, both := sizedRun(t, m, "prefill"), sizedRun(t, m, "prefill_upload")
		for i := range one {
			if err := near(&Pass{}, one[i], both[i]); err != nil {
				t.Errorf("result or state %d: %v", i, err)
			}
		}
	}
}

// sizedRun evaluates a function of three tokens.
func sizedRun(t *testing.T, m *ir.Module, name string) []eval.Tensor {
	t.Helper()
	f := m.Func(name)
	sizes := ir.Sizes{"T": 3, "R": 2, "S": 2, "C": firstPos + 3}
	out, err := runModule(m, f, sizes, inputs(f, sizes))
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	return out
}
