package compiler

import (
	"bytes"
	"fmt"
	"strings"

	"qnc/ir"
	"qnc/runtime/gguf"
	"qnc/runtime/quant"
)

// metadata is what the program needs of the file besides its weights: a GGUF
// without tensors that holds general.* and tokenizer.*.
func metadata(f *gguf.File) ([]byte, error) {
	var kvs []gguf.KV
	for _, k := range f.Keys() {
		if !strings.HasPrefix(k, "general.") && !strings.HasPrefix(k, "tokenizer.") || k == "general.alignment" {
			continue
		}
		if kv, ok := f.Raw(k); ok {
			kvs = append(kvs, kv)
		}
	}
	var b bytes.Buffer
	if err := gguf.Guard(func() error { return gguf.Write(&b, kvs, nil) }); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// widen decodes a small tensor of f16 or bf16 that kernels read as f32.
func widen(data []byte, have ir.DType, v *ir.Value) ([]byte, error) {
	kind, ok := quant.ByName(have.String())
	if !ok || v.Type.DType != ir.F32 {
		return nil, fmt.Errorf("BUG: weight %s is %s in the file, %s in the program", v, have, v.Type.DType)
	}
	x := make([]float32, v.Type.Elems(nil))
	kind.Dequantize(x, data)
	out := make([]byte, 4*len(x))
	quant.QuantizeF32(out, x)
	return out, nil
}
