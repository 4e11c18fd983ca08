package toolchain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"strconv"

	"qnc/runtime/fault"
)

// A piece is code for one architecture: machine code, an ELF file, or the text of PTX.
type piece struct {
	arch Arch
	data []byte
}

var versionLine = regexp.MustCompile(`(?m)^\s*\.version\s+(\d{1,3})\.(\d{1,3})\b`)

// ptxVersion finds the version of a text of PTX.
func ptxVersion(text []byte) (major, minor int, err error) {
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return 0, 0, fault.New(fault.Missing, "the compiler's PTX names no version")
	}
	major, _ = strconv.Atoi(string(m[1])) // at most three digits
	minor, _ = strconv.Atoi(string(m[2]))
	return major, minor, nil
}

// fatbin packs pieces as NVIDIA's fatbinary does, uncompressed:
//
//	u32 0xba55ed50  u16 1  u16 16  u64 bytes that follow
//	each piece: u16 kind (1 PTX, 2 ELF)  u16 0x101  u32 bytes of header  u64 bytes of payload
//	            u32 0  u32 offset of options (0x40, PTX)  u16 minor  u16 major  u32 architecture
//	            u64 0  u64 flags (0x11: 64 bit, from a file)  u64 0  u64 0
//	            of PTX, its options, of which there are none: u32 0x48  u32 0  u64 0
//	            the payload, up to a multiple of 8 bytes; PTX ends with a zero
//
// The version is that of PTX, or of the ELF's ABI.
func fatbin(pieces []piece) ([]byte, error) {
	const kindPTX, kindELF, ptxHeader, elfHeader = 1, 2, 80, 64
	var body []byte
	le := binary.LittleEndian
	for _, p := range pieces {
		kind, header, options := kindPTX, ptxHeader, 0x40
		payload := p.data
		major, minor := 1, 0
		if bytes.HasPrefix(p.data, []byte("\x7fELF")) {
			if len(p.data) < 16 {
				return nil, errors.New("a cubin is cut off")
			}
			kind, header, options = kindELF, elfHeader, 0
			minor = int(p.data[8])
		} else {
			var err error
			if major, minor, err = ptxVersion(p.data); err != nil {
				return nil, err
			}
			payload = text(p.data)
		}
		padded := (len(payload) + 7) &^ 7
		body = le.AppendUint16(body, uint16(kind))
		body = le.AppendUint16(body, 0x101)
		body = le.AppendUint32(body, uint32(header))
		body = le.AppendUint64(body, uint64(padded))
		body = le.AppendUint32(body, 0)
		body = le.AppendUint32(body, uint32(options))
		body = le.AppendUint16(body, uint16(minor))
		body = le.AppendUint16(body, uint16(major))
		body = le.AppendUint32(body, uint32(p.arch))
		for _, v := range []uint64{0, 0x11, 0, 0} {
			body = le.AppendUint64(body, v)
		}
		if kind == kindPTX {
			body = le.AppendUint64(body, 0x48)
			body = le.AppendUint64(body, 0)
		}
		body = append(body, payload...)
		body = append(body, make([]byte, padded-len(payload))...)
	}
	out := le.AppendUint32(nil, 0xba55ed50)
	out = le.AppendUint16(out, 1)
	out = le.AppendUint16(out, 16)
	out = le.AppendUint64(out, uint64(len(body)))
	return append(out, body...), nil
}
