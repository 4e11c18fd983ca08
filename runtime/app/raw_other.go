//go:build !linux && !darwin

package app

import (
	"errors"
	"os"
)

func rawMode(*os.File) (restore func(), err error) { return nil, errors.ErrUnsupported }

func termWidth(*os.File) int { return 80 }

func suspend() {}
