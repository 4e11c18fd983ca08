// Between the parts of the emulator: what no kernel sees.
#pragma once
#include "fiber.h"

namespace emu {
extern int schedule;  // of lanes, warps and blocks: 0 up, 1 down, 2 random
extern int workers;   // OS threads; 0: one a processor
const size_t shared_limit = 227 << 10;

struct Launch {
  const Kernel *kernel;
  const char *name;
  Dim grid, block;
  size_t shared;  // dynamic
  void **args;
  bool cooperative;
};
void launch(const Launch &l);

// The checker (check.cc): memory that kernels may touch, memory of the
// emulator that they touch through fiber.h, and each access.
void allow(void *p, size_t n);
void forbid(void *p);
void own(void *p, size_t n);
void begin(const Launch &l);
void access(void *p, int n, bool write);
}  // namespace emu
