package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"qnc/compiler"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noOperand,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "qnc %s %s/%s\n", compiler.Version, runtime.GOOS, runtime.GOARCH)
		},
	}
}
