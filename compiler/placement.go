package compiler

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qnc/codegen/tool"
	"qnc/ir"
	"qnc/passes"
	"qnc/runtime/fault"
)

// A Placement is what the flags say about devices, with llama.cpp's meanings.
// The zero value leaves everything to the plan.
type Placement struct {
	Layers    string     // -ngl: a number of layers, the output head counted as one, "all", or "auto", which "" means too
	Overrides []Override // of -ot, -cmoe and -ncmoe in the order given: the first that matches decides
	Split     string     // -ts: shares of the GPUs, "A,B"
	Mode      string     // -sm: "none" uses one GPU
	Main      int        // -mg: which
	Uploads   bool       // --op-offload: for long prompts, experts on the cpu are uploaded where that pays
}

// An Override gives the tensors that it matches a device.
type Override struct {
	Flag   string // as written, for messages
	re     *regexp.Regexp
	blocks int    // only those of the first so many blocks; -1: any tensor
	device string // as written
}

// placementFlags are the flags that decided where things lie, for the command that compiles again.
func (o *Options) placementFlags() string {
	p, out := &o.Placement, ""
	for _, f := range [][2]string{{"-ngl", p.Layers}, {"-ts", p.Split}, {"-sm", p.Mode}} {
		if f[1] != "" {
			out += " " + f[0] + " " + tool.Quote(f[1])
		}
	}
	if p.Main != 0 {
		out += fmt.Sprintf(" -mg %d", p.Main)
	}
	for _, x := range p.Overrides {
		flag, value, ok := strings.Cut(x.Flag, " ")
		out += " " + flag
		if ok {
			out += " " + tool.Quote(value)
		}
	}
	return out
}

// experts matches what -cmoe and -ncmoe move.
var experts = regexp.MustCompile(`\.ffn_(up|down|gate|gate_up)_(ch|)exps`)

// CPUExperts is -ncmoe of the first n blocks; n < 0 is -cmoe, all.
func CPUExperts(n int) Override {
	flag := "-cmoe"
	if n >= 0 {
		flag = fmt.Sprintf("-ncmoe %d", n)
	}
	return Override{flag, experts, n, "CPU"}
}

// ParseOverrides reads the value of -ot: "REGEXP=DEVICE,..".
func ParseOverrides(s string) ([]Override, error) {
	var out []Override
	for rule := range strings.SplitSeq(s, ",") {
		i := strings.LastIndexByte(rule, '=')
		if i <= 0 || i == len(rule)-1 {
			return nil, fault.New(fault.Usage, "-ot %s: not REGEXP=DEVICE", rule)
		}
		re, err := regexp.Compile(rule[:i])
		if err != nil {
			return nil, fault.New(fault.Usage, "-ot %s: not REGEXP=DEVICE: %w", rule, err)
		}
		out = append(out, Override{"-ot " + rule, re, -1, rule[i+1:]})
	}
	return out, nil
}

// gpuName is how llama.cpp (CUDA0) and a module (cuda:0) call a GPU.
var gpuName = regexp.MustCompile(`^(?i:cuda):?([0-9]+)$`)

// deviceNamed finds the device that a flag names.
func deviceNamed(m *ir.Machine, name string) (ir.Device, bool) {
	d := ir.Device(strings.ToLower(name))
	if x := gpuName.FindStringSubmatch(name); x != nil {
		d = ir.Device("cuda:" + x[1])
	}
	_, ok := m.Device(d)
	return d, ok
}

// gpus lists the devices that are not the cpu.
func gpus(m *ir.Machine) []ir.DeviceInfo {
	return slices.DeleteFunc(slices.Clone(m.Devices), func(d ir.DeviceInfo) bool { return d.Name == "cpu" })
}

// deviceList names the devices of m for a message.
func deviceList(m *ir.Machine) string {
	var names []string
	for _, d := range m.Devices {
		names = append(names, string(d.Name))
	}
	return fault.Either(names...)
}

// check refuses what the machine does not have, and takes the GPUs off it that -sm none leaves out.
func (p *Placement) check(m *ir.Machine) error {
	list := gpus(m)
	n, err := p.layers(0)
	if err != nil {
		return err
	}
	if _, err := p.shares(list); err != nil {
		return err
	}
	switch {
	case len(list) == 0 && n != 0 && !p.auto():
		return fault.New(fault.Missing, "-ngl %s: the machine has no GPU: give -ngl 0, or --machine FILE with one", p.Layers)
	case len(list) == 0 && p.Split != "":
		return fault.New(fault.Missing, "-ts %s: the machine has no GPU: leave it out, or give --machine FILE with some", p.Split)
	case p.Main < 0 || p.Main >= max(len(list), 1):
		return fault.New(fault.Missing, "-mg %d: the machine has %d GPUs, counted from 0: name one of them", p.Main, len(list))
	}
	if p.Mode == "none" && len(list) > 0 {
		keep := list[p.Main].Name
		m.Devices = slices.DeleteFunc(slices.Clone(m.Devices), func(d ir.DeviceInfo) bool { return d.Name != "cpu" && d.Name != keep })
		m.Links = slices.DeleteFunc(slices.Clone(m.Links), func(l ir.Link) bool {
			_, a := m.Device(l.A)
			_, b := m.Device(l.B)
			return !a || !b
		})
	}
	for _, o := range p.Overrides {
		if _, ok := deviceNamed(m, o.device); !ok {
			return fault.New(fault.Missing, "%s: no device %s: the machine has %s", o.Flag, o.device, deviceList(m))
		}
	}
	return nil
}

func (p *Placement) auto() bool { return p.Layers == "" || p.Layers == "auto" || p.Layers == "-1" }

// asks reports whether the flags name GPUs.
func (p *Placement) asks() bool {
	return !p.auto() && p.Layers != "0" || p.Split != "" || p.Main > 0 ||
		slices.ContainsFunc(p.Overrides, func(o Override) bool { return !strings.EqualFold(o.device, "cpu") })
}

// layers is how many of n blocks and the head lie on GPUs.
func (p *Placement) layers(n int) (int, error) {
	if p.auto() || p.Layers == "all" || p.Layers == "-2" {
		return n + 1, nil
	}
	x, err := strconv.Atoi(p.Layers)
	if err != nil || x < 0 {
		return 0, fault.New(fault.Usage, "-ngl %s: want a number of layers, auto or all", p.Layers)
	}
	return min(x, n+1), nil
}

// shares returns the part of the layers for each GPU: those of -ts, or else
// those of the memory that programs may use.
func (p *Placement) shares(list []ir.DeviceInfo) ([]float64, error) {
	out := make([]float64, len(list))
	total := 0.0
	if p.Split != "" {
		parts := strings.FieldsFunc(p.Split, func(r rune) bool { return r == ',' || r == '/' })
		if len(list) > 0 && len(parts) > len(list) {
			return nil, fault.New(fault.Usage, "-ts %s: %d shares for %d GPUs: give one for each", p.Split, len(parts), len(list))
		}
		for i, s := range parts {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil || !(x >= 0) || x > 1e9 {
				return nil, fault.New(fault.Usage, "-ts %s: %q is no share: give numbers such as 3,1", p.Split, s)
			}
			if i < len(out) {
				out[i] = x
				total += x
			}
		}
	}
	for i, d := range list {
		if total > 0 {
			break
		}
		out[i] = float64(max(d.Mem-d.Reserve, 0))
	}
	if sum(out) == 0 { // no -ts, no memory stated
		for i := range out {
			out[i] = 1
		}
	}
	total = sum(out)
	for i := range out {
		out[i] /= total
	}
	return out, nil
}

func sum(list []float64) (s float64) {
	for _, x := range list {
		s += x
	}
	return s
}

// pin gives the symbols of m the devices that the flags name.
//
// Overrides come first. Then, when -ngl gives a number or -ts shares, the last
// layers lie on the GPUs, cut among them in order, the state of a layer beside
// it, and what stands before the layers on the cpu. Everything else stays open
// for the passes.
func (p *Placement) pin(m *ir.Module) error {
	if err := p.override(m); err != nil {
		return err
	}
	list := gpus(&m.Machine)
	if _, cpu := m.Machine.Device("cpu"); p.auto() && p.Split == "" || len(list) == 0 || !cpu {
		return nil
	}
	layer, n := passes.Blocks(m)
	count, err := p.layers(n)
	if err != nil {
		return err
	}
	shares, err := p.shares(list)
	if err != nil {
		return err
	}
	for _, s := range slices.Concat(m.Weights, m.State) {
		if s.On != "" {
			continue
		}
		s.On = "cpu"
		if i := layer[s] - (n + 1 - count); i >= 0 && layer[s] >= 0 {
			s.On = list[share(shares, float32(i)/float32(count))].Name
		}
	}
	return nil
}

// share is the part that x of 0…1 falls into.
func share(shares []float64, x float32) int {
	sum := float32(0)
	last := 0
	for i, s := range shares {
		if s == 0 {
			continue
		}
		last = i
		if sum += float32(s); x < sum {
			break
		}
	}
	return last
}

// override applies the rules to the tensors of the file.
func (p *Placement) override(m *ir.Module) error {
	met := make([]bool, len(p.Overrides))
	var names []string
	for _, w := range m.Weights {
		name := source(w)
		names = append(names, name)
		for i, o := range p.Overrides {
			if !o.matches(name) {
				continue
			}
			met[i] = true
			if w.On == "" {
				w.On, _ = deviceNamed(&m.Machine, o.device)
			}
		}
	}
	for i, o := range p.Overrides {
		if !met[i] && strings.HasPrefix(o.Flag, "-ot") {
			return fault.New(fault.Usage, "%s: no tensor has such a name; the model's are named as in %s: see qnc inspect --tensors", o.Flag, names[len(names)-1])
		}
	}
	return nil
}

func (o *Override) matches(tensor string) bool {
	if !o.re.MatchString(tensor) {
		return false
	}
	if o.blocks < 0 {
		return true
	}
	var n int
	_, err := fmt.Sscanf(tensor, "blk.%d.", &n)
	return err == nil && n < o.blocks
}
