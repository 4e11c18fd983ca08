// Products of weights with many tokens: tiles on tensor cores, int8 by int8.
// A block computes 16 rows of weights a warp for BN tokens. Weights go from
// memory to registers, each to the warp that needs it; records go to shared
// memory, eight of each token at a time. Integer sums of a record are exact, and
// the floats follow in the order of K, so that a token's result does not depend
// on its neighbours or on how a prompt is cut.
#pragma once
#include "kinds.cuh"

const int tile_warps = 4, tile_rows = 16 * tile_warps, tile_blocks = 8;
// Eight records and a gap: rows of a fragment meet in no bank.
const int tile_stride = tile_blocks * record_words + 4;

template <int BN> struct TileShared {
  uint32_t x[BN][tile_stride];
  int64_t from[BN];  // word of the token's first record, or -1
};

// load_tile brings blocks b0 to b0 + tile_blocks of a row of B of each token.
template <int BN, int B> QNC_DEVICE void load_tile(TileShared<BN> &s, const uint32_t *x, int b0, int used) {
  const int words = tile_blocks * record_words;
  int have = (B - b0 < tile_blocks ? B - b0 : tile_blocks) * record_words;
  for (int i = threadIdx.x; i < used * words; i += 32 * tile_warps) {
    int c = i / words, j = i % words;
    s.x[c][j] = s.from[c] >= 0 && j < have ? x[s.from[c] + b0 * record_words + j] : 0;
  }
}

// multiply adds blocks b0 to b0 + n of two rows of weights, g and g + 8 of the
// warp's 16, to the sums: fragments of 8 tokens each.
template <class Q, int BN> QNC_DEVICE void multiply(float (&acc)[BN / 8][4], const TileShared<BN> &s, const uint8_t *w0, const uint8_t *w1, int b0, int n, int used) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int b = 0; b < n; b++) {
    uint32_t a[4] = {Q::word(w0, b0 + b, t), Q::word(w1, b0 + b, t), Q::word(w0, b0 + b, t + 4), Q::word(w1, b0 + b, t + 4)};
    float scale0[2], scale1[2], least0 = 0, least1 = 0;
    Q::scales(w0, b0 + b, scale0, least0);
    Q::scales(w1, b0 + b, scale1, least1);
#pragma unroll
    for (int f = 0; f < BN / 8; f++) {
      if (f * 8 >= used) break;
      const uint32_t *rec = &s.x[f * 8 + g][b * record_words];
      uint32_t x[2] = {rec[t], rec[t + 4]};
      float sum[4];
      if (Q::halves) {  // each half of a block has its scale
        uint32_t lo[4] = {a[0], a[1], 0, 0}, hi[4] = {0, 0, a[2], a[3]};
        int d[4] = {0, 0, 0, 0}, e[4] = {0, 0, 0, 0};
        mma_s8(d, lo, x);
        mma_s8(e, hi, x);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float *scale = i < 2 ? scale0 : scale1;
          sum[i] = fma_rn(scale[0], (float)d[i], scale[1] * (float)e[i]);
        }
      } else {
        int d[4] = {0, 0, 0, 0};
        mma_s8(d, a, x);
#pragma unroll
        for (int i = 0; i < 4; i++) sum[i] = (i < 2 ? scale0[0] : scale1[0]) * (float)d[i];
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const uint32_t *of = &s.x[f * 8 + t * 2 + i % 2][b * record_words];
        if (Q::least) sum[i] = fma_rn(-(i < 2 ? least0 : least1), bits_float(of[9]), sum[i]);
        acc[f][i] = fma_rn(bits_float(of[8]), sum[i], acc[f][i]);
      }
    }
  }
}

template <int BN> QNC_DEVICE void clear(float (&acc)[BN / 8][4]) {
#pragma unroll
  for (int f = 0; f < BN / 8; f++)
#pragma unroll
    for (int i = 0; i < 4; i++) acc[f][i] = 0;
}

// A Weights is one matrix of N rows of K with the sums of a tile of it.
template <class Q, int N, int K, int BN> struct Weights {
  const uint8_t *w0, *w1;
  float acc[BN / 8][4];
  // start points at rows r0 and on of w; rows beyond the last are the last again.
  QNC_METHOD void start(const uint8_t *w, int r0) {
    int g = threadIdx.x % 32 / 4, i = r0 + threadIdx.x / 32 * 16 + g;
    w0 = row_of<Q>(w, i < N ? i : N - 1, K);
    w1 = row_of<Q>(w, i + 8 < N ? i + 8 : N - 1, K);
    clear<BN>(acc);
  }
};

// each_sum calls f(row, token, index) for the sums of the thread.
template <int N, int BN, class F> QNC_DEVICE void each_sum(int r0, int used, F f) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int c = 0; c < BN / 8; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int r = r0 + threadIdx.x / 32 * 16 + g + i / 2 * 8, token = c * 8 + t * 2 + i % 2;
      if (r < N && token < used) f(r, token, c, i);
    }
}

template <class Q, int N, int K, int BN> QNC_DEVICE void tile_product(Weights<Q, N, K, BN> &a, TileShared<BN> &s, const uint32_t *x, int used) {
  const int B = K / 32;
  for (int b = 0; b < B; b += tile_blocks) {
    __syncthreads();
    load_tile<BN, B>(s, x, b, (used + 7) & ~7);
    __syncthreads();
    multiply<Q, BN>(a.acc, s, a.w0, a.w1, b, B - b < tile_blocks ? B - b : tile_blocks, used);
  }
}
template <class Q, class P, int N, int K, int BN> QNC_DEVICE void tile_products(Weights<Q, N, K, BN> &a, Weights<P, N, K, BN> &c, TileShared<BN> &s, const uint32_t *x, int used) {
  const int B = K / 32;
  for (int b = 0; b < B; b += tile_blocks) {
    int n = B - b < tile_blocks ? B - b : tile_blocks;
    __syncthreads();
    load_tile<BN, B>(s, x, b, (used + 7) & ~7);
    __syncthreads();
    multiply<Q, BN>(a.acc, s, a.w0, a.w1, b, n, used);
    multiply<P, BN>(c.acc, s, c.w0, c.w1, b, n, used);
  }
}

// tokens_of makes the tile's tokens t0 and on, of n; returns how many there are.
template <int BN, int TOKEN> QNC_DEVICE int tokens_of(TileShared<BN> &s, int t0, int n) {
  for (int c = threadIdx.x; c < BN; c += 32 * tile_warps) s.from[c] = t0 + c < n ? (int64_t)(t0 + c) * TOKEN : -1;
  return n - t0 < BN ? n - t0 : BN;
}

// out[t][i] = w[i] x[t]: blocks are groups of rows, then of tokens.
template <class Q, int N, int K, int TOKEN, int BN> QNC_DEVICE void tile_matmul(Block at, float *out, const uint32_t *x, const uint8_t *w, int n) {
  QNC_SHARED(TileShared<BN>, s);
  int r0 = at.x * tile_rows, t0 = at.y * BN, used = tokens_of<BN, TOKEN>(s, t0, n);
  Weights<Q, N, K, BN> a;
  a.start(w, r0);
  tile_product(a, s, x, used);
  each_sum<N, BN>(r0, used, [&](int r, int t, int c, int i) { out[(int64_t)(t0 + t) * N + r] = a.acc[c][i]; });
}
template <class QG, class QU, int N, int K, int TOKEN, int BN> QNC_DEVICE void tile_gate_up(Block at, float *out, const uint32_t *x, const uint8_t *gate, const uint8_t *up, int n) {
  QNC_SHARED(TileShared<BN>, s);
  int r0 = at.x * tile_rows, t0 = at.y * BN, used = tokens_of<BN, TOKEN>(s, t0, n);
  Weights<QG, N, K, BN> g;
  Weights<QU, N, K, BN> u;
  g.start(gate, r0);
  u.start(up, r0);
  tile_products(g, u, s, x, used);
  each_sum<N, BN>(r0, used, [&](int r, int t, int c, int i) { out[(int64_t)(t0 + t) * N + r] = silu_f(g.acc[c][i]) * u.acc[c][i]; });
}

// Rows of tokens by expert: rows lists token * USED + slot, expert by expert; work
// is the number of tiles, then for each expert, first row and number of rows.
const int route_threads = 512;

// A Route counts rows by expert for each of W warps, which own tokens that follow each other.
template <int E> struct Route {
  static const int W = E <= 512 ? 16 : E <= 1024 ? 8 : 4;
  int count[W][E];
  int rows[32], tiles[32];
};

// scan turns the numbers a and b of each thread into the sums of those before it.
template <int E> QNC_DEVICE void scan(Route<E> &s, int &a, int &b) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, ia = a, ib = b;
  for (int d = 1; d < 32; d <<= 1) {
    int ua = __shfl_up_sync(0xffffffffu, ia, d), ub = __shfl_up_sync(0xffffffffu, ib, d);
    if (lane >= d) {
      ia += ua;
      ib += ub;
    }
  }
  if (lane == 31) {
    s.rows[warp] = ia;
    s.tiles[warp] = ib;
  }
  __syncthreads();
  int oa = 0, ob = 0;
  for (int w = 0; w < warp; w++) {
    oa += s.rows[w];
    ob += s.tiles[w];
  }
  a = oa + ia - a;
  b = ob + ib - b;
}

// each_row calls f(count, row) for the rows of the warp's tokens, one token
// after the other: its experts differ, so that the counts go up in a fixed order.
template <int E, int USED, class F> QNC_DEVICE void each_row(Route<E> &s, const int *ids, int n, F f) {
  int warp = threadIdx.x / 32, each = (n + Route<E>::W - 1) / Route<E>::W, end = (warp + 1) * each < n ? (warp + 1) * each : n;
  if (warp >= Route<E>::W) return;
  for (int t = warp * each; t < end; t++) {
    for (int j = threadIdx.x % 32; j < USED; j += 32) f(&s.count[warp][ids[t * USED + j]], t * USED + j);
    __syncwarp();
  }
}

// route counts the rows of each expert, cuts them into tiles of BN and lists
// them, in the order of the tokens. One block.
template <int E, int USED, int BN> QNC_DEVICE void route(int *rows, int *work, const int *ids, int n) {
  QNC_SHARED(Route<E>, s);
  const int per = (E + route_threads - 1) / route_threads, W = Route<E>::W;
  for (int i = threadIdx.x; i < W * E; i += route_threads) s.count[i / E][i % E] = 0;
  __syncthreads();
  each_row<E, USED>(s, ids, n, [](int *count, int) { atomicAdd(count, 1); });
  __syncthreads();
  int first = threadIdx.x * per, last = first + per < E ? first + per : E, a = 0, b = 0;
  for (int e = first; e < last; e++) {
    int count = 0;
    for (int w = 0; w < W; w++) count += s.count[w][e];
    a += count;
    b += (count + BN - 1) / BN;
  }
  scan(s, a, b);
  for (int e = first; e < last; e++) {
    int from = a;
    for (int w = 0; w < W; w++) {  // where the warp's rows of the expert start
      int count = s.count[w][e];
      s.count[w][e] = a;
      a += count;
    }
    for (; from < a; from += BN, b++) {
      work[1 + b * 3] = e;
      work[2 + b * 3] = from;
      work[3 + b * 3] = a - from < BN ? a - from : BN;
    }
  }
  if (threadIdx.x == route_threads - 1) work[0] = b;
  __syncthreads();
  each_row<E, USED>(s, ids, n, [=](int *count, int row) { rows[atomicAdd(count, 1)] = row; });
}

// each_tile calls f(expert, row of weights, rows of tokens, how many) for the work
// of this block: tiles that hold rows only.
template <int N, int K, int USED, int TOKEN, int ITEM, int BN, class F> QNC_DEVICE void each_tile(Block at, TileShared<BN> &s, const int *rows, const int *work, F f) {
  const int groups = (N + tile_rows - 1) / tile_rows;
  int items = work[0] * groups;
  for (int i = at.x; i < items; i += gridDim.x) {
    const int *tile = work + 1 + i / groups * 3;
    const int *list = rows + tile[1];
    int used = tile[2];
    __syncthreads();
    for (int c = threadIdx.x; c < BN; c += 32 * tile_warps) s.from[c] = c < used ? (int64_t)(list[c] / USED) * TOKEN + list[c] % USED * ITEM : -1;
    f(tile[0], i % groups * tile_rows, list, used);
  }
}

// out[row] = w[expert] x[row], for every row of a token.
template <class Q, int N, int K, int USED, int TOKEN, int ITEM, int BN> QNC_DEVICE void tile_matmul_id(Block at, float *out, const uint32_t *x, const uint8_t *w, const int *rows, const int *work) {
  QNC_SHARED(TileShared<BN>, s);
  each_tile<N, K, USED, TOKEN, ITEM, BN>(at, s, rows, work, [&](int e, int r0, const int *list, int used) {
    Weights<Q, N, K, BN> a;
    a.start(row_of<Q>(w, (int64_t)e * N, K), r0);
    tile_product(a, s, x, used);
    each_sum<N, BN>(r0, used, [&](int r, int t, int c, int i) { out[(int64_t)list[t] * N + r] = a.acc[c][i]; });
  });
}
template <class QG, class QU, int N, int K, int USED, int TOKEN, int BN> QNC_DEVICE void tile_moe_gate_up(Block at, float *out, const uint32_t *x, const uint8_t *gate, const uint8_t *up, const int *rows, const int *work) {
  QNC_SHARED(TileShared<BN>, s);
  each_tile<N, K, USED, TOKEN, 0, BN>(at, s, rows, work, [&](int e, int r0, const int *list, int used) {
    Weights<QG, N, K, BN> g;
    Weights<QU, N, K, BN> u;
    g.start(row_of<QG>(gate, (int64_t)e * N, K), r0);
    u.start(row_of<QU>(up, (int64_t)e * N, K), r0);
    tile_products(g, u, s, x, used);
    each_sum<N, BN>(r0, used, [&](int r, int t, int c, int i) { out[(int64_t)list[t] * N + r] = silu_f(g.acc[c][i]) * u.acc[c][i]; });
  });
}

// out[t][i] = sum over the used experts of share * part: a thread a number.
template <int N, int USED> QNC_DEVICE void moe_sum(Block at, float *out, const float *parts, const float *share) {
  int i = at.x * blockDim.x + threadIdx.x;
  int64_t t = at.y;
  if (i >= N) return;
  float acc = 0;
#pragma unroll
  for (int j = 0; j < USED; j++) acc = fma_rn(share[t * USED + j], parts[(t * USED + j) * N + i], acc);
  out[t * N + i] = acc;
}
