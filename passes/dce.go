package passes

import "qnc/ir"

// dce removes what neither a result nor a write of state depends on.
func dce(m *ir.Module, f *ir.Func, t *Target) error {
	f.Sweep()
	return nil
}
