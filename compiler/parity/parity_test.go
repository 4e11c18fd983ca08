package parity

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/gguf"
)

const dir = "../testdata/parity"

// TestCases checks what is checked in: each description still gives the file
// that the reference saw, and rows lie on both sides of a chunk boundary.
func TestCases(t *testing.T) {
	cases, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 12 {
		t.Fatalf("%d cases, want 12 or more", len(cases))
	}
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			data, err := c.Model()
			if err != nil {
				t.Fatal(err)
			}
			f, err := gguf.Parse(data, c.Name)
			if err != nil {
				t.Fatal(err)
			}
			vocab, _, err := f.Len("tokenizer.ggml.tokens")
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range slices.Concat(c.Tokens, c.Columns, c.Top) {
				if int(id) >= int(vocab) {
					t.Fatalf("token %d of %d", id, vocab)
				}
			}
			for _, row := range []int{0, 63, 64, len(c.Tokens) - 1} {
				if !slices.Contains(c.Rows, row) {
					t.Errorf("no row %d", row)
				}
			}
			if !strings.Contains(c.Source, "float32") {
				t.Errorf("source %q does not say how the numbers were computed", c.Source)
			}
			checkDiff(t, c, int(vocab))
		})
	}
}

// checkDiff gives Diff a row made of the reference, then the same with faults.
func checkDiff(t *testing.T, c *Case, vocab int) {
	for i := range c.Rows {
		full := make([]float32, vocab)
		for j, col := range c.Columns {
			full[col] = c.Logits[i][j]
		}
		if !slices.Contains(c.Columns, c.Top[i]) {
			full[c.Top[i]] = slices.Max(full) + c.Gap[i]
		} else if full[c.Top[i]] != slices.Max(full) {
			t.Errorf("row %d: token %d is not the best of its row", c.Rows[i], c.Top[i])
		}
		// Unlisted columns are 0 here, so one of them takes the largest magnitude.
		if least := slices.Min(full); -least < c.Max[i] && full[c.Top[i]] < c.Max[i] {
			for col := range full {
				if full[col] == 0 {
					full[col] = -c.Max[i]
					break
				}
			}
		}
		if full[c.Top[i]] > c.Max[i] {
			full[c.Top[i]] = c.Max[i]
		}
		if d := c.Diff(i, full); d > 1e-6 {
			t.Errorf("row %d: the reference differs from itself by %g", c.Rows[i], d)
		}
		for name, fault := range map[string]func(){
			"a listed logit":     func() { full[c.Columns[len(c.Columns)/2]] += 0.01 * c.Max[i] },
			"another best token": func() { full[(c.Top[i]+1)%int32(vocab)] = full[c.Top[i]] + 0.02*c.Max[i] },
			"NaN":                func() { full[vocab-1] = float32(math.NaN()) },
			"a short row":        func() { full = full[:1] },
		} {
			was := slices.Clone(full)
			fault()
			if d := c.Diff(i, full); !(d > 0.009) {
				t.Errorf("row %d: %s shows as %g", c.Rows[i], name, d)
			}
			full = was
		}
	}
}

func TestParseErrors(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(dir, "delta-only.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"no section", "-- tokens --", "-- token --", "section token"},
		{"twice", "-- source --", "-- tokens --", "section tokens"},
		{"missing", "-- source --\n", "", "no section source"},
		{"columns", "columns", "column", "want columns"},
		{"row", "row 62", "row x", "row line"},
		{"order", "row 62", "row 0", "out of order"},
		{"max", "row 62 max ", "row 62 max -", "must be positive"},
		{"beyond", "row 132", "row 1320", "beyond"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.old, c.new, 1)
			if bad == string(good) {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := Parse([]byte(bad))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("an empty folder loads")
	}
	changed := strings.Replace(string(good), "seed = 21", "seed = 22", 1)
	c, err := Parse([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Model(); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("another model passes as the reference's: %v", err)
	}
}

// FuzzParse: no bytes make Parse or Diff panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte("-- description --\n-- sha256 --\n-- tokens --\n1 2\n-- logits --\ncolumns 0 2\nrow 1 max 3 top 2 gap 1\n2 3\n-- source --\n"))
	f.Add([]byte("-- tokens --\n-- logits --\ncolumns\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		for i := range c.Rows {
			if d := c.Diff(i, []float32{1, 2, 3}); d < 0 {
				t.Fatalf("row %d differs by %g", i, d)
			}
		}
	})
}
