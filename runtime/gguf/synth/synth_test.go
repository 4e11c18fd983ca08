package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"qnc/runtime/gguf"
)

func TestX(t *testing.T) {
	c, err := Parse("layers = 4\n")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b.Bytes())
	t.Log(b.Len(), hex.EncodeToString(s[:]), strings.TrimSpace(c.String()))
	_, err = gguf.Parse(b.Bytes(), "x")
	if err != nil {
		t.Fatal(err)
	}
}
