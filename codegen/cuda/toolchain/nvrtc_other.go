//go:build !linux || !(amd64 || arm64)

package toolchain

import (
	"context"
	"errors"
)

var errLinux = errors.New("BUG: NVRTC is found on Linux alone")

func findNVRTC(context.Context, []string) (*Compiler, error) { return nil, nil }

func (c *Compiler) library(context.Context, *Job) (*Output, error) { return nil, errLinux }

func (c *Compiler) libraryPTX(context.Context, *Job, Arch) ([]byte, error) { return nil, errLinux }
