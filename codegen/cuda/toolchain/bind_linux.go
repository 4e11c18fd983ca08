//go:build amd64 || arm64

package toolchain

import (
	"reflect"

	"github.com/ebitengine/purego"
)

// bindAll sets each field of the struct that funcs points to to the symbol in its tag.
func bindAll(handle uintptr, funcs any) error {
	v := reflect.ValueOf(funcs).Elem()
	for i := range v.NumField() {
		sym, err := purego.Dlsym(handle, v.Type().Field(i).Tag.Get("sym"))
		if err != nil {
			return err
		}
		purego.RegisterFunc(v.Field(i).Addr().Interface(), sym)
	}
	return nil
}
