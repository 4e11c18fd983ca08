package compiler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"qnc/codegen/tool"
	"qnc/runtime/fault"
)

// buildID is the linker flag that names a compile. In a printed command that is
// not run it is a shell variable: the name is a digest of what was not packed yet.
const buildID = "-ldflags=-s -w -X main.buildID="

func (j *job) goBuildArgs(out, id string) []string {
	args := append([]string{"go", "build", "-trimpath", "-buildvcs=false"}, j.buildTags()...)
	return append(args, buildID+id, "-o", out, ".")
}

// goBuild runs the toolchain in dir.
func (j *job) goBuild(ctx context.Context, dir, out, id string) error {
	env, err := j.buildEnv()
	if err != nil {
		return err
	}
	args := j.goBuildArgs(out, id)
	if j.o.Trace && id != "" {
		j.logf("%s", shellLine(dir, env, args))
	}
	// A toolchain that is interrupted may leave its temporary files.
	tmp, err := os.MkdirTemp(os.Getenv("GOTMPDIR"), "qnc-go-")
	if err != nil {
		return fmt.Errorf("temporary folder of go build: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(env, "GOTMPDIR="+tmp)
	b, err := tool.Output(ctx, cmd)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		said := strings.Join(strings.Fields(string(b)), " ")
		if said == "" {
			said = exit.String()
		}
		return fault.New(fault.Missing, "go build failed: %s", said)
	}
	return err
}

// dryLink prints what link would do, as lines for a shell.
func (j *job) dryLink(out string) {
	dir := "$WORK"
	if j.o.Work != "" {
		dir = j.o.Work
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		j.logf("# write the emitted module (--emit src=%s)", tool.Quote(dir))
	} else {
		j.logf(`WORK=$(mktemp -d) # write the emitted module (--emit src="$WORK")`)
	}
	where := "into " + out
	if !j.o.Embed {
		where = out + ".weights"
	}
	j.logf("# pack %s; the digest of code and weights is ID", where)
	env, err := j.buildEnv()
	if err != nil {
		env = buildEnv() // a dry run asks for nothing
	}
	line := shellLine(dir, env, j.goBuildArgs(out, "$ID"))
	// The two variables of this text alone are the shell's.
	line = strings.Replace(line, "'$WORK'", `"$WORK"`, 1)
	j.logf("%s", strings.Replace(line, tool.Quote(buildID+"$ID"), `"`+buildID+`$ID"`, 1))
}

// shellLine is a command as a line for a POSIX shell.
func shellLine(dir string, env, args []string) string {
	words := []string{"cd", tool.Quote(dir), "&&"}
	for _, v := range env[len(os.Environ()):] {
		words = append(words, tool.Quote(v))
	}
	for _, a := range args {
		words = append(words, tool.Quote(a))
	}
	return strings.Join(words, " ")
}
