package compiler

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/packages"

	"qnc/codegen"
	"qnc/codegen/tool"
	"qnc/ir"
	"qnc/runtime/fault"
)

// buildEnv is the environment of the Go toolchain for an emitted module: no
// cgo, nothing downloaded, the baseline CPU.
func buildEnv() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off", "GOPROXY=off", "GOTOOLCHAIN=local", "GOAMD64=v1", "GO111MODULE=on")
}

// buildEnv is that of j's module, which may have a driver with cgo.
func (j *job) buildEnv() ([]string, error) {
	env := buildEnv()
	if j.driver == nil || !j.driver.CGO {
		return env, nil
	}
	dir, err := headers()
	if dir != "" {
		env = append(env, "CGO_CFLAGS=-I"+dir)
	}
	return append(env, "CGO_ENABLED=1"), err
}

// buildTags is what selects j's driver.
func (j *job) buildTags() []string {
	if j.driver == nil || j.driver.Tag == "" {
		return nil
	}
	return []string{"-tags", j.driver.Tag}
}

// check type-checks the emitted module with its text as an overlay, before
// anything is built. A fault names the value that the code came from.
func (j *job) check(ctx context.Context) error {
	if err := needGo(); err != nil {
		return err
	}
	dir, err := j.moduleDir()
	if err != nil {
		return err
	}
	env, err := j.buildEnv()
	if err != nil {
		return err
	}
	j.bar.begin("checking types")
	pkgs, err := packages.Load(&packages.Config{
		Context:    ctx,
		Dir:        dir,
		Env:        env,
		BuildFlags: append([]string{"-trimpath"}, j.buildTags()...),
		// Imports are read as source: export data would have to be built first.
		Mode:      packages.NeedName | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes,
		ParseFile: parseFor(j.files[:j.own]),
		Overlay:   overlay(dir, j.files[:j.own]),
	}, ".")
	if ctx.Err() != nil || err != nil && tool.Interrupted(ctx) {
		return fault.New(fault.Interrupted, "interrupted: %w", context.Canceled)
	}
	if err != nil {
		return fmt.Errorf("type check: %w", err)
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			return fmt.Errorf("BUG: emitted code: %s%s", strings.ReplaceAll(e.Msg, "\n", " "), j.origin(e.Pos))
		}
	}
	return nil
}

// parseFor gives a parser that drops the bodies of functions outside the
// program's own files: of its imports only the declarations matter.
func parseFor(own []codegen.File) func(*token.FileSet, string, []byte) (*ast.File, error) {
	return func(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
		f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
		if err != nil || slices.ContainsFunc(own, func(o codegen.File) bool { return o.Name == filepath.Base(name) }) {
			return f, err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				fn.Body = nil
			}
		}
		return f, nil
	}
}

// overlay maps the program's own files to where they would stand under dir.
func overlay(dir string, files []codegen.File) map[string][]byte {
	m := map[string][]byte{}
	for _, f := range files {
		m[filepath.Join(dir, filepath.FromSlash(f.Name))] = f.Data
	}
	return m
}

// origin finds the IR line of a position "file:line:col" of the emitted code:
// that of the kernel that holds it or that the line calls.
func (j *job) origin(pos string) string {
	parts := strings.Split(pos, ":")
	if len(parts) < 3 {
		return ""
	}
	parts = parts[:len(parts)-1]
	line, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil {
		return ""
	}
	name := filepath.Base(strings.Join(parts[:len(parts)-1], ":"))
	for _, f := range j.files[:j.own] {
		if f.Name != name {
			continue
		}
		lines := strings.Split(string(f.Data), "\n")
		if line < 1 || line > len(lines) {
			return ""
		}
		if v := valueAbove(lines, enclosing(lines, line-1)); v != "" {
			return fmt.Sprintf(", in the code of %s (%s:%d)", v, name, line)
		}
		if v := j.called(lines[line-1]); v != "" {
			return fmt.Sprintf(", in the call of the kernel of %s (%s:%d)", v, name, line)
		}
		return fmt.Sprintf(" (%s:%d)", name, line)
	}
	return ""
}

// enclosing returns the line of the declaration that line i is part of, -1 outside of functions.
func enclosing(lines []string, i int) int {
	for at := i; at >= 0; at-- {
		if strings.HasPrefix(lines[at], "func ") {
			return at
		}
		if at < i && strings.HasPrefix(lines[at], "}") {
			break
		}
	}
	return -1
}

// valueAbove returns the IR line in the comment above a function, "" when there is none.
func valueAbove(lines []string, at int) string {
	if at < 1 {
		return ""
	}
	text, _ := strings.CutPrefix(lines[at-1], "// ")
	word, _, _ := strings.Cut(text, " ")
	if strings.HasPrefix(word, "%") || slices.ContainsFunc(ir.Ops(), func(o ir.Op) bool { return o.String() == word }) {
		return text
	}
	return ""
}

// called returns the IR line of the kernel that a line of a step calls.
func (j *job) called(line string) string {
	kernel, _, ok := strings.Cut(strings.TrimSpace(line), "(")
	if !ok {
		return ""
	}
	for _, f := range j.files[:j.own] {
		lines := strings.Split(string(f.Data), "\n")
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "func "+kernel+"(") })
		if v := valueAbove(lines, at); v != "" {
			return v
		}
	}
	return ""
}
