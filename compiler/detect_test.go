package compiler

import (
	"context"
	"fmt"
	"testing"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

// A twoGPUs is a driver that answers what detection asks.
type twoGPUs struct {
	cuda.Driver
	fail string
}

func (d twoGPUs) Version() (int, error)     { return 12040, d.err("version") }
func (d twoGPUs) DeviceCount() (int, error) { return 2, d.err("count") }
func (d twoGPUs) DeviceName(i int) (string, error) {
	return fmt.Sprintf("Card %d", i), d.err("name")
}
func (d twoGPUs) TotalMemory(i int) (uint64, error) { return uint64(i+1) << 34, d.err("memory") }
func (d twoGPUs) Attribute(i int, a cuda.Attribute) (int, error) {
	if a == memoryClock && i == 1 {
		return 0, d.err("memory")
	}
	return map[cuda.Attribute]int{cuda.ComputeMajor: 8, cuda.ComputeMinor: 9, memoryClock: 1000000, busWidth: 256}[a], d.err("attribute")
}

func (d twoGPUs) err(what string) error {
	if d.fail == what {
		return fault.New(fault.Missing, "no %s", what)
	}
	return nil
}

func TestDetectGPUs(t *testing.T) {
	version, gpus, err := detectGPUs(func() (cuda.Driver, error) { return twoGPUs{}, nil })
	want := "[{cuda:0 Card 0 sm_89 17179869184 6.4e+10} {cuda:1 Card 1 sm_89 34359738368 0}]"
	if have := fmt.Sprint(gpus); err != nil || version != 12040 || have != want {
		t.Errorf("CUDA %d, %s, %v; want %s", version, have, err, want)
	}
	if have := fmt.Sprint(devices(gpus)); have != "[{cuda:0 17179869184 0 6.4e+10 0} {cuda:1 34359738368 0 0 0}]" {
		t.Errorf("devices %s", have)
	}
	for _, what := range []string{"version", "count", "name", "memory", "attribute"} {
		if _, _, err := detectGPUs(func() (cuda.Driver, error) { return twoGPUs{fail: what}, nil }); fault.CodeOf(err) != fault.Missing {
			t.Errorf("without %s: %v", what, err)
		}
	}
}

// TestAsks: which flags want a GPU, so that one without a compiler is an error and not left out.
func TestAsks(t *testing.T) {
	for _, c := range []struct {
		p    Placement
		want bool
	}{
		{Placement{}, false}, {Placement{Layers: "auto"}, false}, {Placement{Layers: "0"}, false}, {Placement{Overrides: []Override{CPUExperts(-1)}}, false},
		{Placement{Layers: "1"}, true}, {Placement{Layers: "all"}, true}, {Placement{Split: "1,1"}, true}, {Placement{Main: 1}, true},
		{Placement{Layers: "0", Overrides: ot(t, "a=CPU,b=CUDA0")}, true},
	} {
		if have := c.p.asks(); have != c.want {
			t.Errorf("%+v: %v", c.p, have)
		}
	}
	if m, note := ThisMachine(context.Background(), &Placement{Layers: "0"}); len(m.Devices) != 1 || note != "" {
		t.Errorf("-ngl 0: %v, %q", m, note)
	}
}
