// The formats of weights, as files have them (package quant says what each
// holds). dot is the product of block b of 32 of a row with a record, without the
// record's d; value is one element. word is word i of the levels of block b, each
// a number of 7 bits or with a sign; scales gives what makes x of them, x =
// scale*q - least, one scale a block or one for each half.
#pragma once
#include "common.cuh"

struct KindF32 {
  static const int elems = 1, bytes = 4;
  QNC_DEVICE float value(const uint8_t *row, int i) { return ((const float *)row)[i]; }
};
struct KindF16 {
  static const int elems = 1, bytes = 2;
  QNC_DEVICE float value(const uint8_t *row, int i) { return half_float(((const uint16_t *)row)[i]); }
};
struct KindBF16 {
  static const int elems = 1, bytes = 2;
  QNC_DEVICE float value(const uint8_t *row, int i) { return bf16_float(((const uint16_t *)row)[i]); }
};

// dot_words is the product of 8 words of unsigned or signed bytes with a record.
template <class F> QNC_DEVICE int dot_words(const uint32_t *rec, int from, int to, F word) {
  int s = 0;
#pragma unroll
  for (int i = from; i < to; i++) s = dp4a((int)word(i), (int)rec[i], s);
  return s;
}
QNC_DEVICE float record_sum(const uint32_t *rec) { return bits_float(rec[9]); }

struct KindQ8_0 {
  static const int elems = 32, bytes = 34;
  static const bool halves = false, least = false;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return load_pair(row + b * 34 + 2 + 4 * i); }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &) {
    scale[0] = half_float(load16(row + b * 34));
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b * 34;
    int s = dot_words(rec, 0, 8, [=](int i) { return load_pair(p + 2 + 4 * i); });
    return half_float(load16(p)) * (float)s;
  }
  QNC_DEVICE float value(const uint8_t *row, int i) { return CellQ8_0::load(row, i); }
};

// nibbles are 32 levels in 16 bytes: word i of low halves, then of high ones.
QNC_DEVICE uint32_t nibbles(const uint8_t *p, int i) { return load_pair(p + i % 4 * 4) >> i / 4 * 4 & 0x0f0f0f0fu; }
QNC_DEVICE int nibble(const uint8_t *p, int i) { return p[i % 16] >> i / 16 * 4 & 15; }
// fifths spreads bits 4i to 4i+3 to bit 4 of four bytes.
QNC_DEVICE uint32_t fifths(uint32_t bits, int i) { return ((bits >> 4 * i & 15) * 0x00204081u & 0x01010101u) << 4; }

struct KindQ4_0 {
  static const int elems = 32, bytes = 18;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return nibbles(row + b * 18 + 2, i); }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    scale[0] = half_float(load16(row + b * 18));
    least = 8.0f * scale[0];
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b * 18;
    int s = dot_words(rec, 0, 8, [=](int i) { return nibbles(p + 2, i); });
    return half_float(load16(p)) * ((float)s - 8.0f * record_sum(rec));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 32 * 18;
    return half_float(load16(p)) * (float)(nibble(p + 2, i % 32) - 8);
  }
};
struct KindQ4_1 {
  static const int elems = 32, bytes = 20;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return nibbles(row + b * 20 + 4, i); }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    scale[0] = half_float(load16(row + b * 20));
    least = -half_float(load16(row + b * 20 + 2));
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b * 20;
    int s = dot_words(rec, 0, 8, [=](int i) { return nibbles(p + 4, i); });
    return fma_rn(half_float(load16(p)), (float)s, half_float(load16(p + 2)) * record_sum(rec));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 32 * 20;
    return half_float(load16(p)) * (float)nibble(p + 4, i % 32) + half_float(load16(p + 2));
  }
};
struct KindQ5_0 {
  static const int elems = 32, bytes = 22;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return nibbles(row + b * 22 + 6, i) | fifths(load_pair(row + b * 22 + 2), i); }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    scale[0] = half_float(load16(row + b * 22));
    least = 16.0f * scale[0];
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b * 22;
    uint32_t high = load_pair(p + 2);
    int s = dot_words(rec, 0, 8, [=](int i) { return nibbles(p + 6, i) | fifths(high, i); });
    return half_float(load16(p)) * ((float)s - 16.0f * record_sum(rec));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 32 * 22;
    int high = (int)(load_pair(p + 2) >> i % 32 & 1) << 4;
    return half_float(load16(p)) * (float)((nibble(p + 6, i % 32) | high) - 16);
  }
};
struct KindQ5_1 {
  static const int elems = 32, bytes = 24;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return nibbles(row + b * 24 + 8, i) | fifths(load_pair(row + b * 24 + 4), i); }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    scale[0] = half_float(load16(row + b * 24));
    least = -half_float(load16(row + b * 24 + 2));
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b * 24;
    uint32_t high = load_pair(p + 4);
    int s = dot_words(rec, 0, 8, [=](int i) { return nibbles(p + 8, i) | fifths(high, i); });
    return fma_rn(half_float(load16(p)), (float)s, half_float(load16(p + 2)) * record_sum(rec));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 32 * 24;
    int high = (int)(load_pair(p + 4) >> i % 32 & 1) << 4;
    return half_float(load16(p)) * (float)(nibble(p + 8, i % 32) | high) + half_float(load16(p + 2));
  }
};

// scale_min is scale and minimum of sub-block s of q4_K and q5_K, six bits each.
QNC_DEVICE void scale_min(const uint8_t *p, int s, int &scale, int &least) {
  uint32_t a = load32(p), b = load32(p + 4), c = load32(p + 8);
  int at = s % 4 * 8;
  if (s < 4) {
    scale = (int)(a >> at & 63);
    least = (int)(b >> at & 63);
  } else {
    scale = (int)((c >> at & 15) | (a >> at & 0xc0) >> 2);
    least = (int)((c >> at & 0xf0) >> 4 | (b >> at & 0xc0) >> 2);
  }
}

struct KindQ4_K {
  static const int elems = 256, bytes = 144;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) { return load32(row + b / 8 * 144 + 16 + b % 8 / 2 * 32 + 4 * i) >> b % 2 * 4 & 0x0f0f0f0fu; }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    const uint8_t *p = row + b / 8 * 144;
    int c, m;
    scale_min(p + 4, b % 8, c, m);
    uint32_t d = load32(p);
    scale[0] = half_float((uint16_t)d) * (float)c;
    least = half_float((uint16_t)(d >> 16)) * (float)m;
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b / 8 * 144;
    int s = b % 8, scale, least;
    scale_min(p + 4, s, scale, least);
    const int4_t *q = (const int4_t *)(p + 16 + s / 2 * 32);
    int4_t lo = q[0], hi = q[1];
    uint32_t w[8] = {(uint32_t)lo.x, (uint32_t)lo.y, (uint32_t)lo.z, (uint32_t)lo.w, (uint32_t)hi.x, (uint32_t)hi.y, (uint32_t)hi.z, (uint32_t)hi.w};
    int shift = s % 2 * 4;
    int i = dot_words(rec, 0, 8, [&](int k) { return w[k] >> shift & 0x0f0f0f0fu; });
    uint32_t d = load32(p);
    return fma_rn(half_float((uint16_t)d), (float)(scale * i), -(half_float((uint16_t)(d >> 16)) * ((float)least * record_sum(rec))));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 256 * 144;
    int s = i / 32 % 8, scale, least;
    scale_min(p + 4, s, scale, least);
    int q = p[16 + s / 2 * 32 + i % 32] >> s % 2 * 4 & 15;
    return half_float(load16(p)) * (float)scale * (float)q - half_float(load16(p + 2)) * (float)least;
  }
};
struct KindQ5_K {
  static const int elems = 256, bytes = 176;
  static const bool halves = false, least = true;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) {
    const uint8_t *p = row + b / 8 * 176;
    return (load32(p + 48 + b % 8 / 2 * 32 + 4 * i) >> b % 2 * 4 & 0x0f0f0f0fu) | (load32(p + 16 + 4 * i) >> b % 8 & 0x01010101u) << 4;
  }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &least) {
    const uint8_t *p = row + b / 8 * 176;
    int c, m;
    scale_min(p + 4, b % 8, c, m);
    uint32_t d = load32(p);
    scale[0] = half_float((uint16_t)d) * (float)c;
    least = half_float((uint16_t)(d >> 16)) * (float)m;
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b / 8 * 176;
    int s = b % 8, scale, least;
    scale_min(p + 4, s, scale, least);
    const uint8_t *q = p + 48 + s / 2 * 32;
    int shift = s % 2 * 4;
    int i = dot_words(rec, 0, 8, [=](int k) { return (load32(q + 4 * k) >> shift & 0x0f0f0f0fu) | (load32(p + 16 + 4 * k) >> s & 0x01010101u) << 4; });
    uint32_t d = load32(p);
    return fma_rn(half_float((uint16_t)d), (float)(scale * i), -(half_float((uint16_t)(d >> 16)) * ((float)least * record_sum(rec))));
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 256 * 176;
    int s = i / 32 % 8, scale, least;
    scale_min(p + 4, s, scale, least);
    int q = (p[48 + s / 2 * 32 + i % 32] >> s % 2 * 4 & 15) | (p[16 + i % 32] >> s & 1) << 4;
    return half_float(load16(p)) * (float)scale * (float)q - half_float(load16(p + 2)) * (float)least;
  }
};
struct KindQ6_K {
  static const int elems = 256, bytes = 210;
  static const bool halves = true, least = false;
  QNC_DEVICE uint32_t word(const uint8_t *row, int b, int i) {
    const uint8_t *p = row + b / 8 * 210;
    int h = b / 4 % 2, g = b % 4;
    uint32_t q = (load_pair(p + 64 * h + g % 2 * 32 + 4 * i) >> g / 2 * 4 & 0x0f0f0f0fu) | (load_pair(p + 128 + 32 * h + 4 * i) >> 2 * g & 0x03030303u) << 4;
    return ((q | 0x80808080u) - 0x20202020u) ^ 0x80808080u;  // minus 32, byte by byte
  }
  QNC_DEVICE void scales(const uint8_t *row, int b, float (&scale)[2], float &) {
    const uint8_t *p = row + b / 8 * 210;
    float d = half_float(load16(p + 208));
    uint16_t c = load16(p + 192 + b % 8 * 2);
    scale[0] = d * (float)(int8_t)c;
    scale[1] = d * (float)(int8_t)(c >> 8);
  }
  QNC_DEVICE float dot(const uint8_t *row, int b, const uint32_t *rec) {
    const uint8_t *p = row + b / 8 * 210;
    int h = b / 4 % 2, g = b % 4;
    const uint8_t *lo = p + 64 * h + g % 2 * 32, *hi = p + 128 + 32 * h;
    auto word = [=](int k) { return (load_pair(lo + 4 * k) >> g / 2 * 4 & 0x0f0f0f0fu) | (load_pair(hi + 4 * k) >> 2 * g & 0x03030303u) << 4; };
    int a = dot_words(rec, 0, 4, word) - 32 * (int)(int16_t)rec[10];
    int c = dot_words(rec, 4, 8, word) - 32 * (int)(int16_t)(rec[10] >> 16);
    uint16_t scales = load16(p + 192 + 8 * h + 2 * g);
    return half_float(load16(p + 208)) * (float)((int)(int8_t)scales * a + (int)(int8_t)(scales >> 8) * c);
  }
  QNC_DEVICE float value(const uint8_t *row, int i) {
    const uint8_t *p = row + i / 256 * 210;
    int h = i / 128 % 2, g = i / 32 % 4, j = i % 32;
    int q = (p[64 * h + g % 2 * 32 + j] >> g / 2 * 4 & 15) | (p[128 + 32 * h + j] >> 2 * g & 3) << 4;
    return half_float(load16(p + 208)) * (float)(int8_t)p[192 + i % 256 / 16] * (float)(q - 32);
  }
};

template <class Q> QNC_DEVICE const uint8_t *row_of(const uint8_t *w, int64_t i, int width) { return w + i * (width / Q::elems * Q::bytes); }
