//===- scan.cpp - The largest token of a range ------------------------------===//
//
// Plain loops that the compiler turns into vector maxima; a file of its own
// because it is compiled with -O3 in every build type, and once for AVX2.
//
//===----------------------------------------------------------------------===//
#include "data/scan.h"

namespace txc::data {

__attribute__((target_clones("avx2", "default"))) uint32_t largestToken(const uint16_t *tokens,
                                                                        size_t count) {
  uint16_t largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = tokens[i] > largest ? tokens[i] : largest;
  return largest;
}

__attribute__((target_clones("avx2", "default"))) uint32_t largestToken(const uint32_t *tokens,
                                                                        size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i)
    largest = tokens[i] > largest ? tokens[i] : largest;
  return largest;
}

} // namespace txc::data
