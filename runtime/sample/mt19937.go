package sample

// mt19937 is the Mersenne Twister of Matsumoto and Nishimura, the generator
// that C++ calls std::mt19937.
type mt19937 struct {
	x [624]uint32
	i int
}

func (m *mt19937) seed(s uint32) {
	m.x[0] = s
	for i := 1; i < len(m.x); i++ {
		s = 1812433253*(s^s>>30) + uint32(i)
		m.x[i] = s
	}
	m.i = len(m.x)
}

func (m *mt19937) uint32() uint32 {
	const n, mid = 624, 397
	if m.i == n {
		for i := range n {
			y := m.x[i]&0x80000000 | m.x[(i+1)%n]&0x7fffffff
			m.x[i] = m.x[(i+mid)%n] ^ y>>1 ^ -(y&1)&0x9908b0df
		}
		m.i = 0
	}
	y := m.x[m.i]
	m.i++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// float64 is a number from 0 up to 1, made of two draws the way libstdc++'s
// uniform_real_distribution<double> makes it.
func (m *mt19937) float64() float64 {
	const two32 = 1 << 32
	lo := float64(m.uint32())
	hi := float64(m.uint32())
	x := (lo + hi*two32) / (two32 * two32)
	if x >= 1 {
		return 1 - 1.0/(1<<53)
	}
	return x
}
