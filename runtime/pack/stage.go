package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// A Pending is a file that is written under a temporary name beside the one it is to get.
type Pending struct {
	Temp string // exists, empty at first
	Path string
}

// Stage reserves a temporary name beside path, on the same file system. mode is that of the
// finished file, less the umask.
func Stage(path string, mode fs.FileMode) (*Pending, error) {
	p, f, err := stage(path, mode)
	if err != nil {
		return nil, err
	}
	return p, f.Close()
}

func stage(path string, mode fs.FileMode) (*Pending, *os.File, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: exists and is not a regular file: choose another name", path)
	}
	for i := 0; ; i++ {
		p := &Pending{sibling(path, "tmp", i), path}
		f, err := os.OpenFile(p.Temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if err == nil {
			return p, f, nil
		}
		// A process that was killed may have left its file.
		if !errors.Is(err, fs.ErrExist) || i == 1000 {
			return nil, nil, fmt.Errorf("%s: cannot be written: %w", path, cause(err))
		}
	}
}

func sibling(path, what string, i int) string {
	return fmt.Sprintf("%s.%s-%d-%d", path, what, os.Getpid(), i)
}

// cause is err without the temporary name that the os package puts before it.
func cause(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Err
	case *os.LinkError:
		return e.Err
	}
	return err
}

// Abort removes the temporary file. It does nothing after Commit and for a nil p.
func (p *Pending) Abort() {
	if p != nil && p.Temp != "" {
		os.Remove(p.Temp)
		p.Temp = ""
	}
}

// Commit gives all files their names, in order, or none: when one fails, what was there before is
// there again and the temporary files are gone. The file without which the others are no use, the
// program, comes last. A reader that comes between two renames meets files of two compiles, which
// the build id tells apart.
func Commit(files ...*Pending) (err error) {
	var done []swapped
	defer func() {
		for i := len(done) - 1; i >= 0; i-- {
			done[i].end(err == nil)
		}
		for _, p := range files {
			p.Abort()
		}
	}()
	for _, p := range files {
		s, err := swap(p)
		if err != nil {
			return fmt.Errorf("%s: cannot be written: %w", p.Path, cause(err))
		}
		done = append(done, s)
	}
	return nil
}

// A swapped is a file that has its name; old is the name under which its predecessor waits, if any.
type swapped struct{ path, old string }

func swap(p *Pending) (swapped, error) {
	s := swapped{path: p.Path}
	if _, err := os.Lstat(p.Path); err == nil {
		if s.old, err = setAside(p.Path); err != nil {
			return s, err
		}
	}
	if err := os.Rename(p.Temp, p.Path); err != nil {
		// Where both names are links to one file, renaming does nothing and leaves both.
		if s.old != "" && os.Rename(s.old, s.path) == nil {
			os.Remove(s.old)
		}
		return s, err
	}
	p.Temp = ""
	return s, nil
}

// setAside gives the file at path a second name; where the file system has no links, another one.
func setAside(path string) (string, error) {
	for i := 0; ; i++ {
		old := sibling(path, "old", i)
		err := os.Link(path, old)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) {
			err = os.Rename(path, old)
		}
		return old, err
	}
}

// end forgets the predecessor, or puts it back.
func (s swapped) end(ok bool) {
	switch {
	case ok && s.old != "":
		os.Remove(s.old)
	case !ok && s.old != "":
		os.Rename(s.old, s.path)
	case !ok:
		os.Remove(s.path)
	}
}
