package gguf

import (
	"os"
	"syscall"
	"unsafe"
)

func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	h, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY, uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer syscall.CloseHandle(h) // the view keeps it
	addr, err := syscall.MapViewOfFile(h, syscall.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// addr is not Go memory: the collector never moves it.
	p := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	unmap := func([]byte) error { return syscall.UnmapViewOfFile(addr) }
	return unsafe.Slice((*byte)(p), size), unmap, nil
}

func isFault(error) bool { return false }
