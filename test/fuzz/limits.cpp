//===- limits.cpp - A second of CPU time per input ---------------------------===//
//
// libFuzzer's own limit is of wall time, which a loaded machine exceeds for no
// fault of the target. Under libFuzzer a target's LLVMFuzzerTestOneInput is
// compiled as txcFuzzOneInput and called from here.
//
//===----------------------------------------------------------------------===//
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

extern "C" int txcFuzzOneInput(const uint8_t *data, size_t size);

static double cpuSeconds() {
  timespec time;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const double start = cpuSeconds();
  int result = txcFuzzOneInput(data, size);
  if (double took = cpuSeconds() - start; took > 1) {
    std::fprintf(stderr, "error: an input of %zu bytes took %.2f s of CPU time; the limit is 1 s\n", size,
                 took);
    std::abort();
  }
  return result;
}
