// Package cudatemplates holds the kernels of the CUDA backend: .cuh files that
// every compiler of qnc.cuh's dialect takes as they stand, and thin .cu.tmpl
// files that instantiate them with every shape a constant. A template belongs
// here, and not in package codegen, because it is CUDA and not Go. Package emu
// runs them on a CPU.
package cudatemplates

import "embed"

// Files are the headers and templates.
//
//go:embed *.cuh *.cu.tmpl
var Files embed.FS
