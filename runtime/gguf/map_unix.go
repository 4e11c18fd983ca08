//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gguf

import (
	"errors"
	"os"
	"syscall"
)

func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	return data, syscall.Munmap, err
}

// isFault reports that a system call was given memory without a page behind it.
func isFault(err error) bool { return errors.Is(err, syscall.EFAULT) }
