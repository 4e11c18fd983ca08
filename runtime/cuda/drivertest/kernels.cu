// The kernels of the test's program; see program.go.
#include "qnc.cuh"

// sum adds the tokens of a step to the state of its sequence, 256 bytes apart.
QNC_KERNEL(32) sum(uint32_t *state, uint32_t *out, const uint32_t *tok, const uint32_t *seq, int n) {
  if (threadIdx.x) return;
  uint32_t *s = state + 64 * seq[0];
  for (int t = 0; t < n; t++) out[t] = *s += tok[t];
}
QNC_EXPORT(sum)

// twice passes through shared memory, of which it has more than a kernel has without asking.
struct Tile { uint32_t x[60 << 8]; };
QNC_KERNEL(32) twice(uint32_t *out, const uint32_t *x, int n) {
  QNC_DYNAMIC(Tile, tile);
  int last = (60 << 8) - 1 - (int)threadIdx.x;
  for (int t = (int)threadIdx.x; t < n; t += 32) {
    tile.x[last] = x[t];
    out[t] = 2 * tile.x[last];
  }
}
QNC_EXPORT(twice)

// logits has a block a row.
QNC_KERNEL(32) logits(float *out, const uint32_t *sum, const uint32_t *twice, const uint32_t *rows, const float *bias) {
  int r = (int)blockIdx.x, t = (int)rows[r];
  if (threadIdx.x) return;
  out[3 * r] = (float)sum[t];
  out[3 * r + 1] = (float)twice[t];
  out[3 * r + 2] = *bias;
}
QNC_EXPORT(logits)

// meet adds 1 for each block and waits for all: they must be resident at once.
QNC_KERNEL(32) meet(uint32_t *count, uint32_t *out) {
  if (threadIdx.x) return;
  add_release(count, 1);
  while (load_acquire(count) < gridDim.x) {
  }
  out[blockIdx.x] = load_acquire(count);
}
QNC_EXPORT(meet)
