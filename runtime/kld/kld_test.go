package kld

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

func randomLogits(r *rand.Rand, n int) []float32 {
	l := make([]float32, n)
	for i := range l {
		l[i] = float32(r.NormFloat64() * 4)
	}
	return l
}

// logProbs is log softmax in float64.
func logProbs(l []float32) []float64 {
	sum := 0.0
	for _, x := range l {
		sum += math.Exp(float64(x))
	}
	p := make([]float64, len(l))
	for i, x := range l {
		p[i] = float64(x) - math.Log(sum)
	}
	return p
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s: %.8g, want %.8g", what, got, want)
	}
}

func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 300} {
		h := Header{NumVocab: n}
		a, b := randomLogits(r, n), randomLogits(r, n)
		next := int32(n / 2)
		pa, pb := logProbs(a), logProbs(b)
		near(t, "Loss", Loss(a, next), -pa[next], 1e-5)
		row := make([]byte, h.RowBytes())
		near(t, "Encode", Encode(row, a, next), -pa[next], 1e-5)

		c := Compare(row, b, next)
		kl := 0.0
		for i := range pa {
			kl += math.Exp(pa[i]) * (pa[i] - pb[i])
		}
		// The base is rounded to 16/65535 and cut at 16 below the best.
		near(t, "KLD", c.KLD, kl, 1e-3)
		near(t, "NLL", float64(c.NLL), -pb[next], 1e-5)
		near(t, "NLLBase", float64(c.NLLBase), min(-pa[next], 16-slices.Max(pa)), 2e-4)
		near(t, "PDiff", float64(c.PDiff), math.Exp(pb[next])-math.Exp(pa[next]), 1e-4)
		if same := argmax(a) == argmax(b); c.SameTop != same {
			t.Errorf("SameTop %v, want %v", c.SameTop, same)
		}
	}
}

func argmax(l []float32) int {
	m := 0
	for i := range l {
		if l[i] > l[m] {
			m = i
		}
	}
	return m
}

// A row that was worked out by hand: the format must not drift.
func TestEncodeBytes(t *testing.T) {
	row := make([]byte, (&Header{NumVocab: 3}).RowBytes())
	Encode(row, []float32{0, 8, -100}, 0)
	le := binary.LittleEndian
	if len(row) != 16 {
		t.Fatalf("a row of 3 has %d bytes, want 16", len(row))
	}
	near(t, "scale", float64(math.Float32frombits(le.Uint32(row))), 16.0/65535, 1e-9)
	near(t, "min", float64(math.Float32frombits(le.Uint32(row[4:]))), -16-math.Log(1+math.Exp(-8)), 1e-5)
	for i, want := range []uint16{32768, 65535, 0, 0} {
		if got := le.Uint16(row[8+2*i:]); got != want {
			t.Errorf("q[%d] = %d, want %d", i, got, want)
		}
	}
}

func TestStats(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := Header{NumVocab: 50}
	row := make([]byte, h.RowBytes())
	var s, self Stats
	var loss LossSum
	var klds []float64
	for range 150 {
		a := randomLogits(r, 50)
		for i := range a {
			a[i] /= 4 // nothing is 16 below the best
		}
		b := slices.Clone(a)
		for i := range b {
			b[i] += float32(r.NormFloat64() * 0.1)
		}
		next := int32(r.IntN(50))
		loss.Add(Encode(row, a, next))
		c := Compare(row, b, next)
		s.Add(c)
		klds = append(klds, c.KLD)
		self.Add(Compare(row, a, next))
	}
	slices.Sort(klds)
	byKey := map[string]Line{}
	for _, l := range s.Summary() {
		byKey[l.Key] = l
	}
	near(t, "PPL(base)", byKey["ppl_base"].Value.Mean, loss.PPL(), 1e-3*loss.PPL())
	near(t, "median", byKey["kld_median"].Value.Mean, (klds[74]+klds[75])/2, 1e-6)
	near(t, "max", byKey["kld_max"].Value.Mean, klds[149], 1e-6)
	near(t, "ratio", byKey["ratio"].Value.Mean, byKey["ppl"].Value.Mean/byKey["ppl_base"].Value.Mean, 1e-6)
	for _, l := range self.Summary() {
		switch l.Key {
		case "kld_mean":
			near(t, "KLD to itself", l.Value.Mean, 0, 1e-4)
		case "same_top":
			near(t, "same top", l.Value.Mean, 1, 0)
		}
	}
	final, ok := loss.Final()
	if !ok || final.Err <= 0 {
		t.Errorf("Final %v, %v", final, ok)
	}
	var b bytes.Buffer
	s.Print(&b)
	for _, want := range []string{
		"====== Perplexity statistics ======\nMean PPL(Q)                   : ",
		"\n\n====== KL divergence statistics ======\nMean    KLD: ",
		"\n99.9%   KLD: ", "\nMedian  KLD: ", "\n 0.1%   KLD: ", "\nMinimum KLD: ",
		"\n\n====== Token probability statistics ======\nMean    Δp: ",
		"\n75.0%   Δp: ", "\nRMS Δp    : ", "\nSame top p: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, b.String())
		}
	}
}

// write makes a file of two chunks.
func write(t *testing.T, path string) (*Header, []byte) {
	t.Helper()
	h := &Header{NumCtx: 8, NumVocab: 5, NumChunk: 2, Tokens: make([]int32, 16)}
	for i := range h.Tokens {
		h.Tokens[i] = int32(i % 5)
	}
	w, err := Create(path, h)
	if err != nil {
		t.Fatal(err)
	}
	var rows []byte
	r := rand.New(rand.NewPCG(5, 6))
	for range h.NumChunk * h.Rows() {
		row := make([]byte, h.RowBytes())
		Encode(row, randomLogits(r, 5), 0)
		rows = append(rows, row...)
	}
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return h, rows
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.kld")
	h, rows := write(t, path)
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.NumCtx != 8 || r.NumVocab != 5 || r.NumChunk != 2 || !slices.Equal(r.Tokens, h.Tokens) {
		t.Errorf("header %+v", r.Header)
	}
	var got []byte
	for range r.NumChunk {
		buf := make([]byte, r.Rows()*r.RowBytes())
		if err := r.Chunk(buf); err != nil {
			t.Fatal(err)
		}
		got = append(got, buf...)
	}
	if !bytes.Equal(got, rows) {
		t.Error("the rows came back changed")
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.kld")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := Create(path, &Header{NumCtx: 8, NumVocab: 5, NumChunk: 1, Tokens: make([]int32, 8)})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the old file now has %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	write(t, good)
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	set := func(at int, v uint32) []byte {
		b := slices.Clone(data)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "not a file of log-probabilities"},
		"magic":     {set(0, 0), "not a file of log-probabilities"},
		"truncated": {data[:len(data)-1], "truncated"},
		"longer":    {append(slices.Clone(data), 0), "truncated or damaged"},
		"n_ctx":     {set(8, 0x7fffffff), "truncated or damaged"},
		"negative":  {set(8, 0xffffffff), "bad header"},
		"n_vocab":   {set(12, 0), "bad header"},
		"n_chunk":   {set(16, 0x7fffffff), "truncated or damaged"},
		"token":     {set(20, 5), "beyond the vocabulary of 5"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.CodeOf(err) != fault.Model {
			t.Errorf("%s: %v (exit %d), want %q", name, err, fault.CodeOf(err), c.want)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil || fault.CodeOf(err) != fault.Failure {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "fuzz")
	h := &Header{NumCtx: 4, NumVocab: 2, NumChunk: 1, Tokens: make([]int32, 4)}
	w, err := Create(path, h)
	if err != nil {
		f.Fatal(err)
	}
	w.Write(make([]byte, h.Rows()*h.RowBytes()))
	if err := w.Commit(); err != nil {
		f.Fatal(err)
	}
	seed, _ := os.ReadFile(path)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			return
		}
		defer r.Close()
		buf := make([]byte, r.Rows()*r.RowBytes())
		for range r.NumChunk {
			if err := r.Chunk(buf); err != nil {
				t.Fatal(err)
			}
		}
	})
}
