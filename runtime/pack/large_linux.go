package pack

import "syscall"

// largePages asks for a mapping in large pages, where the file lies in such or is still to be read:
// a fault then maps 2 MiB and not 64 KiB, and a token that is the first to choose its experts
// takes hundreds of them. An older kernel that refuses loses time, nothing else.
func largePages(b []byte) {
	if len(b) > 0 {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	}
}
