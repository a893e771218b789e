//===- Philox.cpp - The counter-based generator, as the oracle has it ------===//

#include "txc/Interp/Philox.h"

#include <cmath>

namespace txc::interp {

std::array<uint32_t, 4> philox(uint64_t key, uint64_t element, uint32_t site, uint32_t step) {
  uint32_t k0 = key & 0xffffffffu, k1 = key >> 32;
  uint32_t c0 = element & 0xffffffffu, c1 = element >> 32, c2 = site, c3 = step;
  for (int round = 0; round < 10; ++round) {
    uint64_t left = uint64_t(c0) * 0xD2511F53u, right = uint64_t(c2) * 0xCD9E8D57u;
    uint32_t n0 = uint32_t(right >> 32) ^ c1 ^ k0, n2 = uint32_t(left >> 32) ^ c3 ^ k1;
    c1 = uint32_t(right);
    c3 = uint32_t(left);
    c0 = n0;
    c2 = n2;
    // The key schedule adds the golden ratio and sqrt(3) - 1, as fractions of 2^32.
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

double uniform(uint64_t key, uint64_t element, uint32_t site, uint32_t step) {
  return (philox(key, element, site, step)[0] >> 8) * 0x1p-24;
}

double normal(uint64_t key, uint64_t element, uint32_t site, uint32_t step) {
  std::array<uint32_t, 4> words = philox(key, element, site, step);
  double u1 = ((words[0] >> 8) + 1) * 0x1p-24, u2 = (words[1] >> 8) * 0x1p-24;
  return std::sqrt(-2 * std::log(u1)) * std::cos(2 * M_PI * u2);
}

} // namespace txc::interp
