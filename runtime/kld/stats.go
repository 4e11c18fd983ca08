package kld

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// Estimate is a mean with its uncertainty.
type Estimate struct{ Mean, Err float64 }

// mean is llama-perplexity's mean and uncertainty of a sum of count values.
func mean(sum, sum2 float64, count int) Estimate {
	if count < 1 {
		return Estimate{}
	}
	n := float64(count)
	m := sum / n
	v := sum2/n - m*m
	if v <= 0 || count <= 10 {
		return Estimate{Mean: m}
	}
	return Estimate{m, math.Sqrt(v / (n - 1))}
}

// A LossSum is the perplexity of the rows so far.
type LossSum struct {
	sum, sum2 float64
	count     int
}

// Add adds -log p of one token.
func (s *LossSum) Add(nll float64) {
	s.sum += nll
	s.sum2 += nll * nll
	s.count++
}

// Count returns the number of tokens.
func (s *LossSum) Count() int { return s.count }

// PPL returns the perplexity so far.
func (s *LossSum) PPL() float64 { return math.Exp(s.sum / float64(s.count)) }

// Final returns the perplexity with its uncertainty; ok is false when the
// variance is not positive.
func (s *LossSum) Final() (e Estimate, ok bool) {
	n := float64(s.count)
	m := s.sum / n
	v := s.sum2/n - m*m
	ppl := math.Exp(m)
	if v <= 0 {
		return Estimate{Mean: ppl}, false
	}
	return Estimate{ppl, math.Sqrt(v/(n-1)) * ppl}, true
}

// Stats sums up comparisons, in the order in which they are added.
type Stats struct {
	nll, nll2, base, base2, cross float64
	kld, kld2                     float64
	diff, diff2, diff4            float64
	same, count                   int
	klds, diffs                   []float32
}

// Add adds one comparison.
func (s *Stats) Add(r Row) {
	s.nll += float64(r.NLL)
	s.nll2 += float64(r.NLL * r.NLL)
	s.base += float64(r.NLLBase)
	s.base2 += float64(r.NLLBase * r.NLLBase)
	s.cross += float64(r.NLL * r.NLLBase)
	s.kld += r.KLD
	s.kld2 += r.KLD * r.KLD
	d2 := float64(r.PDiff * r.PDiff)
	s.diff += float64(r.PDiff)
	s.diff2 += d2
	s.diff4 += d2 * d2
	if r.SameTop {
		s.same++
	}
	s.count++
	s.klds = append(s.klds, float32(r.KLD))
	s.diffs = append(s.diffs, r.PDiff)
}

// MinCount is how many rows llama-perplexity wants before it prints the summary.
const MinCount = 100

// Count returns the number of rows.
func (s *Stats) Count() int { return s.count }

// covariance of the two mean losses.
func (s *Stats) covariance() float64 {
	if s.count < 10 {
		return 0
	}
	n := float64(s.count)
	return (s.cross/n - (s.nll/n)*(s.base/n)) / (n - 1)
}

// logRatio is the mean of ln(PPL(Q)/PPL(base)).
func (s *Stats) logRatio() Estimate {
	q, b := mean(s.nll, s.nll2, s.count), mean(s.base, s.base2, s.count)
	return Estimate{q.Mean - b.Mean, math.Sqrt(max(0, q.Err*q.Err+b.Err*b.Err-2*s.covariance()))}
}

func (s *Stats) rms() Estimate {
	m := mean(s.diff2, s.diff4, s.count)
	r := math.Sqrt(m.Mean)
	if r == 0 {
		return Estimate{}
	}
	return Estimate{r, 0.5 / r * m.Err}
}

func (s *Stats) sameTop() Estimate {
	p := float64(s.same) / float64(s.count)
	if s.count < 2 {
		return Estimate{Mean: p}
	}
	return Estimate{p, math.Sqrt(p * (1 - p) / float64(s.count-1))}
}

func exp(e Estimate) Estimate {
	m := math.Exp(e.Mean)
	return Estimate{m, m * e.Err}
}

// ChunkHead is the line above the lines of ChunkLine.
const ChunkHead = "chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS            Same top p"

// ChunkLine is the state after chunk i, counted from 1.
func (s *Stats) ChunkLine(i int) string {
	ppl := exp(mean(s.nll, s.nll2, s.count))
	ratio, kl := s.logRatio(), mean(s.kld, s.kld2, s.count)
	rms, top := s.rms(), s.sameTop()
	return fmt.Sprintf("%4d    %9.4f ± %9.4f    %10.5f ± %10.5f    %10.5f ± %10.5f    %6.3f ± %6.3f %%    %6.3f ± %6.3f %%",
		i, ppl.Mean, ppl.Err, ratio.Mean, ratio.Err, kl.Mean, kl.Err, 100*rms.Mean, 100*rms.Err, 100*top.Mean, 100*top.Err)
}

// A Line is one line of the summary.
type Line struct {
	Section string // only where a section starts
	Name    string // as llama-perplexity prints it
	Key     string // in JSON
	Format  string // for Value, or for Value and Err
	Value   Estimate
	HasErr  bool
	Scale   float64 // what is printed is this times the value
}

// Summary returns the lines of the summary in order.
func (s *Stats) Summary() []Line {
	klds, diffs := slices.Sorted(slices.Values(s.klds)), slices.Sorted(slices.Values(s.diffs))
	q, b := mean(s.nll, s.nll2, s.count), mean(s.base, s.base2, s.count)
	pq, pb, cov := exp(q), exp(b), s.covariance()
	cor := 0.0
	if q.Err > 0 && b.Err > 0 {
		cor = cov / (q.Err * b.Err)
	}
	diff := Estimate{pq.Mean - pb.Mean, math.Sqrt(max(0, pq.Err*pq.Err+pb.Err*pb.Err-2*pq.Mean*pb.Mean*cov))}

	const f6, f6e, pct, pcte = "%10.6f", "%10.6f ± %10.6f", "%6.3f%%", "%6.3f ± %5.3f %%"
	lines := []Line{
		{"Perplexity statistics", "Mean PPL(Q)                   : ", "ppl", f6e, pq, true, 1},
		{"", "Mean PPL(base)                : ", "ppl_base", f6e, pb, true, 1},
		{"", "Cor(ln(PPL(Q)), ln(PPL(base))): ", "cor", "%6.2f%%", Estimate{Mean: cor}, false, 100},
		{"", "Mean ln(PPL(Q)/PPL(base))     : ", "ln_ratio", f6e, s.logRatio(), true, 1},
		{"", "Mean PPL(Q)/PPL(base)         : ", "ratio", f6e, exp(s.logRatio()), true, 1},
		{"", "Mean PPL(Q)-PPL(base)         : ", "diff", f6e, diff, true, 1},
		{"KL divergence statistics", "Mean    KLD: ", "kld_mean", f6e, mean(s.kld, s.kld2, s.count), true, 1},
	}
	for _, p := range percentiles {
		if p.kld {
			lines = append(lines, Line{"", p.name + " KLD: ", "kld_" + p.key, f6, Estimate{Mean: float64(percentile(klds, p.at))}, false, 1})
		}
	}
	lines = append(lines, Line{"Token probability statistics", "Mean    Δp: ", "dp_mean", pcte, mean(s.diff, s.diff2, s.count), true, 100})
	for _, p := range percentiles {
		lines = append(lines, Line{"", p.name + " Δp: ", "dp_" + p.key, pct, Estimate{Mean: float64(percentile(diffs, p.at))}, false, 100})
	}
	return append(lines,
		Line{"", "RMS Δp    : ", "dp_rms", pcte, s.rms(), true, 100},
		Line{"", "Same top p: ", "same_top", pcte, s.sameTop(), true, 100})
}

// percentiles are the ones that are printed, of Δp all, of KLD those that say so.
var percentiles = []struct {
	name, key string
	at        float32
	kld       bool
}{
	{"Maximum", "max", 1, true},
	{"99.9%  ", "p999", 0.999, true},
	{"99.0%  ", "p99", 0.99, true},
	{"95.0%  ", "p95", 0.95, true},
	{"90.0%  ", "p90", 0.90, true},
	{"75.0%  ", "p75", 0.75, false},
	{"Median ", "median", 0.5, true},
	{"25.0%  ", "p25", 0.25, false},
	{"10.0%  ", "p10", 0.10, true},
	{" 5.0%  ", "p05", 0.05, true},
	{" 1.0%  ", "p01", 0.01, true},
	{" 0.1%  ", "p001", 0.001, true},
	{"Minimum", "min", 0, true},
}

// percentile interpolates in sorted values.
func percentile(sorted []float32, at float32) float32 {
	p := at * float32(len(sorted)-1)
	i := int(p)
	if i >= len(sorted)-1 {
		return sorted[len(sorted)-1]
	}
	p -= float32(i)
	return (1-p)*sorted[i] + p*sorted[i+1]
}

// Print writes the summary as llama-perplexity prints it.
func (s *Stats) Print(w io.Writer) {
	for i, l := range s.Summary() {
		if l.Section != "" {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "====== %s ======\n", l.Section)
		}
		args := []any{l.Scale * l.Value.Mean}
		if l.HasErr {
			args = append(args, l.Scale*l.Value.Err)
		}
		fmt.Fprint(w, l.Name)
		fmt.Fprintf(w, l.Format+"\n", args...)
	}
}
