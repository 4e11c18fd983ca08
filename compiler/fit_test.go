package compiler

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"qnc/ir"
	"qnc/runtime/fault"
)

// fitOf plans a model; what does not fit is no failure of the test.
func fitOf(t testing.TB, model string, o Options) *FitReport {
	t.Helper()
	r, err := Fit(context.Background(), model, &o)
	if r == nil {
		t.Fatal(err)
	}
	if r.Fits != (err == nil) || err != nil && fault.CodeOf(err) != fault.Fit {
		t.Fatalf("fits %v, error %v", r.Fits, err)
	}
	return r
}

// with applies the flag of a change; ok is false for advice that is no flag.
func with(t *testing.T, o Options, flag string) (Options, bool) {
	f := strings.Fields(flag)
	n, _ := strconv.Atoi(f[len(f)-1])
	switch {
	case f[0] == "-c":
		o.Ctx = n
	case f[0] == "-ub":
		o.Ubatch = n
	case f[0] == "-np":
		o.Seqs = n
	case flag == "-ctk q8_0 -ctv q8_0":
		o.TypeK, o.TypeV = "q8_0", "q8_0"
	case f[0] == "-ncmoe":
		o.Placement.Overrides = append(o.Placement.Overrides, CPUExperts(n))
	case f[0] == "-cmoe":
		o.Placement.Overrides = append(o.Placement.Overrides, CPUExperts(-1))
	case f[0] == "-ot":
		o.Placement.Overrides = append(ot(t, f[1]), o.Placement.Overrides...)
	case flag == "-ngl auto":
		o.Placement.Layers = "auto"
	case f[0] == "experts", flag == "--op-offload":
		return o, false
	default:
		t.Errorf("%s: no flag that the test knows", flag)
	}
	return o, true
}

// TestChanges: what a change is said to free is what it frees, and what is said
// to fit fits.
func TestChanges(t *testing.T) {
	model := synthFile(t, "layers = 6\nhidden = 256\nstate = 32\nhead_dim = 64\nexpert_ff = 256\nshared_ff = 256\nexperts = 16\nvocab = 2000\ntype = q8_0\n")
	seen, fits := map[string]bool{}, 0
	for _, mem := range []string{"512MiB", "421MiB", "412MiB"} {
		o := Options{Ctx: 4096, Ubatch: 256, Seqs: 2, Machine: machineFile(t, hostLine, "\tdevice cuda:0 mem="+mem+" bw=400GB/s\n"), Placement: Placement{Layers: "all"}}
		r := fitOf(t, model, o)
		before := r.Devices[1]
		for _, c := range r.Changes {
			changed, ok := with(t, o, c.Flag)
			if !ok || c.Device == "cpu" {
				continue
			}
			seen[strings.Fields(c.Flag)[0]] = true
			after := fitOf(t, model, changed)
			d := after.Devices[1]
			frees, arena := before.Need-d.Need, before.Arena-d.Arena
			if strings.HasPrefix(c.Flag, "-ub") || strings.HasPrefix(c.Flag, "-ngl") || strings.HasPrefix(c.Flag, "-np") {
				arena = 0 // it is what changes
			}
			// Another placement has another arena, which is not part of the change.
			if have := frees - arena; have != c.Frees {
				t.Errorf("%s, %s: frees %d, said to free %d", mem, c.Flag, have, c.Frees)
			}
			if splits := after.Funcs[0].Splits - r.Funcs[0].Splits; c.Splits != 0 && splits != c.Splits {
				t.Errorf("%s, %s: %+d splits, said %+d", mem, c.Flag, splits, c.Splits)
			}
			if c.Fits {
				fits++
				if !after.Fits {
					t.Errorf("%s, %s: does not fit: %+v", mem, c.Flag, d)
				}
			}
		}
	}
	for _, f := range []string{"-c", "-ub", "-np", "-ctk", "-ncmoe", "-ot", "-ngl"} {
		if !seen[f] {
			t.Errorf("no change is %s", f)
		}
	}
	if fits == 0 {
		t.Error("no change makes anything fit")
	}
}

// TestFit80B: the plan of the 80B shapes says what lies where and proves its splits.
func TestFit80B(t *testing.T) {
	model := big80B(t)
	o := Options{Ctx: 65536, Batch: 4096, Ubatch: 1024, Machine: machineFile(t, hostLine, gpu16, links)}
	r := fitOf(t, model, o)
	d := r.Devices[1]
	if d.Device != "cuda:0" || d.Dense != "0-47, head" || !strings.HasPrefix(d.Sparse, "0-1") || !strings.HasPrefix(r.Devices[0].Sparse, "embedding, 1") || d.KV != 1536<<20 || d.Reserve != gpuReserve || *d.Free < 0 || *d.Free > 1<<30 {
		t.Errorf("%+v", d)
	}
	for _, f := range r.Funcs {
		if f.Splits != f.Bound || len(f.Path) != f.Bound-1 || f.Start != "cpu" {
			t.Errorf("%s: %d splits, bound %d, path of %d from %s", f.Func, f.Splits, f.Bound, len(f.Path), f.Start)
		}
	}
	var short, long bytes.Buffer
	if err := r.Text(&short, false); err != nil {
		t.Fatal(err)
	}
	if err := r.Text(&long, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(short.String(), "no order has fewer: from cpu the device changes") || !strings.Contains(short.String(), " more, ") {
		t.Errorf("have\n%s", &short)
	}
	if n := strings.Count(long.String(), " on cpu"); n != 2*((r.Funcs[0].Bound-1)/2) { // half of the changes of each function
		t.Errorf("%d changes to the cpu in\n%s", n, &long)
	}
	// What does not fit says what would.
	o = Options{Ctx: 8192, Machine: o.Machine, Placement: Placement{Layers: "99"}}
	_, err := Fit(context.Background(), model, &o)
	if fault.CodeOf(err) != fault.Fit || !strings.Contains(fmt.Sprint(err), "cuda:0 has 16.00 GiB: it fits with -ncmoe ") {
		t.Errorf("have %v", err)
	}
}

func TestLayerRanges(t *testing.T) {
	for _, c := range []struct {
		layers []int
		want   string
	}{
		{nil, ""}, {[]int{-1}, "embedding"}, {[]int{0, 1, 2, 3, 4}, "0-3, head"}, {[]int{-1, 0, 2, 3, 4}, "embedding, 0, 2-3, head"}, {[]int{4}, "head"},
	} {
		set := map[int]int64{}
		for _, i := range c.layers {
			set[i] = 1
		}
		if have := layerRanges(set, 4); have != c.want {
			t.Errorf("%v: %q, want %q", c.layers, have, c.want)
		}
	}
}

// TestUnknownMemory: a device that states no memory holds anything.
func TestUnknownMemory(t *testing.T) {
	r := fitOf(t, synthFile(t, ""), Options{Ctx: 64, Machine: machineFile(t, "\tdevice cpu\n", "\tdevice cuda:0\n")})
	for _, d := range r.Devices {
		if d.Free != nil || d.Have != 0 {
			t.Errorf("%+v", d)
		}
	}
	if r.Devices[1].Device != ir.Device("cuda:0") || r.Devices[1].Dense == "" || r.Devices[0].Dense != "" {
		t.Errorf("the GPU holds %q, the cpu %q", r.Devices[1].Dense, r.Devices[0].Dense)
	}
}

// TestFitUploads: what the plan does with long prompts is part of the report.
func TestFitUploads(t *testing.T) {
	model := big80B(t)
	slow := "\tdevice cpu mem=64GiB bw=35GB/s mac=345GMAC/s\n"
	for _, c := range []struct {
		name, machine string
		ubatch        int
		want          bool
	}{
		{"two cores", slow + gpu16 + links, 1024, true},
		{"two cores, short steps", slow + gpu16 + links, 256, false},
		{"a fast cpu", "\tdevice cpu mem=64GiB bw=400GB/s mac=30000GMAC/s\n" + gpu16 + links, 1024, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := fitOf(t, model, Options{Ctx: 4096, Ubatch: c.ubatch, Machine: machineFile(t, c.machine), Placement: Placement{Uploads: true, Overrides: []Override{CPUExperts(-1)}}})
			last := r.Funcs[len(r.Funcs)-1]
			if !c.want {
				if len(r.Funcs) != 2 || last.From != 0 || last.Uploads != 0 {
					t.Errorf("%+v", last)
				}
				return
			}
			if last.Splits != 1 || last.Uploads != 3*48 || last.Transfers != 0 || last.Active || last.From < 300 || last.From > 600 || last.Uploaded != r.Devices[0].Weights {
				t.Errorf("%+v", last)
			}
			if f := r.Funcs[0]; f.Splits != 97 || f.Uploads != 0 {
				t.Errorf("%+v", f)
			}
		})
	}
}
