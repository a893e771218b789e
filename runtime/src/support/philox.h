//===- philox.h - Counter-based random numbers ------------------------------===//
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
// as 1, 2, 3", 2011): a keyed bijection of 128-bit counters. A random number is
// a function of (key, counter), so it needs no state, no order and no device.
//
// Who uses which counters, so that no two uses of one seed meet:
//   dropout, init   key = seed; (element_lo, element_hi, site, step_lo), init
//                   with step_lo = 0xffffffff; sites are below 0xffffffff
//   batches         key = streamKey(seed, Stream::Train, EvalTrain or EvalVal);
//                   (row, attempt, step_lo, step_hi); see data/dataset.cpp
//   samples         key = streamKey(sample_seed, Stream::Sample);
//                   (index_lo, index_hi, text_lo, text_hi): token `index` of text
//                   number `text`; see sample/sampler.h
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_SUPPORT_PHILOX_H
#define TXC_RUNTIME_SUPPORT_PHILOX_H

#include <array>
#include <cstdint>

namespace txc {

using PhiloxBlock = std::array<uint32_t, 4>;

inline PhiloxBlock philox4x32(PhiloxBlock counter, uint64_t key) {
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t product0 = uint64_t(0xD2511F53u) * counter[0];
    uint64_t product1 = uint64_t(0xCD9E8D57u) * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Users of one seed that must not disturb each other.
enum class Stream : uint64_t { Train = 0, EvalTrain = 1, EvalVal = 2, Sample = 3 };

// A stream's own key: word 0 and 1 of the block of (stream_lo, stream_hi,
// 0xffffffff, 0xffffffff) under the seed.
inline uint64_t streamKey(uint64_t seed, uint64_t stream) {
  PhiloxBlock words = philox4x32({uint32_t(stream), uint32_t(stream >> 32), 0xffffffffu, 0xffffffffu}, seed);
  return words[0] | uint64_t(words[1]) << 32;
}

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_PHILOX_H
