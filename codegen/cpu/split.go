package cpu

import (
	"fmt"
	"slices"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/ir"
)

// A SplitOutput is the CPU's part of a program with other devices.
type SplitOutput struct {
	Output                     // of the parts; no Files of a variant without
	Parts  map[string][]string // by function, for each part the method of hostModel; "" on another device
	Logits map[string]string   // by function, the field of hostModel with its result; "" on another device
	Whole  *Output             // plan of the variant; nil without
}

// EmitSplit writes what of a planned module runs on the CPU: type hostModel
// with its constructor newHost and a method a part, in host.go. whole, when it is not nil, is
// the same model with everything on the CPU, whose program is that of Emit. Both share kernels.go.
//
// Parts take what they read from other devices as transfers, which whoever
// drives the devices has copied to their place in the arena.
func EmitSplit(m, whole *ir.Module, pkg, target string) (*SplitOutput, error) {
	_, vector := vectorTarget(target)
	p := newProgram(m)
	p.typ, p.vector = "hostModel", vector
	out := &SplitOutput{Parts: map[string][]string{}, Logits: map[string]string{}}
	var steps, funcs []Code
	files := map[string][]Code{}
	if whole != nil {
		// The weights are in the order of their file: see Shareable.
		q, code, err := translate(whole, false)
		if err != nil {
			return nil, err
		}
		products, err := q.products()
		if err != nil {
			return nil, err
		}
		files["step.go"] = slices.Concat(q.declarations(), q.constructor(), code)
		files["costs.go"] = slices.Concat(q.costs(), products)
		out.Whole = q.output()
		p.kernels, funcs = q.kernels, q.funcs
		for _, name := range q.kernels {
			p.names[name] = true
		}
	}
	for _, f := range m.Funcs {
		p.noteMembers(f)
		at := 0
		for i, part := range f.Parts {
			values := f.Body[at : at+part.Len]
			at += part.Len
			name := ""
			if part.Device == "cpu" {
				name = fmt.Sprintf("%s%d", f.Name, i)
				values = slices.DeleteFunc(slices.Clone(values), func(v *ir.Value) bool { return v.Op == ir.OpTransfer })
				body, err := p.method(f, name, fmt.Sprintf("%s runs part %d of a step of %s.", name, i, f.Name), values)
				if err != nil {
					return nil, err
				}
				steps = append(steps, body...)
			}
			out.Parts[f.Name] = append(out.Parts[f.Name], name)
		}
		for _, r := range f.Results {
			if here(r) {
				out.Logits[f.Name] = p.field(r)[len("m."):]
			}
		}
	}
	files["host.go"] = slices.Concat(p.declarations(), []Code{
		Comment("newHost cuts the CPU's memory into its tensors."),
		Func().Id("newHost").Params(Id("mem").Op("*").Qual(pkgEngine, "Memory")).Op("*").Id(p.typ).Block(
			Return(Op("&").Id(p.typ).Values(p.inits())),
		),
		Line(),
	}, steps)
	files["kernels.go"] = append(funcs, p.funcs...)
	out.Output = *p.output()
	for _, name := range []string{"host.go", "step.go", "kernels.go", "costs.go"} {
		if files[name] == nil {
			continue
		}
		data, err := render(pkg, files[name])
		if err != nil {
			return nil, fmt.Errorf("BUG: %s: %w", name, err)
		}
		out.Files = append(out.Files, codegen.File{Name: name, Data: data})
	}
	out.Files = append(out.Files, p.assembly(pkg, target)...)
	return out, nil
}

// Shareable reports whether the weights of a module with other devices have the
// layouts that a program with everything on the CPU reads too.
func Shareable(m *ir.Module) bool {
	return !slices.ContainsFunc(m.Weights, func(w *ir.Value) bool { return w.Type.Layout != "" })
}

// output is the plan of p, without files.
func (p *program) output() *Output {
	return &Output{ArenaBytes: p.arena, ScratchFloats: p.scratch, SharedFloats: p.shared, RecurrentFloats: p.recurrent, CacheBytes: p.cache, Kernels: len(p.kernels)}
}
