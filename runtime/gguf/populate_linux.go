package gguf

import "syscall"

// madvPopulateRead maps pages that can be read (Linux 5.14).
const madvPopulateRead = 22

// populate maps the pages of b, which it may read from the disk; an older kernel begins to read ahead.
func populate(b []byte) error {
	err := syscall.Madvise(b, madvPopulateRead)
	if err == syscall.EINVAL {
		return syscall.Madvise(b, syscall.MADV_WILLNEED)
	}
	return err
}
