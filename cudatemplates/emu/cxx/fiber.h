// The dialect of qnc.cuh on a CPU. Every CUDA thread is a fiber; warp
// collectives and barriers are rendezvous, at which the last to come computes
// for all. A thread that leaves a rendezvous with others waiting, lanes that
// disagree, or a deadlock end the process with the kernel's name and place.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <utility>

#define QNC_DEVICE static inline __attribute__((always_inline))
#define QNC_METHOD inline __attribute__((always_inline))
#define QNC_KERNEL(threads) extern "C" void
#define QNC_EXPORT(name) static emu::Register emu_register_##name(#name, emu::kernel(name));
#define QNC_SHARED(T, s) T &s = *(T *)emu::shared(sizeof(T))
#define QNC_DYNAMIC(T, s) T &s = *(T *)emu::dynamic()
#define QNC_CONSTANT static const
#define threadIdx (emu::current->thread)
#define blockIdx (emu::current->block->index)
#define blockDim (emu::current->block->dim)
#define gridDim (emu::current->block->grid)
#define __syncthreads() emu::barrier(__LINE__)

namespace emu {
struct Dim { unsigned x = 1, y = 1, z = 1; };

// A Slot carries one lane's part of a collective.
struct Slot {
  uint32_t in[6], out[4];
  int source;
  uint32_t mask;
};
struct Copy { void *to; const void *from; int group; };
struct Block;
struct Warp;
struct Fiber {
  void *sp;
  Warp *warp;
  Block *block;
  Dim thread;
  int lane;
  bool waits;  // at the block's barrier
  int copies, group;
  Copy copy[64];
  unsigned char *stack;
};
struct Warp {
  uint32_t ready, live, arrived;
  uint32_t epoch;  // of the last collective of all live lanes
  int lanes;
  void (*op)(Warp &, uint32_t);
  Slot slot[32];
  Fiber *fiber[32];
};
struct Block {
  Dim index, dim, grid;
  int warps, live, waiting;
  int line;  // of the barrier they wait at
  uint32_t epoch;  // of the last barrier
  Warp *warp;
  unsigned char *shared;
  size_t dynamic;
};
extern thread_local Fiber *current;

void barrier(int line);
void yield();
void *shared(size_t n);
void *dynamic();
[[noreturn]] void die(const char *format, ...);
typedef void (*Op)(Warp &, uint32_t mask);
void collective(uint32_t mask, Op op);
void async(void *to, const void *from);
void async_wait(int groups);

// Kernels are called by name with pointers to their arguments, as cuLaunchKernel does.
struct Kernel {
  void (*call)(void *fn, void **args);
  void *fn;
  int count;
  const int *sizes;
};
struct Register { Register(const char *name, Kernel k); };
const Kernel *find(const char *name);
#define EMU_UNCHECKED __attribute__((no_sanitize_thread))
template <class... A> struct Invoke {
  template <class T> EMU_UNCHECKED static T load(const void *p) { T v; memcpy(&v, p, sizeof v); return v; }
  template <size_t... I> EMU_UNCHECKED static void go(void (*k)(A...), void **args, std::index_sequence<I...>) { k(load<A>(args[I])...); }
  EMU_UNCHECKED static void call(void *fn, void **args) { go((void (*)(A...))fn, args, std::index_sequence_for<A...>{}); }
};
template <class... A> Kernel kernel(void (*k)(A...)) {
  static const int sizes[] = {(int)sizeof(A)..., 0};
  return Kernel{&Invoke<A...>::call, (void *)k, (int)sizeof...(A), sizes};
}

inline Slot &mine() { return current->warp->slot[current->lane]; }
template <class T> inline uint32_t bits(T v) { static_assert(sizeof(T) == 4, ""); uint32_t u; memcpy(&u, &v, 4); return u; }
template <class T> inline T from(uint32_t u) { T v; memcpy(&v, &u, 4); return v; }

uint32_t shuffle(uint32_t mask, uint32_t v, int source);
uint32_t ballot(uint32_t mask, bool p);
float sum(float v);
int sum(int v);
float most(float v);
uint32_t most(uint32_t v);
void mma(uint32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Op op);
void op_s8(Warp &, uint32_t);
void op_bf16(Warp &, uint32_t);
int add(int *p, int v);
uint32_t acquire(const uint32_t *p);
void release(uint32_t *p, uint32_t v);
void add_release(uint32_t *p, uint32_t v);
float half(uint16_t h);
uint16_t half(float f);
float root(float f);
float even(float f);
}  // namespace emu

template <class T> QNC_DEVICE T __shfl_sync(unsigned m, T v, int l) { return emu::from<T>(emu::shuffle(m, emu::bits(v), l & 31)); }
template <class T> QNC_DEVICE T __shfl_xor_sync(unsigned m, T v, int l) { return emu::from<T>(emu::shuffle(m, emu::bits(v), emu::current->lane ^ l)); }
template <class T> QNC_DEVICE T __shfl_up_sync(unsigned m, T v, int d) {
  int lane = emu::current->lane;
  return emu::from<T>(emu::shuffle(m, emu::bits(v), lane < d ? lane : lane - d));
}
QNC_DEVICE void __syncwarp(unsigned m = 0xffffffffu) { emu::collective(m, nullptr); }
QNC_DEVICE unsigned __ballot_sync(unsigned m, int p) { return emu::ballot(m, p != 0); }
QNC_DEVICE int __popc(unsigned v) { return __builtin_popcount(v); }
QNC_DEVICE void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
QNC_DEVICE int atomicAdd(int *p, int v) { return emu::add(p, v); }

QNC_DEVICE float fma_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
QNC_DEVICE float div_rn(float a, float b) { return a / b; }
QNC_DEVICE float sqrt_rn(float a) { return emu::root(a); }
QNC_DEVICE float rint_rn(float a) { return emu::even(a); }
QNC_DEVICE float abs_f(float a) { return __builtin_fabsf(a); }
// as PTX has it: the other one if one is no number
QNC_DEVICE float max_f(float a, float b) { return a != a ? b : b != b ? a : a > b ? a : a < b ? b : emu::from<float>(emu::bits(a) & emu::bits(b)); }
QNC_DEVICE float half_float(uint16_t h) { return emu::half(h); }
QNC_DEVICE uint16_t float_half(float f) { return emu::half(f); }
QNC_DEVICE uint32_t float_bits(float f) { return emu::bits(f); }
QNC_DEVICE float bits_float(uint32_t u) { return emu::from<float>(u); }
QNC_DEVICE int dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += (int)(int8_t)(a >> i) * (int)(int8_t)(b >> i);
  return c;
}
QNC_DEVICE void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emu::mma((uint32_t(&)[4])d, a, b, emu::op_s8); }
QNC_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emu::mma((uint32_t(&)[4])d, a, b, emu::op_bf16); }
QNC_DEVICE void copy_async16(void *shared, const void *global) { emu::async(shared, global); }
QNC_DEVICE void copy_async_commit() { emu::current->group++; }
template <int N> QNC_DEVICE void copy_async_wait() { emu::async_wait(N); }
QNC_DEVICE uint32_t load_acquire(const uint32_t *p) { return emu::acquire(p); }
QNC_DEVICE void store_release(uint32_t *p, uint32_t v) { emu::release(p, v); }
QNC_DEVICE void add_release(uint32_t *p, uint32_t v) { emu::add_release(p, v); }
template <class T> QNC_DEVICE T warp_sum(T v) { return emu::sum(v); }
QNC_DEVICE float warp_max(float v) { return emu::most(v); }
QNC_DEVICE uint32_t warp_max(uint32_t v) { return emu::most(v); }
