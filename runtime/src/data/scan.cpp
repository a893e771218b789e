//===- scan.cpp - The largest token of a range ------------------------------===//
//
// Plain loops that the compiler turns into vector maxima; a file of its own
// because it is compiled with -O3 in every build type, and once for AVX2.
//
//===----------------------------------------------------------------------===//
#include "data/scan.h"

// What picks a clone runs while the program is loaded, before the thread sanitizer
// that it would call is there.
#if defined(__SANITIZE_THREAD__)
#define TXC_CLONES
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TXC_CLONES
#endif
#endif
#ifndef TXC_CLONES
#define TXC_CLONES __attribute__((target_clones("avx2", "default")))
#endif

namespace txc::data {

TXC_CLONES uint32_t largestToken(const uint16_t *tokens, size_t count) {
  uint16_t largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = tokens[i] > largest ? tokens[i] : largest;
  return largest;
}

TXC_CLONES uint32_t largestToken(const uint32_t *tokens, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = tokens[i] > largest ? tokens[i] : largest;
  return largest;
}

} // namespace txc::data
