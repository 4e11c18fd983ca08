// Command peers compares a compiled program with other programs that run the
// same GGUF file: llama.cpp's llama-bench and that of ik_llama.cpp. All of them
// take turns, as often as asked, on the machine as it is; what comes out is a
// markdown table of medians, spreads and ratios.
//
//	peers -model M.gguf [-qnc bin/qnc] [-llama LLAMA-BENCH] [-ik LLAMA-BENCH] [-rounds 3] …
//
// Ratios compare runs of the same round, since what else the machine does
// changes slowly. ik_llama.cpp runs with and without -rtr 1, and every row is
// compared with the better of the two; its repacking shows in the row of the start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"qnc/runtime/fault"
)

// options are the command line.
type options struct {
	model, qnc, llama, ik, work string

	rounds, reps  int
	threads, more int
	prompt, gen   int
	big           int // the larger prompt, in one ubatch
	depths        []int
	deepGen       int
	kvs           []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	code := fault.CodeOf(err)
	if errors.Is(err, context.Canceled) {
		code = fault.Interrupted
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
	}
	os.Exit(int(code))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		if fault.CodeOf(err) != fault.Missing {
			err = fault.Wrap(fault.Usage, err)
		}
		return err
	}
	if o.work == "" {
		dir, err := os.MkdirTemp("", "peers-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.work = dir
	} else if err := os.MkdirAll(o.work, 0o755); err != nil {
		return err
	}
	r := &race{o: o, log: stderr, values: map[string][]values{}}
	if err := r.compile(ctx); err != nil {
		return err
	}
	err = r.run(ctx)
	if len(r.values[ours]) == 0 { // not even a round
		return err
	}
	if werr := r.write(stdout); werr != nil {
		return werr
	}
	return err
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	var depths, kvs string
	set := flag.NewFlagSet("peers", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&o.model, "model", "", "`FILE.gguf` that all programs run")
	set.StringVar(&o.qnc, "qnc", "bin/qnc", "the compiler")
	set.StringVar(&o.llama, "llama", "", "llama.cpp's `LLAMA-BENCH`")
	set.StringVar(&o.ik, "ik", "", "ik_llama.cpp's `LLAMA-BENCH`")
	set.StringVar(&o.work, "work", "", "`DIR` to keep the compiled programs in (default: a temporary one)")
	set.IntVar(&o.rounds, "rounds", 3, "how often the programs take turns")
	set.IntVar(&o.reps, "reps", 3, "runs of each test in a round")
	set.IntVar(&o.threads, "threads", 2, "threads, as many as there are cores")
	set.IntVar(&o.more, "more", 4, "more threads than cores, 0: leave these rows out")
	set.IntVar(&o.prompt, "prompt", 512, "tokens of the prompt and of its ubatch")
	set.IntVar(&o.big, "big", 2048, "tokens of the larger prompt and of its ubatch, 0: leave the row out")
	set.IntVar(&o.gen, "gen", 128, "tokens to generate")
	set.IntVar(&o.deepGen, "deep-gen", 32, "tokens to generate at a depth")
	set.StringVar(&depths, "depths", "8192", "`N,..` tokens of context to generate behind, empty: none")
	set.StringVar(&kvs, "kv", "f16", "`TYPE,..` of the KV cache at a depth")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("%q: flags only", set.Arg(0))
	}
	for _, s := range strings.FieldsFunc(depths, comma) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-depths %s: want positive numbers such as 8192,65536", depths)
		}
		o.depths = append(o.depths, n)
	}
	o.kvs = strings.FieldsFunc(kvs, comma)
	for _, f := range []struct {
		name string
		n    int
		min  int
	}{{"rounds", o.rounds, 1}, {"reps", o.reps, 1}, {"threads", o.threads, 1}, {"more", o.more, 0}, {"prompt", o.prompt, 1}, {"big", o.big, 0}, {"gen", o.gen, 1}, {"deep-gen", o.deepGen, 1}} {
		if f.n < f.min || f.n > 1<<20 {
			return nil, fmt.Errorf("-%s %d: want %d to %d", f.name, f.n, f.min, 1<<20)
		}
	}
	if len(o.depths) > 0 && len(o.kvs) == 0 {
		return nil, errors.New("-kv: name a type such as f16,q8_0, or leave -depths empty")
	}
	if o.model == "" {
		return nil, errors.New("-model FILE.gguf is missing")
	}
	for _, exe := range []*string{&o.qnc, &o.llama, &o.ik} {
		if *exe == "" {
			continue
		}
		path, err := exec.LookPath(*exe)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, fault.New(fault.Missing, "%s cannot be run: build it first, or leave its flag out: %w", *exe, err)
		}
		*exe = path
	}
	return o, nil
}

func comma(r rune) bool { return r == ',' }
