package arch

import (
	"strings"
	"testing"

	"qnc/ir"
	"qnc/runtime/gguf"
)

// FuzzImport: whatever one or two keys say, and whatever one tensor is,
// importing gives a module that reads back or an error of one line.
func FuzzImport(f *testing.F) {
	var files []*gguf.File
	for _, desc := range []string{"", "legacy = true\nmerged = true\ntied = true", "mtp_layers = 1\nexpert_scale = 2", "recurrent = 0 1"} {
		files = append(files, describe(f, desc))
	}
	f.Add(uint8(0), uint8(3), int64(2), uint8(5), int64(1)<<19, uint8(7), uint32(0), uint8(0), uint16(24))
	f.Add(uint8(1), uint8(9), int64(-1), uint8(11), int64(0), uint8(2), uint32(12), uint8(1), uint16(0))
	f.Add(uint8(2), uint8(20), int64(1)<<62, uint8(8), int64(4096), uint8(30), uint32(26), uint8(3), uint16(65535))
	f.Fuzz(func(t *testing.T, which, key1 uint8, value1 int64, key2 uint8, value2 int64, tensor uint8, typ uint32, axis uint8, extent uint16) {
		base := files[int(which)%len(files)]
		keys := map[string]any{}
		for _, e := range []struct {
			key   uint8
			value int64
		}{{key1, value1}, {key2, value2}} {
			name := base.Keys()[int(e.key)%len(base.Keys())]
			kind, _, _ := base.Kind(name)
			switch {
			case !strings.HasPrefix(name, prefix):
			case kind == gguf.KindFloat32:
				keys[name] = float32(e.value) / 16
			default:
				keys[name] = e.value
			}
		}
		file := edit(t, base, keys)
		x, _ := file.Tensor(file.Tensors()[int(tensor)%len(file.Tensors())].Name)
		if axis < 4 {
			x.Type, x.Dims = gguf.Type(typ), append([]uint64{}, x.Dims...)
			x.Dims[int(axis)%len(x.Dims)] = uint64(extent)
		}
		r, err := Import(file, testMachine, testOptions)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: want one line", err)
			}
			return
		}
		text := r.Module.String()
		if back, err := ir.Parse(text); err != nil || back.String() != text {
			t.Errorf("the text does not read back: %v", err)
		}
	})
}
