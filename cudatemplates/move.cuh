// Gathers and quantisation.
#pragma once
#include "kinds.cuh"

// Rows of a table by index, as floats: a block a row.
template <class Q, int W> QNC_DEVICE void get_rows(Block at, float *out, const uint8_t *table, const int *ids) {
  int t = at.x;
  const uint8_t *row = row_of<Q>(table, ids[t], W);
  for (int i = threadIdx.x; i < W; i += blockDim.x) out[(int64_t)t * W + i] = Q::value(row, i);
}

// Records of rows of W floats, one a lane; M rows a token.
template <int W, int M, int TOKEN, int ROW> QNC_DEVICE void quantize(Block at, uint32_t *out, const float *x, int n) {
  int i = at.x * blockDim.x + threadIdx.x, r = i / W, j = i % W;
  bool keep = r < n * M;
  store_record(out + i / 32 * record_words, keep ? x[(int64_t)(r / M) * TOKEN + r % M * ROW + j] : 0.0f, keep);
}
