// Package cudatemplates is the place of the CUDA backend's kernel templates:
// .cuh files that nvcc compiles as they stand, with every shape a constant, and
// the thin .cu.tmpl files that instantiate them. A template belongs here, and
// not in package codegen, because it is CUDA and not Go.
//
// The compiler has a CPU backend only: the package holds no template and
// nothing imports it.
package cudatemplates
