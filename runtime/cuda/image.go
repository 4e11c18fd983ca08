package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"qnc/runtime/fault"
)

// check says why the image serves no chip of this kind under this driver: nil when
// it does. Machine code runs on its family from its chip on, PTX on every later
// chip, after the driver has compiled it at the first start.
func (p *Plan) check(d *Device, chip, driver int) error {
	native := slices.ContainsFunc(p.Archs, func(a int) bool { return a/10 == chip/10 && a <= chip })
	ptx := slices.ContainsFunc(p.PTX, func(a int) bool { return a <= chip })
	need := math.MaxInt
	if native {
		need = p.NativeCUDA
	}
	if ptx {
		need = min(need, p.PTXCUDA)
	}
	switch {
	case !native && !ptx:
		return fault.New(fault.Missing, "%s is of chip sm_%d, the program has kernels for %s: compile with --target-gpu sm_%d", d, chip, p.archs(), chip)
	case driver < need:
		return fault.New(fault.Missing, "the NVIDIA driver supports CUDA %s, the program's kernels need CUDA %s (driver %s or newer): update the driver, or compile with an older nvcc, NVRTC or clang",
			cudaVersion(driver), cudaVersion(need), driverFor(need))
	}
	return nil
}

// archs lists the chips of the image for a message.
func (p *Plan) archs() string {
	var names []string
	for _, a := range p.Archs {
		names = append(names, fmt.Sprintf("sm_%d", a))
	}
	if len(p.PTX) > 0 {
		names = append(names, fmt.Sprintf("PTX from sm_%d on", slices.Min(p.PTX)))
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
