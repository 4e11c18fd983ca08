package cpu

// cpuid is the instruction, for a leaf and a subleaf.
func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// xgetbv0 reads the register states that the operating system saves.
func xgetbv0() (lo, hi uint32)

// Detect asks the CPU and the operating system.
func Detect() Machine {
	m := Machine{Arch: "amd64"}
	most, _, _, _ := cpuid(0, 0)
	if most < 7 {
		return m
	}
	_, _, c1, _ := cpuid(1, 0)
	_, b7, c7, _ := cpuid(7, 0)
	const osxsave, avx = 1 << 27, 1 << 28
	if c1&osxsave == 0 || c1&avx == 0 {
		return m
	}
	saved, _ := xgetbv0()
	const ymm, zmm = 0x6, 0xe6
	take := func(f Features, reg uint32, bit int, state uint32) {
		if reg>>bit&1 != 0 && saved&state == state {
			m.Has |= f
		}
	}
	take(FMA, c1, 12, ymm)
	take(F16C, c1, 29, ymm)
	take(BMI1, b7, 3, 0)
	take(AVX2, b7, 5, ymm)
	take(BMI2, b7, 8, 0)
	take(AVX512F, b7, 16, zmm)
	take(AVX512DQ, b7, 17, zmm)
	take(AVX512CD, b7, 28, zmm)
	take(AVX512BW, b7, 30, zmm)
	take(AVX512VL, b7, 31, zmm)
	take(AVX512VNNI, c7, 11, zmm)
	return m
}
