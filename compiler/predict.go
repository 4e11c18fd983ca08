package compiler

import (
	"fmt"
	"strings"

	"qnc/codegen"
	"qnc/codegen/cpu"
	"qnc/ir"
	"qnc/runtime/cost"
	"qnc/runtime/gguf"
)

// A prediction is what the planned steps read and compute, and the speed that
// this allows; -v and --emit stats share it.
type prediction struct {
	Decode cost.Work `json:"decode"` // of a token at position 0
	Cell   float64   `json:"kv_bytes_per_cell"`
	Tokens int       `json:"prompt_tokens"` // of the largest step
	Prompt cost.Work `json:"prompt"`        // of that step
	Active float64   `json:"active_weight_bytes"`
	Excess float64   `json:"excess"` // of the weights that decode reads, over the active ones

	// With a bandwidth for every device that computes something: stated, or measured for -v.
	Devices []devicePeak `json:"devices,omitempty"`
	Depth   int          `json:"depth,omitempty"`
	Rates   *rates       `json:"tokens_per_second_at_best,omitempty"`
}

// A devicePeak is what a device does at best.
type devicePeak struct {
	Device ir.Device `json:"device"`
	cost.Peak
	Measured bool `json:"measured"` // otherwise stated by the machine
}

// rates are tokens per second.
type rates struct {
	Prompt float64 `json:"prompt"`
	Decode float64 `json:"decode"`          // at position 0
	Deep   float64 `json:"decode_at_depth"` // at prediction.Depth
}

// mostExcess is how far the weights that decode reads may be from the active ones without a warning.
const mostExcess = 0.02

// placedLine is a line of a step and where it runs.
type placedLine struct {
	cost.Line
	on ir.Device
}

// predict audits what decode reads and says how fast the machine lets the program be.
func (j *job) predict() error {
	if j.fit {
		return nil // the plan alone is of interest
	}
	p := &prediction{}
	sizes := j.m.MaxSizes()
	p.Tokens, p.Depth = sizes["T"], sizes["C"]-1
	first := cost.Size{Tokens: 1, Logits: 1, Cells: 1}
	second := cost.Size{Tokens: 1, Logits: 1, Cells: 2}
	deep := cost.Size{Tokens: 1, Logits: 1, Cells: sizes["C"]}
	whole := cost.Size{Tokens: p.Tokens, Logits: 1, Cells: p.Tokens}

	steps := map[string][]placedLine{}
	for _, f := range j.m.Funcs {
		lines, err := placedLines(f)
		if err != nil {
			return err
		}
		steps[f.Name] = lines
	}
	p.Decode, p.Prompt = work(steps["decode"], first), work(steps["prefill"], whole)
	p.Cell = work(steps["decode"], second).KV - p.Decode.KV
	p.Active = activeBytes(j.file, j.m)
	if p.Active > 0 {
		p.Excess = p.Decode.Weights/p.Active - 1
	}
	if p.Excess > mostExcess || p.Excess < -mostExcess {
		j.logf("qnc: %s: decode reads %s of weights a token, %s are active: %+.1f %%: a weight is read more than once, or laid out larger than in the file",
			j.path, bytesText(p.Decode.Weights), bytesText(p.Active), 100*p.Excess)
	}
	if p.Devices = j.peaks(steps); p.Devices != nil {
		p.Rates = &rates{
			Prompt: float64(p.Tokens) / p.seconds(steps["prefill"], whole),
			Decode: 1 / p.seconds(steps["decode"], first),
			Deep:   1 / p.seconds(steps["decode"], deep),
		}
	}
	j.stats = append(j.stats, passStat{Pass: "cost", Cost: p})
	if j.o.Verbose {
		for line := range strings.Lines(p.String()) {
			j.logf("%-14s %s", "cost", strings.TrimSuffix(line, "\n"))
		}
	}
	return nil
}

// placedLines are the costs of a planned function; copies between devices have none.
func placedLines(f *ir.Func) ([]placedLine, error) {
	costing := codegen.NewCosting(f, cpu.WeightBytes)
	var lines []placedLine
	for _, v := range f.Body {
		if v.Op.IsView() || !codegen.HasCost(v.Op) {
			continue
		}
		l, err := costing.Line(v)
		if err != nil {
			return nil, err
		}
		lines = append(lines, placedLine{l, v.On})
	}
	return lines, nil
}

func work(lines []placedLine, s cost.Size) cost.Work {
	var w cost.Work
	for i := range lines {
		w = w.Add(lines[i].At(s))
	}
	return w
}

// seconds is the least time of a step, one kernel after the other.
func (p *prediction) seconds(lines []placedLine, s cost.Size) float64 {
	t := 0.0
	for i := range lines {
		for _, d := range p.Devices {
			if d.Device == lines[i].on {
				t += d.Seconds(lines[i].At(s))
			}
		}
	}
	return max(t, 1e-12)
}

// peaks are the devices that lines run on, nil when one of them is not known.
// The CPU is measured for -v where the machine does not state it.
func (j *job) peaks(steps map[string][]placedLine) []devicePeak {
	used := map[ir.Device]bool{}
	for _, lines := range steps {
		for _, l := range lines {
			used[l.on] = true
		}
	}
	var out []devicePeak
	for _, d := range j.m.Machine.Devices {
		if !used[d.Name] {
			continue
		}
		p := devicePeak{Device: d.Name, Peak: cost.Peak{Read: d.Bandwidth, Int: d.MACs}}
		if d.Name == "cpu" {
			measure := j.o.Verbose && j.o.Machine == ""
			if p.Read == 0 && measure {
				p.Read, p.Measured = ReadBandwidth(), true
			}
			per := cpu.IntPerFloat(j.o.TargetCPU)
			if p.Int == 0 && measure {
				p.Int, p.Measured = floatRate()*per, true
			}
			p.Float = p.Int / per
		}
		if p.Read == 0 {
			return nil
		}
		out = append(out, p)
	}
	return out
}

// activeBytes is what a token needs of the file's weights that the module
// uses: of experts, those that a token chooses; of the embedding, its row.
func activeBytes(f *gguf.File, m *ir.Module) float64 {
	arch, _, _ := f.String("general.architecture")
	experts, _, _ := f.Uint(arch + ".expert_count")
	used, _, _ := f.Uint(arch + ".expert_used_count")
	_, untied := f.Tensor("output.weight")
	n := 0.0
	seen := map[string]bool{}
	for _, w := range m.Weights {
		name := source(w)
		t, ok := f.Tensor(name)
		if !ok || seen[name] {
			continue
		}
		seen[name] = true
		size := float64(t.Size)
		switch {
		case name == "token_embd.weight" && len(t.Dims) == 2:
			row := size / float64(t.Dims[1])
			if !untied { // the head as well
				row += size
			}
			n += row
		case len(t.Dims) == 3 && experts > 0 && t.Dims[2] == experts:
			n += size * float64(used) / float64(experts)
		default:
			n += size
		}
	}
	return n
}

// String prints a line for decode, one for prompts and one for the speed.
func (p *prediction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "decode reads %s of weights a token, %.1f %% of the %s that are active\n", bytesText(p.Decode.Weights), 100*(1+p.Excess), bytesText(p.Active))
	fmt.Fprintf(&b, "             %s of recurrent state, read and written\n", bytesText(p.Decode.State))
	fmt.Fprintf(&b, "             %s of KV cache a token and %s for each cell before it\n", bytesText(p.Decode.KV), bytesText(p.Cell))
	fmt.Fprintf(&b, "             and does %.1f M multiply-adds of int8, %.1f M of f32\n", p.Decode.Int/1e6, p.Decode.Float/1e6)
	fmt.Fprintf(&b, "a prompt of %d reads %s of weights and does %.1f G multiply-adds of int8, %.1f G of f32\n", p.Tokens, bytesText(p.Prompt.Weights), p.Prompt.Int/1e9, p.Prompt.Float/1e9)
	if p.Rates == nil {
		b.WriteString("no speed without the bandwidth of every device: bw= in --machine\n")
		return b.String()
	}
	for _, d := range p.Devices {
		how := "stated"
		if d.Measured {
			how = "measured"
		}
		fmt.Fprintf(&b, "%s: %.1f GB/s", d.Device, d.Read/1e9)
		if d.Int > 0 {
			fmt.Fprintf(&b, ", %.0f G multiply-adds/s of int8", d.Int/1e9)
		}
		fmt.Fprintf(&b, " (%s)\n", how)
	}
	fmt.Fprintf(&b, "at best %.4g t/s in a prompt of %d, %.4g t/s in decode, %.4g t/s at depth %d\n", p.Rates.Prompt, p.Tokens, p.Rates.Decode, p.Rates.Deep, p.Depth)
	return b.String()
}

// bytesText is n in the unit that shows its digits.
func bytesText(n float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f B", n)
}
