// What the kernel families share: sums over a block, activations as records,
// cells of a cache, rotation.
#pragma once
#include "qnc.cuh"

struct Partial { float v[32]; };

// block_sum is the sum of v over a block of whole warps; s may be used again
// after the next barrier.
QNC_DEVICE float block_sum(float v, Partial &s, int warps) {
  int lane = threadIdx.x & 31;
  v = warp_sum(v);
  if (warps == 1) return v;
  if (lane == 0) s.v[threadIdx.x >> 5] = v;
  __syncthreads();
  return warp_sum(lane < warps ? s.v[lane] : 0.0f);
}

// group_sum is the sum over groups of L neighbouring lanes.
template <int L> QNC_DEVICE float group_sum(float v) {
  if constexpr (L == 32) {
    return warp_sum(v);
  } else {
#pragma unroll
      for (int o = L / 2; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
  }
}

// A record is 32 activations x = d*q, 11 words: 32 int8, d as float, the sum of
// q as float, the sums of its halves as int16.
const int record_words = 11;

// store_record quantises 32 numbers, one a lane: d = max|x|/127, q = x*127/max|x|
// to the nearest. A block of numbers below 2^-119 is zero; one with a number that
// is not finite has d = NaN.
QNC_DEVICE void store_record(uint32_t *rec, float x, bool keep) {
  int lane = threadIdx.x & 31;
  uint32_t top = warp_max(float_bits(x) & 0x7fffffffu);
  float m = bits_float(top), d = div_rn(m, 127.0f);
  int q = 0;
  if (top >= 0x7f800000u) {
    d = bits_float(0x7fc00000u);
  } else if (m < 0x1p-119f) {
    d = 0;
  } else {
    q = (int)rint_rn(x * div_rn(127.0f, m));
  }
  int w = (q & 255) << (lane & 3) * 8;
  w |= __shfl_xor_sync(0xffffffffu, w, 1);
  w |= __shfl_xor_sync(0xffffffffu, w, 2);
  int h = q;
#pragma unroll
  for (int o = 8; o; o >>= 1) h += __shfl_xor_sync(0xffffffffu, h, o);
  int other = __shfl_xor_sync(0xffffffffu, h, 16);
  if (!keep) return;
  if ((lane & 3) == 0) rec[lane >> 2] = (uint32_t)w;
  if (lane == 1) rec[8] = float_bits(d);
  if (lane == 2) rec[9] = float_bits((float)(h + other));
  if (lane == 3) rec[10] = (uint32_t)(h & 0xffff) | (uint32_t)other << 16;
}

QNC_DEVICE uint32_t load32(const uint8_t *p) { return *(const uint32_t *)p; }
QNC_DEVICE uint16_t load16(const uint8_t *p) { return *(const uint16_t *)p; }
// load_pair is a word at an even address.
QNC_DEVICE uint32_t load_pair(const uint8_t *p) { return (uint32_t)load16(p) | (uint32_t)load16(p + 2) << 16; }

// Cells of a cache: rows of D numbers in D / elems * bytes bytes. store is called
// by a warp with element i of lane i & 31; load gives one element.
struct CellF32 {
  static const int elems = 1, bytes = 4;
  QNC_DEVICE void store(uint8_t *row, int i, float x, bool keep) { if (keep) ((float *)row)[i] = x; }
  QNC_DEVICE float load(const uint8_t *row, int i) { return ((const float *)row)[i]; }
};
struct CellF16 {
  static const int elems = 1, bytes = 2;
  QNC_DEVICE void store(uint8_t *row, int i, float x, bool keep) { if (keep) ((uint16_t *)row)[i] = float_half(x); }
  QNC_DEVICE float load(const uint8_t *row, int i) { return half_float(((const uint16_t *)row)[i]); }
};
struct CellQ8_0 {
  static const int elems = 32, bytes = 34;
  QNC_DEVICE void store(uint8_t *row, int i, float x, bool keep) {
    uint32_t top = warp_max(float_bits(x) & 0x7fffffffu);
    float d = div_rn(bits_float(top), 127.0f);
    float q = d == 0.0f ? 0.0f : rint_rn(x * div_rn(1.0f, d));
    q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
    uint16_t h = float_half(d);
    if (top >= 0x7f800000u) {
      h = 0x7e00;
      q = 0;
    }
    if (!keep) return;
    uint8_t *b = row + i / 32 * 34;
    b[2 + i % 32] = (uint8_t)(int)q;
    if (i % 32 == 0) *(uint16_t *)b = h;
  }
  QNC_DEVICE float load(const uint8_t *row, int i) {
    const uint8_t *b = row + i / 32 * 34;
    return half_float(load16(b)) * (float)(int8_t)b[2 + i % 32];
  }
};

// An angle is turns of a circle in units of 2^-64: a position times a frequency
// is exact however far the position. turn gives its sine and cosine.
QNC_DEVICE void turn(uint64_t angle, float &sine, float &cosine) {
  uint64_t quadrant = (angle + (1ull << 61)) >> 62;
  float x = (float)(int64_t)(angle - (quadrant << 62)) * 3.4061215800304991e-19f;  // 2 pi / 2^64
  float z = x * x;
  float s = fma_rn(-1.9515295891e-4f, z, 8.3321608736e-3f);
  s = fma_rn(s, z, -1.6666654611e-1f);
  s = fma_rn(s * z, x, x);
  float c = fma_rn(2.443315711809948e-5f, z, -1.388731625493765e-3f);
  c = fma_rn(c, z, 4.166664568298827e-2f);
  c = fma_rn(c * z, z, fma_rn(-0.5f, z, 1.0f));
  sine = quadrant & 1 ? c : s;
  cosine = quadrant & 1 ? s : c;
  if (quadrant & 2) sine = -sine;
  if ((quadrant + 1) & 2) cosine = -cosine;
}
