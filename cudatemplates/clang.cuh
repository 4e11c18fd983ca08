// What clang needs to compile CUDA without a toolkit: -nocudainc -nocudalib.
#pragma once
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
struct dim3 { unsigned x, y, z; };
struct uint3 { unsigned x, y, z; };
#include <__clang_cuda_builtin_vars.h>
#define QNC_DEVICE static __device__ __forceinline__
QNC_DEVICE void __syncwarp(unsigned m = 0xffffffffu) { __nvvm_bar_warp_sync(m); }
QNC_DEVICE void __threadfence() { __nvvm_membar_gl(); }
QNC_DEVICE int __shfl_sync(unsigned m, int v, int l) { return __nvvm_shfl_sync_idx_i32(m, v, l, 0x1f); }
QNC_DEVICE float __shfl_sync(unsigned m, float v, int l) { return __nvvm_shfl_sync_idx_f32(m, v, l, 0x1f); }
QNC_DEVICE int __shfl_xor_sync(unsigned m, int v, int l) { return __nvvm_shfl_sync_bfly_i32(m, v, l, 0x1f); }
QNC_DEVICE float __shfl_xor_sync(unsigned m, float v, int l) { return __nvvm_shfl_sync_bfly_f32(m, v, l, 0x1f); }
QNC_DEVICE int __shfl_up_sync(unsigned m, int v, int d) { return __nvvm_shfl_sync_up_i32(m, v, d, 0); }
QNC_DEVICE unsigned __ballot_sync(unsigned m, int p) { return __nvvm_vote_ballot_sync(m, p); }
QNC_DEVICE int __popc(unsigned v) { return __builtin_popcount(v); }
QNC_DEVICE int atomicAdd(int *p, int v) { return __nvvm_atom_add_gen_i(p, v); }
