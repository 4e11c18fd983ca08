// Package app is the command line of an emitted program: chat, complete,
// tokenize, apply-template, perplexity, bench, sweep-bench, info, verify, completion.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"qnc/runtime/engine"
	"qnc/runtime/fault"
	"qnc/runtime/flags"
	"qnc/runtime/gguf"
	"qnc/runtime/tokenizer"
)

// Env is what a program gets from outside, so that tests can stand in for it.
type Env struct {
	Name           string   // the program, as messages call it
	Args           []string // without the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	InTerm, ErrTerm bool // whether stdin and stderr are terminals

	// Raw takes the terminal into raw mode until restore is called; nil where
	// there is none. Then Width is that of its rows and Suspend acts on Ctrl-Z.
	Raw     func() (restore func(), err error)
	Width   func() int
	Suspend func()

	LookupEnv  func(string) (string, bool)
	Interrupts <-chan os.Signal
	Exit       func(code int) // ends the program at once

	Info *engine.Info
	Open func(engine.Options) (engine.Runner, error) // called at most once
}

// app is one run of the program.
type app struct {
	*Env
	cmd flags.Command
	set *flags.Set
	out *sticky

	fewer bool // threads than asked for run, which was said

	ctx    context.Context // the first interrupt cancels it
	cancel context.CancelFunc
	idle   chan struct{} // closed when nobody waits for the first interrupt any more

	interrupted bool // set before idle is closed

	r       engine.Runner
	tok     *tokenizer.Tokenizer
	cleanup atomic.Pointer[func()] // removes what is half-written
}

// commands are what the program does.
var commands = map[flags.Command]func(*app) error{
	flags.Chat:          (*app).chat,
	flags.Complete:      (*app).complete,
	flags.Tokenize:      (*app).tokenize,
	flags.ApplyTemplate: (*app).applyTemplate,
	flags.Perplexity:    (*app).perplexity,
	flags.Bench:         (*app).bench,
	flags.SweepBench:    (*app).sweepBench,
	flags.Info:          (*app).info,
	flags.Verify:        (*app).verify,
	flags.Completion:    (*app).completion,
}

// Run runs the command line and returns the exit code.
func Run(e *Env) int {
	a := &app{Env: e, out: &sticky{w: e.Stdout}}
	err := a.run()
	if a.r != nil {
		if cerr := a.r.Close(); err == nil {
			err = cerr
		}
	}
	if err == nil && a.out.err != nil {
		err = fault.New(fault.Failure, "stdout: %w", a.out.err)
	}
	code := fault.CodeOf(err)
	if errors.Is(err, context.Canceled) {
		code = fault.Interrupted
	}
	if err != nil && code != fault.Interrupted {
		fmt.Fprintf(e.Stderr, "%s: %v\n", e.Name, err)
	}
	return int(code)
}

func (a *app) run() error {
	args := a.Args
	a.cmd = flags.Chat
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name := args[0]
		cmd, ok := flags.CommandByName(name)
		switch {
		case ok:
			a.cmd, args = cmd, args[1:]
		case name == "help":
			args = append([]string{"--help"}, args[1:]...)
			if len(args) > 1 {
				if cmd, ok := flags.CommandByName(args[1]); ok {
					a.cmd, args = cmd, args[:1]
				}
			}
		case name == "version":
			args = []string{"--version"}
		default:
			return unknownCommand(name)
		}
	}
	set, err := flags.Parse(a.cmd, args, a.LookupEnv)
	if err != nil {
		return err
	}
	a.set = set
	if set.Bool("help") {
		flags.Usage(a.out, a.Name, a.cmd)
		return nil
	}
	if set.Bool("version") {
		fmt.Fprintf(a.out, "%s: %s, compiled by qnc %s for %s, build %s\n", a.Name, a.Info.Name, a.Info.Compiler, a.Info.TargetCPU, a.Info.BuildID)
		return nil
	}
	if len(set.Args) > 0 && a.cmd != flags.Completion {
		return fault.New(fault.Usage, "%q: this command takes flags only: a text goes with -p", set.Args[0])
	}
	if err := checkFixed(set, a.cmd, a.Info); err != nil {
		return err
	}
	a.watch()
	defer a.cancel()
	return gguf.Guard(func() error { return commands[a.cmd](a) })
}

func unknownCommand(name string) error {
	var names []string
	for _, c := range flags.Commands {
		names = append(names, c.Name)
	}
	if near := flags.Nearest(name, names); near != "" {
		return fault.New(fault.Usage, "unknown command %s: did you mean %s? (help lists all)", name, near)
	}
	return fault.New(fault.Usage, "unknown command %s: want %s", name, fault.Either(names...))
}

// open starts the engine with the threads and sizes of the command line.
func (a *app) open() error {
	var opt engine.Options
	generates := a.cmd&(flags.Chat|flags.Complete|flags.Perplexity) != 0
	if generates { // -1 and 0 are both the engine's choice
		opt.Threads, opt.BatchThreads = a.workers(max(0, a.set.Int("threads"))), a.workers(max(0, a.set.Int("threads-batch")))
	}
	if opt.Threads == 0 && a.Info.DefaultThreads > cpus { // compiled for a larger machine
		opt.Threads = cpus
	}
	opt.MetaOnly = a.cmd&(flags.Tokenize|flags.ApplyTemplate|flags.Verify) != 0
	opt.Note = func(line string) { fmt.Fprintf(a.Stderr, "%s: %s\n", a.Name, line) }
	bar := a.newBar("loading weights")
	opt.Progress = func(done, total int64) {
		if bar.set(done, total); done == total {
			bar.clear()
		}
	}
	r, err := a.Open(opt)
	if err != nil {
		return err
	}
	a.r = r
	if generates {
		r.SetUbatch(a.ubatch())
	}
	return nil
}

// openTokenizer starts the engine and reads its vocabulary.
func (a *app) openTokenizer() error {
	if err := a.open(); err != nil {
		return err
	}
	tok, err := tokenizer.New(a.r.Meta())
	if err != nil {
		return err
	}
	if tok.NumVocab() != a.Info.NumVocab {
		return fault.New(fault.Model, "%s: the vocabulary has %d tokens, the compiled model %d: recompile: %s",
			a.Info.Name, tok.NumVocab(), a.Info.NumVocab, a.Info.Recompile)
	}
	a.tok = tok
	return nil
}

// numCtx is the context that the command line leaves: at most what was compiled.
func (a *app) numCtx() int {
	if c := a.set.Int("ctx-size"); c > 0 {
		return min(c, a.Info.NumCtx)
	}
	return a.Info.NumCtx
}

func (a *app) batch() int {
	if a.set.Has("batch-size") {
		return min(a.set.Int("batch-size"), a.Info.NumBatch)
	}
	return a.Info.NumBatch
}

// ubatch is never more than the batch, as in llama.cpp.
func (a *app) ubatch() int {
	ub := a.Info.NumUbatch
	if a.set.Has("ubatch-size") {
		ub = min(ub, a.set.Int("ubatch-size"))
	}
	return min(ub, a.batch())
}

// watch makes the first interrupt cancel a.ctx; the second ends the program
// after it removed what is half-written.
func (a *app) watch() {
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.idle = make(chan struct{})
	go func() {
		select {
		case <-a.ctx.Done():
			close(a.idle)
			return
		case <-a.Interrupts:
			a.interrupted = true
			a.cancel()
			close(a.idle)
		}
		<-a.Interrupts
		if f := a.cleanup.Load(); f != nil {
			(*f)()
		}
		a.Exit(int(fault.Interrupted))
	}()
}

// unwatch leaves interrupts to others; it is an error when one came before.
func (a *app) unwatch() error {
	a.cancel()
	<-a.idle
	if a.interrupted {
		return context.Canceled
	}
	return nil
}

// sticky remembers the first error of writing to stdout.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}
