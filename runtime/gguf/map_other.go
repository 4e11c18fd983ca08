//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package gguf

import (
	"io"
	"os"
)

// mapFile reads the whole file where the system cannot map one.
func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(f, data)
	return data, func([]byte) error { return nil }, err
}

func isFault(error) bool { return false }
