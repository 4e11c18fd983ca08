// Command opcheck runs the cases of TestOpcheck on the kernels that stand
// beside it when it is built: it reads a plan in JSON and writes the results
// and states of every step to standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"qnc/runtime/engine"
	"qnc/runtime/kernel"
	"qnc/runtime/pack"
)

// A plan is what the test asks for.
type plan struct {
	Weights, Target             string
	Arena, Recurrent, KV, Slots int
	Scratch, Shared             int
	Threads                     int
	Steps                       []step
}

// A step runs one case and then copies spans of memory to the output.
type step struct {
	Case           int
	Tok, Pos, Rows []int32
	Slot           int
	Arena          int // bytes that the case uses
	Spans          []span
}

// A span is a range of bytes of the arena, of the slots' recurrent state or of the caches.
type span struct {
	In       string
	Off, Len int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	kernel.Use(p.Target)
	w, err := pack.Open(p.Weights, [32]byte{})
	if err != nil {
		return err
	}
	state := make([]byte, 4*p.Recurrent*p.Slots)
	regions := map[string][]byte{"arena": make([]byte, p.Arena), "recurrent": state, "kv": make([]byte, p.KV)}
	garbage(regions["kv"]) // cells are written before they are read
	m, err := newModel(&engine.Memory{Weights: w, Arena: regions["arena"], Recurrent: kernel.Floats(state), KV: regions["kv"]})
	if err != nil {
		return err
	}
	funcs := steps(m)
	team := engine.NewTeam(p.Threads, p.Scratch, p.Shared, func(err error) { panic(err) })
	noise := make([]byte, max(p.Arena, 4*p.Scratch, 4*p.Shared))
	garbage(noise)
	out := bufio.NewWriter(os.Stdout)
	for _, s := range p.Steps {
		copy(regions["arena"][:s.Arena], noise)
		in := engine.Step{Tok: s.Tok, Pos: s.Pos, Seq: make([]int32, len(s.Tok)), Rows: s.Rows, T: len(s.Tok), R: len(s.Rows), Slot: s.Slot}
		for i := range in.Seq {
			in.Seq[i] = int32(s.Slot)
		}
		team.Run(func(th *engine.Thread) {
			copy(th.Scratch(p.Scratch), kernel.Floats(noise))
			if th.Ith == 0 {
				copy(th.Shared(p.Shared), kernel.Floats(noise))
			}
			th.Barrier()
			funcs[s.Case](th, &in)
		})
		for _, x := range s.Spans {
			out.Write(regions[x.In][x.Off:][:x.Len])
		}
	}
	return out.Flush()
}

// garbage fills b with NaN: what a kernel leaves unwritten shows.
func garbage(b []byte) {
	for i := range b {
		b[i] = 0xff
	}
}
