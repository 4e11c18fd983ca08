// Package gguf reads and writes GGUF files, the container of llama.cpp's models.
//
// A file is a header (metadata keys, then one row per tensor) and the tensors'
// data, each tensor at a multiple of general.alignment:
//
//	"GGUF" | version u32 | tensors u64 | keys u64
//	key string | kind u32 | value                              for each key
//	name string | n u32 | n × dim u64 | type u32 | offset u64  for each tensor
//	padding | data
//
// Everything is little endian; a string is a u64 length and its bytes; an array
// is a kind u32, a count u64 and the values. Dims are written fastest first.
//
// A file is mapped, and its header is checked once, at Open: every length
// against the bytes that remain, every product and sum against 63 bits. Arrays
// and strings stay in the mapping and are decoded when they are asked for;
// tensor data is never touched. All faults are errors of code fault.Model, one
// line each.
//
// What is read from the mapping of a file that another process truncates
// faults: getters report that as an error by themselves, code that reads
// Tensor.Bytes runs under Guard.
package gguf
