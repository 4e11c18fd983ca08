// Routing.
#pragma once
#include "common.cuh"

// softmax over E experts, the K largest with the lower index first among equals,
// renormalised or not: a warp a token, neighbouring experts in a lane.
template <int E, int K, bool NORM> QNC_DEVICE void topk_moe(float *weights, int *ids, const float *x, float least, float scale) {
  const int per = (E + 31) / 32;
  int lane = threadIdx.x % 32;
  float p[per], m = bits_float(0xff800000u);
#pragma unroll
  for (int j = 0; j < per; j++) {
    int e = lane * per + j;
    p[j] = e < E ? x[e] : bits_float(0xff800000u);
    m = max_f(m, p[j]);
  }
  m = warp_max(m);
  float sum = 0;
#pragma unroll
  for (int j = 0; j < per; j++) {
    p[j] = lane * per + j < E ? exp_f(p[j] - m) : 0.0f;
    sum += p[j];
  }
  sum = warp_sum(sum);
  // Shares are not negative: their order is that of their bits, plus one, and 0 is what was taken.
  uint32_t key[per];
#pragma unroll
  for (int j = 0; j < per; j++) key[j] = lane * per + j < E ? float_bits(div_rn(p[j], sum)) + 1 : 0;
  float mine = 0, total = 0;
  int expert = 0;
  for (int k = 0; k < K; k++) {
    uint32_t best = 0;
#pragma unroll
    for (int j = 0; j < per; j++) best = key[j] > best ? key[j] : best;
    uint32_t top = warp_max(best);
    unsigned have = __ballot_sync(0xffffffffu, best == top);
    int owner = __popc((have & (0u - have)) - 1), at = 0;
    if (lane == owner) {
#pragma unroll
      for (int j = per - 1; j >= 0; j--)
        if (key[j] == top) at = j;
#pragma unroll
      for (int j = 0; j < per; j++)
        if (j == at) key[j] = 0;
    }
    at = __shfl_sync(0xffffffffu, lane * per + at, owner);
    float w = bits_float(top - 1);
    total += w;
    if (k % 32 == lane) {
      mine = w;
      expert = at;
    }
    if (k % 32 == 31 || k == K - 1) {  // up to 32 at a time; the sum is not known before the last
      int i = k / 32 * 32 + lane;
      if (i < K) {
        weights[i] = mine;
        ids[i] = expert;
      }
    }
  }
  float by = NORM ? div_rn(1.0f, max_f(total, least)) : 1.0f;
  if (total != total) by = total;
  for (int i = lane; i < K; i += 32) weights[i] = (NORM ? weights[i] * by : weights[i]) * scale;
}
