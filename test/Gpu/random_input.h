//===- random_input.h - Inputs that two machines make alike ----------------===//
//
// A case for a GPU names its random inputs instead of carrying them: whoever runs
// it makes the same bits as whoever computed what to expect. So only arithmetic
// that is exact, or rounded alike everywhere, and none of the standard library's
// distributions.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_GPU_RANDOM_INPUT_H
#define TXC_TEST_GPU_RANDOM_INPUT_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace txc::test {

/// How one buffer is filled.
struct Filling {
  enum Kind : int {
    Normal,   ///< sums of four uniform numbers, of standard deviation `scale`
    Positive, ///< 0.1 and more
    Whole,    ///< 0 ... limit - 1; with `ignores`, a quarter is `ignored`
  };
  int kind = Normal;
  uint64_t seed = 1;
  double scale = 1;
  int64_t limit = 1;
  bool ignores = false;
  int64_t ignored = -1;
};

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
inline uint64_t nextRandom(uint64_t &state) {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

/// Each is a float.
inline std::vector<double> fill(const Filling &filling, size_t count) {
  std::vector<double> values(count);
  uint64_t state = filling.seed * 0x2545f4914f6cdd1dull;
  for (double &value : values) {
    uint64_t bits = nextRandom(state);
    if (filling.kind == Filling::Whole) {
      value = static_cast<double>(bits % static_cast<uint64_t>(filling.limit));
      if (filling.ignores && (bits >> 60) % 4 == 0)
        value = static_cast<double>(filling.ignored);
      continue;
    }
    // Four numbers of 16 bits: mean 131070, variance (2^32 - 1) / 3.
    int64_t sum = 0;
    for (int i = 0; i < 4; ++i)
      sum += static_cast<int64_t>(bits >> 16 * i & 0xffff);
    double normal = static_cast<double>(sum - 131070) * (1.7320508075688772 / 65536) * filling.scale;
    value = static_cast<float>(filling.kind == Filling::Positive ? 0.1 + std::fabs(normal) / 4 : normal);
  }
  return values;
}

/// The bits of the nearest bf16, ties to even.
inline uint16_t roundToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float fromBf16(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

} // namespace txc::test

#endif // TXC_TEST_GPU_RANDOM_INPUT_H
