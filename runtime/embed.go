// Package runtime carries its own source, so that qnc can write it into an
// emitted module and needs nothing but a Go toolchain.
package runtime

import "embed"

// Sources holds the packages under this folder.
//
//go:embed */*.go */*/*.go */*.s */*/*.c */*/*.h cuda/gorgonia/stub/libcuda.a
var Sources embed.FS
