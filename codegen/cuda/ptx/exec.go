package ptx

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
)

// poison fills registers and shared memory before their first write.
const poison = 0xff

// A Launch is one run of a kernel.
type Launch struct {
	Kernel      string
	Grid, Block [3]int // x, y, z; 0 counts as 1
	Shared      int    // bytes of dynamic shared memory
	Cooperative bool   // all blocks run at the same time
	// Args are the parameters: uint64 (an address), int64, uint32, int32, float32 or []byte.
	Args []any
	// Schedule is the order of warps and blocks: 0 ascending, 1 descending, any other
	// number the seed of a random one with short turns.
	Schedule int
	// Steps bounds the instructions of all warps together; 0: 2^32.
	Steps int64
}

// Stats say how much a launch executed.
type Stats struct {
	Steps int64 // instructions of warps
	Lanes int64 // the same times the lanes that took part
}

// A grid is a launch under way.
type grid struct {
	x      *Machine
	k      *Kernel
	p      *program
	l      *Launch
	size   [3]int
	block  [3]int
	params []byte
	shared int
	fresh  []vec // registers at the start: numbers, and patterns
	steps  int64
	lanes  int64
	limit  int64
	err    error
}

// A block has its warps and shared memory.
type block struct {
	g      *grid
	at     [3]int
	index  int
	shared []byte
	warps  []*warp
	live   int // threads that have not ended
	bars   [16]barrier
}

// clocks are the special registers that tell time: here the instructions so far.
var clocks = []string{"%clock", "%clock_hi", "%clock64", "%globaltimer", "%globaltimer_lo", "%globaltimer_hi"}

// specialRegs are the values of the others.
var specialRegs = map[string]func(w *warp, lane int) int{
	"%tid.x":             func(w *warp, lane int) int { return (w.index*32 + lane) % w.g.block[0] },
	"%tid.y":             func(w *warp, lane int) int { return (w.index*32 + lane) / w.g.block[0] % w.g.block[1] },
	"%tid.z":             func(w *warp, lane int) int { return (w.index*32 + lane) / w.g.block[0] / w.g.block[1] },
	"%ntid.x":            func(w *warp, _ int) int { return w.g.block[0] },
	"%ntid.y":            func(w *warp, _ int) int { return w.g.block[1] },
	"%ntid.z":            func(w *warp, _ int) int { return w.g.block[2] },
	"%ctaid.x":           func(w *warp, _ int) int { return w.b.at[0] },
	"%ctaid.y":           func(w *warp, _ int) int { return w.b.at[1] },
	"%ctaid.z":           func(w *warp, _ int) int { return w.b.at[2] },
	"%nctaid.x":          func(w *warp, _ int) int { return w.g.size[0] },
	"%nctaid.y":          func(w *warp, _ int) int { return w.g.size[1] },
	"%nctaid.z":          func(w *warp, _ int) int { return w.g.size[2] },
	"%laneid":            func(_ *warp, lane int) int { return lane },
	"%warpid":            func(w *warp, _ int) int { return w.index },
	"%nwarpid":           func(w *warp, _ int) int { return len(w.b.warps) },
	"%smid":              func(w *warp, _ int) int { return w.b.index % 4 },
	"%nsmid":             func(*warp, int) int { return 4 },
	"%gridid":            func(*warp, int) int { return 1 },
	"%lanemask_eq":       func(_ *warp, lane int) int { return 1 << lane },
	"%lanemask_lt":       func(_ *warp, lane int) int { return 1<<lane - 1 },
	"%lanemask_le":       func(_ *warp, lane int) int { return 2<<lane - 1 },
	"%lanemask_gt":       func(_ *warp, lane int) int { return (1<<32 - 1) &^ (2<<lane - 1) },
	"%lanemask_ge":       func(_ *warp, lane int) int { return (1<<32 - 1) &^ (1<<lane - 1) },
	"%dynamic_smem_size": func(w *warp, _ int) int { return w.g.l.Shared },
	"%total_smem_size":   func(w *warp, _ int) int { return w.g.shared },
}

func isSpecial(name string) bool { return specialRegs[name] != nil }

// Launch runs a kernel to its end. After an error the memory holds what was written till then.
func (x *Machine) Launch(l *Launch) (Stats, error) {
	g, err := x.prepare(l)
	if err != nil {
		return Stats{}, fmt.Errorf("ptx: %w", err)
	}
	g.run()
	if g.err != nil {
		return Stats{g.steps, g.lanes}, fmt.Errorf("ptx: %w", g.err)
	}
	return Stats{g.steps, g.lanes}, nil
}

// prepare checks a launch as a driver would.
func (x *Machine) prepare(l *Launch) (*grid, error) {
	k, err := x.m.Kernel(l.Kernel)
	if err != nil {
		return nil, err
	}
	if len(x.buffers) >= maxBuffers {
		return nil, fmt.Errorf("%d buffers are too many", len(x.buffers))
	}
	g := &grid{x: x, k: k, l: l, size: l.Grid, block: l.Block, limit: l.Steps}
	if g.limit == 0 {
		g.limit = 1 << 32
	}
	for _, d := range []struct {
		what string
		n    *[3]int
		most [3]int
		all  int
	}{{"grid", &g.size, [3]int{math.MaxInt32, 65535, 65535}, math.MaxInt32}, {"block", &g.block, [3]int{1024, 1024, 64}, 1024}} {
		product := 1
		for i := range d.n {
			if d.n[i] == 0 {
				d.n[i] = 1
			}
		}
		for i := range d.n {
			if d.n[i] < 0 || d.n[i] > d.most[i] || product > d.all/d.n[i] {
				return nil, fmt.Errorf("kernel %s: a %s of %v", k.Name, d.what, *d.n)
			}
			product *= d.n[i]
		}
	}
	threads := g.block[0] * g.block[1] * g.block[2]
	if k.MaxThreads > 0 && threads > k.MaxThreads || k.reqThreads > 0 && threads != k.reqThreads {
		return nil, fmt.Errorf("kernel %s is compiled for blocks of %d threads: these have %d", k.Name, k.MaxThreads, threads)
	}
	if l.Cooperative && g.size[0]*g.size[1]*g.size[2] > 1<<20/threads {
		return nil, fmt.Errorf("kernel %s: %v blocks of %d threads are too many to run together", k.Name, g.size, threads)
	}
	static := (k.Shared + 15) &^ 15
	if l.Shared < 0 || l.Shared > maxShared-static {
		return nil, fmt.Errorf("kernel %s: %d bytes of dynamic and %d of static shared memory: more than %d", k.Name, l.Shared, k.Shared, maxShared)
	}
	g.shared = static + l.Shared
	if g.params, err = k.arguments(l.Args); err != nil {
		return nil, err
	}
	if g.p, err = k.decode(x.m); err != nil {
		return nil, err
	}
	g.fresh = make([]vec, g.p.regs)
	fill := func(reg int, v uint64) {
		for l := range g.fresh[reg] {
			g.fresh[reg][l] = v
		}
	}
	for i, r := range k.regs {
		fill(i, typ{'b', r.bits}.mask()&0xfff7fff7fff7fff7)
	}
	for _, c := range g.p.consts {
		fill(c.reg, c.val)
	}
	return g, nil
}

// arguments lays out the parameter block.
func (k *Kernel) arguments(args []any) ([]byte, error) {
	if len(args) != len(k.Params) {
		return nil, fmt.Errorf("kernel %s has %d parameters: %d were given", k.Name, len(k.Params), len(args))
	}
	out := make([]byte, k.paramBytes)
	for i, a := range args {
		p := k.Params[i]
		var v uint64
		n := 8
		switch a := a.(type) {
		case uint64:
			v = a
		case int64:
			v = uint64(a)
		case uint32:
			v, n = uint64(a), 4
		case int32:
			v, n = uint64(uint32(a)), 4
		case float32:
			v, n = uint64(math.Float32bits(a)), 4
		case []byte:
			if len(a) != p.Size {
				return nil, fmt.Errorf("kernel %s: parameter %d has %d bytes: %d were given", k.Name, i, p.Size, len(a))
			}
			copy(out[p.Offset:], a)
			continue
		default:
			return nil, fmt.Errorf("kernel %s: parameter %d: a %T is no argument", k.Name, i, a)
		}
		if n != p.Size {
			return nil, fmt.Errorf("kernel %s: parameter %d has %d bytes: a %T was given", k.Name, i, p.Size, a)
		}
		put(out[p.Offset:], v, n)
	}
	return out, nil
}

// run executes all blocks, one by one or together.
func (g *grid) run() {
	blocks := g.size[0] * g.size[1] * g.size[2]
	order := func(n int) func(i int) int {
		switch g.l.Schedule {
		case 0:
			return func(i int) int { return i }
		case 1:
			return func(i int) int { return n - 1 - i }
		}
		// An affine walk meets every number once and needs no table.
		r := rand.New(rand.NewPCG(uint64(g.l.Schedule), uint64(n)))
		step, start := r.IntN(n)|1, r.IntN(n)
		for gcd(step, n) != 1 {
			step++
		}
		return func(i int) int { return int((int64(start) + int64(i)*int64(step)) % int64(n)) }
	}
	at := order(blocks)
	if !g.l.Cooperative {
		b := &block{g: g}
		for i := 0; i < blocks && g.err == nil; i++ {
			b.start(at(i))
			g.turns([]*block{b}, order)
		}
		return
	}
	resident := make([]*block, blocks)
	for i := range resident {
		resident[i] = &block{g: g}
		resident[i].start(at(i))
	}
	g.turns(resident, order)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// turns lets the warps of some blocks run until all have ended.
func (g *grid) turns(blocks []*block, order func(int) func(int) int) {
	slice := int64(1024)
	warp := order(len(blocks[0].warps))
	if g.l.Schedule > 1 || g.l.Schedule < 0 {
		slice = 17
	}
	for {
		live, before := false, g.steps
		for _, b := range blocks {
			if b.live == 0 {
				continue
			}
			for i := range b.warps {
				if b.warps[warp(i)].run(slice); g.err != nil {
					return
				}
			}
			live = live || b.live > 0
		}
		switch {
		case !live:
			return
		case g.steps > g.limit:
			g.err = fmt.Errorf("kernel %s has not ended after %d instructions: %s", g.k.Name, g.steps, where(blocks))
			return
		case g.steps == before:
			g.err = fmt.Errorf("kernel %s: nothing can go on: %s", g.k.Name, where(blocks))
			return
		}
	}
}

// where says at what instructions the first live block stands.
func where(blocks []*block) string {
	for _, b := range blocks {
		var out []string
		for _, w := range b.warps {
			for _, g := range w.groups {
				in := &b.g.p.code[g.pc]
				what := "at"
				if w.waiting {
					what = "at a barrier before"
				}
				line := fmt.Sprintf("%s line %d: %s", what, in.s.line, in.s.text)
				if !slices.Contains(out, line) && len(out) < 4 {
					out = append(out, line)
				}
			}
		}
		if out != nil {
			return fmt.Sprintf("warps of block (%d,%d,%d) stand %s", b.at[0], b.at[1], b.at[2], strings.Join(out, "; "))
		}
	}
	return ""
}

// start sets a block up, reusing its memory.
func (b *block) start(index int) {
	g := b.g
	b.index = index
	b.at = [3]int{index % g.size[0], index / g.size[0] % g.size[1], index / g.size[0] / g.size[1]}
	if b.shared == nil {
		b.shared = make([]byte, g.shared)
	}
	for i := range b.shared {
		b.shared[i] = poison
	}
	b.bars = [16]barrier{}
	b.live = g.block[0] * g.block[1] * g.block[2]
	n := (b.live + 31) / 32
	if b.warps == nil {
		for i := range n {
			b.warps = append(b.warps, &warp{g: g, b: b, index: i, r: make([]vec, g.p.regs), p: make([]uint32, g.p.preds), local: make([][]byte, 32)})
		}
	}
	for i, w := range b.warps {
		w.start(min(b.live-i*32, 32))
	}
}

// A barrier of a block collects threads.
type barrier struct {
	arrived int
	count   int // that it waits for; -1: all that live
	yes     int // arrived with a true predicate
	waiting []waiter
}

type waiter struct {
	w    *warp
	done func(yes, of int) // gets the result; may be nil
}

// arriveAt counts the lanes m, of which the lanes yes are true, at the barrier whose number a
// register holds; the warp waits there if wait is set.
func (w *warp) arriveAt(id, count int, m, yes uint32, wait bool, done func(yes, of int)) {
	lane := bits.TrailingZeros32(m)
	n := w.r[id][lane]
	if n >= uint64(len(w.b.bars)) {
		w.fault(lane, "barrier %d: they have numbers below %d", n, len(w.b.bars))
		return
	}
	bar := &w.b.bars[n]
	want := -1
	if count >= 0 {
		want = int(w.r[count][lane])
		if want == 0 || want%32 != 0 || want > 1024 {
			w.fault(lane, "a barrier of %d threads: not a multiple of a warp", want)
			return
		}
	}
	if bar.arrived > 0 && bar.count != want {
		w.fault(lane, "barrier %d is for %d threads here and for %d elsewhere", n, want, bar.count)
		return
	}
	bar.count = want
	if want > 0 { // whole warps are counted
		bar.arrived += 32
	} else {
		bar.arrived += bits.OnesCount32(m)
	}
	bar.yes += bits.OnesCount32(yes & m)
	if wait {
		w.waiting = true
		bar.waiting = append(bar.waiting, waiter{w, done})
	}
	w.b.release(int(n))
}

// release lets a barrier's warps go on when all threads have come.
func (b *block) release(id int) {
	bar := &b.bars[id]
	want := bar.count
	if want < 0 {
		want = b.live
	}
	if bar.arrived == 0 || bar.arrived < want {
		return
	}
	waiting, yes, of := bar.waiting, bar.yes, bar.arrived
	*bar = barrier{}
	for _, x := range waiting {
		x.w.waiting = false
		if x.done != nil {
			x.done(yes, of)
		}
	}
}
