package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"qnc/runtime/fault"
)

// values are what one program did in one round: tokens per second by testName,
// seconds of "start" and bytes of "memory".
type values map[string]float64

const (
	startKey  = "start"
	memoryKey = "memory"
)

// A race is a comparison under way.
type race struct {
	o      *options
	log    io.Writer
	values map[string][]values // of each program, a round each

	compileSeconds        float64
	packBytes, packSecond float64
	plan                  plan
	commands              []string
}

// compile makes our programs, one for each type of KV cache, and times the first.
func (r *race) compile(ctx context.Context) error {
	kvs := []string{plainKV}
	if len(r.o.depths) > 0 {
		for _, kv := range r.o.kvs {
			if kv != plainKV {
				kvs = append(kvs, kv)
			}
		}
	}
	for i, kv := range kvs {
		args := []string{"compile", r.o.model, "-v", "-o", r.o.compiled(kv), "-c", fmt.Sprint(r.o.ctx()), "-ub", fmt.Sprint(max(r.o.prompt, r.o.big)), "-b", fmt.Sprint(max(2048, r.o.prompt, r.o.big))}
		if kv != plainKV {
			args = append(args, "-ctk", kv, "-ctv", kv)
		}
		p, err := r.start(ctx, r.o.qnc, args)
		if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		r.compileSeconds = p.seconds
		if r.packBytes, r.packSecond, err = packed(p.stderr); err != nil {
			return err
		}
		if p, err = r.start(ctx, r.o.compiled(kv), []string{"info", "--json"}); err != nil {
			return err
		}
		if err := json.Unmarshal(p.stdout, &r.plan); err != nil {
			return fmt.Errorf("info --json: %w", err)
		}
	}
	return nil
}

// run lets the programs take turns. Where one fails its cell stays empty and the others go on.
func (r *race) run(ctx context.Context) error {
	programs, jobs := r.o.programs(), r.o.jobs()
	for round := range r.o.rounds {
		got := map[string]values{}
		for _, p := range programs {
			got[p.name] = values{}
		}
		for i := range jobs {
			for k := range programs {
				p := &programs[(k+round)%len(programs)] // nobody is always first
				fmt.Fprintf(r.log, "round %d/%d: %s: %s\n", round+1, r.o.rounds, jobs[i].name, p.name)
				err := r.measure(ctx, p, &jobs[i], got[p.name])
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					fmt.Fprintf(r.log, "peers: %v\n", err)
				}
			}
		}
		for name, v := range got {
			r.values[name] = append(r.values[name], v)
		}
	}
	return nil
}

// measure runs one job of one program.
func (r *race) measure(ctx context.Context, p *program, j *job, into values) error {
	done, err := r.start(ctx, p.exe(r.o, j), p.args(r.o, j))
	if err != nil {
		return err
	}
	all, err := results(done.stdout)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, j.name, err)
	}
	if j.start {
		into[startKey] = done.seconds
		return nil
	}
	if j.memory {
		into[memoryKey] = done.memory
	}
	for i := range all {
		name := all[i].name()
		if j.kv != plainKV {
			name += " " + j.kv
		}
		into[name] = median(all[i].Rates)
		fmt.Fprintf(r.log, "  %s: %.2f t/s\n", name, into[name])
	}
	return nil
}

// A process is one that has ended.
type process struct {
	stdout, stderr  []byte
	seconds, memory float64 // of the whole process; memory is the most that was resident, in bytes
}

// start runs a program to its end.
func (r *race) start(ctx context.Context, exe string, args []string) (*process, error) {
	r.remember(exe, args)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := cmd.Run()
	seconds := time.Since(begin).Seconds()
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Missing, "%s: %w", exe, err)
	} else if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(exe), strings.Join(args, " "), err, lastLine(stderr.Bytes()))
	}
	return &process{stdout.Bytes(), stderr.Bytes(), seconds, maxResident(cmd.ProcessState)}, nil
}

// remember keeps a command for the report, once.
func (r *race) remember(exe string, args []string) {
	line := filepath.Base(exe)
	for _, a := range args {
		if strings.ContainsRune(a, filepath.Separator) {
			a = filepath.Base(a)
		}
		line += " " + a
	}
	for _, c := range r.commands {
		if c == line {
			return
		}
	}
	r.commands = append(r.commands, line)
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
