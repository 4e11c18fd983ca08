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
	Mem       int64   // bytes for weights, state and arena; 0 is unknown
	Bandwidth float64 // bytes/s of its own memory; 0 is unknown
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

func formatRate(r float64) string { return strconv.FormatFloat(r/1e9, 'g', -1, 64) + "GB/s" }

func parseRate(s string) (float64, error) {
	num, ok := strings.CutSuffix(s, "GB/s")
	r, err := strconv.ParseFloat(num, 64)
	if !ok || err != nil || !(r > 0) || r > 1e9 {
		return 0, fmt.Errorf("bad rate %q: want 25GB/s", s)
	}
	return r * 1e9, nil
}
