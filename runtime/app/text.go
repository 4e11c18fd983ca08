package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"qnc/runtime/fault"
	"qnc/runtime/flags"
)

// text returns the text of -p, -f or -bf, escapes processed; ok is false when none is given.
func (a *app) text() (s string, ok bool, err error) {
	n := 0
	for _, f := range []string{"prompt", "file", "binary-file"} {
		if a.set.Has(f) {
			n++
		}
	}
	if n > 1 {
		return "", false, fault.New(fault.Usage, "only one of -p, -f and -bf can be the text")
	}
	switch {
	case a.set.Has("prompt"):
		s = a.set.String("prompt")
	case a.set.Has("file"):
		if s, err = a.readFile(a.set.String("file")); err != nil {
			return "", false, err
		}
		s = a.lastLine(s)
	case a.set.Has("binary-file"):
		if s, err = a.readFile(a.set.String("binary-file")); err != nil {
			return "", false, err
		}
	default:
		return "", false, nil
	}
	if a.set.Bool("escape") {
		s = unescape(s)
	}
	return s, true, nil
}

// lastLine drops the line feed at the end of a text that is read; tokenize
// keeps it, as llama-tokenize does.
func (a *app) lastLine(s string) string {
	if a.cmd == flags.Tokenize {
		return s
	}
	return strings.TrimSuffix(s, "\n")
}

// textOrStdin is text, or what stdin has when it is no terminal.
func (a *app) textOrStdin(usage string) (string, error) {
	s, ok, err := a.text()
	if err != nil || ok {
		return s, err
	}
	if a.InTerm {
		return "", fault.New(fault.Usage, "no text: %s", usage)
	}
	if s, err = a.readFile("-"); err != nil {
		return "", err
	}
	s = a.lastLine(s)
	if s == "" {
		return "", fault.New(fault.Usage, "no text, and stdin is empty: %s", usage)
	}
	return s, nil
}

// readFile reads a file, or stdin for "-".
func (a *app) readFile(path string) (string, error) {
	var data []byte
	var err error
	if path == "-" {
		path = "stdin"
		data, err = a.readStdin()
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return "", err
		}
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", fault.New(fault.Failure, "%s: %w", path, err)
	}
	return string(data), nil
}

// readStdin reads all of stdin, until an interrupt.
func (a *app) readStdin() ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(a.Stdin)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-a.ctx.Done():
		return nil, a.ctx.Err()
	}
}

// unescape processes \n \r \t \' \" \\ and \xHH as llama.cpp does; any other
// backslash stays.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	const from, to = `nrt'"\`, "\n\r\t'\"\\"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if k := strings.IndexByte(from, s[i]); k >= 0 {
			b.WriteByte(to[k])
			continue
		}
		if s[i] == 'x' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return b.String()
}
