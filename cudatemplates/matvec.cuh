// Products of weights with few tokens: memory-bound, a warp or part of one a row.
#pragma once
#include "kinds.cuh"

// Lanes is how many lanes share a row of so many units.
template <int U> struct Lanes { static const int n = U >= 32 ? 32 : U >= 16 ? 16 : U >= 8 ? 8 : U >= 4 ? 4 : U >= 2 ? 2 : 1; };

// Activations that are records, and such that are floats. A unit is what a lane
// takes at a time; part is its share of the product with a row.
template <class Q, int K> struct Records {
  static const int units = K / 32, lanes = Lanes<units>::n;
  typedef const uint32_t *Row;
  QNC_DEVICE float part(const uint8_t *w, Row x, int u, float acc) {
    const uint32_t *rec = x + u * record_words;
    return fma_rn(bits_float(rec[8]), Q::dot(w, u, rec), acc);
  }
};
template <class Q, int K> struct Floats {
  static const int units = K, lanes = Lanes<units>::n;
  typedef const float *Row;
  QNC_DEVICE float part(const uint8_t *w, Row x, int u, float acc) { return fma_rn(Q::value(w, u), x[u], acc); }
};

const int matvec_warps = 4;
// product is the product of a row with x, by L lanes, in all of them. A row
// beyond the last counts for nothing, but its lanes take part in the sum.
template <class A, int L> QNC_DEVICE float product(const uint8_t *w, typename A::Row x, bool keep) {
  float acc = 0;
  if (keep)
    for (int u = threadIdx.x % L; u < A::units; u += L) acc = A::part(w, x, u, acc);
  return group_sum<L>(acc);
}

// out[t][i] = w[i] x[t]: blocks are groups of rows, then tokens. TOKEN is the stride of x.
template <class Q, class A, int N, int K, int TOKEN> QNC_DEVICE void matvec(Block at, float *out, typename A::Row x, const uint8_t *w) {
  const int L = A::lanes;
  int i = at.x * (matvec_warps * 32 / L) + threadIdx.x / L, t = at.y;
  float v = product<A, L>(row_of<Q>(w, i, K), x + (int64_t)t * TOKEN, i < N);
  if (i < N && threadIdx.x % L == 0) out[(int64_t)t * N + i] = v;
}

// out = silu(gate x) * (up x).
template <class QG, class AG, class QU, class AU, int N, int K, int TOKEN> QNC_DEVICE void gate_up(Block at, float *out, typename AG::Row x, const uint8_t *gate, const uint8_t *up) {
  const int L = AG::lanes;
  int i = at.x * (matvec_warps * 32 / L) + threadIdx.x / L, t = at.y;
  float g = product<AG, L>(row_of<QG>(gate, i, K), x + (int64_t)t * TOKEN, i < N);
  float u = product<AU, L>(row_of<QU>(up, i, K), x + (int64_t)t * TOKEN, i < N);
  if (i < N && threadIdx.x % L == 0) out[(int64_t)t * N + i] = silu_f(g) * u;
}

// By expert: blocks are groups of rows, then the used experts of all tokens.
// ITEM is the stride of x within a token, 0 where its experts share one row.
template <class Q, class A, int N, int K, int USED, int TOKEN, int ITEM> QNC_DEVICE void matvec_id(Block at, float *out, typename A::Row x, const uint8_t *w, const int *ids) {
  const int L = A::lanes;
  int i = at.x * (matvec_warps * 32 / L) + threadIdx.x / L, tj = at.y;
  float v = product<A, L>(row_of<Q>(w, (int64_t)ids[tj] * N + i, K), x + (int64_t)(tj / USED) * TOKEN + tj % USED * ITEM, i < N);
  if (i < N && threadIdx.x % L == 0) out[(int64_t)tj * N + i] = v;
}
template <class QG, class AG, class QU, class AU, int N, int K, int USED, int TOKEN> QNC_DEVICE void moe_gate_up(Block at, float *out, typename AG::Row x, const uint8_t *gate, const uint8_t *up, const int *ids) {
  const int L = AG::lanes;
  int i = at.x * (matvec_warps * 32 / L) + threadIdx.x / L, tj = at.y;
  int64_t r = (int64_t)ids[tj] * N + i;
  x += (int64_t)(tj / USED) * TOKEN;
  float g = product<AG, L>(row_of<QG>(gate, r, K), x, i < N);
  float u = product<AU, L>(row_of<QU>(up, r, K), x, i < N);
  if (i < N && threadIdx.x % L == 0) out[(int64_t)tj * N + i] = silu_f(g) * u;
}

// out[t][i] = sum over the used experts of share * (w[id] x): a warp a row, its
// lanes over the units of all experts.
template <class Q, class A, int N, int K, int USED, int TOKEN, int ITEM> QNC_DEVICE void moe_down(Block at, float *out, typename A::Row x, const uint8_t *w, const int *ids, const float *share) {
  int i = at.x * matvec_warps + threadIdx.x / 32, t = at.y;
  if (i >= N) return;
  float acc = 0;
  for (int u = threadIdx.x % 32; u < A::units * USED; u += 32) {
    int j = u / A::units;
    const uint8_t *row = row_of<Q>(w, (int64_t)ids[t * USED + j] * N + i, K);
    acc = fma_rn(share[t * USED + j], A::part(row, x + (int64_t)t * TOKEN + j * ITEM, u % A::units, 0.0f), acc);
  }
  acc = warp_sum(acc);
  if (threadIdx.x % 32 == 0) out[(int64_t)t * N + i] = acc;
}
