package cuda

import (
	"fmt"
	"slices"
	"strings"

	"qnc/runtime/fault"
)

// An Image is a fatbin, a cubin or PTX with all kernels.
type Image struct {
	Data  []byte
	Archs []int // chips with machine code in it: 80 is sm_80
	PTX   []int // chips whose PTX is in it
}

// native is the best machine code for a chip: of its family and no newer; 0: none.
func (x *Image) native(chip int) int {
	return newest(x.Archs, func(a int) bool { return a/10 == chip/10 && a <= chip })
}

// ptx is the best PTX for a chip: no newer; 0: none.
func (x *Image) ptx(chip int) int { return newest(x.PTX, func(a int) bool { return a <= chip }) }

func newest(archs []int, ok func(int) bool) int {
	best := 0
	for _, a := range archs {
		if ok(a) {
			best = max(best, a)
		}
	}
	return best
}

// image chooses the code for a chip under a driver: machine code before PTX,
// which the driver compiles at the first start.
func (p *Plan) image(d *Device, chip, driver int) (*Image, error) {
	best := func(of func(*Image, int) int) *Image {
		i := slices.MaxFunc(p.Images, func(a, b Image) int { return of(&a, chip) - of(&b, chip) })
		if of(&i, chip) == 0 {
			return nil
		}
		return &i
	}
	if len(p.Images) == 0 {
		return nil, fault.New(fault.Failure, "BUG: no kernels")
	}
	native, ptx := best((*Image).native), best((*Image).ptx)
	need := p.NativeCUDA
	switch {
	case native != nil && driver >= p.NativeCUDA:
		return native, nil
	case ptx != nil && driver >= p.PTXCUDA:
		return ptx, nil
	case native == nil && ptx == nil:
		return nil, fault.New(fault.Missing, "%s is of chip sm_%d, the program has kernels for %s: compile with --target-gpu sm_%d", d, chip, p.archs(), chip)
	case native == nil || ptx != nil && p.PTXCUDA < need:
		need = p.PTXCUDA
	}
	return nil, fault.New(fault.Missing, "the NVIDIA driver supports CUDA %s, the program's kernels need CUDA %s (driver %s or newer): update the driver, or compile with an older nvcc, NVRTC or clang",
		cudaVersion(driver), cudaVersion(need), driverFor(need))
}

// archs lists the chips of all images for a message.
func (p *Plan) archs() string {
	var names []string
	for _, x := range p.Images {
		for _, a := range x.Archs {
			names = append(names, fmt.Sprintf("sm_%d", a))
		}
	}
	oldest := 0
	for _, x := range p.Images {
		for _, a := range x.PTX {
			if oldest == 0 || a < oldest {
				oldest = a
			}
		}
	}
	if oldest != 0 {
		names = append(names, fmt.Sprintf("PTX from sm_%d on", oldest))
	}
	return strings.Join(names, ", ")
}

// cudaVersion prints 12040 as 12.4.
func cudaVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// drivers are the first drivers of Linux with each version of CUDA.
var drivers = []struct {
	cuda   int
	driver string
}{
	{11000, "450"}, {11010, "455"}, {11020, "460"}, {11030, "465"}, {11040, "470"}, {11050, "495"}, {11060, "510"}, {11070, "515"}, {11080, "520"},
	{12000, "525"}, {12010, "530"}, {12020, "535"}, {12030, "545"}, {12040, "550"}, {12050, "555"}, {12060, "560"}, {12080, "570"}, {12090, "575"},
	{13000, "580"}, {13010, "590"},
}

// driverFor is the first driver that knows a version of CUDA.
func driverFor(version int) string {
	for _, d := range drivers {
		if d.cuda >= version {
			return d.driver
		}
	}
	return "of CUDA " + cudaVersion(version)
}
