// Runs a job, kernels over buffers, through a CUDA driver: the emulated one or
// a real one. runner LIBCUDA IMAGE reads the job from stdin and writes the
// buffers, as they are afterwards, to stdout.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <vector>

static void fail(const char *what, int rc) {
  fprintf(stderr, "runner: %s: error %d\n", what, rc);
  exit(1);
}
static void *lib;
template <class... A> static void call(const char *name, A... a) {
  auto f = (int (*)(A...))dlsym(lib, name);
  if (!f) fail(name, -1);
  if (int rc = f(a...)) fail(name, rc);
}
template <class T> static T get() {
  T v;
  if (fread(&v, sizeof v, 1, stdin) != 1) fail("the job ends too early", 0);
  return v;
}
static std::string bytes() {
  std::string s(get<uint64_t>(), 0);
  if (fread(&s[0], 1, s.size(), stdin) != s.size()) fail("the job ends too early", 0);
  return s;
}

int main(int argc, char **argv) {
  if (argc != 3) fail("usage: runner LIBCUDA IMAGE", 0);
  if (!(lib = dlopen(argv[1], RTLD_NOW))) fail(dlerror(), 0);
  std::string image = "x";
  if (FILE *f = fopen(argv[2], "rb")) {
    image.clear();
    char b[4096];
    for (size_t n; (n = fread(b, 1, sizeof b, f));) image.append(b, n);
  }
  int device;
  void *ctx, *mod, *stream;
  call("cuInit", 0u);
  call("cuDeviceGet", &device, 0);
  call("cuDevicePrimaryCtxRetain", &ctx, device);
  call("cuCtxSetCurrent", ctx);
  call("cuModuleLoadDataEx", &mod, (const void *)image.c_str(), 0u, (int *)nullptr, (void **)nullptr);
  call("cuStreamCreate", &stream, 1u);
  std::vector<uint64_t> buffer(get<uint32_t>()), size(buffer.size());
  for (size_t i = 0; i < buffer.size(); i++) {
    std::string data = bytes();
    size[i] = data.size();
    call("cuMemAlloc_v2", &buffer[i], data.size());
    call("cuMemcpyHtoD_v2", buffer[i], (const void *)data.data(), data.size());
  }
  for (uint32_t n = get<uint32_t>(); n; n--) {
    std::string name = bytes();
    unsigned g[3], b[3];
    for (unsigned &x : g) x = get<uint32_t>();
    for (unsigned &x : b) x = get<uint32_t>();
    unsigned shared = get<uint32_t>(), cooperative = get<uint32_t>();
    std::vector<uint64_t> values(get<uint32_t>());
    std::vector<void *> args;
    for (uint64_t &v : values) {
      int32_t of = get<int32_t>();
      v = get<uint64_t>();
      if (of >= 0) v += buffer.at((size_t)of);
      args.push_back(&v);
    }
    void *fn;
    call("cuModuleGetFunction", &fn, mod, name.c_str());
    if (shared > 48 << 10) call("cuFuncSetAttribute", fn, 8, (int)shared);
    if (cooperative)
      call("cuLaunchCooperativeKernel", fn, g[0], g[1], g[2], b[0], b[1], b[2], shared, stream, args.data());
    else
      call("cuLaunchKernel", fn, g[0], g[1], g[2], b[0], b[1], b[2], shared, stream, args.data(), (void **)nullptr);
  }
  call("cuStreamSynchronize", stream);
  for (size_t i = 0; i < buffer.size(); i++) {
    std::string data(size[i], 0);
    call("cuMemcpyDtoH_v2", (void *)&data[0], buffer[i], data.size());
    fwrite(data.data(), 1, data.size(), stdout);
  }
  return fflush(stdout);
}
