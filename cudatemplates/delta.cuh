// The gated delta net: convolution with its splits and norms, and the rule itself.
#pragma once
#include "common.cuh"

// silu(conv(state ++ x)) of one token, split into q and k, l2_norm by head, and v:
// a block a head and token. x has stride TOKEN; HALO = taps - 1 inputs are kept.
// With ONE there is one token, and the block moves its channels' state on.
template <int G, int KD, int VH, int VD, int HALO, int TOKEN, int T, bool ONE>
QNC_DEVICE void conv_split(Block at, float *q, float *k, float *v, float *state, const float *x, const float *w, const int *seq, float eps, int64_t size) {
  QNC_SHARED(Partial, s);
  const int channels = 2 * G * KD + VH * VD;
  int b = at.x, t = at.y, i = threadIdx.x;
  bool key = b < 2 * G;
  int dim = key ? KD : VD, ch = (key ? b * KD : 2 * G * KD + (b - 2 * G) * VD) + i;
  state += seq[0] * size;
  float y = 0;
  if (i < dim) {
    float last[HALO + 1];
#pragma unroll
    for (int j = 0; j <= HALO; j++) {
      int i = t - HALO + j;
      last[j] = i < 0 ? state[(HALO + i) * channels + ch] : x[(int64_t)i * TOKEN + ch];
      y = fma_rn(last[j], w[ch * (HALO + 1) + j], y);
    }
    if (ONE)
#pragma unroll
      for (int j = 0; j < HALO; j++) state[j * channels + ch] = last[j + 1];
    y = silu_f(y);
  }
  if (key) {
    float a = block_sum(i < dim ? y * y : 0.0f, s, T / 32);
    y = y * div_rn(1.0f, sqrt_rn(a + eps));
  }
  if (i >= dim) return;
  if (b < G) q[((int64_t)t * G + b) * KD + i] = y;
  else if (key) k[((int64_t)t * G + b - G) * KD + i] = y;
  else v[((int64_t)t * VH + b - 2 * G) * VD + i] = y;
}

// The state after n tokens: the last HALO of state ++ x, a channel a thread.
template <int CHANNELS, int HALO, int TOKEN> QNC_DEVICE void conv_state(Block at, float *state, const float *x, const int *seq, int n, int64_t size) {
  int ch = at.x * blockDim.x + threadIdx.x;
  if (ch >= CHANNELS) return;
  state += seq[0] * size;
  float next[HALO];
#pragma unroll
  for (int j = 0; j < HALO; j++) {
    int i = n - HALO + j;
    next[j] = i < 0 ? state[(HALO + i) * CHANNELS + ch] : x[(int64_t)i * TOKEN + ch];
  }
#pragma unroll
  for (int j = 0; j < HALO; j++) state[j * CHANNELS + ch] = next[j];
}

const int delta_lanes = 8, delta_threads = 128;

// S = e^g S; S += beta (v - S k) kT; out = S (scale q), token by token. A row of
// the state, K of the V values of a head, lives in the registers of 8 lanes. Both
// products are of the old row, so that one pass over it serves them:
// S' q = e^g S q + e (k q), e = beta (v - e^g S k).
template <int G, int K, int VH, int V, bool TILED, int QT, int QR, int KT, int KR, int VT, int VR, int GT, int GR, int BT, int BR>
QNC_DEVICE void delta_rule(Block at, float *out, float *state, const float *q, const float *k, const float *v, const float *g, const float *beta, const int *seq, int n, float scale, int64_t size) {
  const int L = delta_lanes, per = (K + L - 1) / L, rows = delta_threads / L;
  int h = at.x, i = at.y * rows + threadIdx.x / L, lane = threadIdx.x % L;
  int group = TILED ? h % G : h / (VH / G);
  bool keep = i < V;
  float *row = state + seq[0] * size + ((int64_t)h * V + (keep ? i : 0)) * K;
  float s[per];
#pragma unroll
  for (int j = 0; j < per; j++) s[j] = keep && j * L + lane < K ? row[j * L + lane] : 0.0f;
  q += group * QR;
  k += group * KR;
  v += h * VR + (keep ? i : 0);
  g += h * GR;
  beta += h * BR;
  for (int t = 0; t < n; t++) {
    float kk[per], sk = 0, sq = 0, kq = 0, decay = exp_f(g[(int64_t)t * GT]);
#pragma unroll
    for (int j = 0; j < per; j++) {
      bool in = j * L + lane < K;
      kk[j] = in ? k[(int64_t)t * KT + j * L + lane] : 0.0f;
      float qq = in ? q[(int64_t)t * QT + j * L + lane] : 0.0f;
      s[j] = s[j] * decay;
      sk = fma_rn(s[j], kk[j], sk);
      sq = fma_rn(s[j], qq, sq);
      kq = fma_rn(kk[j], qq, kq);
    }
    sk = group_sum<L>(sk);
    sq = group_sum<L>(sq);
    kq = group_sum<L>(kq);
    float e = beta[(int64_t)t * BT] * (v[(int64_t)t * VT] - sk);
#pragma unroll
    for (int j = 0; j < per; j++) s[j] = fma_rn(e, kk[j], s[j]);
    if (keep && lane == 0) out[((int64_t)t * VH + h) * V + i] = scale * fma_rn(e, kq, sq);
  }
#pragma unroll
  for (int j = 0; j < per; j++)
    if (keep && j * L + lane < K) row[j * L + lane] = s[j];
}
