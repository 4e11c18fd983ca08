package main

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"

	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// A layer is how often the router of one block chose each expert.
type layer struct {
	block  int
	counts []int
}

// A matrix is a tensor whose rows are decoded one by one.
type matrix struct {
	kind       *quant.Kind
	data       []byte
	rows, cols int
}

// find returns a tensor as rows of cols, or of any length when cols is 0.
func find(f *gguf.File, name string, cols int) (*matrix, bool, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return nil, false, nil
	}
	kind, ok := quant.ByGGML(uint32(t.Type))
	if !ok {
		return nil, false, fmt.Errorf("tensor %s: type %v cannot be decoded", name, t.Type)
	}
	if cols != 0 && t.Dims[0] != uint64(cols) {
		return nil, false, fmt.Errorf("tensor %s: rows of %d, want %d", name, t.Dims[0], cols)
	}
	n := int(t.Dims[0])
	return &matrix{kind, t.Bytes(), int(t.Elems / t.Dims[0]), n}, true, nil
}

func (m *matrix) row(dst []float32, i int) {
	size := m.kind.RowBytes(m.cols)
	m.kind.Dequantize(dst[:m.cols], m.data[i*size:(i+1)*size])
}

// route sends the embeddings of n random tokens, normalised as the block does,
// through the router of each block. What attention adds in front of it is left
// out: it turns the vectors, which are random already.
func route(f *gguf.File, n int) ([]layer, error) {
	arch, _, err := f.String("general.architecture")
	if err != nil {
		return nil, err
	}
	used, ok, err := f.Uint(arch + ".expert_used_count")
	if err != nil {
		return nil, err
	}
	emb, found, err := find(f, "token_embd.weight", 0)
	if err != nil {
		return nil, err
	}
	if !ok || !found {
		return nil, fmt.Errorf("no experts: %s.expert_used_count or token_embd.weight is missing", arch)
	}
	// The vectors of all tokens, each of root mean square 1.
	r := rand.New(rand.NewPCG(1, 2))
	xs := make([]float32, n*emb.cols)
	for i := range n {
		x := xs[i*emb.cols:][:emb.cols]
		emb.row(x, r.IntN(emb.rows))
		scale := float32(1 / math.Sqrt(float64(quant.Dot(x, x))/float64(len(x))+1e-6))
		for k := range x {
			x[k] *= scale
		}
	}
	var layers []layer
	for block := 0; ; block++ {
		name := fmt.Sprintf("blk.%d.", block)
		norm, ok, err := find(f, name+"post_attention_norm.weight", emb.cols)
		if err != nil {
			return nil, err
		}
		router, found, err := find(f, name+"ffn_gate_inp.weight", emb.cols)
		if err != nil {
			return nil, err
		}
		if !ok || !found {
			break
		}
		if used == 0 || used > uint64(router.rows) || norm.rows != 1 {
			return nil, fmt.Errorf("block %d: %d experts of %d, %d norms", block, used, router.rows, norm.rows)
		}
		layers = append(layers, layer{block, choose(xs, norm, router, int(used))})
	}
	if len(layers) == 0 {
		return nil, fmt.Errorf("no router: tensor blk.0.ffn_gate_inp.weight is missing")
	}
	return layers, nil
}

// choose counts the experts that the tokens xs choose, on all processors.
func choose(xs []float32, norm, router *matrix, used int) []int {
	k := norm.cols
	scale, w := make([]float32, k), make([]float32, router.rows*k)
	norm.row(scale, 0)
	for e := range router.rows {
		row := w[e*k:][:k]
		router.row(row, e)
		for i := range row {
			row[i] *= scale[i] // as good as scaling x
		}
	}
	counts := make([]int, router.rows)
	var mu sync.Mutex
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for i := range workers {
		wait.Go(func() {
			mine := make([]int, router.rows)
			logits := make([]float32, router.rows)
			for n := len(xs) / k; i < n; i += workers {
				for e := range logits {
					logits[e] = quant.Dot(w[e*k:][:k], xs[i*k:][:k])
				}
				for _, e := range top(logits, used) {
					mine[e]++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for e, n := range mine {
				counts[e] += n
			}
		})
	}
	wait.Wait()
	return counts
}

// top returns the indices of the n largest values, lower ones first among equals.
func top(xs []float32, n int) []int {
	order := make([]int, len(xs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case xs[a] > xs[b]:
			return -1
		case xs[a] < xs[b]:
			return 1
		}
		return 0
	})
	return order[:n]
}

// report prints quantiles for each layer and a histogram of all.
func report(w io.Writer, layers []layer, tokens int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "experts of %d random tokens, tokens per expert\n\n", tokens)
	b.WriteString("| block | min | p10 | p25 | median | p75 | p90 | max | mean | unused | Gini |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	var all []int
	for _, l := range layers {
		line(&b, fmt.Sprint(l.block), l.counts)
		all = append(all, l.counts...)
	}
	if len(layers) > 1 {
		line(&b, "all", all)
	}
	b.WriteString("\n| tokens | experts |\n|---|---|\n")
	for _, x := range histogram(all) {
		span := fmt.Sprint(x.lo)
		if x.hi > x.lo {
			span += fmt.Sprintf(" to %d", x.hi)
		}
		fmt.Fprintf(&b, "| %s | %d |\n", span, x.n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func line(b *strings.Builder, name string, counts []int) {
	s := slices.Sorted(slices.Values(counts))
	sum, unused := 0, 0
	for _, n := range s {
		sum += n
		if n == 0 {
			unused++
		}
	}
	at := func(q float64) int { return s[int(q*float64(len(s)-1)+0.5)] }
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d | %d | %d | %.1f | %d | %.2f |\n", name, s[0], at(0.1), at(0.25), at(0.5), at(0.75), at(0.9), s[len(s)-1],
		float64(sum)/float64(len(s)), unused, gini(s))
}

// gini is 0 when all experts do the same work and near 1 when one does it all.
func gini(sorted []int) float64 {
	var weighted, sum float64
	for i, n := range sorted {
		weighted += float64(i+1) * float64(n)
		sum += float64(n)
	}
	if sum == 0 {
		return 0
	}
	n := float64(len(sorted))
	return 2*weighted/(n*sum) - (n+1)/n
}

// A bin counts the experts that got lo to hi tokens.
type bin struct{ lo, hi, n int }

// histogram has a bin for 0 and one for each power of two, from the first that is not empty.
func histogram(counts []int) []bin {
	first, last := bits.Len(uint(slices.Min(counts))), bits.Len(uint(slices.Max(counts)))
	bins := make([]bin, last-first+1)
	for i := range bins {
		bins[i].lo, bins[i].hi = 1<<(first+i)>>1, 1<<(first+i)-1
	}
	for _, c := range counts {
		bins[bits.Len(uint(c))-first].n++
	}
	return bins
}
