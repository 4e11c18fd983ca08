// Package sample picks the next token from logits: llama.cpp's chain of
// samplers in its default order (penalties, top-k, top-p, min-p, temperature,
// one draw) with its defaults, and its random numbers, so that the same logits
// and the same seed give the same token.
package sample

import (
	"cmp"
	"math"
	"slices"
)

// Params are the settings of a Sampler.
type Params struct {
	Temp             float32 // <= 0: always the likeliest token
	TopK             int     // <= 0: all
	TopP             float32 // >= 1: all
	MinP             float32 // <= 0: all
	RepeatPenalty    float32 // 1: off
	RepeatLastN      int     // tokens that the penalties look back; <= 0: off
	PresencePenalty  float32 // 0: off
	FrequencyPenalty float32 // 0: off
	Seed             uint32
	Ban              []int32 // tokens that are never picked
}

// Default returns llama.cpp's defaults, with seed 0.
func Default() Params {
	return Params{Temp: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1, RepeatLastN: 64}
}

type candidate struct {
	logit float32
	p     float32
	id    int32
}

// byLogit orders the likeliest first and the lower id first among equals.
func byLogit(a, b candidate) int {
	if c := cmp.Compare(b.logit, a.logit); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// A Sampler picks tokens. It allocates nothing after New.
type Sampler struct {
	p      Params
	rng    mt19937
	ring   []int32 // the last RepeatLastN tokens
	next   int     // where the next one goes
	full   bool
	counts []int32 // how often a token is in ring; nil when there are no penalties
	logits []float32
	cand   []candidate
}

// New returns a sampler for a vocabulary of numVocab tokens.
func New(p Params, numVocab int) *Sampler {
	s := &Sampler{p: p, logits: make([]float32, numVocab)}
	if p.RepeatLastN > 0 && (p.RepeatPenalty != 1 || p.PresencePenalty != 0 || p.FrequencyPenalty != 0) {
		s.ring = make([]int32, p.RepeatLastN)
		s.counts = make([]int32, numVocab)
	}
	if p.Temp > 0 {
		n := numVocab
		if p.TopK > 0 {
			n = min(n, p.TopK)
		}
		s.cand = make([]candidate, 0, n)
	}
	s.rng.seed(p.Seed)
	return s
}

// Forget forgets the tokens.
func (s *Sampler) Forget() {
	s.next, s.full = 0, false
	clear(s.counts)
}

// Reset forgets the tokens and starts the random numbers anew.
func (s *Sampler) Reset() {
	s.Forget()
	s.rng.seed(s.p.Seed)
}

// Accept tells the sampler about a token of the text, for the penalties.
func (s *Sampler) Accept(token int32) {
	if s.counts == nil || int(token) >= len(s.counts) || token < 0 {
		return
	}
	if s.full {
		s.counts[s.ring[s.next]]--
	}
	s.ring[s.next] = token
	s.counts[token]++
	if s.next++; s.next == len(s.ring) {
		s.next, s.full = 0, true
	}
}

// Sample picks a token from logits, which are not changed: numVocab floats.
// A logit that is not a number is never picked; -1 when none can be.
func (s *Sampler) Sample(logits []float32) int32 {
	l := logits
	if s.counts != nil || len(s.p.Ban) > 0 {
		l = s.logits[:copy(s.logits, logits)]
	}
	for _, id := range s.p.Ban {
		if id >= 0 && int(id) < len(l) {
			l[id] = float32(math.Inf(-1))
		}
	}
	s.penalise(l)
	if s.p.Temp <= 0 {
		return Greedy(l)
	}
	c, sorted := s.topK(l)
	if len(c) == 0 {
		return -1
	}
	c, sorted = s.topP(c, sorted)
	c = s.minP(c, sorted)
	for i := range c {
		c[i].logit /= s.p.Temp
	}
	softmax(c)
	// One draw, in the order of the candidates.
	var sum, run float64
	for i := range c {
		sum += float64(c[i].p)
	}
	target := sum * s.rng.float64()
	for i := range c {
		if run += float64(c[i].p); run >= target {
			return c[i].id
		}
	}
	return c[len(c)-1].id
}

// Greedy returns the first token with the highest logit, -1 when no logit is a number.
func Greedy(logits []float32) int32 {
	best, id := float32(math.Inf(-1)), int32(-1)
	for i, x := range logits {
		if x > best {
			best, id = x, int32(i)
		}
	}
	return id
}

func (s *Sampler) penalise(l []float32) {
	if s.counts == nil {
		return
	}
	n := s.next
	if s.full {
		n = len(s.ring)
	}
	for i, id := range s.ring[:n] {
		if int(id) >= len(l) || slices.Contains(s.ring[:i], id) {
			continue
		}
		x := l[id]
		if x <= 0 {
			x *= s.p.RepeatPenalty
		} else {
			x /= s.p.RepeatPenalty
		}
		l[id] = x - (float32(s.counts[id])*s.p.FrequencyPenalty + s.p.PresencePenalty)
	}
}

// topK returns the k likeliest candidates in order, or all that are numbers in the order of ids.
func (s *Sampler) topK(l []float32) (c []candidate, sorted bool) {
	c = s.cand[:0]
	ninf := float32(math.Inf(-1))
	if k := s.p.TopK; k <= 0 || k >= len(l) {
		for id, x := range l {
			if x > ninf {
				c = append(c, candidate{logit: x, id: int32(id)})
			}
		}
		if k > 0 {
			slices.SortFunc(c, byLogit)
		}
		return c, k > 0
	}
	// A heap with the least likely of the k best on top; until it is full,
	// everything that is a number goes in.
	k, least := s.p.TopK, ninf
	for id, x := range l {
		if !(x > least) {
			continue
		}
		if len(c) < k {
			c = append(c, candidate{logit: x, id: int32(id)})
			if len(c) < k {
				continue
			}
			for i := k/2 - 1; i >= 0; i-- {
				siftDown(c, i)
			}
		} else {
			c[0] = candidate{logit: x, id: int32(id)}
			siftDown(c, 0)
		}
		least = c[0].logit
	}
	slices.SortFunc(c, byLogit)
	return c, true
}

func siftDown(c []candidate, i int) {
	for {
		m := 2*i + 1
		if m >= len(c) {
			return
		}
		if m+1 < len(c) && byLogit(c[m], c[m+1]) < 0 {
			m++
		}
		if byLogit(c[i], c[m]) >= 0 {
			return
		}
		c[i], c[m] = c[m], c[i]
		i = m
	}
}

// topP keeps the likeliest candidates whose probabilities reach TopP together.
func (s *Sampler) topP(c []candidate, sorted bool) ([]candidate, bool) {
	if s.p.TopP >= 1 {
		return c, sorted
	}
	if !sorted {
		slices.SortFunc(c, byLogit)
	}
	softmax(c)
	var sum, cum float32
	for i := range c {
		sum += c[i].p
	}
	for i := range c {
		if cum += c[i].p / sum; cum >= s.p.TopP {
			return c[:i+1], true
		}
	}
	return c, true
}

// minP keeps the candidates at least MinP times as likely as the likeliest one.
func (s *Sampler) minP(c []candidate, sorted bool) []candidate {
	if s.p.MinP <= 0 {
		return c
	}
	least := maxLogit(c) + float32(math.Log(float64(s.p.MinP)))
	if !sorted {
		return slices.DeleteFunc(c, func(x candidate) bool { return x.logit < least })
	}
	for i := 1; i < len(c); i++ {
		if c[i].logit < least {
			return c[:i]
		}
	}
	return c
}

func maxLogit(c []candidate) float32 {
	m := c[0].logit
	for _, x := range c {
		m = max(m, x.logit)
	}
	return m
}

// softmax sets p to exp(logit - the highest logit), not normalised.
func softmax(c []candidate) {
	m := maxLogit(c)
	for i := range c {
		c[i].p = float32(math.Exp(float64(c[i].logit - m)))
	}
}
