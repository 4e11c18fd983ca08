package tokenizer

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
)

// A merge joins the tokens left and right to the token id; the lowest rank, which is never 0, goes first.
type merge struct{ left, right, rank, id int32 }

const noRank = math.MaxInt32

// merges is an open-addressing table of merges by their pair. A random odd factor keeps a hostile list of
// merges from colliding on purpose.
type merges struct {
	slots  []merge // rank 0: empty
	factor uint64
	shift  int
}

func newMerges(n int) merges {
	size := bits.Len(uint(n + n/4 + 1)) // at most 4/5 full
	return merges{make([]merge, 1<<size), rand.Uint64() | 1, 64 - size}
}

// slot returns where the pair is, or the empty slot where it belongs.
func (m *merges) slot(left, right int32) *merge {
	mask := uint64(len(m.slots) - 1)
	key := uint64(uint32(left))<<32 | uint64(uint32(right))
	for i := key * m.factor >> m.shift; ; i++ {
		s := &m.slots[i&mask]
		if s.rank == 0 || s.left == left && s.right == right {
			return s
		}
	}
}

// find returns the rank of a pair and the token that it becomes, noRank when it is not merged.
func (m *merges) find(left, right int32) (rank, id int32) {
	if s := m.slot(left, right); s.rank != 0 {
		return s.rank, s.id
	}
	return noRank, None
}

// A bigram is a merge that waits in the queue; it is stale when one of its symbols has changed since.
type bigram struct {
	merge
	at, next int32 // indices of the two symbols
}

// before orders by rank, equal ranks from left to right.
func (b *bigram) before(o *bigram) bool {
	return b.rank < o.rank || b.rank == o.rank && b.at < o.at
}

// A symbol is a link of the chain of tokens that a word consists of at the moment.
type symbol struct{ id, prev, next int32 } // id -1: merged away; prev, next -1: none

type scratch struct {
	symbols []symbol
	queue   []bigram
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// short is the longest word for which looking for the lowest rank each time beats a queue.
const short = 32

// mergeWord appends the tokens of a word of bytes.
func (t *Tokenizer) mergeWord(dst []int32, word string) []int32 {
	if len(word) <= short {
		return t.mergeShort(dst, word)
	}
	sc := pool.Get().(*scratch)
	dst = t.mergeLong(dst, word, sc)
	if cap(sc.queue) <= 1<<16 { // let go of what a huge word needed
		pool.Put(sc)
	}
	return dst
}

func (t *Tokenizer) mergeShort(dst []int32, word string) []int32 {
	var ids, ranks, joined [short]int32
	n := len(word)
	for i := range n {
		ids[i] = t.byteID[word[i]]
	}
	for i := range n - 1 {
		ranks[i], joined[i] = t.merges.find(ids[i], ids[i+1])
	}
	for n > 1 {
		at, low := -1, int32(noRank)
		for i, r := range ranks[:n-1] {
			if r < low {
				at, low = i, r
			}
		}
		if at < 0 {
			break
		}
		ids[at] = joined[at]
		n--
		copy(ids[at+1:n], ids[at+2:n+1])
		copy(ranks[at:n-1], ranks[at+1:n])
		copy(joined[at:n-1], joined[at+1:n])
		if at > 0 {
			ranks[at-1], joined[at-1] = t.merges.find(ids[at-1], ids[at])
		}
		if at+1 < n {
			ranks[at], joined[at] = t.merges.find(ids[at], ids[at+1])
		}
	}
	return append(dst, ids[:n]...)
}

// mergeLong takes O(n log n) for any word.
func (t *Tokenizer) mergeLong(dst []int32, word string, sc *scratch) []int32 {
	sc.symbols, sc.queue = slices.Grow(sc.symbols[:0], len(word)), slices.Grow(sc.queue[:0], len(word))
	for i := range len(word) {
		sc.symbols = append(sc.symbols, symbol{t.byteID[word[i]], int32(i - 1), int32(i + 1)})
	}
	sc.symbols[len(word)-1].next = -1
	for i := range len(word) - 1 {
		t.push(sc, int32(i), int32(i+1))
	}
	for len(sc.queue) > 0 {
		b := sc.pop()
		l, r := &sc.symbols[b.at], &sc.symbols[b.next]
		if l.id != b.left || r.id != b.right || l.next != b.next {
			continue
		}
		l.id, r.id = b.id, -1
		l.next = r.next
		if r.next >= 0 {
			sc.symbols[r.next].prev = b.at
			t.push(sc, b.at, r.next)
		}
		if l.prev >= 0 {
			t.push(sc, l.prev, b.at)
		}
	}
	for i := int32(0); i >= 0; i = sc.symbols[i].next {
		dst = append(dst, sc.symbols[i].id)
	}
	return dst
}

// push queues the merge of two neighbours, if there is one.
func (t *Tokenizer) push(sc *scratch, at, next int32) {
	left, right := sc.symbols[at].id, sc.symbols[next].id
	rank, id := t.merges.find(left, right)
	if rank == noRank {
		return
	}
	sc.queue = append(sc.queue, bigram{merge{left, right, rank, id}, at, next})
	q := sc.queue
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(&q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (sc *scratch) pop() bigram {
	q := sc.queue
	top, last := q[0], len(q)-1
	q[0] = q[last]
	q = q[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && q[down+1].before(&q[down]) {
			down++
		}
		if !q[down].before(&q[i]) {
			break
		}
		q[i], q[down] = q[down], q[i]
		i = down
	}
	sc.queue = q
	return top
}
