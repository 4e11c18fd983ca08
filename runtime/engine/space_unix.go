//go:build linux || darwin

package engine

import (
	"math"
	"syscall"
)

// addressSpace is the limit of this process's addresses in bytes.
func addressSpace() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &limit) != nil {
		return math.MaxUint64
	}
	return limit.Cur
}
