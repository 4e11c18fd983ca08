// y[i] = a x[i] for a block of up to 256 threads, the words in reverse through shared memory.
// It includes nothing of a toolkit, so that every compiler takes it.
#include "scale.h"
extern "C" __attribute__((global)) __attribute__((launch_bounds(256))) void scale(float *y, const float *x, float a, uint32_t n) {
  static __attribute__((shared)) float s[256];
  uint32_t i;
  asm("mov.u32 %0, %%tid.x;" : "=r"(i));
  if (i < n) s[n - 1 - i] = x[i];
  asm volatile("bar.sync 0;" ::: "memory");
  if (i < n) y[i] = s[i] * a;
}
