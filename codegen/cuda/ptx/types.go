package ptx

// A typ is a type of PTX.
type typ struct {
	kind byte // b, u, s, f (float), g (bfloat), p (predicate); F and G: a packed pair
	bits int
}

var types = map[string]typ{
	"pred": {'p', 1},
	"b8":   {'b', 8}, "b16": {'b', 16}, "b32": {'b', 32}, "b64": {'b', 64},
	"u8": {'u', 8}, "u16": {'u', 16}, "u32": {'u', 32}, "u64": {'u', 64},
	"s8": {'s', 8}, "s16": {'s', 16}, "s32": {'s', 32}, "s64": {'s', 64},
	"f16": {'f', 16}, "f32": {'f', 32}, "f64": {'f', 64}, "f16x2": {'F', 32},
	"bf16": {'g', 16}, "bf16x2": {'G', 32},
}

func typeOf(s string) (typ, bool) {
	t, ok := types[s]
	return t, ok
}

// mask has the bits of a type.
func (t typ) mask() uint64 { return ^uint64(0) >> (64 - t.bits) }

func (t typ) float() bool { return t.kind == 'f' || t.kind == 'g' }

// packed reports a pair, whose element type is t.elem().
func (t typ) packed() bool { return t.kind == 'F' || t.kind == 'G' }

func (t typ) elem() typ {
	switch t.kind {
	case 'F':
		return typ{'f', 16}
	case 'G':
		return typ{'g', 16}
	}
	return t
}

// signed gives the value of the low bits of x as a two's complement number.
func signed(x uint64, bits int) int64 { return int64(x<<(64-bits)) >> (64 - bits) }

// widen gives the value of a source of type t in 64 bits.
func (t typ) widen(x uint64) uint64 {
	if t.kind == 's' {
		return uint64(signed(x, t.bits))
	}
	return x & t.mask()
}
