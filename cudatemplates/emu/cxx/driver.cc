// A CUDA driver for tests: the entry points of libcuda that the runtime uses,
// over the emulator. Device memory is host memory that only kernels and copies
// may touch. Every operation is a node with dependencies, run by a thread of
// its device; how, these variables say:
//
//   QNC_EMU_DEVICES=n         devices (1)
//   QNC_EMU_MEMORY=a,b        bytes of each device (8 GiB)
//   QNC_EMU_ARCH=80           compute capability, times ten
//   QNC_EMU_DRIVER=13000      version of the driver
//   QNC_EMU_SCHEDULE=0|1|2    order of lanes, warps and blocks: up, down, random
//   QNC_EMU_WORKERS=n         OS threads for blocks (0: one a processor)
//   QNC_EMU_LAZY=seed         operations start in random order, as late as allowed
//   QNC_EMU_FAIL=cuMemAlloc:3=2,…   the third call gives error 2; "*" for every call;
//                             "kernel NAME:1=700": the first launch of NAME faults
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#define ENTRY extern "C" __attribute__((visibility("default"))) int

enum {
  invalid_value = 1, out_of_memory = 2, not_initialized = 3, no_device = 100, invalid_device = 101, invalid_context = 201,
  no_binary = 209, invalid_handle = 400, not_found = 500, not_ready = 600, launch_resources = 701,
  already_registered = 712, not_registered = 713, capture_unsupported = 900, capture_invalid = 901, capture_unjoined = 904, not_supported = 801,
};

namespace {
typedef std::function<int()> Job;

// A Node is an operation on its way.
struct Node {
  Job job;
  std::function<bool()> ready;  // null: as soon as what it depends on is done
  int device;
  int wait = 0;  // nodes that are not done
  bool done = false;
  std::chrono::steady_clock::time_point end;
  std::vector<std::shared_ptr<Node>> next;
};
typedef std::shared_ptr<Node> Ref;

// A Step is a node of a graph; deps are earlier nodes.
struct Step {
  int device;
  Job job;
  std::function<bool()> ready;
  std::vector<size_t> deps;
};
struct Graph { std::vector<Step> steps; };
struct Stream {
  int device;
  bool blocking;
  Ref tail;
  std::vector<Ref> joins;  // events that the next operation waits for
  Graph *capture = nullptr;
  bool origin = false;
  std::vector<size_t> captured;  // the last nodes
};
struct Event {
  Ref node;
  Graph *capture = nullptr;
  std::vector<size_t> captured;
};
struct Device {
  size_t total, used = 0;
  std::vector<Ref> queue;
  Stream null;
  bool started = false;
};
struct Memory { size_t size; int device; bool host; };
struct Fault { std::string what; int at, code, seen = 0; };  // at -1: always

// The devices' threads outlive main: what they use is never destroyed.
std::mutex mu;
auto &changed = *new std::condition_variable;
auto &devices = *new std::vector<Device>;
auto &streams = *new std::vector<Stream *>;
std::map<uint64_t, Memory> memory;
std::vector<Fault> faults;
int sticky, waiters, version = 13000, arch = 80;
bool lazy;
std::mt19937 dice;
std::chrono::steady_clock::time_point submitted;
thread_local int context = -1;
typedef std::unique_lock<std::mutex> Lock;

const char *env(const char *name) { const char *p = getenv(name); return p && *p ? p : nullptr; }

// fault counts a call and says which error it gives, 0 for none.
int fault(const std::string &what) {
  int rc = 0;
  for (auto &f : faults)
    if (f.what == what && (++f.seen == f.at || f.at < 0)) rc = f.code;
  return rc;
}

void configure() {
  static bool once;
  if (once) return;
  once = true;
  if (auto p = env("QNC_EMU_SCHEDULE")) emu::schedule = atoi(p);
  if (auto p = env("QNC_EMU_WORKERS"); p && !emu::workers) emu::workers = atoi(p);
  if (auto p = env("QNC_EMU_DRIVER")) version = atoi(p);
  if (auto p = env("QNC_EMU_ARCH")) arch = atoi(p);
  if (auto p = env("QNC_EMU_LAZY")) lazy = true, dice.seed((unsigned)atoi(p));
  int n = 1;
  if (auto p = env("QNC_EMU_DEVICES")) n = atoi(p);
  // as the driver has it: an empty list hides all devices
  if (auto p = getenv("CUDA_VISIBLE_DEVICES")) n = *p ? std::min(n, 1 + (int)std::count(p, p + strlen(p), ',')) : 0;
  devices.resize((size_t)n);
  const char *m = env("QNC_EMU_MEMORY");
  for (int i = 0; i < n; i++) {
    devices[i].total = 8ull << 30;
    devices[i].null = Stream{i, true, nullptr, {}, nullptr, false, {}};
    if (!m) continue;
    char *end;
    devices[i].total = strtoull(m, &end, 10);
    if (*end == ',') m = end + 1;
  }
  if (auto p = env("QNC_EMU_FAIL")) {
    std::string all = p;
    for (size_t a = 0; a < all.size();) {
      size_t b = std::min(all.find(',', a), all.size());
      std::string one = all.substr(a, b - a);
      size_t colon = one.rfind(':'), eq = one.rfind('=');
      if (colon == std::string::npos || eq == std::string::npos || eq < colon) emu::die("QNC_EMU_FAIL: \"%s\" is not name:call=error", one.c_str());
      std::string at = one.substr(colon + 1, eq - colon - 1);
      faults.push_back({one.substr(0, colon), at == "*" ? -1 : atoi(at.c_str()), atoi(one.c_str() + eq + 1)});
      a = b + 1;
    }
  }
}

// The devices' threads.

bool may_run(const Node &n) { return !n.wait && (!n.ready || n.ready()); }

void finish(const Ref &n, int rc) {
  if (rc && !sticky) sticky = rc;
  n->done = true;
  n->end = std::chrono::steady_clock::now();
  for (auto &m : n->next) m->wait--;
  n->next.clear();
  changed.notify_all();
}

void serve(int d) {
  Lock l(mu);
  for (;;) {
    auto &q = devices[d].queue;
    std::vector<size_t> can;
    for (size_t i = 0; i < q.size(); i++)
      if (may_run(*q[i])) {
        can.push_back(i);
        if (!lazy) break;
      }
    bool held = lazy && !waiters && std::chrono::steady_clock::now() - submitted < std::chrono::milliseconds(2);
    if (can.empty() || held) {
      if (q.empty())
        changed.wait(l);
      else
        changed.wait_for(l, std::chrono::microseconds(held ? 500 : 50));
      continue;
    }
    size_t i = can[lazy ? dice() % can.size() : 0];
    Ref n = q[i];
    q.erase(q.begin() + (long)i);
    Job job = std::move(n->job);
    int rc = sticky;
    if (!rc) {
      l.unlock();
      rc = job();
      l.lock();
    }
    finish(n, rc);
  }
}

void follow(const Ref &n, const Ref &before) {
  if (!before || before->done) return;
  before->next.push_back(n);
  n->wait++;
}

// enqueue puts a node on its device's queue.
Ref enqueue(int d, Job job, std::function<bool()> ready, const std::vector<Ref> &deps) {
  Ref n = std::make_shared<Node>();
  n->job = std::move(job);
  n->ready = std::move(ready);
  n->device = d;
  for (auto &b : deps) follow(n, b);
  if (!devices[d].started) {
    devices[d].started = true;
    std::thread(serve, d).detach();
  }
  devices[d].queue.push_back(n);
  submitted = std::chrono::steady_clock::now();
  changed.notify_all();
  return n;
}

// before is what the next operation of s waits for: the stream itself, events,
// and between the null stream and blocking ones each other.
std::vector<Ref> before(Stream *s) {
  std::vector<Ref> deps = std::move(s->joins);
  s->joins.clear();
  deps.push_back(s->tail);
  Stream *null = &devices[s->device].null;
  if (s == null) {
    for (auto t : streams)
      if (t->blocking && t->device == s->device) deps.push_back(t->tail);
  } else if (s->blocking) {
    deps.push_back(null->tail);
  }
  return deps;
}

int submit(Stream *s, Job job, std::function<bool()> ready = nullptr) {
  if (s->capture) {
    s->capture->steps.push_back({s->device, std::move(job), std::move(ready), s->captured});
    s->captured = {s->capture->steps.size() - 1};
    return 0;
  }
  s->tail = enqueue(s->device, std::move(job), std::move(ready), before(s));
  return 0;
}

void wait(Lock &l, const Ref &n) {
  if (!n) return;
  waiters++;
  changed.notify_all();
  changed.wait(l, [&] { return n->done; });
  waiters--;
}

// A call checks that the driver can be called at all.
struct Call {
  Lock l;
  int rc = 0;
  Call(const char *name, bool needs_context = true) : l(mu) {
    configure();
    if (!started)
      rc = not_initialized;
    else if (sticky)
      rc = sticky;
    else if (needs_context && context < 0)
      rc = invalid_context;
    if (int f = fault(name)) rc = f;
  }
  static bool started;
};
bool Call::started;

Stream *stream(void *s) {
  if (!s) return context < 0 ? nullptr : &devices[context].null;
  for (auto t : streams)
    if (t == s) return t;
  return nullptr;
}

// inside reports whether n bytes at a are in one allocation.
bool inside(uint64_t a, size_t n) {
  auto it = memory.upper_bound(a);
  if (it == memory.begin()) return false;
  --it;
  return a - it->first <= it->second.size && n <= it->second.size - (a - it->first);
}
}  // namespace

#define BEGIN(name) \
  Call c(name); \
  if (c.rc) return c.rc
#define STREAM(h) \
  Stream *s = stream(h); \
  if (!s) return invalid_handle

ENTRY cuInit(unsigned) {
  Lock l(mu);
  configure();
  if (int f = fault("cuInit")) return f;
  if (devices.empty()) return no_device;
  Call::started = true;
  return 0;
}
ENTRY cuDriverGetVersion(int *v) {
  Lock l(mu);
  configure();
  *v = version;
  return fault("cuDriverGetVersion");
}
ENTRY cuDeviceGetCount(int *n) {
  Call c("cuDeviceGetCount", false);
  *n = (int)devices.size();
  return c.rc;
}
ENTRY cuDeviceGet(int *d, int i) {
  Call c("cuDeviceGet", false);
  if (i < 0 || i >= (int)devices.size()) return invalid_device;
  *d = i;
  return c.rc;
}
ENTRY cuDeviceGetName(char *b, int n, int d) {
  Call c("cuDeviceGetName", false);
  if (d < 0 || d >= (int)devices.size()) return invalid_device;
  snprintf(b, (size_t)n, "emulated device %d", d);
  return c.rc;
}
ENTRY cuDeviceGetAttribute(int *v, int a, int d) {
  Call c("cuDeviceGetAttribute", false);
  if (d < 0 || d >= (int)devices.size()) return invalid_device;
  static const std::map<int, int> known = {{1, 1024}, {8, 48 << 10}, {10, 32}, {13, 1000000}, {16, 4}, {33, 1}, {36, 1000000}, {37, 256}, {39, 2048}, {40, 1}, {41, 1}, {81, 228 << 10}, {95, 1}, {97, (int)emu::shared_limit}};
  if (a == 75) *v = arch / 10;
  else if (a == 76) *v = arch % 10;
  else if (auto it = known.find(a); it != known.end()) *v = it->second;
  else *v = a == 33 || a == 34 ? d : 1;
  return c.rc;
}
ENTRY cuDeviceTotalMem_v2(size_t *n, int d) {
  Call c("cuDeviceTotalMem", false);
  if (d < 0 || d >= (int)devices.size()) return invalid_device;
  *n = devices[d].total;
  return c.rc;
}
ENTRY cuDeviceCanAccessPeer(int *can, int, int) {
  Call c("cuDeviceCanAccessPeer", false);
  *can = env("QNC_EMU_PEER") ? atoi(env("QNC_EMU_PEER")) : 1;
  return c.rc;
}
ENTRY cuMemGetInfo_v2(size_t *free, size_t *total) {
  BEGIN("cuMemGetInfo");
  *total = devices[context].total;
  *free = *total - devices[context].used;
  return 0;
}

// A context is its device's number plus one.
ENTRY cuDevicePrimaryCtxRetain(void **ctx, int d) {
  Call c("cuDevicePrimaryCtxRetain", false);
  if (c.rc) return c.rc;
  if (d < 0 || d >= (int)devices.size()) return invalid_device;
  *ctx = (void *)(uintptr_t)(d + 1);
  return 0;
}
ENTRY cuDevicePrimaryCtxRelease_v2(int) { return 0; }
ENTRY cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return 0; }
ENTRY cuCtxSetCurrent(void *ctx) {
  Call c("cuCtxSetCurrent", false);
  if (c.rc) return c.rc;
  if ((uintptr_t)ctx > devices.size()) return invalid_context;
  context = (int)(uintptr_t)ctx - 1;
  return 0;
}
ENTRY cuCtxGetCurrent(void **ctx) {
  *ctx = (void *)(uintptr_t)(context + 1);
  return 0;
}
ENTRY cuCtxEnablePeerAccess(void *, unsigned) {
  BEGIN("cuCtxEnablePeerAccess");
  return 0;
}
ENTRY cuCtxSynchronize() {
  BEGIN("cuCtxSynchronize");
  std::vector<Ref> all = {devices[context].null.tail};
  for (auto t : streams)
    if (t->device == context) all.push_back(t->tail);
  for (auto &n : all) wait(c.l, n);
  return sticky;
}

// Code: the kernels are those that the library was built with.
ENTRY cuModuleLoadDataEx(void **m, const void *image, unsigned, int *, void **) {
  BEGIN("cuModuleLoadDataEx");
  if (!image) return invalid_value;
  *m = (void *)(uintptr_t)(context + 1);
  return 0;
}
ENTRY cuModuleLoadData(void **m, const void *image) { return cuModuleLoadDataEx(m, image, 0, nullptr, nullptr); }
ENTRY cuModuleUnload(void *) { return 0; }
struct Function { std::string name; const emu::Kernel *kernel; size_t shared; };
ENTRY cuModuleGetFunction(void **f, void *, const char *name) {
  BEGIN("cuModuleGetFunction");
  const emu::Kernel *k = emu::find(name);
  if (!k) return not_found;
  *f = new Function{name, k, 48 << 10};
  return 0;
}
ENTRY cuFuncSetAttribute(void *f, int a, int v) {
  BEGIN("cuFuncSetAttribute");
  if (a == 8 && (v < 0 || (size_t)v > emu::shared_limit)) return invalid_value;
  if (a == 8) ((Function *)f)->shared = (size_t)v;
  return 0;
}
ENTRY cuFuncGetAttribute(int *v, int, void *) {
  BEGIN("cuFuncGetAttribute");
  *v = 0;
  return 0;
}
ENTRY cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *, int, size_t) {
  BEGIN("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  *n = 2;
  return 0;
}

// Memory.
static int allocate(uint64_t *p, size_t n, bool host) {
  if (!n) return invalid_value;
  Device &d = devices[context];
  if (!host && n > d.total - d.used) return out_of_memory;
  void *q = aligned_alloc(4096, (n + 4095) & ~(size_t)4095);
  if (!q) return out_of_memory;
  // what nobody has written is no number; far pages stay untouched
  memset(q, 0xff, std::min<size_t>(n, 64 << 20));
  memory[(uint64_t)q] = {n, context, host};
  if (!host) d.used += n;
  emu::allow(q, n);
  *p = (uint64_t)q;
  return 0;
}
static int release(uint64_t p, bool host) {
  auto it = memory.find(p);
  if (it == memory.end() || it->second.host != host) return invalid_value;
  if (!host) devices[it->second.device].used -= it->second.size;
  memory.erase(it);
  emu::forbid((void *)p);
  free((void *)p);
  return 0;
}
ENTRY cuMemAlloc_v2(uint64_t *p, size_t n) {
  BEGIN("cuMemAlloc");
  return allocate(p, n, false);
}
ENTRY cuMemFree_v2(uint64_t p) {
  BEGIN("cuMemFree");
  return release(p, false);
}
ENTRY cuMemHostAlloc(void **p, size_t n, unsigned) {
  BEGIN("cuMemHostAlloc");
  return allocate((uint64_t *)p, n, true);
}
ENTRY cuMemFreeHost(void *p) {
  BEGIN("cuMemFreeHost");
  return release((uint64_t)p, true);
}
ENTRY cuMemHostRegister_v2(void *p, size_t n, unsigned) {
  BEGIN("cuMemHostRegister");
  if (!p || !n) return invalid_value;
  if (inside((uint64_t)p, 1)) return already_registered;
  memory[(uint64_t)p] = {n, context, true};
  emu::allow(p, n);
  return 0;
}
ENTRY cuMemHostUnregister(void *p) {
  BEGIN("cuMemHostUnregister");
  if (!memory.erase((uint64_t)p)) return not_registered;
  emu::forbid(p);
  return 0;
}
ENTRY cuMemHostGetDevicePointer_v2(uint64_t *d, void *p, unsigned) {
  BEGIN("cuMemHostGetDevicePointer");
  if (!inside((uint64_t)p, 1)) return invalid_value;
  *d = (uint64_t)p;
  return 0;
}
static Job copy(void *to, const void *from, size_t n) {
  return [=] { memmove(to, from, n); return 0; };
}
ENTRY cuMemcpyHtoDAsync_v2(uint64_t d, const void *p, size_t n, void *h) {
  BEGIN("cuMemcpyHtoDAsync");
  STREAM(h);
  if (!inside(d, n)) return invalid_value;
  if (inside((uint64_t)p, n) || s->capture) return submit(s, copy((void *)d, p, n));
  // memory that is not pinned is read before the call returns
  auto data = std::make_shared<std::vector<char>>((const char *)p, (const char *)p + n);
  return submit(s, [=] { memcpy((void *)d, data->data(), n); return 0; });
}
ENTRY cuMemcpyDtoHAsync_v2(void *p, uint64_t d, size_t n, void *h) {
  BEGIN("cuMemcpyDtoHAsync");
  STREAM(h);
  if (!inside(d, n)) return invalid_value;
  int rc = submit(s, copy(p, (void *)d, n));
  if (!rc && !s->capture && !inside((uint64_t)p, n)) wait(c.l, s->tail);
  return rc ? rc : sticky;
}
ENTRY cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t p, size_t n, void *h) {
  BEGIN("cuMemcpyDtoDAsync");
  STREAM(h);
  if (!inside(d, n) || !inside(p, n)) return invalid_value;
  return submit(s, copy((void *)d, (void *)p, n));
}
ENTRY cuMemcpyPeerAsync(uint64_t d, void *, uint64_t p, void *, size_t n, void *h) {
  BEGIN("cuMemcpyPeerAsync");
  STREAM(h);
  if (!inside(d, n) || !inside(p, n)) return invalid_value;
  return submit(s, copy((void *)d, (void *)p, n));
}
ENTRY cuMemcpyHtoD_v2(uint64_t d, const void *p, size_t n) {
  int rc = cuMemcpyHtoDAsync_v2(d, p, n, nullptr);
  if (rc) return rc;
  BEGIN("cuMemcpyHtoD");
  wait(c.l, devices[context].null.tail);
  return sticky;
}
ENTRY cuMemcpyDtoH_v2(void *p, uint64_t d, size_t n) {
  int rc = cuMemcpyDtoHAsync_v2(p, d, n, nullptr);
  if (rc) return rc;
  BEGIN("cuMemcpyDtoH");
  wait(c.l, devices[context].null.tail);
  return sticky;
}
ENTRY cuMemsetD8Async(uint64_t d, unsigned char v, size_t n, void *h) {
  BEGIN("cuMemsetD8Async");
  STREAM(h);
  if (!inside(d, n)) return invalid_value;
  return submit(s, [=] { memset((void *)d, v, n); return 0; });
}
ENTRY cuMemsetD32Async(uint64_t d, unsigned v, size_t n, void *h) {
  BEGIN("cuMemsetD32Async");
  STREAM(h);
  if (!inside(d, n * 4)) return invalid_value;
  return submit(s, [=] { std::fill_n((unsigned *)d, n, v); return 0; });
}

// Streams and events.
ENTRY cuStreamCreate(void **h, unsigned flags) {
  BEGIN("cuStreamCreate");
  streams.push_back(new Stream{context, !(flags & 1), nullptr, {}, nullptr, false, {}});
  *h = streams.back();
  return 0;
}
ENTRY cuStreamDestroy_v2(void *h) {
  BEGIN("cuStreamDestroy");
  STREAM(h);
  streams.erase(std::find(streams.begin(), streams.end(), s));
  delete s;
  return 0;
}
ENTRY cuStreamSynchronize(void *h) {
  BEGIN("cuStreamSynchronize");
  STREAM(h);
  if (s->capture) return capture_unsupported;
  auto deps = before(s);
  for (auto &n : deps) wait(c.l, n);
  return sticky;
}
ENTRY cuStreamQuery(void *h) {
  BEGIN("cuStreamQuery");
  STREAM(h);
  return s->tail && !s->tail->done ? not_ready : sticky;
}
ENTRY cuStreamWaitEvent(void *h, void *e, unsigned) {
  BEGIN("cuStreamWaitEvent");
  STREAM(h);
  auto ev = (Event *)e;
  if (ev->capture) {
    if (s->capture && s->capture != ev->capture) return capture_unsupported;
    s->capture = ev->capture;
    s->captured.insert(s->captured.end(), ev->captured.begin(), ev->captured.end());
    return 0;
  }
  if (s->capture) return capture_unsupported;
  if (ev->node) s->joins.push_back(ev->node);
  return 0;
}
ENTRY cuEventCreate(void **e, unsigned) {
  BEGIN("cuEventCreate");
  *e = new Event;
  return 0;
}
ENTRY cuEventDestroy_v2(void *e) {
  BEGIN("cuEventDestroy");
  delete (Event *)e;
  return 0;
}
ENTRY cuEventRecord(void *e, void *h) {
  BEGIN("cuEventRecord");
  STREAM(h);
  auto ev = (Event *)e;
  ev->capture = s->capture;
  if (s->capture) {
    ev->captured = s->captured;
    return 0;
  }
  submit(s, [] { return 0; });
  ev->node = s->tail;
  return 0;
}
ENTRY cuEventSynchronize(void *e) {
  BEGIN("cuEventSynchronize");
  wait(c.l, ((Event *)e)->node);
  return sticky;
}
ENTRY cuEventQuery(void *e) {
  BEGIN("cuEventQuery");
  auto &n = ((Event *)e)->node;
  return n && !n->done ? not_ready : 0;
}
ENTRY cuEventElapsedTime(float *ms, void *a, void *b) {
  BEGIN("cuEventElapsedTime");
  auto &x = ((Event *)a)->node, &y = ((Event *)b)->node;
  if (!x || !y) return invalid_handle;
  if (!x->done || !y->done) return not_ready;
  *ms = std::chrono::duration<float, std::milli>(y->end - x->end).count();
  return 0;
}
ENTRY cuEventElapsedTime_v2(float *ms, void *a, void *b) { return cuEventElapsedTime(ms, a, b); }
ENTRY cuLaunchHostFunc(void *h, void (*f)(void *), void *u) {
  BEGIN("cuLaunchHostFunc");
  STREAM(h);
  return submit(s, [=] { f(u); return 0; });
}
ENTRY cuStreamWriteValue32_v2(void *h, uint64_t d, unsigned v, unsigned) {
  BEGIN("cuStreamWriteValue32");
  STREAM(h);
  if (!inside(d, 4) || d % 4) return invalid_value;
  return submit(s, [=] { __atomic_store_n((unsigned *)d, v, __ATOMIC_RELEASE); return 0; });
}
ENTRY cuStreamWaitValue32_v2(void *h, uint64_t d, unsigned v, unsigned flags) {
  BEGIN("cuStreamWaitValue32");
  STREAM(h);
  if (!inside(d, 4) || d % 4) return invalid_value;
  return submit(s, [] { return 0; }, [=] {
    unsigned x = __atomic_load_n((unsigned *)d, __ATOMIC_ACQUIRE);
    switch (flags & 3) {
      case 0: return (int)(x - v) >= 0;
      case 1: return x == v;
      case 2: return (x & v) != 0;
    }
    return ~(x | v) != 0;
  });
}

// Launches.
static int launch(void *f, emu::Dim grid, emu::Dim block, unsigned shared, void *h, void **args, bool cooperative) {
  STREAM(h);
  auto fn = (Function *)f;
  if (!fn || !args) return invalid_value;
  uint64_t threads = (uint64_t)block.x * block.y * block.z;
  if (!threads || threads > 1024 || !grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffff) return invalid_value;
  if (shared > fn->shared) return invalid_value;
  // arguments are read now, as the driver does: eight bytes hold each
  int n = fn->kernel->count;
  auto values = std::make_shared<std::vector<uint64_t>>((size_t)n);
  for (int i = 0; i < n; i++) memcpy(&(*values)[i], args[i], (size_t)fn->kernel->sizes[i]);
  return submit(s, [=] {
    {
      Lock l(mu);
      if (int rc = fault("kernel " + fn->name)) return rc;
    }
    std::vector<void *> p((size_t)n + 1);
    for (int i = 0; i < n; i++) p[i] = &(*values)[i];
    emu::launch({fn->kernel, fn->name.c_str(), grid, block, shared, p.data(), cooperative});
    return 0;
  });
}
ENTRY cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *h, void **args, void **) {
  BEGIN("cuLaunchKernel");
  return launch(f, {gx, gy, gz}, {bx, by, bz}, shared, h, args, false);
}
ENTRY cuLaunchCooperativeKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *h, void **args) {
  BEGIN("cuLaunchCooperativeKernel");
  return launch(f, {gx, gy, gz}, {bx, by, bz}, shared, h, args, true);
}

// Graphs.
ENTRY cuStreamBeginCapture_v2(void *h, int) {
  BEGIN("cuStreamBeginCapture");
  STREAM(h);
  if (!h || s->capture) return capture_unsupported;
  s->capture = new Graph;
  s->origin = true;
  s->captured.clear();
  return 0;
}
ENTRY cuStreamEndCapture(void *h, void **g) {
  BEGIN("cuStreamEndCapture");
  STREAM(h);
  if (!s->capture || !s->origin) return capture_invalid;
  Graph *graph = s->capture;
  // every node of the other streams must have come back to this one
  std::vector<bool> seen(graph->steps.size());
  std::vector<size_t> todo = s->captured;
  while (!todo.empty()) {
    size_t i = todo.back();
    todo.pop_back();
    if (seen[i]) continue;
    seen[i] = true;
    todo.insert(todo.end(), graph->steps[i].deps.begin(), graph->steps[i].deps.end());
  }
  for (auto t : streams)
    if (t->capture == graph) {
      t->capture = nullptr;
      t->captured.clear();
      t->origin = false;
    }
  if (std::find(seen.begin(), seen.end(), false) != seen.end()) {
    delete graph;
    *g = nullptr;
    return capture_unjoined;
  }
  *g = graph;
  return 0;
}
ENTRY cuStreamIsCapturing(void *h, int *status) {
  BEGIN("cuStreamIsCapturing");
  STREAM(h);
  *status = s->capture ? 1 : 0;
  return 0;
}
ENTRY cuGraphInstantiateWithFlags(void **x, void *g, unsigned long long) {
  BEGIN("cuGraphInstantiateWithFlags");
  if (!g) return invalid_value;
  *x = new Graph(*(Graph *)g);
  return 0;
}
ENTRY cuGraphUpload(void *, void *) {
  BEGIN("cuGraphUpload");
  return 0;
}
ENTRY cuGraphLaunch(void *x, void *h) {
  BEGIN("cuGraphLaunch");
  STREAM(h);
  if (!x || s->capture) return invalid_value;
  auto &steps = ((Graph *)x)->steps;
  std::vector<Ref> first = before(s), nodes;
  for (auto &t : steps) {
    std::vector<Ref> deps;
    for (size_t d : t.deps) deps.push_back(nodes[d]);
    if (t.deps.empty()) deps = first;
    nodes.push_back(enqueue(t.device, t.job, t.ready, deps));
  }
  if (steps.empty()) nodes = first;
  s->tail = enqueue(s->device, [] { return 0; }, nullptr, nodes);
  return 0;
}
ENTRY cuGraphGetNodes(void *g, void **, size_t *n) {
  BEGIN("cuGraphGetNodes");
  *n = ((Graph *)g)->steps.size();
  return 0;
}
ENTRY cuGraphDestroy(void *g) {
  BEGIN("cuGraphDestroy");
  delete (Graph *)g;
  return 0;
}
ENTRY cuGraphExecDestroy(void *g) {
  BEGIN("cuGraphExecDestroy");
  delete (Graph *)g;
  return 0;
}

ENTRY cuGetErrorName(int rc, const char **s) {
  static const std::map<int, const char *> names = {
      {0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {3, "CUDA_ERROR_NOT_INITIALIZED"}, {100, "CUDA_ERROR_NO_DEVICE"},
      {101, "CUDA_ERROR_INVALID_DEVICE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"}, {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {218, "CUDA_ERROR_INVALID_PTX"}, {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {400, "CUDA_ERROR_INVALID_HANDLE"}, {500, "CUDA_ERROR_NOT_FOUND"}, {600, "CUDA_ERROR_NOT_READY"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"},
      {801, "CUDA_ERROR_NOT_SUPPORTED"}, {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}, {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}, {904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"}};
  auto it = names.find(rc);
  *s = it == names.end() ? "CUDA_ERROR_UNKNOWN" : it->second;
  return 0;
}
ENTRY cuGetErrorString(int rc, const char **s) { return cuGetErrorName(rc, s); }
