#include "kernels.h"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)

#define ISA avx512
#define TARGET __attribute__((target("avx512f,avx512vl,fma")))
#define LANES 16
#define VECTORS 2
#define ROWS 12
#include "kernels.inl"

#define ISA avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define VECTORS 2
#define ROWS 6
#include "kernels.inl"

#endif

#define ISA portable
#define TARGET
#define LANES 4
#define VECTORS 4
#define ROWS 6
#include "kernels.inl"

namespace asrkit {

std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) {
    found.push_back(&avx512::kernels);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    found.push_back(&avx2::kernels);
  }
#endif
  found.push_back(&portable::kernels);
  return found;
}

}  // namespace asrkit
