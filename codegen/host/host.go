// Package host emits the skeleton of the program around a backend's steps:
// main.go with everything that was decided, go.mod, and the runtime's source.
package host

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/runtime"
	"qnc/runtime/engine"
)

// GoVersion is the language version of the emitted module.
const GoVersion = "1.26.0"

// A Program is what main.go says of the emitted steps.
type Program struct {
	Plan engine.Plan  // of the CPU's memory
	New  string       // newModel, or newProgram
	CPU  *engine.Plan // of newModel beside newProgram; nil without
}

// Main emits main.go of package pkg: the model as it was planned. The build id
// is set when the program is linked, because it depends on the weights.
//
//	var spec = engine.Model{
//		Info: engine.Info{Name: "Gopher 17M", …},
//		Plan: engine.Plan{ArenaBytes: 8552448, …},
//		New:  newModel,
//	}
func Main(pkg string, info engine.Info, p *Program) (codegen.File, error) {
	const pkgApp = "qnc/runtime/app"
	f := NewFile(pkg)
	f.HeaderComment(codegen.Header)
	f.Comment("buildID is the name of this compile, which the weights file carries too; the linker sets it.")
	f.Var().Id("buildID").String()
	f.Line()
	f.Comment("spec is everything that was decided ahead of time.")
	plan := func(plan engine.Plan) Code {
		members := []member{
			{"ArenaBytes", plan.ArenaBytes}, {"ScratchFloats", plan.ScratchFloats}, {"SharedFloats", plan.SharedFloats},
			{"RecurrentFloats", plan.RecurrentFloats}, {"KVBytes", plan.KVBytes},
		}
		if plan.Threads != 0 {
			members = append(members, member{"Threads", plan.Threads})
		}
		return literal(pkgEngine, "Plan", members)
	}
	var gpus []member
	if info.GPUs != "" {
		gpus = []member{{"GPUs", info.GPUs}, {"GPULayers", info.GPULayers}}
	}
	spec := Dict{
		Id("Info"): literal(pkgEngine, "Info", append([]member{
			{"Name", info.Name}, {"Arch", info.Arch}, {"FileType", info.FileType}, {"SourceFile", info.SourceFile},
			{"Compiler", info.Compiler}, {"TargetCPU", info.TargetCPU}, {"Recompile", info.Recompile},
			{"Params", info.Params}, {"WeightBytes", info.WeightBytes},
			{"NumVocab", info.NumVocab}, {"NumLayers", info.NumLayers}, {"NumCtx", info.NumCtx}, {"NumBatch", info.NumBatch},
			{"NumUbatch", info.NumUbatch}, {"NumSeq", info.NumSeq}, {"TypeK", info.TypeK}, {"TypeV", info.TypeV},
			{"Precise", info.Precise}, {"DefaultThreads", info.DefaultThreads},
			{"ArenaBytes", info.ArenaBytes}, {"RecurrentBytes", info.RecurrentBytes}, {"KVBytes", info.KVBytes},
		}, gpus...)),
		Id("Plan"): plan(p.Plan),
		Id("New"):  Id(p.New),
	}
	if p.CPU != nil {
		spec[Id("CPU")] = Op("&").Qual(pkgEngine, "Variant").Values(Dict{Id("Plan"): plan(*p.CPU), Id("New"): Id("newModel")})
	}
	f.Var().Id("spec").Op("=").Qual(pkgEngine, "Model").Values(spec)
	f.Line()
	f.Func().Id("main").Params().Block(
		Id("spec").Dot("Info").Dot("BuildID").Op("=").Id("buildID"),
		Qual("os", "Exit").Call(Qual(pkgApp, "Main").Call(Op("&").Id("spec"))),
	)
	var b bytes.Buffer
	if err := f.Render(&b); err != nil {
		return codegen.File{}, fmt.Errorf("BUG: main.go: %w", err)
	}
	return codegen.File{Name: "main.go", Data: b.Bytes()}, nil
}

type member struct {
	name  string
	value any
}

// literal is a composite literal, a member a line in the order given.
func literal(pkg, typ string, members []member) *Statement {
	var lines []Code
	for _, m := range members {
		lines = append(lines, Line().Id(m.name).Op(":").Id(goValue(m.value)))
	}
	return Qual(pkg, typ).Values(append(lines, Line())...)
}

func goValue(x any) string {
	if s, ok := x.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(x)
}

// Module emits go.mod, and the runtime packages that the program needs as a
// module of their own, put in place of its import path: nothing is downloaded.
// With a driver its package comes too, and the modules of others that it needs.
func Module(d *Driver) ([]codegen.File, error) {
	var requires, replaces, runtimeRequires strings.Builder
	var files []codegen.File
	queue := []string{"app"}
	if d != nil {
		queue = append(queue, d.pkg)
		for _, m := range d.modules {
			fmt.Fprintf(&requires, "require %s %s\n\n", m.path, m.version)
			fmt.Fprintf(&replaces, "replace %s => ./%s%s\n\n", m.path, vendorDir, m.path)
			more, err := vendored(m.path)
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
		}
		for _, name := range d.files {
			data, err := runtime.Sources.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("BUG: %w", err)
			}
			files = append(files, codegen.File{Name: "qnc/runtime/" + name, Data: data})
		}
		runtimeRequires.WriteString("\n" + strings.TrimSuffix(requires.String(), "\n"))
	}
	files = append([]codegen.File{
		{Name: "go.mod", Data: fmt.Appendf(nil, "module model\n\ngo %s\n\nrequire qnc v0.0.0\n\n%s%sreplace qnc => ./qnc\n", GoVersion, &requires, &replaces)},
		{Name: "qnc/go.mod", Data: fmt.Appendf(nil, "module qnc\n\ngo %s\n%s", GoVersion, &runtimeRequires)},
	}, files...)
	seen := map[string]bool{}
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		if seen[dir] {
			continue
		}
		seen[dir] = true
		entries, err := fs.ReadDir(runtime.Sources, dir)
		if err != nil {
			return nil, fmt.Errorf("BUG: runtime package %s: %w", dir, err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			ext := path.Ext(name)
			if e.IsDir() || strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := runtime.Sources.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if ext != ".go" { // assembly, or C of a driver
				files = append(files, codegen.File{Name: "qnc/runtime/" + name, Data: src})
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				return nil, err
			}
			if ignored(src) {
				continue
			}
			for _, imp := range f.Imports {
				p, _ := strconv.Unquote(imp.Path.Value)
				if sub, ok := strings.CutPrefix(p, "qnc/runtime/"); ok {
					queue = append(queue, sub)
				}
			}
			files = append(files, codegen.File{Name: "qnc/runtime/" + name, Data: src})
		}
	}
	slices.SortFunc(files[2:], func(a, b codegen.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// ignored reports whether a file is a generator that no build includes.
func ignored(src []byte) bool {
	return bytes.HasPrefix(src, []byte("//go:build ignore")) || bytes.Contains(src, []byte("\n//go:build ignore"))
}
