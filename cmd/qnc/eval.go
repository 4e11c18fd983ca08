package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"qnc/ir"
	"qnc/ir/eval"
)

const (
	evalTokens = 65      // of one run: a chunk of the delta rule and one more
	evalFirst  = 3       // position of the first: what stands before is in the state
	evalElems  = 1 << 28 // most elements that are alive at once
	evalShown  = 4       // values printed of a result
)

// evaluate runs every function of m on inputs, weights and state that depend
// on nothing but the seed and their names, so that a module before and after a
// pass can be compared.
func evaluate(w io.Writer, m *ir.Module, seed string) error {
	sizes := evalSizes(m)
	for _, f := range m.Funcs {
		g := &generator{seed: seed, sizes: sizes, left: evalElems}
		env := &eval.Env{Sizes: sizes, MaxElems: evalElems, State: map[string]eval.Tensor{}, Weight: g.tensor}
		for _, s := range m.State {
			x, err := g.keep(s)
			if err != nil {
				return err
			}
			env.State[s.Name] = x
		}
		var params []eval.Tensor
		for _, p := range f.Params {
			x, err := g.param(f, p)
			if err != nil {
				return err
			}
			params = append(params, x)
		}
		out, err := env.Run(f, params)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", f.Name)
		for i, x := range out {
			show(w, f.Results[i].String(), x)
		}
		for _, s := range m.State {
			show(w, s.String(), env.State[s.Name])
		}
	}
	return nil
}

// show prints the shape, the digest and the first values of a tensor.
func show(w io.Writer, name string, x eval.Tensor) {
	h := sha256.New()
	var b [4]byte
	for _, v := range x.Data {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	var first []string
	for _, v := range x.Data[:min(len(x.Data), evalShown)] {
		first = append(first, fmt.Sprintf("%.6g", v))
	}
	more := ""
	if len(x.Data) > evalShown {
		more = " …"
	}
	fmt.Fprintf(w, "  %s %v %x: %s%s\n", name, x.Shape, h.Sum(nil)[:8], strings.Join(first, " "), more)
}

// evalSizes chooses sizes within the module's bounds.
func evalSizes(m *ir.Module) ir.Sizes {
	limit := m.MaxSizes()
	within := func(sym string, n int) int {
		if most, ok := limit[sym]; ok {
			return max(1, min(n, most))
		}
		return n
	}
	tokens := min(within("T", evalTokens), max(1, within("C", evalFirst+evalTokens)-evalFirst))
	sizes := ir.Sizes{"T": tokens, "R": min(within("R", 3), tokens), "S": within("S", 2), "C": within("C", evalFirst+tokens)}
	for sym := range limit {
		if _, ok := sizes[sym]; !ok {
			sizes[sym] = within(sym, evalTokens)
		}
	}
	return sizes
}

type generator struct {
	seed  string
	sizes ir.Sizes
	left  int // elements that state and parameters may still have
}

// keep makes a tensor that stays for the whole run.
func (g *generator) keep(v *ir.Value) (eval.Tensor, error) {
	x, err := g.within(v, g.left)
	g.left -= len(x.Data)
	return x, err
}

// tensor makes one that does not, such as a weight.
func (g *generator) tensor(v *ir.Value) (eval.Tensor, error) { return g.within(v, evalElems) }

// within makes normal numbers for v. Rows of a matrix have length one, and
// vectors are negative: a decay then decays, and norms do not mind.
func (g *generator) within(v *ir.Value, most int) (eval.Tensor, error) {
	n := 1
	for _, d := range v.Type.Shape(g.sizes) {
		if d < 0 || d > most || n*d > most {
			return eval.Tensor{}, fmt.Errorf("%s: %s is too large to evaluate: at most %d elements are alive at once", v, v.Type, evalElems)
		}
		n *= d
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s", g.seed, v.Name)
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	x := eval.New(v.Type.Shape(g.sizes)...)
	scale := 1 / math.Sqrt(float64(max(v.Type.Last().At(g.sizes), 1)))
	for i := range x.Data {
		if z := r.NormFloat64(); v.Type.Rank() > 1 {
			x.Data[i] = float32(z * scale)
		} else {
			x.Data[i] = -float32(math.Abs(z))
		}
	}
	return x, nil
}

// param makes an argument of f: positions that follow each other, the last
// sequence, indices that every reader accepts, or numbers.
func (g *generator) param(f *ir.Func, p *ir.Value) (eval.Tensor, error) {
	x, err := g.keep(p)
	if err != nil || p.Type.DType != ir.I32 {
		return x, err
	}
	role, limit := g.role(f, p)
	for i, v := range x.Data {
		switch role {
		case "pos":
			x.Data[i] = float32(evalFirst + i)
		case "seq":
			x.Data[i] = float32(g.sizes["S"] - 1)
		default:
			x.Data[i] = float32(int(math.Abs(float64(v))*1e4) % max(limit, 1))
		}
	}
	return x, nil
}

// role finds out how an i32 parameter is read, and below which number its indices stay.
func (g *generator) role(f *ir.Func, p *ir.Value) (role string, limit int) {
	limit = 1 << 20
	for _, v := range f.Body {
		names := strings.Fields(v.Op.Info().Args)
		for i, a := range v.Args {
			if a != p || i >= len(names) {
				continue
			}
			switch names[i] {
			case "pos", "seq":
				return names[i], 0
			case "rows":
				limit = min(limit, v.Args[0].Type.Dims[0].At(g.sizes))
			case "ids":
				n := v.Args[1].Type.Dims[0]
				if v.Op == ir.OpGather {
					n = v.Args[0].Type.Last()
				}
				limit = min(limit, n.At(g.sizes))
			}
		}
	}
	return "", limit
}
