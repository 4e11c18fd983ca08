package passes

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qnc/ir"
)

// layersAtRandom makes n layers of one dense weight and, most of them, one
// expert weight of which a token reads a tenth.
func layersAtRandom(r *rand.Rand, n int) ([]*layer, *usage) {
	u := &usage{read: map[*ir.Value]int64{}}
	weight := func(bytes int) *ir.Value {
		return &ir.Value{Op: ir.OpWeight, Type: ir.Tensor(ir.F32, ir.Num(bytes/4))}
	}
	var list []*layer
	for range n {
		l := &layer{dense: []*ir.Value{weight(4 * (1 + r.IntN(3)) << 20)}}
		u.read[l.dense[0]] = bytesOf(l.dense[0].Type, nil)
		if r.IntN(4) > 0 {
			l.sparse = []*ir.Value{weight(40 << 20)}
			u.read[l.sparse[0]] = 4 << 20
		}
		list = append(list, l)
	}
	return list, u
}

// secondsOf is what a token costs when layer i is on device on[i]; the experts
// of a device's layers lie on it from its first layer until they no longer fit.
// It returns infinity for what does not fit.
func secondsOf(c *cutter, u *usage, on []int) float64 {
	t := 0.0
	left := slices.Clone(c.room)
	for i, l := range c.layers {
		left[on[i]] -= bytesOf(l.dense[0].Type, nil)
		t += float64(u.read[l.dense[0]]) / bandwidth(c.devs[on[i]])
		if i > 0 && on[i] != on[i-1] {
			t += splitTime
		}
	}
	if slices.Min(left) < 0 {
		return math.Inf(1)
	}
	full := map[int]bool{}
	for i, l := range c.layers {
		if len(l.sparse) == 0 {
			continue
		}
		d, n := on[i], bytesOf(l.sparse[0].Type, nil)
		if full[d] = full[d] || n > left[d]; full[d] {
			d = c.cpu
			t += 2 * splitTime
			if i == 0 {
				t -= splitTime
			}
		}
		left[d] -= n
		t += float64(u.read[l.sparse[0]]) / bandwidth(c.devs[d])
	}
	return t
}

// TestCutIsBest: no way to give each device one run of layers is faster.
func TestCutIsBest(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	mixed := 0
	for range 300 {
		layers, u := layersAtRandom(r, 1+r.IntN(5))
		devs := []ir.DeviceInfo{{Name: "cuda:0", Bandwidth: 900e9}, {Name: "cuda:1", Bandwidth: 400e9}, {Name: "cpu", Bandwidth: 50e9}}
		if r.IntN(3) == 0 {
			devs = devs[1:]
		}
		room := map[ir.Device]int64{"cuda:0": int64(r.IntN(120)) << 20, "cuda:1": int64(r.IntN(120)) << 20}
		c := newCutter(devs, room, layers, u, nil)
		segments, ok := c.best()
		if !ok {
			t.Fatal("the cpu holds everything, but there is no cut")
		}
		on := make([]int, len(layers))
		for _, s := range segments {
			for i := s.from; i < s.end; i++ {
				on[i] = s.d
			}
		}
		have := secondsOf(c, u, on)
		if len(segments) > 1 {
			mixed++
		}
		try := make([]int, len(layers))
		var each func(i int, used []int)
		each = func(i int, used []int) {
			if i == len(layers) {
				if t2 := secondsOf(c, u, try); t2 < have-1e-9 {
					t.Fatalf("%v takes %.1fµs, %v %.1fµs; rooms %v", on, have*1e6, try, t2*1e6, c.room)
				}
				return
			}
			for d := range devs {
				if i > 0 && try[i-1] == d {
					try[i] = d
					each(i+1, used)
				} else if !slices.Contains(used, d) {
					try[i] = d
					each(i+1, append(slices.Clone(used), d))
				}
			}
		}
		each(0, nil)
		// What assign says is what was counted.
		placed := map[ir.Device]int64{}
		c.assign(segments, u, nil, func(s *ir.Value, d ir.Device) { placed[d] += bytesOf(s.Type, nil) })
		for i, d := range devs {
			if placed[d.Name] > c.room[i] {
				t.Fatalf("%s holds %d of %d", d.Name, placed[d.Name], c.room[i])
			}
		}
	}
	if mixed < 100 {
		t.Errorf("only %d of the cuts use several devices", mixed)
	}
}

// TestFreerGPU: of two GPUs that are equally fast or unstated, the one with more
// room gets at least its share of the layers.
func TestFreerGPU(t *testing.T) {
	for _, mem := range [][2]int{{12, 4}, {4, 12}, {8, 7}} {
		src := fmt.Sprintf("module m level=graph {\n\tdevice cpu\n\tdevice cuda:0 mem=%dMiB\n\tdevice cuda:1 mem=%dMiB\n\tbound T 1\n", mem[0], mem[1])
		body := ""
		const n = 12
		for i := range n {
			src += fmt.Sprintf("\tweight @w%d : f32[512,512]\n", i)
			body += fmt.Sprintf("\t%%x%d = matmul %%x%d, @w%d : f32[T,512]\n", i+1, i, i)
		}
		m := parse(t, src+"}\n\nfunc f(%x0: f32[T,512]) {\n"+body+fmt.Sprintf("\treturn %%x%d\n}\n", n))
		if err := place(m, nil); err != nil {
			t.Fatal(err)
		}
		count := map[ir.Device]int{}
		for _, w := range m.Weights {
			count[w.On]++
		}
		freer := 0
		if mem[1] > mem[0] {
			freer = 1
		}
		have, all := count[ir.Device(fmt.Sprintf("cuda:%d", freer))], count["cuda:0"]+count["cuda:1"]
		if all != n || have*(mem[0]+mem[1]) < n*mem[freer] {
			t.Errorf("memories %v: %v", mem, count)
		}
	}
}

// TestManyDevices: more devices than orders are tried for still get a cut.
func TestManyDevices(t *testing.T) {
	layers, u := layersAtRandom(rand.New(rand.NewPCG(7, 7)), 12)
	var devs []ir.DeviceInfo
	room := map[ir.Device]int64{}
	for i := range maxOrders + 3 {
		d := ir.Device(fmt.Sprintf("cuda:%d", i))
		devs = append(devs, ir.DeviceInfo{Name: d})
		room[d] = 100 << 20
	}
	c := newCutter(devs, room, layers, u, nil)
	segments, ok := c.best()
	if !ok || segments[0].from != 0 || segments[len(segments)-1].end != len(layers) {
		t.Errorf("have %v, %v", segments, ok)
	}
}
