package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// A Device names where a value is computed: "cpu", "cuda:0". Empty means not placed.
type Device string

// A DeviceInfo is one device of a machine.
type DeviceInfo struct {
	Name      Device
	Mem       int64   // bytes; 0 is unknown
	Reserve   int64   // bytes of Mem that a driver's context and other programs take
	Bandwidth float64 // bytes/s of its own memory; 0 is unknown
	MACs      float64 // 8-bit multiply-adds/s of a product with many tokens; 0 is unknown
}

// A Link is a connection between two devices.
type Link struct {
	A, B      Device
	Bandwidth float64 // bytes/s each way
}

// A Machine is what the compiler knows of the hardware; the first device runs the host program.
type Machine struct {
	Devices []DeviceInfo
	Links   []Link
}

// Link returns the bytes/s between two devices; 0 is unknown.
func (m *Machine) Link(a, b Device) float64 {
	for _, l := range m.Links {
		if l.A == a && l.B == b || l.A == b && l.B == a {
			return l.Bandwidth
		}
	}
	return 0
}

// Device finds a device by name.
func (m *Machine) Device(d Device) (DeviceInfo, bool) {
	for _, x := range m.Devices {
		if x.Name == d {
			return x, true
		}
	}
	return DeviceInfo{}, false
}

var byteUnits = []struct {
	name string
	n    int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// FormatBytes prints n in the largest unit that divides it.
func FormatBytes(n int64) string {
	for _, u := range byteUnits {
		if n != 0 && n%u.n == 0 {
			return strconv.FormatInt(n/u.n, 10) + u.name
		}
	}
	return "0B"
}

// ParseBytes reads what FormatBytes prints.
func ParseBytes(s string) (int64, error) {
	for _, u := range byteUnits {
		if num, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(num, 10, 64)
			if err != nil || n < 0 || n > (1<<62)/u.n {
				break
			}
			return n * u.n, nil
		}
	}
	return 0, fmt.Errorf("bad size %q: want 24GiB, 512MiB or a number of B", s)
}

// Units of rates.
const (
	byteRate = "GB/s"
	macRate  = "GMAC/s"
)

func formatRate(r float64, unit string) string {
	return strconv.FormatFloat(r/1e9, 'g', -1, 64) + unit
}

func parseRate(s, unit string) (float64, error) {
	num, ok := strings.CutSuffix(s, unit)
	r, err := strconv.ParseFloat(num, 64)
	if !ok || err != nil || !(r > 0) || r > 1e9 {
		return 0, fmt.Errorf("bad rate %q: want 25%s", s, unit)
	}
	return r * 1e9, nil
}
