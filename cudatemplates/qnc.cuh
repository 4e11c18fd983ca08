// The device dialect: what kernels may use. One text for four compilers:
//
//   nvcc, NVRTC   -std=c++17 -fmad=false
//   clang         -x cuda -nocudainc -nocudalib -ffp-contract=off, no toolkit
//   g++           -DQNC_EMU -ffp-contract=off: threads are fibers of emu/cxx/fiber.cc
//
// QNC_DEVICE begins a function or static member, QNC_METHOD a member of an object.
//
// Rules, which keep the bits of integer and IEEE arithmetic equal on all four:
//   1. No other header. Arguments are pointers and 4-byte numbers; shapes are constants.
//   2. A multiply-add is fma_rn; nothing else contracts. Division and roots are
//      div_rn and sqrt_rn, exponentials exp_f: no library mathematics.
//   3. Sums across threads are fixed trees (warp_sum); no atomics on floats.
//   4. Shared memory is one struct, declared by QNC_SHARED.
//   5. Collectives name all 32 lanes and stand in warp-uniform control flow; a
//      block leaves early as a whole if a barrier follows, a warp as a whole otherwise.
//   6. PTX stands in this file only, each piece beside its meaning in C++.
//   7. A thread waits for memory by load_acquire only.
#pragma once

#if defined(QNC_EMU)
#include "emu/cxx/fiber.h"
#elif defined(__clang__)
#include "clang.cuh"
#else
#if !defined(__CUDACC_RTC__)
#include <stdint.h>
#else
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#endif
#define QNC_DEVICE static __device__ __forceinline__
#endif

#if !defined(QNC_EMU)
#define QNC_METHOD __device__ __forceinline__
// QNC_KERNEL(threads) begins a kernel; QNC_EXPORT(name) makes it known to the emulator.
// One block a multiprocessor is enough: else ptxas spills registers to fit one more.
#define QNC_KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 1)
#define QNC_EXPORT(name)
// QNC_SHARED(T, s) is the block's shared memory; QNC_DYNAMIC(T, s) that whose size the launch gives.
#define QNC_SHARED(T, s) __shared__ T s
#define QNC_DYNAMIC(T, s) \
  extern __shared__ __align__(16) unsigned char qnc_dynamic[]; \
  T &s = *(T *)qnc_dynamic
#define QNC_CONSTANT static __device__ const

QNC_DEVICE float fma_rn(float a, float b, float c) { float r; asm("fma.rn.f32 %0,%1,%2,%3;" : "=f"(r) : "f"(a), "f"(b), "f"(c)); return r; }
QNC_DEVICE float div_rn(float a, float b) { float r; asm("div.rn.f32 %0,%1,%2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
QNC_DEVICE float sqrt_rn(float a) { float r; asm("sqrt.rn.f32 %0,%1;" : "=f"(r) : "f"(a)); return r; }
QNC_DEVICE float rint_rn(float a) { float r; asm("cvt.rni.f32.f32 %0,%1;" : "=f"(r) : "f"(a)); return r; }
QNC_DEVICE float abs_f(float a) { float r; asm("abs.f32 %0,%1;" : "=f"(r) : "f"(a)); return r; }
QNC_DEVICE float max_f(float a, float b) { float r; asm("max.f32 %0,%1,%2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
QNC_DEVICE float half_float(uint16_t h) { float r; asm("cvt.f32.f16 %0,%1;" : "=f"(r) : "h"(h)); return r; }
QNC_DEVICE uint16_t float_half(float f) { uint16_t r; asm("cvt.rn.f16.f32 %0,%1;" : "=h"(r) : "f"(f)); return r; }
QNC_DEVICE uint32_t float_bits(float f) { uint32_t r; asm("mov.b32 %0,%1;" : "=r"(r) : "f"(f)); return r; }
QNC_DEVICE float bits_float(uint32_t u) { float r; asm("mov.b32 %0,%1;" : "=f"(r) : "r"(u)); return r; }
// dp4a is c plus the product of two vectors of four int8.
QNC_DEVICE int dp4a(int a, int b, int c) { int r; asm("dp4a.s32.s32 %0,%1,%2,%3;" : "=r"(r) : "r"(a), "r"(b), "r"(c)); return r; }

// mma_s8 and mma_bf16: D[16][8] += A[16][K] B[8][K]^T over a warp, K 32 bytes or 16
// numbers. Lane 4g+t holds rows g and g+8 of A (words t and t+4 of K: a0 a2, a1 a3),
// row g of B (b0 b1) and columns 2t, 2t+1 of D (d0 d1 of row g, d2 d3 of row g+8).
QNC_DEVICE void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
QNC_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// copy_async16 copies 16 bytes to shared memory; they are there after the
// thread's copy_async_wait<N>, which leaves at most the N youngest groups on their way.
QNC_DEVICE void copy_async16(void *shared, const void *global) {
  asm volatile("{.reg .u64 p; .reg .u32 s; cvta.to.shared.u64 p,%0; cvt.u32.u64 s,p; cp.async.cg.shared.global [s],[%1],16;}" ::"l"(shared), "l"(global) : "memory");
}
QNC_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> QNC_DEVICE void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// Words that the host and other devices write or read: system scope.
QNC_DEVICE uint32_t load_acquire(const uint32_t *p) { uint32_t r; asm volatile("ld.acquire.sys.global.u32 %0,[%1];" : "=r"(r) : "l"(p) : "memory"); return r; }
QNC_DEVICE void store_release(uint32_t *p, uint32_t v) { asm volatile("st.release.sys.global.u32 [%0],%1;" ::"l"(p), "r"(v) : "memory"); }
QNC_DEVICE void add_release(uint32_t *p, uint32_t v) { asm volatile("red.release.gpu.global.add.u32 [%0],%1;" ::"l"(p), "r"(v) : "memory"); }

template <class T> QNC_DEVICE T warp_sum(T v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
QNC_DEVICE float warp_max(float v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = max_f(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}
// The largest over a warp, without rounding: redux.
QNC_DEVICE uint32_t warp_max(uint32_t v) { uint32_t r; asm volatile("redux.sync.max.u32 %0,%1,0xffffffff;" : "=r"(r) : "r"(v)); return r; }
#endif

// A Block is the place of a block in a grid. Kernels hand it to what they are
// made of, which may be one of several in a launch.
struct Block { int x, y, z; };
QNC_DEVICE Block this_block() { return Block{(int)blockIdx.x, (int)blockIdx.y, (int)blockIdx.z}; }

// What follows is integer and fma arithmetic: the same on all.

struct alignas(16) int4_t { int x, y, z, w; };
struct alignas(16) float4_t { float x, y, z, w; };

QNC_DEVICE float bf16_float(uint16_t b) { return bits_float((uint32_t)b << 16); }
QNC_DEVICE uint16_t float_bf16(float f) {
  uint32_t u = float_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

// exp_f is e^x within 1.2e-7 of its size; what is below the smallest normal number is 0.
QNC_DEVICE float exp_f(float x) {
  float n = rint_rn((x < -87.0f ? -87.0f : x > 89.0f ? 89.0f : x) * 1.44269504088896341f);
  float r = fma_rn(n, 2.12194440e-4f, fma_rn(n, -0.693359375f, x));
  float p = fma_rn(1.9875691500e-4f, r, 1.3981999507e-3f);
  p = fma_rn(p, r, 8.3334519073e-3f);
  p = fma_rn(p, r, 4.1665795894e-2f);
  p = fma_rn(p, r, 1.6666665459e-1f);
  p = fma_rn(p, r, 5.0000001201e-1f);
  p = fma_rn(p, r * r, r) + 1.0f;
  if (x > 88.7228317f) return bits_float(0x7f800000u);
  if (x < -87.3365447f) return 0.0f;
  return bits_float(float_bits(p) + ((uint32_t)(int)n << 23));
}
// clamp_f is max(x, least); what is no number stays so.
QNC_DEVICE float clamp_f(float x, float least) { return x < least ? least : x; }
QNC_DEVICE float sigmoid_f(float x) { return div_rn(1.0f, 1.0f + exp_f(-x)); }
QNC_DEVICE float silu_f(float x) { return div_rn(x, 1.0f + exp_f(-x)); }

// log_f is the natural logarithm of x > 0, normal, within 1.5e-7 of its size or absolutely near 1.
QNC_DEVICE float log_f(float x) {
  uint32_t u = float_bits(x);
  int e = (int)(u >> 23) - 126;
  float m = bits_float((u & 0x007fffffu) | 0x3f000000u);  // 0.5 to 1
  if (m < 0.707106781186547524f) {
    e--;
    m = m + m;
  }
  float z = m - 1.0f, y = z * z;
  float p = fma_rn(7.0376836292e-2f, z, -1.1514610310e-1f);
  p = fma_rn(p, z, 1.1676998740e-1f);
  p = fma_rn(p, z, -1.2420140846e-1f);
  p = fma_rn(p, z, 1.4249322787e-1f);
  p = fma_rn(p, z, -1.6668057665e-1f);
  p = fma_rn(p, z, 2.0000714765e-1f);
  p = fma_rn(p, z, -2.4999993993e-1f);
  p = fma_rn(p, z, 3.3333331174e-1f);
  p = p * z * y;
  p = fma_rn((float)e, -2.12194440e-4f, p);
  p = fma_rn(-0.5f, y, p);
  return fma_rn((float)e, 0.693359375f, z + p);
}
// softplus_f is log(1 + e^x): max(x, 0) + log(1 + e^-|x|).
QNC_DEVICE float softplus_f(float x) {
  float t = exp_f(-abs_f(x));
  float l = t < 1e-4f ? fma_rn(-0.5f * t, t, t) : log_f(1.0f + t);
  return x != x ? x : max_f(x, 0.0f) + l;
}
