package cost

import (
	"math"
	"testing"
)

// TestAt: each term grows with what it is stated for.
func TestAt(t *testing.T) {
	for _, c := range []struct {
		name     string
		cost     Cost
		n, cells int
		want     Work
	}{
		{"weights are read once", Cost{Weights: 100, MACs: 7, Int: true, Acts: 3}, 5, 9, Work{Weights: 100, Int: 35, Acts: 15}},
		{"float32", Cost{MACs: 7}, 5, 9, Work{Float: 35}},
		{"state once a call", Cost{State: 64}, 5, 9, Work{State: 64}},
		{"cells once, stores by row", Cost{Cell: 10, Store: 4}, 5, 9, Work{KV: 10*9 + 4*5}},
		{"row i of 3 that end at cell 10 attends to 8+i", Cost{CellMACs: 2}, 3, 10, Work{Float: 2 * (8 + 9 + 10)}},
		{"one row reads its experts", Cost{Pick: 100, Picks: 3, Of: 8}, 1, 0, Work{Weights: 300}},
		{"more picks than there are", Cost{Pick: 100, Picks: 9, Of: 8}, 1, 0, Work{Weights: 800}},
		{"two rows that choose 1 of 2: half the time the same", Cost{Pick: 100, Picks: 1, Of: 2}, 2, 0, Work{Weights: 150}},
		{"many rows reach all", Cost{Pick: 100, Picks: 4, Of: 4}, 7, 0, Work{Weights: 400}},
		{"no rows", Cost{Weights: 100, State: 1, Pick: 3, Picks: 1, Of: 3}, 0, 9, Work{}},
	} {
		if got := c.cost.At(c.n, c.cells); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestLine: the rows of a line are the step's tokens, its logits or one.
func TestLine(t *testing.T) {
	lines := []Line{{Rows: Tokens, Cost: Cost{MACs: 1}}, {Rows: Logits, Cost: Cost{MACs: 10, Int: true}}, {Rows: One, Cost: Cost{MACs: 100}}}
	want := Work{Float: 107, Int: 30}
	if got := Sum(lines, Size{Tokens: 7, Logits: 3, Cells: 20}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestSeconds: reading hides computing or the reverse; integers and floats share the core.
func TestSeconds(t *testing.T) {
	p := Peak{Read: 100, Int: 50, Float: 10}
	for _, c := range []struct {
		w    Work
		want float64
	}{
		{Work{Weights: 100, State: 50, KV: 50, Acts: 1e9}, 2},
		{Work{Weights: 100, Int: 100, Float: 10}, 3},
		{Work{Weights: 400, Int: 100, Float: 10}, 4},
		{Work{}, 0},
	} {
		if got := p.Seconds(c.w); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v: %v s, want %v", c.w, got, c.want)
		}
	}
	if got := (Peak{}).Seconds(Work{Weights: 1, Int: 1, Float: 1}); got != 0 {
		t.Errorf("a machine of which nothing is known: %v s", got)
	}
}

func TestString(t *testing.T) {
	c := Cost{Weights: 8, Pick: 4, Picks: 2, Of: 16, Acts: 12, MACs: 32, Int: true}
	const want = "8 bytes of weights, 4 bytes a pick, 2 of 16 a row, 12 of activations a row, 32 multiply-adds (int8) a row"
	if got := c.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (Cost{}).String(); got != "" {
		t.Errorf("no cost: %q", got)
	}
}
