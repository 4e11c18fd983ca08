// Package parity reads reference numbers: logits that another implementation
// computed for synthetic models. A case is one txtar file:
//
//	-- description --   the model, as runtime/gguf/synth reads it
//	-- sha256 --        of the GGUF file that the description gives
//	-- tokens --        one sequence, decimal token ids
//	-- logits --        "columns" and the token ids whose logits are listed, then per
//	                    position "row I max M top T gap G" (over the whole vocabulary: the
//	                    largest magnitude, the best token and its lead over the next) and
//	                    a line with the logits after token I
//	-- source --        who computed them, and how
package parity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"

	"qnc/runtime/gguf/synth"
)

// A Case is one model with reference logits at some positions of one sequence.
type Case struct {
	Name        string
	Description string
	SHA256      string
	Tokens      []int32
	Columns     []int32     // the token ids of a row's logits
	Rows        []int       // positions in Tokens, ascending
	Logits      [][]float32 // [len(Rows)][len(Columns)]
	Max         []float32   // per row, over the whole vocabulary: the largest |logit|,
	Top         []int32     // the token with the largest logit,
	Gap         []float32   // and how far it is above the next one
	Source      string
}

// Load reads the cases of a directory in the order of their names.
func Load(dir string) ([]Case, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("parity: no *.txtar in %s", dir)
	}
	cases := make([]Case, len(paths))
	for i, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		c, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("parity: %s: %w", path, err)
		}
		c.Name = strings.TrimSuffix(filepath.Base(path), ".txtar")
		cases[i] = *c
	}
	return cases, nil
}

// Parse reads one case; its Name stays empty.
func Parse(data []byte) (*Case, error) {
	c := &Case{}
	var tokens, logits string
	parts := map[string]*string{
		"description": &c.Description, "sha256": &c.SHA256, "tokens": &tokens, "logits": &logits, "source": &c.Source,
	}
	for _, f := range txtar.Parse(data).Files {
		p, ok := parts[f.Name]
		if !ok {
			return nil, fmt.Errorf("unknown or repeated section %s", f.Name)
		}
		delete(parts, f.Name)
		*p = string(f.Data)
	}
	for _, name := range []string{"description", "sha256", "tokens", "logits", "source"} {
		if _, missing := parts[name]; missing {
			return nil, fmt.Errorf("no section %s", name)
		}
	}
	c.SHA256, c.Source = strings.TrimSpace(c.SHA256), strings.TrimSpace(c.Source)
	var err error
	if c.Tokens, err = ids(strings.Fields(tokens)); err != nil {
		return nil, err
	}
	if err := c.parseLogits(strings.Split(strings.TrimSpace(logits), "\n")); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Case) parseLogits(lines []string) (err error) {
	head := strings.Fields(lines[0])
	if len(head) < 2 || head[0] != "columns" {
		return fmt.Errorf("logits begin with %q, want columns", lines[0])
	}
	if c.Columns, err = ids(head[1:]); err != nil {
		return err
	}
	lines = lines[1:]
	if len(lines) == 0 || len(lines)%2 != 0 {
		return fmt.Errorf("%d lines of logits: each row needs two", len(lines))
	}
	for ; len(lines) > 0; lines = lines[2:] {
		var row int
		var top int32
		var most, gap float32
		if _, err := fmt.Sscanf(lines[0], "row %d max %g top %d gap %g", &row, &most, &top, &gap); err != nil {
			return fmt.Errorf("row line %q: %w", lines[0], err)
		}
		if row < 0 || row >= len(c.Tokens) || len(c.Rows) > 0 && row <= c.Rows[len(c.Rows)-1] {
			return fmt.Errorf("row %d is out of order or beyond %d tokens", row, len(c.Tokens))
		}
		if !(most > 0) || int(top) < 0 || !(gap >= 0) {
			return fmt.Errorf("row line %q: max must be positive, top and gap must not be negative", lines[0])
		}
		words := strings.Fields(lines[1])
		if len(words) != len(c.Columns) {
			return fmt.Errorf("row %d: %d logits for %d columns", row, len(words), len(c.Columns))
		}
		values := make([]float32, len(words))
		for i, w := range words {
			v, err := strconv.ParseFloat(w, 32)
			if err != nil {
				return fmt.Errorf("row %d: %w", row, err)
			}
			values[i] = float32(v)
		}
		c.Rows, c.Logits = append(c.Rows, row), append(c.Logits, values)
		c.Max, c.Top, c.Gap = append(c.Max, most), append(c.Top, top), append(c.Gap, gap)
	}
	return nil
}

func ids(words []string) ([]int32, error) {
	out := make([]int32, len(words))
	for i, w := range words {
		v, err := strconv.ParseInt(w, 10, 32)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("token id %q", w)
		}
		out[i] = int32(v)
	}
	return out, nil
}

// Model makes the GGUF file of the case in memory and checks that it is, byte
// for byte, the one that the reference saw.
func (c *Case) Model() ([]byte, error) {
	config, err := synth.Parse(c.Description)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := config.Write(&b); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b.Bytes())
	if got := hex.EncodeToString(sum[:]); got != c.SHA256 {
		return nil, fmt.Errorf("parity: %s: the description gives a file with digest %s, the reference numbers are of %s: the generator or an encoder has changed; compute them again", c.Name, got, c.SHA256)
	}
	return b.Bytes(), nil
}

// Diff compares the full logits of c.Rows[i] with the reference: a lower bound
// of the largest difference, in units of the row's largest |logit|. It looks at
// the listed columns and, over the whole vocabulary, at the largest magnitude
// and at the lead of the best token. A NaN or a row that is too short is +Inf.
func (c *Case) Diff(i int, logits []float32) float64 {
	best, most := 0, 0.0
	for t, v := range logits {
		if v != v {
			return math.Inf(1)
		}
		if v > logits[best] {
			best = t
		}
		most = max(most, math.Abs(float64(v)))
	}
	if top := int(c.Top[i]); top >= len(logits) || int(slices.Max(c.Columns)) >= len(logits) {
		return math.Inf(1)
	}
	worst := math.Abs(most - float64(c.Max[i]))
	if top := int(c.Top[i]); best != top {
		// The reference has best at least Gap below top: one of the two is
		// off by half of what it takes to change places.
		worst = max(worst, float64(logits[best]-logits[top]+c.Gap[i])/2)
	}
	for j, col := range c.Columns {
		worst = max(worst, math.Abs(float64(logits[col])-float64(c.Logits[i][j])))
	}
	return worst / float64(c.Max[i])
}
