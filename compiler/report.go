package compiler

import (
	"fmt"
	"time"

	"qnc/ir"
	"qnc/passes"
)

// A passStat is one line of -v and one entry of --emit stats: the module after a pass.
type passStat struct {
	Pass  string        `json:"pass"`
	Time  time.Duration `json:"-"` // not data: it differs from run to run
	Stats *passes.Stats `json:"stats,omitempty"`
	Cost  *prediction   `json:"cost,omitempty"` // the last entry: of the planned module
}

// measure measures the module after a pass and prints the line of -v.
func (j *job) measure(pass string, d time.Duration) {
	if j.fit {
		return // the plan alone is of interest
	}
	s := passStat{Pass: pass, Time: d, Stats: passes.Measure(j.m)}
	j.stats = append(j.stats, s)
	if !j.o.Verbose {
		return
	}
	t := s.Stats.Total()
	t.Splits = 0 // of one step, as ggml counts them
	for _, f := range s.Stats.Funcs {
		t.Splits = max(t.Splits, f.Splits)
	}
	if len(j.stats) == 1 {
		j.logf("%-14s %8s %7s %8s %10s %7s %9s %10s %10s", "pass", "time", "values", "repeats", "bytes", "splits", "launches", "moved", "peak")
	}
	j.logf("%-14s %8s %7d %8d %10s %7d %9d %10s %10s", pass, ms(d), t.Values, t.Repeats, mib(t.RepeatBytes), t.Splits, t.Launches, mib(t.Moved), mib(t.Peak))
}

// slow warns of weights that memory cannot hold.
func (j *job) slow(m ir.Machine) []string {
	have, want := uint64(m.Devices[0].Mem), j.info.WeightBytes
	if have == 0 || want <= have {
		return nil
	}
	return []string{fmt.Sprintf("weights %s are mapped; memory is %s: expect reads from disk", size(want), size(have))}
}

// size is n in GiB, or in MiB when it is small.
func size(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000) }

func mib(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
}
