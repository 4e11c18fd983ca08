package host

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	. "github.com/dave/jennifer/jen"

	"qnc/codegen"
	"qnc/runtime/fault"
)

// A Driver is a way for an emitted program to reach its GPUs.
type Driver struct {
	Name    string // of --cuda-driver
	pkg     string // under qnc/runtime
	CGO     bool   // it needs a C compiler and the headers of CUDA 12
	Tag     string // for go build; "": none
	modules []module
	files   []string // of the runtime, beside the packages
}

type module struct{ path, version string }

// Drivers lists them, the default first.
var Drivers = []Driver{
	{"purego", "cuda/libcuda", false, "", []module{{"github.com/ebitengine/purego", "v0.11.3"}}, nil},
	{"gorgonia", "cuda/gorgonia", true, "gorgonia", []module{{"gorgonia.org/cu", "v0.9.6"}, {"github.com/google/uuid", "v1.1.1"}, {"github.com/pkg/errors", "v0.9.1"}},
		[]string{"cuda/gorgonia/stub/libcuda.a"}},
}

// DriverByName finds the driver of --cuda-driver; "" is the default.
func DriverByName(name string) (*Driver, error) {
	if name == "" {
		return &Drivers[0], nil
	}
	var names []string
	for i := range Drivers {
		if Drivers[i].Name == name {
			return &Drivers[i], nil
		}
		names = append(names, Drivers[i].Name)
	}
	return nil, fault.New(fault.Usage, "--cuda-driver %s: want %s", name, fault.Either(names...))
}

// File emits driver.go of package pkg.
//
//	// openDriver finds the driver of NVIDIA's GPUs.
//	var openDriver = libcuda.Open
func (d *Driver) File(pkg string) (codegen.File, error) {
	f := NewFile(pkg)
	f.HeaderComment(codegen.Header)
	f.Comment("openDriver finds the driver of NVIDIA's GPUs.")
	f.Var().Id("openDriver").Op("=").Qual("qnc/runtime/"+d.pkg, "Open")
	var b bytes.Buffer
	if err := f.Render(&b); err != nil {
		return codegen.File{}, fmt.Errorf("BUG: driver.go: %w", err)
	}
	return codegen.File{Name: "driver.go", Data: b.Bytes()}, nil
}

// vendorDir is where the modules of others stand in an emitted module.
const vendorDir = "third_party/"

// thirdParty holds the modules that drivers need, as far as they are built: see the test.
//
//go:embed thirdparty.zip
var thirdParty []byte

// vendored returns the packed files of a module, under vendorDir.
func vendored(path string) ([]codegen.File, error) {
	r, err := zip.NewReader(bytes.NewReader(thirdParty), int64(len(thirdParty)))
	if err != nil {
		return nil, fmt.Errorf("BUG: the packed modules: %w", err)
	}
	var files []codegen.File
	for _, f := range r.File {
		if !strings.HasPrefix(f.Name, path+"/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		files = append(files, codegen.File{Name: vendorDir + f.Name, Data: data})
	}
	slices.SortFunc(files, func(a, b codegen.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}
