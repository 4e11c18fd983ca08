//go:build !linux

package pack

func largePages([]byte) {}
