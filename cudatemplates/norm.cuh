// Norms with what precedes and follows them; rotation; writes to a cache.
#pragma once
#include "common.cuh"

// rms_norm(x) * w of a row a block: x itself, the norm and its records as wanted.
// x gives an element, which may be a sum or another expression.
template <int W, int T, bool SUM, bool F32, bool A8, class X> QNC_DEVICE void norm(float *sum, float *f, uint32_t *a8, X x, const float *w, float eps) {
  QNC_SHARED(Partial, s);
  const int steps = (W + T - 1) / T;
  float v[steps], a = 0;
#pragma unroll
  for (int k = 0; k < steps; k++) {
    int i = k * T + threadIdx.x;
    v[k] = i < W ? x(i) : 0.0f;
    if (SUM && i < W) sum[i] = v[k];
    a = fma_rn(v[k], v[k], a);
  }
  a = block_sum(a, s, T / 32);
  float scale = div_rn(1.0f, sqrt_rn(div_rn(a, (float)W) + eps));
#pragma unroll
  for (int k = 0; k < steps; k++) {
    int i = k * T + threadIdx.x;
    float r = i < W ? v[k] * scale * w[i] : 0.0f;
    if (F32 && i < W) f[i] = r;
    if (A8) store_record(a8 + i / 32 * record_words, r, i < W);
  }
}

struct Scales { float v[1024]; };

// rms_norm(x) * w * silu(z) of H heads of V a block; XR and ZR are the strides of heads.
template <int H, int V, int T, int XR, int ZR, bool F32, bool A8> QNC_DEVICE void gated_norm(float *f, uint32_t *a8, const float *x, const float *w, const float *z, float eps) {
  QNC_SHARED(Scales, s);
  int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < H; h += T / 32) {
    float a = 0;
    for (int i = lane; i < V; i += 32) a = fma_rn(x[h * XR + i], x[h * XR + i], a);
    a = warp_sum(a);
    if (lane == 0) s.v[h] = div_rn(1.0f, sqrt_rn(div_rn(a, (float)V) + eps));
  }
  __syncthreads();
  for (int k = 0; k < H * V; k += T) {
    int i = k + threadIdx.x, h = i / V, j = i % V;
    float r = i < H * V ? x[h * XR + j] * s.v[h] * w[j] * silu_f(z[h * ZR + j]) : 0.0f;
    if (F32 && i < H * V) f[i] = r;
    if (A8) store_record(a8 + i / 32 * record_words, r, i < H * V);
  }
}

// x / sqrt(mean or sum of squares + eps), a warp a row.
template <int W, bool MEAN> QNC_DEVICE void unit_norm(float *out, const float *x, float eps) {
  int lane = threadIdx.x % 32;
  float a = 0;
  for (int i = lane; i < W; i += 32) a = fma_rn(x[i], x[i], a);
  a = warp_sum(a);
  float scale = div_rn(1.0f, sqrt_rn((MEAN ? div_rn(a, (float)W) : a) + eps));
  for (int i = lane; i < W; i += 32) out[i] = x[i] * scale;
}

// rotate is element i of a row y rotated to a position; pairs are (i, i + DIMS / 2).
template <int DIMS> QNC_DEVICE float rotate(const float *y, int i, int pos, const uint64_t *turns) {
  if constexpr (DIMS > 0) {
    const int half = DIMS / 2;
    if (i < DIMS) {
      float s, c;
      turn((uint64_t)(int64_t)pos * turns[i % half], s, c);
      return i < half ? fma_rn(y[i], c, -(y[i + half] * s)) : fma_rn(y[i - half], s, y[i] * c);
    }
  }
  return y[i];
}

const int head_warps = 4;
template <int D> struct Heads { float y[head_warps][D]; };

// normed puts rms_norm(x) * w, or x itself, where the warp's lanes can read all of it.
template <int D, bool NORM> QNC_DEVICE const float *normed(Heads<D> &s, const float *x, const float *w, float eps) {
  float *y = s.y[threadIdx.x / 32];
  int lane = threadIdx.x % 32;
  float a = 0;
  for (int i = lane; i < D; i += 32) {
    y[i] = x[i];
    a = fma_rn(x[i], x[i], a);
  }
  if (NORM) {
    a = warp_sum(a);
    float scale = div_rn(1.0f, sqrt_rn(div_rn(a, (float)D) + eps));
    for (int i = lane; i < D; i += 32) y[i] = y[i] * scale * w[i];
  }
  __syncwarp();
  return y;
}

// rope(rms_norm(x) * w): a warp a head, head_warps heads a block, n tokens of H heads.
template <int H, int D, int DIMS, bool NORM, int TOKEN, int ROW> QNC_DEVICE void norm_rope(Block at, float *out, const float *x, const float *w, const int *pos, int n, float eps, const uint64_t *turns) {
  QNC_SHARED(Heads<D>, s);
  int r = at.x * head_warps + threadIdx.x / 32, t = r / H, h = r % H;
  if (t >= n) return;
  const float *y = normed<D, NORM>(s, x + (int64_t)t * TOKEN + h * ROW, w, eps);
  for (int i = threadIdx.x % 32; i < D; i += 32) out[(int64_t)r * D + i] = rotate<DIMS>(y, i, pos[t], turns);
}

// The same, or x as it is, into the cell of its position. size is the bytes of
// the cache of one sequence.
template <class C, int H, int D, int DIMS, bool NORM, int TOKEN, int ROW> QNC_DEVICE void store_cells(Block at, uint8_t *cache, const float *x, const float *w, const int *pos, const int *seq, int n, float eps, const uint64_t *turns, int64_t size) {
  QNC_SHARED(Heads<D>, s);
  int r = at.x * head_warps + threadIdx.x / 32, t = r / H, h = r % H;
  if (t >= n) return;
  const float *y = normed<D, NORM>(s, x + (int64_t)t * TOKEN + h * ROW, w, eps);
  uint8_t *row = cache + seq[0] * size + ((int64_t)pos[t] * H + h) * (D / C::elems * C::bytes);
  for (int i = threadIdx.x % 32; i < (D + 31) / 32 * 32; i += 32) C::store(row, i, i < D ? rotate<DIMS>(y, i, pos[t], turns) : 0.0f, i < D);
}
