// The checker: every load and store of kernels that are compiled with
// -fsanitize=thread (this file takes the place of that library) is compared
// with the memory that the device has and with the writes since the last
// barrier. Found: accesses outside of allocations or misaligned, and races in
// shared memory and between the threads or blocks of a launch in global memory.
// A read that a write of another block overtakes shows as a read after it when
// the blocks run in the other order.
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>

#include <map>

#include "emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace emu {
static bool checking;
static uint32_t launches;
static bool cooperative;

// A Mark is an access: who and between which rendezvous. Who is 1 + block*1024
// + thread, 0 nobody; of reads by several it is the last.
enum Readers : uint8_t { one, of_a_warp, of_a_block };
struct Mark {
  uint32_t launch, epoch, warp_epoch, who;
  Readers readers;
};

struct Range {
  unsigned char *from;
  size_t size;
  Mark *write;  // a byte each, or null for the emulator's own
};
static std::map<uintptr_t, Range> ranges;  // by end

static Mark *marks(size_t n) {
  void *p = mmap(nullptr, n * sizeof(Mark), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) die("no address space to check %zu bytes", n);
  return (Mark *)p;
}

void allow(void *p, size_t n) {
  if (!checking || !n) return;
  ranges[(uintptr_t)p + n] = {(unsigned char *)p, n, marks(n)};
}
void forbid(void *p) {
  for (auto it = ranges.upper_bound((uintptr_t)p); it != ranges.end() && it->second.from == p;) {
    if (it->second.write) munmap(it->second.write, it->second.size * sizeof(Mark));
    it = ranges.erase(it);
  }
}
void own(void *p, size_t n) {
  if (checking) ranges[(uintptr_t)p + n] = {(unsigned char *)p, n, nullptr};
}

static int own_image(dl_phdr_info *info, size_t, void *) {
  bool mine = false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto &h = info->dlpi_phdr[i];
    uintptr_t a = info->dlpi_addr + h.p_vaddr, p = (uintptr_t)&own_image;
    mine |= h.p_type == PT_LOAD && p >= a && p < a + h.p_memsz;
  }
  for (int i = 0; mine && i < info->dlpi_phnum; i++) {
    const auto &h = info->dlpi_phdr[i];
    if (h.p_type == PT_LOAD) own((void *)(info->dlpi_addr + h.p_vaddr), h.p_memsz);
  }
  return mine;
}

void begin(const Launch &l) {
  if (!checking) return;
  if (!launches++) dl_iterate_phdr(own_image, nullptr);
  static thread_local bool known;
  if (!known) own(&current, sizeof current);
  known = true;
  cooperative = l.cooperative;
}

static uint32_t who() {
  const Block &b = *current->block;
  uint32_t block = b.index.x + b.grid.x * (b.index.y + b.grid.y * b.index.z);
  return 1 + block * 1024 + (uint32_t)(current->warp - b.warp) * 32 + (uint32_t)current->lane;
}

// ordered reports whether the access m comes before what the present thread
// does; each block has shared memory of its own.
static bool ordered(const Mark &m, uint32_t self, bool shared) {
  if (!m.who || m.launch != launches || (m.who == self && m.readers == one)) return true;
  uint32_t a = m.who - 1, b = self - 1;
  if (a / 1024 != b / 1024) return shared || cooperative;
  if (m.epoch != current->block->epoch) return true;
  return m.readers != of_a_block && a / 32 == b / 32 && m.warp_epoch != current->warp->epoch;
}

static const int shared_marks = shared_limit;
static thread_local Mark *shared_write, *shared_read;

static void check_shared(size_t at, int n, bool write) {
  if (!shared_write) {
    shared_write = marks(shared_marks);
    shared_read = marks(shared_marks);
  }
  const Block &b = *current->block;
  if (b.dynamic && at + n > b.dynamic) die("shared memory is %zu bytes; a thread %s byte %zu", b.dynamic, write ? "writes" : "reads", at + n - 1);
  uint32_t self = who();
  Mark now = {launches, b.epoch, current->warp->epoch, self, one};
  for (size_t i = at; i < at + n; i++) {
    Mark &w = shared_write[i], &r = shared_read[i];
    if (!ordered(w, self, true)) die("race: shared byte %zu %s after thread %u wrote it, with no barrier between", i, write ? "written" : "read", (w.who - 1) % 1024);
    if (write) {
      if (!ordered(r, self, true)) die("race: shared byte %zu written after another thread read it, with no barrier between", i);
      w = now;
      r = Mark{};
    } else if (!ordered(r, self, true)) {
      Readers all = r.readers == of_a_block || (r.who - 1) / 32 != (self - 1) / 32 ? of_a_block : of_a_warp;
      r = now;
      r.readers = all;
    } else {
      r = now;
    }
  }
}

void access(void *p, int n, bool write) {
  Fiber *f = current;
  if (!checking || !f) return;
  unsigned char *a = (unsigned char *)p;
  if ((uintptr_t)a % n) die("%s of %d bytes at an address that they do not divide", write ? "write" : "read", n);
  if (a >= f->stack && a + n <= f->stack + (64 << 10)) return;
  size_t at = (size_t)(a - f->block->shared);
  if (at < shared_limit) {
    check_shared(at, n, write);
    return;
  }
  auto it = ranges.upper_bound((uintptr_t)a);
  if (it == ranges.end() || a < it->second.from || a + n > it->second.from + it->second.size) die("%s of %d bytes outside of all allocations", write ? "write" : "read", n);
  Range &r = it->second;
  if (!r.write) return;
  uint32_t self = who();
  for (int i = 0; i < n; i++) {
    Mark &m = r.write[a - r.from + i];
    if (!ordered(m, self, false)) {
      uint32_t o = m.who - 1;
      die("race: byte %zu of an allocation of %zu %s after block %u thread %u wrote it in the same launch", (size_t)(a - r.from) + i, r.size, write ? "written" : "read", o / 1024, o % 1024);
    }
    if (write) m = {launches, f->block->epoch, f->warp->epoch, self, one};
  }
}
}  // namespace emu

#define HOOK(name, n, write) \
  extern "C" void __tsan_##name(void *p) { emu::access(p, n, write); }
HOOK(read1, 1, false)
HOOK(read2, 2, false)
HOOK(read4, 4, false)
HOOK(read8, 8, false)
HOOK(read16, 16, false)
HOOK(write1, 1, true)
HOOK(write2, 2, true)
HOOK(write4, 4, true)
HOOK(write8, 8, true)
HOOK(write16, 16, true)
extern "C" {
static void each(void *p, size_t n, bool write) {
  for (size_t i = 0; i < n; i++) emu::access((char *)p + i, 1, write);
}
void __tsan_unaligned_read2(void *p) { each(p, 2, false); }
void __tsan_unaligned_read4(void *p) { each(p, 4, false); }
void __tsan_unaligned_read8(void *p) { each(p, 8, false); }
void __tsan_unaligned_read16(void *p) { each(p, 16, false); }
void __tsan_unaligned_write2(void *p) { each(p, 2, true); }
void __tsan_unaligned_write4(void *p) { each(p, 4, true); }
void __tsan_unaligned_write8(void *p) { each(p, 8, true); }
void __tsan_unaligned_write16(void *p) { each(p, 16, true); }
void __tsan_read_range(void *p, size_t n) { each(p, n, false); }
void __tsan_write_range(void *p, size_t n) { each(p, n, true); }
void __tsan_vptr_update(void **, void *) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {
  emu::checking = true;
  emu::workers = 1;
}
}
