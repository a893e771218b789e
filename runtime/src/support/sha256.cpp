//===- sha256.cpp - SHA-256 (FIPS 180-4) ------------------------------------===//
#include "support/sha256.h"

#include "support/text.h"

#include <algorithm>
#include <bit>
#include <cpuid.h>
#include <cstring>
#include <immintrin.h>

namespace txc {

// First 32 bits of the fractional parts of the cube roots of the first 64 primes.
static constexpr uint32_t roundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// The processor's instructions for it do two rounds each on the state as two vectors, (a, b,
// e, f) and (c, d, g, h) with a and c in their highest words, and make four words of the
// schedule at a time; four times as fast as the loop below.
static bool hasInstructions() {
  unsigned a, b, c, d;
  const bool wide = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) && (c & bit_SSE4_1);
  return wide && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void blockByInstructions(uint32_t *state,
                                                                            const uint8_t *bytes) {
  const __m128i bigEndian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef = _mm_set_epi32(int(state[0]), int(state[1]), int(state[4]), int(state[5]));
  __m128i cdgh = _mm_set_epi32(int(state[2]), int(state[3]), int(state[6]), int(state[7]));
  const __m128i abefBefore = abef, cdghBefore = cdgh;
  __m128i words[4]; // the last sixteen of the schedule
  for (int i = 0; i < 16; ++i) {
    __m128i &next = words[i % 4];
    if (i < 4) {
      next = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes) + i);
      next = _mm_shuffle_epi8(next, bigEndian);
    } else {
      // w[t] = w[t-16] + s0(w[t-15]) + w[t-7] + s1(w[t-2])
      const __m128i &after = words[(i + 1) % 4], &late = words[(i + 2) % 4], &last = words[(i + 3) % 4];
      next = _mm_sha256msg1_epu32(next, after);
      next = _mm_add_epi32(next, _mm_alignr_epi8(last, late, 4));
      next = _mm_sha256msg2_epu32(next, last);
    }
    const __m128i constants = _mm_loadu_si128(reinterpret_cast<const __m128i *>(roundConstants) + i);
    const __m128i sums = _mm_add_epi32(next, constants);
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sums);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sums, 0x0e));
  }
  abef = _mm_add_epi32(abef, abefBefore);
  cdgh = _mm_add_epi32(cdgh, cdghBefore);
  uint32_t first[4], second[4];
  _mm_storeu_si128(reinterpret_cast<__m128i *>(first), abef);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(second), cdgh);
  state[0] = first[3], state[1] = first[2], state[4] = first[1], state[5] = first[0];
  state[2] = second[3], state[3] = second[2], state[6] = second[1], state[7] = second[0];
}

void Sha256::block(const uint8_t *bytes) {
  static const bool instructions = hasInstructions();
  if (instructions && !portable_)
    return blockByInstructions(state_.data(), bytes);
  uint32_t schedule[64];
  for (int i = 0; i < 16; ++i)
    schedule[i] = uint32_t(bytes[4 * i]) << 24 | uint32_t(bytes[4 * i + 1]) << 16 |
                  uint32_t(bytes[4 * i + 2]) << 8 | uint32_t(bytes[4 * i + 3]);
  for (int i = 16; i < 64; ++i) {
    uint32_t early = schedule[i - 15], late = schedule[i - 2];
    uint32_t s0 = std::rotr(early, 7) ^ std::rotr(early, 18) ^ (early >> 3);
    uint32_t s1 = std::rotr(late, 17) ^ std::rotr(late, 19) ^ (late >> 10);
    schedule[i] = schedule[i - 16] + s0 + schedule[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (int i = 0; i < 64; ++i) {
    uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + roundConstants[i] + schedule[i];
    uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t words[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i)
    state_[i] += words[i];
}

void Sha256::update(const void *data, size_t count) {
  auto *bytes = static_cast<const uint8_t *>(data);
  total_ += count;
  while (count > 0) {
    if (pendingCount_ == 0 && count >= 64) {
      block(bytes);
      bytes += 64, count -= 64;
      continue;
    }
    size_t part = std::min(count, 64 - pendingCount_);
    std::memcpy(pending_.data() + pendingCount_, bytes, part);
    pendingCount_ += part, bytes += part, count -= part;
    if (pendingCount_ == 64) {
      block(pending_.data());
      pendingCount_ = 0;
    }
  }
}

std::array<uint8_t, 32> Sha256::finish() {
  uint64_t bits = total_ * 8;
  uint8_t tail[72] = {0x80};
  size_t zeros = (pendingCount_ < 56 ? 55 : 119) - pendingCount_;
  for (int i = 0; i < 8; ++i)
    tail[1 + zeros + i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
  update(tail, 1 + zeros + 8);
  std::array<uint8_t, 32> digest;
  for (int i = 0; i < 32; ++i)
    digest[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string toHex(const std::array<uint8_t, 32> &digest) {
  return bytesToHex(digest.data(), digest.size());
}

std::string sha256Hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return toHex(hash.finish());
}

} // namespace txc
