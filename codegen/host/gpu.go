package host

import (
	"bytes"
	"fmt"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/codegen/cuda"
	"qnc/ir"
)

// A Binary is the code for GPUs.
type Binary struct {
	File       codegen.File // kernels.fatbin
	Archs, PTX []int        // chips whose machine code and PTX it holds

	// The CUDA versions that a driver must support to run the machine code and to compile the PTX.
	NativeCUDA, PTXCUDA int
}

// CPUParts is the CPU's side of a program with GPUs, as codegen/cpu names it.
type CPUParts struct {
	Parts  map[string][]string // by function, for each part its method of hostModel; "" on a GPU
	Logits map[string]string   // by function, the field of hostModel with the result; "" on a GPU
}

const pkgEngine, pkgCUDA = "qnc/runtime/engine", "qnc/runtime/cuda"

// GPU emits plan.go of package pkg, and the code for GPUs as a file beside it: the memory
// of each GPU and the steps as parts on GPUs and CPU in turn.
//
//	func newProgram(mem *engine.Memory) (*engine.Program, error) {
//		g, err := cuda.Open(openDriver, &gpuPlan, mem)
//		if err != nil {
//			return nil, err
//		}
//		h, m := newHost(mem), newGPU(g, mem)
//		return g.Program(cuda.Steps{
//			Decode: []cuda.Part{{Host: h.decode0}, {Device: 0, Launch: m.gpu0.decode1}},
//			…
//		})
//	}
func GPU(pkg string, m *ir.Module, gpu *cuda.Output, cpu *CPUParts, bin *Binary) ([]codegen.File, error) {
	f := NewFile(pkg)
	f.HeaderComment(codegen.Header)
	f.ImportName(pkgCUDA, "cuda")
	f.ImportName(pkgEngine, "engine")
	f.Anon("embed")
	f.Comment("image is the code of all kernels.")
	f.Comment("//")
	f.Comment("//go:embed " + bin.File.Name)
	f.Var().Id("image").Index().Byte()
	f.Line()
	f.Comment("gpuPlan is what lies on each GPU, and the code for it.")
	f.Add(gpuPlan(gpu, bin))
	f.Line()
	steps := Dict{}
	host := false // the CPU has a part
	for _, fn := range m.Funcs {
		name := strings.ToUpper(fn.Name[:1]) + fn.Name[1:]
		var parts []Code
		device := map[ir.Device]int{}
		for i, d := range gpu.Devices {
			device[d.Name] = i
		}
		for i, p := range fn.Parts {
			part := Dict{Id("Host"): Id("h." + cpu.Parts[fn.Name][i])}
			if method := gpu.Parts[fn.Name][i]; method != "" {
				part = Dict{Id("Device"): Lit(device[p.Device]), Id("Launch"): Id("m." + method)}
			} else {
				host = true
			}
			parts = append(parts, Line().Values(part))
		}
		steps[Id(name)] = Index().Qual(pkgCUDA, "Part").Values(append(parts, Line())...)
		logits := Dict{Id("Host"): Id("h." + cpu.Logits[fn.Name])}
		if at := gpu.Logits[fn.Name]; at.Device >= 0 {
			logits = Dict{Id("Device"): Lit(at.Device), Id("At"): Id(fmt.Sprintf("g.Device(%d).Arena(%d)", at.Device, at.Offset))}
		} else {
			host = true
		}
		steps[Id(name+"Logits")] = Qual(pkgCUDA, "Logits").Values(logits)
	}
	made := Id("m").Op(":=").Id("newGPU").Call(Id("g"), Id("mem"))
	if host {
		made = List(Id("h"), Id("m")).Op(":=").List(Id("newHost").Call(Id("mem")), Id("newGPU").Call(Id("g"), Id("mem")))
	}
	f.Comment("newProgram opens the devices, cuts all memory and hands out the steps.")
	f.Func().Id("newProgram").Params(Id("mem").Op("*").Qual(pkgEngine, "Memory")).Params(Op("*").Qual(pkgEngine, "Program"), Error()).Block(
		List(Id("g"), Err()).Op(":=").Qual(pkgCUDA, "Open").Call(Id("openDriver"), Op("&").Id("gpuPlan"), Id("mem")),
		If(Err().Op("!=").Nil()).Block(Return(Nil(), Err())),
		made,
		Return(Id("g").Dot("Program").Call(Qual(pkgCUDA, "Steps").Values(steps))),
	)
	var b bytes.Buffer
	if err := f.Render(&b); err != nil {
		return nil, fmt.Errorf("BUG: plan.go: %w", err)
	}
	return []codegen.File{{Name: "plan.go", Data: b.Bytes()}, bin.File}, nil
}

// gpuPlan is the declaration of the plan.
func gpuPlan(gpu *cuda.Output, bin *Binary) *Statement {
	number := func(n int64) Code { return Id(fmt.Sprint(n)) }
	list := func(archs []int) Code {
		return Index().Int().ValuesFunc(func(g *Group) {
			for _, a := range archs {
				g.Lit(a)
			}
		})
	}
	var devices []Code
	for _, d := range gpu.Devices {
		devices = append(devices, Line().Values(Dict{
			Id("Name"): Lit(string(d.Name)), Id("Weights"): number(d.Weights), Id("Arena"): number(d.Arena),
			Id("Recurrent"): number(d.Recurrent), Id("KV"): number(d.KV),
		}))
	}
	return Var().Id("gpuPlan").Op("=").Qual(pkgCUDA, "Plan").Values(Dict{
		Id("Image"): Id("image"), Id("Archs"): list(bin.Archs), Id("PTX"): list(bin.PTX), Id("NativeCUDA"): Lit(bin.NativeCUDA), Id("PTXCUDA"): Lit(bin.PTXCUDA),
		Id("Devices"): Index().Qual(pkgCUDA, "DevicePlan").Values(append(devices, Line())...),
	})
}
