package emu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

const good = `#include "qnc.cuh"
struct Part { float sum[32]; };
QNC_KERNEL(256) block_sum(float *y, const float *x, int n) {
  QNC_SHARED(Part, s);
  float a = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) a += x[blockIdx.x * n + i];
  a = warp_sum(a);
  int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
  if (lane == 0) s.sum[w] = a;
  __syncthreads();
  a = warp_sum(lane < (int)(blockDim.x >> 5) ? s.sum[lane] : 0.0f);
  if (threadIdx.x == 0) y[blockIdx.x] = a;
}
QNC_EXPORT(block_sum)
struct Tile { float x[256]; };
QNC_KERNEL(64) reverse(float *y, const float *x) {
  QNC_DYNAMIC(Tile, s);
  copy_async16(&s.x[threadIdx.x * 4], x + threadIdx.x * 4);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += 64) y[i] = s.x[255 - i];
}
QNC_EXPORT(reverse)
QNC_KERNEL(32) tile(int *c, const uint32_t *a, const uint32_t *b) {
  int lane = threadIdx.x, g = lane >> 2, t = lane & 3, d[4] = {0, 0, 0, 0};
  uint32_t x[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]}, y[2] = {b[g * 8 + t], b[g * 8 + t + 4]};
  mma_s8(d, x, y);
  for (int i = 0; i < 4; i++) c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}
QNC_EXPORT(tile)
QNC_KERNEL(32) maths(float *y, const float *x) {
  int i = threadIdx.x;
  y[i] = exp_f(x[i]); y[32 + i] = sigmoid_f(x[i]); y[64 + i] = softplus_f(x[i]); y[96 + i] = log_f(abs_f(x[i]) + 0.01f);
  y[128 + i] = half_float(float_half(x[i])); y[160 + i] = bf16_float(float_bf16(x[i]));
}
QNC_EXPORT(maths)
QNC_KERNEL(32) gate(uint32_t *flag) {
  if (threadIdx.x == 0) { while (load_acquire(flag) < 3) {} store_release(flag + 1, 7); }
}
QNC_KERNEL(32) count(uint32_t *flag) { if (threadIdx.x == 0) add_release(flag, 1); }
QNC_EXPORT(gate) QNC_EXPORT(count)
`

// Each of these kernels has one fault, which the message names.
const bad = `#include "qnc.cuh"
struct S { int x[64]; };
QNC_KERNEL(64) no_barrier(int *y) { QNC_SHARED(S, s); s.x[threadIdx.x] = threadIdx.x; y[threadIdx.x] = s.x[63 - threadIdx.x]; }
QNC_KERNEL(64) write_after_read(int *y) {
  QNC_SHARED(S, s); s.x[threadIdx.x] = 1; __syncthreads(); y[threadIdx.x] = s.x[63 - threadIdx.x]; s.x[threadIdx.x] = 2;
}
QNC_KERNEL(64) beyond(int *y) { y[threadIdx.x * 2] = 1; }
QNC_KERNEL(64) same_word(int *y) { y[threadIdx.x / 2 + blockIdx.x * 0] = blockIdx.x; }
QNC_KERNEL(64) misaligned(int *y) { *(int *)((char *)y + threadIdx.x) = 1; }
QNC_KERNEL(64) half_barrier(int *y) { 
  if (threadIdx.x < 32) __syncthreads();
  __syncwarp();
  __syncthreads();
  if (blockIdx.x == 0) y[threadIdx.x] = 1; }
QNC_KERNEL(64) diverged(int *y) { if (threadIdx.x & 1) y[threadIdx.x] = warp_sum(1); else y[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0); }
QNC_KERNEL(64) left(int *y) { if (threadIdx.x & 1) return; y[threadIdx.x] = warp_sum(1); }
QNC_KERNEL(64) pending(int *y) { QNC_SHARED(S, s); if (threadIdx.x < 4) { copy_async16(&s.x[threadIdx.x * 4], y + threadIdx.x * 4); copy_async_commit(); } }
QNC_EXPORT(no_barrier) QNC_EXPORT(write_after_read) QNC_EXPORT(beyond) QNC_EXPORT(same_word) QNC_EXPORT(misaligned)
QNC_EXPORT(half_barrier) QNC_EXPORT(diverged) QNC_EXPORT(left) QNC_EXPORT(pending)
`

func build(t *testing.T, kernels string, check bool) *Library {
	t.Helper()
	l, err := Build([]byte(kernels), check)
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFaults(t *testing.T) {
	l := build(t, bad, true)
	for name, want := range map[string]string{
		"no_barrier":       "race: shared",
		"write_after_read": "race: shared",
		"beyond":           "outside of all allocations",
		"same_word":        "race: byte",
		"misaligned":       "at an address that they do not divide",
		"half_barrier":     "at the barriers of lines",
		"diverged":         "different collectives",
		"left":             "exit",
		"pending":          "asynchronous copies on their way",
	} {
		j := &Job{Buffers: [][]byte{make([]byte, 256)}, Launches: []Launch{{Kernel: name, Grid: [3]int{2}, Block: [3]int{64}, Args: []Arg{Pointer(0, 0)}}}}
		for _, s := range Schedules {
			_, err := l.Run(j, s)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s under schedule %s: %v; want %q", name, s, err, want)
			}
		}
	}
}

func words(n int, f func(i int) uint32) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, f(i))
	}
	return b
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func near(t *testing.T, what string, have float32, want, by float64) {
	t.Helper()
	if math.Abs(float64(have)-want) > by*math.Max(1, math.Abs(want)) {
		t.Errorf("%s: have %g, want %g", what, have, want)
	}
}

// TestKernels runs sound kernels, checked and not, under every schedule and
// with operations that start late: the bits are equal, and right.
func TestKernels(t *testing.T) {
	x := func(i int) float64 { return float64(i*2654435761%4096)/256 - 8 }
	j := &Job{Buffers: [][]byte{
		words(4*1000, func(i int) uint32 { return math.Float32bits(float32(x(i))) }),
		make([]byte, 16), make([]byte, 1024), make([]byte, 6*128),
		words(16*8, func(i int) uint32 { return uint32(i * 40503 * 65537) }), words(8*8, func(i int) uint32 { return uint32(i * 30011 * 65539) }), make([]byte, 16*8*4),
		make([]byte, 8),
	}}
	launch := func(k string, grid, block, shared int, args ...Arg) {
		j.Launches = append(j.Launches, Launch{Kernel: k, Grid: [3]int{grid}, Block: [3]int{block}, Shared: shared, Args: args})
	}
	launch("block_sum", 4, 256, 0, Pointer(1, 0), Pointer(0, 0), Number(1000))
	launch("reverse", 1, 64, 1024, Pointer(2, 0), Pointer(0, 0))
	launch("maths", 1, 32, 0, Pointer(3, 0), Pointer(0, 0))
	launch("tile", 1, 32, 0, Pointer(6, 0), Pointer(4, 0), Pointer(5, 0))
	launch("count", 3, 32, 0, Pointer(7, 0))
	launch("gate", 1, 32, 0, Pointer(7, 0))
	var first [][]byte
	for _, check := range []bool{false, true} {
		l := build(t, good, check)
		for _, s := range Schedules {
			for _, late := range []string{"", "5"} {
				out, err := l.Run(j, s, "QNC_EMU_LAZY="+late)
				if err != nil {
					t.Fatalf("check %v schedule %s: %v", check, s, err)
				}
				if first == nil {
					first = out
				}
				for i := range out {
					if !bytes.Equal(out[i], first[i]) {
						t.Errorf("check %v schedule %s: buffer %d differs", check, s, i)
					}
				}
			}
		}
	}
	for b, have := range floats(first[1]) {
		want := 0.0
		for i := range 1000 {
			want += x(b*1000 + i)
		}
		near(t, "block_sum", have, want, 1e-5)
	}
	for i, have := range floats(first[2]) {
		near(t, "reverse", have, x(255-i), 0)
	}
	maths := floats(first[3])
	for i := range 32 {
		v := x(i)
		near(t, "exp", maths[i], math.Exp(v), 2e-7)
		near(t, "sigmoid", maths[32+i], 1/(1+math.Exp(-v)), 2e-7)
		near(t, "softplus", maths[64+i], math.Log1p(math.Exp(v)), 2e-7)
		near(t, "log", maths[96+i], math.Log(float64(float32(math.Abs(v))+0.01)), 2e-7)
		near(t, "half", maths[128+i], v, 1e-3)
		near(t, "bf16", maths[160+i], v, 8e-3)
	}
	for i := range 128 {
		a, b, want := first[4][i/8*32:], first[5][i%8*32:], int32(0)
		for k := range 32 {
			want += int32(int8(a[k])) * int32(int8(b[k]))
		}
		if have := int32(binary.LittleEndian.Uint32(first[6][4*i:])); have != want {
			t.Errorf("tile[%d]: have %d, want %d", i, have, want)
		}
	}
	if binary.LittleEndian.Uint32(first[7][4:]) != 7 {
		t.Error("gate did not open")
	}
}

// TestFail injects errors.
func TestFail(t *testing.T) {
	l := build(t, good, false)
	j := &Job{Buffers: [][]byte{make([]byte, 64), make([]byte, 8)}, Launches: []Launch{{Kernel: "count", Grid: [3]int{1}, Block: [3]int{32}, Args: []Arg{Pointer(1, 0)}}}}
	for env, want := range map[string]string{
		"QNC_EMU_FAIL=cuMemAlloc:2=2":     "cuMemAlloc_v2: error 2",
		"QNC_EMU_FAIL=kernel count:1=700": "cuStreamSynchronize: error 700",
		"QNC_EMU_MEMORY=65":               "cuMemAlloc_v2: error 2",
		"CUDA_VISIBLE_DEVICES=":           "cuInit: error 100",
	} {
		if _, err := l.Run(j, "0", env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", env, err, want)
		}
	}
}
