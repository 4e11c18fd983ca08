// Command synth writes synthetic models: GGUF files with the shapes of a large
// model and weights that a generator draws, for measurements and tests where no
// real file is at hand. What it writes depends on the description alone.
//
//	synth [-tokens N] PRESET|DESCRIPTION.txt OUT.gguf   write a model, then count what its routers choose
//	synth -print PRESET                                 print a description to start from
//	synth -routing MODEL.gguf                           count for a model that is there
//
// Package qnc/runtime/gguf/synth documents the lines of a description.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/gguf/synth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	code := fault.CodeOf(err)
	if errors.Is(err, context.Canceled) {
		code = fault.Interrupted
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "synth: %v\n", err)
	}
	os.Exit(int(code))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("synth", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { usage(stderr, set) }
	show := set.String("print", "", "print the description of `PRESET` and end")
	routing := set.String("routing", "", "count what the routers of `MODEL.gguf` choose and end")
	tokens := set.Int("tokens", 512, "random tokens to count over, 0: do not count")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return fault.Wrap(fault.Usage, err)
	}
	if *tokens < 0 || *tokens > 1<<20 {
		return fault.New(fault.Usage, "-tokens %d: want 0 to %d", *tokens, 1<<20)
	}
	switch {
	case *show != "":
		c, ok := synth.PresetByName(*show)
		if !ok {
			return unknown(*show)
		}
		_, err := io.WriteString(stdout, c.String())
		return err
	case *routing != "":
		return count(stdout, *routing, *tokens)
	case set.NArg() != 2:
		usage(stderr, set)
		return fault.New(fault.Usage, "%d operands: want a preset or a description, and the file to write", set.NArg())
	}
	c, err := describe(set.Arg(0))
	if err != nil {
		return err
	}
	out := set.Arg(1)
	b := &bar{w: stderr, on: stderr == os.Stderr && isTerminal(os.Stderr), start: time.Now()}
	err = c.WriteFileProgress(out, func(done, total uint64) error {
		b.update(done, total)
		return ctx.Err()
	})
	b.end()
	if err != nil {
		return err
	}
	st, err := os.Stat(out)
	if err != nil {
		return err
	}
	s := time.Since(b.start).Seconds()
	fmt.Fprintf(stderr, "%s: %.2f GB in %.1f s, %.2f GB/s\n", out, float64(st.Size())/1e9, s, float64(st.Size())/1e9/s)
	if *tokens == 0 {
		return nil
	}
	return count(stdout, out, *tokens)
}

func usage(w io.Writer, set *flag.FlagSet) {
	fmt.Fprintln(w, "usage: synth [-tokens N] PRESET|DESCRIPTION.txt OUT.gguf")
	fmt.Fprintln(w, "presets:")
	for _, p := range synth.Presets {
		fmt.Fprintf(w, "  %-12s %s\n", p.Name, p.Help)
	}
	fmt.Fprintln(w, "flags:")
	set.PrintDefaults()
}

func unknown(name string) error {
	names := make([]string, len(synth.Presets))
	for i, p := range synth.Presets {
		names[i] = p.Name
	}
	return fault.New(fault.Usage, "%s: no preset and no file: want %s, or a file with a description", name, fault.Either(names...))
}

// describe finds a preset, or reads a file.
func describe(name string) (*synth.Config, error) {
	if c, ok := synth.PresetByName(name); ok {
		return c, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, unknown(name)
	} else if err != nil {
		return nil, fault.Wrap(fault.Usage, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20)) // Parse refuses a longer one
	if err != nil {
		return nil, err
	}
	c, err := synth.Parse(string(text))
	return c, fault.Wrap(fault.Usage, err)
}

// count prints how the routers of a model spread n random tokens.
func count(w io.Writer, path string, n int) error {
	f, err := gguf.Open(path)
	if err != nil {
		return fault.Wrap(fault.Model, err)
	}
	defer f.Close()
	var layers []layer
	err = gguf.Guard(func() error {
		layers, err = route(f, n)
		return err
	})
	if err != nil {
		return fault.Wrap(fault.Model, fmt.Errorf("%s: %w", path, err))
	}
	return report(w, layers, n)
}

// A bar is a line of progress on a terminal.
type bar struct {
	w           io.Writer
	on          bool
	start, last time.Time
}

func (b *bar) update(done, total uint64) {
	now := time.Now()
	if !b.on || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last = now
	fmt.Fprintf(b.w, "\r%3d%%  %.2f of %.2f GB  %.0f MB/s ", done*100/max(total, 1), float64(done)/1e9, float64(total)/1e9,
		float64(done)/1e6/now.Sub(b.start).Seconds())
}

func (b *bar) end() {
	if b.on && !b.last.IsZero() {
		fmt.Fprintf(b.w, "\r%50s\r", "")
	}
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
