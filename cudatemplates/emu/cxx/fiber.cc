// The scheduler of fiber.h: a block's threads on one OS thread, blocks on several.
#include "fiber.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#if !defined(__x86_64__)
#error "the emulator's fibers are written for x86-64"
#endif

extern "C" void emu_switch(void **save, void *to);
asm(R"(
.text
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");

namespace emu {
thread_local Fiber *current;
int schedule, workers;
static const size_t stack_bytes = 64 << 10;

// A Team is what one OS thread needs to run blocks.
struct Team {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<Block> blocks;
  unsigned char *stacks = nullptr, *smem = nullptr;
  size_t stacks_size = 0, smem_size = 0;

  void *main = nullptr;
  size_t used = 0, at = 0;  // warps
  const Kernel *kernel = nullptr;
  const char *name = "";
  void **args = nullptr;
  size_t live = 0;  // blocks
  uint32_t epoch = 0, random = 1;
  unsigned idle = 0;

  void reserve(size_t nblocks, size_t nthreads, size_t nwarps);
  ~Team();
};
static thread_local Team *team;

void die(const char *format, ...) {
  va_list a;
  va_start(a, format);
  fprintf(stderr, "emulator: ");
  vfprintf(stderr, format, a);
  va_end(a);
  if (current) {
    const Dim &b = current->block->index, &t = current->thread;
    fprintf(stderr, " (kernel %s block %u,%u,%u thread %u,%u)", team->name, b.x, b.y, b.z, t.x, t.y);
  }
  fputc('\n', stderr);
  _exit(86);
}

static void *map(size_t n) {
  void *p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) die("no memory for %zu bytes of stacks", n);
  return p;
}

template <class T> static void grow(std::vector<T> &v, size_t n) {
  if (v.size() >= n) return;
  forbid(v.data());
  v.resize(n);
  own(v.data(), n * sizeof(T));
}

void Team::reserve(size_t nblocks, size_t nthreads, size_t nwarps) {
  grow(fibers, nblocks * nthreads);
  grow(warps, nblocks * nwarps);
  grow(blocks, nblocks);
  size_t n = nblocks * nthreads * stack_bytes;
  if (n > stacks_size) {
    if (stacks) munmap(stacks, stacks_size);
    stacks = (unsigned char *)map(stacks_size = n);
  }
  n = nblocks * shared_limit;
  if (n > smem_size) {
    if (smem) munmap(smem, smem_size);
    smem = (unsigned char *)map(smem_size = n);
  }
}

Team::~Team() {
  if (stacks) munmap(stacks, stacks_size);
  if (smem) munmap(smem, smem_size);
}

static int pick(uint32_t ready) {
  switch (schedule) {
    case 0: return __builtin_ctz(ready);
    case 1: return 31 - __builtin_clz(ready);
  }
  team->random = team->random * 1664525u + 1013904223u;
  for (int n = (team->random >> 16) % __builtin_popcount(ready); n; n--) ready &= ready - 1;
  return __builtin_ctz(ready);
}

// next finds a fiber that can run: one of this warp, else of the warps in turn.
static Fiber *next(Fiber *self, bool rotate) {
  Warp *w = self ? self->warp : nullptr;
  if (w && w->ready && !rotate) return w->fiber[pick(w->ready)];
  for (size_t i = 0; i < team->used; i++) {
    if (schedule == 1)
      team->at = team->at ? team->at - 1 : team->used - 1;
    else if (++team->at >= team->used)
      team->at = 0;
    Warp &v = team->warps[team->at];
    if (v.ready) return v.fiber[pick(v.ready)];
  }
  return nullptr;
}

static void reschedule(Fiber *self, bool rotate = false) {
  Fiber *n = next(self, rotate);
  if (n == self && n) return;
  void *dropped;
  void **save = self ? &self->sp : &dropped;
  if (!n) {
    if (team->live) die("deadlock: a barrier or collective is reached by part of its threads only");
    emu_switch(save, team->main);
    return;
  }
  current = n;
  emu_switch(save, n->sp);
}

void yield() {
  // all threads may be waiting for the host
  if (++team->idle % 4096 == 0) usleep(50);
  reschedule(current, true);
}

static void release_barrier(Block *b) {
  b->waiting = 0;
  b->epoch = ++team->epoch;
  for (int i = 0; i < b->warps; i++)
    for (int j = 0; j < b->warp[i].lanes; j++) {
      Fiber *f = b->warp[i].fiber[j];
      if (!f->waits) continue;
      f->waits = false;
      b->warp[i].ready |= 1u << j;
    }
}

void barrier(int line) {
  Fiber *f = current;
  if (f->block->waiting && f->block->line != line) die("threads of one block wait at the barriers of lines %d and %d", f->block->line, line);
  f->block->line = line;
  f->waits = true;
  f->warp->ready &= ~(1u << f->lane);
  if (++f->block->waiting == f->block->live) release_barrier(f->block);
  reschedule(f);
}

void collective(uint32_t mask, Op op) {
  Fiber *f = current;
  Warp &w = *f->warp;
  uint32_t bit = 1u << f->lane;
  if (!(mask & bit)) die("lane %d is not in its own mask %08x", f->lane, mask);
  if (w.lanes < 32) mask &= (1u << w.lanes) - 1;
  if (mask & ~w.live) die("a collective names a thread that has exited (mask %08x, live %08x)", mask, w.live);
  if (uint32_t others = w.arrived & mask) {
    if (w.slot[__builtin_ctz(others)].mask != mask) die("lanes of one warp wait with different masks");
    if (w.op != op) die("lanes of one warp wait in different collectives");
  }
  w.slot[f->lane].mask = mask;
  w.op = op;
  w.arrived |= bit;
  if ((w.arrived & mask) == mask) {  // the last goes on at once
    w.arrived &= ~mask;
    if (mask == w.live) w.epoch = ++team->epoch;
    if (op) op(w, mask);
    w.ready |= mask;
    return;
  }
  w.ready &= ~bit;
  reschedule(f);
}

void *shared(size_t n) {
  if (n > 48 << 10) die("%zu bytes of static shared memory: 49152 at most", n);
  return current->block->shared;
}
void *dynamic() { return current->block->shared; }

static void entry() {
  for (;;) {
    Fiber *f = current;
    team->kernel->call(team->kernel->fn, team->args);
    f = current;
    Warp &w = *f->warp;
    Block *b = f->block;
    if (f->copies) die("exit with asynchronous copies on their way");
    w.live &= ~(1u << f->lane);
    w.ready &= ~(1u << f->lane);
    for (int j = 0; j < 32; j++)
      if (w.arrived >> j & 1 && w.slot[j].mask >> f->lane & 1) die("a thread exits while its warp waits for it");
    if (--b->live == 0)
      team->live--;
    else if (b->waiting == b->live)
      release_barrier(b);
    reschedule(f);
  }
}

static Dim at(size_t i, Dim d) { return Dim{(unsigned)(i % d.x), (unsigned)(i / d.x % d.y), (unsigned)(i / d.x / d.y)}; }

// run_blocks runs count blocks at once, from block first on.
static void run_blocks(const Launch &l, size_t first, size_t count) {
  static thread_local Team mine;
  team = &mine;
  size_t nthreads = (size_t)l.block.x * l.block.y * l.block.z, nwarps = (nthreads + 31) / 32;
  mine.reserve(count, nthreads, nwarps);
  mine.used = count * nwarps;
  mine.kernel = l.kernel;
  mine.name = l.name;
  mine.args = l.args;
  mine.live = count;
  mine.at = 0;
  mine.random = (uint32_t)first * 2654435761u + 1;
  for (size_t i = 0; i < count; i++) {
    Block &b = mine.blocks[i];
    b = Block{at(first + i, l.grid), l.block, l.grid, (int)nwarps, (int)nthreads, 0, 0, ++mine.epoch, &mine.warps[i * nwarps], mine.smem + i * shared_limit, l.shared};
    memset(b.shared, 0xff, l.shared ? l.shared : 48 << 10);
    for (size_t t = 0; t < nthreads; t++) {
      Warp &w = b.warp[t / 32];
      Fiber &f = mine.fibers[i * nthreads + t];
      if (t % 32 == 0) {
        w.lanes = nthreads - t < 32 ? (int)(nthreads - t) : 32;
        w.live = w.ready = w.lanes == 32 ? 0xffffffffu : (1u << w.lanes) - 1;
        w.arrived = 0;
        w.epoch = ++mine.epoch;
      }
      w.fiber[t % 32] = &f;
      f.warp = &w;
      f.block = &b;
      f.thread = at(t, l.block);
      f.lane = (int)(t % 32);
      f.waits = false;
      f.copies = f.group = 0;
      f.stack = mine.stacks + (i * nthreads + t) * stack_bytes;
      // stacks of neighbours start on different cache sets
      void **sp = (void **)(f.stack + stack_bytes - (i * nthreads + t) % 61 * 64);
      *--sp = nullptr;
      *--sp = (void *)entry;
      for (int r = 0; r < 6; r++) *--sp = nullptr;
      f.sp = sp;
    }
  }
  if (schedule == 1) mine.at = mine.used - 1;
  Warp &w = mine.warps[mine.at];
  current = w.fiber[pick(w.ready)];
  emu_switch(&mine.main, current->sp);
  current = nullptr;
}

void launch(const Launch &l) {
  size_t n = (size_t)l.grid.x * l.grid.y * l.grid.z;
  begin(l);
  if (l.cooperative) {
    run_blocks(l, 0, n);
    return;
  }
  size_t threads = workers ? workers : std::thread::hardware_concurrency();
  if (n * l.block.x < 8192) threads = 1;  // not worth a thread
  if (threads > n) threads = n;
  std::atomic<size_t> next{0};
  auto body = [&] {
    for (size_t i; (i = schedule == 1 ? n - 1 - next++ : next++) < n;) run_blocks(l, i, 1);
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < threads; i++) others.emplace_back(body);
  body();
  for (auto &t : others) t.join();
}

// Collectives.

static void op_shuffle(Warp &w, uint32_t mask) {
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    int s = w.slot[i].source;
    if (!(mask >> s & 1)) die("a shuffle reads lane %d, which is not in the mask", s);
    w.slot[i].out[0] = w.slot[s].in[0];
  }
}
uint32_t shuffle(uint32_t mask, uint32_t v, int source) {
  mine().in[0] = v;
  mine().source = source;
  collective(mask, op_shuffle);
  return mine().out[0];
}
static void op_ballot(Warp &w, uint32_t mask) {
  uint32_t b = 0;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1 && w.slot[i].in[0]) b |= 1u << i;
  for (int i = 0; i < 32; i++) w.slot[i].out[0] = b;
}
uint32_t ballot(uint32_t mask, bool p) {
  mine().in[0] = p;
  collective(mask, op_ballot);
  return mine().out[0];
}
// tree is the butterfly of warp_sum and warp_max in one rendezvous.
template <class T, T (*f)(T, T)> static void tree(Warp &w, uint32_t mask) {
  if (mask != 0xffffffffu) die("a sum over part of a warp");
  T v[32], u[32];
  for (int i = 0; i < 32; i++) v[i] = from<T>(w.slot[i].in[0]);
  for (int o = 16; o; o >>= 1) {
    for (int i = 0; i < 32; i++) u[i] = f(v[i], v[i ^ o]);
    memcpy(v, u, sizeof v);
  }
  for (int i = 0; i < 32; i++) w.slot[i].out[0] = bits(v[i]);
}
template <class T> static T plus(T a, T b) { return a + b; }
static float greater(float a, float b) { return max_f(a, b); }
template <class T> static T over(T v, Op op) {
  mine().in[0] = bits(v);
  collective(0xffffffffu, op);
  return from<T>(mine().out[0]);
}
float sum(float v) { return over(v, tree<float, plus<float>>); }
int sum(int v) { return over(v, tree<int, plus<int>>); }
static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }
uint32_t most(uint32_t v) { return over(v, tree<uint32_t, larger>); }
float most(float v) { return over(v, tree<float, greater>); }

void mma(uint32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Op op) {
  Slot &s = mine();
  memcpy(s.in, a, 16);
  memcpy(s.in + 4, b, 8);
  memcpy(s.out, d, 16);
  collective(0xffffffffu, op);
  memcpy(d, s.out, 16);
}
// tile gathers A[16] and B[8], rows of 8 words, from the lanes.
template <class T> static void tile(Warp &w, T (&A)[16][32 / sizeof(T)], T (&B)[8][32 / sizeof(T)]) {
  const int n = 4 / sizeof(T);
  for (int i = 0; i < 32; i++) {
    int g = i / 4, t = i % 4 * n;
    const uint32_t *p = w.slot[i].in;
    memcpy(&A[g][t], p, 4);
    memcpy(&A[g + 8][t], p + 1, 4);
    memcpy(&A[g][t + 4 * n], p + 2, 4);
    memcpy(&A[g + 8][t + 4 * n], p + 3, 4);
    memcpy(&B[g][t], p + 4, 4);
    memcpy(&B[g][t + 4 * n], p + 5, 4);
  }
}
void op_s8(Warp &w, uint32_t) {
  int8_t A[16][32], B[8][32];
  tile(w, A, B);
  for (int i = 0; i < 32; i++)
    for (int q = 0; q < 4; q++) {
      const int8_t *a = A[i / 4 + q / 2 * 8], *b = B[i % 4 * 2 + q % 2];
      int s = (int)w.slot[i].out[q];
      for (int k = 0; k < 32; k++) s += a[k] * b[k];
      w.slot[i].out[q] = (uint32_t)s;
    }
}
void op_bf16(Warp &w, uint32_t) {
  uint16_t A[16][16], B[8][16];
  tile(w, A, B);
  for (int i = 0; i < 32; i++)
    for (int q = 0; q < 4; q++) {
      const uint16_t *a = A[i / 4 + q / 2 * 8], *b = B[i % 4 * 2 + q % 2];
      double s = from<float>(w.slot[i].out[q]);
      for (int k = 0; k < 16; k++) s += (double)from<float>((uint32_t)a[k] << 16) * from<float>((uint32_t)b[k] << 16);
      w.slot[i].out[q] = bits((float)s);
    }
}

// Memory. An asynchronous copy happens at its wait; till then its target is poison.

void async(void *to, const void *from) {
  Fiber *f = current;
  if (f->copies == 64) die("more than 64 asynchronous copies on their way");
  if ((uintptr_t)to % 16 || (uintptr_t)from % 16) die("an asynchronous copy is not aligned to 16 bytes");
  access(to, 16, true);
  access((void *)from, 16, false);
  memset(to, 0xff, 16);
  f->copy[f->copies++] = {to, from, f->group};
}
void async_wait(int groups) {
  Fiber *f = current;
  int left = 0;
  for (int i = 0; i < f->copies; i++) {
    Copy c = f->copy[i];
    if (c.group < f->group - groups)
      memcpy(c.to, c.from, 16);
    else
      f->copy[left++] = c;
  }
  f->copies = left;
}
int add(int *p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
uint32_t acquire(const uint32_t *p) {
  uint32_t v = __atomic_load_n(p, __ATOMIC_ACQUIRE);
  yield();
  return v;
}
void release(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
void add_release(uint32_t *p, uint32_t v) { __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL); }

float half(uint16_t h) {
  _Float16 f;
  memcpy(&f, &h, 2);
  return (float)f;
}
uint16_t half(float f) {
  _Float16 g = (_Float16)f;
  uint16_t h;
  memcpy(&h, &g, 2);
  return h;
}
float root(float f) { return sqrtf(f); }
float even(float f) { return rintf(f); }

// The table of kernels.
static std::map<std::string, Kernel> &table() {
  static std::map<std::string, Kernel> t;
  return t;
}
Register::Register(const char *name, Kernel k) { table()[name] = k; }
const Kernel *find(const char *name) {
  auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}
}  // namespace emu
