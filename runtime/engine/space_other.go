//go:build !linux && !darwin

package engine

import "math"

func addressSpace() uint64 { return math.MaxUint64 }
