// Package gorgonia is the driver through gorgonia.org/cu, with cgo: for programs
// compiled with --cuda-driver gorgonia. The build tag gorgonia selects it; it
// needs a C compiler and the headers of CUDA 12 (CGO_CFLAGS=-I…/include).
//
// gorgonia.org/cu links libcuda and ends the process from init where there is no
// device. Here libcuda's functions are those of trampoline.c, which finds the
// library when the program starts: a program says what is missing, as others do.
// What gorgonia.org/cu lacks (captures, launches of graphs, pinned memory,
// attributes of kernels, co-operative launches) goes through cgo here.
package gorgonia
