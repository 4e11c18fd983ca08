// Attention over a cache, a tile of cells at a time with a running maximum.
#pragma once
#include "common.cuh"

const int attention_threads = 128, attention_cells = 32;

// The shared memory of a block: M rows, heads of a group for some tokens.
template <int M, int D> struct Tile {
  float q[M][D];
  float k[attention_cells][D + 1];
  float p[M][attention_cells];
  float scale[M], most[M], sum[M];
};

// softmax(scale q kT) v for TT tokens of the R = H / G heads of a group. Blocks are
// groups, blocks of tokens, and SPLIT ranges of cells. With SPLIT above 1 the
// result is what attention_join needs: for each row most, sum and E numbers.
template <class CK, class CV, int H, int G, bool TILED, int D, int E, int TT, int SPLIT, int TOKEN, int ROW>
QNC_DEVICE void attention(Block at, float *out, const float *q, const uint8_t *keys, const uint8_t *values, const int *pos, const int *seq, int n, float scale, int64_t ksize, int64_t vsize) {
  const int R = H / G, M = R * TT, warps = attention_threads / 32, mine = (M + warps - 1) / warps, columns = (E + attention_threads - 1) / attention_threads;
  typedef Tile<M, D> S;
  QNC_DYNAMIC(S, s);
  int g = at.x, t0 = at.y * TT, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int krow = D / CK::elems * CK::bytes, vrow = E / CV::elems * CV::bytes;
  keys += seq[0] * ksize + g * krow;
  values += seq[0] * vsize + g * vrow;
  int tokens = n - t0 < TT ? n - t0 : TT, cells = 0;
  for (int t = 0; t < tokens; t++) cells = pos[t0 + t] + 1 > cells ? pos[t0 + t] + 1 : cells;
  int from = 0, to = cells;
  if (SPLIT > 1) {
    int tiles = (cells + attention_cells - 1) / attention_cells, each = (tiles + SPLIT - 1) / SPLIT;
    from = at.z * each * attention_cells;
    to = from + each * attention_cells < cells ? from + each * attention_cells : cells;
  }
  auto head = [=](int r) { return TILED ? r % R * G + g : g * R + r % R; };
  for (int i = threadIdx.x; i < M * D; i += attention_threads) {
    int r = i / D, t = r / R;
    s.q[r][i % D] = t < tokens ? q[(int64_t)(t0 + t) * TOKEN + head(r) * ROW + i % D] * scale : 0.0f;
  }
  for (int r = threadIdx.x; r < M; r += attention_threads) {
    s.most[r] = bits_float(0xff800000u);
    s.sum[r] = 0;
  }
  float acc[M][columns];
#pragma unroll
  for (int r = 0; r < M; r++)
#pragma unroll
    for (int j = 0; j < columns; j++) acc[r][j] = 0;

  for (int c0 = from; c0 < to; c0 += attention_cells) {
    int have = to - c0 < attention_cells ? to - c0 : attention_cells;
    __syncthreads();
    for (int i = threadIdx.x; i < attention_cells * D; i += attention_threads) {
      int c = i / D;
      s.k[c][i % D] = c < have ? CK::load(keys + (int64_t)(c0 + c) * (G * krow), i % D) : 0.0f;
    }
    __syncthreads();
    float dot[mine];
#pragma unroll
    for (int j = 0; j < mine; j++) dot[j] = 0;
    for (int d = 0; d < D; d++) {
      float k = s.k[lane][d];
#pragma unroll
      for (int j = 0; j < mine; j++) {
        int r = j * warps + warp;
        if (r < M) dot[j] = fma_rn(s.q[r][d], k, dot[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < mine; j++) {
      int r = j * warps + warp, t = r / R;
      if (r >= M) continue;
      bool seen = t < tokens && lane < have && c0 + lane <= pos[t0 + (t < tokens ? t : 0)];
      float was = s.most[r], most = max_f(was, warp_max(seen ? dot[j] : bits_float(0xff800000u)));
      float base = most == bits_float(0xff800000u) ? 0.0f : most;
      float p = seen ? exp_f(dot[j] - base) : 0.0f, sum = warp_sum(p);
      s.p[r][lane] = p;
      __syncwarp();
      if (lane == 0) {
        float f = was == most ? 1.0f : exp_f(was - base);
        s.scale[r] = f;
        s.most[r] = most;
        s.sum[r] = fma_rn(s.sum[r], f, sum);
      }
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < columns; j++) {
      int e = j * attention_threads + threadIdx.x;
      if (e >= E) continue;
#pragma unroll
      for (int r = 0; r < M; r++) acc[r][j] *= s.scale[r];
      for (int c = 0; c < have; c++) {
        float v = CV::load(values + (int64_t)(c0 + c) * (G * vrow), e);
#pragma unroll
        for (int r = 0; r < M; r++) {
          // a cell that a row does not see may hold anything
          float p = s.p[r][c];
          if (TT == 1 || p != 0.0f) acc[r][j] = fma_rn(p, v, acc[r][j]);
        }
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < M; r++) {
    int t = r / R;
    if (t >= tokens) continue;
    int64_t row = (int64_t)(t0 + t) * H + head(r);
    if (SPLIT > 1) {
      float *part = out + (row * SPLIT + at.z) * (E + 2);
      if (threadIdx.x == 0) {
        part[E] = s.most[r];
        part[E + 1] = s.sum[r];
      }
#pragma unroll
      for (int j = 0; j < columns; j++)
        if (j * attention_threads + (int)threadIdx.x < E) part[j * attention_threads + threadIdx.x] = acc[r][j];
    } else {
#pragma unroll
      for (int j = 0; j < columns; j++)
        if (j * attention_threads + (int)threadIdx.x < E) out[row * E + j * attention_threads + threadIdx.x] = div_rn(acc[r][j], s.sum[r]);
    }
  }
}

// The ranges of cells as one: a block a head of a token.
template <int E, int SPLIT> QNC_DEVICE void attention_join(Block at, float *out, const float *parts) {
  const float *part = parts + (int64_t)at.x * SPLIT * (E + 2);
  float most = bits_float(0xff800000u), sum = 0;
  for (int i = 0; i < SPLIT; i++) most = max_f(most, part[i * (E + 2) + E]);
  float base = most == bits_float(0xff800000u) ? 0.0f : most;
  for (int i = 0; i < SPLIT; i++) sum = fma_rn(part[i * (E + 2) + E + 1], exp_f(part[i * (E + 2) + E] - base), sum);
  for (int e = threadIdx.x; e < E; e += blockDim.x) {
    float a = 0;
    for (int i = 0; i < SPLIT; i++) a = fma_rn(part[i * (E + 2) + e], exp_f(part[i * (E + 2) + E] - base), a);
    out[(int64_t)at.x * E + e] = div_rn(a, sum);
  }
}
