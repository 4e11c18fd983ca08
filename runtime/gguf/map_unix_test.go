//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gguf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A file that shrinks while it is mapped is an error, not the end of the process.
func TestTruncatedWhileMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	words := make([]string, 20000)
	for i := range words {
		words[i] = fmt.Sprint(i)
	}
	tensors := []TensorSource{{"t", TypeI8, []uint64{1 << 20}, writeN(1 << 20)}}
	kvs := []KV{{"words", words}, {"numbers", make([]int32, 50000)}, {"text", string(make([]byte, 1<<17))}}
	if err := WriteFile(path, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensor, _ := f.Tensor("t")
	sum := func() error {
		n := 0
		for _, b := range tensor.Bytes() {
			n += int(b)
		}
		if n != 0 {
			return fmt.Errorf("sum %d", n)
		}
		return nil
	}
	if err := Guard(sum); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	const want = "file changed or was truncated while mapped: start again with the complete file"
	checkFault(t, Guard(sum), path+": "+want)

	_, _, err = f.Strings("words")
	checkFault(t, err, want)
	_, _, err = f.Ints("numbers")
	checkFault(t, err, want)
	_, _, err = f.String("text")
	checkFault(t, err, want)
	_, err = Inspect(f, InspectOptions{})
	checkFault(t, err, want)

	// A system call that reads the mapping reports the missing page itself.
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	err = Guard(func() error {
		_, err := out.Write(tensor.Bytes())
		return err
	})
	checkFault(t, err, "changed or was truncated")
}
