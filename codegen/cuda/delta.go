package cuda

import (
	"fmt"

	"qnc/ir"
)

// emitConvSplit emits the convolution with its split, a head of a token a block,
// and where there are many tokens the new state after it.
func emitConvSplit(k *kern) {
	x, w := k.v.Args[1].Type, k.v.Args[2].Type
	g, kd, vh, vd := k.v.Int("heads"), k.v.Int("kdim"), k.v.Int("vheads"), k.v.Int("vdim")
	channels, taps := 2*g*kd+vh*vd, k.static(w.Dims[1])
	if kd > 1024 || vd > 1024 || taps < 2 {
		k.fail("heads of %d and %d with %d taps have no kernel", kd, vd, taps)
		return
	}
	for i := range 3 {
		if k.result(i) == nil && len(k.p.m.Funcs) > 0 {
			k.fail("q, k and v must all be read")
			return
		}
		k.out(k.result(i))
	}
	one := x.Dims[0].Is(1)
	size := k.state(k.v.Args[0])
	token, _ := k.rows(1, 1, channels)
	k.in(2)
	k.in(3)
	f := fields{"G": g, "KD": kd, "VH": vh, "VD": vd, "Halo": taps - 1, "XT": token, "One": one, "Eps": f32(k.v.Float("eps")), "Size": size}
	k.launch("conv_split", fmt.Sprintf("conv_split_%dx%d_%dx%d", g, kd, vh, vd), warps(max(kd, vd), 1024), 0, f, blocks(2*g+vh), extent{x.Dims[0], 1, 1})
	if one {
		return
	}
	k.state(k.v.Args[0])
	k.rows(1, 1, channels)
	k.in(3)
	k.tokens(x.Dims[0])
	const threads = 128
	k.launch("conv_state", fmt.Sprintf("conv_state_%d", channels), threads, 0,
		fields{"Channels": channels, "Halo": taps - 1, "XT": token, "Size": size}, extent{ir.Num(channels), 1, threads})
}

// What delta.cuh calls delta_lanes and delta_threads.
const (
	deltaLanes   = 8
	deltaThreads = 128
)

// emitDelta emits the gated delta rule, some rows of a head's state a block.
func emitDelta(k *kern) {
	q, v := k.v.Args[1].Type, k.v.Args[3].Type
	groups, kd := k.static(q.Dims[1]), k.static(q.Dims[2])
	heads, vd := k.static(v.Dims[1]), k.static(v.Dims[2])
	k.out(k.v)
	f := fields{"G": groups, "K": kd, "VH": heads, "V": vd, "Tiled": k.v.Attr.Get("map") == "tiled", "Scale": f32(k.v.Float("scale"))}
	f["Size"] = k.state(k.v.Args[0])
	f["QT"], f["QR"] = k.rows(1, groups, kd)
	f["KT"], f["KR"] = k.rows(2, groups, kd)
	f["VT"], f["VR"] = k.rows(3, heads, vd)
	f["GT"], f["GR"] = k.rows(4, heads, 1)
	f["BT"], f["BR"] = k.rows(5, heads, 1)
	k.in(6)
	k.tokens(v.Dims[0])
	k.launch("delta_rule", fmt.Sprintf("delta_rule_%dx%d_%dx%d", groups, kd, heads, vd), deltaThreads, 0, f,
		blocks(heads), extent{ir.Num(vd), 1, deltaThreads / deltaLanes})
}
