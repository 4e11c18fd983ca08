package cuda

import (
	"bytes"
	"strings"
)

// Numbers of the driver's interface that drivers share.
const (
	HostPortable       = 1 // pinned memory is pinned for every context
	HostMapped         = 2 // and has an address there
	StreamNonBlocking  = 1
	CaptureThreadLocal = 1 // a call that would wait fails on the capturing thread alone
	JITErrorLog        = 5 // options of a module's load
	JITErrorLogBytes   = 6
	PeerAlreadyEnabled = 704 // CUresult
)

// Text is the line that C text of the driver holds.
func Text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.Join(strings.Fields(string(b)), " ")
}

// Terminated is an image that ends with a zero, as the driver expects of PTX.
func Terminated(image []byte) []byte {
	if n := len(image); n > 0 && image[n-1] == 0 {
		return image
	}
	return append(image[:len(image):len(image)], 0)
}
