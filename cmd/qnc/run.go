package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"qnc/compiler"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
)

func newRun() *cobra.Command {
	var o compiler.Options
	var p placement
	c := &cobra.Command{
		Use:   "run [flags] MODEL.gguf [arguments of the program]",
		Short: "compile into the cache and start the program",
		Long: "run compiles MODEL.gguf into the cache, once for each file and choice of flags, and\n" +
			"starts the program. What follows the model is the program's, except sizes and placement. The\n" +
			"cache (qnc doctor names its folder) only grows; what is deleted from it is compiled again.",
		ValidArgsFunction: files("gguf"),
	}
	bind(c, variables(&o, &p))
	c.RunE = func(c *cobra.Command, args []string) error {
		model := args[0]
		dir, err := cacheDir()
		if err != nil {
			return err
		}
		if err := settle(c, &o, p); err != nil {
			return err
		}
		key, err := cacheKey(c, model, &o)
		if err != nil {
			return err
		}
		o.Out = filepath.Join(dir, key, strings.TrimSuffix(filepath.Base(model), ".gguf"))
		if !complete(&o) {
			if err := os.MkdirAll(filepath.Dir(o.Out), 0o777); err != nil {
				return fmt.Errorf("cache: %w", err)
			}
			if _, err := compile(c, model, &o, p); err != nil {
				os.Remove(filepath.Dir(o.Out)) // when nothing is in it
				return err
			}
		}
		return replace(o.Out, args[1:])
	}
	return c
}

// cacheDir is where compiled models are kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fault.New(fault.Failure, "no cache folder: %w", err)
	}
	return filepath.Join(dir, "qnc"), nil
}

// complete reports whether the program, and its weights beside it, are in the cache.
func complete(o *compiler.Options) bool {
	if _, err := os.Stat(o.Out); err != nil {
		return false
	}
	_, err := os.Stat(o.Out + ".weights")
	return err == nil || o.Embed
}

// cacheKey is a digest of all that decides what a compile makes: this qnc, the
// model's files, the flags and the machine.
func cacheKey(c *cobra.Command, model string, o *compiler.Options) (string, error) {
	h := sha256.New()
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	if err := hashFile(h, exe, -1); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	if err := hashModel(h, model); err != nil {
		return "", err
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "verbose" && f.Name != "work" {
			fmt.Fprintf(h, "%s=%s\n", f.Name, f.Value)
		}
	})
	if o.Machine != "" {
		if err := hashFile(h, o.Machine, -1); err != nil {
			return "", fault.New(fault.Usage, "--machine: %w", err)
		}
	}
	machine, note := compiler.ThisMachine(c.Context(), &o.Placement)
	fmt.Fprintln(h, machine, note, cpuFeatures())
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// hashModel adds the names, sizes, times and headers of a model's files.
func hashModel(h hash.Hash, model string) error {
	f, err := gguf.Open(model)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, path := range f.Paths() {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		st, err := os.Stat(abs)
		if err != nil {
			return fault.New(fault.Model, "%w", err)
		}
		header := st.Size()
		for _, t := range f.Tensors() {
			if t.Path() == path {
				header = min(header, int64(t.Offset))
			}
		}
		fmt.Fprintln(h, abs, st.Size(), st.ModTime().UnixNano())
		if err := hashFile(h, abs, header); err != nil {
			return fault.New(fault.Model, "%w", err)
		}
	}
	return nil
}

// hashFile adds the first n bytes of a file, all when n is negative.
func hashFile(h hash.Hash, path string, n int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := io.Reader(f)
	if n >= 0 {
		r = io.LimitReader(f, n)
	}
	_, err = io.Copy(h, r)
	return err
}
